"""Distillation against numpy's KL formulas, scipy's optimiser and torch's own kl_div."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from tests.helpers import softmax, units
from zooter_lite.head import distil as module
from zooter_lite.head.distil import Direction, Problem, distil, kl_divergence
from zooter_lite.recipe import Recipe

Array = NDArray[np.float64]
DIRECTIONS: list[Direction] = ["label-router", "router-label"]
LINEAR, MLP = Recipe(head="linear"), Recipe(head="mlp")


def labels_of(n: int, n_experts: int, seed: int) -> Array:
    return np.asarray(np.random.default_rng(seed).dirichlet(np.ones(n_experts), size=n))


def numpy_kl(logits: Array, labels: Array, direction: str) -> float:
    """Mean over rows of KL(label || router) or KL(router || label)."""
    exp = np.exp(logits)
    router = exp / exp.sum(axis=1, keepdims=True)
    p, q = (labels, router) if direction == "label-router" else (router, labels)
    terms = p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, q, 1))
    return float(terms.sum(axis=1).mean())


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("hard", [False, True])
def test_the_divergence_and_its_gradient_are_those_of_torch(
    direction: Direction, hard: bool
) -> None:
    logits, labels = np.random.default_rng(0).normal(size=(20, 4)), labels_of(20, 4, 1)
    if hard:
        labels = np.eye(4)[labels.argmax(axis=1)]
    known = torch.tensor(logits, requires_grad=True)
    target, log_router = torch.tensor(labels), torch.log_softmax(known, dim=1)
    if direction == "label-router":
        expected = torch.nn.functional.kl_div(log_router, target, reduction="none").sum(dim=1)
    else:  # a label of zero counts as 1e-12
        log_target = target.clamp_min(1e-12).log()
        expected = (log_router.exp() * (log_router - log_target)).sum(dim=1)
    (slope,) = torch.autograd.grad(expected.sum(), known)
    losses, gradient = kl_divergence(logits, labels, direction)
    np.testing.assert_allclose(losses, expected.detach().numpy(), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(gradient, slope.numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("l2", "with_offset"), [(0.1, False), (0.003, True)])
def test_the_linear_head_is_scipys_optimum(
    direction: Direction, l2: float, with_offset: bool
) -> None:
    n, dim, n_experts = 60, 4, 3
    inputs, labels = units(n, dim, 0), labels_of(n, n_experts, 1)
    offset = np.random.default_rng(3).normal(size=(n, n_experts)) if with_offset else None
    fixed = 0.0 if offset is None else offset

    def objective(flat: Array) -> float:
        weight, bias = flat[: dim * n_experts].reshape(n_experts, dim), flat[dim * n_experts :]
        divergence = numpy_kl(inputs @ weight.T + bias + fixed, labels, direction)
        return divergence + l2 / 2 * float((weight**2).sum())

    best = minimize(objective, np.zeros((dim + 1) * n_experts), method="BFGS", tol=1e-8)
    weight = best.x[: dim * n_experts].reshape(n_experts, dim)
    expected = softmax(inputs @ weight.T + best.x[dim * n_experts :] + fixed)
    problem = Problem(labels, l2, offset)
    # beside another problem, which it does not depend on
    head, _ = distil(inputs, [problem, replace(problem, l2=1.0)], replace(LINEAR, kl=direction))
    found = softmax(head.logits(inputs) + fixed)
    assert np.abs(found - expected).max() <= 1e-4
    flat = np.concatenate([np.ravel(head.weight), head.bias])
    assert objective(flat) <= best.fun + 1e-8
    steps = 1e-5 * np.eye(len(flat))
    gradient = [(objective(flat + s) - objective(flat - s)) / 2e-5 for s in steps]
    assert np.abs(gradient).max() < 2e-4
    # not a trivial problem: the start is far from the optimum
    assert objective(np.zeros_like(flat)) > best.fun + 1e-3


def test_a_warm_start_ends_at_the_same_optimum() -> None:
    inputs, labels = units(80, 5, 0), labels_of(80, 3, 1)
    weak = Problem(labels, 0.003)
    cold, strong = distil(inputs, [weak, replace(weak, l2=0.3)], LINEAR)
    copy = strong.weight.copy()
    passes, again = list[int](), list[int]()
    (warm,) = distil(inputs, [weak], LINEAR, cold, passed=passes.append)
    distil(inputs, [weak], LINEAR, passed=again.append)
    assert len(passes) < len(again)
    (warm,) = distil(inputs, [weak], LINEAR, strong)
    distance = np.abs(softmax(cold.logits(inputs)) - softmax(strong.logits(inputs))).max()
    assert distance > 0.01
    assert np.abs(softmax(warm.logits(inputs)) - softmax(cold.logits(inputs))).max() <= 1e-4
    # the start itself is not written to
    np.testing.assert_array_equal(strong.weight, copy)


def test_the_mlp_learns_xor_and_the_linear_head_cannot() -> None:
    corners = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) / np.sqrt(2)
    inputs = np.repeat(corners, 10, axis=0)
    labels = np.repeat([[0.95, 0.05], [0.05, 0.95], [0.05, 0.95], [0.95, 0.05]], 10, axis=0)
    problem = Problem(labels, 0.001)
    (linear,) = distil(inputs, [problem], LINEAR)
    mlp, strong = distil(inputs, [problem, replace(problem, l2=10.0)], MLP)
    np.testing.assert_allclose(softmax(linear.logits(inputs)), 0.5, atol=1e-3)
    np.testing.assert_allclose(softmax(mlp.logits(inputs)), labels, atol=0.05)
    np.testing.assert_allclose(softmax(strong.logits(inputs)), 0.5, atol=1e-3)


def test_a_search_that_ends_before_its_optimum_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inputs, labels = units(60, 5, 0), labels_of(60, 3, 1)
    problem = Problem(labels, 0.001)
    distil(inputs, [problem], LINEAR)
    assert caplog.records == []
    monkeypatch.setattr(module, "MAX_ITERATIONS", 2)
    (head,) = distil(inputs, [problem], LINEAR)
    (told,) = caplog.messages
    # the gradient of the biases is the mean of router - label
    slopes = (softmax(head.logits(inputs)) - labels).mean(axis=0)
    assert float(told.split("still ")[1].split(";")[0]) >= 0.9 * np.abs(slopes).max()
    assert "did not converge in 2 steps" in told
