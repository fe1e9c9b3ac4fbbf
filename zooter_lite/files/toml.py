"""Settings files: TOML with tables of one kind, such as `[[expert]]`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from zooter_lite.errors import DataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Settings = TypeVar("Settings")


def read_toml(path: str) -> dict[str, Any]:
    """Read and parse a file; DataError where it cannot be read, or is no TOML in UTF-8."""
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # of TOML and of UTF-8
        raise DataError(f"{path}: not a TOML file ({error})") from error


def tables_of(content: Mapping[str, Any], kind: str, path: str) -> list[dict[str, Any]]:
    """Return the `[[kind]]` tables of parsed TOML, one at least; it may hold nothing else."""
    tables = content.get(kind)
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise DataError(f"{path}: no [[{kind}]]; expected one such table for each {kind}")
    other = sorted(set(content) - {kind})
    if other:
        raise DataError(f"{path}: unknown table {other[0]!r}; expected [[{kind}]]")
    return tables


def check_names(names: Sequence[str], kind: str, path: str) -> None:
    """Raise DataError where two tables have one name."""
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path}: two {kind}s have the name {name!r}")


def number(default: float, low: float, high: float) -> Any:
    """Field of a dataclass: a number, and the range that `from_table` holds it to."""
    return field(default=default, metadata={"range": (low, high)})


def from_table(kind: type[Settings], table: Mapping[str, Any], where: str) -> Settings:
    """Make a dataclass of a TOML table whose keys are its fields.

    No error shows a value of the wrong type, since it may be a key.

    Parameters
    ----------
    kind
        A dataclass; its annotations say which types a field takes.
    where
        Place of the table, for errors.

    Raises
    ------
    DataError
        A field is unknown, missing, of another type or out of its range.
    """
    known = {each.name: each for each in fields(kind) if each.init}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    for name, value in table.items():
        if name not in known:
            hint = " (api_key_env names the variable that holds it)" if "key" in name else ""
            raise DataError(f"{where}: unknown field {name!r}; expected {', '.join(known)}{hint}")
        union = get_origin(hints[name]) in (Union, UnionType)
        parts = get_args(hints[name]) if union else (hints[name],)
        types = tuple(get_origin(part) or part for part in parts)
        types += (int,) * (float in types)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            given = type(value).__name__
            raise DataError(f"{where}: {name} is of type {given}, expected {types[0].__name__}")
        low, high = known[name].metadata.get("range", (None, None))
        if low is not None and not low <= value <= high:
            raise DataError(f"{where}: {name} is {value}, expected {low:g} to {high:g}")
    for name, each in known.items():
        if each.default is MISSING and each.default_factory is MISSING and name not in table:
            raise DataError(f"{where}: no {name}")
    return kind(**table)
