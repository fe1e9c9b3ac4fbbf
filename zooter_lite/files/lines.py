"""Single lines of CSV and JSON: bytes to text, text to values, values to text."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence

MAX_DEPTH = 400  # of JSON; the json module refuses somewhere below a thousand


def decode_line(raw: bytes, *, first: bool = False) -> str:
    """Text of a line, or of several; without the byte order mark where it is the `first`.

    Raises
    ------
    ValueError
        It is no UTF-8, or holds a NUL byte; the message says which.
    """
    if b"\0" in raw:
        raise ValueError("a NUL byte; expected a UTF-8 text file")
    try:
        return raw.decode("utf-8").removeprefix("\ufeff" if first else "")
    except UnicodeDecodeError as error:
        bad = error.object[error.start]
        raise ValueError(f"byte 0x{bad:02x} is not UTF-8; expected a UTF-8 file") from error


def json_object(text: str) -> dict[str, object]:
    """Parse a JSON object whose keys are different and whose numbers are JSON's.

    It is nested at most `MAX_DEPTH` deep.

    Raises
    ------
    ValueError
        It is none; the message says why.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique_object, parse_constant=_refuse_constant)
        if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
            raise RecursionError
    except ValueError as error:
        raise ValueError(f"not a JSON object ({error})") from error
    except RecursionError as error:
        raise ValueError(f"not a JSON object (nested deeper than {MAX_DEPTH})") from error
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    return value


def _depth(value: object) -> int:
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)


def _unique_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(k for k in keys if keys.count(k) > 1)!r} appears twice")
    return values


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON; use null")


class _Echo:
    """A stream for csv.writer, whose writerow returns what the stream's write returns."""

    def write(self, line: str) -> str:
        return line


_csv_row = csv.writer(_Echo()).writerow  # its rows end in \r\n, so it quotes cells with either


def csv_line(cells: Sequence[object]) -> str:
    """One line of CSV.

    Raises
    ------
    ValueError
        A cell holds a NUL character.
    """
    line: str = _csv_row(cells)
    if "\0" in line:
        raise ValueError("CSV cannot hold a NUL character")
    return line[:-2] + "\n"


def json_line(row: Mapping[str, object]) -> str:
    """One line of JSON in UTF-8; a lone surrogate, which UTF-8 cannot hold, stays escaped.

    Raises
    ------
    ValueError, RecursionError
        JSON cannot hold a value.
    """
    text = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
