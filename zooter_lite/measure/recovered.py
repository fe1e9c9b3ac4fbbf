"""How much of the gap between a weak and a strong expert is recovered: APGR and CPT (RouteLLM)."""

from __future__ import annotations

import numpy as np

from zooter_lite.measure.calibration import kept_weights
from zooter_lite.measure.metrics import UNKNOWN, Array, Draws, Estimate, estimate

SHARES = np.linspace(0, 1, 51)  # of calls to the strong expert
THRESHOLDS = (50, 80)  # percent of the gap, for CPT


def recovered_gap(
    scores: Array, rewards: Array, pair: tuple[int, int], draws: Draws
) -> tuple[Estimate, dict[str, Estimate]]:
    """APGR and CPT as RouteLLM defines them (arXiv 2406.18665, section 3.2).

    The queries with the highest score of the strong expert over the weak one go to the strong
    one. The performance gap recovered (PGR) at a share of strong calls is the mean reward
    above the weak expert's, as a part of what the strong one has above it. APGR is its area
    over the shares from 0 to 1 (0.5 at random); CPT(x) the smallest share with PGR x.
    All is NaN where the strong expert is not better on these rows; resamples in which it is
    not count nowhere.

    Parameters
    ----------
    scores
        (n, n_experts), higher is better.
    rewards
        (n, n_experts); rows where either of the pair is NaN count nowhere.
    pair
        The weak expert and the strong one.
    draws
        Resamples of the n rows.
    """
    weak, strong = pair
    known = ~np.isnan(rewards[:, weak] + rewards[:, strong])
    if weak == strong or not known.any():
        return UNKNOWN, {str(percent): UNKNOWN for percent in THRESHOLDS}
    gain = np.where(known, np.nan_to_num(rewards[:, strong]) - np.nan_to_num(rewards[:, weak]), 0)
    lead = scores[:, strong] - scores[:, weak]
    called = np.stack([kept_weights(lead, known, share) for share in SHARES], axis=1)
    columns = np.concatenate([called, called * gain[:, None]], axis=1)
    whole = _areas_and_shares(columns.sum(axis=0)[None])
    resampled = _areas_and_shares(draws.sums(columns).sum(axis=1))
    apgr, *cpt = (
        estimate(float(value[0]), drawn) for value, drawn in zip(whole, resampled, strict=True)
    )
    return apgr, {str(percent): share for percent, share in zip(THRESHOLDS, cpt, strict=True)}


def _areas_and_shares(sums: Array) -> list[Array]:
    """APGR and each CPT of every resample (m,), from sums (m, 2 n_shares) of calls and gains."""
    called, gained = np.split(sums, 2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = called / called[:, -1:]
        recovered = np.where(gained[:, -1:] > 0, gained / gained[:, -1:], np.nan)
    area = ((recovered[:, 1:] + recovered[:, :-1]) / 2 * np.diff(share, axis=1)).sum(axis=1)
    rows = np.arange(len(share))
    figures = [area]
    for percent in THRESHOLDS:
        after = (recovered >= percent / 100).argmax(axis=1)  # above 0: nothing is recovered there
        before = np.maximum(after - 1, 0)
        low, high = recovered[rows, before], recovered[rows, after]
        step = np.divide(percent / 100 - low, high - low, out=np.ones_like(low), where=high > low)
        between = share[rows, before] + step * (share[rows, after] - share[rows, before])
        figures.append(np.where(np.isnan(area), np.nan, between))
    return figures
