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
from numpy.typing import NDArray

from zooter_lite.ask.texts import fenced
from zooter_lite.cores import cores
from zooter_lite.errors import DataError
from zooter_lite.scoring import verifiers
from zooter_lite.scoring.sandbox import OUT_OF_TIME, Limits, run_python
from zooter_lite.scoring.scorer import Item, Scored, fingerprint, score_once

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

    The code is the first fence marked as Python, else the first fence, else the whole
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


@dataclass
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
    notes: list[str] = field(default_factory=list)

    def score(
        self, items: Sequence[Item], folder: Path, progress: Callable[[int], object]
    ) -> NDArray[np.float64]:
        """Score every item; NaN where the truth is not known, or a regex ran out of time.

        Raises
        ------
        DataError
            No query has the column, or a cell is not what the verifier needs.
        """
        given = self.reference
        pairs = [(item, item.row.get(self.column) if given is None else given) for item in items]
        known = [place for place, (_, truth) in enumerate(pairs) if truth not in (None, "", [])]
        if items and not known:
            others = ", ".join(repr(name) for name in items[0].row) or "none"
            raise DataError(
                f"scorer {self.name!r}: no query has a value in column {self.column!r}; the other "
                f"columns are: {others} (--queries names the file that has it)"
            )
        progress(len(items) - len(known))
        scored, records = score_once(
            [items[place] for place in known],
            folder / f"scores-{self.name}.jsonl",
            fingerprint(VERSION, self.kind, sorted(self.options.items())),
            lambda todo: self._compute([pairs[known[place]] for place in todo], todo),
            progress,
            [pairs[place][1] for place in known],
        )
        late = sum(record.get("problem") in OUT_OF_TIME for record in records)
        counts = (
            (len(items) - len(known), f"responses to queries without {self.column!r}, no score"),
            (np.isnan(scored).sum(), "responses on which the pattern ran out of time, no score"),
            (late, "programs ran out of time and failed"),
        )
        self.notes = [f"{count} {what}" for count, what in counts if count]
        values = np.full(len(items), np.nan)
        values[known] = scored
        return values

    def _compute(self, pairs: Sequence[tuple[Item, Any]], todo: list[int]) -> Iterator[Scored]:
        with ThreadPoolExecutor(cores()) as pool:
            for start in range(0, len(pairs), _CHUNK):
                chunk = slice(start, start + _CHUNK)
                outcomes = pool.map(self._check, pairs[chunk])
                for place, (value, problem) in zip(todo[chunk], outcomes, strict=True):
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


def read_verifier(table: Mapping[str, Any], where: str) -> Verifier:
    """Make a verifier of its table in scorers.toml; `where` locates the table in errors."""
    column, check = KINDS[table["kind"]]
    defaults = check.__kwdefaults__ or {}
    known: dict[str, Any] = {"column": column, "reference": None, **defaults}
    given = {field: value for field, value in table.items() if field not in ("name", "kind")}
    for name, value in given.items():
        if name not in known or not _fits(value, known[name]):
            raise DataError(f"{where}: {name} = {value!r}, expected fields are {', '.join(known)}")
    values = known | given
    column, reference = values.pop("column"), values.pop("reference")
    options = {k: v if isinstance(v, bool) else float(v) for k, v in values.items()}
    return Verifier(table["name"], table["kind"], column, reference, options)


def _fits(value: object, default: object) -> bool:
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
    return default is None or isinstance(value, type(default))
