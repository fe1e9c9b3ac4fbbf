"""Why a query went where it went: the decision with the evidence, as JSON and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.router.decision import Decision
from zooter_lite.router.evidence import (
    Agreement,
    Neighbour,
    TagEvidence,
    agreement,
    nearest,
    tag_rewards,
)
from zooter_lite.tags.index import TagIndex

NO_TAGS = "neighbours and tag evidence: the router was fitted without tags"
NO_TEXTS = "texts of the neighbours: the router was fitted without --keep-queries"
EXPERTS, TAGS, NEIGHBOURS = 12, 5, 8  # shown as text at most; the rest is counted
NAME, TEXT = 28, 72  # characters shown of a name and of a text


@dataclass(frozen=True)
class Explanation:
    """One decision with the evidence for it.

    A head with a tag prior has itself learned from the tags' mean labels, so part of an
    agreement is built in; a disagreement tells more.

    Attributes
    ----------
    query, decision
        The prompt, and what the router decided, with the head's probabilities.
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
        blocks = [
            [
                f"query     {shown(self.query, 2 * TEXT)}",
                f"decision  {shown(decision.expert, NAME)}, probability {decision.probability:.2f} "
                "(highest probability)",
            ],
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
    embedding: NDArray[np.float32],
    index: TagIndex | None,
    texts: Sequence[str] | None,
    k: int,
) -> Explanation:
    """Gather the evidence for a decision, from the `k` nearest training queries.

    Parameters
    ----------
    embedding
        (dim,) unit embedding of the query.
    index
        Tag index of the router, or None.
    texts
        Training queries in the order of the index, or None where they were not kept.
    """
    if index is None:
        return Explanation(query, decision, [], [], {}, Agreement(), [NO_TAGS])
    experts = list(decision.probabilities)
    neighbours, tags = nearest(index, embedding, experts, texts, k)
    rewards = tag_rewards(tags, experts)
    agreed = agreement(decision.probabilities, rewards)
    missing = [NO_TEXTS] if texts is None else []
    return Explanation(query, decision, neighbours, tags, rewards, agreed, missing)


def shown(text: str, width: int) -> str:
    """One line of at most `width` characters, without control characters."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= width else plain[: width - 3] + "..."


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align the cells of rows: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]


def _and_more(shown_lines: list[str], left: int, what: str) -> list[str]:
    return [*shown_lines, f"and {left} {what}"] if left > 0 else shown_lines


def _expert_lines(explanation: Explanation) -> list[str]:
    probabilities = explanation.decision.probabilities
    ranked = sorted(probabilities, key=lambda expert: -probabilities[expert])
    tags = explanation.tags[:TAGS]
    rows = [["expert", "probability"]]
    if tags:
        rows[0] += ["tag reward", *(f"[{i + 1}]" for i in range(len(tags)))]
    for expert in ranked[:EXPERTS]:
        cells = [shown(expert, NAME), f"{probabilities[expert]:.3f}"]
        if tags:
            cells += [_number(explanation.tag_rewards[expert])]
            cells += [_mean(tag, expert) for tag in tags]
        rows.append(cells)
    return _and_more(_columns(rows), len(ranked) - EXPERTS, "more experts")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _mean(tag: TagEvidence, expert: str) -> str:
    """Mean reward; with its own support where that is not the tag's."""
    observed = tag.observed[expert]
    support = f" ({observed})" if observed != tag.support else ""
    return _number(tag.mean_rewards[expert]) + support


def _tag_lines(tags: Sequence[TagEvidence]) -> list[str]:
    if not tags:
        return []
    rows = [["tags of the nearest training queries", "weight", "support"]]
    for place, tag in enumerate(tags[:TAGS], start=1):
        name = f"[{place}] {shown(tag.tag, NAME)}"
        rows.append([name, f"{tag.weight:.2f}", str(tag.support)])
    return _and_more(_columns(rows), len(tags) - TAGS, "lighter tags")


def _neighbour_lines(neighbours: Sequence[Neighbour]) -> list[str]:
    if not neighbours:
        return []
    lines = ["similarity  nearest training queries"]
    for neighbour in neighbours[:NEIGHBOURS]:
        words = ", ".join(neighbour.tags) if neighbour.text is None else neighbour.text
        lines.append(f"{neighbour.similarity:10.3f}  {shown(words, TEXT)}")
    return _and_more(lines, len(neighbours) - NEIGHBOURS, "farther ones")


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
