"""Distil soft labels into a head: L-BFGS on a KL divergence with L2, over all rows at once.

The objective and its gradient are summed over blocks of rows, in their order. A table that
lies on disk is read once for each step and never held in memory, and the result is the same
on any number of threads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

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
_FLOOR = 1e-12  # keeps the logarithm of a zero label finite

log = logging.getLogger(__name__)


def warn_of_gradient(gradient: float) -> None:
    """Say on the log that a head was not fitted to the end."""
    log.warning(
        "the head did not converge in %d steps: its gradient is still %.2g; more L2 would help",
        MAX_ITERATIONS,
        gradient,
    )


def distil(
    embeddings: Matrix,
    labels: Array,
    l2: float,
    recipe: Recipe,
    offset: Array | None = None,
    start: Head | None = None,
    *,
    jobs: int = 1,
    passed: Callable[[int], object] = lambda _: None,
    missed: Callable[[float], object] = warn_of_gradient,
) -> Head:
    """Fit a head to soft labels.

    Parameters
    ----------
    embeddings
        (n_queries, dim) unit vectors.
    labels
        (n_queries, n_experts); rows sum to 1.
    l2
        Weight of half the squared norm of the weights (not of the biases).
    recipe
        Its head ("prior" and "linear" are convex problems that start at zero), direction of
        the divergence, and the seed that starts the MLP.
    offset
        (n_queries, n_experts) fixed logits that the head is added to: for a prior head,
        those of the tags and domains.
    start
        A head of the same kind to start from (a neighbouring setting): it changes how
        fast a convex head is found, not what is found. The MLP always starts anew, since
        a strongly regularised one is a saddle that it would not leave.
    jobs
        Threads; -1 takes every core.
    passed, missed
        Called with 1 after each pass over the rows, and with the largest entry of the gradient
        where the last step allowed left one above `FAR`.

    Returns
    -------
    A float64 head with temperature 1 and no prior. Equal inputs give equal bytes.
    """
    n_rows, n_experts = labels.shape
    parameters = _start(embeddings.shape[1], n_experts, recipe, start)
    weight, bias, *hidden = parameters

    def share(rows: slice) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        inputs, target = _tensor(embeddings[rows]), _tensor(labels[rows])
        with torch.enable_grad():
            if hidden:
                inputs = torch.relu(torch.nn.functional.linear(inputs, *hidden))
            logits = torch.nn.functional.linear(inputs, weight, bias)
            if offset is not None:
                logits = logits + _tensor(offset[rows])
            loss = kl_divergence(logits, target, recipe.kl) * (len(inputs) / n_rows)
            return loss.detach(), torch.autograd.grad(loss, parameters)

    def objective() -> torch.Tensor:
        weights = [p.detach() for p in parameters]
        total = torch.stack([w.square().sum() for w in weights if w.ndim == 2]).sum() * (l2 / 2)
        slopes = [l2 * w if w.ndim == 2 else torch.zeros_like(w) for w in weights]
        for loss, gradients in in_blocks(share, n_rows, jobs):
            total = total + loss
            slopes = [s + g for s, g in zip(slopes, gradients, strict=True)]
        for parameter, slope in zip(parameters, slopes, strict=True):
            parameter.grad = slope
        passed(1)
        return total

    _minimise(parameters, objective, missed)
    first, second, *inner = (p.detach().numpy() for p in parameters)
    return Head(first, second, hidden=Hidden(*inner) if inner else None)


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


def _minimise(
    parameters: list[torch.Tensor],
    objective: Callable[[], torch.Tensor],
    missed: Callable[[float], object],
) -> None:
    """Minimise `objective`, which sets the parameters' gradients, by L-BFGS."""
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
        return  # one of the two tolerances ended the search
    objective()
    gradient = max(float(p.grad.abs().max()) for p in parameters if p.grad is not None)
    if gradient > FAR:
        missed(gradient)


def _start(dim: int, n_experts: int, recipe: Recipe, start: Head | None) -> list[torch.Tensor]:
    """Parameters in the order weight, bias and, for the MLP, hidden weight, hidden bias."""
    hidden: list[torch.Tensor] = []
    width = dim
    if recipe.head == "mlp":
        random = torch.Generator().manual_seed(recipe.seed)
        width = MLP_WIDTH
        weight = torch.randn(width, dim, generator=random, dtype=torch.float64)
        hidden = [weight * (2 / dim) ** 0.5, torch.zeros(width).double()]  # He et al. 2015
    zero = [torch.zeros(n_experts, width).double(), torch.zeros(n_experts).double()]
    if start is not None and not hidden:
        zero = [torch.tensor(a, dtype=torch.float64) for a in (start.weight, start.bias)]
    return [p.requires_grad_() for p in (*zero, *hidden)]


def _tensor(values: Array) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float64, copy=False))
