"""How far two scorers agree on the same responses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import MissingPackageError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Agreement of two scorers; NaN where nothing varies.

    Attributes
    ----------
    responses
        Responses that both scored.
    kendall
        Rank correlation (Kendall's tau-b) over all of these.
    queries, query_kendall
        Queries with two such responses or more on which both scorers tell experts apart,
        and the mean over them of the correlation within the query.
    same_best
        Over queries with two such responses or more: how often both pick the same expert,
        where each picks among its best ones at random.
    """

    responses: int
    kendall: float
    queries: int
    query_kendall: float
    same_best: float

    def summary(self) -> str:
        """One line for people."""
        return (
            f"Kendall {self.kendall:.3f} over {self.responses} responses; within queries "
            f"{self.query_kendall:.3f} ({self.queries} queries where both tell experts apart); "
            f"same best expert {self.same_best:.1%}"
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
    # tau-b is the correlation of the signs of all differences
    left, right = _signs(first, both), _signs(second, both)
    norms = np.sqrt((left**2).sum(axis=(1, 2)) * (right**2).sum(axis=(1, 2)))
    apart = norms > 0
    kendalls = (left * right).sum(axis=(1, 2))[apart] / norms[apart]
    return Agreement(
        responses=int(both.sum()),
        kendall=float(stats.kendalltau(first[both], second[both]).statistic),
        queries=int(apart.sum()),
        query_kendall=float(kendalls.mean()) if len(kendalls) else float("nan"),
        same_best=_same_best(first, second, both),
    )


def ties(scores: FloatArray) -> float:
    """Share of the pairs of responses to one query that (n_queries, n_experts) scores equal."""
    seen = ~np.isnan(scores)
    pairs = seen.sum(axis=1) * (seen.sum(axis=1) - 1)
    differ = np.abs(_signs(scores, seen)).sum()
    return 1.0 - float(differ / pairs.sum()) if pairs.sum() else float("nan")


def _signs(scores: FloatArray, seen: NDArray[np.bool_]) -> FloatArray:
    """(n_queries, n_experts, n_experts) sign of the difference of two experts, 0 if unseen."""
    values = np.where(seen, scores, np.nan)
    signs = np.sign(values[:, :, None] - values[:, None, :])
    return np.asarray(np.nan_to_num(signs), np.float64)


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
