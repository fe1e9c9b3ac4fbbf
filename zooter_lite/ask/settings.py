"""Tables of settings files: from parsed TOML to a dataclass, with every mistake named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from zooter_lite.errors import DataError

Settings = TypeVar("Settings")


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
