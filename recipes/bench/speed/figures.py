"""From timings to figures and verdicts. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

LENGTHS = (20, 60, 200)

OURS, BARE, TOKENISED = "zooter-lite", "raw session", "raw session + tokeniser"
TORCH, PEER, FLOOR = "sentence-transformers", "peer", "floor"

# precision, tokens, how many times as long the fastest peer must take
PEER_TARGETS = (("fp32", 20, 3.0), ("fp32", 200, 2.3), ("int8", 20, 6.0), ("static", 20, 100.0))


@dataclass(frozen=True)
class Timed:
    """One contestant's measurements.

    Attributes
    ----------
    group
        One of OURS, BARE, TOKENISED, TORCH, PEER and FLOOR.
    label
        As the tables name it.
    precision
        "fp32", "int8", "auto" or "static".
    on_torch
        Whether its encoder runs in torch.
    seconds
        Seconds of every call, by tokens.
    rates
        Queries per second of every round of mixed lengths; empty where not measured.
    """

    group: str
    label: str
    precision: str = "fp32"
    on_torch: bool = False
    seconds: dict[int, list[float]] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)

    def ms(self, tokens: int, percent: float = 50) -> float:
        """Percentile of the milliseconds of a call at a length."""
        return 1000 * percentile(self.seconds[tokens], percent)

    @property
    def rate(self) -> float | None:
        """Median queries per second over the rounds."""
        return percentile(self.rates, 50) if self.rates else None


@dataclass(frozen=True)
class Check:
    """One figure beside its target.

    Attributes
    ----------
    what
        In words, with the precision.
    figure
        As measured; None where it was not.
    target
        The bound.
    at_most
        True where the figure may not exceed the bound, False where it must reach it.
    unit
        Written behind both numbers.
    digits
        Decimals written.
    """

    what: str
    figure: float | None
    target: float
    at_most: bool
    unit: str = "x"
    digits: int = 2

    @property
    def verdict(self) -> str:
        """Say "pass", "FAIL" or "not measured"; the figure decides as measured, not as rounded."""
        if self.figure is None:
            return "not measured"
        kept = self.figure <= self.target if self.at_most else self.figure >= self.target
        return "pass" if kept else "FAIL"


def percentile(values: Sequence[float], percent: float) -> float:
    """Percentile by linear interpolation between the closest ranks.

    >>> percentile([4.0, 1.0, 2.0, 3.0], 50)
    2.5
    """
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def fastest(timed: Sequence[Timed], group: str, tokens: int, **wanted: object) -> Timed | None:
    """Contestant of a group with the lowest p50 at a length; `wanted` are attribute values."""
    fitting = [
        t
        for t in timed
        if t.group == group
        and tokens in t.seconds
        and all(getattr(t, name) == value for name, value in wanted.items())
    ]
    return min(fitting, key=lambda t: t.ms(tokens), default=None)


def speed_checks(timed: Sequence[Timed]) -> list[Check]:
    """Every ratio of the speed targets, from the timings of one run."""
    checks = []
    for precision in ("fp32", "int8"):
        bare = fastest(timed, TOKENISED, 60, precision=precision)
        ratio = _ratio(_ours(timed, precision), bare, 60)
        what = f"{precision}: whole decision / (raw session + tokeniser), 60 tokens"
        checks.append(Check(what, ratio, 1.15, at_most=True))
    for precision, tokens, target in PEER_TARGETS:
        for words, wanted in (("", {}), (" on torch", {"on_torch": True})):
            peer = fastest(timed, PEER, tokens, **wanted)
            name = f" ({peer.label})" if peer else ""
            what = f"{precision}: fastest peer{words}{name} / whole decision, {tokens} tokens"
            ratio = _ratio(peer, _ours(timed, precision), tokens)
            checks.append(Check(what, ratio, target, at_most=False))
    reference = next((t.rate for t in timed if t.group == TORCH), None)
    for precision, target in (("fp32", 3.2), ("int8", 5.5)):
        ours = _ours(timed, precision)
        rate = ours.rate if ours else None
        ratio = rate / reference if rate and reference else None
        what = f"{precision}: mixed-length throughput / sentence-transformers"
        checks.append(Check(what, ratio, target, at_most=False))
    return checks


def _ours(timed: Sequence[Timed], precision: str) -> Timed | None:
    return next((t for t in timed if t.group == OURS and t.precision == precision), None)


def _ratio(above: Timed | None, below: Timed | None, tokens: int) -> float | None:
    return above.ms(tokens) / below.ms(tokens) if above and below else None
