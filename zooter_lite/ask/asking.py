"""One expert asked many questions whose answers must be of a set form; each is paid once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zooter_lite.ask.calls import Call, Progress, Tally, run_calls
from zooter_lite.ask.known import Known
from zooter_lite.ask.pool import Expert
from zooter_lite.errors import DataError
from zooter_lite.files.journal import Journal


@dataclass(frozen=True)
class Replies:
    """What became of the questions."""

    parsed: list[Any]  # what `parse` made of each answer, in order; None without one
    note: str  # calls, cost and failures, for people


def ask_all(
    questions: Callable[[], Iterable[Call]],
    expert: Expert,
    path: Path,
    parse: Callable[[str], Any],
    *,
    max_cost: float | None = None,
    retry_failed: bool = False,
    progress: Progress = lambda n: None,
) -> Replies:
    """Put questions to one expert, and go on where an earlier run was stopped.

    The journal at `path` knows a question by a hash of the prompt and of the expert's settings:
    where either changes, the question is a new one. Equal prompts are one question. `questions`
    is called twice, so that the prompts need not be held; the rest is as for `run_calls`.

    Raises
    ------
    ExpertError
        The expert refuses every call or does not answer.
    DataError
        The journal is damaged, or `max_cost` was reached; what was answered is kept.
    """
    keys = [_key(expert, each.prompt) for each in questions()]
    known = Known(
        path, "question", lambda r: str(r["question"]), lambda r: r["parsed"], retry_failed
    )
    missing = {key for key in keys if key not in known}
    tally, n_calls = Tally(), len(missing)
    progress(len(keys) - n_calls)

    def asked() -> Iterator[Call]:
        for key, each in zip(keys, questions(), strict=True):
            if key in missing:
                missing.remove(key)
                yield Call({"question": key, **each.key}, each.prompt)

    if missing:
        limits: dict[str, Any] = {"max_cost": max_cost, "parse": parse, "progress": progress}
        with Journal(path) as journal:
            tallies = run_calls({expert.name: asked()}, [expert], journal, known, **limits)
        tally = tallies[expert.name]
        if left := n_calls - tally.answered - tally.failed:
            raise DataError(
                f"{path}: the budget of {max_cost} ended the run with {left} calls left; "
                "the answers so far are kept"
            )
    failed = len(known.failed.keys() & set(keys))
    note = f"{tally} (of all runs {known.cost:.4f}), {failed} queries without a readable answer"
    return Replies([known.answers.get(key) for key in keys], note)


def _key(expert: Expert, prompt: str) -> str:
    content = json.dumps([expert.fingerprint, prompt])
    return hashlib.sha256(content.encode()).hexdigest()[:32]
