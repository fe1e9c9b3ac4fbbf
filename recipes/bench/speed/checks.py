"""The targets other than speed ratios: start, memory, size, batch invariance, reward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recipes.bench.speed.figures import Check
from recipes.bench.speed.start import Start

START = {"fp32": (0.4, 250.0), "int8": (0.3, 150.0)}  # seconds to the first decision, MiB
REWARD_POINTS = 0.1  # that int8 may lose on a table


def start_checks(starts: Mapping[str, Start], packages: float | None) -> list[Check]:
    """Cold start and peak memory by precision, and MB of the serving environment."""
    checks = []
    for precision, (seconds, mib) in START.items():
        found = starts.get(precision)
        checks += [
            Check(f"{precision}: cold start to first decision",
                  found.seconds if found else None, seconds, at_most=True, unit=" s"),
            Check(f"{precision}: peak memory of that process",
                  found.mib if found else None, mib, at_most=True, unit=" MiB", digits=0),
        ]  # fmt: skip
    what = "size of a serving environment (base install)"
    return [*checks, Check(what, packages, 300, at_most=True, unit=" MB", digits=0)]


def invariance_checks(found: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    """Count changed decisions between batch 1 and batch 32, by precision and way."""
    checks = []
    for precision in ("fp32", "int8", "auto", "static"):
        result = found.get(precision, {})
        for way in ("router", "graph"):
            if way in result or (way == "router" and precision != "static"):
                changed = result.get(way, {}).get("changed")
                what = f"{precision}: changed decisions, batch 1 against 32, through the {way}"
                checks.append(Check(what, changed, 0, at_most=True, unit="", digits=0))
    return checks


def reward_checks(tables: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    """Flips against torch and reward lost, as recipes/bench/precision.py left them.

    `tables` maps the name of a table to {precision: {"flips": ..., "lost": ...}}.
    """
    if not tables:
        return [
            Check("fp32: decisions unlike torch's, real tables", None, 0, at_most=True, unit=""),
            Check("int8: reward lost, real tables", None, REWARD_POINTS, at_most=True, unit=""),
        ]
    checks = []
    for table, by_precision in tables.items():
        fp32, int8 = by_precision.get("fp32", {}), by_precision.get("int8", {})
        checks += [
            Check(f"fp32: decisions unlike torch's beyond ties, {table}",
                  fp32.get("flips"), 0, at_most=True, unit="", digits=0),
            Check(f"int8: reward lost, {table}",
                  int8.get("lost"), REWARD_POINTS, at_most=True, unit=" points", digits=3),
        ]  # fmt: skip
    return checks
