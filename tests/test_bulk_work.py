"""Decisions of a worker: each prompt computed once, the last ones remembered, in bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zooter_lite.bulk.options import Options
from zooter_lite.bulk.work import Worker
from zooter_lite.router.router import Router

PROMPTS = [f"{a} {b}" for a in ("one", "two", "three", "four") for b in ("five", "six", "seven")]


def test_each_prompt_is_computed_once_while_it_is_remembered(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[list[str]] = []
    real = Router.predict

    def watched(self: Router, queries: Any, *args: Any, **options: Any) -> Any:
        computed.append(list(queries))
        return real(self, queries, *args, **options)

    here = Worker(Options(str(toy), "-", "-"))
    monkeypatch.setattr(Router, "predict", watched)
    first = here.choose(PROMPTS)
    second = here.choose([*PROMPTS[:3], "new"])
    assert [second[prompt] for prompt in PROMPTS[:3]] == [first[prompt] for prompt in PROMPTS[:3]]
    assert computed == [PROMPTS, ["new"]]
