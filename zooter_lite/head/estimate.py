"""What to expect of each expert: how likely it is the best, its reward, its cost; and novelty.

A head's logits are reward differences over a temperature. What is missing to a reward is what
a logit is worth, and how easy the prompt is: a ridge regression of the experts' mean reward on
the embedding. Costs are a ridge regression of their logarithm on the embedding and on the
prompt's length, shrunk to the expert's mean as far as it predicts no better out of fold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.head.cross_validation import Selection
from zooter_lite.labels.soft import harden
from zooter_lite.router.estimates import MAX_LOG, CostModel, Estimates
from zooter_lite.tags.tagging import Tags

Array = NDArray[np.floating]

PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)  # of a ridge on unit embeddings
LEAST = 1e-6  # slope of a head whose logits tell nothing
KNOTS = 33  # quantiles of the nearness
NOTHING = 1e-6  # a cost of 0 counts as this share of the table's mean, which has a logarithm


@dataclass(frozen=True)
class Expected:
    """Estimates, and what they say of the training rows out of fold.

    Attributes
    ----------
    rows
        (n_judged,) training rows that were held out by a fold.
    rewards, costs
        (n_judged, n_experts) expected out of fold; costs are None for a table without.
    """

    estimates: Estimates
    rows: NDArray[np.intp]
    rewards: Array
    costs: Array | None


def learn_estimates(
    embeddings: Array,
    selection: Selection,
    tags: Tags | None,
    costs: NDArray[np.floating] | None = None,
    tokens: NDArray[np.integer] | None = None,
) -> Expected:
    """Learn from the out-of-fold logits of the cross-validation.

    Parameters
    ----------
    embeddings
        (n_queries, dim) unit vectors of the training rows.
    selection
        Logits and rewards of the same rows, NaN where a fold is not judged.
    tags
        Of the same rows, where the head has a tag prior; else None.
    costs
        (n_queries, n_experts), NaN where not observed; None without. An expert whose cost
        was never observed leaves the router without costs.
    tokens
        (n_queries,) tokens of each query; None leaves the length out.
    """
    rows = np.flatnonzero(~np.isnan(selection.logits).any(axis=1))
    folds, logits, rewards = selection.folds[rows], selection.logits[rows], selection.rewards[rows]
    centred = logits - logits.mean(axis=1, keepdims=True)
    apart = rewards - rewards.mean(axis=1, keepdims=True)
    total = float((centred**2).sum())
    # not below 0, so that the order of the experts stays that of the logits
    slope = max(float((centred * apart).sum()) / total, LEAST) if total > 0 else LEAST
    inputs = embeddings[rows]
    level, level_bias, easy = _ridge(inputs, rewards.mean(axis=1, keepdims=True), folds)
    expected = easy + slope * centred
    model = out_of_fold = None
    if costs is not None and not np.isnan(costs[rows]).all(axis=0).any():
        lengths = np.ones(len(rows), dtype=np.int64) if tokens is None else tokens[rows]
        model, out_of_fold = _cost_model(inputs, costs[rows].astype(np.float64), lengths, folds)
    estimates = Estimates(
        np.asarray([slope]),
        level[0],
        level_bias,
        model,
        None if tags is None else _nearness(embeddings, selection.folds, tags),
    )
    return Expected(estimates, rows, expected, out_of_fold)


def _ridge(inputs: Array, targets: Array, folds: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """Fit each column with the penalty that leave-one-out chooses, and out of fold with it.

    `targets` are (n, m), NaN where not observed: there a column is fitted on its other rows.
    Returned are weight (m, dim), bias (m,) and what is expected out of fold (n, m).
    """
    if np.isnan(targets).any() and targets.shape[1] > 1:
        each = (_ridge(inputs, column[:, None], folds) for column in targets.T)
        weights, biases, columns = zip(*each, strict=True)
        return np.concatenate(weights), np.concatenate(biases), np.hstack(columns)
    seen = ~np.isnan(targets).any(axis=1)
    penalties = _penalties(inputs[seen], targets[seen])
    out_of_fold = np.empty(targets.shape)
    for fold in np.unique(folds):
        rows = folds == fold
        inside = seen & ~rows if (seen & ~rows).any() else seen
        weight, bias = _penalised(inputs[inside], targets[inside], penalties)
        out_of_fold[rows] = inputs[rows] @ weight.T + bias
    return *_penalised(inputs[seen], targets[seen], penalties), out_of_fold


def _penalties(inputs: Array, targets: Array) -> Array:
    """(m,) of `PENALTIES` that which errs least, by mean square, on each row from the others."""
    apart, aims = inputs - inputs.mean(axis=0), targets - targets.mean(axis=0)
    values, vectors = np.linalg.eigh(apart.T @ apart)
    turned = apart @ vectors
    slopes, squares = turned.T @ aims, turned**2
    errors = []
    for penalty in PENALTIES:
        shrink = 1 / (values + penalty)
        own = 1 / len(apart) + squares @ shrink  # weight of a row in what is expected of itself
        missed = (aims - turned @ (shrink[:, None] * slopes)) / (1 - own[:, None]).clip(1e-12)
        errors.append((missed**2).mean(axis=0))
    return np.asarray([PENALTIES[place] for place in np.argmin(errors, axis=0)])


def _penalised(inputs: Array, targets: Array, penalties: Array) -> tuple[Array, Array]:
    """Weight (m, dim) and bias (m,) of the ridge regression of each column of targets (n, m)."""
    from scipy.linalg import cho_factor, cho_solve

    centre, means = inputs.mean(axis=0), targets.mean(axis=0)
    apart = inputs - centre
    spread, slopes = apart.T @ apart, apart.T @ (targets - means)
    weight = np.empty(slopes.T.shape)
    for penalty in np.unique(penalties):
        own, ridge = penalties == penalty, penalty * np.eye(len(spread))
        weight[own] = cho_solve(cho_factor(spread + ridge), slopes[:, own]).T
    return weight, means - weight @ centre


def _cost_model(
    inputs: Array, costs: Array, tokens: NDArray[np.integer], folds: NDArray[np.int64]
) -> tuple[CostModel, Array]:
    """Fit costs (n, n_experts) by embedding and length; with what is expected out of fold."""
    least = max(NOTHING * float(np.nanmean(costs)), float(np.exp(-MAX_LOG / 2)))
    logs = np.log(np.maximum(costs, least))
    seen = ~np.isnan(logs)
    means = np.nanmean(logs, axis=0)
    lengths = np.log(np.maximum(tokens, 1).astype(np.float64))[:, None]
    weight, bias, expected = _ridge(np.hstack([inputs, lengths]), logs, folds)
    expected, known = expected - means, np.where(seen, logs - means, 0.0)
    weighed = np.where(seen, expected, 0.0)
    power = (weighed**2).sum(axis=0)
    shrink = ((weighed * known).sum(axis=0) / np.where(power > 0, power, 1.0)).clip(0.0, 1.0)
    low, high = np.nanmin(logs, axis=0), np.nanmax(logs, axis=0)
    out_of_fold = np.exp(np.clip(means + shrink * expected, low, high))
    # the exponential of a mean logarithm is less than the mean: the ratio is made up for
    scale = np.nansum(np.where(seen, costs, 0.0), axis=0)
    scale = scale.clip(least) / np.where(seen, out_of_fold, 0.0).sum(axis=0)
    weight, bias = shrink[:, None] * weight, means + shrink * (bias - means)
    shift = np.log(scale)
    model = CostModel(weight[:, :-1], weight[:, -1], bias + shift, low + shift, high + shift)
    return model, out_of_fold * scale


def _nearness(embeddings: Array, folds: NDArray[np.int64], tags: Tags) -> Array:
    """(KNOTS,) quantiles of the largest similarity to a tag whose centroid leaves a fold out."""
    nearest = np.empty(len(embeddings))
    for fold in np.unique(folds):
        rows = folds == fold
        own = tags.centred_on(embeddings, np.flatnonzero(~rows)).near
        if own is not None:
            nearest[rows] = own[rows].max(axis=1)
    quantiles = np.quantile(nearest, np.linspace(0.0, 1.0, KNOTS))
    rising = np.maximum.accumulate(quantiles) + 1e-5 * np.arange(KNOTS)
    return np.asarray(rising)


def calibration_temperature(logits: Array, rewards: Array) -> float:
    """Temperature that makes out-of-fold probabilities of "is the best expert" likeliest.

    Minimises the cross-entropy between softmax(logits / temperature) over the observed
    experts and the best observed expert, ties shared (temperature scaling, Guo et al.
    2017, with soft targets).
    """
    from scipy.optimize import minimize_scalar

    observed = ~np.isnan(rewards)
    target = np.nan_to_num(harden(rewards))
    masked = np.where(observed, logits, -np.inf)

    def loss(log_temperature: float) -> float:
        scaled = masked / np.exp(log_temperature)
        top = scaled.max(axis=1, keepdims=True)
        log_norm = top[:, 0] + np.log(np.exp(scaled - top).sum(axis=1))
        return float((log_norm - (target * np.where(observed, scaled, 0.0)).sum(axis=1)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-7.0, 7.0), method="bounded").x))
