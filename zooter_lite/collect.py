"""Ask every expert every query, and keep what each said.

  python -m zooter_lite.collect --queries prompts.csv --experts experts.toml --out responses
  python -m zooter_lite.collect --queries Q --experts E --out responses --dry-run
  python -m zooter_lite.collect --queries Q --experts E --out responses --max-cost 5

The queries are a .csv, .jsonl or .parquet file with a column 'query' and, if you like,
'query_id'. Responses are appended to OUT/responses.jsonl, one JSON object per line. Run
it again after a stop of any kind: what was answered is not asked again. Ctrl-C waits for
the calls on their way; a second Ctrl-C does not.

The pool file has a table for each expert, an OpenAI-compatible server or a function:

  [[expert]]
  name = "small"
  base_url = "http://127.0.0.1:8000/v1"
  model = "Qwen/Qwen2.5-1.5B-Instruct"
  api_key_env = "SMALL_KEY"           # the variable that holds the key; leave out for none
  system = "Answer in one sentence."
  sampling = { temperature = 0.0, max_tokens = 512 }
  price_input = 0.1                   # of a million tokens
  price_output = 0.4
  requests_per_minute = 600           # also: concurrency, timeout, attempts

  [[expert]]
  name = "calculator"
  callable = "my_module:calculator"   # from prompt to answer
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from tqdm import tqdm

from zooter_lite.ask.calls import Call, Outcome, run_calls
from zooter_lite.ask.known import Known
from zooter_lite.ask.pool import Expert, read_pool
from zooter_lite.ask.responses import JOURNAL, Pair, keep_settings, known_responses, settings_of
from zooter_lite.cli import option, run
from zooter_lite.errors import DataError
from zooter_lite.files.journal import Journal
from zooter_lite.table.queries import Queries, read_queries

_CHARACTERS_PER_TOKEN = 4  # of English text, roughly


@dataclass(frozen=True)
class Options:
    """Options of `python -m zooter_lite.collect`."""

    queries: str = option(help="queries: .csv, .jsonl (also .gz) or .parquet", metavar="FILE")
    experts: str = option(help="pool file, such as experts.toml", metavar="FILE")
    out: str = option(
        help="folder of the responses; one that exists is gone on with", metavar="DIR"
    )
    column: str = option("query", help="column that holds the query")
    max_cost: Optional[float] = option(
        None,
        help="stop before the whole cost, earlier runs included, can pass this (in the currency "
        "of the pool's prices; a call whose price is not known counts as the most it can be)",
        kind=float,
        metavar="COST",
    )
    retry_failed: bool = option(False, help="ask again where an earlier run ended in an error")
    dry_run: bool = option(False, help="ask nothing; print the calls left and their estimated cost")


def main(options: Options) -> None:
    """Read the queries and the journal, and make the calls that are missing."""
    if options.max_cost is not None and not options.max_cost > 0:
        raise DataError(f"--max-cost {options.max_cost}: expected a positive number")
    pool = read_pool(options.experts)
    queries = read_queries(options.queries, options.column)
    if not len(queries):
        raise DataError(f"{options.queries}: no query")
    if options.max_cost is not None and not any(e.price_input or e.price_output for e in pool):
        raise DataError(f"{options.experts}: no expert has a price, which --max-cost needs")
    folder = Path(options.out)
    if options.dry_run:
        known = known_responses(folder, queries, retry_failed=options.retry_failed)
        settings_of(folder, pool, known)
        _estimate(pool, queries, known)
        return
    with Journal(folder / JOURNAL) as journal:  # first, so that nobody adds to it once it is read
        known = known_responses(folder, queries, retry_failed=options.retry_failed)
        keep_settings(folder, settings_of(folder, pool, known))
        calls = {expert.name: _missing(expert, queries, known) for expert in pool}
        with _bars(pool, queries, known) as progress:
            outcome = run_calls(
                calls, pool, journal, known, max_cost=options.max_cost, progress=progress
            )
    _report(folder, pool, queries, known, outcome)


def _missing(expert: Expert, queries: Queries, known: Known[Pair, int]) -> Iterator[Call]:
    """Yield the calls that the journal does not have yet."""
    for name, text in zip(queries.ids, queries.texts, strict=True):
        if (name, expert.name) not in known:
            yield Call({"query_id": name, "query": text, "expert": expert.name}, text)


@contextmanager
def _bars(
    pool: list[Expert], queries: Queries, known: Known[Pair, int]
) -> Iterator[Callable[[str, int], object]]:
    """Show a progress bar for each expert on stderr; yield what moves them."""
    with ExitStack() as stack:
        bars = {}
        for expert in pool:
            settled = sum((name, expert.name) in known for name in queries.ids)
            shown = tqdm(
                total=len(queries), initial=settled, desc=expert.name, disable=None, file=sys.stderr
            )
            bars[expert.name] = stack.enter_context(shown)
        yield lambda name, n: bars[name].update(n)


def _estimate(pool: list[Expert], queries: Queries, known: Known[Pair, int]) -> None:
    """Print the calls left, and what they cost by the tokens met so far or the limits."""
    total = 0.0
    for expert in pool:
        prompts = [call.prompt for call in _missing(expert, queries, known)]
        length = len(expert.system) * len(prompts) + sum(map(len, prompts))
        tokens_in = length / _CHARACTERS_PER_TOKEN
        outputs = [tokens for (_, name), tokens in known.answers.items() if name == expert.name]
        mean = sum(outputs) / len(outputs) if any(outputs) else None
        per_answer = expert.max_tokens if mean is None else mean
        cost = expert.cost(tokens_in, len(prompts) * (per_answer or 0))
        total += cost
        source = "max_tokens" if mean is None else "as in the answers so far"
        output = "output unknown (no max_tokens), at least "
        if per_answer is not None:
            output = f"{len(prompts) * per_answer:,.0f} out ({source}), "
        print(
            f"{expert.name}: {len(prompts)} calls, about {tokens_in:,.0f} tokens in, "
            f"{output}cost {cost:.4f}"
        )
    print(f"estimated cost: {total:.4f}, beside {known.cost:.4f} spent by earlier runs")


def _report(
    folder: Path, pool: list[Expert], queries: Queries, known: Known[Pair, int], outcome: Outcome
) -> None:
    left = 0
    for expert in pool:
        tally = outcome.tallies[expert.name]
        missing = sum(1 for _ in _missing(expert, queries, known))
        left += missing
        print(
            f"{expert.name}: {tally.answered} answered, {tally.failed} failed, {missing} not asked "
            f"({tally.attempts} calls, {tally.tokens_in:,} tokens in, {tally.tokens_out:,} out, "
            f"cost {tally.cost:.4f}, {tally.seconds / max(tally.attempts, 1):.2f} s a call)"
        )
    print(f"{folder / JOURNAL}: cost of all runs {known.cost:.4f}")
    pairs = {(name, expert.name) for name in queries.ids for expert in pool}
    if failed := len(known.failed & pairs):
        print(f"{failed} pairs of query and expert ended in an error; --retry-failed asks again")
    if outcome.out_of_budget:
        print(f"stopped by --max-cost with {left} calls left")


if __name__ == "__main__":
    sys.exit(run(Options, main, "collect", __doc__ or ""))
