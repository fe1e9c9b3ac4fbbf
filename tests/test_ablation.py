"""Refits: what varies and what does not, and that evaluated rows take no part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import table, toy_config, toy_head, units
from zooter_lite.compare.ablation import BETAS, ablate, variants
from zooter_lite.compare.analysis import choice_means
from zooter_lite.compare.routed import sliced
from zooter_lite.errors import DataError
from zooter_lite.head.fit_head import fit_head
from zooter_lite.measure.system import Slice, TrainedOn
from zooter_lite.router.directory.config import LabelSpec
from zooter_lite.table.reward_table import RewardTable

FloatArray = NDArray[np.float32]
LABELS = LabelSpec("auto 8+16+32", temperature=0.5, beta=0.3)
CONFIG = toy_config(toy_head("linear"), labels=LABELS)


def heaps(n: int, seed: int) -> tuple[RewardTable, FloatArray, NDArray[np.intp]]:
    """Two heaps; on heap i expert i earns 1 and the others 0."""
    heap = np.random.default_rng(seed).integers(0, 2, size=n)
    points = units(2, 8, 3)[heap] + 0.1 * np.random.default_rng(seed + 1).normal(size=(n, 8))
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    rewards = np.eye(3)[heap]
    return table(rewards), points.astype(np.float32), heap


def test_each_ablation_varies_one_thing_of_the_papers_head() -> None:
    recipes = variants(CONFIG, given=False, seed=3)
    base = recipes["labels", "soft"]
    assert (base.head, base.labels, base.kl) == ("linear", "soft", "label-router")
    assert (base.tags, base.temperature, base.beta, base.l2) == ("auto", 0.5, 0.3, None)
    hard = replace(base, labels="hard", beta=1.0)
    assert list(recipes.values()) == [
        *(hard, *(replace(base, beta=beta) for beta in BETAS)),
        *(base, hard),
        *(base, replace(base, kl="router-label")),
    ]
    assert variants(CONFIG, given=True, seed=3)["labels", "soft"] == replace(base, tags="given")


def slice_of(n: int) -> tuple[Slice, NDArray[np.intp]]:
    """Thirty rows of the heaps beside n training rows, and the best expert of each."""
    train, embeddings, _ = heaps(n, 0)
    rows, evaluated, best = heaps(30, 5)
    known = TrainedOn(train.rewards.mean(axis=0), train, embeddings)
    probs = np.full((30, 3), 1 / 3, dtype=np.float32)
    return sliced(("toy", "test"), rows, known, (probs, evaluated)), best


def test_every_variant_learns_two_heaps_and_the_curve_ends_with_all_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zooter_lite.compare.ablation.BETAS", (0.0, 1.0))
    one, best = slice_of(60)
    varied, curve = ablate([one], CONFIG, 0, "t.csv")
    expected = choice_means(best, one, 0)
    assert len(varied) == 7
    assert all(values == {"toy test": expected} for values in varied.values())
    points = curve["toy test"]
    assert [point.rows for point in points] == [6, 15, 30, 60]
    assert points[-1].micro == expected.micro


def test_a_refit_is_the_fit_and_a_part_that_is_too_small_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zooter_lite.compare.ablation.BETAS", ())
    one, _ = slice_of(24)
    train, embeddings = one.known.table, one.known.embeddings
    assert train is not None
    assert embeddings is not None
    noisy = replace(train, rewards=np.random.default_rng(0).random((24, 3)).astype(np.float32))
    part = replace(one, known=replace(one.known, table=noisy))
    varied, curve = ablate([part], CONFIG, 0, "t.csv")
    head = fit_head(noisy, embeddings, variants(CONFIG, False, 0)["labels", "soft"]).head
    expected = choice_means(head.logits(part.embeddings).argmax(axis=1), part, 0)
    assert varied["labels", "soft"]["toy test"] == expected
    assert [point.rows for point in curve["toy test"]] == [6, 12, 24]  # two rows: no three folds


def test_without_training_rows_nothing_can_be_refitted() -> None:
    one = replace(slice_of(6)[0], known=TrainedOn(np.ones(3)))
    with pytest.raises(DataError, match=r"t\.csv: no row has the split 'train'"):
        ablate([one], CONFIG, 0, "t.csv")
