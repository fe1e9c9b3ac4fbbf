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
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear

from zooter_lite.labels.blocks import Matrix, in_blocks
from zooter_lite.recipe import Recipe
from zooter_lite.router.head import Head, Hidden

Array = NDArray[np.floating]
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
        All with an offset, or none. How far a head is from its optimum depends on the others
        within the tolerances, and nothing else does.
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
        of each head that the last step allowed left above `FAR`.

    Returns
    -------
    float64 heads with temperature 1 and no prior. Equal inputs give equal bytes.
    """
    if recipe.head == "mlp" and len(problems) > 1:
        alone = partial(distil, embeddings, recipe=recipe, jobs=jobs, passed=passed, missed=missed)
        return [alone([problem])[0] for problem in problems]
    n_rows, n_experts = problems[0].labels.shape
    l2 = torch.tensor([problem.l2 for problem in problems]).double()
    if recipe.head == "mlp":
        space, hidden, start = _Space.plain(MLP_WIDTH), _hidden(embeddings, recipe.seed), None
    else:
        space, hidden = _Space.of(embeddings, l2.tolist()), []
    parameters = [p.requires_grad_() for p in (*space.start(len(l2), n_experts, start), *hidden)]

    def share(rows: slice, layers: list[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Loss of these rows, summed over the problems, and its gradient."""
        inputs, (weight, bias, *hidden) = _tensor(embeddings[rows]), layers
        labels = _stack([problem.labels for problem in problems], rows)
        offsets = [problem.offset for problem in problems if problem.offset is not None]
        with torch.enable_grad():
            if hidden:
                inputs = torch.relu(linear(inputs, *hidden))
            logits = linear(inputs, weight.flatten(0, 1), bias.flatten()).view(labels.shape)
            if offsets:
                logits = logits + _stack(offsets, rows)
            loss = kl_divergence(logits.flatten(0, 1), labels.flatten(0, 1), recipe.kl)
            loss = loss * (len(problems) * len(inputs) / n_rows)
            return loss.detach(), torch.autograd.grad(loss, layers)

    def objective() -> Tensor:
        with torch.enable_grad():
            layers = [*space.layer(*parameters[:2]), *parameters[2:]]
            weights = [layers[place].reshape(len(l2), -1) for place in range(0, len(layers), 2)]
            penalty = torch.stack([l2 @ weight.square().sum(dim=1) / 2 for weight in weights]).sum()
        given = [layer.detach().requires_grad_() for layer in layers]
        total, slopes = penalty.detach(), [torch.zeros_like(layer) for layer in given]
        for loss, gradients in in_blocks(lambda rows: share(rows, given), n_rows, jobs):
            total = total + loss
            slopes = [s + g for s, g in zip(slopes, gradients, strict=True)]
        through = torch.autograd.grad([penalty, *layers], parameters, [torch.ones(()), *slopes])
        for parameter, slope in zip(parameters, through, strict=True):
            parameter.grad = slope
        passed(1)
        return total

    for gradient in _minimise(parameters, objective):
        if gradient > FAR:
            missed(gradient)
    weights, biases = (layer.detach().numpy() for layer in space.layer(*parameters[:2]))
    inner = Hidden(*(layer.detach().numpy() for layer in hidden)) if hidden else None
    return [Head(*layer, hidden=inner) for layer in zip(weights, biases, strict=True)]


def kl_divergence(logits: torch.Tensor, labels: torch.Tensor, kl: Direction) -> torch.Tensor:
    """Mean over rows of the KL divergence between softmax(logits) and labels (n, n_experts).

    "label-router" is KL(label || router), the cross-entropy; "router-label" is
    KL(router || label), as the paper writes it.
    """
    log_router = torch.log_softmax(logits, dim=1)
    if kl == "label-router":
        terms = torch.xlogy(labels, labels) - labels * log_router
    else:
        terms = log_router.exp() * (log_router - labels.clamp_min(_FLOOR).log())
    return terms.sum(dim=1).mean()


@dataclass(frozen=True)
class _Space:
    """Coordinates in which each direction is about as steep, so that a search takes few steps.

    A weight is its coordinates times a root: the inverse of the Cholesky factor of the
    embeddings' covariance times `CURVATURE`, plus L2. A bias is that at the mean embedding.
    """

    mean: Tensor  # (dim,)
    roots: list[Tensor]  # (dim, dim) of each problem, lower triangular

    @classmethod
    def of(cls, embeddings: Matrix, l2: list[float]) -> _Space:
        """Make the coordinates of problems with these weights of L2."""
        rows = _tensor(embeddings[:: max(1, len(embeddings) // SPREAD_ROWS)])
        mean = rows.mean(dim=0)
        spread = CURVATURE / len(rows) * (rows - mean).T @ (rows - mean)
        unit = torch.eye(len(mean)).double()
        roots = {}
        for value in set(l2):
            factor = torch.linalg.cholesky(spread + max(value, LEAST_L2) * unit)
            roots[value] = torch.linalg.solve_triangular(factor, unit, upper=False)
        return cls(mean, [roots[value] for value in l2])

    @classmethod
    def plain(cls, dim: int) -> _Space:
        """Make those of one problem that are its weight and bias."""
        return cls(torch.zeros(dim).double(), [torch.eye(dim).double()])

    def start(self, n_problems: int, n_experts: int, head: Head | None) -> tuple[Tensor, Tensor]:
        """Coordinates of a head for each problem, or of zero."""
        if head is None:
            zero = torch.zeros(n_problems, n_experts, len(self.mean) + 1).double()
            return zero[:, :, :-1].contiguous(), zero[:, :, -1].contiguous()
        weight, bias = _tensor(head.weight), _tensor(head.bias)
        turned = [
            torch.linalg.solve_triangular(root, weight, upper=False, left=False)
            for root in self.roots
        ]
        return torch.stack(turned), (bias + weight @ self.mean).repeat(n_problems, 1)

    def layer(self, turned: Tensor, shifted: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (n_problems, n_experts, dim) and biases (n_problems, n_experts)."""
        weight = torch.stack([own @ root for own, root in zip(turned, self.roots, strict=True)])
        return weight, shifted - weight @ self.mean


def _minimise(parameters: list[Tensor], objective: Callable[[], Tensor]) -> list[float]:
    """Minimise `objective`, which sets the parameters' gradients, by L-BFGS.

    Returned is the largest entry of each problem's gradient where the steps ran out, else
    nothing.
    """
    optimiser = torch.optim.LBFGS(
        parameters,
        max_iter=MAX_ITERATIONS,
        history_size=10,
        tolerance_grad=GRADIENT,
        tolerance_change=PROGRESS,
        line_search_fn="strong_wolfe",
    )
    optimiser.step(objective)  # type: ignore[no-untyped-call]
    state = optimiser.state[parameters[0]]
    most_calls = optimiser.param_groups[0]["max_eval"]
    if state["n_iter"] < MAX_ITERATIONS and state["func_evals"] < most_calls:
        return []  # one of the two tolerances ended the search
    objective()
    largest = [
        p.grad.abs().reshape(len(parameters[0]), -1) for p in parameters if p.grad is not None
    ]
    return torch.cat(largest, dim=1).amax(dim=1).tolist()


def _hidden(embeddings: Matrix, seed: int) -> list[Tensor]:
    """Weight and bias of the MLP's hidden layer to start from (He et al. 2015)."""
    dim = embeddings.shape[1]
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(MLP_WIDTH, dim, generator=random, dtype=torch.float64)
    return [weight * (2 / dim) ** 0.5, torch.zeros(MLP_WIDTH).double()]


def _stack(values: Sequence[Array], rows: slice) -> Tensor:
    """(n, n_problems, n_experts) of these rows."""
    return torch.stack([_tensor(own[rows]) for own in values], dim=1)


def _tensor(values: Array) -> Tensor:
    return torch.from_numpy(values.astype(np.float64, copy=False))
