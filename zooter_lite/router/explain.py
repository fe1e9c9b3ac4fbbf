"""Why a query went where it went: the head's view beside that of its nearest training queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.router.decision import Decision
from zooter_lite.router.explain_text import explanation_text
from zooter_lite.tags.index import TagIndex

NO_TAGS = "neighbours and tag evidence: the router was fitted without tags"
NO_TEXTS = "texts of the neighbours: the router was fitted without --keep-queries"


@dataclass(frozen=True)
class Neighbour:
    """One of the nearest training queries.

    Attributes
    ----------
    similarity
        Cosine similarity to the query, -1 to 1.
    tags
        Names of its tags.
    text
        The training query itself; None where the router did not keep it.
    """

    similarity: float
    tags: list[str]
    text: str | None


@dataclass(frozen=True)
class TagEvidence:
    """One tag of the query and how the experts did on it.

    Attributes
    ----------
    tag, weight
        Name, and similarity-weighted share of the neighbours that carry it.
    support
        Training queries that carry it.
    mean_rewards
        Mean observed reward of each expert on them; None where none was observed.
    observed
        Number of rewards behind each mean.
    """

    tag: str
    weight: float
    support: int
    mean_rewards: dict[str, float | None]
    observed: dict[str, int]


@dataclass(frozen=True)
class Agreement:
    """How far sample evidence (the head) and tag evidence (the tags' rewards) agree.

    Attributes
    ----------
    kendall_tau_b
        Rank agreement of the head's probabilities with the tag rewards over the experts
        that have both, -1 (reversed) to 1 (same order); None where it is undefined.
        See `kendall_tau_b`.
    same_choice
        Whether the head's most probable expert also has the highest tag reward.
    tag_choice
        The expert with the highest tag reward; of equals the first.
    """

    kendall_tau_b: float | None
    same_choice: bool | None
    tag_choice: str | None


@dataclass(frozen=True)
class Explanation:
    """One decision with the evidence for it.

    A head with a tag prior has itself learned from the tags' mean labels, so part of an
    agreement is built in; a disagreement tells more.

    Attributes
    ----------
    query
        The prompt.
    decision
        What the router decided, with the head's probabilities.
    neighbours
        Nearest training queries, nearest first.
    tags
        Their tags, heaviest first.
    tag_rewards
        Each expert's mean rewards on these tags, averaged with the tags' weights:
        sum_t w_t m_te / sum_t w_t over the tags t where the mean m_te was observed.
    agreement
        Of the probabilities with the tag rewards.
    missing
        What could not be told, and why.
    """

    query: str
    decision: Decision
    neighbours: list[Neighbour]
    tags: list[TagEvidence]
    tag_rewards: dict[str, float | None]
    agreement: Agreement
    missing: list[str]

    def to_json(self) -> dict[str, Any]:
        """Everything, as lists, dictionaries, texts and numbers."""
        return asdict(self)

    def to_text(self) -> str:
        """Return at most about forty lines to read in a terminal; `to_json` leaves nothing out."""
        return explanation_text(self)


def explain_decision(
    query: str,
    decision: Decision,
    embedding: NDArray[np.float32],
    index: TagIndex | None,
    texts: Sequence[str] | None,
    k: int,
) -> Explanation:
    """Gather the evidence for a decision.

    Parameters
    ----------
    embedding
        (dim,) unit embedding of the query.
    index
        Tag index of the router, or None.
    texts
        Training queries in the order of the index, or None where they were not kept.
    k
        Number of neighbours.
    """
    experts = list(decision.probabilities)
    if index is None:
        return Explanation(query, decision, [], [], {}, Agreement(None, None, None), [NO_TAGS])
    similarities, positions = (found[0] for found in index.search(embedding[None], k))
    neighbours = [
        Neighbour(
            float(similarity),
            [index.names[tag] for tag in index.query_tags[position]],
            None if texts is None else texts[position],
        )
        for similarity, position in zip(similarities, positions.tolist(), strict=True)
        if position >= 0
    ]
    weights = index.weigh(similarities, positions)
    tags = [_tag_evidence(index, experts, tag, weight) for tag, weight in weights]
    rewards = tag_rewards(tags, experts)
    return Explanation(
        query,
        decision,
        neighbours,
        tags,
        rewards,
        agreement(decision.probabilities, rewards),
        [NO_TEXTS] if texts is None else [],
    )


def _tag_evidence(index: TagIndex, experts: list[str], tag: int, weight: float) -> TagEvidence:
    means = [None if np.isnan(mean) else float(mean) for mean in index.mean_rewards[tag]]
    return TagEvidence(
        index.names[tag],
        weight,
        index.support[tag],
        dict(zip(experts, means, strict=True)),
        dict(zip(experts, index.observed[tag].tolist(), strict=True)),
    )


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
        return Agreement(None, None, None)
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
