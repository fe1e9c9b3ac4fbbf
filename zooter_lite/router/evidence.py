"""What the nearest training queries and their tags say about a query, beside the head's view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.tags.index import TagIndex


@dataclass(frozen=True)
class Neighbour:
    """One of the nearest training queries."""

    similarity: float  # cosine similarity to the query, -1 to 1
    tags: list[str]
    text: str | None  # None where the router did not keep it


@dataclass(frozen=True)
class TagEvidence:
    """One tag of the query, and how the experts did on it."""

    tag: str
    weight: float  # similarity-weighted share of the neighbours that carry it
    support: int  # training queries that carry it
    mean_rewards: dict[str, float | None]  # of each expert on these; None where none was observed
    observed: dict[str, int]  # number of rewards behind each mean


@dataclass(frozen=True)
class Agreement:
    """How far the head and the tags agree.

    Attributes
    ----------
    kendall_tau_b
        Rank agreement of the head's probabilities with the tag rewards over the experts
        that have both, -1 (reversed) to 1 (same order); None where it is undefined.
    same_choice
        Whether the head's most probable expert also has the highest tag reward; None where
        it has none.
    tag_choice
        The expert with the highest tag reward; of equals the first.
    """

    kendall_tau_b: float | None = None
    same_choice: bool | None = None
    tag_choice: str | None = None


def nearest(
    index: TagIndex,
    embedding: NDArray[np.float32],
    experts: Sequence[str],
    texts: Sequence[str] | None,
    k: int,
) -> tuple[list[Neighbour], list[TagEvidence]]:
    """Return the `k` nearest training queries, nearest first, and their tags, heaviest first.

    Parameters
    ----------
    embedding
        (dim,) unit embedding of the query.
    texts
        Training queries in the order of the index, or None where they were not kept.
    """
    similarities, positions = (rows[0] for rows in index.search(embedding[None], k))
    neighbours = [
        Neighbour(
            float(similarity),
            [index.names[tag] for tag in index.query_tags[position]],
            None if texts is None else texts[position],
        )
        for similarity, position in zip(similarities, positions.tolist(), strict=True)
        if position >= 0
    ]
    tags = []
    for tag, weight in index.weigh(similarities, positions):
        means = [None if np.isnan(mean) else float(mean) for mean in index.mean_rewards[tag]]
        by_expert = dict(zip(experts, means, strict=True))
        observed = dict(zip(experts, index.observed[tag].tolist(), strict=True))
        tags.append(TagEvidence(index.names[tag], weight, index.support[tag], by_expert, observed))
    return neighbours, tags


def tag_rewards(tags: Sequence[TagEvidence], experts: Sequence[str]) -> dict[str, float | None]:
    """Average each expert's mean rewards with the tags' weights; None where there are none."""
    rewards: dict[str, float | None] = {}
    for expert in experts:
        pairs = [(tag.weight, tag.mean_rewards[expert]) for tag in tags]
        known = [(weight, mean) for weight, mean in pairs if mean is not None]
        total = sum(weight for weight, _ in known)
        rewards[expert] = sum(w * mean for w, mean in known) / total if total > 0 else None
    return rewards


def agreement(probabilities: Mapping[str, float], rewards: Mapping[str, float | None]) -> Agreement:
    """Compare the head's probabilities with the tag rewards, by expert."""
    known = {expert: reward for expert, reward in rewards.items() if reward is not None}
    if not known:
        return Agreement()
    tau = kendall_tau_b([probabilities[expert] for expert in known], list(known.values()))
    head_choice = max(probabilities, key=lambda expert: probabilities[expert])
    best = max(known.values())
    same = known[head_choice] >= best - 1e-9 if head_choice in known else None
    return Agreement(tau, same, max(known, key=lambda expert: known[expert]))


def kendall_tau_b(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Rank agreement of two lists of values for the same things, -1 to 1.

    tau-b = sum sign(x_i - x_j) sign(y_i - y_j) / sqrt(n_x n_y) over the pairs i < j, where
    n_x and n_y count the pairs that are not tied in x and in y. None where either count is 0.

    Examples
    --------
    >>> kendall_tau_b([3, 2, 1], [9, 5, 7])  # two pairs of three in the same order
    0.3333333333333333
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (first, second))
    i, j = np.triu_indices(len(x), 1)
    x_signs, y_signs = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
    untied = float(np.count_nonzero(x_signs)) * float(np.count_nonzero(y_signs))
    return float((x_signs * y_signs).sum() / np.sqrt(untied)) if untied else None
