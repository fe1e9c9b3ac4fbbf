"""Fits in blocks: what they find is what a fit with everything in memory finds."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from zooter_lite.head.large import (
    Sample,
    distil_in_blocks,
    fit_large,
    labels_in_blocks,
    sample_rows,
)
from zooter_lite.head.select import fold_ids, reward_of_choice
from zooter_lite.head.settings import Method, Setting
from zooter_lite.head.train import Recipe, fit_head

from tests.helpers import table, units
from zooter_lite.head import blocks
from zooter_lite.head.distil import Distillation, distil, kl_divergence
from zooter_lite.head.domains import learn_domains
from zooter_lite.head.prior import fit_setting, labels_of
from zooter_lite.router.head import Head
from zooter_lite.table.keys import query_groups
from zooter_lite.table.reward_table import RewardTable
from zooter_lite.tags.tagging import Tagging, cluster_tags, given_tags

FloatArray = NDArray[np.float32]
Array = NDArray[np.float64]
N, DIM = 150, 6
SETTING = Setting(0, 0.3, 0.3, 0.01)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "ROWS", 32)


def problem(holes: bool = False) -> tuple[RewardTable, FloatArray]:
    """A table of three experts whose rewards depend on the embeddings, in three subsets."""
    embeddings = units(N, DIM, 0).astype(np.float32)
    random = np.random.default_rng(0)
    rewards = embeddings[:, :3] + 0.1 * random.normal(size=(N, 3))
    if holes:
        rewards[random.random(rewards.shape) < 0.3] = np.nan
        rewards[np.isnan(rewards).all(axis=1), 0] = 0.5
    subsets = [f"s{place}" for place in embeddings[:, 3:].argmax(axis=1)]
    tags = [[f"t{int(row[0] > 0)}", f"u{int(row[1] > 0)}"] for row in embeddings]
    return table(rewards, subsets=subsets, tags=tags), embeddings


def whole_sample(train: RewardTable, embeddings: FloatArray, given: bool = False) -> Sample:
    """A sample that is all rows: then every figure must be that of `fit_setting`."""
    tagging: Tagging | None
    if given:
        tagging = given_tags(embeddings, train.tags or [])
    else:
        (tagging,) = cluster_tags(embeddings, [(3, 5)], seed=0)
    domains = learn_domains(embeddings, train.subsets, fold_ids(N, 5, 0), jobs=1)
    return Sample(np.arange(N), tagging, domains, Head(np.zeros((3, DIM)), np.zeros(3)))


def objective(head: Head, embeddings: FloatArray, labels: Array, l2: float) -> float:
    logits = torch.from_numpy(np.asarray(head.logits(embeddings), dtype=np.float64))
    divergence = kl_divergence(logits, torch.from_numpy(labels), "label-router")
    return float(divergence) + l2 / 2 * float((np.asarray(head.weight) ** 2).sum())


@pytest.mark.parametrize("kind", ["prior", "linear"])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("domains", [False, True])
def test_the_optimum_is_that_of_full_batches(
    kind: Any, given: bool, holes: bool, domains: bool
) -> None:
    train, embeddings = problem(holes)
    sample = whole_sample(train, embeddings, given)
    sample = sample if domains else replace(sample, domains=None)
    method = Method(kind)
    passes: list[int] = []
    found, tags = fit_large(train, embeddings, sample, SETTING, method, 2, passes.append)
    inputs, rewards = embeddings.astype(np.float64), train.rewards.astype(np.float64)
    expected = fit_setting(inputs, rewards, sample.tagging, SETTING, method, domains=sample.domains)
    assert tags is not None
    assert sample.tagging is not None
    for name in ("rows", "tags"):
        np.testing.assert_array_equal(
            getattr(tags.assignment, name), getattr(sample.tagging.assignment, name)
        )
    assert set(found.tensors()) == set(expected.tensors())
    for name, values in expected.tensors().items():
        np.testing.assert_allclose(found.tensors()[name], values, atol=2e-4, err_msg=name)
    labels = labels_of(rewards, sample.tagging, SETTING, method)
    one, two = (objective(head, embeddings, labels, SETTING.l2) for head in (found, expected))
    assert one == pytest.approx(two, abs=1e-6)
    assert set(passes) == {1}


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("direction", ["label-router", "router-label"])
def test_every_head_and_direction_without_tags(kind: Any, direction: Any) -> None:
    train, embeddings = problem()
    labels = labels_of(train.rewards.astype(np.float64), None, SETTING, Method(kind))
    how = Distillation(kind, 0.01, direction)
    found = distil_in_blocks(embeddings, labels.astype(np.float32), None, how)
    expected = distil(embeddings, labels, how)
    np.testing.assert_allclose(found.probs(embeddings), expected.probs(embeddings), atol=2e-3)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("hard", [False, True])
def test_labels_are_those_of_all_rows_at_once(beta: float, hard: bool) -> None:
    train, embeddings = problem(holes=True)
    (tagging,) = cluster_tags(embeddings, [(3,)], seed=0)
    setting, method = replace(SETTING, beta=beta), Method(hard_labels=hard)
    found = labels_in_blocks(train.rewards, tagging, setting, method)
    expected = labels_of(train.rewards.astype(np.float64), tagging, setting, method)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_same_bytes_on_any_number_of_threads() -> None:
    train, embeddings = problem()
    sample = whole_sample(train, embeddings)
    heads = [fit_large(train, embeddings, sample, SETTING, Method(), jobs)[0] for jobs in (1, 3)]
    for one, other in zip(*(head.tensors().values() for head in heads), strict=True):
        np.testing.assert_array_equal(one, other)


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


def test_a_head_chosen_on_a_sample_is_fitted_on_all_rows() -> None:
    train, embeddings = problem()
    recipe = Recipe(folds=3, jobs=1, temperature=0.3, beta=0.3, l2=0.01, most_choosing=100)
    fitted = fit_head(train, embeddings, recipe)
    assert fitted.sample is not None
    assert len(fitted.sample) == len(fitted.selection.logits) == 100
    assert fitted.tagging is not None
    assert fitted.tagging.assignment.n_queries == N
    assert "3-fold cross-validation on 100 rows of train" in fitted.summary(3)
    own = fitted.sample
    alone = fit_head(train.take(own), embeddings[own], replace(recipe, most_choosing=None))
    assert alone.sample is None
    assert alone.head.temperature == fitted.head.temperature
    assert not np.allclose(alone.head.weight, fitted.head.weight, atol=1e-3)
    whole = fit_head(train, embeddings, replace(recipe, most_choosing=N))
    one, other = (
        reward_of_choice(np.asarray(f.head.logits(embeddings)), train.rewards.astype(np.float64))
        for f in (fitted, whole)
    )
    assert one.mean() == pytest.approx(other.mean(), abs=0.02)


LIMITED = """
import resource, sys
import numpy as np
from tests.helpers import table
from zooter_lite.head.train import Recipe, fit_head

n, dim = 120_000, 256
embeddings = np.memmap(sys.argv[1], np.float32, "w+", shape=(n, dim))
random = np.random.default_rng(0)
for start in range(0, n, 1000):
    rows = random.normal(size=(1000, dim))
    embeddings[start : start + 1000] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
rewards = np.asarray(embeddings[:, :3] * 30 + random.normal(size=(n, 3)), dtype=np.float32)
train = table(rewards)
most = int(sys.argv[2]) or None
recipe = Recipe(
    folds=2, jobs=1, tags="auto", temperature=1.0, beta=0.3, l2=0.01, most_choosing=most
)
few = Recipe(folds=2, jobs=1, tags="none", temperature=1.0, beta=1.0, l2=1.0, most_choosing=None)
fit_head(train.take(range(2000)), embeddings[:2000], few)  # what the libraries take
with open("/proc/self/status") as status:
    (used,) = [int(line.split()[1]) for line in status if line.startswith("VmData")]
limit = (used << 10) + (350 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
fitted = fit_head(train, np.asarray(embeddings), recipe)
right = fitted.head.logits(embeddings[:5000]).argmax(axis=1) == rewards[:5000].argmax(axis=1)
print(f"{right.mean():.3f}")
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts on Linux")
def test_memory_stays_below_a_limit_that_full_batches_break(tmp_path: Path) -> None:
    """120,000 x 256: 246 MB as float64, several times; 350 MiB beyond what the libraries take."""
    root = Path(__file__).parents[1]

    def fit(most_choosing: int) -> subprocess.CompletedProcess[str]:
        file = str(tmp_path / "embeddings")
        command = [sys.executable, "-c", LIMITED, file, str(most_choosing)]
        return subprocess.run(command, cwd=root, capture_output=True, text=True)

    bounded = fit(2000)
    assert bounded.returncode == 0, bounded.stderr[-2000:]
    assert float(bounded.stdout) > 0.5
    assert fit(0).returncode != 0
