"""Give every response a reward, and write the reward table that fit reads.

  python -m zooter_lite.score --responses R --queries Q.csv --scorer exact --out table.parquet
  python -m zooter_lite.score --responses R --scorer reward-model:FOLDER --out table.parquet
  python -m zooter_lite.score --responses R --scorer scorers.toml --queries Q --out table.jsonl

RESPONSES is what collect wrote. A scorer is exact, numeric, regex, contains, json-schema or
python-tests (they compare a response with the column answer, pattern, schema or tests of
--queries), a reward model, or a scorers.toml with any of these and LLM judges. Scores are
kept beside the responses: run it again after a stop, and nothing is computed twice.
python-tests runs the programs of the responses under limits that stop accidents; they are
no security boundary, so use a container or a virtual machine for experts you do not trust.
"""

import sys
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Optional

import numpy as np

from zooter_lite.ask.responses import JOURNAL
from zooter_lite.cli import bar, check_out, option, run, separator_option
from zooter_lite.labels.diagnostics import diagnose
from zooter_lite.scoring.rewards import (
    Responses,
    combine,
    read_responses,
    reward_table,
    same_best,
)
from zooter_lite.scoring.scorer import FloatArray, Scorer
from zooter_lite.scoring.scorer_file import read_scorers
from zooter_lite.table import write_table
from zooter_lite.table.queries import read_queries
from zooter_lite.table.storage import SUFFIXES


@dataclass(frozen=True)
class Options:
    """Options of `python -m zooter_lite.score`."""

    responses: str = option(help="folder that collect wrote, or its responses.jsonl", metavar="R")
    scorer: str = option(
        help="scorers.toml, exact, numeric, regex, contains, json-schema, python-tests, or "
        "reward-model:FOLDER-OR-NAME",
        metavar="S",
    )
    out: str = option(help="reward table: .parquet, .jsonl or .csv (also .gz)", metavar="FILE")
    queries: Optional[str] = option(
        None,
        help="queries with their other columns (subset, split, tags, answer, tests, ...), joined "
        "by query_id or, where the file has none, by the text",
        metavar="FILE",
    )
    column: str = option("query", help="column of --queries that holds the query")
    separator: str = separator_option()


def main(options: Options) -> None:
    """Score the responses with every scorer, combine, write the table, report."""
    check_out(options.out, SUFFIXES)
    scorers = read_scorers(options.scorer)
    journal = Path(options.responses)
    journal = journal / JOURNAL if journal.is_dir() else journal
    queries = None
    if options.queries:
        queries = read_queries(options.queries, options.column, separator=options.separator)
    responses = read_responses(journal, queries)
    print(
        f"{len(responses.items)} responses of {len(responses.experts)} experts to "
        f"{len(responses.queries)} queries; {responses.failed} failed"
        + (f", {responses.cut} cut short, such as by max_tokens" if responses.cut else "")
    )
    if responses.left_out:
        print(f"{responses.left_out} queries of the journal are not in {options.queries}")
    scores = [_score(scorer, responses, journal.parent) for scorer, _ in scorers]
    several = {scorer.name: values for (scorer, _), values in zip(scorers, scores, strict=True)}
    rewards = combine(scores, [weight for _, weight in scorers])
    table = reward_table(responses, rewards, several if len(scorers) > 1 else {})
    write_table(table, options.out)
    for expert, column in zip(table.experts, table.rewards.T, strict=True):
        print(
            f"{expert}: mean reward {np.nanmean(column):.4f} over "
            f"{np.isfinite(column).sum()} responses"
        )
    print(diagnose(table.rewards).summary(table.experts))
    if len(scorers) > 1:
        _compare(scorers, [responses.matrix(values) for values in scores])
    for expert in sorted(set(responses.experts) - set(table.experts)):
        print(f"{expert}: no reward at all, left out of the table")
    dropped = len(responses.queries) - len(table)
    print(f"{options.out}: {len(table)} rows" + (f", {dropped} without reward" if dropped else ""))


def _score(scorer: Scorer, responses: Responses, folder: Path) -> FloatArray:
    """Run one scorer and print what it did."""
    started = time.monotonic()
    with bar(len(responses.items), scorer.name) as shown:
        values, notes = scorer.score(responses.items, folder, shown.update)
    seconds = time.monotonic() - started
    scored = int((~np.isnan(values)).sum())
    for note in (f"{scored} of {len(values)} responses scored in {seconds:.1f} s", *notes):
        print(f"{scorer.name}: {note}")
    return values


def _compare(scorers: list[tuple[Scorer, float]], scores: list[FloatArray]) -> None:
    """Print how far the scorers agree."""
    total = sum(weight for _, weight in scorers)
    print("rewards: weighted mean of the scorers' standardised scores (mean 0, deviation 1)")
    for scorer, weight in scorers:
        print(f"{scorer.name}: weight {weight / total:.2f}")
    for ((one, _), first), ((two, _), second) in combinations(zip(scorers, scores, strict=True), 2):
        print(f"{one.name} and {two.name}: same best expert {same_best(first, second):.1%}")


if __name__ == "__main__":
    sys.exit(run(Options, main, "score", __doc__ or ""))
