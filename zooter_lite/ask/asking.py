"""One expert asked many questions whose answers must be of a set form; each is paid once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zooter_lite.ask.calls import Call, Tally, run_calls
from zooter_lite.ask.known import Known
from zooter_lite.ask.pool import Expert
from zooter_lite.errors import DataError
from zooter_lite.files.journal import Journal

Progress = Callable[[float], object]


@dataclass(frozen=True)
class Replies:
    """What became of the questions."""

    parsed: list[Any]  # what `parse` made of each answer, in order; None without one
    note: str  # calls, cost and failures, for people


def ask_all(
    n_calls: int,
    call: Callable[[int], Call],
    expert: Expert,
    path: Path,
    parse: Callable[[str], Any],
    *,
    max_cost: float | None = None,
    retry_failed: bool = False,
    progress: Progress = lambda n: None,
) -> Replies:
    """Put questions to one expert, and go on where an earlier run was stopped.

    A question is known in the journal by a hash of the prompt and of the expert's settings:
    where either changes, the question is a new one, and answers to the old are not used.

    Parameters
    ----------
    n_calls, call
        How many there are, and the one at each position; called twice for each, so that
        the prompts need not be held. Equal prompts are one question.
    path
        The journal; its records hold `question` (the hash), the call's key, and what
        `run_calls` writes.
    parse, max_cost, progress
        As for `run_calls`; questions of earlier runs are counted first.

    Raises
    ------
    ExpertError
        The expert refuses every call or does not answer.
    DataError
        The journal is damaged, or `max_cost` was reached; what was answered is kept.
    """
    keys = [_key(expert, call(place).prompt) for place in range(n_calls)]
    places = {key: place for place, key in reversed(list(enumerate(keys)))}  # the first of each
    known = Known(
        path, "question", lambda r: str(r["question"]), lambda r: r["parsed"], retry_failed
    )
    missing = [key for key in dict.fromkeys(keys) if key not in known]
    progress(n_calls - len(missing))
    tally = Tally()
    if missing:
        asked = ((key, call(places[key])) for key in missing)
        calls = (Call({"question": key, **each.key}, each.prompt) for key, each in asked)
        limits: dict[str, Any] = {"max_cost": max_cost, "parse": parse, "progress": progress}
        with Journal(path) as journal:
            tallies = run_calls({expert.name: calls}, [expert], journal, known, **limits)
        tally = tallies[expert.name]
        if left := len(missing) - tally.answered - tally.failed:
            raise DataError(
                f"{path}: the budget of {max_cost} ended the run with {left} calls left; "
                "the answers so far are kept"
            )
    failed = len(known.failed.keys() & places.keys())
    note = f"{tally} (of all runs {known.cost:.4f}), {failed} queries without a readable answer"
    return Replies([known.answers.get(key) for key in keys], note)


def _key(expert: Expert, prompt: str) -> str:
    content = json.dumps([expert.fingerprint, prompt])
    return hashlib.sha256(content.encode()).hexdigest()[:32]
