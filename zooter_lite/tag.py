"""Tag queries, and choose those to learn from.

  python -m zooter_lite.tag --queries Q.csv --out tagged.jsonl --tagger tagger.toml
  python -m zooter_lite.tag --queries Q.csv --out tagged.jsonl --tagger nearest:table.parquet
  python -m zooter_lite.tag --queries Q.csv --out tagged.jsonl --tagger clusters:32
  python -m zooter_lite.tag --queries tagged.jsonl --out chosen.jsonl --select 50
  python -m zooter_lite.tag ... --dedupe 0.95 --decontaminate test1.csv,test2.jsonl
  python -m zooter_lite.tag --queries rewards.parquet --out ask.csv --plan NAME --rows 200

The tagger is an LLM (a .toml pool file with one [[expert]]), the nearest queries of a file
that has tags, or clusters named by their most characteristic words; without one, the
file's own tags are used. Files are .csv, .jsonl (also .gz) or .parquet and keep their other
columns. Queries are dropped before they are tagged: repeated, contaminated, nearly repeated.

--plan writes the queries of a reward table that a new expert is to be asked: more of subsets in
which experts differ, at random within each, and any first part of them is a plan too. Fill in
its column 'reward:NAME', and python -m zooter_lite.fit --add ask.csv learns it.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Optional

import numpy as np

from zooter_lite.ask.tagger import ask_tags, read_tagger
from zooter_lite.cli import (
    bar,
    cache_folder,
    cache_option,
    check_out,
    check_range,
    option,
    run,
    separator_option,
)
from zooter_lite.errors import DataError, needs
from zooter_lite.table import as_table
from zooter_lite.table.queries import Queries, read_queries, write_queries
from zooter_lite.table.storage import SUFFIXES, check_cells, write_columns
from zooter_lite.tags.plan import per_tag, plan_rows
from zooter_lite.tags.tagging import derived_tags
from zooter_lite.tags.unwanted import without_unwanted
from zooter_lite.tags.vocabulary import (
    ASSOCIATED_SUPPORT,
    Embed,
    Lists,
    one_vocabulary,
    summary,
    support,
)


@dataclass(frozen=True)
class Options:
    """Options of `python -m zooter_lite.tag`."""

    queries: str = option(help="queries: .csv, .jsonl (also .gz) or .parquet", metavar="FILE")
    out: str = option(help="file to write: the queries with a column 'tags'", metavar="FILE")
    tagger: str = option(
        "",
        help="a pool file of one LLM (.toml), nearest:FILE for the tags of the nearest queries "
        "of FILE, or clusters, or clusters:N; without it, the file's own tags",
        metavar="T",
    )
    column: str = option("query", help="column that holds the query")
    separator: str = separator_option()
    keep: bool = option(False, help="keep the tags of queries that have some; tag the others")
    k: int = option(16, help="nearest queries that are asked for tags (nearest:FILE)")
    top: int = option(4, help="tags that they give a query at most (nearest:FILE)")
    journal: str = option(
        "", help="journal of the LLM's answers (default: OUT.tagging.jsonl)", metavar="FILE"
    )
    max_cost: Optional[float] = option(None, help="stop before the LLM's whole cost can pass this")
    retry_failed: bool = option(False, help="ask the LLM again where an earlier run failed")
    merge: float = option(
        0.87, help="cosine similarity from which two of the LLM's tags are one; 1 merges none"
    )
    min_support: int = option(2, help="drop tags of the LLM that fewer queries carry")
    confidence: float = option(
        0.99,
        help="merge a tag of the LLM into another that stands at this share of its queries, "
        f"{ASSOCIATED_SUPPORT} of them at least; above 1 merges none",
    )
    select: Optional[int] = option(
        None, help="keep so many queries per tag, the fewest that give each tag as many"
    )
    dedupe: Optional[float] = option(
        None,
        help="drop queries repeated further down, and those whose cosine similarity to an "
        "earlier one reaches this; 1 drops exact repeats only",
    )
    decontaminate: str = option(
        "",
        help="drop queries that share a run of words with a query of these files",
        metavar="FILE,FILE",
    )
    ngram: int = option(13, help="words of such a run")
    plan: str = option(
        "", help="name of a new expert: write which training queries to ask it", metavar="NAME"
    )
    rows: int = option(200, help="number of these queries")
    encoder: str = option("all-MiniLM-L6-v2", help="sentence encoder, as in fit", metavar="E")
    seed: int = option(0, help="of clusters, and of the choice among equal queries")
    cache: str = cache_option()


def main(options: Options) -> None:
    """Drop, tag, choose, write, report."""
    _check(options)
    if options.plan:
        _plan(options)
        return
    queries = read_queries(options.queries, options.column, separator=options.separator)
    check_cells(queries.columns, options.out)
    if queries.repeated:
        print(f"{queries.repeated} rows left out: their query_id stands further up")
    embed = _embedder(options)
    tests = [name.strip() for name in options.decontaminate.split(",") if name.strip()]
    others = [text for name in tests for text in read_queries(name, others=()).texts]
    queries, notes = without_unwanted(queries, others, options.ngram, options.dedupe, embed)
    for note in notes:
        print(note)
    lists = queries.tags()
    rows = [row for row, tags in enumerate(lists) if not (options.keep and tags)]
    if options.tagger and options.keep:
        print(f"kept: the tags of {len(lists) - len(rows)} of {len(lists)} queries")
    if options.tagger and rows:
        if options.tagger.endswith(".toml"):
            tagged = _ask(queries, rows, options, embed)
        else:
            texts = [queries.texts[row] for row in rows]
            tagged = derived_tags(
                texts, options.tagger, embed, k=options.k, top=options.top, seed=options.seed
            )
        for row, tags in zip(rows, tagged, strict=True):
            lists[row] = tags
    if options.select is not None:
        chosen = per_tag(lists, options.select, options.seed)
        untagged = sum(not tags for tags in lists)
        print(
            f"chosen: {len(chosen)} of {len(queries)} queries, {options.select} per tag where "
            f"there are as many ({untagged} without tags are not chosen)"
        )
        queries, lists = queries.take(chosen), [lists[place] for place in chosen]
    if not len(queries):
        raise DataError(f"{options.queries}: no query is left to write")
    cells = [{**row, "tags": tags} for row, tags in zip(queries.rows, lists, strict=True)]
    write_queries(replace(queries, rows=cells), options.out, options.column)
    print(f"{options.out}: {summary(lists)}")


def _plan(options: Options) -> None:
    """Write the queries of a reward table that a new expert is to be asked."""
    table = as_table(options.queries, separator=options.separator)
    if options.plan in table.experts:
        raise DataError(f"--plan {options.plan!r}: the table has rewards of this expert already")
    rows = table.rows("train") if table.splits else np.arange(len(table))
    if not len(rows):
        raise DataError(f"{options.queries}: no row has the split 'train', to plan from")
    chosen = table.take(plan_rows(table, rows, options.rows, options.seed))
    columns: dict[str, Any] = {"query_id": chosen.query_ids, "query": chosen.queries}
    columns |= {"subset": chosen.subsets, "tags": chosen.tags or [[]] * len(chosen)}
    write_columns(columns | {f"reward:{options.plan}": [None] * len(chosen)}, options.out)
    print(f"{options.out}: {len(chosen)} of {len(rows)} training queries, in the order to ask")


def _check(options: Options) -> None:
    """Refuse values out of their range before anything is read or paid."""
    check_range("--k", options.k, 1, 10_000)
    check_range("--top", options.top, 1, 1_000)
    check_range("--max-cost", options.max_cost, 1e-12, 1e12)
    check_range("--merge", options.merge, 0, 1)
    check_range("--min-support", options.min_support, 1, 1e9)
    check_range("--confidence", options.confidence, 0.5, 1e9)
    check_range("--select", options.select, 1, 1e9)
    check_range("--dedupe", options.dedupe, 0.5, 1)
    check_range("--rows", options.rows, 1, 1e9)
    check_range("--ngram", options.ngram, 2, 1_000)
    check_range("--seed", options.seed, 0, 2**32 - 1)
    check_out(options.out, SUFFIXES)
    if not re.fullmatch(r"|.*\.toml|nearest:.+|clusters(:0*[1-9][0-9]*)?", options.tagger, re.S):
        raise DataError(
            f"--tagger {options.tagger!r}: expected a .toml file, nearest:FILE, clusters "
            "or clusters:N"
        )


def _ask(queries: Queries, rows: Sequence[int], options: Options, embed: Embed) -> Lists:
    """Tags of the queries at `rows` by the LLM; kept tags count in their vocabulary."""
    tagger = read_tagger(options.tagger)
    path = Path(options.journal or f"{options.out}.tagging.jsonl")
    limits = {"max_cost": options.max_cost, "retry_failed": options.retry_failed}
    with bar(len(rows), "tagging") as shown:
        replies = ask_tags(queries, rows, tagger, path, progress=shown.update, **limits)
    print(f"{path}: {replies.note}")
    lists = queries.tags()
    for row, tags in zip(rows, replies.parsed, strict=True):
        lists[row] = tags or []
    merging = {"merge": options.merge, "confidence": options.confidence}
    tags = one_vocabulary(lists, embed, min_support=options.min_support, **merging)
    print(f"tags: {len(support(lists))} as written, {len(support(tags))} in one vocabulary")
    return [tags[row] for row in rows]


def _embedder(options: Options) -> Embed:
    """Embed texts by the chosen encoder, which is loaded when it is first needed."""

    @cache
    def encoder() -> Any:
        with needs("fit", "embedding queries"):
            from zooter_lite.encode.load import load_encoder
        return load_encoder(options.encoder, cache_folder(options.cache))

    def embed(texts: Sequence[str]) -> Any:
        loaded = encoder()
        with bar(len(set(texts)), "embedding") as shown:
            return loaded.embed(texts, cache_folder(options.cache), shown.update)

    return embed


if __name__ == "__main__":
    sys.exit(run(Options, main, "tag", __doc__ or ""))
