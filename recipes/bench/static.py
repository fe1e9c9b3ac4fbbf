"""Reward lost and time saved by a static encoder, beside the default encoder.

`python -m recipes.bench.static DATA EXPORTS` writes recipes/bench/static.md from the routers
EXPORTS/bench-<table> and EXPORTS/bench-<table>-static.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from recipes.bench.speed.prompts import mixed_lengths, prompts_of, vocabulary
from zooter_lite import Router
from zooter_lite.encode.cache import default_cache
from zooter_lite.encode.words import encoder_of
from zooter_lite.measure import metrics
from zooter_lite.measure.partial import subset_means
from zooter_lite.measure.significance import paired_gaps
from zooter_lite.table import RewardTable, read_table, sample_path

Array = NDArray[np.float64]

PAGE = Path(__file__).resolve().parent / "static.md"
TABLES = (
    ("routerdc", "routerdc", "test", ()),
    ("routerdc, three OOD sets", "routerdc", "ood", ("math_prealgebra", "mbpp", "ceval")),
    ("mmlu_pro", "mmlu_pro", "test", ()),
    ("llmrouter", "llmrouter", "test", ()),
    ("code_tags", "code_tags", "test", ()),
    ("bfcl", "bfcl", "test", ()),
    ("zeroeval", "zeroeval", "test", ()),
)
LENGTHS = (20, 60, 200)  # tokens, as the default encoder counts them
PERCENTILES = (50, 10)  # the second for calls that other work did not interrupt
ROUNDS, CALLS, MIXED = 10, 20, 192


@dataclass(frozen=True)
class Loss:
    """Mean reward x100 of two encoders, and the 95% interval of other minus default."""

    label: str
    rows: int
    default: float
    other: float
    low: float
    high: float


def losses(data: Path, exports: Path) -> list[Loss]:
    """Micro and macro of every table's evaluated rows, paired over the same resamples."""
    found = []
    for label, name, split, subsets in TABLES:
        part = rows_of(read_table(str(data / f"{name}.parquet")), split, subsets)
        folders = (exports / f"bench-{name}", exports / f"bench-{name}-static")
        default, static = (rewards(folder, part) for folder in folders)
        found += paired(label, part.subsets, default, static)
        print(found[-2:], file=sys.stderr, flush=True)
    return found


def rows_of(table: RewardTable, split: str, subsets: Sequence[str]) -> RewardTable:
    """Rows of a split, of these subsets only where any are named."""
    part = table.take(table.rows(split))
    if not subsets:
        return part
    return part.take(np.flatnonzero(np.isin(part.subsets, subsets)))


def rewards(folder: Path, table: RewardTable) -> Array:
    """(n,) reward of the expert that the router in `folder` chooses for each row."""
    router = Router.load(folder)
    if router.experts != table.experts:
        raise SystemExit(f"{folder}: its experts are not those of the table")
    encoder = encoder_of(router.config.encoder, default_cache())
    probs = router.head.probs(encoder.embed(table.queries, default_cache()))
    return metrics.reward_of(probs.argmax(axis=1), table.rewards)


def paired(label: str, subsets: Sequence[str], default: Array, other: Array) -> list[Loss]:
    """Macro (where there are several subsets) and micro means of both, and their difference."""
    draws = metrics.draw(subsets, 0)
    gap = paired_gaps(subset_means(other - default, None, draws)[..., None], draws)[0]
    means = metrics.measure(np.stack([default, other], axis=1), draws)
    losses = [
        Loss(f"{label}, {kind}", len(default), *(100 * value for value in values))
        for kind, values in {
            "macro": (*(mean.value for mean in means.macro), gap.macro.low, gap.macro.high),
            "micro": (*(mean.value for mean in means.micro), gap.low, gap.high),
        }.items()
    ]
    return losses if len(set(subsets)) > 1 else losses[1:]


def speeds(default: Path, static: Path) -> dict[str, tuple[float, float]]:
    """Time both routers, one thread each, in interleaved rounds, each prompt new.

    Returns
    -------
    By what was measured, (default, static): "p50 20" to "p10 200", percentile in ms of one
    decision on a prompt of that many tokens; "mixed", decisions per second over mixed lengths.
    """
    tokenizer = Tokenizer.from_file(str(default / "tokenizer.json"))
    words = vocabulary(tokenizer, read_table(sample_path()).queries)
    routers = [Router.load(folder, threads=1) for folder in (default, static)]
    calls: dict[int, list[list[float]]] = {length: [[], []] for length in LENGTHS}
    rates: list[list[float]] = [[], []]
    for turn in range(ROUNDS):
        for length in LENGTHS:
            prompts = prompts_of(tokenizer, words, [length] * (CALLS + 3), seed=turn)
            for times, router in zip(calls[length], routers, strict=True):
                each = [_seconds(router, [prompt]) for prompt in prompts]
                times += each[3:]  # the first are for warming up
        mixed = prompts_of(tokenizer, words, mixed_lengths(MIXED, turn), seed=100 + turn)
        for rate, router in zip(rates, routers, strict=True):
            rate.append(MIXED / _seconds(router, mixed))
    found = {
        f"p{percent} {length}": _both(1000 * np.percentile(calls[length], percent, axis=1))
        for percent in PERCENTILES
        for length in LENGTHS
    }
    return found | {"mixed": _both(np.median(rates, axis=1))}


def _seconds(router: Router, prompts: Sequence[str]) -> float:
    start = time.perf_counter()
    router.route(prompts)
    return time.perf_counter() - start


def _both(values: NDArray[np.floating]) -> tuple[float, float]:
    default, static = values.tolist()
    return default, static


def page(found: Sequence[Loss], timed: dict[str, tuple[float, float]]) -> str:
    """Render static.md."""
    lines = [
        "# The static tier: what it loses and what it saves",
        "",
        "Written by `recipes/bench/static.sh`: both routers fitted with default settings on the "
        "same rows; mean reward x100 of the chosen expert on rows that no fit has seen; the "
        "interval of the difference is a paired bootstrap's (95%, 2,000 resamples within the "
        "subsets). It does not cover the chance of the fit.",
        "",
        "| table, mean | queries | all-MiniLM-L6-v2 | static | static minus default |",
        "|---|---|---|---|---|",
    ]
    for loss in found:
        gap = f"{loss.other - loss.default:+.2f} [{loss.low:+.2f}, {loss.high:+.2f}]"
        values = f"{loss.default:.2f} | {loss.other:.2f} | {gap}"
        lines.append(f"| {loss.label} | {loss.rows:,} | {values} |")
    lines += [
        "",
        f"Text to decision, one process, one thread, {ROUNDS} interleaved rounds, every prompt "
        "new; the lengths are tokens of the default encoder. Other work that runs on the machine "
        "interrupts long calls more often than short ones and so flatters the static encoder: "
        "the 10th percentile is nearer to a machine of one's own than the median.",
        "",
        "| | all-MiniLM-L6-v2, fp32 | static | ratio |",
        "|---|---|---|---|",
    ]
    for percent in PERCENTILES:
        for length in LENGTHS:
            default, static = timed[f"p{percent} {length}"]
            cells = f"{default:.2f} ms | {static:.3f} ms | {default / static:.0f}"
            lines.append(f"| p{percent} of one decision, {length} tokens | {cells} |")
    default, static = timed["mixed"]
    cells = f"{default:,.0f} | {static:,.0f} | {static / default:.0f}"
    lines.append(f"| decisions per second, mixed lengths | {cells} |")
    return "\n".join(lines) + "\n"


def main(data: str, exports: str) -> None:
    """Measure, write the page."""
    folder = Path(exports)
    found = losses(Path(data), folder)
    timed = speeds(folder / "bench-routerdc", folder / "bench-routerdc-static")
    PAGE.write_text(page(found, timed), "utf-8")
    print(page(found, timed))


if __name__ == "__main__":
    main(*sys.argv[1:])
