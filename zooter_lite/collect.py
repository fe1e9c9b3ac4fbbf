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
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from zooter_lite.ask.calls import run_calls
from zooter_lite.ask.pool import read_pool
from zooter_lite.ask.responses import JOURNAL, Collection
from zooter_lite.cli import bar, option, run, separator_option
from zooter_lite.errors import DataError
from zooter_lite.files.journal import Journal
from zooter_lite.table.queries import read_queries


@dataclass(frozen=True)
class Options:
    """Options of `python -m zooter_lite.collect`."""

    queries: str = option(help="queries: .csv, .jsonl (also .gz) or .parquet", metavar="FILE")
    experts: str = option(help="pool file, such as experts.toml", metavar="FILE")
    out: str = option(
        help="folder of the responses; one that exists is gone on with", metavar="DIR"
    )
    column: str = option("query", help="column that holds the query")
    separator: str = separator_option()
    max_cost: Optional[float] = option(
        None,
        help="stop before the whole cost, earlier runs included, can pass this (in the currency "
        "of the pool's prices; a call whose price is not known counts as the most it can be)",
        metavar="COST",
    )
    retry_failed: bool = option(False, help="ask again where an earlier run ended in an error")
    dry_run: bool = option(False, help="ask nothing; print the calls left and their estimated cost")


def main(options: Options) -> None:
    """Read the queries and the journal, and make the calls that are missing."""
    most, folder = options.max_cost, Path(options.out)
    if most is not None and not most > 0:
        raise DataError(f"--max-cost {most}: expected a positive number")
    pool = read_pool(options.experts)
    queries = read_queries(options.queries, options.column, others=(), separator=options.separator)
    if not len(queries):
        raise DataError(f"{options.queries}: no query")
    if most is not None and not any(e.price_input or e.price_output for e in pool):
        raise DataError(f"{options.experts}: no expert has a price, which --max-cost needs")
    if options.dry_run:
        collection = Collection(folder, pool, queries, retry_failed=options.retry_failed)
        print("\n".join(collection.estimate()))
        return
    with Journal(folder / JOURNAL) as journal:  # first, so that nobody adds to it once it is read
        collection = Collection(folder, pool, queries, retry_failed=options.retry_failed)
        collection.keep_settings()
        calls = {expert.name: collection.missing(expert) for expert in pool}
        with bar(sum(collection.n_missing(expert) for expert in pool), "asking") as shown:
            tallies = run_calls(
                calls, pool, journal, collection.known, max_cost=most, progress=shown.update
            )
    print("\n".join(collection.report(tallies, most)))
    collection.check_answered()


if __name__ == "__main__":
    sys.exit(run(Options, main, "collect", __doc__ or ""))
