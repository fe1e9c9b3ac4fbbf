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
    """How far the head and the tags agree."""

    same_choice: bool | None = None  # None where the head's choice has no tag reward
    tag_choice: str | None = None  # the expert with the highest tag reward; of equals the first


@dataclass(frozen=True)
class Explanation:
    """One decision with the evidence for it."""

    query: str
    decision: Decision  # with the head's probabilities
    expected_rewards: dict[str, float] | None  # of every expert; None where not known
    expected_costs: dict[str, float] | None
    neighbours: list[Neighbour]  # nearest first
    tags: list[TagEvidence]  # heaviest first
    # Each expert's mean rewards on these tags, averaged with the tags' weights:
    # sum_t w_t m_te / sum_t w_t over the tags t where the mean m_te was observed.
    tag_rewards: dict[str, float | None]
    agreement: Agreement  # of the probabilities with the tag rewards
    missing: list[str]  # what could not be told, and why

    def to_json(self) -> dict[str, Any]:
        """Everything, as lists, dictionaries, texts and numbers."""
        return asdict(self)

    def to_text(self) -> str:
        """Return at most about forty lines to read in a terminal; `to_json` leaves nothing out."""
        decision, agreed = self.decision, self.agreement
        first = [
            f"query     {shown(self.query, 2 * TEXT)}",
            f"decision  {shown(decision.expert, NAME)}, probability {decision.probability:.2f} "
            f"({shown(decision.reason, TEXT)})",
        ]
        if decision.novelty is not None:
            first.append(f"novelty   odder than {decision.novelty:.0%} of the training queries")
        tags = [
            [f"[{place}] {shown(tag.tag, NAME)}", f"{tag.weight:.2f}", str(tag.support)]
            for place, tag in enumerate(self.tags, start=1)
        ]
        near = [
            [shown(one.text or ", ".join(one.tags), TEXT), f"{one.similarity:.3f}"]
            for one in self.neighbours
        ]
        last = [f"missing   {words}" for words in self.missing]
        if agreed.tag_choice is not None:
            words = {
                True: "the head and the tags choose the same expert",
                False: "the tags would choose {}",
                None: "the tags know nothing of the head's choice and would choose {}",
            }[agreed.same_choice]
            last.insert(0, f"agreement  {words.format(shown(agreed.tag_choice, NAME))}")
        blocks = [
            first,
            _table(self._expert_rows(), EXPERTS, "experts"),
            _table([["tags", "weight", "support"], *tags], TAGS, "tags"),
            _table([["nearest training queries", "similarity"], *near], NEIGHBOURS, "queries"),
            last,
        ]
        return "\n\n".join("\n".join(block) for block in blocks if block)

    def _expert_rows(self) -> list[list[str]]:
        """Return a header, and a row for each expert, the most probable first."""
        by_expert = {
            "reward": self.expected_rewards,
            "cost": self.expected_costs,
            "tag reward": self.tag_rewards,
        } | {f"[{place + 1}]": tag.mean_rewards for place, tag in enumerate(self.tags[:TAGS])}
        columns = {name: values for name, values in by_expert.items() if values}
        rows = [["expert", "probability", *columns]]
        probabilities = self.decision.probabilities
        for expert in sorted(probabilities, key=lambda expert: -probabilities[expert]):
            known = [values[expert] for values in columns.values()]
            cells = ["-" if value is None else f"{value:.3g}" for value in known]
            for place, tag in enumerate(self.tags[:TAGS], len(cells) - len(self.tags[:TAGS])):
                if tag.observed[expert] != tag.support:  # the mean's own support
                    cells[place] += f" ({tag.observed[expert]})"
            rows.append([shown(expert, NAME), f"{probabilities[expert]:.3f}", *cells])
        return rows


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
    head_choice = max(probabilities, key=lambda expert: probabilities[expert])
    best = max(known.values())
    same = known[head_choice] >= best - 1e-9 if head_choice in known else None
    return Agreement(same, max(known, key=lambda expert: known[expert]))


def shown(text: str, width: int) -> str:
    """One line of at most `width` characters, without control characters."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= width else plain[: width - 3] + "..."


def _table(rows: Sequence[Sequence[str]], most: int, what: str) -> list[str]:
    """Align a header and rows, the first column to the left; count those beyond `most`."""
    shown_rows, left = rows[: most + 1], len(rows) - most - 1
    widths = [max(map(len, column)) for column in zip(*shown_rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in shown_rows
    ]
    if left > 0:
        lines.append(f"and {left} more {what}")
    return lines if len(rows) > 1 else []
