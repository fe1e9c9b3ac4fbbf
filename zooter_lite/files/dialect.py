"""What the start of a CSV file tells: its columns, and what divides its cells."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from zooter_lite.errors import DataError

SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Header:
    """Names of the columns, and how cells are divided."""

    columns: tuple[str, ...]
    separator: str = ","
    told: bool = False  # a line such as "sep=;" before the header says so
    surplus: int = 0  # unnamed columns at the end, from two on: left out, with their empty cells

    @classmethod
    def of(cls, cells: list[str], separator: str, told: bool) -> Header:
        """Make the header of its cells, without those that are surplus."""
        named = len(cells)
        while named and not cells[named - 1].strip():
            named -= 1
        surplus = len(cells) - named
        if surplus < 2 or not named:
            named, surplus = len(cells), 0
        return cls(tuple(cells[:named]), separator, told, surplus)

    def fitted(self, cells: list[str]) -> list[str]:
        """Return a row without the empty cells of the surplus columns."""
        width = len(self.columns)
        if 0 < len(cells) - width <= self.surplus and not any(map(str.strip, cells[width:])):
            return cells[:width]
        return cells


def written_with(path: str, otherwise: str = ",") -> str:
    r"""Return the separator of a file to write: a tab for .tsv, packed or not.

    >>> written_with("out.tsv.gz"), written_with("out.csv", ";")
    ('\t', ';')
    """
    return "\t" if re.search(r"\.tsv(\.\w+)?$", path, re.I) else otherwise


def check_separator(text: str) -> str:
    r"""Return the separator that an option names: a character, or `tab`; "" is left to the file.

    Raises
    ------
    DataError
        It is none.
    """
    sign = {"tab": "\t", "\\t": "\t"}.get(text.lower(), text)
    if len(sign) > 1 or sign in ("\n", "\r", '"') or not sign.isascii():
        raise DataError(f"--separator {text!r}: expected one character, such as ';', or tab")
    return sign


def separator_of(line: str, separator: str = "") -> tuple[str, bool]:
    r"""Return what divides cells, unless a separator is given, and whether this line only says so.

    The line, a file's first that is not blank, is "sep=" and the separator, or else the header,
    which is taken to be divided by what divides it into most cells; of equals, the first of
    `SEPARATORS`.

    >>> separator_of("query;reward:a,b;reward:c"), separator_of("sep=|\r\n")
    ((';', False), ('|', True))
    """
    text = re.split("[\r\n]", line, maxsplit=1)[0]
    said = re.fullmatch(r'"?sep=(.)"?', text, re.I)
    if said:
        return separator or said[1], True
    if separator:
        return separator, False
    counts = {sign: len(next(csv.reader([text], delimiter=sign), [])) for sign in SEPARATORS}
    return max(SEPARATORS, key=counts.__getitem__), False
