"""The pocket experts recipe: verifiers, experts, the code runner's limits, the bundled sample."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.pocket.build import build, encode, summary
from recipes.pocket.experts import DONT_KNOW, EXPERTS
from recipes.pocket.experts.calculator import parse
from recipes.pocket.experts.code_runner import refusal, run
from recipes.pocket.responses import POOL
from recipes.pocket.verify import Answer, day, exact, items, number, one_of, verify
from zooter_lite.ask.pool import read_pool
from zooter_lite.scoring.sandbox import Limits

SAMPLE = Path(__file__).parents[1] / "zooter_lite" / "table" / "sample.jsonl.gz"


@pytest.fixture(scope="module")
def sample() -> list[dict[str, Any]]:
    text = gzip.decompress(SAMPLE.read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("response", "answer", "reward"),
    [
        ("  'New  DELHI'. ", exact("New Delhi"), 1.0),
        ("It costs 1,250.50", number(1250.5), 1.0),
        ("2 boxes make 7", number(2), 0.0),
        ("1/4", number(0.25), 1.0),
        ("3.11", number(3.107, 5e-3), 1.0),
        ("3.2", number(3.107, 5e-3), 0.0),
        ("Cacti", one_of("cacti", "cactuses"), 1.0),
        ("[1, 2, 3]", items([1, 2, 3]), 1.0),
        ("1, 3, 2", items([1, 2, 3]), 0.3333),
        ("1, 2, 3, 4", items([1, 2, 3]), 0.75),
        ("March 4th, 2021", day(date(2021, 3, 4)), 1.0),
        ("2021-04-03", day(date(2021, 3, 4)), 0.0),
        (DONT_KNOW, one_of("yes", "no"), 0.0),
    ],
)
def test_verifier_on_worked_examples(response: str, answer: Answer, reward: float) -> None:
    assert verify(response, answer) == reward


@pytest.mark.parametrize(
    ("expert", "prompt", "response"),
    [
        ("calculator", "What is 12 + 3 * 4?", "24"),
        ("calculator", "Solve 3x + 4 = 19.", "5"),
        ("calculator", "Find the derivative of 5x^2 at x = 3", "30"),
        ("calculator", "What is the capital of France?", DONT_KNOW),
        ("units", "Convert 3 feet to inches.", "36"),
        ("units", "What is 100 degrees Celsius in Fahrenheit?", "212"),
        ("units", "What is the plural of mouse?", DONT_KNOW),
        ("calendar", "What day of the week was 20 July 1969?", "Sunday"),
        ("calendar", "Was 1900 a leap year? yes or no", "no"),
        ("calendar", "Reverse the word 'planet'.", DONT_KNOW),
        ("strings_lists", "Reverse the word 'planet'.", "tenalp"),
        ("strings_lists", "Remove the duplicates: 4, 4, 2, 4, 9", "4, 2, 9"),
        ("strings_lists", "Who wrote Hamlet?", DONT_KNOW),
        ("code_runner", "What does this print?\n```python\nprint(7 // 2)\n```", "3"),
        ("code_runner", "In Python, what is `[n * 2 for n in range(3)]`?", "[0, 2, 4]"),
        ("code_runner", "How are you today?", DONT_KNOW),
        ("lexicon", "What is the plural of berry?", "berries"),
        ("lexicon", "How do you say 'dog' in German?", "Hund"),
        ("lexicon", "Convert 3 feet to inches.", DONT_KNOW),
        ("encyclopedia", "What is the capital of Norway?", "Oslo"),
        ("encyclopedia", "Sort these: 3, 1, 2", DONT_KNOW),
        ("generalist", "What is 2 + 3 * 4?", "20"),
        ("generalist", "Tell me something.", DONT_KNOW),
    ],
)
def test_expert_inside_and_outside_its_field(expert: str, prompt: str, response: str) -> None:
    assert EXPERTS[expert](prompt) == response


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


@pytest.mark.parametrize(
    "source",
    ["while True:\n    pass", "print(len('x' * 10**9))", "raise ValueError(1)"],
    ids=["endless", "memory", "error"],
)
def test_code_runner_survives_greedy_programs(source: str) -> None:
    limits = Limits(cpu_seconds=1, wall_seconds=2.0, memory_bytes=64 * 1024 * 1024)
    assert run(source, limits) is None


def test_code_runner_caps_its_output_and_hides_the_environment() -> None:
    assert run("print('ab' * 5000)", Limits()) == "ab" * 100
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


def test_sample_leaves_room_for_a_router(sample: list[dict[str, Any]]) -> None:
    rewards = [[row[key] for key in row if key.startswith("reward:")] for row in sample]
    means = [sum(column) / len(sample) for column in zip(*rewards, strict=True)]
    oracle = sum(map(max, rewards)) / len(sample)
    assert max(means) < 0.45
    assert oracle > max(means) + 0.3
    assert f"oracle: {oracle:.3f}" in summary(sample)


@pytest.mark.slow
def test_building_again_gives_the_bundled_bytes() -> None:
    assert encode(build(seed=0)) == SAMPLE.read_bytes()
