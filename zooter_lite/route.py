"""Route a CSV or JSON-lines file of prompts: every row kept, in order, with its expert added.

  python -m zooter_lite.route --router exports/mine --input prompts.csv --output routed.csv
  cat p.jsonl | python -m zooter_lite.route --router R --input - --output - --format jsonl

Appends the columns 'expert' and 'probability'. A row whose prompt is empty is kept
and gets neither. Rows are streamed: memory does not grow with the file. The output
appears when it is complete.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Optional

from tqdm import tqdm

from zooter_lite.cli import option, run
from zooter_lite.data.rows import (
    STANDARD,
    Row,
    RowReader,
    RowWriter,
    atomic_text,
    open_rows,
    text_format,
)
from zooter_lite.errors import DataError
from zooter_lite.router.router import Router

CHUNK = 1024


@dataclass(frozen=True)
class Options:
    """Options of `python -m zooter_lite.route`."""

    router: str = option(help="router directory", metavar="DIR")
    input: str = option(
        help="prompts: .csv or .jsonl, also .gz; - for standard input", metavar="FILE"
    )
    output: str = option(help="file to write, same formats; - for standard output", metavar="FILE")
    column: str = option("query", help="column that holds the prompt")
    format: Optional[str] = option(
        None, help="format of standard input and output", kind=str, choices=("csv", "jsonl")
    )
    all_probabilities: bool = option(False, help="add one column 'p:<expert>' per expert")
    force: bool = option(False, help="overwrite an existing output")
    precision: Literal["fp32", "int8", "auto"] = option(
        "fp32", help="int8 is faster; auto is int8 with close calls answered again in fp32"
    )
    threads: int = option(
        1, help="threads of one batch; as many batches as the cores then allow run side by side"
    )


def main(options: Options) -> None:
    """Stream rows through the router."""
    kinds = [_kind(path, options) for path in (options.input, options.output)]
    if kinds[0] != kinds[1]:
        raise DataError(
            f"{options.output}: the input is {kinds[0]} and the output {kinds[1]}; "
            "expected the same format"
        )
    _check_output(options)
    router = Router.load(options.router, options.precision, options.threads)
    added = ["expert", "probability"]
    if options.all_probabilities:
        added += [f"p:{expert}" for expert in router.experts]
    counts = dict.fromkeys(router.experts, 0)
    empty = 0
    with open_rows(options.input, kinds[0]) as reader:
        _check_columns(reader, options, added)
        columns = None if reader.columns is None else [*reader.columns, *added]
        with (
            atomic_text(options.output) as stream,
            tqdm(desc="routing", unit=" rows", disable=None, file=sys.stderr) as bar,
        ):
            writer = RowWriter(stream, kinds[1], columns)
            for rows in _chunks(reader.rows):
                decided = _decide(router, rows, reader.name, options, added, bar.update)
                writer.write(decided)
                for values in decided:
                    if values["expert"] is None:
                        empty += 1
                    else:
                        counts[values["expert"]] += 1
    _summarise(counts, empty)
    if options.precision == "auto":
        repeated, computed = router.repeats
        print(
            f"close calls answered again in fp32: {repeated} of {computed} prompts computed "
            f"({repeated / max(computed, 1):.1%})",
            file=sys.stderr,
        )


def _kind(path: str, options: Options) -> str:
    if path != STANDARD:
        return text_format(path)
    if options.format is None:
        other = options.output if path == options.input else options.input
        if other == STANDARD:
            raise DataError("--format csv or --format jsonl is needed with - for both files")
        return text_format(other)
    return options.format


def _check_output(options: Options) -> None:
    if options.output == STANDARD:
        return
    target = Path(options.output)
    if target.exists() and not options.force:
        raise DataError(f"{options.output}: exists already; --force overwrites it")
    if target.is_dir() or not target.parent.is_dir():
        raise DataError(f"{options.output}: expected a file name in an existing folder")


def _check_columns(reader: RowReader, options: Options, added: list[str]) -> None:
    if reader.columns is None:
        return
    if options.column not in reader.columns:
        found = ", ".join(repr(name) for name in reader.columns[:8])
        raise DataError(
            f"{reader.name}: no column {options.column!r}; found {found} (--column names another)"
        )
    taken = [name for name in added if name in reader.columns]
    if taken:
        raise DataError(
            f"{reader.name}: already has a column {taken[0]!r}, which the output adds; rename it"
        )


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def _decide(
    router: Router,
    rows: list[Row],
    name: str,
    options: Options,
    added: list[str],
    progress: Callable[[int], object],
) -> list[dict[str, Any]]:
    """Return the rows with the added columns; None in them where the prompt is empty."""
    prompts = [_prompt(row, name, options.column, added) for row in rows]
    some = [prompt for prompt in prompts if prompt.strip()]
    decisions = iter(router.route(some, progress))
    progress(len(rows) - len(some))
    decided = []
    for row, prompt in zip(rows, prompts, strict=True):
        values: dict[str, Any] = dict(row.values) | dict.fromkeys(added)
        if prompt.strip():
            decision = next(decisions)
            values["expert"] = decision.expert
            values["probability"] = round(decision.probability, 6)
            if options.all_probabilities:
                for expert, probability in decision.probabilities.items():
                    values[f"p:{expert}"] = round(probability, 6)
        decided.append(values)
    return decided


def _prompt(row: Row, name: str, column: str, added: list[str]) -> str:
    where = f"{name}, line {row.line}"
    if column not in row.values:
        raise DataError(f"{where}: no key {column!r}; expected the prompt there")
    taken = [key for key in added if key in row.values]
    if taken:
        raise DataError(f"{where}: already has a key {taken[0]!r}, which the output adds")
    prompt = row.values[column]
    if prompt is None:
        return ""
    if not isinstance(prompt, str):
        raise DataError(f"{where}: {column!r} holds {type(prompt).__name__}, expected text")
    return prompt


def _summarise(counts: dict[str, int], empty: int) -> None:
    routed = sum(counts.values())
    shares = ", ".join(
        f"{expert} {count / max(routed, 1):.0%}"
        for expert, count in sorted(counts.items(), key=lambda item: -item[1])
        if count
    )
    left = f"; {empty} rows with an empty prompt left unrouted" if empty else ""
    print(f"{routed} rows routed ({shares or 'none'}){left}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run(Options, main, "route", __doc__ or ""))
