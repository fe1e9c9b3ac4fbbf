"""The losses of the published routers against plain loops over their equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from zooter_lite.compare.torch_rivals import (
    BOTTOM,
    OUT_GROUP,
    TOP,
    dual_contrastive,
    factorise,
    sample_llm_loss,
    sample_sample_loss,
)

NAN = float("nan")


def test_the_sample_llm_loss_is_equation_4() -> None:
    random = np.random.default_rng(0)
    similarities = random.normal(size=(6, 5))
    rewards = random.permutation(np.linspace(0.03, 0.97, 30)).reshape(6, 5)
    rewards[0] = [1, 0, 0.6, 0.7, 0.8]  # one negative
    rewards[1] = 1.0  # no negative: nothing to tell apart
    rewards[2] = 0.0  # no positive
    rewards[3, 1] = NAN
    total = 0.0
    for row in range(6):
        seen = [e for e in range(5) if not math.isnan(rewards[row, e])]
        best = sorted(seen, key=lambda e: -rewards[row, e])[:TOP]
        worst = sorted(seen, key=lambda e: rewards[row, e])[:BOTTOM]
        negative = [math.exp(similarities[row, e]) for e in worst if rewards[row, e] <= 0.5]
        for expert in best:
            if rewards[row, expert] > 0:
                own = math.exp(similarities[row, expert])
                total -= math.log(own / (own + sum(negative)))
    random_draws = torch.Generator().manual_seed(0)
    found = sample_llm_loss(torch.as_tensor(similarities), torch.as_tensor(rewards), random_draws)
    assert float(found) == pytest.approx(total / 6)


def test_ties_are_drawn() -> None:
    # one of five is right; the three negatives are drawn anew of the four that are wrong
    rewards = torch.tensor([[1.0, 0, 0, 0, 0]]).repeat(4000, 1)
    similarities = torch.log(torch.tensor([[1.0, 1, 2, 3, 4]])).repeat(4000, 1)
    found = sample_llm_loss(similarities, rewards, torch.Generator().manual_seed(0))
    sums = [1 + 2 + 3, 1 + 2 + 4, 1 + 3 + 4, 2 + 3 + 4]
    assert float(found) == pytest.approx(np.mean([math.log(1 + s) for s in sums]), abs=0.01)


def test_the_sample_sample_loss_where_the_draw_does_not_matter() -> None:
    # within and between the groups all similarities are equal, so any draw gives one value
    groups = torch.tensor([0, 0, 0, 1, 1, 1])
    same = groups[:, None] == groups[None, :]
    similarities = torch.where(same, 0.8, -0.3).double()
    found = sample_sample_loss(similarities, groups, torch.Generator().manual_seed(0))
    own, other = math.exp(0.8), math.exp(-0.3)
    assert float(found) == pytest.approx(-math.log(own / (own + OUT_GROUP * other)))


def test_queries_with_too_few_others_take_no_part() -> None:
    groups = torch.tensor([0, 0, 0, 0, 1, 1])  # group 0 has two others, group 1 four
    similarities = torch.zeros(6, 6)
    similarities[4:, :4] = 1.0
    found = sample_sample_loss(similarities, groups, torch.Generator().manual_seed(0))
    assert float(found) == pytest.approx(-math.log(1 / (1 + OUT_GROUP * math.e)))
    alone = sample_sample_loss(similarities, torch.zeros(6), torch.Generator().manual_seed(0))
    assert float(alone) == 0.0


def test_rewards_in_other_units_are_scaled() -> None:
    random = np.random.default_rng(1)
    embeddings = random.normal(size=(40, 4))
    rewards = random.random((40, 3))
    rewards[0], rewards[1] = 0, 1  # so that the scaling of the first table changes nothing
    for fit, strength in ((factorise, 0.01), (dual_contrastive, 0.1)):
        plain = fit(embeddings, rewards, embeddings, strength)
        scaled = fit(embeddings, 20 * rewards - 7, embeddings, strength)
        np.testing.assert_allclose(plain, scaled, atol=2e-3)


def test_factorised_scores_are_logits_of_the_mean_reward_where_nothing_else_is_known() -> None:
    # queries that say nothing about a reward of 0 or 1: the logit is that of its mean
    random = np.random.default_rng(2)
    embeddings = random.normal(size=(2000, 3))
    rewards = (random.random((2000, 2)) < [0.8, 0.3]).astype(float)
    scores = factorise(embeddings, rewards, np.zeros((1, 3)), 0.01)
    probabilities = 1 / (1 + np.exp(-scores[0]))
    np.testing.assert_allclose(probabilities, rewards.mean(axis=0), atol=0.05)
