"""One setting: tables of tags by hand, and the logits of the head that stands on them."""

from __future__ import annotations

import numpy as np
from zooter_lite.head.settings import Method, Setting

from tests.helpers import units
from zooter_lite.head.prior import fit_setting, prior_table
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.tags.tagging import Tagging, cluster_tags

NAN = float("nan")


def test_prior_table_by_hand() -> None:
    # mean rewards overall (0.75, 0.25); tag a shrinks (1, 0) to (16, 5) / 21
    rewards = np.array([[1.0, 0.0], [0.5, 0.5]])
    table = prior_table(rewards, TagAssignment.from_lists([["a"], ["b"]]), 0.5)
    odds = np.exp([11 / 21 / 0.5, 10 / 21 / 0.5])
    np.testing.assert_allclose(table[:, 0] / table[:, 1], odds)
    np.testing.assert_allclose(table.sum(axis=1), 1.0)


def test_an_expert_observed_alone_on_poor_rewards_does_not_win_the_prior() -> None:
    rewards = np.array([[0.9, 0.8, NAN]] * 30 + [[NAN, NAN, 0.05]] * 30)
    embeddings = np.tile([1.0, 0.0], (60, 1))
    assignment = TagAssignment.from_lists([["t"]] * 60)
    tagging = Tagging("t", assignment, np.array([[1.0, 0.0]]), np.ones((60, 1)), np.ones((60, 1)))
    for beta in (0.0, 1.0):
        setting = Setting(0, 0.1, beta, 0.1)
        head = fit_setting(embeddings, rewards, tagging, setting, Method("prior"))
        assert head.probs(embeddings[:1]).argmax() == 0
        assert head.probs(embeddings[:1])[0, 2] < 0.01


def test_the_prior_heads_logits_are_residual_plus_log_mean_label() -> None:
    embeddings = units(90, 4, 0)
    rewards = embeddings[:, :3] + 0.1 * np.random.default_rng(0).normal(size=(90, 3))
    (tagging,) = cluster_tags(embeddings.astype(np.float32), [(3,)], seed=0)
    head = fit_setting(embeddings, rewards, tagging, Setting(0, 0.3, 0.3, 0.01), Method("prior"))
    table = prior_table(rewards, tagging.assignment, 0.3)
    expected = (
        embeddings @ np.asarray(head.weight).T + head.bias + np.log(tagging.membership @ table)
    )
    np.testing.assert_allclose(head.logits(embeddings), expected, atol=1e-5)
