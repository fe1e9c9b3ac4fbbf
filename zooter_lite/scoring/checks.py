"""Verifiers as scorers: which column holds the truth, and how the response is compared."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.scoring import verifiers
from zooter_lite.scoring.sandbox import OUT_OF_TIME, Limits, run_python
from zooter_lite.scoring.scorer import Found, Item, fingerprint, score_once, values_of

VERSION = 1  # of the verifiers; a change of what they return makes it 2
_CHUNK = 256
Outcome = tuple[float, Mapping[str, Any]]


@dataclass(frozen=True)
class _Kind:
    column: str
    options: Mapping[str, bool | float]
    check: Callable[[str, Any, Mapping[str, Any]], Outcome]


def python_tests(response: str, tests: Sequence[str], limits: Limits) -> tuple[float, str]:
    """Run the Python of a response, then the tests, in the sandbox: 1 if all ended well.

    The code is the first fence marked as Python, else the first fence, else the whole
    response; it runs under a name other than __main__. Returns the reward and what was
    wrong, empty where nothing was.
    """
    code = verifiers.fenced(response, ("python", "py", "python3"))
    done = run_python([response if code is None else code, *tests], limits, "response")
    return float(done.passed), done.problem


def _plain(function: Callable[..., float]) -> Callable[[str, Any, Mapping[str, Any]], Outcome]:
    return lambda response, truth, options: (function(response, _texts(truth), **options), {})


def _schema(response: str, truth: object, options: Mapping[str, Any]) -> Outcome:
    return verifiers.json_schema(response, truth), {}


def _tests(response: str, truth: object, options: Mapping[str, Any]) -> Outcome:
    limits = Limits(
        cpu_seconds=math.ceil(options["cpu_seconds"]),
        wall_seconds=options["wall_seconds"],
        memory_bytes=int(options["memory_mb"] * 2**20),
    )
    value, problem = python_tests(response, _texts(truth), limits)
    return value, {"problem": problem} if problem else {}


_WORDS = {"ignore_case": True}
KINDS: dict[str, _Kind] = {
    "exact": _Kind(
        "answer", _WORDS | {"ignore_space": True, "ignore_punctuation": True},
        _plain(verifiers.exact),
    ),
    "contains": _Kind("answer", _WORDS | {"whole_words": True}, _plain(verifiers.contains)),
    "numeric": _Kind("answer", {"relative": 1e-6, "absolute": 1e-9}, _plain(verifiers.numeric)),
    "regex": _Kind("pattern", {"seconds": 1.0}, _plain(verifiers.regex)),
    "json-schema": _Kind("schema", {}, _schema),
    "python-tests": _Kind(
        "tests", {"cpu_seconds": 5.0, "wall_seconds": 10.0, "memory_mb": 512.0}, _tests
    ),
}  # fmt: skip


@dataclass
class Verifier:
    """A scorer that compares each response with a cell of its query's row.

    Attributes
    ----------
    kind
        One of `KINDS`.
    column
        Holds the truth: a text, a number, or a list of accepted texts (for python-tests,
        a list of tests that all must pass; for json-schema, an object or its text).
        A query whose cell is empty gets no score.
    reference
        The truth of every query, instead of a column.
    options
        All options of the kind.
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
        truths = [self._truth(item) for item in items]
        if items and all(truth is None for truth in truths):
            found = ", ".join(repr(name) for name in items[0].row) or "none"
            raise DataError(
                f"scorer {self.name!r}: no query has a value in column {self.column!r}; the other "
                f"columns are: {found} (--queries names the file that has it)"
            )
        known = [place for place, truth in enumerate(truths) if truth is not None]
        progress(len(items) - len(known))
        mark = fingerprint(VERSION, self.kind, sorted(self.options.items()))
        records = score_once(
            [items[place] for place in known],
            folder / f"scores-{self.name}.jsonl",
            mark,
            lambda todo: self._compute(items, truths, [known[place] for place in todo], todo),
            progress,
            [truths[place] for place in known],
        )
        values = np.full(len(items), np.nan)
        values[known] = values_of(records)
        self._note(len(items) - len(known), records)
        return values

    def _truth(self, item: Item) -> Any:
        cell = self.reference if self.reference is not None else item.row.get(self.column)
        return None if cell == "" or cell == [] else cell

    def _compute(
        self, items: Sequence[Item], truths: Sequence[Any], places: list[int], todo: list[int]
    ) -> Iterator[Found]:
        check = KINDS[self.kind].check

        def one(place: int) -> Outcome:
            try:
                return check(items[place].response, truths[place], self.options)
            except DataError as error:
                name = items[place].query_id
                raise DataError(f"scorer {self.name!r}, query {name!r}: {error}") from error

        if self.kind != "python-tests":
            for number, place in zip(todo, places, strict=True):
                yield number, *one(place)
            return
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for start in range(0, len(places), _CHUNK):
                chunk = slice(start, start + _CHUNK)
                outcomes = pool.map(one, places[chunk])
                for number, outcome in zip(todo[chunk], outcomes, strict=True):
                    yield number, *outcome

    def _note(self, unknown: int, records: Sequence[Mapping[str, Any]]) -> None:
        unsure = sum(record["score"] is None for record in records)
        self.notes = []
        late = sum(record.get("problem") in OUT_OF_TIME for record in records)
        if unknown:
            self.notes.append(f"{unknown} responses to queries without {self.column!r}, no score")
        if unsure:
            self.notes.append(f"{unsure} responses on which the pattern ran out of time, no score")
        if late:
            self.notes.append(f"{late} programs ran out of time and failed")


def read_verifier(table: Mapping[str, Any], where: str) -> Verifier:
    """Make a verifier of its table in scorers.toml; `where` locates the table.

    Raises
    ------
    DataError
        An unknown field, or one that is not of its type.
    """
    kind = KINDS[table["kind"]]
    options = dict(kind.options)
    for name, value in table.items():
        if name in ("name", "kind", "weight", "reference"):
            continue
        if name == "column" and isinstance(value, str):
            continue
        default = options.get(name)
        fits = isinstance(value, bool) == isinstance(default, bool) and (
            isinstance(value, (bool, int, float)) and value >= 0
        )
        if default is None or not fits:
            known = ", ".join(["column", "reference", *kind.options])
            raise DataError(f"{where}: {name} = {value!r}, expected fields are {known}")
        options[name] = value if isinstance(value, bool) else float(value)
    column = table.get("column", kind.column)
    return Verifier(str(table["name"]), table["kind"], column, table.get("reference"), options)


def _texts(truth: object) -> list[str]:
    cells = truth if isinstance(truth, (list, tuple)) else [truth]
    return [cell if isinstance(cell, str) else json.dumps(cell) for cell in cells]
