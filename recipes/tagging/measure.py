"""Measure tags by nearest tagged queries against real tags; writes recipes/tagging/results.md.

Every way of tagging sees the train queries alone. Beside their score on test stands one
on train itself, by 5-fold cross-validation, so that k and top can be chosen without test.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.encode.cache import default_cache
from zooter_lite.encode.load import load_encoder
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.table import RewardTable, read_table
from zooter_lite.tags.tagging import clusters_of, tags_by_neighbours
from zooter_lite.tags.vocabulary import same_meaning, support

FloatArray = NDArray[np.float32]
Lists = list[list[str]]
Tagger = Callable[[FloatArray, Lists, FloatArray], Lists]  # train vectors, their tags, queries
ROOT = Path(__file__).resolve().parents[2]
NEIGHBOURS, TOPS, CLUSTERS = (1, 4, 8, 16, 32, 64), (2, 3, 4, 5, 6), (16, 32, 64, 128)
FOLDS, RESAMPLES, FREQUENT = 5, 1000, 10
THRESHOLDS = (0.95, 0.9, 0.87, 0.85, 0.8)


@dataclass(frozen=True)
class Score:
    """How the tags found match the real ones, over all pairs of query and tag (micro)."""

    precision: float
    recall: float
    f1: float


def score(real: Lists, found: Lists) -> Score:
    """Micro precision, recall and F1.

    >>> score([["a", "b"], ["c"]], [["a"], ["a", "c"]])
    Score(precision=0.6666666666666666, recall=0.6666666666666666, f1=0.6666666666666666)
    """
    return _score(_counts(real, found).sum(axis=0))


def interval(real: Lists, found: Lists) -> tuple[float, float]:
    """95% bootstrap interval of the micro F1, over queries."""
    counts = _counts(real, found)
    random = np.random.default_rng(0)
    draws = random.integers(len(counts), size=(RESAMPLES, len(counts)))
    values = [_score(counts[rows].sum(axis=0)).f1 for rows in draws]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def macro_f1(real: Lists, found: Lists, tags: Sequence[str]) -> float:
    """Mean F1 of these tags, each told apart over all queries; 0 for one never found."""
    true, said = support(real), support(found)
    both = Counter(t for a, b in zip(real, found, strict=True) for t in set(a) & set(b))
    return float(np.mean([2 * both[tag] / max(1, true[tag] + said[tag]) for tag in tags]))


def _counts(real: Lists, found: Lists) -> NDArray[np.int64]:
    """(n_queries, 3): tags found and real, found, real."""
    rows = [(len(set(a) & set(b)), len(b), len(a)) for a, b in zip(real, found, strict=True)]
    return np.asarray(rows, dtype=np.int64)


def _score(counts: NDArray[np.int64]) -> Score:
    both, found, real = (int(n) for n in counts)
    return Score(both / max(1, found), both / max(1, real), 2 * both / max(1, found + real))


def nearest(k: int, top: int) -> Tagger:
    """Tag by the nearest tagged queries, as `tag --tagger nearest:FILE` does."""
    return lambda vectors, tags, queries: tags_by_neighbours(
        vectors, TagAssignment.from_lists(tags), queries, k, top
    )


def most_frequent(top: int) -> Tagger:
    """Give every query the most frequent tags of train."""

    def found(_: FloatArray, tags: Lists, queries: FloatArray) -> Lists:
        return [_most(tags, top)] * len(queries)

    return found


def of_cluster(n_clusters: int, top: int) -> Tagger:
    """Give a query the most frequent tags of the train queries of its k-means cluster."""

    def found(vectors: FloatArray, tags: Lists, queries: FloatArray) -> Lists:
        clusters = np.asarray(clusters_of(vectors, n_clusters, 0))
        members = [np.flatnonzero(clusters == c) for c in range(n_clusters)]
        centres = np.stack([vectors[rows].mean(axis=0) for rows in members])
        names = [_most([tags[row] for row in rows], top) for rows in members]
        distances = ((queries[:, None, :] - centres[None]) ** 2).sum(axis=2)
        return [names[c] for c in distances.argmin(axis=1)]

    return found


def _most(tags: Lists, top: int) -> list[str]:
    ranked = sorted(support(tags).items(), key=lambda item: (-item[1], item[0]))
    return [name for name, _ in ranked[:top]]


def cross_validated(tagger: Tagger, vectors: FloatArray, tags: Lists) -> Score:
    """Micro scores on the queries themselves, each tagged by the folds that it is not in."""
    found: Lists = [[] for _ in tags]
    folds = np.random.default_rng(0).permutation(len(tags)) % FOLDS
    for fold in range(FOLDS):
        train, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        known = [tags[row] for row in train]
        for row, names in zip(held, tagger(vectors[train], known, vectors[held]), strict=True):
            found[row] = names
    return score(tags, found)


def main(path: str) -> None:
    """Measure every way, print the tables and write them."""
    table = read_table(path)
    encoder = load_encoder("all-MiniLM-L6-v2", default_cache())
    vectors = encoder.embed(table.queries, default_cache())
    train, test = table.rows("train"), table.rows("test")
    text = report(table.take(train), vectors[train], table.take(test), vectors[test])
    tags = sorted(support(table.take(train).tags or []))
    text += merges(table.take(train).tags or [], encoder.embed(tags, default_cache()))
    print(text, end="")
    (ROOT / "recipes/tagging/results.md").write_text(text, "utf-8")


def report(train: RewardTable, vectors: FloatArray, test: RewardTable, queries: FloatArray) -> str:
    """Measure every way of tagging; one Markdown table, with what it was measured on."""
    known, real = train.tags or [], test.tags or []
    frequent = [tag for tag, n in sorted(support(known).items()) if n >= FREQUENT]
    ways: list[tuple[str, str, int, Tagger]] = [
        ("most frequent of train", "", top, most_frequent(top)) for top in TOPS
    ]
    ways += [("of the cluster", str(n), 4, of_cluster(n, 4)) for n in CLUSTERS]
    ways += [("nearest", str(k), top, nearest(k, top)) for k in NEIGHBOURS for top in TOPS]
    lines = [
        f"{len(known)} train queries tag {len(real)} test queries; {len(support(known))} tags in "
        f"train, {len(support(real))} in test, {np.mean([len(t) for t in real]):.1f} per test "
        f"query. Micro: over all pairs of query and tag. Macro: mean over the {len(frequent)} tags "
        f"of at least {FREQUENT} train queries. k: neighbours, or clusters. In brackets: 95% "
        "bootstrap interval over queries.",
        "",
        "| tags | k | top | F1 on train, 5 folds | precision | recall | micro F1 | macro F1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, k, top, tagger in ways:
        inner = cross_validated(tagger, vectors, known)
        found = tagger(vectors, known, queries)
        outer, (low, high) = score(real, found), interval(real, found)
        lines.append(
            f"| {name} | {k} | {top} | {inner.f1:.3f} | {outer.precision:.3f} | {outer.recall:.3f} "
            f"| {outer.f1:.3f} ({low:.3f}-{high:.3f}) | {macro_f1(real, found, frequent):.3f} |"
        )
    return "\n".join(lines) + "\n"


def merges(tags: Lists, vectors: FloatArray) -> str:
    """Count the tags that merging by meaning changes, by threshold."""
    counts = dict(sorted(support(tags).items()))
    lines = ["", f"| `--merge` | of {len(counts)} tags merged | largest group |", "|---|---|---|"]
    for threshold in THRESHOLDS:
        names = same_meaning(counts, vectors, threshold)
        largest = max(Counter(names.values()).values(), default=0) + 1
        lines.append(f"| {threshold} | {len(names)} | {largest} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    started = time.perf_counter()
    main(sys.argv[1])
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
