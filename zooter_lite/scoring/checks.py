"""Verifiers as scorers: which column holds the truth, and how the response is compared."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zooter_lite.ask.calls import Progress
from zooter_lite.ask.texts import fenced
from zooter_lite.cores import cores
from zooter_lite.errors import DataError
from zooter_lite.scoring import verifiers
from zooter_lite.scoring.sandbox import Limits, run_python
from zooter_lite.scoring.scorer import FloatArray, Item, Scored, fingerprint, score_once

VERSION = 2  # of the verifiers; a change of what they return makes it 3
_CHUNK = 256


def python_tests(
    response: str,
    tests: Sequence[str],
    *,
    cpu_seconds: float = 5.0,
    wall_seconds: float = 60.0,
    memory_mb: float = 512.0,
) -> tuple[float, str]:
    """Run the Python of a response, then the tests, in the sandbox: 1 if all ended well.

    The code is the last fence marked as Python, else the last fence, else the whole
    response; it runs under a name other than __main__. Returns the reward and what was
    wrong, empty where nothing was.
    """
    limits = Limits(math.ceil(cpu_seconds), wall_seconds, int(memory_mb * 2**20))
    code = fenced(response, ("python", "py", "python3"))
    done = run_python([response if code is None else code, *tests], limits, "response")
    return float(done.passed), done.problem


# the column of the truth, and how a response is compared with it: the reward, and what was wrong
KINDS: dict[str, tuple[str, Callable[..., float | tuple[float, str]]]] = {
    "exact": ("answer", verifiers.exact),
    "contains": ("answer", verifiers.contains),
    "numeric": ("answer", verifiers.numeric),
    "regex": ("pattern", verifiers.regex),
    "json-schema": ("schema", verifiers.json_schema),
    "python-tests": ("tests", python_tests),
}


@dataclass(frozen=True)
class Verifier:
    """A scorer that compares each response with a cell of its query's row, as its kind says.

    Attributes
    ----------
    column
        Holds the truth: a text, a number, or a list of accepted texts (for python-tests,
        a list of tests that all must pass; for json-schema, an object or its text).
        A query whose cell is empty gets no score.
    reference
        The truth of every query, instead of a column.
    """

    name: str
    kind: str
    column: str
    reference: Any = None
    options: Mapping[str, bool | float] = field(default_factory=dict)

    def score(
        self, items: Sequence[Item], folder: Path, progress: Progress
    ) -> tuple[FloatArray, list[str]]:
        """Score every item; NaN where the truth is not known, or a regex ran out of time.

        Raises
        ------
        DataError
            No query has the column, or a cell is not what the verifier needs.
        """
        given = self.reference
        truths = [item.row.get(self.column) if given is None else given for item in items]
        known = [place for place, truth in enumerate(truths) if truth not in (None, "", [])]
        if items and not known:
            others = ", ".join(repr(name) for name in items[0].row) or "none"
            raise DataError(
                f"scorer {self.name!r}: no query has a value in column {self.column!r}; the other "
                f"columns are: {others} (--queries names the file that has it)"
            )
        unknown = len(items) - len(known)
        progress(unknown)
        values = np.full(len(items), np.nan)
        values[known], _ = score_once(
            [items[place] for place in known],
            folder / f"scores-{self.name}.jsonl",
            fingerprint(VERSION, self.kind, sorted(self.options.items())),
            self._compute,
            progress,
            [truths[place] for place in known],
        )
        note = f"{unknown} responses to queries without {self.column!r}, no score"
        return values, [note] if unknown else []

    def _compute(self, pairs: Sequence[tuple[Item, Any]]) -> Iterator[Scored]:
        with ThreadPoolExecutor(cores()) as pool:
            for start in range(0, len(pairs), _CHUNK):
                outcomes = pool.map(self._check, pairs[start : start + _CHUNK])
                for place, (value, problem) in enumerate(outcomes, start):
                    yield place, value, {"problem": problem} if problem else {}

    def _check(self, pair: tuple[Item, Any]) -> tuple[float, str]:
        item, truth = pair
        if self.kind != "json-schema":
            cells = truth if isinstance(truth, (list, tuple)) else [truth]
            truth = [cell if isinstance(cell, str) else json.dumps(cell) for cell in cells]
        try:
            outcome = KINDS[self.kind][1](item.response, truth, **self.options)
        except DataError as error:
            raise DataError(f"scorer {self.name!r}, query {item.query_id!r}: {error}") from error
        return outcome if isinstance(outcome, tuple) else (outcome, "")


def read_verifier(kind: str, table: Mapping[str, Any], where: str) -> Verifier:
    """Make a verifier of its table in scorers.toml; `where` locates the table in errors."""
    column, check = KINDS[kind]
    values: dict[str, Any] = {"column": column, "reference": None, **(check.__kwdefaults__ or {})}
    given = {name: value for name, value in table.items() if name != "name"}
    for name, value in given.items():
        if name not in values or not _fits(value, values[name]):
            raise DataError(f"{where}: {name} = {value!r}, expected fields are {', '.join(values)}")
        values[name] = float(value) if isinstance(values[name], float) else value
    column, reference = values.pop("column"), values.pop("reference")
    return Verifier(table["name"], kind, column, reference, values)


def _fits(value: object, default: object) -> bool:
    if isinstance(default, float):
        return type(value) in (int, float) and value >= 0  # type: ignore[operator]
    return default is None or isinstance(value, type(default))
