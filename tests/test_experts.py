"""Experts that are renamed, left out and added, in tables and as a user drives the commands."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Command
from tests.helpers import table
from tests.test_fit import write_planted
from zooter_lite import DataError, Router
from zooter_lite.table import read_table, write_table
from zooter_lite.table.experts import added, renamed, without
from zooter_lite.tags.plan import plan_rows

NAN = float("nan")
TABLE = table([[1.0, 0.0], [0.5, NAN], [NAN, 1.0]], queries=["one", "two", "three"])


def test_renamed_experts_keep_their_columns() -> None:
    assert renamed(TABLE, {"e1": "new"}).experts == ["e0", "new"]
    assert renamed(TABLE, {"e0": "e1", "e1": "e0"}).experts == ["e1", "e0"]
    with pytest.raises(DataError, match="--rename 'e7': the table has 'e0', 'e1'"):
        renamed(TABLE, {"e7": "x"})
    with pytest.raises(DataError, match="two experts would be named 'e1'"):
        renamed(TABLE, {"e0": "e1"})


def test_queries_that_nobody_else_answered_go_with_their_expert() -> None:
    three = replace(
        TABLE,
        experts=["e0", "e1", "e2"],
        rewards=np.array([[1, 0, NAN], [0.5, NAN, NAN], [NAN, 1, NAN], [NAN, NAN, 1]], dtype="f4"),
        queries=["one", "two", "three", "four"],
        subsets=["all"] * 4,
        query_ids=["0", "1", "2", "3"],
    )
    left, notes = without(three, ["e2"])
    assert left.experts == ["e0", "e1"]
    assert left.queries == ["one", "two", "three"]
    assert notes == ["1 queries were answered by no other expert and are left out"]
    assert without(three, [])[0].experts == three.experts
    with pytest.raises(DataError, match="1 experts would be left; expected at least two"):
        without(TABLE, ["e0"])


def test_added_rewards_are_joined_by_query_or_id() -> None:
    more = table([[0.25, 1.0], [0.75, NAN]], queries=["two ", "elsewhere"])
    more = replace(more, experts=["late", "e1"], costs=np.array([[2.0, NAN], [3.0, NAN]], "f4"))
    whole, notes = added(TABLE, more, "new.csv")
    assert whole.experts == ["e0", "e1", "late"]
    np.testing.assert_array_equal(
        whole.rewards, np.array([[1, 0, NAN], [0.5, 1, 0.25], [NAN, 1, NAN]], dtype="f4")
    )
    assert whole.costs is not None
    assert whole.costs[1, 2] == 2.0
    assert np.isnan(whole.costs).sum() == 8
    assert notes == [
        "new.csv: added late (1 queries), e1 (1 queries)",
        "new.csv: 1 of 2 rows match no query",
    ]
    scored = replace(TABLE, scores={"judge": np.zeros((3, 2))})
    assert added(scored, more, "new.csv")[0].scores == {}  # none of the new expert
    log = replace(TABLE, propensities=np.array([NAN, 0.5, 0.5]))  # of the two rows with one reward
    chances = added(log, more, "new.csv")[0].propensities
    np.testing.assert_array_equal(chances, [NAN, NAN, 0.5])
    named = replace(TABLE, query_ids=["a", "b", "c"])
    by_id = replace(more, queries=["other words", "elsewhere"], query_ids=["c", "z"])
    assert added(named, by_id, "new.csv")[0].rewards[2].tolist() == [
        pytest.approx(NAN, nan_ok=True), 1.0, 0.25,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("queries", "rewards", "message"),
    [
        (["nowhere"], [[1.0, 1.0]], "none of its 1 queries stands in the table"),
        (["one"], [[0.5, 0.5]], "query '0' gives 'e0' 0.5, but the table has 1"),
    ],
)
def test_added_rewards_that_do_not_fit(
    queries: list[str], rewards: list[list[float]], message: str
) -> None:
    with pytest.raises(DataError, match=f"new.csv: {message}"):
        added(TABLE, table(rewards, queries=queries), "new.csv")


def test_a_plan_asks_telling_subsets_more_and_within_them_at_random() -> None:
    # by hand: standard deviations of 0.5 and 0, both with a floor of 0.05, on 200 rows each
    subset, tag, telling = np.arange(400) % 2, np.arange(400) % 10 < 2, np.arange(400) % 4 < 2
    rewards = np.where(subset[:, None] == 0, [[0.0, 1.0]], 1.0)
    rewards[~telling] = rewards[~telling, 1:]  # of either, half of the queries tell nothing
    whole = table(
        rewards,
        subsets=[f"s{number}" for number in subset.tolist()],
        tags=[["rare"] if rare else ["common"] for rare in tag.tolist()],
    )
    rows = np.arange(400)
    chosen = plan_rows(whole, rows, 140, seed=0)
    assert len(set(chosen)) == 140
    assert np.bincount(subset[chosen]).tolist() == [120, 20]  # as 0.3 to 0.05
    assert np.bincount(tag[chosen]).tolist() == [112, 28]  # a fifth of the queries
    assert 45 <= telling[chosen][subset[chosen] == 0].sum() <= 75
    assert plan_rows(whole, rows, 10, seed=0) == chosen[:10]
    assert plan_rows(whole, rows, 10, seed=1) != chosen[:10]
    assert sorted(plan_rows(whole, rows[:5], 60, seed=0)) == [0, 1, 2, 3, 4]


def test_a_new_expert_is_planned_asked_and_added(command: Command, tmp_path: Path) -> None:
    write_planted(tmp_path / "planted.csv", rows=80)
    data, ask = tmp_path / "planted.csv", tmp_path / "ask.csv"
    done = command("tag", "--queries", data, "--out", ask, "--plan", "poet", "--rows", 60)
    assert done.returncode == 0, done.stderr
    assert "60 of 120 training queries" in done.stdout
    with ask.open(encoding="utf-8", newline="") as stream:
        asked = list(csv.DictReader(stream))
    assert {row["reward:poet"] for row in asked} == {""}
    held = set(read_table(data).take(read_table(data).rows("test")).queries)
    assert not held & {row["query"] for row in asked}
    # the new expert is right on poems, where the other one is made to fail
    table = read_table(data)
    rewards = table.rewards.copy()
    rewards[:, 1] *= 0.4
    write_table(replace(table, rewards=rewards), str(data))
    with ask.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(asked[0]))
        writer.writeheader()
        for row in asked:
            writer.writerow(row | {"reward:poet": int("poem" in row["query"])})
    options = ("--data", data, "--add", ask, "--rename", "sums=adder", "--tags", "none")
    done = command("fit", *options, "--out", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    assert "added poet (60 queries)" in done.stdout
    router = Router.load(tmp_path / "r")
    assert router.experts == ["adder", "words", "poet"]
    prompts = ["What is 1000 plus 41?", "Write a poem, number 99, about orange flowers."]
    assert [d.expert for d in router.route(prompts)] == ["adder", "poet"]
    card = (tmp_path / "r" / "README.md").read_text("utf-8")
    assert "poet (measured on 60 queries)" in card
    assert "--add ask.csv" in card
    assert str(tmp_path) not in card
    again = command("fit", *options, "--without", "poet", "--out", tmp_path / "w")
    assert again.returncode == 2
    assert "--without 'poet': the table has 'adder', 'words'" in again.stderr


def test_plans_and_additions_that_cannot_be(command: Command, tmp_path: Path) -> None:
    write_planted(tmp_path / "planted.csv")
    data = ("--data", tmp_path / "planted.csv", "--out", tmp_path / "r")
    for words, message in (
        (("--rename", "sums"), "--rename 'sums': expected OLD=NEW"),
        (("--add", "nowhere.csv"), "nowhere.csv"),
    ):
        done = command("fit", *data, *words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr
    plan = ("--queries", tmp_path / "planted.csv", "--out", tmp_path / "a.csv", "--plan", "sums")
    done = command("tag", *plan)
    assert done.returncode == 2
    assert "the table has rewards of this expert already" in done.stderr
