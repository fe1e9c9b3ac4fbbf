"""Two published routers as heads on frozen embeddings, for evaluation to compare with.

Both take training embeddings (n, dim), training rewards (n, n_experts; NaN where not
observed), embeddings to score (m, dim) and one strength, and return scores
(m, n_experts), higher is better, as `compare/rivals.py` expects.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Array = NDArray[np.float64]

RANK = 64  # of the matrix factorisation
STEPS, BATCH = 1000, 64  # RouterDC's own, section 4.1 and its code
EPOCHS, FEWEST = 40, 300  # steps end earlier where there are few rows, but not before these
TOP, BOTTOM, OUT_GROUP, GROUPS = 3, 3, 3, 5  # K+, K-, H, N there
FACTOR_EPOCHS, FACTOR_STEPS, FACTOR_BATCH = 20, 400, 256  # the first two at least
DECAYS, TEMPERATURES = (0.1, 1.0, 10.0), (1.0, 0.3, 0.1)  # strengths to choose from
LEARNING_RATE = 1e-3  # of the heads; 5e-5 in RouterDC is that of a fine-tuned encoder


def factorise(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """Matrix factorisation: logit of expert m on query q is v_m . (W q + b) + c_m.

    After RouteLLM (arXiv 2406.18665, section 4.2) and EmbedLLM (arXiv 2410.02223): learnt
    expert embeddings v_m against a projection of the query's embedding, here on the
    observed rewards, scaled to [0, 1] over the table, by binary cross-entropy with Adam.

    Parameters
    ----------
    strength
        Decoupled weight decay (AdamW).
    """
    low, high = float(np.nanmin(rewards)), float(np.nanmax(rewards))
    target = (rewards - low) / (high - low if high > low else 1.0)
    random = torch.Generator().manual_seed(0)
    dim, n_experts = embeddings.shape[1], rewards.shape[1]
    parameters = [
        torch.randn(RANK, dim, generator=random) / dim**0.5,
        torch.zeros(RANK),
        torch.randn(n_experts, RANK, generator=random) / RANK**0.5,
        torch.zeros(n_experts),
    ]

    def logits(inputs: torch.Tensor) -> torch.Tensor:
        weight, bias, experts, offsets = parameters
        return torch.addmm(offsets, inputs @ weight.T + bias, experts.T)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        wanted = goal[rows]
        seen = ~torch.isnan(wanted)
        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits(inputs[rows])[seen], wanted[seen]
        )

    inputs, goal = _tensor(embeddings), _tensor(target)
    size = min(FACTOR_BATCH, len(inputs))
    epochs = max(FACTOR_EPOCHS, -(-FACTOR_STEPS * size // len(inputs)))
    batches = _batches(len(inputs), size, epochs, random)
    return _trained(parameters, batches, loss, logits, evaluated, strength)


def dual_contrastive(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """RouterDC (arXiv 2409.19886) with a linear projection in the encoder's place.

    The score of an expert is the cosine similarity of its learnt embedding and the
    projected query. The loss is the sample-LLM contrastive loss (equation 4: each of the
    K+ best experts against the K- worst with a reward of at most one half) plus the
    sample-sample contrastive loss (equation 5: a query of the same k-means group against H
    of other groups). Rewards are scaled to [0, 1] over the table; unobserved ones are
    neither positive nor negative.

    Parameters
    ----------
    strength
        Temperature that the cosine similarities to the experts are divided by.
    """
    from sklearn.cluster import KMeans

    low, high = float(np.nanmin(rewards)), float(np.nanmax(rewards))
    target = _tensor((rewards - low) / (high - low if high > low else 1.0))
    random = torch.Generator().manual_seed(0)
    dim, n_experts = embeddings.shape[1], rewards.shape[1]
    parameters = [
        torch.eye(dim),  # begins as the encoder is
        torch.randn(n_experts, dim, generator=random) * 0.78,  # as in RouterDC's code
    ]
    inputs = _tensor(embeddings)
    found = KMeans(min(GROUPS, len(embeddings)), n_init=3, random_state=0).fit(embeddings)
    groups = torch.as_tensor(found.labels_, dtype=torch.int64)

    def cosines(queries: torch.Tensor) -> torch.Tensor:
        projected = torch.nn.functional.normalize(queries @ parameters[0].T, dim=1)
        return projected @ torch.nn.functional.normalize(parameters[1], dim=1).T

    def loss(rows: torch.Tensor) -> torch.Tensor:
        queries = torch.nn.functional.normalize(inputs[rows] @ parameters[0].T, dim=1)
        experts = torch.nn.functional.normalize(parameters[1], dim=1)
        between = sample_llm_loss(queries @ experts.T / strength, target[rows], random)
        return between + sample_sample_loss(queries @ queries.T, groups[rows], random)

    steps = max(FEWEST, min(STEPS, EPOCHS * len(inputs) // BATCH))
    epochs = -(-steps * BATCH // len(inputs))
    batches = _batches(len(inputs), BATCH, epochs, random)[:steps]
    return _trained(parameters, batches, loss, cosines, evaluated, 0.01)


def sample_llm_loss(
    similarities: torch.Tensor, rewards: torch.Tensor, random: torch.Generator
) -> torch.Tensor:
    """RouterDC's sample-LLM contrastive loss, summed over the positives, mean over queries.

    Where rewards tie, draws decide who is among the highest or lowest: a fixed order would
    keep some experts from ever being a negative.

    Parameters
    ----------
    similarities
        (n, n_experts), already divided by the temperature.
    rewards
        (n, n_experts) in [0, 1], NaN where not observed. Positives are the `TOP` highest
        above 0, negatives those of the `BOTTOM` lowest that are at most one half.
    """
    n_experts = rewards.shape[1]
    shuffled = rewards + 1e-4 * torch.rand(rewards.shape, generator=random)
    best = shuffled.nan_to_num(-1.0).topk(min(TOP, n_experts), dim=1).indices
    worst = shuffled.nan_to_num(2.0).topk(min(BOTTOM, n_experts), dim=1, largest=False).indices
    # a comparison with NaN is false, so an unobserved expert is neither
    negatives = similarities.gather(1, worst)
    negatives = negatives.masked_fill(~(rewards.gather(1, worst) <= 0.5), -torch.inf)
    total = similarities.new_zeros(())
    for place in range(best.shape[1]):
        index = best[:, place : place + 1]
        positive = similarities.gather(1, index)
        terms = torch.logsumexp(torch.cat([positive, negatives], dim=1), dim=1) - positive[:, 0]
        total = total + torch.where(rewards.gather(1, index)[:, 0] > 0, terms, 0.0).mean()
    return total


def sample_sample_loss(
    similarities: torch.Tensor, groups: torch.Tensor, random: torch.Generator
) -> torch.Tensor:
    """RouterDC's sample-sample contrastive loss over a batch.

    For each query one drawn query of its group against `OUT_GROUP` drawn ones of other
    groups; queries with fewer than that outside their group take no part.

    Parameters
    ----------
    similarities
        (n, n) cosine similarities of the projected queries.
    groups
        (n,) group of each query.
    """
    same = groups[:, None] == groups[None, :]
    kept = (~same).sum(dim=1) >= OUT_GROUP
    if not kept.any():
        return similarities.new_zeros(())
    same, chosen = same[kept], similarities[kept]
    inside = torch.multinomial(same.float(), 1, generator=random)
    outside = torch.multinomial((~same).float(), OUT_GROUP, generator=random)
    picked = chosen.gather(1, torch.cat([inside, outside], dim=1))
    return (torch.logsumexp(picked, dim=1) - picked[:, 0]).mean()


def _tensor(values: Array) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32)


def _batches(n: int, size: int, epochs: int, random: torch.Generator) -> list[torch.Tensor]:
    """Batches of row numbers from shuffled epochs, one after the other."""
    order = [torch.randperm(n, generator=random) for _ in range(epochs)]
    return list(torch.split(torch.cat(order), min(size, n)))


def _trained(
    parameters: list[torch.Tensor],
    batches: list[torch.Tensor],
    loss: Callable[[torch.Tensor], torch.Tensor],
    scores: Callable[[torch.Tensor], torch.Tensor],
    evaluated: Array,
    decay: float,
) -> Array:
    """Run AdamW over the batches on one thread (equal sums everywhere), then score."""
    for parameter in parameters:
        parameter.requires_grad_()
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=decay)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            for rows in batches:
                optimiser.zero_grad()
                loss(rows).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            with torch.no_grad():
                return np.asarray(scores(_tensor(evaluated)).numpy(), dtype=np.float64)
    finally:
        torch.set_num_threads(threads)
