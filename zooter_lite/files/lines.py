"""Single lines of CSV and JSON: bytes to text, text to values, values to text."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

_SPACE = re.compile(r"\s*")
_SAVE = "expected a UTF-8 file (in Excel, save as 'CSV UTF-8')"
MAX_DEPTH = 400  # of JSON; the json module refuses somewhere below a thousand


def decode_line(raw: bytes) -> str:
    """Text of a line, or of several; ValueError says what is wrong: no UTF-8, or a NUL byte."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"UTF-16; {_SAVE}")
    if b"\0" in raw:
        raise ValueError("a NUL byte; expected a UTF-8 text file")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = error.object[error.start]
        raise ValueError(f"byte 0x{bad:02x} is not UTF-8; {_SAVE}") from error


def json_object(text: str) -> dict[str, object]:
    """Parse a JSON object of different keys, JSON's numbers, and a depth of `MAX_DEPTH` at most.

    ValueError says why it is none.
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


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_object, parse_constant=_refuse_constant)


def json_array(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line on which each element of a JSON array starts, and its text.

    ValueError says why it is none, and on which line.
    """
    place, line = text.index("[") + 1, 1 + text.count("\n", 0, text.index("["))
    while True:
        begin = _SPACE.match(text, place).end()  # type: ignore[union-attr]
        line += text.count("\n", place, begin)
        if text[begin : begin + 1] == "]":  # an empty array, or a comma before its end
            place = begin + 1
            break
        try:
            _, end = _DECODER.raw_decode(text, begin)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {line}: not a JSON value ({error})") from error
        yield line, text[begin:end]
        line += text.count("\n", begin, end)
        place = _SPACE.match(text, end).end()  # type: ignore[union-attr]
        line += text.count("\n", end, place)
        sign, place = text[place : place + 1], place + 1
        if sign == "]":
            break
        if sign != ",":
            raise ValueError(f"line {line}: expected ',' or ']' after an element of the array")
    if text[place:].strip():
        raise ValueError(f"line {line}: expected the end of the file after the array")


class _Echo:
    """A stream for csv.writer, whose writerow returns what the stream's write returns."""

    def write(self, line: str) -> str:
        return line


@cache
def _csv_row(separator: str) -> Callable[[Sequence[object]], Any]:
    r"""Return what writes a row; its rows end in \r\n, so it quotes cells with either."""
    return csv.writer(_Echo(), delimiter=separator).writerow


def csv_line(cells: Sequence[object], separator: str = ",") -> str:
    """One line of CSV; ValueError where a cell holds a NUL character."""
    line: str = _csv_row(separator)(cells)
    if "\0" in line:
        raise ValueError("CSV cannot hold a NUL character")
    return line[:-2] + "\n"


def json_line(row: Mapping[str, object]) -> str:
    """One line of JSON in UTF-8; a lone surrogate, which UTF-8 cannot hold, stays escaped.

    ValueError or RecursionError where JSON cannot hold a value.
    """
    text = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
