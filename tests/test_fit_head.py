"""From a table to a fitted head: what is learned, every option, the errors, tables on disk."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import table, units
from zooter_lite.errors import DataError
from zooter_lite.head.choose import sample_rows
from zooter_lite.head.fit_head import Fitted, fit_head
from zooter_lite.labels import blocks
from zooter_lite.recipe import Recipe
from zooter_lite.table.keys import query_groups
from zooter_lite.table.reward_table import RewardTable

FloatArray = NDArray[np.float32]
NAN = float("nan")
DIM = 8
FAST = Recipe(head="linear", folds=3, jobs=1, tags="none", temperature=0.25, beta=1.0, l2=0.01)


def heaps(n: int, seed: int) -> tuple[FloatArray, NDArray[np.int64], NDArray[np.float64]]:
    """Two heaps of embeddings; expert 0 is best on one, expert 1 on the other, 2 never."""
    random = np.random.default_rng(seed)
    side = random.integers(0, 2, n)
    near = units(2, DIM, 99)[side] + 0.15 * random.normal(size=(n, DIM))
    embeddings = near / np.linalg.norm(near, axis=1, keepdims=True)
    means = np.array([[0.8, 0.3, 0.4], [0.2, 0.7, 0.4]])[side]
    return embeddings.astype(np.float32), side, means + 0.2 * random.normal(size=(n, 3))


def planted(n: int = 200, **options: Any) -> tuple[RewardTable, FloatArray]:
    embeddings, _, rewards = heaps(n, 0)
    return table(rewards, **options), embeddings


def share_right(fitted: Fitted) -> float:
    """Share of fresh queries that go to the expert that is best on their heap."""
    test, side, _ = heaps(500, 1)
    return float((fitted.head.logits(test).argmax(axis=1) == side).mean())


def test_missing_rewards_end_to_end() -> None:
    embeddings, _, rewards = heaps(300, 0)
    rewards[np.random.default_rng(1).random(rewards.shape) < 0.4] = NAN
    rewards[np.isnan(rewards).all(axis=1), 2] = 0.4
    recipe = replace(FAST, head="prior", tags="auto", beta=None)
    assert share_right(fit_head(table(rewards), embeddings, recipe)) > 0.95


def test_probabilities_are_calibrated_on_the_planted_structure() -> None:
    fitted = fit_head(*planted(600), replace(FAST, l2=0.003))
    test, _, rewards = heaps(2000, 1)
    probs = fitted.head.probs(test)
    right = probs.argmax(axis=1) == rewards.argmax(axis=1)
    assert probs.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.05)
    assert fitted.head.temperature != 1.0


OPEN = Recipe(folds=3, jobs=1, tags="auto", temperature=0.2, beta=0.3, l2=0.01)


@pytest.fixture(scope="module")
def varied() -> tuple[RewardTable, FloatArray, Fitted]:
    """A table with tags and subsets, and what the recipe `OPEN` makes of it."""
    embeddings, side, rewards = heaps(120, 0)
    names = [["left", "right"][s] for s in side]
    train = table(rewards, subsets=names, tags=[[name, "all"] for name in names])
    return train, embeddings, fit_head(train, embeddings, OPEN)


@pytest.mark.parametrize(
    "change",
    [
        {"head": "linear"},
        {"head": "mlp"},
        {"tags": "given"},
        {"tags": "none"},
        {"labels": "hard"},
        {"kl": "router-label"},
        {"temperature": 0.5},
        {"beta": 0.9},
        {"l2": 0.1},
        {"folds": 4},
        {"seed": 1},
    ],
    ids=str,
)
def test_every_field_of_the_recipe_changes_what_is_fitted(
    varied: tuple[RewardTable, FloatArray, Fitted], change: dict[str, Any]
) -> None:
    train, embeddings, before = varied
    after = fit_head(train, embeddings, replace(OPEN, **change))

    def outcome(fitted: Fitted) -> tuple[Any, ...]:
        tensors = {name: array.tobytes() for name, array in fitted.head.tensors().items()}
        return tensors, fitted.selection.folds.tolist()

    assert outcome(after) != outcome(before)
    config = asdict(after.head_spec) | asdict(after.label_spec)
    said = {"kl": "direction", "labels": "hard", "head": "kind"}
    for field, value in change.items():
        told = config.get(said.get(field, field), value)
        assert told in {"hard": (True,), "none": (None,), False: ((),)}.get(value, (value,))


def test_few_rows_fall_back_to_a_linear_head() -> None:
    fitted = fit_head(*planted(30), replace(FAST, head="prior", tags="best"))
    assert (fitted.tagging, fitted.head.prior) == (None, None)
    assert fitted.head_spec.kind == "linear"


def test_rows_that_cannot_be_fitted_are_refused() -> None:
    train, embeddings = planted(40)
    message = "5 different training queries; 3-fold cross-validation needs at least 6"
    with pytest.raises(DataError, match=message):
        fit_head(train.take(range(5)), embeddings[:5], FAST)
    train.rewards[:, 1] = NAN
    with pytest.raises(DataError, match="expert 'e1' has no observed reward in the training rows"):
        fit_head(train, embeddings, FAST)


def shelves(n: int, seed: int) -> tuple[FloatArray, NDArray[np.int64], NDArray[np.float64]]:
    """Many heaps that say nothing, and a small direction that tells the best of two experts."""
    random = np.random.default_rng(seed)
    side = random.integers(0, 2, n)
    near = np.abs(units(60, DIM, 99))[random.integers(0, 60, n)]
    near[:, 0] = 0.1 * (2 * side - 1) + 0.03 * random.normal(size=n)
    embeddings = near / np.linalg.norm(near, axis=1, keepdims=True)
    means = np.array([[0.7, 0.3], [0.3, 0.7]])[side]
    return embeddings.astype(np.float32), side, means + 0.2 * random.normal(size=(n, 2))


def test_subsets_are_told_apart_where_that_pays_but_not_far_from_the_training() -> None:
    embeddings, side, rewards = shelves(400, 0)
    named = table(rewards, subsets=["left" if s else "right" for s in side])
    recipe = replace(FAST, head="prior", tags="auto", l2=10.0)
    fitted = fit_head(named, embeddings, recipe)
    head = fitted.head
    assert fitted.head_spec.domains == ("left", "right")
    assert head.domain is not None
    test, sides, _ = shelves(500, 1)
    assert (
        (test @ head.domain.weight.T + head.domain.bias).argmax(axis=1) == 1 - sides
    ).mean() > 0.95
    tags_alone = replace(head, domain=None)
    far, near = -embeddings[:20].astype(np.float64), embeddings[:20].astype(np.float64)
    np.testing.assert_allclose(head.logits(far), tags_alone.logits(far), atol=1e-3)
    assert np.abs(head.logits(near) - tags_alone.logits(near)).max() > 0.01
    for other in (replace(recipe, domains=False), replace(recipe, head="linear")):
        assert fit_head(named, embeddings, other).head_spec.domains == ()
    useless = table(rewards, subsets=[f"s{row % 2}" for row in range(400)])
    assert fit_head(useless, embeddings, recipe).head.domain is None


def costly(n: int = 200) -> tuple[RewardTable, FloatArray, NDArray[np.int64]]:
    """`planted`, where expert 0 costs a tenth of a cent a token, 1 half, and 2 nothing."""
    train, embeddings = planted(n)
    tokens = np.random.default_rng(3).integers(5, 50, n)
    return replace(train, costs=1e-3 * tokens[:, None] * np.array([1, 0.5, 0])), embeddings, tokens


def test_costs_make_estimates_and_points() -> None:
    train, embeddings, tokens = costly()
    economy = []
    for give in (1.0, 25.0):
        recipe = replace(FAST, point="economy", give=give)
        fitted = fit_head(train, embeddings, recipe, tokens=tokens)
        assert fitted.decisions.default == "economy"
        assert [p.name for p in fitted.decisions.points] == ["quality", "match", "economy"]
        predicted = fitted.head.predict(embeddings.astype(np.float64), tokens)
        assert predicted.costs is not None
        assert predicted.rewards is not None
        assert train.costs is not None
        np.testing.assert_allclose(predicted.costs, train.costs, rtol=0.05, atol=1e-6)
        apart = (predicted.rewards - train.rewards).mean(axis=0)
        np.testing.assert_allclose(apart, 0.0, atol=0.05)
        economy.append(fitted.decisions.points[2].cost or 0.0)
    assert economy[1] < economy[0]


@pytest.mark.parametrize("missing", ["all", "one"])
def test_a_router_without_costs_has_no_points_that_need_them(missing: str) -> None:
    train, embeddings, tokens = costly()
    assert train.costs is not None
    holes = np.where([False, True, False], NAN, train.costs)
    without = replace(train, costs=None if missing == "all" else holes)
    fitted = fit_head(without, embeddings, replace(FAST, point="recommended"), tokens=tokens)
    assert [point.name for point in fitted.decisions.points] == ["quality"]
    assert fitted.decisions.default == fitted.decisions.recommended == "quality"
    assert fitted.head.predict(embeddings, tokens).costs is None


def test_a_point_that_needs_costs_which_the_sample_lacks_is_refused() -> None:
    train, embeddings, tokens = costly(300)
    chosen = sample_rows(query_groups(train.queries), 100, FAST.seed)
    assert train.costs is not None
    costs = train.costs.copy()
    costs[chosen, 1] = NAN  # seen in the other rows alone
    recipe = replace(FAST, point="match")
    options: dict[str, Any] = {"tokens": tokens, "most_choosing": 100}
    with pytest.raises(DataError, match="--point match: the rows that chose lack the costs"):
        fit_head(replace(train, costs=costs), embeddings, recipe, **options)


def test_sampled_rows_keep_equal_queries_together() -> None:
    groups = query_groups([f"q{i % 60}" for i in range(100)])
    rows = sample_rows(groups, 31, seed=1)
    assert 30 <= len(rows) <= 31
    assert (np.diff(rows) > 0).all()
    outside = np.setdiff1d(np.arange(100), rows)
    assert not set(groups[rows]) & set(groups[outside])
    assert rows.tolist() != sample_rows(groups, 31, seed=2).tolist()
    # a query that stands more often than there is room for is left out
    assert sample_rows(np.array([0] * 50 + [1, 2]), 2, seed=0).tolist() == [50, 51]


def test_holes_outside_the_sample_that_chooses_are_filled_in() -> None:
    embeddings, _, rewards = heaps(300, 0)
    train = table(rewards)
    chosen = sample_rows(query_groups(train.queries), 100, OPEN.seed)
    rewards[np.setdiff1d(np.arange(300), chosen)[:50], 1] = NAN
    fitted = fit_head(table(rewards), embeddings, OPEN, most_choosing=100)
    assert fitted.sample is not None
    np.testing.assert_array_equal(fitted.sample, chosen)
    assert np.isfinite(fitted.head.weight).all()
    assert share_right(fitted) > 0.95


@pytest.mark.parametrize("tags", ["given", "auto"])
def test_a_head_chosen_on_a_sample_is_fitted_on_all_rows(
    tags: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "ROWS", 64)
    embeddings, side, rewards = heaps(300, 0)
    names = [["left", "right"][s] for s in side]
    train = table(rewards, subsets=names, tags=[[name] for name in names])
    recipe = replace(OPEN, tags=tags)
    fitted, again = (
        fit_head(train, embeddings, replace(recipe, jobs=jobs), most_choosing=100)
        for jobs in (1, 3)
    )
    assert fitted.sample is not None
    assert len(fitted.sample) == len(fitted.selection.logits) == 100
    assert "3-fold cross-validation on 100 rows of train" in fitted.summary()
    assert fitted.tagging is not None
    assert fitted.tagging.assignment.n_queries == 300
    for name, array in fitted.head.tensors().items():
        np.testing.assert_array_equal(again.head.tensors()[name], array)
    own = fitted.sample
    alone = fit_head(train.take(own), embeddings[own], recipe)
    assert alone.sample is None
    assert not np.allclose(alone.head.weight, fitted.head.weight, atol=1e-3)
    whole = fit_head(train, embeddings, recipe)
    fresh, _, _ = heaps(500, 1)
    one, other = (each.head.probs(fresh) for each in (fitted, whole))
    assert np.abs(one - other).mean() < 0.05


def test_a_head_of_all_rows_is_calibrated_as_such() -> None:
    """The few rows that chose made a head that is too sure; the head of all rows is not."""
    random = np.random.default_rng(0)
    truth = 3 * random.normal(size=(3, 24))
    embeddings = units(6000, 24, 1).astype(np.float32)
    noise = 0.4 * random.gumbel(size=(6000, 3))
    rewards = embeddings @ truth.T + noise
    train, test = np.arange(3000), np.arange(3000, 6000)
    recipe = replace(FAST, l2=1e-4, temperature=0.1)
    fitted = fit_head(table(rewards[train]), embeddings[train], recipe, most_choosing=60)
    best = rewards[test].argmax(axis=1)
    alone = fit_head(
        table(rewards[fitted.sample]), embeddings[fitted.sample], recipe
    ).head.temperature

    def loss(temperature: float) -> float:
        probs = replace(fitted.head, temperature=temperature).probs(embeddings[test])
        return float(-np.log(probs[np.arange(3000), best]).mean())

    probs = fitted.head.probs(embeddings[test])
    right = probs.argmax(axis=1) == best
    assert probs.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.03)
    lowest = min(loss(temperature) for temperature in np.geomspace(0.1, 3.0, 30))
    assert loss(fitted.head.temperature) < lowest + 0.02 < loss(alone) - 0.05


LIMITED = """
import resource, sys
import numpy as np
from tests.helpers import table
from zooter_lite.head.choose import sample_rows
from zooter_lite.head.fit_head import fit_head
from zooter_lite.labels import blocks
from zooter_lite.recipe import Recipe

n, dim, most, blocks.ROWS = 50_000, 256, int(sys.argv[2]), 1024
embeddings = np.memmap(sys.argv[1], np.float32, "w+", shape=(n, dim))
random = np.random.default_rng(0)
for start in range(0, n, 1000):
    rows = random.normal(size=(1000, dim))
    embeddings[start : start + 1000] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
rewards = np.asarray(embeddings[:, :3] * 30 + random.normal(size=(n, 3)), dtype=np.float32)
train = table(rewards)
tags = "auto" if most else "none"
recipe = Recipe(folds=2, jobs=1, tags=tags, temperature=1.0, beta=0.3, l2=0.1)
few = Recipe(folds=2, jobs=1, tags="auto", temperature=1.0, beta=0.3, l2=1.0)
fit_head(train.take(range(1000)), embeddings[:1000], few)  # what the libraries take
with open("/proc/self/status") as status:
    (used,) = [int(line.split()[1]) for line in status if line.startswith("VmData")]
limit = (used << 10) + (110 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
fitted = fit_head(train, np.asarray(embeddings), recipe, most_choosing=most or None)
right = fitted.head.logits(embeddings[:5000]).argmax(axis=1) == rewards[:5000].argmax(axis=1)
print(f"{right.mean():.3f}")
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts on Linux")
def test_memory_stays_below_a_limit_that_full_batches_break(tmp_path: Path) -> None:
    """50,000 x 256: 102 MB as float64, twice; 110 MiB beyond what the libraries take."""
    root = Path(__file__).parents[1]

    def fit(most_choosing: int) -> subprocess.CompletedProcess[str]:
        file = str(tmp_path / "embeddings")
        command = [sys.executable, "-c", LIMITED, file, str(most_choosing)]
        return subprocess.run(command, cwd=root, capture_output=True, text=True)

    bounded = fit(1000)
    assert bounded.returncode == 0, bounded.stderr[-2000:]
    assert float(bounded.stdout) > 0.5
    assert fit(0).returncode != 0
