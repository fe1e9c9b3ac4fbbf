"""Fit the head of one setting: rewards become labels, tags and domains priors, and both a head.

One path serves a fold of a small table and a table of millions of rows on disk. What is kept
of every row (labels, logits of the priors) has the type of the embeddings, and the rest is
computed for a block of rows at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.head.distil import Problem, distil
from zooter_lite.head.domains import Domains
from zooter_lite.labels.blocks import Matrix, for_blocks
from zooter_lite.labels.soft import Filled, normalise, shrunk_tag_means, soft_labels
from zooter_lite.recipe import Recipe
from zooter_lite.router.head import DomainPrior, Head, TagPrior, membership_of, prior_logits
from zooter_lite.tags.tagging import Tags

Array = NDArray[np.floating]

SHRINKAGE = 20.0  # pseudo-count, in queries, of the tables of tags and domains
RESIDUAL_SHRINKAGE = 50.0  # ... of what the tags add to the domains
DOUBTED = (0.1, 0.2, 0.3)  # quantiles of training nearness where trust is 0.1, 0.5 and 0.9


@dataclass(frozen=True)
class Setting:
    """What cross-validation chooses.

    Attributes
    ----------
    tagging
        Position among the candidates' taggings, or None.
    temperature, beta, l2
        Label temperature (reward units), sample share of the label, L2 weight.
    domains
        Whether the head tells the table's subsets apart.
    """

    tagging: int | None
    temperature: float
    beta: float
    l2: float
    domains: bool = False


def fit_settings(
    embeddings: Matrix,
    filled: Filled,
    tags: Tags | None,
    domains: Domains | None,
    settings: Sequence[Setting],
    recipe: Recipe,
    *,
    jobs: int = 1,
    **options: Any,
) -> list[Head]:
    """Fit the head of each setting over the same tags, all in the same passes over the rows.

    Parameters
    ----------
    embeddings, filled
        (n_queries, dim) unit vectors, and rewards (n_queries, n_experts).
    tags, domains
        Of exactly these queries, or None; domains are for the settings that have them.
    jobs, options
        As for `distil`.
    """
    labels: dict[tuple[float, float], Any] = {}
    priors: dict[tuple[float, bool], Any] = {}
    problems, places = [], []
    for setting in settings:
        temperature, key = setting.temperature, (setting.temperature, setting.beta)
        if key not in labels:
            labels[key] = soft_labels(
                filled,
                None if tags is None else tags.assignment,
                *key,
                hard=recipe.labels == "hard",
                dtype=embeddings.dtype,
                jobs=jobs,
            )
        place = (temperature, setting.domains)
        if place not in priors:
            priors[place] = None, None, None
            if tags is not None and recipe.head == "prior":
                own = domains if setting.domains else None
                priors[place] = _priors(embeddings, filled.rewards, tags, own, temperature, jobs)
        problems.append(Problem(labels[key], setting.l2, priors[place][2]))
        places.append(place)
    heads = distil(embeddings, problems, recipe, jobs=jobs, **options)
    pairs = zip(heads, places, strict=True)
    return [replace(head, prior=priors[at][0], domain=priors[at][1]) for head, at in pairs]


def fit_setting(
    embeddings: Matrix,
    filled: Filled,
    tags: Tags | None,
    domains: Domains | None,
    setting: Setting,
    recipe: Recipe,
    **options: Any,
) -> Head:
    """Fit one head, as `fit_settings` does, with its options."""
    return fit_settings(embeddings, filled, tags, domains, [setting], recipe, **options)[0]


def logits_of(head: Head, embeddings: Array, tags: Tags | None, domains: Domains | None) -> Array:
    """(n_queries, n_experts) uncalibrated logits of training queries.

    Other than by `head.logits`, a query's domain is told by a classifier that has not seen it.
    Tags and domains are of exactly these queries; None where the head was fitted without.
    """
    logits = replace(head, prior=None, domain=None).logits(embeddings)
    if head.prior is not None and tags is not None:
        own = domains if head.domain is not None else None
        logits = logits + offset_of(head.prior, head.domain, embeddings, tags, own)
    return np.asarray(logits)


def tag_prior(rewards: Array, tags: Tags, temperature: float) -> TagPrior:
    """Label of each tag: softmax of its mean rewards (of all experts), shrunk by support."""
    means = shrunk_tag_means(rewards, tags.assignment, SHRINKAGE)
    return TagPrior(tags.centroids, _as_labels(means, temperature))


def domain_prior(
    embeddings: Matrix,
    rewards: Array,
    tags: Tags,
    domains: Domains,
    temperature: float,
    jobs: int = 1,
) -> DomainPrior:
    """Mean rewards per domain, and what the tags add to them, as the head's arrays.

    A tag's residual is the mean of reward minus what the domains predict, over its queries,
    shrunk towards that of all queries. Tags and domains are of exactly these queries.
    """
    means = shrunk_tag_means(rewards, domains.assignment, SHRINKAGE)
    nearness = np.empty(len(rewards))
    rest = np.empty(rewards.shape, dtype=embeddings.dtype)

    def fill(rows: slice) -> None:
        nearness[rows] = tags.nearness(embeddings, rows).max(axis=1)
        rest[rows] = rewards[rows] - domains.membership[rows] @ means

    for_blocks(fill, len(rewards), jobs)
    residual = shrunk_tag_means(rest, tags.assignment, RESIDUAL_SHRINKAGE)
    return DomainPrior(
        domains.weight,
        domains.bias,
        _as_labels(means, temperature),
        residual / temperature,
        _gate(nearness),
    )


def offset_of(
    prior: TagPrior,
    domain: DomainPrior | None,
    embeddings: Matrix,
    tags: Tags,
    domains: Domains | None,
    jobs: int = 1,
) -> Array:
    """(n_queries, n_experts) logits of the priors for the queries of `tags` and `domains`.

    In the type of the embeddings, as all that is kept of every query: float64 where there are
    few, float32 where there are many.
    """
    offset = np.empty((len(embeddings), prior.table.shape[1]), dtype=embeddings.dtype)

    def fill(rows: slice) -> None:
        near = tags.nearness(embeddings, rows)
        seen = None if domains is None else domains.membership[rows]
        offset[rows] = prior_logits(prior, domain, near, membership_of(near), seen)

    for_blocks(fill, len(offset), jobs)
    return offset


def _priors(
    embeddings: Matrix,
    rewards: Array,
    tags: Tags,
    domains: Domains | None,
    temperature: float,
    jobs: int,
) -> tuple[TagPrior, DomainPrior | None, Array]:
    """Prior of the tags, of the domains where there are any, and the logits of both."""
    prior, domain = tag_prior(rewards, tags, temperature), None
    if domains is not None:
        domain = domain_prior(embeddings, rewards, tags, domains, temperature, jobs)
    return prior, domain, offset_of(prior, domain, embeddings, tags, domains, jobs)


def _gate(nearness: Array) -> Array:
    """(2,) slope and threshold of the trust, from the nearness (n,) of the training queries.

    Most queries like those of the training are sent by their domain, and those far from all
    of them by their tags.
    """
    low, middle, high = np.quantile(nearness, DOUBTED)
    slope = 2 * np.log(9.0) / max(float(high - low), 1e-3)
    return np.asarray([slope, middle])


def _as_labels(means: Array, temperature: float) -> Array:
    """(n_groups, n_experts) softmax of mean rewards, far enough from 0 for a logarithm."""
    return normalise(means, temperature).clip(1e-6)
