"""What every scorer shares: the response to score, the one method, and a journal of scores."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zooter_lite.ask.calls import Progress
from zooter_lite.ask.known import Known
from zooter_lite.files.journal import Journal

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Item:
    """One response to score."""

    query_id: str
    query: str
    expert: str
    response: str
    row: Mapping[str, Any] = field(default_factory=dict)  # the query's other columns


class Scorer(Protocol):
    """What gives responses a reward."""

    @property
    def name(self) -> str:
        """Name of the scorer, as in scorers.toml."""

    def score(
        self, items: Sequence[Item], folder: Path, progress: Progress
    ) -> tuple[FloatArray, list[str]]:
        """Score every item: (n_items,), NaN where the scorer cannot say; and notes for people.

        The scorer keeps journals of its own in `folder`, that of the responses, so that a run
        that was killed goes on where it stopped. `progress` gets a number of items done.
        """


Scored = tuple[int, float, Mapping[str, Any]]


def fingerprint(*content: object) -> str:
    """16 hexadecimal digits of a hash of JSON values."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def score_once(
    items: Sequence[Item],
    path: Path,
    scorer: str,
    compute: Callable[[list[tuple[Item, Any]]], Iterable[Scored]],
    progress: Progress,
    references: Sequence[object] | None = None,
) -> tuple[FloatArray, list[Mapping[str, Any]]]:
    """Score the items that a journal does not have yet.

    A record is keyed by query_id, expert, a hash of query, response and reference, and `scorer`,
    a fingerprint of whatever else decides the score; so scores of other texts or settings stand
    beside it unharmed.

    Parameters
    ----------
    compute
        Gets items and their references; yields the position of one among them, its score (NaN
        for none) and other facts to keep, in any order; each is in the journal before the next
        is asked for.
    references
        What each item is compared with, as JSON values.

    Returns
    -------
    (n_items,) scores, NaN where there is none; and the record of each.
    """
    names = ("query_id", "expert", "content", "scorer")
    pairs = list(zip(items, references or [None] * len(items), strict=True))
    keys = [
        (item.query_id, item.expert, fingerprint(item.query, item.response, reference), scorer)
        for item, reference in pairs
    ]
    known = Known(path, "score", lambda record: tuple(record[name] for name in names), _checked)
    todo = [place for place, key in enumerate(keys) if key not in known]
    progress(len(keys) - len(todo))
    if todo:
        with Journal(path) as journal:
            for place, value, facts in compute([pairs[place] for place in todo]):
                key = dict(zip(names, keys[todo[place]], strict=True))
                record = {**key, "score": value if math.isfinite(value) else None, **facts}
                journal.append(record)
                known.add(record)
                progress(1)
    records = [known.answers[key] for key in keys]
    return np.array([r["score"] for r in records], np.float64), records


def _checked(record: Mapping[str, Any]) -> Mapping[str, Any]:
    if record["score"] is not None:
        float(record["score"])
    return record
