"""Distil soft labels into heads: L-BFGS on a KL divergence with L2, over all rows at once.

The objective and its gradient are summed over blocks of rows, in their order. A table that
lies on disk is read once for each step and never held in memory, and the result is the same
on any number of threads. Several problems on the same rows are solved in the same passes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.blocks import Matrix, in_blocks
from zooter_lite.recipe import Recipe
from zooter_lite.router.head import Head, Hidden

Array = NDArray[np.floating]
Layers = Sequence[NDArray[np.float64]]  # weight and bias of each
Direction = Literal["label-router", "router-label"]

MLP_WIDTH = 64
MAX_ITERATIONS = 200
GRADIENT = 1e-6  # a gradient without a larger entry ends the search,
PROGRESS = 1e-9  # and so does a step that lowers the objective by less
FAR = 1e-4  # largest entry of the gradient that is still an optimum when the steps run out
CURVATURE = 0.25  # largest second derivative of the logistic loss
SPREAD_ROWS = 2048  # that tell how the embeddings are spread
LEAST_L2 = 1e-6  # of the coordinates, whatever that of the problem
_FLOOR = 1e-12  # keeps the logarithm of a zero label finite

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """What a head is fitted to.

    Attributes
    ----------
    labels
        (n_queries, n_experts); rows sum to 1.
    l2
        Weight of half the squared norm of the weights (not of the biases).
    offset
        (n_queries, n_experts) fixed logits that the head is added to: for a prior head,
        those of the tags and domains.
    """

    labels: Array
    l2: float
    offset: Array | None = None


def warn_of_gradient(gradient: float) -> None:
    """Say on the log that a head was not fitted to the end."""
    log.warning(
        "the head did not converge in %d steps: its gradient is still %.2g; more L2 would help",
        MAX_ITERATIONS,
        gradient,
    )


def distil(
    embeddings: Matrix,
    problems: Sequence[Problem],
    recipe: Recipe,
    start: Head | None = None,
    *,
    jobs: int = 1,
    passed: Callable[[int], object] = lambda _: None,
    missed: Callable[[float], object] = warn_of_gradient,
) -> list[Head]:
    """Fit a head to each problem.

    Parameters
    ----------
    embeddings
        (n_queries, dim) unit vectors.
    problems
        How far a head is from its optimum depends on the others, within the tolerances;
        nothing else does.
    recipe
        Its head ("prior" and "linear" are convex problems that start at zero), direction of
        the divergence, and the seed that starts the MLP.
    start
        A linear head to start from (that of fewer rows): it changes how fast a head is found,
        not what is found. The MLP always starts anew, since a strongly regularised one is a
        saddle that it would not leave.
    jobs
        Threads; -1 takes every core.
    passed, missed
        Called with 1 after each pass over the rows, and with the largest entry of the gradient
        of a problem that the last step allowed left above `FAR`.

    Returns
    -------
    float64 heads with temperature 1 and no prior. Equal inputs give equal bytes.
    """
    if recipe.head == "mlp" and len(problems) > 1:
        alone = partial(distil, embeddings, recipe=recipe, jobs=jobs, passed=passed, missed=missed)
        return [alone([problem])[0] for problem in problems]
    n_rows, n_experts = problems[0].labels.shape
    l2 = np.asarray([problem.l2 for problem in problems])[:, None, None]
    if recipe.head == "mlp":
        space, hidden, start = _Space.plain(MLP_WIDTH), _hidden(embeddings, recipe.seed), None
    else:
        space, hidden = _Space.of(embeddings, l2.ravel().tolist()), []
    first = [*space.start(n_experts, start), *hidden]
    share = partial(_share, embeddings, problems, recipe.kl)

    def objective(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        turned, shifted, *hidden = _parts(point, first)
        layers = [*space.layer(turned, shifted), *hidden]
        total, slopes = 0.0, [np.zeros(layer.shape) for layer in layers]
        for loss, gradient in in_blocks(lambda rows: share(rows, layers), n_rows, jobs):
            total += loss
            slopes = [slope + own for slope, own in zip(slopes, gradient, strict=True)]
        for place in range(0, len(layers), 2):  # weights; the biases are between them
            strength = l2 if place == 0 else l2[0]
            total += float((strength * layers[place] ** 2).sum()) / 2
            slopes[place] = slopes[place] + strength * layers[place]
        passed(1)
        return total, _flat([*space.slopes(*slopes[:2]), *slopes[2:]])

    point, gradient = _minimised(objective, _flat(first))
    turned, shifted, *hidden = _parts(point, first)
    for own in zip(*_parts(gradient, first)[:2], strict=True):
        steepest = max(float(np.abs(part).max()) for part in own)
        if steepest > FAR:
            missed(steepest)
    inner = Hidden(*hidden) if hidden else None
    layers = zip(*space.layer(turned, shifted), strict=True)
    return [Head(weight, bias, hidden=inner) for weight, bias in layers]


def _share(
    embeddings: Matrix, problems: Sequence[Problem], kl: Direction, rows: slice, layers: Layers
) -> tuple[float, Layers]:
    """Return what these rows add to the mean loss, summed over the problems, and its gradient."""
    weight, bias, *hidden = layers
    given = values = embeddings[rows].astype(np.float64, copy=False)
    if hidden:
        values = np.maximum(given @ hidden[0].T + hidden[1], 0.0)
    flat = weight.reshape(-1, weight.shape[-1])
    logits = (values @ flat.T + bias.ravel()).reshape(len(values), *bias.shape)
    for place, problem in enumerate(problems):
        if problem.offset is not None:
            logits[:, place] += problem.offset[rows]
    labels = np.stack([problem.labels[rows] for problem in problems], axis=1)
    losses, slope = kl_divergence(logits, labels, kl)
    n_rows = len(problems[0].labels)
    slope = slope / n_rows
    across = slope.reshape(len(values), -1)
    gradient = [(across.T @ values).reshape(weight.shape), slope.sum(axis=0)]
    if hidden:
        back = np.where(values > 0, across @ flat, 0.0)
        gradient += [back.T @ given, back.sum(axis=0)]
    return float(losses.sum()) / n_rows, gradient


def kl_divergence(logits: Array, labels: Array, kl: Direction) -> tuple[Array, Array]:
    """KL divergence between softmax(logits) and labels (..., n_experts), and its gradient.

    "label-router" is KL(label || router), the cross-entropy; "router-label" is
    KL(router || label), as the paper writes it.
    """
    logits = logits - logits.max(axis=-1, keepdims=True)
    log_router = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    router, log_labels = np.exp(log_router), np.log(np.maximum(labels, _FLOOR))
    if kl == "label-router":
        return (labels * (log_labels - log_router)).sum(axis=-1), router - labels
    losses = (router * (log_router - log_labels)).sum(axis=-1)
    return losses, router * (log_router - log_labels - losses[..., None])


@dataclass(frozen=True)
class _Space:
    """Coordinates in which each direction is about as steep, so that a search takes few steps.

    A weight is its coordinates times a root: the inverse of the Cholesky factor of the
    embeddings' covariance times `CURVATURE`, plus L2. A bias is that at the mean embedding.
    """

    mean: NDArray[np.float64]  # (dim,)
    roots: list[NDArray[np.float64]]  # (dim, dim) of each problem, lower triangular

    @classmethod
    def of(cls, embeddings: Matrix, l2: list[float]) -> _Space:
        """Make the coordinates of problems with these weights of L2."""
        rows = embeddings[:: max(1, len(embeddings) // SPREAD_ROWS)].astype(np.float64)
        mean = rows.mean(axis=0)
        spread, unit = CURVATURE / len(rows) * (rows - mean).T @ (rows - mean), np.eye(len(mean))
        roots = {
            value: np.linalg.inv(np.linalg.cholesky(spread + max(value, LEAST_L2) * unit))
            for value in set(l2)
        }
        return cls(mean, [roots[value] for value in l2])

    @classmethod
    def plain(cls, dim: int) -> _Space:
        """Make those of one problem that are its weight and bias."""
        return cls(np.zeros(dim), [np.eye(dim)])

    def start(self, n_experts: int, head: Head | None) -> Layers:
        """Coordinates of a head for each problem, or of zero."""
        weight, bias = np.zeros((n_experts, len(self.mean))), np.zeros(n_experts)
        if head is not None:
            weight, bias = head.weight.astype(np.float64), head.bias.astype(np.float64)
        turned = [np.linalg.solve(root.T, weight.T).T for root in self.roots]
        return [np.stack(turned), np.stack([bias + weight @ self.mean] * len(turned))]

    def layer(self, turned: NDArray[np.float64], shifted: NDArray[np.float64]) -> Layers:
        """Weights (n_problems, n_experts, dim) and biases (n_problems, n_experts)."""
        weight = np.stack([own @ root for own, root in zip(turned, self.roots, strict=True)])
        return [weight, shifted - weight @ self.mean]

    def slopes(self, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> Layers:
        """Gradient in the coordinates, from that in weights and biases."""
        own = weight - bias[..., None] * self.mean
        return [np.stack([one @ root.T for one, root in zip(own, self.roots, strict=True)]), bias]


def _minimised(
    objective: Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]],
    start: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minimise a function that returns its value and gradient; the point, and the gradient there.

    Where one of the two tolerances ended the search, that gradient is 0.
    """
    from scipy.optimize import minimize

    options = {"maxiter": MAX_ITERATIONS, "ftol": PROGRESS, "gtol": GRADIENT}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    return found.x, np.zeros_like(found.x) if found.status == 0 else found.jac


def _hidden(embeddings: Matrix, seed: int) -> Layers:
    """Weight and bias of the MLP's hidden layer to start from (He et al. 2015)."""
    shape = (MLP_WIDTH, embeddings.shape[1])
    weight = np.random.default_rng(seed).normal(size=shape) * (2 / shape[1]) ** 0.5
    return [weight, np.zeros(MLP_WIDTH)]


def _flat(layers: Layers) -> NDArray[np.float64]:
    return np.concatenate([layer.ravel() for layer in layers])


def _parts(point: NDArray[np.float64], like: Layers) -> Layers:
    """Take what `_flat` made apart again."""
    ends = np.cumsum([layer.size for layer in like])[:-1]
    parts = zip(np.split(point, ends), like, strict=True)
    return [part.reshape(layer.shape) for part, layer in parts]
