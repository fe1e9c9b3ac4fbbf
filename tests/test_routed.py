"""From a table and a router to a report: toy routers, tables written to disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import EXPERTS, WORDS, table, toy_router, units
from zooter_lite import Router
from zooter_lite.compare import evaluation, rivals
from zooter_lite.compare.evaluation import evaluate_router, held_out_report
from zooter_lite.compare.rivals import Rival, clusters
from zooter_lite.compare.routed import Plan, RoutedTable, routed
from zooter_lite.compare.suite import TableChoice
from zooter_lite.errors import DataError
from zooter_lite.router.head import Head
from zooter_lite.table import write_table
from zooter_lite.table.reward_table import RewardTable

NAN = float("nan")


def toy_table(costs: bool = False) -> RewardTable:
    """Forty rows of words in splits train, test and ood; subsets a and b."""
    random = np.random.default_rng(0)
    words = WORDS[4:]
    queries = [
        f"{words[i % 9]} {words[(i // 9) % 9]} {words[(i * 7 + 3) % 9]} {words[i % 4]}"
        for i in range(40)
    ]
    made = table(
        random.random((40, 3)).round(2),
        queries=queries,
        subsets=["a" if i % 3 else "b" for i in range(40)],
    )
    splits = ["train"] * 24 + ["test"] * 10 + ["ood"] * 6
    prices = np.tile(np.asarray([1, 2, 3], dtype=np.float32), (40, 1)) if costs else None
    return replace(made, experts=list(EXPERTS), splits=splits, costs=prices)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    toy_router(tmp_path / "router")
    write_table(toy_table(), str(tmp_path / "toy.jsonl"))
    return tmp_path


def run(folder: Path, plan: Plan | None = None, **changes: Any) -> RoutedTable:
    wanted = TableChoice("toy", str(folder / "toy.jsonl"), str(folder / "router"))
    return routed(replace(wanted, **changes), plan or Plan(cache="none"))


def test_the_slices_hold_the_routers_outputs_of_their_rows(folder: Path) -> None:
    found = run(folder)
    rows = toy_table()
    router = Router.load(folder / "router")
    assert [one.name for one in found.slices] == ["toy ood", "toy test"]
    for one in found.slices:
        part = rows.take(rows.rows(one.split))
        probs, embeddings = router.embed(part.queries)
        np.testing.assert_allclose(one.predicted.probs, probs, atol=1e-6)
        np.testing.assert_allclose(one.embeddings, embeddings, atol=1e-6)
        np.testing.assert_array_equal(one.table.rewards, part.rewards)
        earned = [part.rewards[i, choice] for i, choice in enumerate(probs.argmax(axis=1))]
        np.testing.assert_allclose(one.systems[0].rewards, earned)
        train = rows.rewards[:24].astype(np.float64)
        np.testing.assert_allclose(one.known.mean_rewards, train.mean(axis=0))
        assert one.known.best_single == int(train.mean(axis=0).argmax())
        assert one.known.mean_costs is None
    assert found.notes == []


def test_the_api_takes_objects_and_paths(folder: Path) -> None:
    by_path = evaluate_router(folder / "router", folder / "toy.jsonl", cache="none")
    router = Router.load(folder / "router")
    by_object = evaluate_router(router, toy_table(), name="toy", splits=["test"], subsets=["a"])
    assert list(by_path.slices) == ["ood", "test"]
    assert by_path.made["routers"] == by_object.made["routers"] == {"toy": "router"}
    (one,) = by_object.slices.values()
    assert (one.name, one.subset_rows) == ("toy test", {"a": 6})
    assert one.router.subsets["a"] == pytest.approx(by_path.slices["test"].router.subsets["a"])


def test_queries_of_the_fit_are_told_in_a_table_without_splits(folder: Path) -> None:
    rows = replace(toy_table(), splits=None)
    report = evaluate_router(Router.load(folder / "router"), rows, cache="none")
    assert report.slices["all"].rows == 40  # the toy index holds none of them
    assert report.notes == []


def spied(monkeypatch: pytest.MonkeyPatch, *strengths: float) -> list[Any]:
    """Let clusters be the one rival; returns what it will be given."""
    seen: list[Any] = []

    def spy(inputs: Any, rewards: Any, evaluated: Any, strength: float) -> NDArray[np.float64]:
        seen.append((inputs, rewards, evaluated))
        return clusters(inputs, rewards, evaluated, strength)

    monkeypatch.setattr(rivals, "RIVALS", (Rival("clusters", spy, strengths),))
    return seen


def test_rivals_learn_of_the_training_rows_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spied(monkeypatch, 2.0)
    found = run(folder, Plan(rivals=True, cache="none"))
    ((inputs, rewards, evaluated),) = seen
    np.testing.assert_allclose(rewards, toy_table().rewards[:24])
    assert len(evaluated) == 16
    for one in found.slices:
        system = next(s for s in one.systems if s.name == "clusters")
        expected = clusters(inputs, rewards, one.embeddings.astype(np.float64), 2.0)
        assert system.scores is not None
        np.testing.assert_allclose(system.scores, expected, atol=1e-6)
        assert system.role == "baseline"


def test_other_rewards_on_the_evaluated_rows_change_no_choice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spied(monkeypatch, 2.0, 3.0, 5.0)
    before = run(folder, Plan(rivals=True, cache="none")).slices
    rows = toy_table()
    changed = rows.rewards.copy()
    changed[24:] = 1 - changed[24:]
    write_table(replace(rows, rewards=changed), str(folder / "toy.jsonl"))
    after = run(folder, Plan(rivals=True, cache="none")).slices
    for one, other in zip(before, after, strict=True):
        for first, second in zip(one.systems, other.systems, strict=True):
            assert first.name == second.name
            if first.choices is not None and second.choices is not None:
                np.testing.assert_array_equal(first.choices, second.choices)


def test_further_routers_are_systems(folder: Path) -> None:
    toy_router(folder / "second", "linear", ["cat", "ant", "bee"])  # another order of experts
    found = run(folder, also=(str(folder / "second"),))
    second = Router.load(folder / "second")
    for one in found.slices:
        system = next(s for s in one.systems if s.name == "router second")
        assert system.choices is not None
        names = [decision.expert for decision in second.route(one.table.queries)]
        assert [EXPERTS[choice] for choice in system.choices] == names
    toy_router(folder / "third", "linear", ["ant", "bee", "dog"])
    with pytest.raises(DataError, match="third: routes to ant, bee, dog; expected ant, bee, cat"):
        run(folder, also=(str(folder / "third"),))


def test_leaks_are_said(folder: Path) -> None:
    rows = toy_table()
    leaky = replace(rows, queries=[*rows.queries[:-1], rows.queries[0]])
    write_table(leaky, str(folder / "toy.jsonl"))
    leaks = len(leaky.leaks())
    assert leaks >= 1
    said = f"{leaks} evaluated rows have a query that also stands in train"
    assert run(folder).notes == [said]


def test_reward_ranking_by_hand(folder: Path) -> None:
    rows, scores = toy_table(), np.random.default_rng(0).random((40, len(EXPERTS)))
    write_table(replace(rows, scores={"judge": scores}), str(folder / "toy.jsonl"))
    for one in run(folder).slices:
        at = rows.rows(one.split)
        system = next(s for s in one.systems if s.name == "reward ranking (judge)")
        np.testing.assert_array_equal(system.choices, scores[at].argmax(axis=1))
        np.testing.assert_allclose(system.rewards, rows.rewards[at, scores[at].argmax(axis=1)])
        assert system.role == "bound"


VECTORS = units(120, 4, 0).astype(np.float32)
HELD_OUT = replace(table(VECTORS[:, :3]), splits=["dev"] * 10 + ["test"] * 50 + ["train"] * 60)
HEAD = Head(np.eye(3, 4) * 9, np.zeros(3))  # takes the expert with the largest reward


def test_every_split_but_train_is_described_and_a_large_one_in_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = held_out_report(HELD_OUT, VECTORS, HEAD, "name", 0)
    assert [(one.name, one.rows) for one in whole.slices.values()] == [
        ("name dev", 10),
        ("name test", 50),
    ]
    assert whole.notes == []
    best = HELD_OUT.rewards[10:60].max(axis=1).mean()
    assert whole.slices["test"].router.micro.mean == pytest.approx(best)
    monkeypatch.setattr(evaluation, "MOST_ROWS", 20)
    part, again = (held_out_report(HELD_OUT, VECTORS, HEAD, "name", 0) for _ in range(2))
    assert [one.rows for one in part.slices.values()] == [10, 20]
    assert part.notes == [
        "split test: 20 of its 50 rows are evaluated here, drawn at random; "
        "python -m zooter_lite.evaluate takes all"
    ]
    assert again.to_dict() == part.to_dict()
