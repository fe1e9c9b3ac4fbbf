"""Why a query went where it went: decision, nearest training queries, their tags, as JSON and text.

A head with a tag prior has itself learned from the tags' mean labels, so part of an agreement
is built in; a disagreement tells more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.router.decision import Decision, Predictions
from zooter_lite.tags.index import TagIndex

NO_TAGS = "neighbours and tag evidence: the router was fitted without tags"
NO_TEXTS = "texts of the neighbours: the router was fitted without --keep-queries"
EXPERTS, TAGS, NEIGHBOURS = 12, 5, 8  # shown as text at most; the rest is counted
NAME, TEXT = 28, 72  # characters shown of a name and of a text


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


@dataclass(frozen=True)
class Explanation:
    """One decision with the evidence for it.

    Attributes
    ----------
    query, decision
        The prompt, and what the router decided, with the head's probabilities.
    expected_rewards, expected_costs
        Of every expert, in the units of the reward table; None where they are not known.
    neighbours, tags
        Nearest training queries, nearest first; their tags, heaviest first.
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
    expected_rewards: dict[str, float] | None
    expected_costs: dict[str, float] | None
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
        decision = self.decision
        first = [
            f"query     {shown(self.query, 2 * TEXT)}",
            f"decision  {shown(decision.expert, NAME)}, probability {decision.probability:.2f} "
            f"({shown(decision.reason, TEXT)})",
        ]
        if decision.novelty is not None:
            first.append(f"novelty   odder than {decision.novelty:.0%} of the training queries")
        blocks = [
            first,
            _expert_lines(self),
            _tag_lines(self.tags),
            _neighbour_lines(self.neighbours),
            _agreement_lines(self.agreement),
            [f"missing   {words}" for words in self.missing],
        ]
        return "\n\n".join("\n".join(block) for block in blocks if block)


def explain_decision(
    query: str,
    decision: Decision,
    predicted: Predictions,
    embedding: NDArray[np.float32],
    index: TagIndex | None,
    texts: Sequence[str] | None,
    k: int,
) -> Explanation:
    """Gather the evidence for a decision, from the `k` nearest training queries.

    Parameters
    ----------
    predicted
        Of the one query.
    embedding
        (dim,) unit embedding of the query.
    index
        Tag index of the router, or None.
    texts
        Training queries in the order of the index, or None where they were not kept.
    """
    experts = list(decision.probabilities)
    reward, cost = (
        None if values is None else dict(zip(experts, values[0].tolist(), strict=True))
        for values in (predicted.rewards, predicted.costs)
    )
    if index is None:
        return Explanation(query, decision, reward, cost, [], [], {}, Agreement(), [NO_TAGS])
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
    rewards: dict[str, float | None] = {}
    for expert in experts:
        pairs = [(tag.weight, tag.mean_rewards[expert]) for tag in tags]
        known = [(weight, mean) for weight, mean in pairs if mean is not None]
        total = sum(weight for weight, _ in known)
        rewards[expert] = sum(w * mean for w, mean in known) / total if total > 0 else None
    agreed = agreement(decision.probabilities, rewards)
    missing = [NO_TEXTS] if texts is None else []
    return Explanation(query, decision, reward, cost, neighbours, tags, rewards, agreed, missing)


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


def shown(text: str, width: int) -> str:
    """One line of at most `width` characters, without control characters."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= width else plain[: width - 3] + "..."


def _table(rows: Sequence[Sequence[str]], left: int, what: str) -> list[str]:
    """Align the first column to the left, the others to the right; count what is left out."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]
    return [*lines, f"and {left} {what}"] if left > 0 else lines


def _expert_lines(explanation: Explanation) -> list[str]:
    probabilities, tags = explanation.decision.probabilities, explanation.tags[:TAGS]
    ranked = sorted(probabilities, key=lambda expert: -probabilities[expert])
    rows = [["expert", "probability"]]
    further = {"reward": explanation.expected_rewards, "cost": explanation.expected_costs}
    known = {name: values for name, values in further.items() if values is not None}
    rows[0] += known
    if tags:
        rows[0] += ["tag reward", *(f"[{i + 1}]" for i in range(len(tags)))]
    for expert in ranked[:EXPERTS]:
        cells = [shown(expert, NAME), f"{probabilities[expert]:.3f}"]
        cells += [f"{values[expert]:.3g}" for values in known.values()]
        if tags:
            cells += [_number(explanation.tag_rewards[expert])]
        for tag in tags:  # with the mean's own support where that is not the tag's
            observed = tag.observed[expert]
            support = f" ({observed})" if observed != tag.support else ""
            cells.append(_number(tag.mean_rewards[expert]) + support)
        rows.append(cells)
    return _table(rows, len(ranked) - EXPERTS, "more experts")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _tag_lines(tags: Sequence[TagEvidence]) -> list[str]:
    if not tags:
        return []
    rows = [["tags of the nearest training queries", "weight", "support"]]
    for place, tag in enumerate(tags[:TAGS], start=1):
        name = f"[{place}] {shown(tag.tag, NAME)}"
        rows.append([name, f"{tag.weight:.2f}", str(tag.support)])
    return _table(rows, len(tags) - TAGS, "lighter tags")


def _neighbour_lines(neighbours: Sequence[Neighbour]) -> list[str]:
    if not neighbours:
        return []
    lines = ["similarity  nearest training queries"]
    for neighbour in neighbours[:NEIGHBOURS]:
        words = ", ".join(neighbour.tags) if neighbour.text is None else neighbour.text
        lines.append(f"{neighbour.similarity:10.3f}  {shown(words, TEXT)}")
    left = len(neighbours) - NEIGHBOURS
    return [*lines, f"and {left} farther ones"] if left > 0 else lines


def _agreement_lines(agreed: Agreement) -> list[str]:
    if agreed.tag_choice is None:
        return []
    choice, tau = shown(agreed.tag_choice, NAME), agreed.kendall_tau_b
    words = {
        True: "the head and the tags choose the same expert",
        False: f"the tags would choose {choice}",
        None: f"the tags know nothing of the head's choice and would choose {choice}",
    }[agreed.same_choice]
    rank = "no rank agreement is defined" if tau is None else f"rank agreement (tau-b) {tau:.2f}"
    return [f"agreement  {words}; {rank}"]
