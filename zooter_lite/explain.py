"""Tell why a query goes where it goes.

  python -m zooter_lite.explain --router exports/mine "What is 17 * 23?"
  python -m zooter_lite.explain --router exports/mine --json "What is 17 * 23?"
  cat prompts.txt | python -m zooter_lite.explain --router exports/mine -

Shows the decision, each expert's probability, expected reward and cost, the nearest
training queries and their tags (the queries themselves if the router was fitted with
--keep-queries), how the experts did on these tags, and whether tags and head agree.
With --json, one line of JSON per query.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Optional

from zooter_lite.cli import option, run
from zooter_lite.errors import DataError
from zooter_lite.router.router import Router

STANDARD = "-"


@dataclass(frozen=True)
class Options:
    """Options of `python -m zooter_lite.explain`."""

    router: str = option(help="router directory", metavar="DIR")
    query: str = option(help="the query; - reads one per line from standard input", names=["query"])
    json: bool = option(False, help="one line of JSON per query instead of text")
    neighbours: int = option(
        16, help="nearest training queries to look at", names=["-k", "--neighbours"], metavar="K"
    )
    point: Optional[str] = option(
        None, help="operating point to decide at (default: the router's own)"
    )
    precision: Literal["fp32", "fp16", "int8"] = option(
        "fp32", help="of the router whose decision is explained"
    )


def main(options: Options) -> None:
    """Explain each query."""
    if options.neighbours < 1:
        raise DataError(f"--neighbours {options.neighbours}: expected at least 1")
    if options.query != STANDARD and not options.query.strip():
        raise DataError("the query is empty; expected text")
    router = Router.load(options.router, options.precision)
    count = 0
    for query in _queries(options.query):
        explanation = router.explain(query, options.neighbours, options.point)
        if options.json:
            print(json.dumps(explanation.to_json()))
        else:
            print("\n" * (count > 0) + explanation.to_text())
        sys.stdout.flush()
        count += 1
    if not count:
        raise DataError("standard input holds no query; expected one per line")


def _queries(argument: str) -> Iterator[str]:
    """Yield the query, or the lines of standard input that are not blank."""
    if argument != STANDARD:
        yield argument
        return
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise DataError(f"standard input, line {number}: not UTF-8") from error
        if text:
            yield text


if __name__ == "__main__":
    sys.exit(run(Options, main, "explain", __doc__ or ""))
