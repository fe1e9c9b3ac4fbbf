"""Measure the tag index against exact search at three sizes; writes recipes/bench/tag_index.md.

The vectors are the embeddings of the queries of the four real tables, every one once
(about 40,000). 1,000 of them, drawn at random, are held out as queries. A set of more
vectors than are left is enlarged: it is not real. Each further vector lies between a
real one and one of its 64 nearest neighbours, x = u a + (1 - u) b with u uniform from
0.5 to 1, plus Gaussian noise of length 0.3 in a random direction, normalised.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from zooter_lite.encode.cache import default_cache
from zooter_lite.encode.load import load_encoder
from zooter_lite.table import read_table
from zooter_lite.tags.index import FLAT_UP_TO, build_index

FloatArray = NDArray[np.float32]
ROOT = Path(__file__).resolve().parents[2]
TABLES = ("routerdc", "mmlu_pro", "llmrouter", "code_tags")
SIZES = (10_000, 100_000, 1_000_000)
COMPARED_UP_TO = 100_000
HELD_OUT, K, TIMED, ROUNDS = 1_000, 16, 50, 3
CHUNK = 50_000
HEAD = """\
| vectors | index | probes | recall@16 | ms per query | times flat | vectors compared \
| MiB on disk | build s |
|---|---|---|---|---|---|---|---|---|"""
NOTE = """\
Of the vectors, {real:,} are embeddings of real queries; a larger set is enlarged from them and \
is not real (recipes/bench/tag_index.py says how). Queries: {held_out:,} real ones that are in \
no set; recall against exact search, equally near neighbours counted as one. Times: one query at \
a time, one thread, median over {timed} queries of the best of {rounds} interleaved rounds. \
**Bold**: what a fit chooses; the others were built to compare. HNSW32 (efSearch 64) is not \
among the candidates: its links would have to be checked one by one before faiss may follow them, \
and it stores every vector whole."""


def main(data: str) -> None:
    """Measure every size, print the table and write it."""
    faiss.omp_set_num_threads(1)
    real = _real_embeddings(data)
    order = np.random.default_rng(0).permutation(len(real))
    queries, base = real[order[:HELD_OUT]], real[order[HELD_OUT:]]
    lines = [HEAD]
    print(HEAD)
    for size in SIZES:
        vectors = base[:size] if size <= len(base) else _enlarged(base, size)
        for line in _measure(vectors, queries):
            lines.append(line)
            print(line)
            sys.stdout.flush()
    note = NOTE.format(real=len(base), held_out=HELD_OUT, timed=TIMED, rounds=ROUNDS)
    lines += ["", note]
    (ROOT / "recipes/bench/tag_index.md").write_text("\n".join(lines) + "\n", "utf-8")


def _real_embeddings(data: str) -> FloatArray:
    texts: dict[str, None] = {}
    for table in TABLES:
        texts |= dict.fromkeys(read_table(f"{data}/{table}.parquet").queries)
    encoder = load_encoder("all-MiniLM-L6-v2", default_cache())
    return encoder.embed(list(texts), default_cache())


def _enlarged(base: FloatArray, size: int) -> FloatArray:
    """Return `size` unit vectors: all of `base`, then mixtures of near pairs with noise."""
    random = np.random.default_rng(1)
    _, near = faiss.knn(base, base, 65, metric=faiss.METRIC_INNER_PRODUCT)
    dim = base.shape[1]
    result = np.empty((size, dim), dtype=np.float32)
    result[: len(base)] = base
    for start in range(len(base), size, CHUNK):
        count = min(CHUNK, size - start)
        first = random.integers(len(base), size=count)
        second = near[first, random.integers(1, 65, size=count)]
        share = random.uniform(0.5, 1.0, size=(count, 1)).astype(np.float32)
        noise = random.standard_normal((count, dim), dtype=np.float32) * np.float32(0.3 / dim**0.5)
        mixed = share * base[first] + (1 - share) * base[second] + noise
        result[start : start + count] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return result


def _measure(vectors: FloatArray, queries: FloatArray) -> Iterator[str]:
    """One line for exact search, one for an inverted file and, for comparison, one for HNSW."""
    started = time.perf_counter()
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    seconds = time.perf_counter() - started
    bench = _Bench(vectors, queries, flat, flat.search(queries, K)[0][:, -1])
    decided = len(vectors) <= FLAT_UP_TO
    yield bench.line(flat, "Flat", "", 1.0, seconds, chosen=decided)
    started = time.perf_counter()
    index, choice = build_index(vectors, 0)
    seconds = time.perf_counter() - started
    probes = str(choice.probes)
    yield bench.line(index, choice.kind, probes, choice.scanned, seconds, chosen=not decided)
    if len(vectors) <= COMPARED_UP_TO:
        started = time.perf_counter()
        graph: Any = faiss.index_factory(vectors.shape[1], "HNSW32", faiss.METRIC_INNER_PRODUCT)
        graph.add(vectors)
        graph.hnsw.efSearch = 64
        yield bench.line(graph, "HNSW32", "", None, time.perf_counter() - started, chosen=False)


@dataclass(frozen=True)
class _Bench:
    """What an index is measured with: its vectors, queries and their exact neighbours."""

    vectors: FloatArray
    queries: FloatArray
    flat: Any
    limits: FloatArray

    def line(
        self,
        index: Any,
        kind: str,
        probes: str,
        scanned: float | None,
        seconds: float,
        *,
        chosen: bool,
    ) -> str:
        """One row of the table."""
        _, found = index.search(self.queries, K)
        exact = np.einsum("qd,qkd->qk", self.queries, self.vectors[found])
        recall = (exact >= self.limits[:, None] - 1e-6).mean()
        times = [(_ms(index, self.queries), _ms(self.flat, self.queries)) for _ in range(ROUNDS)]
        own, flat = (min(column) for column in zip(*times, strict=True))
        cells = (
            f"{len(self.vectors):,}",
            f"**{kind}**" if chosen else kind,
            probes,
            f"{recall:.4f}",
            f"{own:.2f}",
            "1" if kind == "Flat" else f"{own / flat:.3f}",
            "" if scanned is None else f"{scanned:.1%}",
            f"{faiss.serialize_index(index).size / 2**20:.0f}",
            f"{seconds:.1f}",
        )
        return "| " + " | ".join(cells) + " |"


def _ms(index: Any, queries: FloatArray) -> float:
    """Median milliseconds of a search, one query at a time."""
    times = []
    for query in queries[:TIMED]:
        started = time.perf_counter()
        index.search(query[None], K)
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    main(sys.argv[1])
