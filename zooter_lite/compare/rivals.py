"""Other ways to learn routing from the same embeddings and rewards.

Every rival takes training embeddings (n, dim), training rewards (n, n_experts; NaN where
not observed), embeddings to score (m, dim) and its one strength, and returns scores
(m, n_experts), higher is better. The strength is chosen as the router's settings are: on
as many training rows at most, and on as many folds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.labels.soft import harden
from zooter_lite.measure.metrics import Array, IntArray, paired_means, reward_of
from zooter_lite.measure.system import RIDGE, FloatArray
from zooter_lite.table.keys import query_groups
from zooter_lite.table.reward_table import RewardTable

Fit = Callable[[Array, Array, Array, float], Array]

FOLDS, TUNING_ROWS = 5, 20_000  # a fit's own, unless its options say otherwise
PENALTIES = tuple(float(p) for p in np.logspace(-1, 4, 11))  # of ridge, chosen by leave-one-out
SHRINKAGE = 20.0  # pseudo-count, in queries, of a cluster's means
LANDMARKS = 200  # of the Nystroem approximation of the RBF kernel
WIDTH, EPOCHS = 64, 30  # of the MLP
MF_RANK, MF_EPOCHS, MF_STEPS, MF_BATCH = 64, 20, 400, 256  # epochs and steps at least


@dataclass(frozen=True)
class Rival:
    """A way to learn routing; a single strength leaves nothing to choose."""

    name: str
    fit: Fit
    strengths: Sequence[float]


def tuned_scores(
    rival: Rival, train: RewardTable, embeddings: FloatArray, evaluated: FloatArray, seed: int = 0
) -> Array:
    """(m, n_experts) scores of `evaluated` (m, dim) by a rival that is fitted on all rows of train.

    Its strength is the one whose held-out choices earn most on folds of these rows, or of some
    where they are many. Equal queries share a fold; the strengths are compared on the rows
    where each of them chose an observed expert.
    """
    inputs, rewards = embeddings.astype(np.float64), train.rewards.astype(np.float64)
    strength = rival.strengths[0]
    if len(rival.strengths) > 1 and len(inputs) >= 2 * FOLDS:
        rows = np.random.default_rng(seed).permutation(len(inputs))[:TUNING_ROWS]
        groups = query_groups([train.queries[row] for row in rows])
        folds = np.random.default_rng(seed).permutation(np.arange(groups.max() + 1) % FOLDS)[groups]
        earned = np.full((len(rows), len(rival.strengths)), np.nan)
        for held in np.unique(folds):
            inside, outside = rows[folds != held], rows[folds == held]
            for place, one in enumerate(rival.strengths):
                scores = rival.fit(inputs[inside], rewards[inside], inputs[outside], one)
                chosen = scores.argmax(axis=1)
                earned[folds == held, place] = reward_of(chosen, rewards[outside])
        strength = rival.strengths[int(paired_means(earned).argmax())]
    return rival.fit(inputs, rewards, evaluated.astype(np.float64), strength)


def hard_labels(rewards: Array) -> tuple[IntArray, IntArray, Array]:
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


def _classified(classifier: Any, embeddings: Array, rewards: Array, evaluated: Array) -> Array:
    """Scores of a scikit-learn classifier of the best expert; unseen experts come last."""
    rows, experts, weights = hard_labels(rewards)
    if len(np.unique(experts)) < 2:  # nothing to tell apart: everyone gets the mean rewards
        means = np.nan_to_num(observed_mean(rewards), nan=-1.0)
        return np.tile(means, (len(evaluated), 1))
    classifier.fit(embeddings[rows], experts, sample_weight=weights)
    predict = getattr(classifier, "predict_proba", None) or classifier.decision_function
    values = predict(evaluated)
    values = np.column_stack([-values, values]) if values.ndim == 1 else values
    scores = np.full((len(values), rewards.shape[1]), values.min() - 1.0)
    scores[:, classifier.classes_] = values
    return scores


def logistic(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """Multinomial logistic regression on hard labels; `strength` is scikit-learn's C."""
    classifier = LogisticRegression(C=strength, max_iter=100, tol=1e-3)
    return _classified(classifier, embeddings.astype(np.float32), rewards, evaluated)


def mlp(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """One hidden layer on hard labels; `strength` is the L2 penalty alpha."""
    epochs = max(EPOCHS, EPOCHS * 2000 // len(embeddings))  # few rows give few steps an epoch
    classifier = MLPClassifier((WIDTH,), alpha=strength, max_iter=epochs, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is meant
        return _classified(classifier, embeddings, rewards, evaluated)


def svm(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """Support vector machine with an RBF kernel on hard labels, one against the rest.

    The kernel is approximated by `LANDMARKS` landmarks (Nystroem), which keeps the time
    linear in the rows; `strength` is C.
    """
    landmarks = min(LANDMARKS, len(embeddings))
    kernel = Nystroem(gamma=1.0, n_components=landmarks, random_state=0).fit(embeddings)
    inputs, queries = kernel.transform(embeddings), kernel.transform(evaluated)
    return _classified(LinearSVC(C=strength, dual=False), inputs, rewards, queries)


def ridge(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """Per-expert ridge regression of the reward; RidgeCV chooses each penalty itself.

    `strength` multiplies the penalties to choose from; 1 leaves them as they are.
    """
    scores = np.tile(np.nan_to_num(observed_mean(rewards)), (len(evaluated), 1))
    for place, column in enumerate(rewards.T):
        seen = ~np.isnan(column)
        if seen.sum() > 1:
            regression = RidgeCV(alphas=[strength * p for p in PENALTIES])
            scores[:, place] = regression.fit(embeddings[seen], column[seen]).predict(evaluated)
    return scores


def clusters(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """Mean rewards of a query's k-means cluster, as the Avengers route (arXiv 2505.19797).

    `strength` is the number of clusters. Means are shrunk towards the expert's overall
    mean by `SHRINKAGE` queries, so that small clusters do not rule.
    """
    k = min(int(strength), len(embeddings))
    fitted = KMeans(k, n_init=3, random_state=0).fit(embeddings)
    member = np.eye(k)[fitted.labels_]
    total = member.T @ np.nan_to_num(rewards)
    count = member.T @ (~np.isnan(rewards)).astype(np.float64)
    overall = np.nan_to_num(observed_mean(rewards))
    means = (total + SHRINKAGE * overall) / (count + SHRINKAGE)
    return np.asarray(means[fitted.predict(np.ascontiguousarray(evaluated))])


def factorise(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """Matrix factorisation: logit of expert m on query q is v_m . (W q + b) + c_m.

    After RouteLLM (arXiv 2406.18665, section 4.2) and EmbedLLM (arXiv 2410.02223): learnt
    expert embeddings v_m against a projection of the query's embedding, here on the
    observed rewards, scaled to [0, 1] over the table, by binary cross-entropy with Adam.
    `strength` is the decoupled weight decay (AdamW). One thread: sums are equal everywhere.
    """
    low, high = float(np.nanmin(rewards)), float(np.nanmax(rewards))
    target = torch.as_tensor((rewards - low) / (high - low or 1.0), dtype=torch.float32)
    inputs, queries = (torch.as_tensor(v, dtype=torch.float32) for v in (embeddings, evaluated))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(
                nn.Linear(inputs.shape[1], MF_RANK), nn.Linear(MF_RANK, target.shape[1])
            )
            optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=strength)
            size = min(MF_BATCH, len(inputs))
            for _ in range(max(MF_EPOCHS, -(-MF_STEPS * size // len(inputs)))):
                for rows in torch.split(torch.randperm(len(inputs)), size):
                    seen = ~torch.isnan(target[rows])
                    logits = model(inputs[rows])[seen]
                    optimiser.zero_grad()
                    loss = binary_cross_entropy_with_logits(logits, target[rows][seen])
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
        with torch.no_grad():
            return np.asarray(model(queries).numpy(), dtype=np.float64)
    finally:
        torch.set_num_threads(threads)


RIVALS = (
    Rival("logistic regression", logistic, (0.03, 0.3, 3.0)),
    Rival("MLP", mlp, (0.1, 0.3, 1.0)),
    Rival(RIDGE, ridge, (1.0,)),
    Rival("SVM (RBF)", svm, (0.01, 0.1, 1.0)),
    Rival("k-means clusters", clusters, (8.0, 16.0, 32.0, 64.0, 128.0)),
    Rival("matrix factorisation", factorise, (0.1, 1.0, 10.0)),
)
