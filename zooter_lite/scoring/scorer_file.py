"""Which scorers to use: a `scorers.toml`, or the short name of a single one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from zooter_lite.errors import DataError
from zooter_lite.files.toml import check_names, from_table, read_toml, tables_of
from zooter_lite.scoring.checks import KINDS, read_verifier
from zooter_lite.scoring.judge import read_judge
from zooter_lite.scoring.reward_model import RewardModel
from zooter_lite.scoring.scorer import Scorer

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,79}")


def read_scorers(text: str) -> list[tuple[Scorer, float]]:
    """Read scorers and their weights from a scorers.toml, or make the one of a short name.

    Short names are those of the verifiers, and reward-model:FOLDER-OR-NAME.

    Raises
    ------
    DataError
        With the table and its field, and what was expected there.
    """
    kind, _, model = text.partition(":")
    if text in KINDS or kind == "reward-model":
        table = {"name": kind, "kind": kind}
        return [_scorer(table | ({"model": model} if model else {}), text)]
    if not text.lower().endswith(".toml"):
        names = ", ".join(KINDS)
        raise DataError(
            f"{text}: unknown scorer; expected a .toml file, {names}, or reward-model:FOLDER"
        )
    tables = tables_of(read_toml(text), "scorer", text)
    scorers = [_scorer(table, f"{text}, scorer {place}") for place, table in enumerate(tables, 1)]
    check_names([scorer.name for scorer, _ in scorers], "scorer", text)
    return scorers


def _scorer(table: Mapping[str, Any], where: str) -> tuple[Scorer, float]:
    name, kind, weight = table.get("name"), table.get("kind"), table.get("weight", 1.0)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DataError(f"{where}: name is {name!r}, expected letters, digits, '.', '-' or '_'")
    if type(weight) not in (int, float) or not 0 < weight < math.inf:
        raise DataError(f"{where}: weight is {weight!r}, expected a positive number")
    own = {field: value for field, value in table.items() if field not in ("kind", "weight")}
    if kind == "judge":
        return read_judge(own, where), weight
    if kind == "reward-model":
        return from_table(RewardModel, own, where), weight
    if isinstance(kind, str) and kind in KINDS:
        return read_verifier(kind, own, where), weight
    kinds = ", ".join((*KINDS, "reward-model", "judge"))
    raise DataError(f"{where}: kind is {kind!r}, expected one of {kinds}")
