"""Costs from prices: by hand, through `fit`, `evaluate` and `route`, and where they fail."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Call
from tests.helpers import table, toy_tokenizer, write_lines
from zooter_lite import Router, evaluate_router
from zooter_lite.ask.prices import mean_costs, priced, windows_of
from zooter_lite.errors import DataError

POOL = """
[[expert]]
name = "e0"
base_url = "http://127.0.0.1:1/v1"
model = "small"
price_input = 1
price_output = 10
context_window = 8
[[expert]]
name = "e1"
base_url = "http://127.0.0.1:1/v1"
model = "large"
price_output = 100
"""
TOKENIZER = toy_tokenizer().to_str()


@pytest.fixture
def pool(tmp_path: Path) -> str:
    """Path of a pool file with two experts."""
    (tmp_path / "experts.toml").write_text(POOL, "utf-8")
    return str(tmp_path / "experts.toml")


def test_costs_are_tokens_times_prices(pool: str) -> None:
    asked = replace(
        table([[1, 0], [0, 1]], queries=["one two", "three"]),
        responses=[["four", "five six seven"], [None, "eight"]],
    )
    found = priced(asked, pool, TOKENIZER)
    assert found.table.costs is not None
    expected = [[(2 * 1 + 1 * 10) / 1e6, 3 * 100 / 1e6], [float("nan"), 1 * 100 / 1e6]]
    np.testing.assert_allclose(found.table.costs, expected, rtol=1e-6)
    assert found.mean_costs == pytest.approx({"e0": 12 / 1e6, "e1": 200 / 1e6})
    assert found.tokens_in.tolist() == [1.5, 1.5]
    assert found.tokens_out.tolist() == [1.0, 2.0]
    again = mean_costs(pool, ["e0", "e1"], [1.5, 1.5], [1.0, 2.0])
    assert again == pytest.approx({"e0": 11.5 / 1e6, "e1": 200 / 1e6})


def test_windows_are_those_that_the_pool_file_knows(pool: str) -> None:
    assert windows_of(pool, ["e1", "e0"]) == {"e0": 8}


def test_what_cannot_be_priced_is_refused(pool: str, tmp_path: Path) -> None:
    plain = table([[1, 0], [0, 1]])
    with pytest.raises(DataError, match=r"prices need responses, .* no 'response:e0'"):
        priced(plain, pool, TOKENIZER)
    with pytest.raises(DataError, match="no expert 'e2'; found e0, e1"):
        windows_of(pool, ["e0", "e2"])
    free = tmp_path / "free.toml"
    free.write_text(POOL.replace("price_", "# price_"), "utf-8")
    with pytest.raises(DataError, match="no expert has price_input or price_output"):
        mean_costs(str(free), ["e0", "e1"], [1.0, 1.0], [1.0, 1.0])


def test_prices_go_from_fit_to_route(call: Call, cache: Path, pool: str, tmp_path: Path) -> None:
    """Expert e1 is right on poems; e0 is as good on sums, and a tenth of the price."""
    data = tmp_path / "table.csv"
    with data.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["query", "reward:e0", "reward:e1", "response:e0", "response:e1", "split"])
        for i in range(80):
            split = "test" if i % 4 == 0 else "train"
            writer.writerow(
                [f"What is {i} plus {7 * i + 3}?", 1, 1, str(8 * i + 3), "it is", split]
            )
            writer.writerow([f"Write poem {i} about flowers.", 0, 1, "no", "roses are red", split])
    code, out, err = call("fit", "--data", data, "--out", tmp_path / "r", "--prices", pool)
    assert code == 0, err
    assert "operating points, out of fold on train:" in out
    router = Router.load(tmp_path / "r")
    asked = ["What is 1000 plus 41?", "Write poem 99 about flowers."]
    matched = router.route(asked, point="match")
    assert [decision.expert for decision in matched] == ["e0", "e1"]
    assert matched[0].reason.startswith("point match: highest reward - ")
    assert (matched[0].expected_cost or 1.0) < 1e-3

    dearer = tmp_path / "dearer.toml"
    dearer.write_text(POOL.replace("price_output = 10\n", "price_output = 500\n"), "utf-8")
    words = ("--router", tmp_path / "r", "--data", data, "--prices", dearer)
    code, out, err = call("evaluate", *words, "--json", tmp_path / "report.json")
    assert code == 0, err
    points = json.loads((tmp_path / "report.json").read_text("utf-8"))["slices"][0]["points"]
    assert {"quality", "match", "economy"} <= {point["name"] for point in points}
    assert all(point["verdict"] in out for point in points)
    costs = []  # of the router's curve, with the embeddings that the fit left, and without
    for where in (str(cache), "none"):
        one = evaluate_router(tmp_path / "r", data, prices=str(dearer), cache=where).slices["test"]
        assert one.costs is not None
        costs.append([point.cost for point in one.costs.systems[0].hull])
    assert costs[0] == pytest.approx(costs[1])

    prompts = write_lines(tmp_path / "prompts.jsonl", ({"query": query} for query in asked))
    experts = {}
    for name, prices in (("same", pool), ("dearer", str(dearer))):
        target = tmp_path / f"{name}.jsonl"
        files = ("--router", tmp_path / "r", "--input", prompts, "--output", target)
        code, _, err = call("route", *files, "--cost-weight", 2000, "--prices", prices)
        assert code == 0, err
        assert "expected cost of all: " in err
        experts[name] = [json.loads(line)["expert"] for line in target.open(encoding="utf-8")]
    assert experts == {"same": ["e0", "e1"], "dearer": ["e1", "e1"]}


def test_a_router_without_tokens_follows_no_prices(
    call: Call, toy: Path, pool: str, tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_text("query\none\n", "utf-8")
    files = ("--input", tmp_path / "p.csv", "--output", tmp_path / "o.csv")
    code, _, err = call("route", "--router", toy, *files, "--prices", pool)
    assert code == 2
    assert err.splitlines()[-1].endswith("was not fitted with --prices")
    assert not (tmp_path / "o.csv").exists()
