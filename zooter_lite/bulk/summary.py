"""What a job tells at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zooter_lite.bulk.block import Tally
from zooter_lite.router.tokens import cut_prompts


@dataclass(frozen=True)
class Done:
    """What a job did."""

    tally: Tally  # of every file, also of what earlier runs of the job did
    earlier: int  # rows that those had done
    seconds: float  # of this run, without the loading of the router
    rejects: Sequence[str]  # files that hold rejected rows
    kept: bool  # whether these rows are in the output, too
    single: str  # the best single expert on the training rows
    max_length: int  # tokens of a prompt that the encoder reads
    repeats: bool  # whether close calls were answered again in fp32

    def summary(self) -> list[str]:
        """Lines about rows, speed, experts, what was not routed, and costs."""
        tally, routed = self.tally, self.tally.routed
        shares = ", ".join(
            f"{expert} {count / routed:.0%}"
            for expert, count in sorted(tally.experts.items(), key=lambda item: -item[1])
            if count
        )
        left = f"; {tally.empty} rows with an empty prompt left unrouted" if tally.empty else ""
        rows = tally.rows - self.earlier
        before = f" after {self.earlier} of an earlier run" if self.earlier else ""
        speed = f"{rows / self.seconds:.0f} rows/s" if rows else "nothing left to do"
        lines = [
            f"{routed} rows routed ({shares or 'none'}){left}",
            f"{rows} rows in {self.seconds:.1f} s{before} ({speed})",
        ]
        if tally.fallbacks:
            lines.append(f"fallbacks: {tally.fallbacks} prompts ({tally.fallbacks / routed:.0%})")
        if tally.rejected:
            kept = "kept without an expert" if self.kept else "left out"
            where = f": {', '.join(self.rejects)}" if self.rejects else ""
            lines.append(f"rejected: {tally.rejected} rows, {kept}{where}")
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
            odd = tally.odd / routed
            lines.append(f"{tally.odd} prompts ({odd:.1%}) are unlike anything in training")
        if tally.cost:
            lines.append(
                f"expected cost of all: {tally.cost:.6g} ({tally.cost / routed:.4g} a prompt); "
                f"with {self.single}, the best single expert on train, alone: "
                f"{tally.cost_single:.6g}; with the cheapest for each: {tally.cost_cheapest:.6g}"
            )
        return lines
