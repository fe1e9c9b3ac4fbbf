"""results.md: the figures of one run in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recipes.bench.speed.figures import LENGTHS, OURS, Timed, percentile, ratios
from recipes.bench.speed.start import Start


def page(
    timed: Sequence[Timed],
    starts: Mapping[str, Start],
    changed: Mapping[str, int],
    notes: Sequence[str],
) -> str:
    """Render the run as Markdown.

    Parameters
    ----------
    timed
        Every contestant, in the order of the table.
    starts, changed
        By precision: a fresh process, and decisions that differ between batch 1 and batch 32.
    notes
        What else a reader has to know, a line each.
    """
    head = ["contestant", *(f"{n} tokens {p}" for n in LENGTHS for p in ("p50", "p99"))]
    head += ["queries/s", "start, s", "peak MiB", "router MB", "changed"]
    rows = [head, ["---"] * len(head)]
    for t in timed:
        cells = [t.label, *(number(t.ms(n, p)) for n in LENGTHS for p in (50, 99))]
        cells.append(f"{percentile(t.rates, 50):,.0f}" if t.rates else "")
        if t.group == OURS:
            own = starts[t.precision]
            cells += [f"{own.seconds:.3f}", f"{own.mib:.0f}", f"{own.router_mb:.0f}"]
            cells.append(str(changed[t.precision]))
        rows.append(cells + [""] * (len(head) - len(cells)))
    return "\n\n".join(
        [
            "# Speed\n\nWritten by `recipes/bench/speed/run.sh`; every figure is of one run. Times "
            "are milliseconds from text to decision, one prompt at a time. Queries/s are of mixed "
            "lengths, the median round. Start is a fresh process of the base install, from the "
            "interpreter to its first decision. Changed are decisions in a batch of 32 that are "
            "another alone.",
            "\n".join(f"| {' | '.join(cells)} |" for cells in rows),
            "![p50 and p99 of every contestant](results.svg)",
            "\n".join(f"- {line}" for line in [*ratios(timed), *notes]) + "\n",
        ]
    )


def number(ms: float) -> str:
    """Milliseconds with three significant digits, as the table shows them."""
    return f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 10 else f"{ms:.1f}"
