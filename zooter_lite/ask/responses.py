"""The folder of responses: what was asked before, and under which settings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zooter_lite.ask.pool import Expert
from zooter_lite.errors import DataError
from zooter_lite.files.atomic import atomic_text
from zooter_lite.files.journal import read_journal
from zooter_lite.table.queries import Queries

JOURNAL = "responses.jsonl"
SETTINGS = "experts.json"


@dataclass
class Known:
    """What a journal holds.

    Attributes
    ----------
    settled
        Pairs (query_id, expert) of the asked queries that are not to be asked again.
    cost
        Of every call that was ever made.
    """

    settled: set[tuple[str, str]] = field(default_factory=set)
    cost: float = 0.0
    _counts: Counter[str] = field(default_factory=Counter)
    _failed: Counter[str] = field(default_factory=Counter)
    _outputs: dict[str, list[int]] = field(default_factory=dict)

    @property
    def answered(self) -> set[str]:
        """Experts of which the journal has an answer, to whatever query."""
        return set(self._outputs)

    def missing(self, expert: str, n_queries: int) -> int:
        """Count the queries that this expert is still to be asked."""
        return n_queries - self._counts[expert]

    def failed(self, expert: str) -> int:
        """Count the queries whose last record is an error that is not to be tried again."""
        return self._failed[expert]

    def mean_output(self, expert: str) -> float | None:
        """Mean tokens of an answer; None before the first, or where they are not counted."""
        answers, tokens = self._outputs.get(expert, [0, 0])
        return tokens / answers if tokens else None


def known_responses(folder: Path, queries: Queries, *, retry_failed: bool = False) -> Known:
    """Read the journal of `folder`; an answer counts more than an error.

    Raises
    ------
    DataError
        The journal is damaged, or holds another text under one of the ids.
    """
    known = Known()
    texts = dict(zip(queries.ids, queries.texts, strict=True))
    failed: set[tuple[str, str]] = set()
    path = folder / JOURNAL
    for record in read_journal(path):
        try:
            pair = (str(record["query_id"]), str(record["expert"]))
            text, error = record["query"], "error" in record
            known.cost += float(record.get("cost", 0.0))
            output = int(record.get("usage", {}).get("output", 0))
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise DataError(f"{path}: a record is not one of a response ({problem!r})") from problem
        if pair[0] in texts and texts[pair[0]] != text:
            raise DataError(f"{path}: query_id {pair[0]!r} stands there for another query")
        if error:
            if "unfinished" not in record and pair[0] in texts:
                failed.add(pair)
            continue
        tally = known._outputs.setdefault(pair[1], [0, 0])
        tally[0] += 1
        tally[1] += output
        if pair[0] in texts:
            known.settled.add(pair)
    failed -= known.settled
    if not retry_failed:
        known.settled |= failed
        known._failed.update(expert for _, expert in failed)
    known._counts.update(expert for _, expert in known.settled)
    return known


def keep_settings(folder: Path, pool: Sequence[Expert], known: Known) -> None:
    """Add the settings of the pool to those that `folder` keeps.

    Raises
    ------
    DataError
        One of the experts answered in this folder under other settings, or the settings
        cannot be read or written.
    """
    settings = checked_settings(folder, pool, known)
    with atomic_text(str(folder / SETTINGS)) as stream:
        stream.write(json.dumps(settings, indent=1, sort_keys=True) + "\n")


def checked_settings(folder: Path, pool: Sequence[Expert], known: Known) -> dict[str, str]:
    """Return the settings of `folder` with those of the pool added: name to fingerprint.

    Raises
    ------
    DataError
        As for `keep_settings`.
    """
    path = folder / SETTINGS
    settings: dict[str, str] = {}
    if path.exists():
        try:
            settings = dict(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{path}: not the settings of a collection ({error})") from error
    for expert in pool:
        before = settings.get(expert.name, expert.fingerprint)
        if before != expert.fingerprint and expert.name in known.answered:
            raise DataError(
                f"expert {expert.name!r} answered in {folder} with another model, system prompt "
                "or sampling; give it another name, or another --out"
            )
        settings[expert.name] = expert.fingerprint
    return settings
