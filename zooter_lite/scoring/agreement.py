"""How far two scorers agree on the same responses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Agreement of two scorers; NaN where nothing varies.

    Attributes
    ----------
    responses
        Responses that both scored.
    queries, kendall
        Queries with two such responses or more on which both scorers tell experts apart,
        and the mean over them of the rank correlation (Kendall's tau-b) within the query.
    same_best
        Over queries with two such responses or more: how often both pick the same expert,
        where each picks among its best ones at random.
    """

    responses: int
    queries: int
    kendall: float
    same_best: float

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.responses} responses, Kendall {self.kendall:.3f} within queries "
            f"({self.queries} where both tell experts apart), same best expert {self.same_best:.1%}"
        )


def agreement(first: FloatArray, second: FloatArray) -> Agreement:
    """Compare two scorers' (n_queries, n_experts) scores, NaN where there is none."""
    both = ~np.isnan(first) & ~np.isnan(second)
    # tau-b is the correlation of the signs of all differences
    left, right = _signs(first, both), _signs(second, both)
    norms = np.sqrt((left**2).sum(axis=(1, 2)) * (right**2).sum(axis=(1, 2)))
    apart = norms > 0
    kendalls = (left * right).sum(axis=(1, 2))[apart] / norms[apart]
    return Agreement(
        responses=int(both.sum()),
        queries=int(apart.sum()),
        kendall=float(kendalls.mean()) if len(kendalls) else float("nan"),
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
