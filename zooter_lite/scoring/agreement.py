"""How far two scorers agree on the same responses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import MissingPackageError
from zooter_lite.labels.diagnostics import reward_entropy

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Agreement of two scorers; NaN where nothing varies.

    Attributes
    ----------
    responses
        Responses that both scored.
    spearman, kendall
        Rank correlations (Kendall's tau-b) over all of these.
    queries, query_spearman, query_kendall
        Queries with two such responses or more on which both scorers tell experts apart,
        and the mean over them of the correlations within the query.
    same_best
        Over queries with two such responses or more: how often both pick the same expert,
        where each picks among its best ones at random.
    """

    responses: int
    spearman: float
    kendall: float
    queries: int
    query_spearman: float
    query_kendall: float
    same_best: float

    def summary(self) -> str:
        """One line for people."""
        return (
            f"Spearman {self.spearman:.3f}, Kendall {self.kendall:.3f} over {self.responses} "
            f"responses; within queries {self.query_spearman:.3f}, {self.query_kendall:.3f} "
            f"({self.queries} queries where both tell experts apart); same best expert "
            f"{self.same_best:.1%}"
        )


def agreement(first: FloatArray, second: FloatArray) -> Agreement:
    """Compare two scorers' (n_queries, n_experts) scores, NaN where there is none.

    Raises
    ------
    MissingPackageError
        scipy is missing.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingPackageError("scikit-learn", "fit", "an agreement report") from error
    both = ~np.isnan(first) & ~np.isnan(second)
    a, b = first[both], second[both]
    varied = len(a) > 1 and len(set(a.tolist())) > 1 and len(set(b.tolist())) > 1
    left, right = _signs(first, both), _signs(second, both)
    kendalls = _correlation(
        left.reshape(len(left), -1), right.reshape(len(right), -1)
    )  # tau-b is the correlation of the signs of all differences
    spearmans = _correlation(left.sum(axis=2), right.sum(axis=2))  # twice the centred rank
    apart = ~np.isnan(kendalls)
    return Agreement(
        responses=int(both.sum()),
        spearman=float(stats.spearmanr(a, b).statistic) if varied else float("nan"),
        kendall=float(stats.kendalltau(a, b).statistic) if varied else float("nan"),
        queries=int(apart.sum()),
        query_spearman=_mean(spearmans[apart]),
        query_kendall=_mean(kendalls[apart]),
        same_best=_same_best(first, second, both),
    )


def ties(scores: FloatArray) -> float:
    """Share of the pairs of responses to one query that (n_queries, n_experts) scores equal."""
    seen = ~np.isnan(scores)
    pairs = seen.sum(axis=1) * (seen.sum(axis=1) - 1)
    differ = np.abs(_signs(scores, seen)).sum()
    return 1.0 - float(differ / pairs.sum()) if pairs.sum() else float("nan")


def entropy_share(scores: FloatArray) -> float:
    """Mean entropy of each query's softmax, as a share of that of equal scores.

    Over queries with two scores or more; 1 where the scores tell no experts apart.
    """
    count = (~np.isnan(scores)).sum(axis=1)
    several = count > 1
    shares = reward_entropy(scores[several]) / np.log(count[several])
    return _mean(np.asarray(shares, np.float64))


def _signs(scores: FloatArray, seen: NDArray[np.bool_]) -> FloatArray:
    """(n_queries, n_experts, n_experts) sign of the difference of two experts, 0 if unseen."""
    values = np.where(seen, scores, np.nan)
    signs = np.sign(values[:, :, None] - values[:, None, :])
    return np.asarray(np.nan_to_num(signs), np.float64)


def _correlation(left: FloatArray, right: FloatArray) -> FloatArray:
    """Cosine of each pair of rows, which here have mean 0; NaN where one is all zero."""
    norms = np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
    products = (left * right).sum(axis=1)
    return np.asarray(np.where(norms > 0, products / np.where(norms > 0, norms, 1), np.nan))


def _same_best(first: FloatArray, second: FloatArray, both: NDArray[np.bool_]) -> float:
    rows = both.sum(axis=1) > 1
    if not rows.any():
        return float("nan")
    picks = []
    for scores in (first, second):
        values = np.where(both, scores, -np.inf)[rows]
        best = values == values.max(axis=1, keepdims=True)
        picks.append(best / best.sum(axis=1, keepdims=True))
    return float((picks[0] * picks[1]).sum(axis=1).mean())


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")
