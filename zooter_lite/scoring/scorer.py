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

from zooter_lite.errors import DataError
from zooter_lite.files.journal import Journal, read_journal


@dataclass(frozen=True)
class Item:
    """One response to score.

    Attributes
    ----------
    query_id, query, expert, response
        As in the journal of responses.
    row
        Other columns of the query's row, such as answer, tests, subset.
    """

    query_id: str
    query: str
    expert: str
    response: str
    row: Mapping[str, Any] = field(default_factory=dict)


class Scorer(Protocol):
    """What gives responses a reward.

    A scorer of `scorers.toml` is made by a function that gets its whole table (`name`,
    `kind` and `weight` included) and the words that locate it in the file. It may also
    have `notes`, a list of lines that the command prints when scoring has ended.
    """

    @property
    def name(self) -> str:
        """Name of the scorer, as in scorers.toml."""

    def score(
        self, items: Sequence[Item], folder: Path, progress: Callable[[int], object]
    ) -> NDArray[np.float64]:
        """Score every item: (n_items,), NaN where the scorer cannot say.

        Parameters
        ----------
        folder
            Folder of the responses, where the scorer keeps journals of its own, so that
            a run that was killed goes on where it stopped.
        progress
            Called with a number of items done.
        """


Found = tuple[int, float, Mapping[str, Any]]


def fingerprint(*content: object) -> str:
    """16 hexadecimal digits of a hash of JSON values.

    >>> fingerprint("exact", {"ignore_case": True}) == fingerprint("exact", {"ignore_case": False})
    False
    """
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def score_once(
    items: Sequence[Item],
    path: Path,
    scorer: str,
    compute: Callable[[list[int]], Iterable[Found]],
    progress: Callable[[int], object],
    references: Sequence[object] | None = None,
) -> list[dict[str, Any]]:
    """Score the items that a journal does not have yet; return one record per item.

    A record is keyed by query_id, expert, a hash of query, response and reference, and the
    scorer's fingerprint; so scores of other texts or settings stand beside it unharmed.

    Parameters
    ----------
    path
        The journal, made where it is missing.
    scorer
        Fingerprint of whatever decides the score beside the item.
    compute
        Gets positions of `items`; yields position, score (NaN for none) and other facts to
        keep, in any order; each is in the journal before the next is asked for.
    references
        What each item is compared with, as JSON values.

    Raises
    ------
    DataError
        The journal is damaged, or cannot be written.
    """
    wanted = references if references is not None else [None] * len(items)
    keys = [
        (item.query_id, item.expert, fingerprint(item.query, item.response, reference))
        for item, reference in zip(items, wanted, strict=True)
    ]
    known = _known(path, scorer)
    progress(sum(key in known for key in keys))
    todo = [place for place, key in enumerate(keys) if key not in known]
    if todo:
        with Journal(path) as journal:
            for place, value, facts in compute(todo):
                name, expert, content = keys[place]
                record = {
                    "query_id": name,
                    "expert": expert,
                    "content": content,
                    "scorer": scorer,
                    "score": value if math.isfinite(value) else None,
                    **facts,
                }
                journal.append(record)
                known[keys[place]] = record
                progress(1)
    return [known[key] for key in keys]


def values_of(records: Iterable[Mapping[str, Any]]) -> NDArray[np.float64]:
    """(n_records,) scores; NaN where there is none."""
    return np.array([np.nan if r["score"] is None else r["score"] for r in records], np.float64)


def _known(path: Path, scorer: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    known = {}
    for record in read_journal(path):
        try:
            key = (record["query_id"], record["expert"], record["content"])
            if record["scorer"] == scorer:
                score = record["score"]
                known[key] = record | {"score": None if score is None else float(score)}
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: a record is not one of a score ({error!r})") from error
    return known
