"""The pocket experts recipe: verifiers, experts, the code runner's limits, the bundled sample."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.pocket.build import build, encode
from recipes.pocket.experts import EXPERTS
from recipes.pocket.experts.calculator import parse
from recipes.pocket.experts.code_runner import refusal, run
from recipes.pocket.responses import POOL
from zooter_lite.ask.pool import read_pool
from zooter_lite.scoring.sandbox import Limits

SAMPLE = Path(__file__).parents[1] / "zooter_lite" / "table" / "sample.jsonl.gz"


@pytest.fixture(scope="module")
def sample() -> list[dict[str, Any]]:
    text = gzip.decompress(SAMPLE.read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    "formula",
    ["9**9**9", "9**999", "9**(99**9)", "__import__('os')", "x.__class__", "1" * 90, "open('x')"],
)
def test_parse_refuses_what_is_not_a_small_formula(formula: str) -> None:
    assert parse(formula) is None


@pytest.mark.parametrize(
    "source",
    [
        "import os\nprint(1)",
        "print(().__class__)",
        "print(getattr(1, 'real'))",
        "open('/etc/passwd')",
        "print('{0.real}'.format(1))",
    ],
)
def test_code_runner_refuses_before_running(source: str) -> None:
    assert refusal(source) is not None


def test_code_runner_caps_its_output_and_hides_the_environment() -> None:
    assert run("print('ab' * 5000)", Limits()) == "ab" * 100
    assert run("raise ValueError(1)", Limits()) is None
    assert run("import os; print(dict(os.environ).get('HOME'))", Limits()) == "None\n"


@pytest.mark.parametrize("name", [name for name in EXPERTS if name != "code_runner"])
@given(prompt=st.text(max_size=60) | st.from_regex(r"[a-z ]{0,12}[0-9 +*/^=().x%-]{0,12}"))
@settings(max_examples=25, deadline=None)
def test_experts_never_raise(name: str, prompt: str) -> None:
    response = EXPERTS[name](prompt)
    assert response
    assert len(response) <= 200


def test_sample_is_small_complete_and_without_repeats(sample: list[dict[str, Any]]) -> None:
    assert SAMPLE.stat().st_size < 1_000_000
    assert len(sample) >= 1_400
    assert len({row["subset"] for row in sample}) >= 12
    assert max(Counter(row["query"] for row in sample).values()) == 1
    assert [row["query_id"] for row in sample] == sorted(row["query_id"] for row in sample)
    names = [*EXPERTS, *(expert.name for expert in read_pool(str(POOL)))]
    for row in sample:
        assert row["tags"]
        assert all(0.0 <= row[f"reward:{name}"] <= 1.0 for name in names)
        assert all(row[f"response:{name}"] for name in EXPERTS)  # an LLM may say nothing
        assert sum(key.startswith("response:") for key in row) == len(names)


@pytest.mark.slow
def test_building_again_gives_the_bundled_bytes() -> None:
    assert encode(build(seed=0)) == SAMPLE.read_bytes()
