"""JSON of a router: parsed in bounded memory, and typed by the fields of frozen dataclasses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from zooter_lite.errors import RouterError
from zooter_lite.untrusted.verified import Content

MAX_JSON_MEMORY = 768 * 2**20  # bytes that a JSON file may take once it is parsed
_TYPES: dict[Any, tuple[Any, str]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    float: ((float, int), "a number"),
    bool: (bool, "true or false"),
}


def parse_json(name: str, content: Content) -> Any:
    """Parse a JSON file of a router.

    Raises
    ------
    RouterError
        It is no JSON, an object has a key twice, since readers differ in which one counts, or
        parsed it would take more than `MAX_JSON_MEMORY`.
    """
    raw = content[:]
    # a short text can stand for a large object: [] takes 56 bytes and {"":0} 184
    costs = {b",": 40, b'"': 36, b"[": 88, b"{": 248}
    if len(raw) + sum(cost * raw.count(sign) for sign, cost in costs.items()) > MAX_JSON_MEMORY:
        raise RouterError(f"{name} would take more than {MAX_JSON_MEMORY >> 20} MiB of memory")
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        reason = str(error)[:200]
        raise RouterError(f"{name} cannot be read ({reason})") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("an object has a key twice")
    return content


def typed(kind: Any, value: Any, where: str) -> Any:
    """Make of a JSON value what an annotation names; ValueError where it is something else."""
    arguments = get_args(kind)
    if get_origin(kind) is UnionType:
        return None if value is None else typed(arguments[0], value, where)
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(typed(arguments[0], each, where) for each in value)
    if get_origin(kind) is Mapping and isinstance(value, dict):
        return {
            key: typed(arguments[1], each, f"{where} {shown(key)}") for key, each in value.items()
        }
    if is_dataclass(kind) and isinstance(value, dict):
        section: Any = kind  # the class, whatever mypy makes of is_dataclass
        kinds, given = get_type_hints(kind), {}
        for each in fields(kind):
            name = each.name
            if name in value:
                given[name] = typed(
                    kinds[name], value[name], f"{where} {name!r}" if where else name
                )
            elif each.default is MISSING:
                raise ValueError(f"{where} has no {name!r}".strip())
        return section(**given)
    types, words = _TYPES.get(kind, ((), "a list" if get_origin(kind) is tuple else "an object"))
    if not isinstance(value, types) or isinstance(value, bool) != (kind is bool):
        raise ValueError(f"{where} is {shown(value)}, expected {words}")
    return value


def shown(value: object) -> str:
    """Return a value for a message, which stays one short line whatever it is."""
    try:
        return repr(value)[:80]
    except (ValueError, RecursionError):  # of numbers of thousands of digits, and nesting
        return f"some {type(value).__name__}"
