"""What an evaluation finds, as plain frozen objects: a report of slices, each with its systems."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from zooter_lite.measure.calibration import Calibration
from zooter_lite.measure.costs import CostQuality, PointResult
from zooter_lite.measure.metrics import Estimate
from zooter_lite.measure.partial import Logged
from zooter_lite.measure.ranks import Ranking
from zooter_lite.measure.regret import Regret
from zooter_lite.measure.significance import Gap, Outcome
from zooter_lite.measure.system import BEST_SINGLE, Role

FORMAT = 1  # of the dictionary


@dataclass(frozen=True)
class SystemResult:
    """What one system earns on one slice.

    Attributes
    ----------
    micro, macro, subsets
        Mean reward over the queries, unweighted over the subsets, and by subset; rewards that
        were not observed count as measure/partial.py estimates them.
    gap
        The router's reward minus this system's. None for the router itself and for bounds.
    unobserved
        Rows on which the chosen expert's reward was not observed.
    """

    name: str
    role: Role
    micro: Estimate
    macro: Estimate
    subsets: dict[str, float]
    gap: Gap | None = None
    unobserved: int = 0


@dataclass(frozen=True)
class Verdict:
    """Whether the router pays, against always asking the expert that was best on train.

    Attributes
    ----------
    outcome
        `better`, `worse`, `unclear` (within noise), or `unknown` (one was never observed).
    p
        Two-sided p-value of the paired difference after Holm's correction for all the
        comparisons of the slice; NaN where unknown.
    text
        The same in words, for people.
    """

    outcome: Outcome
    p: float
    text: str

    @property
    def pays(self) -> bool:
        """Whether the router is shown to beat the best single expert."""
        return self.outcome == "better"


@dataclass(frozen=True)
class SliceReport:
    """Everything that is said about one split of one table.

    Attributes
    ----------
    name
        Of table and split, for instance `routerdc test`.
    best_expert
        The expert with the best mean reward on train.
    systems
        The router first, the oracle last.
    gap_closed
        Share of the way from random to the oracle; NaN where the two are equal or unknown.
    shares, best_shares
        Share of the queries that the router sends to each expert, and on which that is the best
        one; experts that tie for the best share their query.
    calibration
        Of the chosen expert's probability.
    costs
        None where slice or train have no costs.
    logged
        Estimates by the propensities of a log of routed prompts; None where there are none.
    """

    name: str
    table: str
    split: str
    rows: int
    experts: list[str]
    best_expert: str
    subset_rows: dict[str, int]
    systems: list[SystemResult]
    verdict: Verdict
    gap_closed: float
    shares: dict[str, float]
    best_shares: dict[str, float]
    regret: Regret
    calibration: Calibration
    costs: CostQuality | None = None
    points: Sequence[PointResult] = ()
    logged: Logged | None = None

    @property
    def router(self) -> SystemResult:
        """The router's own result."""
        return self.systems[0]

    @property
    def best_single(self) -> SystemResult:
        """Always asking the expert that was best on train."""
        return next(system for system in self.systems if system.name == BEST_SINGLE)

    @property
    def best_rival(self) -> SystemResult | None:
        """The strongest other baseline: that which the router leads by least on paired rows."""
        rivals = [
            (system.gap.value, place)
            for place, system in enumerate(self.systems)
            if system.role == "baseline" and system.name != BEST_SINGLE
            if system.gap is not None and not np.isnan(system.gap.value)
        ]
        return self.systems[min(rivals)[1]] if rivals else None

    def label(self, system: SystemResult) -> str:
        """Return the name of a system; that of the best single expert says which it is."""
        return f"{system.name} ({self.best_expert})" if system.name == BEST_SINGLE else system.name

    def to_dict(self) -> dict[str, Any]:
        """Return the slice as JSON holds it; None for what cannot be known."""
        values = plain(self)
        values["best_single"] = values.pop("best_expert")
        values["verdict"]["pays"] = self.verdict.pays
        return dict(values)


@dataclass(frozen=True)
class Report:
    """An evaluation of a router on one table, or of several routers on the tables of a suite.

    Attributes
    ----------
    slices
        By the split's name where one table was evaluated, by `table split` in a suite.
    ranking
        Mean task ranks of the systems over all subsets.
    made
        How the report came about: command, version, seed, precision, routers, seconds.
    notes
        What is to be said about the rows and the comparisons.
    """

    slices: Mapping[str, SliceReport]
    ranking: Ranking
    made: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def of_table(self, name: str) -> list[SliceReport]:
        """Return the slices of one table."""
        return [one for one in self.slices.values() if one.table == name]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it; None for what cannot be known."""
        parts = {part.name: plain(getattr(self, part.name)) for part in fields(self)}
        return parts | {
            "format": FORMAT,
            "slices": [one.to_dict() for one in self.slices.values()],
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as one HTML page that needs nothing else (extra `report`)."""
        from zooter_lite.files.atomic import atomic_text
        from zooter_lite.report.page import render

        page = render(self)
        with atomic_text(os.fspath(path)) as stream:
            stream.write(page)

    def _repr_html_(self) -> str:
        """Show the verdicts and a picture in a notebook."""
        from zooter_lite.report.page import notebook

        return notebook(self)


def plain(value: Any) -> Any:
    """Return dataclasses and mappings as what JSON holds; None for NaN and infinities."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {part.name: getattr(value, part.name) for part in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
