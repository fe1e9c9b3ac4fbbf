"""How a CSV file divides its cells, as its first line tells: by commas or what Excel writes."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from zooter_lite.errors import DataError

SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Dialect:
    """How cells are divided."""

    separator: str = ","
    told: bool = False  # a line such as "sep=;" before the header says so
    surplus: int = 0  # unnamed columns at the end, from two on: left out, with their empty cells

    def fitted(self, cells: list[str], width: int) -> list[str]:
        """Return a row without the empty cells of the surplus columns."""
        extra = len(cells) - width
        if 0 < extra <= self.surplus and not any(map(str.strip, cells[width:])):
            return cells[:width]
        return cells


COMMAS = Dialect()


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


def dialect_of(line: str, separator: str = "") -> Dialect:
    r"""Tell the dialect from the first line that is not blank, unless a separator is given.

    It is "sep=" and the separator, or else the header, which is taken to be divided by what
    divides it into most cells; of equals, the first of `SEPARATORS`.

    >>> dialect_of("query;reward:a,b;reward:c").separator, dialect_of("sep=;\r\n").told
    (';', True)
    """
    text = re.split("[\r\n]", line.lstrip("\r\n"), maxsplit=1)[0]
    said = re.fullmatch(r'"?sep=(.)"?', text, re.I)
    if said:
        return Dialect(separator or said[1], told=True)
    if separator:
        return Dialect(separator)
    return Dialect(max(SEPARATORS, key=lambda sign: len(next(csv.reader([text], delimiter=sign)))))


def header_of(cells: list[str], dialect: Dialect) -> tuple[list[str], Dialect]:
    """Return the names of the columns without those that are surplus, and the dialect with them."""
    named = len(cells)
    while named and not cells[named - 1].strip():
        named -= 1
    surplus = len(cells) - named
    if surplus < 2 or not named:
        return cells, dialect
    return cells[:named], Dialect(dialect.separator, dialect.told, surplus)


def left_out(dialect: Dialect, where: str) -> str:
    """Say which columns of a file are left out; empty where none is."""
    if not dialect.surplus:
        return ""
    return f"{where}: {dialect.surplus} empty columns at the end are left out"
