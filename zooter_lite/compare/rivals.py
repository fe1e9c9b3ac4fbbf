"""Other ways to learn routing from the same embeddings and rewards, from scikit-learn.

Every rival takes training embeddings (n, dim), training rewards (n, n_experts; NaN where
not observed), embeddings to score (m, dim) and its one strength, and returns scores
(m, n_experts), higher is better. The strength is chosen on folds of the training rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.labels.soft import harden

Array = NDArray[np.float64]
Fit = Callable[[Array, Array, Array, float], Array]

FOLDS = 3
TUNING_ROWS = 3000  # a strength is chosen on so many training rows at most
PENALTIES = tuple(float(p) for p in np.logspace(-1, 4, 11))  # of ridge, chosen by leave-one-out
SHRINKAGE = 20.0  # pseudo-count, in queries, of a cluster's means
LANDMARKS = 200  # of the Nystroem approximation of the RBF kernel
WIDTH, EPOCHS = 64, 30  # of the MLP


@dataclass(frozen=True)
class Rival:
    """A way to learn routing.

    Attributes
    ----------
    name
        As the tables show it.
    fit
        Learns and scores, with one strength.
    strengths
        Values to choose from; a single one leaves nothing to choose.
    """

    name: str
    fit: Fit
    strengths: Sequence[float]


def tuned_scores(
    rival: Rival,
    embeddings: NDArray[np.floating],
    rewards: NDArray[np.floating],
    evaluated: NDArray[np.floating],
    seed: int = 0,
) -> tuple[Array, float]:
    """Choose the strength on folds of the training rows, fit on all of them, score.

    Parameters
    ----------
    embeddings, rewards
        (n, dim) and (n, n_experts) of the training rows, NaN where not observed.
    evaluated
        (m, dim).
    seed
        Of the folds, and of the rows that take part where there are many.

    Returns
    -------
    (m, n_experts) scores, and the strength.
    """
    inputs, targets = (np.asarray(a, dtype=np.float64) for a in (embeddings, rewards))
    strength = rival.strengths[0]
    if len(rival.strengths) > 1 and len(inputs) >= 2 * FOLDS:
        earned = fold_rewards(rival, inputs, targets, seed)
        strength = max(earned, key=lambda s: earned[s])
    scores = rival.fit(inputs, targets, np.asarray(evaluated, dtype=np.float64), strength)
    return scores, strength


def fold_rewards(rival: Rival, embeddings: Array, rewards: Array, seed: int) -> dict[float, float]:
    """Mean reward of the held-out choices, by strength.

    Where a choice's reward was not observed, the best-scored observed expert stands for it.
    """
    order = np.random.default_rng(seed).permutation(len(embeddings))[:TUNING_ROWS]
    inputs, targets = embeddings[order], rewards[order]
    fold = np.arange(len(order)) % FOLDS
    earned = {}
    for strength in rival.strengths:
        values = []
        for held in range(FOLDS):
            inside, outside = fold != held, fold == held
            scores = rival.fit(inputs[inside], targets[inside], inputs[outside], strength)
            possible = np.where(np.isnan(targets[outside]), -np.inf, scores)
            rows = np.arange(len(possible))
            values.append(targets[outside][rows, possible.argmax(axis=1)])
        earned[strength] = float(np.concatenate(values).mean())
    return earned


def hard_labels(rewards: Array) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """Rows, their best experts, and weights: the classification task of the best expert.

    A row whose observed rewards are all equal says nothing and is left out; other ties
    stand once per expert and share the row's weight of 1.

    Examples
    --------
    >>> hard_labels(np.array([[1.0, 0.0, 1.0], [0.5, 0.5, 0.5], [0.0, 1.0, np.nan]]))
    (array([0, 0, 2]), array([0, 2, 1]), array([0.5, 0.5, 1. ]))
    """
    telling = np.nanmax(rewards, axis=1) > np.nanmin(rewards, axis=1)
    label = np.where(telling[:, None], np.nan_to_num(harden(rewards)), 0.0)
    rows, experts = np.nonzero(label)
    return rows, experts, label[rows, experts]


def _by_class(values: Array, classes: NDArray[np.intp], n_experts: int) -> Array:
    """(m, n_experts) scores from those of the classes that were seen; others come last."""
    scores = np.full((len(values), n_experts), values.min() - 1.0)
    scores[:, classes] = values
    return scores


def _classified(
    make: Callable[[], object], embeddings: Array, rewards: Array, evaluated: Array
) -> Array:
    """Scores of a scikit-learn classifier of the best expert."""
    rows, experts, weights = hard_labels(rewards)
    n_experts = rewards.shape[1]
    if len(np.unique(experts)) < 2:  # nothing to tell apart: everyone gets the mean rewards
        means = np.nan_to_num(observed_mean(rewards), nan=-1.0)
        return np.tile(means, (len(evaluated), 1))
    classifier: object = make()
    classifier.fit(embeddings[rows], experts, sample_weight=weights)  # type: ignore[attr-defined]
    if hasattr(classifier, "predict_proba"):
        values = classifier.predict_proba(evaluated)
    else:
        values = classifier.decision_function(evaluated)  # type: ignore[attr-defined]
        values = np.column_stack([-values, values]) if values.ndim == 1 else values
    return _by_class(values, classifier.classes_, n_experts)  # type: ignore[attr-defined]


def logistic(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """Multinomial logistic regression on hard labels; `strength` is scikit-learn's C."""
    from sklearn.linear_model import LogisticRegression

    return _classified(
        lambda: LogisticRegression(C=strength, max_iter=100, tol=1e-3),
        embeddings.astype(np.float32),
        rewards,
        evaluated,
    )


def mlp(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """One hidden layer on hard labels; `strength` is the L2 penalty alpha."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    epochs = max(EPOCHS, EPOCHS * 2000 // len(embeddings))  # few rows give few steps an epoch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is meant
        return _classified(
            lambda: MLPClassifier((WIDTH,), alpha=strength, max_iter=epochs, random_state=0),
            embeddings,
            rewards,
            evaluated,
        )


def svm(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """Support vector machine with an RBF kernel on hard labels, one against the rest.

    The kernel is approximated by `LANDMARKS` landmarks (Nystroem), which keeps the time
    linear in the rows; `strength` is C.
    """
    from sklearn.kernel_approximation import Nystroem
    from sklearn.svm import LinearSVC

    landmarks = min(LANDMARKS, len(embeddings))
    kernel = Nystroem(gamma=1.0, n_components=landmarks, random_state=0).fit(embeddings)
    return _classified(
        lambda: LinearSVC(C=strength, dual=False), kernel.transform(embeddings), rewards,
        kernel.transform(evaluated),
    )  # fmt: skip


def ridge(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """Per-expert ridge regression of the reward; RidgeCV chooses each penalty itself.

    `strength` multiplies the penalties to choose from; 1 leaves them as they are.
    """
    from sklearn.linear_model import RidgeCV

    means = np.nan_to_num(observed_mean(rewards))
    scores = np.tile(means, (len(evaluated), 1))
    for place, column in enumerate(rewards.T):
        seen = ~np.isnan(column)
        if seen.sum() > 1:
            model = RidgeCV(alphas=[strength * p for p in PENALTIES])
            scores[:, place] = model.fit(embeddings[seen], column[seen]).predict(evaluated)
    return scores


def clusters(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """Mean rewards of a query's k-means cluster, as the Avengers route (arXiv 2505.19797).

    `strength` is the number of clusters. Means are shrunk towards the expert's overall
    mean by `SHRINKAGE` queries, so that small clusters do not rule.
    """
    from sklearn.cluster import KMeans

    k = min(int(strength), len(embeddings))
    found = KMeans(k, n_init=3, random_state=0).fit(embeddings)
    overall = np.nan_to_num(observed_mean(rewards))
    member = np.eye(k)[found.labels_]
    total = member.T @ np.nan_to_num(rewards)
    count = member.T @ (~np.isnan(rewards)).astype(np.float64)
    means = (total + SHRINKAGE * overall) / (count + SHRINKAGE)
    return np.asarray(means[found.predict(np.ascontiguousarray(evaluated))])


RIVALS = (
    Rival("logistic regression", logistic, (0.03, 0.3, 3.0)),
    Rival("MLP", mlp, (0.1, 0.3, 1.0)),
    Rival("ridge per expert", ridge, (1.0,)),
    Rival("SVM (RBF)", svm, (0.01, 0.1, 1.0)),
    Rival("k-means clusters", clusters, (8.0, 16.0, 32.0, 64.0, 128.0)),
)
