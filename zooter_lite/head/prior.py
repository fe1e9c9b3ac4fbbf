"""What tags and domains say of the experts: tables of mean rewards, and the logits they give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zooter_lite.head.domains import Domains
from zooter_lite.labels.blocks import Matrix, for_blocks
from zooter_lite.labels.soft import normalise, shrunk_tag_means
from zooter_lite.router.head import DomainPrior, TagPrior, membership_of, prior_logits
from zooter_lite.tags.tagging import Tags

Array = NDArray[np.floating]

SHRINKAGE = 20.0  # pseudo-count, in queries, of the tables of tags and domains
RESIDUAL_SHRINKAGE = 50.0  # ... of what the tags add to the domains
DOUBTED = (0.1, 0.2, 0.3)  # quantiles of training nearness where trust is 0.1, 0.5 and 0.9


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
    shrunk towards that of all queries.

    Parameters
    ----------
    embeddings, rewards
        (n_queries, dim) and (n_queries, n_experts), none missing.
    tags, domains
        Of exactly these queries.
    temperature
        Of the labels, in reward units.
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
