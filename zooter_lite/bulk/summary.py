"""What a job tells at its end, in lines of text."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from zooter_lite.bulk.job import Done
from zooter_lite.errors import DataError
from zooter_lite.router.directory.config import RouterConfig


def read_costs(path: str, experts: list[str]) -> dict[str, float]:
    """Cost of one prompt by expert, from a JSON object.

    Raises
    ------
    DataError
        The file is no such object, or lacks an expert.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected a JSON object from expert to the cost of one prompt")
    for expert in experts:
        value = found.get(expert)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 <= value <= sys.float_info.max
        ):
            raise DataError(f"{path}: {expert!r} has the cost {value!r}; expected a number from 0")
    return {expert: float(found[expert]) for expert in experts}


def table_costs(config: RouterConfig) -> dict[str, float] | None:
    """Mean cost of one prompt by expert in the table that the router was fitted on, if known."""
    costs = config.training.mean_costs
    if costs is None:
        return None
    known = {e: cost for e, cost in zip(config.experts, costs, strict=True) if cost is not None}
    return known if len(known) == len(costs) else None


def best_single(config: RouterConfig) -> str:
    """Return the expert with the highest mean reward on the training rows."""
    return config.best_single


def summary(
    done: Done,
    config: RouterConfig,
    costs: Mapping[str, float] | None,
    *,
    repeats: bool = False,
) -> list[str]:
    """Lines about rows, speed, experts, what was not routed, and costs.

    Parameters
    ----------
    costs
        Of one prompt by expert; None where they are not known.
    repeats
        Whether to tell how many prompts were answered again in fp32.
    """
    tally = done.tally
    lines = [_routed(done), _speed(done)]
    if tally.fallbacks:
        lines.append(
            f"fallbacks: {tally.fallbacks} prompts ({_share(tally.fallbacks, tally.routed)})"
        )
    if tally.rejected:
        kept = f", {tally.kept} of them kept without an expert" if tally.kept else ", left out"
        where = f": {', '.join(done.rejects)}" if done.rejects else ""
        lines.append(f"rejected: {tally.rejected} rows{kept}{where}")
    if repeats:
        lines.append(
            f"close calls answered again in fp32: {tally.repeated} of {tally.computed} prompts "
            f"computed ({tally.repeated / max(tally.computed, 1):.1%})"
        )
    if costs is not None and tally.routed:
        lines.append(_costs(tally.experts, costs, best_single(config)))
    return lines


def _routed(done: Done) -> str:
    tally = done.tally
    shares = ", ".join(
        f"{expert} {_share(count, tally.routed)}"
        for expert, count in sorted(tally.experts.items(), key=lambda item: -item[1])
        if count
    )
    left = f"; {tally.empty} rows with an empty prompt left unrouted" if tally.empty else ""
    return f"{tally.routed} rows routed ({shares or 'none'}){left}"


def _speed(done: Done) -> str:
    rows = done.tally.rows - done.earlier
    before = f" after {done.earlier} of an earlier run" if done.earlier else ""
    speed = f"{rows / done.seconds:.0f} rows/s" if rows else "nothing left to do"
    return f"{rows} rows in {done.seconds:.1f} s{before} ({speed})"


def _costs(counts: Mapping[str, int], costs: Mapping[str, float], single: str) -> str:
    each = {expert: count * costs[expert] for expert, count in counts.items() if count}
    parts = ", ".join(f"{expert} {cost:.6g}" for expert, cost in each.items())
    alone = sum(counts.values()) * costs[single]
    return (
        f"estimated cost: {sum(each.values()):.6g} ({parts}); "
        f"with {single}, the best single expert on train, alone: {alone:.6g}"
    )


def _share(count: int, total: int) -> str:
    return f"{count / max(total, 1):.0%}"
