"""An explanation as text: aligned columns, at most about forty lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zooter_lite.router.explain import Explanation, TagEvidence

EXPERTS, TAGS, NEIGHBOURS = 12, 5, 8  # shown at most; the rest is counted
NAME, TEXT = 28, 72  # characters shown of a name and of a text


def explanation_text(explanation: Explanation) -> str:
    """Lay out an explanation; see `Explanation.to_text`."""
    decision = explanation.decision
    blocks = [
        [
            f"query     {shown(explanation.query, 2 * TEXT)}",
            f"decision  {shown(decision.expert, NAME)}, probability {decision.probability:.2f} "
            f"({decision.reason})",
        ],
        _experts(explanation),
        _tags(explanation.tags),
        _neighbours(explanation),
        _agreement(explanation),
        [f"missing   {words}" for words in explanation.missing],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def shown(text: str, width: int) -> str:
    """One line of at most `width` characters, without control characters."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= width else plain[: width - 3] + "..."


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align the cells of rows: the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _experts(explanation: Explanation) -> list[str]:
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
    left = len(ranked) - EXPERTS
    return columns(rows) + ([f"and {left} more experts"] if left > 0 else [])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _mean(tag: TagEvidence, expert: str) -> str:
    """Mean reward; with its own support where that is not the tag's."""
    observed = tag.observed[expert]
    support = f" ({observed})" if observed != tag.support else ""
    return _number(tag.mean_rewards[expert]) + support


def _tags(tags: Sequence[TagEvidence]) -> list[str]:
    if not tags:
        return []
    rows = [["tags of the nearest training queries", "weight", "support"]]
    for place, tag in enumerate(tags[:TAGS], start=1):
        name = f"[{place}] {shown(tag.tag, NAME)}"
        rows.append([name, f"{tag.weight:.2f}", str(tag.support)])
    left = len(tags) - TAGS
    return columns(rows) + ([f"and {left} lighter tags"] if left > 0 else [])


def _neighbours(explanation: Explanation) -> list[str]:
    if not explanation.neighbours:
        return []
    lines = ["similarity  nearest training queries"]
    for neighbour in explanation.neighbours[:NEIGHBOURS]:
        words = ", ".join(neighbour.tags) if neighbour.text is None else neighbour.text
        lines.append(f"{neighbour.similarity:10.3f}  {shown(words, TEXT)}")
    left = len(explanation.neighbours) - NEIGHBOURS
    return lines + ([f"and {left} farther ones"] if left > 0 else [])


def _agreement(explanation: Explanation) -> list[str]:
    found = explanation.agreement
    if found.tag_choice is None:
        return []
    choice = shown(found.tag_choice, NAME)
    words = {
        True: "the head and the tags choose the same expert",
        False: f"the tags would choose {choice}",
        None: f"the tags know nothing of the head's choice and would choose {choice}",
    }[found.same_choice]
    tau = found.kendall_tau_b
    rank = "no rank agreement is defined" if tau is None else f"rank agreement (tau-b) {tau:.2f}"
    return [f"agreement  {words}; {rank}"]
