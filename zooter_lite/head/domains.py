"""Which subset a query seems to come from: a classifier, learned without looking at rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.blocks import for_blocks
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.router.head import softmax

Array = NDArray[np.float64]

MIN_ROWS = 20  # training queries of a subset; a smaller one is no domain
INVERSE_L2 = 10.0  # scikit-learn's C


@dataclass(frozen=True)
class Domains:
    """The subsets of the training queries, and who tells them apart.

    Attributes
    ----------
    assignment
        Which training query belongs to which domain; those of small subsets to none.
    weight, bias
        (n_domains, dim) and (n_domains,) of the classifier fitted on all training queries.
    membership
        (n_queries, n_domains) probabilities of the same queries, each from a classifier that
        was fitted without the query's fold.
    """

    assignment: TagAssignment
    weight: Array
    bias: Array
    membership: NDArray[np.floating]

    def take(self, rows: NDArray[np.int64]) -> Domains:
        """Return the domains of these queries; the classifier stays."""
        return Domains(self.assignment.take(rows), self.weight, self.bias, self.membership[rows])


def learn_domains(
    embeddings: NDArray[np.floating],
    subsets: Sequence[str],
    folds: NDArray[np.int64],
    jobs: int = -1,
) -> Domains | None:
    """Learn to tell the subsets apart by multinomial logistic regression.

    `embeddings` are (n_queries, dim) unit vectors, `folds` (n_queries,) numbers. None is
    returned where fewer than two subsets have `MIN_ROWS` queries.
    """
    from joblib import Parallel, delayed

    names, places, counts = np.unique(
        np.asarray(subsets, dtype=object), return_inverse=True, return_counts=True
    )
    kept = counts >= MIN_ROWS
    if kept.sum() < 2:
        return None
    lists = [[str(names[place])] if kept[place] else [] for place in places]
    assignment = TagAssignment.from_lists(lists)
    label = np.full(len(places), -1, dtype=np.int64)
    label[assignment.rows] = assignment.tags
    inputs = np.asarray(embeddings, dtype=np.float64)

    def fitted(fold: int) -> tuple[Array, Array]:
        rows = np.flatnonzero((label >= 0) & (folds != fold))
        return _classifier(inputs[rows], label[rows], int(kept.sum()))

    numbers = [-1, *np.unique(folds).tolist()]  # -1 is no fold: fitted on all
    fits = Parallel(n_jobs=jobs, prefer="threads")(delayed(fitted)(n) for n in numbers)
    membership = np.empty((len(inputs), int(kept.sum())))
    for fold, (weight, bias) in zip(numbers[1:], fits[1:], strict=True):
        rows = np.flatnonzero(folds == fold)
        membership[rows] = softmax(inputs[rows] @ weight.T + bias)
    weight, bias = fits[0]
    return Domains(assignment, weight, bias, membership)


def domains_of_all(
    domains: Domains,
    sample: NDArray[np.int64],
    embeddings: NDArray[np.floating],
    subsets: Sequence[str],
    jobs: int = -1,
) -> Domains:
    """Extend the domains of a sample (its rows among all) to all rows; the classifier stays.

    The sample's memberships stay out of fold; the classifier has not seen the other rows.
    `embeddings` (n_queries, dim) are read block by block.
    """
    names = domains.assignment.names
    membership = np.empty((len(embeddings), len(names)), dtype=np.float32)

    def fill(rows: slice) -> None:
        inputs = embeddings[rows].astype(np.float64)
        membership[rows] = softmax(inputs @ domains.weight.T + domains.bias)

    for_blocks(fill, len(embeddings), jobs)
    membership[sample] = domains.membership
    known = set(names)
    assignment = TagAssignment.from_lists([[s] if s in known else [] for s in subsets])
    return Domains(assignment, domains.weight, domains.bias, membership)


def _classifier(inputs: Array, label: NDArray[np.int64], n_domains: int) -> tuple[Array, Array]:
    """Weight (n_domains, dim) and bias; a domain without a row here is never chosen."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        model: Any = LogisticRegression(C=INVERSE_L2, max_iter=300).fit(inputs, label)
    weight, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps the second alone
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    full = np.zeros((n_domains, inputs.shape[1]))
    shift = np.full(n_domains, -1e4)
    full[model.classes_], shift[model.classes_] = weight, bias
    return full, shift
