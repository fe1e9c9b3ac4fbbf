"""The folder of responses: what was asked before, under which settings, and what is left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from zooter_lite.ask.calls import Call, Tally
from zooter_lite.ask.known import Known, Record, Value
from zooter_lite.ask.pool import Expert
from zooter_lite.errors import DataError, ZooterError
from zooter_lite.files.atomic import atomic_text
from zooter_lite.table.keys import id_of
from zooter_lite.table.queries import Queries

JOURNAL = "responses.jsonl"
SETTINGS = "experts.json"
_CHARACTERS_PER_TOKEN = 4  # of English text, roughly


class NoAnswerError(ZooterError):
    """An expert failed every query; what the others answered is kept."""

    exit_code = 1


def read_known(
    path: Path,
    texts: dict[str, str],
    value: Callable[[Record], Value],
    retry_failed: bool = False,
) -> Known[tuple[str, str], Value]:
    """Read a journal of responses, by query_id and expert.

    `texts` holds the text of each query_id that is known, and gets those of the journal; DataError
    where an id stands for two.
    """

    def pair(record: Record) -> tuple[str, str]:
        name, text = id_of(record["query_id"]), str(record["query"])
        if texts.setdefault(name, text) != text:
            raise DataError(f"{path}: query_id {name!r} stands there for another query")
        return name, str(record["expert"])

    return Known(path, "response", pair, value, retry_failed)


class Collection:
    """Queries, the experts that answer them, and what a folder holds of their responses.

    The folder may be missing; nothing is written before `keep_settings`. Failures of earlier
    runs are calls that are left where `retry_failed`.

    Raises
    ------
    DataError
        The journal is damaged or holds another text under one of the ids, or an expert has
        other settings than those under which it answered.
    """

    def __init__(
        self, folder: Path, pool: Sequence[Expert], queries: Queries, *, retry_failed: bool = False
    ) -> None:
        self.folder, self.pool, self.queries = folder, pool, queries
        texts = dict(zip(queries.ids, queries.texts, strict=True))
        self.known = read_known(folder / JOURNAL, texts, lambda record: None, retry_failed)
        self._settings = self._checked_settings()

    def _checked_settings(self) -> dict[str, str]:
        """Fingerprint of every expert that the folder or the pool names."""
        path = self.folder / SETTINGS
        settings: dict[str, str] = {}
        if path.exists():
            try:
                settings = dict(json.loads(path.read_text("utf-8")))
            except (OSError, ValueError, TypeError) as error:
                raise DataError(f"{path}: not the settings of a collection ({error})") from error
        answered = {expert for _, expert in self.known.answers}
        for expert in self.pool:
            before = settings.get(expert.name, expert.fingerprint)
            if before != expert.fingerprint and expert.name in answered:
                raise DataError(
                    f"expert {expert.name!r} answered in {self.folder} with another model, system "
                    "prompt or sampling; give it another name, or another --out"
                )
            settings[expert.name] = expert.fingerprint
        return settings

    def keep_settings(self) -> None:
        """Write the settings of all experts into the folder."""
        with atomic_text(str(self.folder / SETTINGS)) as stream:
            stream.write(json.dumps(self._settings, indent=1, sort_keys=True) + "\n")

    def missing(self, expert: Expert) -> Iterator[Call]:
        """Yield the calls to one expert that are left."""
        for name, text in zip(self.queries.ids, self.queries.texts, strict=True):
            if (name, expert.name) not in self.known:
                yield Call({"query_id": name, "query": text, "expert": expert.name}, text)

    def n_missing(self, expert: Expert) -> int:
        """Count the calls to one expert that are left."""
        return sum(1 for _ in self.missing(expert))

    def estimate(self) -> Iterator[str]:
        """Say which calls are left, and what they cost at most."""
        total = 0.0
        for expert in self.pool:
            sizes = [len(expert.system) + len(call.prompt) for call in self.missing(expert)]
            tokens_in = sum(sizes) / _CHARACTERS_PER_TOKEN
            tokens_out = len(sizes) * (expert.max_tokens or 0)
            output = f"{tokens_out:,} out (max_tokens),"
            if expert.max_tokens is None:
                output = "output unknown (no max_tokens), at least"
            cost = expert.cost(tokens_in, tokens_out)
            total += cost
            yield (
                f"{expert.name}: {len(sizes)} calls, about {tokens_in:,.0f} tokens in, "
                f"{output} cost {cost:.4f}"
            )
        yield f"estimated cost: {total:.4f}, beside {self.known.cost:.4f} spent by earlier runs"

    def report(self, tallies: Mapping[str, Tally], max_cost: float | None) -> Iterator[str]:
        """Say what a run did, and what it left."""
        left = {expert.name: self.n_missing(expert) for expert in self.pool}
        for name, tally in tallies.items():
            cut = f" ({tally.cut} cut short, such as by max_tokens)" if tally.cut else ""
            seconds = tally.seconds / max(tally.answered + tally.failed, 1)
            yield (
                f"{name}: {tally.answered} answered{cut}, {tally.failed} failed, "
                f"{left[name]} not asked ({tally}, {seconds:.2f} s a call)"
            )
        yield f"{self.folder / JOURNAL}: cost of all runs {self.known.cost:.4f}"
        if failed := sum(self._errors(expert).total() for expert in self.pool):
            yield (
                f"{failed} pairs of query and expert ended in an error; --retry-failed asks again"
            )
        if max_cost is not None and any(left.values()):
            yield f"stopped by --max-cost with {sum(left.values())} calls left"

    def check_answered(self) -> None:
        """Raise NoAnswerError where experts were asked, and have answered none of the queries."""
        told = []
        for expert in self.pool:
            errors = self._errors(expert)
            answered = any((name, expert.name) in self.known.answers for name in self.queries.ids)
            if errors and not answered:
                ((error, count),) = errors.most_common(1)
                times = f"{count} of {errors.total()} times"
                told.append(f"expert {expert.name!r} failed every query, {times} with: {error}")
        if told:
            raise NoAnswerError("; ".join(told))

    def _errors(self, expert: Expert) -> Counter[str]:
        """Count the errors in which queries to an expert have ended."""
        pairs = ((name, expert.name) for name in self.queries.ids)
        return Counter(self.known.failed[pair] for pair in pairs if pair in self.known.failed)
