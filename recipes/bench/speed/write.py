"""results.md: every figure of one run, and the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recipes.bench.speed.figures import FLOOR, LENGTHS, Check, Timed
from recipes.bench.speed.start import Start


@dataclass(frozen=True)
class Timing:
    """What the rounds measured.

    Attributes
    ----------
    timed
        Every contestant, in the order of the tables.
    versions
        Packages of each contestant, by label.
    how
        Rounds, calls and lengths, in words.
    flops
        Operations of the encoder's matrix products, by tokens.
    skipped
        Contestants that did not start, and why.
    """

    timed: list[Timed]
    versions: dict[str, str] = field(default_factory=dict)
    how: list[str] = field(default_factory=list)
    flops: dict[int, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Results:
    """What one run measured, by precision where it is a dictionary."""

    machine: list[str]
    timing: Timing
    starts: dict[str, Start]
    packages_mb: float
    directories_mb: dict[str, float]
    invariance: dict[str, dict[str, Any]]
    prompts_from: str
    checks: list[Check]


def page(results: Results) -> str:
    """Render the whole run as Markdown."""
    timing = results.timing
    parts = [
        "# Speed\n\nWritten by `recipes/bench/speed/run.sh`; every figure is of one run.",
        _bullets([*results.machine, *timing.how]),
        "## Targets\n\n" + check_table(results.checks),
        "![p50 and p99 of every contestant](results.svg)",
        "## Latency, batch 1\n\n" + latency_table(timing.timed),
        "## Mixed lengths\n\n" + rate_table(timing.timed),
        "## Floor: the encoder's matrix products alone\n\n"
        + floor_table(timing.timed, timing.flops),
        "## Start, memory and size\n\n" + start_table(results),
        f"## Batch invariance\n\n{results.prompts_from}\n\n" + invariance_table(results.invariance),
        "## Versions\n\n" + _bullets(f"{name}: {told}" for name, told in timing.versions.items()),
    ]
    if timing.skipped:
        parts.append("## Left out\n\n" + _bullets(timing.skipped))
    return "\n\n".join(parts) + "\n"


def check_table(checks: Sequence[Check]) -> str:
    """Render a row per target: the figure, the bound, and whether it was kept."""
    rows = []
    for check in checks:
        sign = "at most" if check.at_most else "at least"
        found = "" if check.figure is None else f"{check.figure:.{check.digits}f}{check.unit}"
        verdict = f"**{check.verdict}**" if check.verdict == "FAIL" else check.verdict
        rows.append((check.what, found, f"{sign} {check.target:g}{check.unit}", verdict))
    return _table(("figure", "measured", "target", "verdict"), rows)


def latency_table(timed: Sequence[Timed]) -> str:
    """p50 and p99 in milliseconds at every length, a row per contestant."""
    head = ["contestant", *(f"{n} tokens p50 | p99" for n in LENGTHS)]
    rows = [[t.label, *(_pair(t, tokens) for tokens in LENGTHS)] for t in timed if t.group != FLOOR]
    return _table(head, rows, columns=1 + 2 * len(LENGTHS))


def _pair(timed: Timed, tokens: int) -> str:
    if tokens not in timed.seconds:
        return " | "
    return f"{number(timed.ms(tokens))} | {number(timed.ms(tokens, 99))}"


def rate_table(timed: Sequence[Timed]) -> str:
    """List queries per second on mixed lengths: median, slowest and fastest round."""
    rows = [
        (t.label, f"{t.rate:,.0f}", f"{min(t.rates):,.0f} to {max(t.rates):,.0f}")
        for t in timed
        if t.rate is not None
    ]
    return _table(("contestant", "queries/s", "rounds"), rows)


def floor_table(timed: Sequence[Timed], flops: Mapping[int, int]) -> str:
    """p50 milliseconds and billions of operations per second by each means; the best in bold."""
    floors = [t for t in timed if t.group == FLOOR]
    best = {
        (tokens, t.precision): min(
            other.ms(tokens) for other in floors if other.precision == t.precision
        )
        for t in floors
        for tokens in t.seconds
    }
    rows = []
    for t in floors:
        cells = [t.label, t.precision]
        for tokens in LENGTHS:
            ms = t.ms(tokens)
            mark = "**" if ms == best[tokens, t.precision] else ""
            cells.append(f"{mark}{number(ms)}{mark} ({flops[tokens] / ms / 1e6:,.0f})")
        rows.append(cells)
    return _table(("means", "precision", *(f"{n} tokens, ms (G/s)" for n in LENGTHS)), rows)


def start_table(results: Results) -> str:
    """Cold start, peak memory and what lies on the disk, by precision."""
    rows = [
        (precision, f"{found.seconds:.3f}", f"{found.slowest:.3f}", f"{found.mib:.0f}",
         f"{results.directories_mb[precision]:.0f}")
        for precision, found in results.starts.items()
    ]  # fmt: skip
    head = ("precision", "start to first decision, s", "slowest, s", "peak MiB", "router MB")
    runs = max((found.runs for found in results.starts.values()), default=0)
    return (
        _table(head, rows)
        + f"\n\nMedians of {runs} fresh processes of a base install (no extras), files in the "
        "page cache, from starting the interpreter; peak is the most that was ever resident "
        "(VmHWM). Router MB: the directory less the graphs that the precision does not read.\n\n"
        f"Serving environment: {results.packages_mb:.0f} MB in site-packages, compiled bytecode "
        "included, less pip and setuptools; the interpreter and the router are not counted."
    )


def invariance_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """List changed decisions and the largest difference of a probability, batch 1 against 32."""
    rows = []
    for precision, result in found.items():
        for way in ("router", "graph"):
            if way in result:
                changed, worst = result[way]["changed"], result[way]["difference"]
                prompts = f"{result['prompts']:,}"
                rows.append((precision, way, prompts, str(changed), f"{worst:.1e}"))
    head = ("precision", "through", "prompts", "changed decisions", "largest difference of probs")
    repeated = found.get("auto", {}).get("repeated")
    again = "" if repeated is None else f"\n\nauto repeated {repeated:.1%} of them in fp32."
    return _table(head, rows) + again


def number(ms: float) -> str:
    """Milliseconds with three significant digits, as a table shows them."""
    return f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 10 else f"{ms:.1f}"


def _bullets(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], columns: int = 0) -> str:
    lines = [" | ".join(cells) for cells in (head, *rows)]
    rule = "|" + "---|" * (columns or len(head))
    return "\n".join([f"| {lines[0]} |", rule, *(f"| {line} |" for line in lines[1:])])
