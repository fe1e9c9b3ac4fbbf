"""Two published routers as heads on frozen embeddings, as `compare/rivals.py` expects them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from zooter_lite.measure.metrics import Array

RANK = 64  # of the matrix factorisation
FACTOR_EPOCHS, FACTOR_STEPS, FACTOR_BATCH = 20, 400, 256  # the first two at least
STEPS, BATCH = 1000, 64  # RouterDC's own, section 4.1 and its code
EPOCHS, FEWEST = 40, 300  # steps end earlier where there are few rows, but not before these
TOP, BOTTOM, OUT_GROUP, GROUPS = 3, 3, 3, 5  # K+, K-, H, N there
LEARNING_RATE = 1e-3  # of the heads; 5e-5 in RouterDC is that of a fine-tuned encoder


def factorise(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """Matrix factorisation: logit of expert m on query q is v_m . (W q + b) + c_m.

    After RouteLLM (arXiv 2406.18665, section 4.2) and EmbedLLM (arXiv 2410.02223): learnt
    expert embeddings v_m against a projection of the query's embedding, here on the
    observed rewards, scaled to [0, 1] over the table, by binary cross-entropy with Adam.
    `strength` is the decoupled weight decay (AdamW).
    """
    inputs, target, random = _tensor(embeddings), _scaled(rewards), _generator()
    (n, dim), n_experts = inputs.shape, rewards.shape[1]
    parameters = [
        torch.randn(RANK, dim, generator=random) / dim**0.5,
        torch.zeros(RANK),
        torch.randn(n_experts, RANK, generator=random) / RANK**0.5,
        torch.zeros(n_experts),
    ]

    def logits(queries: torch.Tensor) -> torch.Tensor:
        weight, bias, experts, offsets = parameters
        return torch.addmm(offsets, queries @ weight.T + bias, experts.T)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        wanted = target[rows]
        seen = ~torch.isnan(wanted)
        return binary_cross_entropy_with_logits(logits(inputs[rows])[seen], wanted[seen])

    size = min(FACTOR_BATCH, n)
    epochs = max(FACTOR_EPOCHS, -(-FACTOR_STEPS * size // n))
    _train(parameters, _batches(n, size, epochs, random), loss, strength)
    return _scores(logits, evaluated)


def dual_contrastive(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """RouterDC (arXiv 2409.19886) with a linear projection in the encoder's place.

    The score of an expert is the cosine similarity of its learnt embedding and the
    projected query. The loss is the sample-LLM contrastive loss (equation 4: each of the
    K+ best experts against the K- worst with a reward of at most one half) plus the
    sample-sample contrastive loss (equation 5: a query of the same k-means group against H
    of other groups). Rewards are scaled to [0, 1] over the table; unobserved ones are
    neither positive nor negative. `strength` is the temperature that the cosine similarities
    to the experts are divided by.
    """
    inputs, target, random = _tensor(embeddings), _scaled(rewards), _generator()
    n, dim = inputs.shape
    parameters = [
        torch.eye(dim),  # begins as the encoder is
        torch.randn(rewards.shape[1], dim, generator=random) * 0.78,  # as in RouterDC's code
    ]
    fitted = KMeans(min(GROUPS, n), n_init=3, random_state=0).fit(embeddings)
    groups = torch.as_tensor(fitted.labels_, dtype=torch.int64)

    def projected(queries: torch.Tensor) -> torch.Tensor:
        return normalize(queries @ parameters[0].T, dim=1)

    def cosines(queries: torch.Tensor) -> torch.Tensor:
        return projected(queries) @ normalize(parameters[1], dim=1).T

    def loss(rows: torch.Tensor) -> torch.Tensor:
        queries = inputs[rows]
        between = sample_llm_loss(cosines(queries) / strength, target[rows], random)
        ours = projected(queries)
        return between + sample_sample_loss(ours @ ours.T, groups[rows], random)

    steps = max(FEWEST, min(STEPS, EPOCHS * n // BATCH))
    _train(parameters, _batches(n, BATCH, -(-steps * BATCH // n), random)[:steps], loss, 0.01)
    return _scores(cosines, evaluated)


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
    positives = similarities.gather(1, best)
    against = negatives[:, None, :].expand(-1, positives.shape[1], -1)
    terms = torch.logsumexp(torch.cat([positives[:, :, None], against], dim=2), dim=2) - positives
    return torch.where(rewards.gather(1, best) > 0, terms, 0.0).sum(dim=1).mean()


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
    inside = torch.multinomial(same[kept].float(), 1, generator=random)
    outside = torch.multinomial((~same[kept]).float(), OUT_GROUP, generator=random)
    picked = similarities[kept].gather(1, torch.cat([inside, outside], dim=1))
    return (torch.logsumexp(picked, dim=1) - picked[:, 0]).mean()


def _tensor(values: Array) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _scaled(rewards: Array) -> torch.Tensor:
    """Rewards scaled to [0, 1] over the table."""
    low, high = float(np.nanmin(rewards)), float(np.nanmax(rewards))
    return _tensor((rewards - low) / (high - low if high > low else 1.0))


def _batches(n: int, size: int, epochs: int, random: torch.Generator) -> list[torch.Tensor]:
    """Batches of row numbers from shuffled epochs, one after the other."""
    order = [torch.randperm(n, generator=random) for _ in range(epochs)]
    return list(torch.split(torch.cat(order), min(size, n)))


def _train(
    parameters: list[torch.Tensor],
    batches: list[torch.Tensor],
    loss: Callable[[torch.Tensor], torch.Tensor],
    decay: float,
) -> None:
    """Run AdamW over the batches on one thread: sums are equal everywhere."""
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
    finally:
        torch.set_num_threads(threads)


def _scores(score: Callable[[torch.Tensor], torch.Tensor], evaluated: Array) -> Array:
    with torch.no_grad():
        return np.asarray(score(_tensor(evaluated)).numpy(), dtype=np.float64)
