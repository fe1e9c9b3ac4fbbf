"""Measure everything in one run and write results.md and results.svg; called by run.sh."""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tokenizers import Tokenizer

from recipes.bench.speed.figures import LENGTHS, Timed
from recipes.bench.speed.lineup import lineup, routers
from recipes.bench.speed.ours import changed
from recipes.bench.speed.picture import dot_plot
from recipes.bench.speed.prompts import prompts_of, vocabulary
from recipes.bench.speed.protocol import ROOT
from recipes.bench.speed.rounds import FULL, QUICK, Plan, latencies, rates, started
from recipes.bench.speed.start import packages_mb, start
from recipes.bench.speed.write import page
from zooter_lite.cores import cores
from zooter_lite.encode.find import DEFAULT, find_encoder
from zooter_lite.table import read_table, sample_path

TABLES = ("routerdc", "mmlu_pro", "llmrouter", "code_tags")


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="recipes/bench/speed/run.sh", allow_abbrev=False)
    parser.add_argument(
        "--router",
        type=Path,
        default=ROOT / "exports/sample",
        help="router whose precisions take part (default: exports/sample)",
    )
    parser.add_argument("--static", type=Path, help="router fitted with --encoder static")
    parser.add_argument(
        "--work",
        type=lambda text: Path(text).resolve(),
        required=True,
        help="folder of the environments",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=ROOT.parent / "shared/data",
        help="real reward tables (default: ../shared/data)",
    )
    parser.add_argument("--no-peers", action="store_true", help="only ours and the references")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few rounds, to see it work; written under the work folder",
    )
    return parser.parse_args()  # fmt: skip


def main(chosen: argparse.Namespace) -> None:
    """Measure, write, print the page."""
    began = time.perf_counter()
    plan = QUICK if chosen.quick else FULL
    target = chosen.work / "quick" if chosen.quick else Path(__file__).parent
    load = f"load average of the minute before: {os.getloadavg()[0]:.2f} (it should be near 0)"
    offered = routers(chosen.router, chosen.static)
    base = chosen.work / "base" / "bin" / "python"
    starts = {p: start(base, folder, p, plan.starts) for p, folder in offered.items()}
    timed, notes = _time(plan, chosen, offered)
    prompts, prompts_from = _real_prompts(chosen.data, plan.invariance)
    others = {p: changed(folder, p, prompts) for p, folder in offered.items()}
    notes += [
        f"start, peak: medians of {plan.starts} processes, files in the page cache; a serving "
        f"environment is {packages_mb(base):.0f} MB of site-packages, less pip and setuptools",
        f"changed: of {prompts_from}",
        *(_machine(), load),
        f"the whole run took {(time.perf_counter() - began) / 60:.1f} minutes",
    ]
    target.mkdir(parents=True, exist_ok=True)
    text = page(timed, starts, others, notes)
    (target / "results.md").write_text(text, "utf-8")
    (target / "results.svg").write_text(dot_plot(timed), "utf-8")
    print(f"{text}\nwritten: {target / 'results.md'} and results.svg")


def _time(
    plan: Plan, chosen: argparse.Namespace, offered: dict[str, Path]
) -> tuple[list[Timed], list[str]]:
    """Take all rounds; who took part, and how and with which packages it was done."""
    encoder = find_encoder(DEFAULT)
    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    words = vocabulary(tokenizer, read_table(str(sample_path())).queries)

    def make(lengths: Sequence[int], seed: int) -> list[str]:
        return prompts_of(tokenizer, words, lengths, seed)

    entries = lineup(offered, str(encoder), chosen.work, peers=not chosen.no_peers)
    skipped: list[str] = []
    with started(entries, chosen.work / "logs", skipped) as alive:
        pairs = [pair for _, pair in alive]
        latencies(pairs, plan, make)
        mixed = rates([pair for entry, pair in alive if entry.rates], plan, make)
    calls = ", ".join(f"{plan.rounds * plan.calls[n]} at {n}" for n in LENGTHS)
    packages = {f"{name} {told}".strip() for _, own in pairs for name, told in own.about.items()}
    notes = [
        f"{plan.rounds} rounds, each in a new order; calls of each contestant: {calls} tokens",
        f"mixed lengths: {plan.rate_rounds} rounds of {plan.rate_prompts} prompts, "
        f"{sum(mixed) / len(mixed):.0f} tokens on average ({min(mixed)} to {max(mixed)})",
        f"versions: {', '.join(sorted(packages))}",
        *(f"left out: {reason}" for reason in skipped),
    ]
    return [timed for timed, _ in pairs], notes


def _machine() -> str:
    """CPU, the instruction sets that decide the speed of matrix products, memory, system."""
    cpu: dict[str, str] = {}
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text("utf-8").split("\n\n")[0]
        cpu = {k.strip(): v.strip() for k, _, v in (n.partition(":") for n in first.splitlines())}
    flags = (cpu.get("flags") or cpu.get("Features") or "").split()
    told = [flag for flag in flags if re.match("avx|fma|amx|asimd|i8mm|bf16|sve", flag)]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = cpu.get("model name", platform.processor() or platform.machine())
    return (
        f"{name}, {cores()} cores ({' '.join(told) or 'flags unknown'}), {memory:.0f} GiB, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )


def _real_prompts(data: Path, count: int) -> tuple[list[str], str]:
    """Different prompts of the real tables in equal shares, or else of the bundled sample."""
    files = [data / f"{name}.parquet" for name in TABLES]
    if not all(file.is_file() for file in files):
        queries = list(dict.fromkeys(read_table(str(sample_path())).queries))[:count]
        return queries, f"{len(queries):,} prompts of the bundled sample (no real tables found)"
    chosen: list[str] = []
    for file in files:
        queries = list(dict.fromkeys(read_table(str(file)).queries))
        chosen += random.Random(0).sample(queries, count // len(files))
    random.Random(0).shuffle(chosen)
    return chosen, f"{len(chosen):,} real prompts, in equal shares of {', '.join(TABLES)}"


if __name__ == "__main__":
    chosen = options()
    for router in (chosen.router, chosen.static or chosen.router):
        if not (router / "router.onnx").is_file():
            print(
                f"error: {router}: no router.onnx there (make quickstart fits exports/sample)",
                file=sys.stderr,
            )
            sys.exit(2)
    main(chosen)
