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
from recipes.bench.speed.write import Results, check_table, page
from zooter_lite.data import read_table, sample_path
from zooter_lite.learn.find import DEFAULT, find_encoder

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
    results = Results(machine=describe())
    offered = routers(chosen.router, chosen.static)
    base = chosen.work / "base" / "bin" / "python"
    for precision, folder in offered.items():
        results.starts[precision] = start(base, folder, precision, plan.starts)
        results.directories_mb[precision] = directory_mb(folder, precision, GRAPHS)
    results.packages_mb = packages_mb(base)
    _time(results, plan, chosen, offered)
    prompts, results.prompts_from = _real_prompts(chosen.data, plan.invariance)
    for precision, folder in offered.items():
        results.invariance[precision] = _invariance(folder, precision, prompts, chosen.work)
    reward = json.loads(chosen.reward.read_text("utf-8")) if chosen.reward.is_file() else {}
    results.checks = [
        *speed_checks(results.timed), *invariance_checks(results.invariance),
        *start_checks(results.starts, results.packages_mb), *reward_checks(reward),
    ]  # fmt: skip
    results.how.append(f"the whole run took {(time.perf_counter() - began) / 60:.1f} minutes")
    target.mkdir(parents=True, exist_ok=True)
    (target / "results.md").write_text(page(results), "utf-8")
    (target / "results.svg").write_text(dot_plot(results.timed), "utf-8")
    print(check_table(results.checks))
    print(f"\nwritten: {target / 'results.md'} and results.svg")


def _time(
    results: Results, plan: Plan, chosen: argparse.Namespace, offered: dict[str, Path]
) -> None:
    encoder = find_encoder(DEFAULT)
    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    words = vocabulary(tokenizer, read_table(str(sample_path())).queries)

    def make(lengths: Sequence[int], seed: int) -> list[str]:
        return prompts_of(tokenizer, words, lengths, seed)

    entries = lineup(offered, str(encoder), chosen.work, peers=not chosen.no_peers)
    with started(entries, chosen.work / "logs", results.skipped) as alive:
        pairs = [pair for _, pair in alive]
        latencies(pairs, plan, make)
        mixed = rates([pair for entry, pair in alive if entry.rates], plan, make)
    results.timed = [timed for timed, _ in pairs]
    for timed, worker in pairs:
        if worker.about:
            told = ", ".join(f"{name} {value}".strip() for name, value in worker.about.items())
            results.versions[timed.label] = told
    body = Body.read(str(encoder))
    results.flops = {tokens: body.flops(tokens) for tokens in LENGTHS}
    calls = ", ".join(f"{plan.rounds * plan.calls[n]} at {n}" for n in LENGTHS)
    results.how = [
        f"contestants take turns, in a new order each of {plan.rounds} rounds, one computing at a "
        f"time; calls of each: {calls} tokens (special tokens included)",
        f"mixed lengths: {plan.rate_rounds} rounds of {plan.rate_prompts} prompts, "
        f"{sum(mixed) / len(mixed):.0f} tokens on average ({min(mixed)} to {max(mixed)})",
        "prompts are random words of the bundled sample; no prompt is ever used twice",
        "two threads for everyone; zooter-lite by default settings; fp32 but where it is named",
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


def _invariance(folder: Path, precision: str, prompts: list[str], work: Path) -> dict[str, object]:
    file = work / "prompts.json"
    file.write_text(json.dumps(prompts), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "recipes.bench.speed.invariance",
         str(folder.resolve()), precision, str(file.resolve())],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    print(f"batch invariance of {precision}", file=sys.stderr, flush=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main(options())
