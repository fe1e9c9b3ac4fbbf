"""Counts of a job, and what it tells of them at its end."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zooter_lite.errors import DataError
from zooter_lite.files.lines import json_object
from zooter_lite.router.directory.config import RouterConfig
from zooter_lite.router.tokens import cut_prompts


@dataclass
class Tally:
    """Counts of a block, a file or a job."""

    rows: int = 0  # read
    empty: int = 0  # of them, those without a prompt
    rejected: int = 0  # those that could not be routed
    kept: int = 0  # of these, those in the output
    fallbacks: int = 0  # prompts that went to the fallback
    computed: int = 0  # prompts whose probabilities were computed
    repeated: int = 0  # and again in fp32, as close calls
    cut: int = 0  # computed ones of which only the first tokens were read
    unread: int = 0  # parts of chats that are no text, such as images
    odd: int = 0  # prompts odder than nearly all training queries
    cost: float = 0.0  # expected of the choices
    cost_single: float = 0.0  # of the best single expert
    cost_cheapest: float = 0.0  # of each prompt's cheapest
    experts: dict[str, int] = field(default_factory=dict)  # prompts that each gets

    @property
    def routed(self) -> int:
        """Rows that have an expert."""
        return sum(self.experts.values())

    def plus(self, other: Tally) -> Tally:
        """Return the sum of both."""
        counts = {
            name: count + getattr(other, name)
            for name, count in vars(self).items()
            if name != "experts"
        }
        experts = Counter(self.experts)
        experts.update(other.experts)
        return Tally(**counts, experts=dict(experts))


@dataclass(frozen=True)
class Done:
    """What a job did."""

    tally: Tally  # of every file, also of what earlier runs of the job did
    earlier: int  # rows that those had done
    seconds: float  # of this run, without the loading of the router
    rejects: Sequence[str]  # files that hold rejected rows
    costs: Mapping[str, float] | None  # of one prompt by expert; None where they are not known
    single: str  # the best single expert on the training rows
    repeats: bool = False  # whether close calls were answered again in fp32
    max_length: int = 0  # tokens of a prompt that the encoder reads

    def summary(self) -> list[str]:
        """Lines about rows, speed, experts, what was not routed, and costs."""
        tally = self.tally
        shares = ", ".join(
            f"{expert} {_share(count, tally.routed)}"
            for expert, count in sorted(tally.experts.items(), key=lambda item: -item[1])
            if count
        )
        left = f"; {tally.empty} rows with an empty prompt left unrouted" if tally.empty else ""
        rows = tally.rows - self.earlier
        before = f" after {self.earlier} of an earlier run" if self.earlier else ""
        speed = f"{rows / self.seconds:.0f} rows/s" if rows else "nothing left to do"
        lines = [
            f"{tally.routed} rows routed ({shares or 'none'}){left}",
            f"{rows} rows in {self.seconds:.1f} s{before} ({speed})",
        ]
        if tally.fallbacks:
            share = _share(tally.fallbacks, tally.routed)
            lines.append(f"fallbacks: {tally.fallbacks} prompts ({share})")
        if tally.rejected:
            kept = f", {tally.kept} of them kept without an expert" if tally.kept else ", left out"
            where = f": {', '.join(self.rejects)}" if self.rejects else ""
            lines.append(f"rejected: {tally.rejected} rows{kept}{where}")
        if tally.cut:
            lines.append(cut_prompts(tally.cut, tally.computed, self.max_length))
        if self.repeats:
            lines.append(
                f"close calls answered again in fp32: {tally.repeated} of {tally.computed} prompts "
                f"computed ({tally.repeated / max(tally.computed, 1):.1%})"
            )
        if tally.unread:
            lines.append(f"{tally.unread} images or other parts that are no text were not read")
        if tally.odd:
            odd = tally.odd / max(tally.routed, 1)
            lines.append(f"{tally.odd} prompts ({odd:.1%}) are unlike anything in training")
        if self.costs is not None and tally.routed:
            lines.append(self._costs(self.costs))
        elif tally.cost and tally.routed:
            lines.append(
                f"expected cost of all: {tally.cost:.6g} ({tally.cost / tally.routed:.4g} a "
                f"prompt); with {self.single}, the best single expert on train, alone: "
                f"{tally.cost_single:.6g}; with the cheapest for each: {tally.cost_cheapest:.6g}"
            )
        return lines

    def _costs(self, costs: Mapping[str, float]) -> str:
        counts = self.tally.experts
        each = {expert: count * costs[expert] for expert, count in counts.items() if count}
        parts = ", ".join(f"{expert} {cost:.6g}" for expert, cost in each.items())
        alone = self.tally.routed * costs[self.single]
        return (
            f"estimated cost: {sum(each.values()):.6g} ({parts}); "
            f"with {self.single}, the best single expert on train, alone: {alone:.6g}"
        )


def _share(count: int, total: int) -> str:
    return f"{count / max(total, 1):.0%}"


def read_costs(path: str, experts: Sequence[str]) -> dict[str, float]:
    """Cost of one prompt by expert, from a JSON object; DataError where one is missing."""
    try:
        costs = json_object(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}; expected from expert to the cost of a prompt") from error
    known: dict[str, float] = {}
    for expert in experts:
        cost = costs.get(expert)
        number = cost if isinstance(cost, int | float) and not isinstance(cost, bool) else -1
        if not 0 <= number <= sys.float_info.max:
            raise DataError(f"{path}: {expert!r} has the cost {cost!r}; expected a number from 0")
        known[expert] = float(number)
    return known


def table_costs(config: RouterConfig) -> dict[str, float] | None:
    """Mean cost of one prompt by expert in the table that the router was fitted on, if known."""
    costs = [cost for cost in config.training.mean_costs or () if cost is not None]
    return (
        None if len(costs) < len(config.experts) else dict(zip(config.experts, costs, strict=True))
    )
