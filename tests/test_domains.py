"""Telling subsets apart: out-of-fold memberships, small subsets, the gate; what the prior makes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import units
from zooter_lite.head.domains import MIN_ROWS, Domains, gate_of, learn_domains
from zooter_lite.head.prior import domain_prior
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.tags.tagging import Tagging

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


def test_take_renumbers_the_queries() -> None:
    rows, subsets = heaps(30, ["a", "b"])
    found = learn_domains(rows, subsets, np.arange(60) % 3, jobs=1)
    assert found is not None
    part = found.take(np.asarray([59, 0]))
    np.testing.assert_array_equal(part.membership, found.membership[[59, 0]])
    assert dict(zip(part.assignment.rows.tolist(), part.assignment.tags.tolist(), strict=True)) == {
        0: 1, 1: 0,
    }  # fmt: skip


def test_the_gate_trusts_what_is_near() -> None:
    slope, threshold = gate_of(np.linspace(0.0, 1.0, 11))
    trust = [1 / (1 + np.exp(-slope * (near - threshold))) for near in (0.1, 0.2, 0.3, 0.9)]
    np.testing.assert_allclose(trust, [0.1, 0.5, 0.9, 1.0], atol=1e-6)
    assert np.isfinite(gate_of(np.ones(5))).all()


def test_the_domain_prior_by_hand() -> None:
    # two domains of one query each, one tag on both; shrinkage 20 towards the mean (0.5, 0.25)
    rewards = np.array([[1.0, 0.0], [0.0, 0.5]])
    domains = Domains(
        TagAssignment.from_lists([["x"], ["y"]]), np.zeros((2, 3)), np.zeros(2), np.eye(2)
    )
    tagging = Tagging(
        "given", TagAssignment.from_lists([["t"], ["t"]]), np.eye(3)[:1], np.ones((2, 1)),
        np.ones((2, 1)),
    )  # fmt: skip
    prior = domain_prior(rewards, tagging, domains, 0.5)
    means = np.array([[11.0, 5.0], [10.0, 5.5]]) / 21
    exp = np.exp(means / 0.5)
    np.testing.assert_allclose(prior.table, exp / exp.sum(axis=1, keepdims=True))
    # what is left of the rewards has the mean of the tag and of all queries alike
    np.testing.assert_allclose(prior.residual, [(rewards - means).mean(axis=0) / 0.5])
