"""Telling subsets apart: out-of-fold memberships, small subsets, a sample and all rows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import units
from zooter_lite.head.domains import MIN_ROWS, domains_of_all, learn_domains
from zooter_lite.labels import blocks

DIM = 8


def heaps(
    n_each: int, names: list[str], spread: float = 0.1
) -> tuple[NDArray[np.float64], list[str]]:
    random = np.random.default_rng(0)
    centres = units(len(names), DIM, 5)
    rows = np.concatenate([c + spread * random.normal(size=(n_each, DIM)) for c in centres])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), [
        s for s in names for _ in range(n_each)
    ]


@pytest.mark.parametrize("names", [["b", "a"], ["c", "a", "b"]])
def test_heaps_are_told_apart(names: list[str]) -> None:
    rows, subsets = heaps(60, names)
    found = learn_domains(rows, subsets, np.arange(len(rows)) % 4, jobs=1)
    assert found is not None
    assert found.assignment.names == sorted(names)
    truth = [sorted(names).index(subset) for subset in subsets]
    assert (found.membership.argmax(axis=1) == truth).mean() > 0.98
    np.testing.assert_allclose(found.membership.sum(axis=1), 1.0)
    whole = rows @ found.weight.T + found.bias
    assert (whole.argmax(axis=1) == truth).mean() > 0.98


def test_a_querys_membership_never_saw_its_fold() -> None:
    # a subset that lies in one fold alone is unknown to the classifier of that fold's queries
    rows, subsets = heaps(40, ["a", "b", "c"])
    folds = np.where(np.asarray(subsets) == "c", 0, np.arange(len(rows)) % 3 + 1)
    found = learn_domains(rows, subsets, folds, jobs=1)
    assert found is not None
    assert found.membership[80:, 2].max() == 0.0
    assert found.membership[:80, 2].max() > 0.0


def test_small_subsets_are_no_domains() -> None:
    rows, subsets = heaps(MIN_ROWS, ["a", "b", "c"])
    fewer = [*subsets[:-1], "d"]
    found = learn_domains(rows, fewer, np.arange(len(rows)) % 3, jobs=1)
    assert found is not None
    assert found.assignment.names == ["a", "b"]
    assert len(found.assignment.rows) == 2 * MIN_ROWS
    assert found.membership.shape == (3 * MIN_ROWS, 2)
    assert learn_domains(rows, ["a"] * len(rows), np.arange(len(rows)) % 3) is None


def test_the_domains_of_a_sample_extend_to_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "ROWS", 16)
    rows, subsets = heaps(40, ["a", "b"])
    sample = np.arange(0, 80, 2)
    own = learn_domains(rows[sample], [subsets[i] for i in sample], np.arange(40) % 3, jobs=1)
    assert own is not None
    subsets[1] = "unheard of"
    every = domains_of_all(own, sample, rows.astype(np.float32), subsets, jobs=2)
    np.testing.assert_allclose(every.membership[sample], own.membership, atol=1e-6)
    others = np.setdiff1d(np.arange(80), sample)
    logits = rows[others] @ own.weight.T + own.bias
    odds = np.exp(logits[:, 0] - logits[:, 1])
    np.testing.assert_allclose(every.membership[others, 0], odds / (1 + odds), rtol=1e-3, atol=1e-6)
    lists = every.assignment.by_query()
    assert (lists[0], lists[1], lists[79]) == ([0], [], [1])
