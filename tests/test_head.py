"""The head in numpy against loops, and what it accepts from a file."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from tests.helpers import softmax, toy_head, units
from zooter_lite.router.head import DOMAIN, SHARPNESS, Head, Hidden, TagPrior, membership_of

Tensors = dict[str, NDArray[Any]]
KINDS = ["linear", "prior", "mlp", "domain"]
DIM = 6


def naive_logits(head: Head, row: NDArray[np.float64]) -> list[float]:
    inner = row
    if head.hidden is not None:
        pairs = zip(head.hidden.weight, head.hidden.bias, strict=True)
        inner = np.array([max(0.0, float(np.dot(w, row) + b)) for w, b in pairs])
    logits = [float(np.dot(w, inner) + b) for w, b in zip(head.weight, head.bias, strict=True)]
    if head.prior is not None:
        near = [SHARPNESS * float(np.dot(c, row)) for c in head.prior.centroids]
        (member,) = softmax(np.array([near]))
        tags = [np.log(np.dot(member, column)) for column in head.prior.table.T]
        domain, trust = [0.0] * len(logits), 0.0
        if head.domain is not None:
            scores = head.domain.weight @ row + head.domain.bias
            (place,) = softmax(scores[None])
            slope, threshold = head.domain.gate
            trust = 1 / (1 + math.exp(-slope * (max(near) / SHARPNESS - threshold)))
            domain = [
                np.log(np.dot(place, head.domain.table[:, expert]))
                + np.dot(member, head.domain.residual[:, expert])
                for expert in range(len(logits))
            ]
        for expert in range(len(logits)):
            logits[expert] += (1 - trust) * tags[expert] + trust * domain[expert]
    return logits


@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_probs_are_the_formula(kind: str) -> None:
    head, rows = toy_head(kind), units(9, DIM, 0)
    expected = np.array([naive_logits(head, row) for row in rows])
    np.testing.assert_allclose(head.logits(rows), expected, atol=1e-6)
    np.testing.assert_allclose(head.probs(rows), softmax(expected / 0.7), atol=1e-6)
    assert head.dim == DIM


def test_prior_by_hand() -> None:
    # similarities 1 and 0: memberships e^20 to 1; at the middle one half each
    prior = TagPrior(np.eye(2), np.array([[0.9, 0.1], [0.2, 0.8]]))
    middle = np.array([[np.sqrt(0.5), np.sqrt(0.5)]])
    np.testing.assert_allclose(membership_of(middle @ prior.centroids.T), [[0.5, 0.5]])
    head = Head(np.zeros((2, 2)), np.zeros(2), prior)
    np.testing.assert_allclose(np.exp(head.logits(middle)), [[0.55, 0.45]])
    np.testing.assert_allclose(np.exp(head.logits(np.eye(2)[:1])), [[0.9, 0.1]], atol=1e-8)


def test_probs_stay_finite_for_huge_logits() -> None:
    head = Head(np.array([[5000.0], [-5000.0]]), np.zeros(2))
    np.testing.assert_array_equal(head.probs(np.array([[1.0]])), [[1.0, 0.0]])


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_round_trip_through_safetensors(kind: str) -> None:
    head = toy_head(kind)
    again = Head.from_tensors(load(save(head.tensors())), 0.7)
    assert {n: a.tobytes() for n, a in again.tensors().items()} == {
        n: a.tobytes() for n, a in head.tensors().items()
    }
    np.testing.assert_array_equal(again.probs(units(5, DIM, 0)), head.probs(units(5, DIM, 0)))


def test_a_transposed_array_is_written_as_it_reads() -> None:
    # safetensors 0.8 writes the memory of a non-contiguous array, scrambled
    weight = np.arange(12, dtype=np.float32).reshape(4, 3).T
    hidden = Hidden(np.arange(8, dtype=np.float64).reshape(2, 4).T, np.zeros(4))
    found = load(save(Head(weight, np.zeros(3), None, hidden).tensors()))
    np.testing.assert_array_equal(found["weight"], weight)
    np.testing.assert_array_equal(found["hidden.weight"], hidden.weight)
    assert all(a.flags.c_contiguous and a.dtype == np.float32 for a in found.values())


def swap(name: str, array: NDArray[Any]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {name: array.astype(np.float32)}


def drop(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {n: a for n, a in tensors.items() if n != name}


def spoil(name: str, value: float) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        array = tensors[name].copy()
        array.flat[-1] = value
        return tensors | {name: array}

    return change


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("linear", drop("weight"), "expected the arrays"),
        ("linear", swap("extra", np.zeros(3)), "expected the arrays"),
        ("prior", drop("table"), "expected the arrays"),
        ("mlp", drop("hidden.bias"), "expected the arrays"),
        *[("domain", drop(name), "expected the arrays") for name in (DOMAIN[0], "centroids")],
        ("domain", swap("domain.gate", np.zeros(3)), "'domain.gate' has shape"),
        ("domain", swap("domain.bias", np.zeros(3)), "domain.* has shape"),
        ("linear", swap("weight", np.full((3, DIM), np.nan)), "'weight' is not finite"),
        ("mlp", swap("hidden.bias", np.full(8, np.inf)), "'hidden.bias' is not finite"),
        ("linear", lambda t: t | {"weight": t["weight"].astype(np.float64)}, "finite float32"),
        ("linear", swap("weight", np.zeros((2, DIM))), "'bias' has shape"),
        ("linear", swap("weight", np.array(1.0)), "has shape"),
        ("linear", swap("weight", np.zeros((3, 0))), "'weight' has shape"),
        ("prior", swap("centroids", np.zeros((4, DIM + 1))), "'centroids' has shape"),
        ("prior", swap("table", np.array(1.0)), "has shape"),
        ("mlp", swap("hidden.weight", np.zeros((7, DIM))), "'hidden.weight' has shape"),
        ("mlp", swap("weight", np.zeros((3, DIM))), "hidden.* has shape"),
    ],
)  # fmt: skip
def test_from_tensors_refuses_what_does_not_fit(
    kind: str, change: Callable[[Tensors], Tensors], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Head.from_tensors(change(dict(toy_head(kind).tensors())), 1.0)
