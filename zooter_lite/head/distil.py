"""Distil soft labels into a head: full-batch L-BFGS on a KL divergence with L2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from zooter_lite.router.head import Head, Hidden

Array = NDArray[np.floating]
Direction = Literal["label-router", "router-label"]
HeadKind = Literal["prior", "linear", "mlp"]

MLP_WIDTH = 64
MAX_ITERATIONS = 200
_FLOOR = 1e-12  # keeps the logarithm of a zero label finite


@dataclass(frozen=True)
class Distillation:
    """How a head is fitted.

    Attributes
    ----------
    kind
        "prior" (tag prior plus linear residual), "linear" or "mlp".
    l2
        Weight of half the squared norm of the weights (not of the biases).
    direction
        "label-router" is KL(label || router), the cross-entropy; "router-label" is
        KL(router || label), as the paper writes it.
    seed
        Starts the MLP; the other heads are convex problems started at zero.
    """

    kind: HeadKind = "prior"
    l2: float = 0.01
    direction: Direction = "label-router"
    seed: int = 0


def kl_divergence(logits: torch.Tensor, labels: torch.Tensor, direction: Direction) -> torch.Tensor:
    """Mean over rows of the KL divergence between softmax(logits) and the labels.

    Parameters
    ----------
    logits
        (n, n_experts).
    labels
        (n, n_experts), NaN where the expert was not observed: the softmax then runs
        over the observed experts only.
    """
    observed = ~torch.isnan(labels)
    log_router = torch.log_softmax(logits.masked_fill(~observed, -torch.inf), dim=1)
    log_router = log_router.masked_fill(~observed, 0.0)
    label = labels.masked_fill(~observed, 0.0)
    if direction == "label-router":
        terms = torch.xlogy(label, label) - label * log_router
    else:
        router = log_router.exp().masked_fill(~observed, 0.0)
        terms = router * (log_router - label.clamp_min(_FLOOR).log())
    return terms.sum(dim=1).mean()


def distil(
    embeddings: Array,
    labels: Array,
    how: Distillation,
    offset: Array | None = None,
    start: Head | None = None,
) -> Head:
    """Fit a head to soft labels.

    Parameters
    ----------
    embeddings
        (n_queries, dim) unit vectors.
    labels
        (n_queries, n_experts), NaN where not observed.
    how
        Kind of head, regularisation, direction of the divergence, seed.
    offset
        (n_queries, n_experts) fixed logits that the head is added to: for kind "prior",
        those of the tag prior.
    start
        A head of the same kind to start from (a neighbouring setting): it changes how
        fast a convex head is found, not what is found. The MLP always starts anew, since
        a strongly regularised one is a saddle that it would not leave.

    Returns
    -------
    A float64 head with temperature 1 and no prior. Equal inputs give equal bytes.
    """
    inputs = torch.as_tensor(embeddings, dtype=torch.float64)
    target = torch.as_tensor(labels, dtype=torch.float64)
    fixed = torch.zeros_like(target) if offset is None else torch.as_tensor(offset)
    parameters = start_parameters(inputs.shape[1], target.shape[1], how, start)

    def objective() -> torch.Tensor:
        divergence = kl_divergence(forward(inputs, parameters) + fixed, target, how.direction)
        loss = divergence + penalty(parameters, how.l2)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    return minimised(parameters, objective)


def penalty(parameters: list[torch.Tensor], l2: float) -> torch.Tensor:
    """Half the squared norm of the weights, times `l2`."""
    return l2 / 2 * torch.stack([p.square().sum() for p in parameters if p.ndim == 2]).sum()


def minimised(parameters: list[torch.Tensor], objective: Callable[[], torch.Tensor]) -> Head:
    """Minimise `objective`, which adds its gradient to that of the parameters, by L-BFGS."""
    optimiser = torch.optim.LBFGS(
        parameters,
        max_iter=MAX_ITERATIONS,
        history_size=10,
        tolerance_grad=1e-6,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        return objective()

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    arrays = [p.detach().numpy() for p in parameters]
    hidden = Hidden(arrays[2], arrays[3]) if len(arrays) > 2 else None
    return Head(arrays[0], arrays[1], hidden=hidden)


def forward(inputs: torch.Tensor, parameters: list[torch.Tensor]) -> torch.Tensor:
    """(n, n_experts) logits of `inputs` (n, dim), by parameters as `start_parameters` gives."""
    weight, bias, *hidden = parameters
    inner = torch.relu(torch.nn.functional.linear(inputs, *hidden)) if hidden else inputs
    return torch.nn.functional.linear(inner, weight, bias)


def start_parameters(
    dim: int, n_experts: int, how: Distillation, start: Head | None
) -> list[torch.Tensor]:
    """Parameters in the order weight, bias and, for the MLP, hidden weight, hidden bias."""
    if how.kind == "mlp":
        random = torch.Generator().manual_seed(how.seed)
        hidden = torch.randn(MLP_WIDTH, dim, generator=random, dtype=torch.float64)
        begin = [
            torch.zeros(n_experts, MLP_WIDTH, dtype=torch.float64),
            torch.zeros(n_experts, dtype=torch.float64),
            hidden * (2 / dim) ** 0.5,  # He et al. 2015
            torch.zeros(MLP_WIDTH, dtype=torch.float64),
        ]
    elif start is not None:
        begin = [torch.tensor(a, dtype=torch.float64) for a in (start.weight, start.bias)]
    else:
        begin = [
            torch.zeros(n_experts, dim, dtype=torch.float64),
            torch.zeros(n_experts, dtype=torch.float64),
        ]
    return [p.requires_grad_() for p in begin]
