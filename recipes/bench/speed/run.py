"""Measure everything in one run and write results.md and results.svg; called by run.sh."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from recipes.bench.speed.checks import invariance_checks, reward_checks, start_checks
from recipes.bench.speed.figures import LENGTHS, speed_checks
from recipes.bench.speed.floor import Body
from recipes.bench.speed.lineup import lineup, routers
from recipes.bench.speed.machine import describe
from recipes.bench.speed.ours import GRAPHS
from recipes.bench.speed.picture import dot_plot
from recipes.bench.speed.prompts import prompts_of, vocabulary
from recipes.bench.speed.protocol import ROOT
from recipes.bench.speed.rounds import FULL, QUICK, Plan, latencies, rates, started
from recipes.bench.speed.start import directory_mb, packages_mb, start
from recipes.bench.speed.write import Results, Timing, check_table, page
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
    parser.add_argument(
        "--reward",
        type=Path,
        default=ROOT / "exports/bench-precision.json",
        help="what recipes/bench/precision.sh left",
    )
    parser.add_argument("--no-peers", action="store_true", help="only ours and the references")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few rounds, to see it work; written under the work folder",
    )
    return parser.parse_args()  # fmt: skip


def main(chosen: argparse.Namespace) -> None:
    """Measure, write, print the verdicts."""
    began = time.perf_counter()
    plan = QUICK if chosen.quick else FULL
    target = chosen.work / "quick" if chosen.quick else Path(__file__).parent
    machine = describe()
    offered = routers(chosen.router, chosen.static)
    base = chosen.work / "base" / "bin" / "python"
    starts = {p: start(base, folder, p, plan.starts) for p, folder in offered.items()}
    packages = packages_mb(base)
    timing = _time(plan, chosen, offered)
    prompts, prompts_from = _real_prompts(chosen.data, plan.invariance)
    invariance = {p: _invariance(folder, p, prompts, chosen.work) for p, folder in offered.items()}
    reward = json.loads(chosen.reward.read_text("utf-8")) if chosen.reward.is_file() else {}
    checks = [
        *(*speed_checks(timing.timed), *invariance_checks(invariance)),
        *(*start_checks(starts, packages), *reward_checks(reward)),
    ]
    took = f"the whole run took {(time.perf_counter() - began) / 60:.1f} minutes"
    results = Results(
        [*machine, took],
        timing,
        starts,
        packages,
        {p: directory_mb(folder, p, GRAPHS) for p, folder in offered.items()},
        invariance,
        prompts_from,
        checks,
    )
    target.mkdir(parents=True, exist_ok=True)
    (target / "results.md").write_text(page(results), "utf-8")
    (target / "results.svg").write_text(dot_plot(timing.timed), "utf-8")
    print(check_table(checks))
    print(f"\nwritten: {target / 'results.md'} and results.svg")


def _time(plan: Plan, chosen: argparse.Namespace, offered: dict[str, Path]) -> Timing:
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
    versions = {
        timed.label: ", ".join(f"{name} {told}".strip() for name, told in worker.about.items())
        for timed, worker in pairs
        if worker.about
    }
    body = Body.read(str(encoder))
    flops = {tokens: body.flops(tokens) for tokens in LENGTHS}
    return Timing([timed for timed, _ in pairs], versions, _how(plan, mixed), flops, skipped)


def _how(plan: Plan, mixed: Sequence[int]) -> list[str]:
    """Tell rounds, calls and lengths in words; `mixed` holds the lengths of the mixed prompts."""
    calls = ", ".join(f"{plan.rounds * plan.calls[n]} at {n}" for n in LENGTHS)
    return [
        f"contestants take turns, in a new order each of {plan.rounds} rounds, one computing at a "
        f"time; calls of each: {calls} tokens (special tokens included)",
        f"mixed lengths: rounds: {plan.rate_rounds}, prompts in each: {plan.rate_prompts}, "
        f"{sum(mixed) / len(mixed):.0f} tokens on average ({min(mixed)} to {max(mixed)})",
        "prompts are random words of the bundled sample, drawn anew every round",
        "two threads for everyone but where it is named; zooter-lite by default settings; peers "
        "in fp32 but where it is named",
    ]


def _real_prompts(data: Path, count: int) -> tuple[list[str], str]:
    """Different prompts of the real tables in equal shares, or else of the bundled sample."""
    files = [data / f"{name}.parquet" for name in TABLES]
    if not all(file.is_file() for file in files):
        queries = list(dict.fromkeys(read_table(str(sample_path())).queries))[:count]
        return queries, f"{len(queries):,} prompts of the bundled sample (no real tables found)."
    chosen: list[str] = []
    for file in files:
        queries = list(dict.fromkeys(read_table(str(file)).queries))
        chosen += random.Random(0).sample(queries, count // len(files))
    random.Random(0).shuffle(chosen)
    return chosen, f"{len(chosen):,} real prompts, in equal shares of {', '.join(TABLES)}."


def _invariance(folder: Path, precision: str, prompts: list[str], work: Path) -> dict[str, Any]:
    file = work / "prompts.json"
    file.write_text(json.dumps(prompts), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "recipes.bench.speed.invariance",
         str(folder.resolve()), precision, str(file.resolve())],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    print(f"batch invariance of {precision}", file=sys.stderr, flush=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


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
