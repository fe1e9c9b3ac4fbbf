"""Settings files: TOML with tables of one kind, such as `[[expert]]`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zooter_lite.errors import DataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: str) -> dict[str, Any]:
    """Read and parse a file.

    Raises
    ------
    DataError
        It cannot be read, or is no TOML in UTF-8.
    """
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
