"""One setting: tables of tags and domains by hand, and the logits of the head upon them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.helpers import units
from zooter_lite.head.domains import Domains, domains_of_all, learn_domains
from zooter_lite.head.fit_setting import (
    Setting,
    domain_prior,
    fit_setting,
    fit_settings,
    logits_of,
    tag_prior,
)
from zooter_lite.labels import blocks
from zooter_lite.labels.soft import Filled, TagAssignment
from zooter_lite.recipe import Recipe
from zooter_lite.router.head import softmax
from zooter_lite.tags.tagging import Tags, cluster_tags

PRIOR = Recipe()
SETTING = Setting(0, 0.3, 0.3, 0.01, domains=True)


def one_tag(n: int) -> Tags:
    assignment = TagAssignment.from_lists([["t"]] * n)
    return Tags("t", assignment, np.array([[1.0, 0.0]]), np.ones((n, 1)))


def test_the_tag_prior_by_hand() -> None:
    # mean rewards overall (0.75, 0.25); tag a shrinks (1, 0) to (16, 5) / 21
    rewards = np.array([[1.0, 0.0], [0.5, 0.5]])
    tags = Tags("given", TagAssignment.from_lists([["a"], ["b"]]), np.eye(2))
    table = tag_prior(rewards, tags, 0.5).table
    odds = np.exp([11 / 21 / 0.5, 10 / 21 / 0.5])
    np.testing.assert_allclose(table[:, 0] / table[:, 1], odds)
    np.testing.assert_allclose(table.sum(axis=1), 1.0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_domain_prior_by_hand(dtype: type) -> None:
    # two domains of one query each, one tag on both; shrinkage 20 towards the mean (0.5, 0.25)
    rewards: Any = np.array([[1.0, 0.0], [0.0, 0.5]], dtype=dtype)
    domains = Domains(
        TagAssignment.from_lists([["x"], ["y"]]), np.zeros((2, 2)), np.zeros(2), np.eye(2)
    )
    prior = domain_prior(np.eye(2, dtype=dtype), rewards, one_tag(2), domains, 0.5)
    means = np.array([[11.0, 5.0], [10.0, 5.5]]) / 21
    exp = np.exp(means / 0.5)
    np.testing.assert_allclose(prior.table, exp / exp.sum(axis=1, keepdims=True), atol=1e-6)
    # what is left of the rewards has the mean of the tag and of all queries alike
    rest = [(rewards - means).mean(axis=0) / 0.5]
    np.testing.assert_allclose(prior.residual, rest, atol=1e-6)


def test_a_training_query_is_told_by_a_classifier_that_has_not_seen_it() -> None:
    embeddings = units(60, 2, 0)
    rewards: Any = np.column_stack([embeddings[:, 0] > 0, embeddings[:, 0] <= 0]).astype(float)
    told = np.where(rewards > 0, 0.6, 0.4)
    own = TagAssignment.from_lists([["x"] if r[0] else ["y"] for r in rewards])
    domains = Domains(own, np.array([[9.0, 0.0], [-9.0, 0.0]]), np.zeros(2), told)
    (tags,) = cluster_tags(embeddings.astype(np.float32), [(2,)], seed=0)
    weak, strong = fit_settings(
        *(embeddings, Filled(rewards), tags, domains, [replace(SETTING, l2=1e3), SETTING], PRIOR)
    )
    assert np.abs(strong.weight).max() > 10 * np.abs(weak.weight).max()
    assert weak.domain is not None
    membership = softmax(embeddings @ weak.domain.weight.T + weak.domain.bias)
    sure = replace(domains, membership=membership)
    np.testing.assert_allclose(
        logits_of(weak, embeddings, tags, sure), weak.logits(embeddings), atol=1e-5
    )
    doubtful = logits_of(weak, embeddings, tags, domains)
    assert np.ptp(doubtful, axis=1).mean() < np.ptp(weak.logits(embeddings), axis=1).mean()


@pytest.mark.parametrize(("head", "labels"), [("prior", "soft"), ("linear", "hard")])
def test_blocks_of_float32_find_the_optimum_of_all_rows_at_once(
    head: Any, labels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = units(150, 6, 0)
    random = np.random.default_rng(0)
    rewards = embeddings[:, :3] + 0.1 * random.normal(size=(150, 3))
    subsets = [f"s{place}" for place in embeddings[:, 3:].argmax(axis=1)]
    domains = learn_domains(embeddings, subsets, np.arange(150) % 5, jobs=1)
    assert domains is not None
    (tags,) = cluster_tags(embeddings.astype(np.float32), [(3, 5)], seed=0)
    recipe, passes = Recipe(head=head, labels=labels), list[int]()
    expected = fit_setting(embeddings, Filled(rewards), tags, domains, SETTING, recipe)
    monkeypatch.setattr(blocks, "ROWS", 32)
    every = np.arange(150)
    on_disk = (
        blocks.RowsOf(embeddings[::-1].astype(np.float32), every[::-1]),
        Filled(rewards.astype(np.float32)),
        replace(tags, near=None),
        domains_of_all(domains, every, embeddings, subsets),
    )
    one, three = (
        fit_setting(*on_disk, SETTING, recipe, jobs=jobs, passed=passes.append) for jobs in (1, 3)
    )
    assert set(expected.tensors()) == set(one.tensors())
    for name, values in expected.tensors().items():
        np.testing.assert_allclose(one.tensors()[name], values, atol=1e-3, err_msg=name)
        np.testing.assert_array_equal(three.tensors()[name], one.tensors()[name])
    assert set(passes) == {1}
