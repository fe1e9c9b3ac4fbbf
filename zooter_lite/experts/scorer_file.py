"""Which scorers to use: a `scorers.toml`, or the short name of a single one."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zooter_lite.errors import DataError
from zooter_lite.experts.checks import KINDS, read_verifier
from zooter_lite.experts.reward_model import read_reward_model
from zooter_lite.experts.scorer import Scorer

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,79}")
_OTHER_KINDS = ("reward-model", "judge")


@dataclass(frozen=True)
class Weighted:
    """A scorer and its weight among the others."""

    scorer: Scorer
    weight: float = 1.0


def read_scorers(text: str) -> list[Weighted]:
    """Read a scorers.toml, or make the scorer that a short name means.

    Short names are exact, numeric, regex, contains, json-schema, python-tests, and
    reward-model:FOLDER-OR-NAME.

    Raises
    ------
    DataError
        With the table and its field, and what was expected there.
    """
    if text in KINDS:
        return [Weighted(read_verifier({"name": text, "kind": text}, text))]
    if text.startswith("reward-model:"):
        table = {"name": "reward-model", "model": text.removeprefix("reward-model:")}
        return [Weighted(read_reward_model(table, text))]
    if not text.lower().endswith(".toml"):
        raise DataError(
            f"{text}: unknown scorer; expected a .toml file, {', '.join(KINDS)}, or "
            "reward-model:FOLDER"
        )
    try:
        content = tomllib.loads(Path(text).read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{text}: {error.strerror or error}") from error
    except ValueError as error:  # of TOML and of UTF-8
        raise DataError(f"{text}: not a TOML file ({error})") from error
    return scorers_of(content, text)


def scorers_of(content: Mapping[str, Any], path: str) -> list[Weighted]:
    """Read the `[[scorer]]` tables of parsed TOML; `path` is named by the errors."""
    tables = content.get("scorer")
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise DataError(f"{path}: no [[scorer]]; expected one such table for each scorer")
    other = sorted(set(content) - {"scorer"})
    if other:
        raise DataError(f"{path}: unknown table {other[0]!r}; expected [[scorer]]")
    scorers = [_scorer(table, f"{path}, scorer {place}") for place, table in enumerate(tables, 1)]
    names = [each.scorer.name for each in scorers]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path}: two scorers have the name {name!r}")
    return scorers


def _scorer(table: Mapping[str, Any], where: str) -> Weighted:
    name, kind, weight = table.get("name"), table.get("kind"), table.get("weight", 1.0)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DataError(f"{where}: name is {name!r}, expected letters, digits, '.', '-' or '_'")
    if (
        isinstance(weight, bool)
        or not isinstance(weight, (int, float))
        or not 0 < weight < math.inf
    ):
        raise DataError(f"{where}: weight is {weight!r}, expected a positive number")
    if isinstance(kind, str) and kind in KINDS:
        return Weighted(read_verifier(table, where), float(weight))
    if kind == "reward-model":
        return Weighted(read_reward_model(table, where), float(weight))
    if kind == "judge":
        from zooter_lite.experts.judge import read_judge

        return Weighted(read_judge(table, where), float(weight))
    expected = ", ".join([*KINDS, *_OTHER_KINDS])
    raise DataError(f"{where}: kind is {kind!r}, expected one of {expected}")
