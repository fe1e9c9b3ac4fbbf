"""From timings to figures. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

LENGTHS = (20, 60, 200)

OURS, TOKENISED, TOKENISER = "zooter-lite", "raw session + tokeniser", "tokeniser alone"
TORCH, PEER = "sentence-transformers", "peer"


@dataclass(frozen=True)
class Timed:
    """One contestant's measurements."""

    group: str  # one of OURS, TOKENISED, TOKENISER, TORCH and PEER
    label: str  # as the table names it
    precision: str = "fp32"  # or "int8", "static"; "stock": onnxruntime's own int8
    seconds: dict[int, list[float]] = field(default_factory=dict)  # of every call, by tokens
    rates: list[float] = field(default_factory=list)  # queries per second of each mixed round

    def ms(self, tokens: int, percent: float = 50) -> float:
        """Percentile of the milliseconds of a call at a length."""
        return 1000 * percentile(self.seconds[tokens], percent)


def percentile(values: Sequence[float], percent: float) -> float:
    """Percentile by linear interpolation between the closest ranks.

    >>> percentile([4.0, 1.0, 2.0, 3.0], 50)
    2.5
    """
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def ratios(timed: Sequence[Timed]) -> list[str]:
    """Tell, for each precision of ours, how many times as long the fastest others take."""
    told = []
    peers = [t for t in timed if t.group == PEER]
    for own in (t for t in timed if t.group == OURS):
        raw = [t for t in timed if t.group == TOKENISED]
        same = [t for t in raw if t.precision == own.precision]
        stock = [t for t in raw if t.precision == "stock" and own.precision == "int8"]
        torch = [t for t in timed if t.group == TORCH]
        alone = [t for t in timed if (t.group, t.precision) == (TOKENISER, own.precision)]
        rivals = (
            *((TOKENISED, same), ("stock int8", stock)),
            *((TOKENISER, alone), (TORCH, torch), (PEER, peers)),
        )
        for words, others in rivals:
            if others:
                best = [min(others, key=lambda other: other.ms(tokens)) for tokens in LENGTHS]
                times = [b.ms(n) / own.ms(n) for b, n in zip(best, LENGTHS, strict=True)]
                names = " and ".join(dict.fromkeys(b.label for b in best))
                told.append(
                    f"fastest {words} / {own.label}, at 20, 60 and 200 tokens: "
                    f"{', '.join(f'{time:.2f}' for time in times)} ({names})"
                )
    return told
