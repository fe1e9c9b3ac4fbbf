"""Which scorers to use: a `scorers.toml`, or the short name of a single one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from zooter_lite.errors import DataError
from zooter_lite.files.toml import check_names, read_toml, tables_of
from zooter_lite.scoring.checks import KINDS, read_verifier
from zooter_lite.scoring.judge import read_judge
from zooter_lite.scoring.reward_model import read_reward_model
from zooter_lite.scoring.scorer import Scorer

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,79}")
_READERS: dict[str, Callable[[Mapping[str, Any], str], Scorer]] = dict.fromkeys(
    KINDS, read_verifier
) | {
    "reward-model": read_reward_model,
    "judge": read_judge,
}


def read_scorers(text: str) -> list[tuple[Scorer, float]]:
    """Read scorers and their weights from a scorers.toml, or make the one of a short name.

    Short names are exact, numeric, regex, contains, json-schema, python-tests, and
    reward-model:FOLDER-OR-NAME.

    Raises
    ------
    DataError
        With the table and its field, and what was expected there.
    """
    if text in KINDS:
        return [_scorer({"name": text, "kind": text}, text)]
    kind, _, model = text.partition(":")
    if kind == "reward-model":
        return [_scorer({"name": kind, "kind": kind, "model": model}, text)]
    if not text.lower().endswith(".toml"):
        raise DataError(
            f"{text}: unknown scorer; expected a .toml file, {', '.join(KINDS)}, or "
            "reward-model:FOLDER"
        )
    tables = tables_of(read_toml(text), "scorer", text)
    scorers = [_scorer(table, f"{text}, scorer {place}") for place, table in enumerate(tables, 1)]
    check_names([scorer.name for scorer, _ in scorers], "scorer", text)
    return scorers


def _scorer(table: Mapping[str, Any], where: str) -> tuple[Scorer, float]:
    name, kind, weight = table.get("name"), table.get("kind"), table.get("weight", 1.0)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DataError(f"{where}: name is {name!r}, expected letters, digits, '.', '-' or '_'")
    number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    if not number or not 0 < weight < math.inf:
        raise DataError(f"{where}: weight is {weight!r}, expected a positive number")
    if not isinstance(kind, str) or kind not in _READERS:
        raise DataError(f"{where}: kind is {kind!r}, expected one of {', '.join(_READERS)}")
    own = {field: value for field, value in table.items() if field != "weight"}
    return _READERS[kind](own, where), float(weight)
