"""How a CSV file divides its cells, as its first line tells: by commas or what Excel writes."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Dialect:
    """How cells are divided.

    Attributes
    ----------
    separator
        The character between two cells.
    told
        Whether a line such as "sep=;" before the header says so.
    surplus
        Unnamed columns at the end of the header, from two on: left out, with their empty cells.
    """

    separator: str = ","
    told: bool = False
    surplus: int = 0

    def fitted(self, cells: list[str], width: int) -> list[str]:
        """Return a row without the empty cells of the surplus columns."""
        extra = len(cells) - width
        if 0 < extra <= self.surplus and not any(map(str.strip, cells[width:])):
            return cells[:width]
        return cells


COMMAS = Dialect()


def dialect_of(line: str) -> Dialect:
    r"""Tell the dialect from the first line that is not blank.

    It is "sep=" and the separator, or else the header, which is taken to be divided by what
    divides it into most cells; of equals, the first of `SEPARATORS`.

    >>> dialect_of("query;reward:a,b;reward:c").separator, dialect_of("sep=;\r\n").told
    (';', True)
    """
    text = re.split("[\r\n]", line.lstrip("\r\n"), maxsplit=1)[0]
    said = re.fullmatch(r'"?sep=(.)"?', text, re.I)
    if said:
        return Dialect(said[1], told=True)
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
