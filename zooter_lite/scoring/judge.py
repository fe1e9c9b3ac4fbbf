"""Responses scored by an LLM: one at a time from 1 to 10, or two against each other.

In the manner of MT-Bench (Zheng et al. 2023, "Judging LLM-as-a-Judge with MT-Bench and
Chatbot Arena", arXiv 2306.05685, sections 3.1 and 3.4): a short assessment first and a
verdict in a set form last; pairs are judged in both orders, since judges favour a place.
A response may try to talk the judge round. It is quoted between marks that it cannot
know, and only the judge's own last line is read; neither is a guarantee.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.ask.asking import Limits, Progress, Question, Replies, ask_all, quoted
from zooter_lite.ask.pool import Expert, experts_of
from zooter_lite.errors import DataError
from zooter_lite.scoring.verdicts import CRITERIA, FORM, parse_score, parse_verdict

if TYPE_CHECKING:
    from zooter_lite.scoring.scorer import Item, Scorer

_FIELDS = ("kind", "name", "weight", "mode", "prompt", "max_cost", "retry_failed", "expert")


def read_judge(table: Mapping[str, Any], where: str) -> Scorer:
    """Make a judge of a table `[[scorer]]` with kind = "judge".

    Parameters
    ----------
    table
        `name`; `mode`, "single" or "pairwise"; `prompt`, what to judge by, with {query} and
        {response}, or {query}, {response_a} and {response_b} (the form of the verdict is
        added to it); `max_cost`, a budget of all runs; `retry_failed`, true asks again
        where every attempt failed before; `expert`, a table with the fields of an
        `[[expert]]` of a pool file. Name, mode and expert are required.
    where
        Place of the table, for errors.

    Raises
    ------
    DataError
        With the field, and what was expected there.
    """
    for key in table:
        if key not in _FIELDS:
            raise DataError(f"{where}: unknown field {key!r}; expected {', '.join(_FIELDS)}")
    name, mode = table.get("name"), table.get("mode")
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{where}: name is {name!r}, expected a name")
    if not isinstance(mode, str) or mode not in CRITERIA:
        raise DataError(f"{where}: mode is {mode!r}, expected {' or '.join(CRITERIA)}")
    prompt = table.get("prompt", CRITERIA[mode])
    for part in re.findall(r"{\w+}", CRITERIA[mode]):
        if not isinstance(prompt, str) or part not in prompt:
            raise DataError(f"{where}: prompt is {prompt!r:.60}, expected a text with {part}")
    most, again = table.get("max_cost"), table.get("retry_failed", False)
    if most is not None and (
        isinstance(most, bool) or not isinstance(most, (int, float)) or not most > 0
    ):
        raise DataError(f"{where}: max_cost is {most!r}, expected a positive number")
    if not isinstance(again, bool):
        raise DataError(f"{where}: retry_failed is {again!r}, expected true or false")
    expert = table.get("expert")
    if not isinstance(expert, dict):
        raise DataError(f"{where}: no table 'expert'; expected one like those of a pool file")
    (llm,) = experts_of({"expert": [{"name": name} | expert]}, where)
    return Judge(name, mode, prompt, llm, Limits(most, again))


@dataclass
class Judge:
    """An LLM that scores responses.

    Attributes
    ----------
    name
        Name of the scorer.
    mode
        "single": the score is the LLM's, 1 to 10. "pairwise": the mean win rate over the
        query's other responses, 0 to 1; a win counts only where both orders agree on it,
        anything else is half a win for either.
    prompt
        What to judge by, with places for the query and the responses.
    expert
        The LLM.
    limits
        Budget, and whether failures are asked again.
    notes
        Lines about the last scoring: position consistency, calls and cost.
    """

    name: str
    mode: str
    prompt: str
    expert: Expert
    limits: Limits = field(default_factory=Limits)
    notes: list[str] = field(default_factory=list)

    def score(
        self, items: Sequence[Item], folder: Path, progress: Callable[[int], object]
    ) -> NDArray[np.float64]:
        """Score responses; (n_items,), NaN where the judge gave no readable verdict.

        Answers are journaled in `folder`, so a run that was stopped goes on. `progress`
        is called with a number of items done. In pairwise mode the scores depend on
        which responses of a query are among `items`; a single one gets NaN.

        Raises
        ------
        ExpertError
            The judge refuses every call or does not answer.
        DataError
            The journal is damaged or cannot be written, or the budget was reached.
        """
        safe = re.sub(r"[^\w.-]", "_", self.name)
        path = folder / f"judge-{safe}.jsonl"
        if self.mode == "single":
            return self._single(items, path, progress)
        return self._pairwise(items, path, progress)

    def _single(self, items: Sequence[Item], path: Path, progress: Progress) -> NDArray[np.float64]:
        def question(place: int) -> Question:
            item = items[place]
            parts = {"query": item.query, "response": item.response}
            return self._question(parts, {"query_id": item.query_id, "expert": item.expert})

        replies = ask_all(
            len(items), question, self.expert, path, parse_score, self.limits, progress
        )
        self.notes = [_calls_note(replies)]
        return np.asarray([np.nan if s is None else s for s in replies.parsed], dtype=np.float64)

    def _pairwise(
        self, items: Sequence[Item], path: Path, progress: Progress
    ) -> NDArray[np.float64]:
        pairs = _pairs(items)
        asked = [
            order
            for i, j in pairs
            if items[i].response != items[j].response  # else a tie, without a call
            for order in ((i, j), (j, i))
        ]

        def question(place: int) -> Question:
            a, b = (items[i] for i in asked[place])
            parts = {"query": a.query, "response_a": a.response, "response_b": b.response}
            return self._question(parts, {"query_id": a.query_id, "experts": [a.expert, b.expert]})

        share = _Share(progress, len(asked), len(items))
        replies = ask_all(
            len(asked), question, self.expert, path, parse_verdict, self.limits, share
        )
        share.finish()
        verdicts = dict(zip(asked, replies.parsed, strict=True))
        points: list[list[float]] = [[] for _ in items]
        agreed = read = 0
        for i, j in pairs:
            first, second = verdicts.get((i, j), "tie"), verdicts.get((j, i), "tie")
            if first is None or second is None:
                continue
            win = pair_points(first, second)
            points[i].append(win)
            points[j].append(1.0 - win)
            if (i, j) in verdicts:
                read += 1
                agreed += second == {"A": "B", "B": "A", "tie": "tie"}[first]
        share_text = f"{agreed / read:.1%}" if read else "none"
        self.notes = [
            f"position consistency {share_text}: both orders agree on {agreed} of {read} pairs",
            _calls_note(replies),
        ]
        return np.asarray([np.mean(p) if p else np.nan for p in points], dtype=np.float64)

    def _question(self, parts: Mapping[str, str], facts: Mapping[str, Any]) -> Question:
        """Fill the prompt; what stands in a query or response is never taken for a place."""
        blocks = {
            name: quoted({"query": "question"}.get(name, name.replace("response", "answer")), text)
            for name, text in parts.items()
        }
        filled = re.sub(r"{(\w+)}", lambda found: blocks.get(found[1], found[0]), self.prompt)
        return Question(f"{filled}\n\n{FORM[self.mode]}", facts)


def pair_points(first: str, second: str) -> float:
    """Points of the response that stood at A in the `first` order and at B in the `second`.

    1 or 0 where both orders prefer the same response, else 0.5.
    """
    return {("A", "B"): 1.0, ("B", "A"): 0.0}.get((first, second), 0.5)


def _pairs(items: Sequence[Item]) -> list[tuple[int, int]]:
    """Positions of any two responses to one query."""
    groups: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        groups.setdefault(item.query_id, []).append(place)
    return [pair for group in groups.values() for pair in combinations(group, 2)]


def _calls_note(replies: Replies) -> str:
    tally = replies.tally
    return (
        f"{len(replies.parsed)} verdicts asked for, {replies.failed} without a readable answer; "
        f"{tally.attempts} calls now ({tally.tokens_in:,} tokens in, {tally.tokens_out:,} out), "
        f"cost of all runs {replies.cost:.4f}"
    )


class _Share:
    """Tells a bar that counts items of calls, of which there are more."""

    def __init__(self, progress: Progress, n_calls: int, n_items: int) -> None:
        self._progress, self._calls, self._items = progress, n_calls, n_items
        self._done = self._told = 0

    def __call__(self, n: int) -> None:
        self._done += n
        self._tell(self._done * self._items // self._calls if self._calls else 0)

    def finish(self) -> None:
        self._tell(self._items)

    def _tell(self, items: int) -> None:
        self._progress(items - self._told)
        self._told = items
