"""From a table and a router to slices: toy routers, tables written to disk."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import EXPERTS, WORDS, table, toy_router
from zooter_lite import Router
from zooter_lite.compare.baselines import TrainedOn
from zooter_lite.compare.noise import NOISES
from zooter_lite.compare.picking import picker, reward_ranking
from zooter_lite.compare.rivals import Rival, clusters
from zooter_lite.compare.slices import Plan, evaluate_table
from zooter_lite.compare.suite import SplitChoice, SuiteTable
from zooter_lite.errors import DataError
from zooter_lite.table import write_table
from zooter_lite.table.reward_table import RewardTable

NAN = float("nan")


class Bar:
    """Counts what a progress bar is told."""

    def __init__(self) -> None:
        self.told: dict[str, list[int]] = {}

    def __call__(self, label: str, total: int) -> Any:
        self.told[label] = [total, 0]

        class Counting:
            def update(inner, done: int) -> None:  # noqa: N805
                self.told[label][1] += done

        return nullcontext(Counting())


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


def suite_table(folder: Path, **changes: Any) -> SuiteTable:
    return replace(SuiteTable("toy", str(folder / "toy.jsonl"), str(folder / "router")), **changes)


def test_the_slices_hold_the_routers_outputs_of_their_rows(folder: Path) -> None:
    bar = Bar()
    found = evaluate_table(suite_table(folder, groups={"a": "first"}), Plan(), bar)
    rows = toy_table()
    router = Router.load(folder / "router")
    assert [one.slice.name for one in found.evaluated] == ["toy ood", "toy test"]
    for one in found.evaluated:
        part = rows.take(rows.rows(one.slice.split))
        probs, embeddings = router.embed(part.queries)
        np.testing.assert_allclose(one.slice.probs, probs, atol=1e-6)
        np.testing.assert_allclose(one.slice.embeddings, embeddings, atol=1e-6)
        np.testing.assert_array_equal(one.slice.table.rewards, part.rewards)
        choices = probs.argmax(axis=1)
        earned = [part.rewards[i, choice] for i, choice in enumerate(choices)]
        np.testing.assert_allclose(one.slice.systems[0].rewards, earned)
        assert one.slice.groups == {"a": "first"}
        assert one.temperature == pytest.approx(0.7)
        assert one.robustness is None
        assert one.train_costs is None
    train = rows.rewards[:24].astype(np.float64)
    np.testing.assert_allclose(found.known.mean_rewards, train.mean(axis=0))
    assert found.evaluated[0].slice.best_single == int(train.mean(axis=0).argmax())
    assert found.encoders == {"router": "toy"}
    assert found.reward_ranking == []
    assert bar.told == {"routing": [40, 40]}


def test_rivals_learn_of_the_training_rows_alone(folder: Path) -> None:
    seen: list[Any] = []

    def spy(inputs: Any, rewards: Any, evaluated: Any, strength: float) -> Any:
        seen.append((rewards, len(evaluated)))
        return clusters(inputs, rewards, evaluated, strength)

    bar = Bar()
    plan = Plan(rivals=[Rival("clusters of two", spy, (2.0,))])
    found = evaluate_table(suite_table(folder), plan, bar)
    ((rewards, evaluated),) = seen
    np.testing.assert_allclose(rewards, toy_table().rewards[:24])
    assert evaluated == 16
    router = Router.load(folder / "router")
    known = router.embed(toy_table().queries[:24])[1].astype(np.float64)
    for one in found.evaluated:
        system = next(s for s in one.slice.systems if s.name == "clusters of two")
        inputs = one.slice.embeddings.astype(np.float64)
        expected = clusters(known, rewards, inputs, 2.0)
        assert system.scores is not None
        np.testing.assert_allclose(system.scores, expected, atol=1e-6)
        assert system.role == "baseline"
    assert bar.told["rivals"] == [1, 1]


def test_other_rewards_on_the_evaluated_rows_change_no_choice(folder: Path) -> None:
    rows = toy_table()
    plan = Plan(rivals=[Rival("clusters", clusters, (2.0, 3.0, 5.0))])
    before = evaluate_table(suite_table(folder), plan, Bar()).evaluated
    changed = rows.rewards.copy()
    changed[24:] = 1 - changed[24:]
    write_table(replace(rows, rewards=changed), str(folder / "toy.jsonl"))
    after = evaluate_table(suite_table(folder), plan, Bar()).evaluated
    for one, other in zip(before, after, strict=True):
        for first, second in zip(one.slice.systems, other.slice.systems, strict=True):
            assert first.name == second.name
            if first.choices is not None and second.choices is not None:
                np.testing.assert_array_equal(first.choices, second.choices)


def test_costs_are_those_of_train(folder: Path) -> None:
    write_table(toy_table(costs=True), str(folder / "toy.jsonl"))
    for one in evaluate_table(suite_table(folder), Plan(), Bar()).evaluated:
        assert one.train_costs is not None
        np.testing.assert_allclose(one.train_costs, [1, 2, 3])


def test_further_routers_are_systems(folder: Path) -> None:
    toy_router(folder / "second", "linear", ["cat", "ant", "bee"])  # another order of experts
    wanted = suite_table(folder, also=(str(folder / "second"),))
    found = evaluate_table(wanted, Plan(), Bar())
    assert found.encoders == {"router": "toy", "router second": "toy"}
    second = Router.load(folder / "second")
    for one in found.evaluated:
        system = next(s for s in one.slice.systems if s.name == "router second")
        assert system.choices is not None
        names = [decision.expert for decision in second.route(one.slice.table.queries)]
        assert [EXPERTS[choice] for choice in system.choices] == names
    toy_router(folder / "third", "linear", ["ant", "bee", "dog"])
    with pytest.raises(DataError, match="third: routes to ant, bee, dog; expected ant, bee, cat"):
        evaluate_table(suite_table(folder, also=(str(folder / "third"),)), Plan(), Bar())


def test_noise_is_tried_on_the_slices_prompts(folder: Path) -> None:
    bar = Bar()
    wanted = suite_table(folder, splits=(SplitChoice("test"),))
    (one,) = evaluate_table(wanted, Plan(robustness=True), bar).evaluated
    assert one.robustness is not None
    assert [row["name"] for row in one.robustness] == [noise.name for noise in NOISES]
    assert bar.told["noise"] == [10 * len(NOISES), 10 * len(NOISES)]
    router = Router.load(folder / "router")
    upper = [query.upper() for query in one.slice.table.queries]
    flips = one.slice.probs.argmax(axis=1) != router.predict_proba(upper).argmax(axis=1)
    row = next(row for row in one.robustness if row["name"] == "upper case")
    assert row["flips"]["value"] == pytest.approx(flips.mean())


def test_leaks_are_said(folder: Path) -> None:
    rows = toy_table()
    queries = [*rows.queries[:-1], rows.queries[0]]
    write_table(replace(rows, queries=queries), str(folder / "toy.jsonl"))
    found = evaluate_table(suite_table(folder), Plan(), Bar())
    leaks = len(replace(rows, queries=queries).leaks())
    assert leaks >= 1
    assert found.notes == [f"{leaks} evaluated rows have a query that also stands in train"]


def test_reward_ranking_by_hand(folder: Path) -> None:
    draws = np.random.default_rng(0)
    matrices = {scorer: draws.random((40, len(EXPERTS))).round(3) for scorer in ("judge", "rm")}
    write_table(replace(toy_table(), scores=matrices), str(folder / "toy.jsonl"))
    found = evaluate_table(suite_table(folder), Plan(), Bar())
    rows = toy_table()
    by_key = {(r["slice"], r["judge"], r["picker"]): r["micro"] for r in found.reward_ranking}
    assert len(by_key) == 2 * 4  # two slices, two pickers, two judges of each
    for split in ("test", "ood"):
        at = rows.rows(split)
        for name, scores in matrices.items():
            picked = [int(max(range(3), key=lambda e: scores[i, e])) for i in at]
            earned = np.mean([rows.rewards[i, e] for i, e in zip(at, picked, strict=True)])
            assert by_key[f"toy {split}", "reward", name].value == pytest.approx(earned)
            other = "rm" if name == "judge" else "judge"
            judged = np.mean([matrices[other][i, e] for i, e in zip(at, picked, strict=True)])
            assert by_key[f"toy {split}", other, name].value == pytest.approx(judged, abs=1e-6)
            one = next(o.slice for o in found.evaluated if o.slice.split == split)
            system = next(s for s in one.systems if s.name == f"reward ranking ({name})")
            np.testing.assert_array_equal(system.choices, picked)


def test_tied_scores_go_to_the_expert_that_was_best_on_train() -> None:
    rewards = table([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    known = TrainedOn(np.array([0.2, NAN, 0.9]))
    found = picker("s", np.array([[1.0, 1, 1], [1, 1, NAN]]), rewards, known)
    np.testing.assert_array_equal(found.choices, [2, 0])
    assert reward_ranking("x", rewards, {}, 0) == []
