"""One setting's labels, what tags and domains say of the experts, and the head on top of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zooter_lite.head.distil import Distillation, distil
from zooter_lite.head.domains import Domains, gate_of
from zooter_lite.head.settings import Method, Setting
from zooter_lite.labels.soft import TagAssignment, harden, normalise, shrunk_tag_means, smooth
from zooter_lite.router.head import DomainPrior, Head, TagPrior, prior_logits
from zooter_lite.tags.tagging import Tagging, Tags

Array = NDArray[np.float64]

SHRINKAGE = 20.0  # pseudo-count, in queries, of the tables of tags and domains
RESIDUAL_SHRINKAGE = 50.0  # ... of what the tags add to the domains


def fit_setting(
    embeddings: Array,
    rewards: Array,
    tagging: Tagging | None,
    setting: Setting,
    method: Method,
    start: Head | None = None,
    domains: Domains | None = None,
) -> Head:
    """Fit one head: labels from rewards, smoothed by tag, prior from tags, distilled.

    Parameters
    ----------
    embeddings
        (n_queries, dim) unit vectors.
    rewards
        (n_queries, n_experts), NaN where not observed.
    tagging, domains
        Tags and subsets of exactly these queries, or None.
    """
    smoothed = labels_of(rewards, tagging, setting, method)
    how = Distillation(method.kind, setting.l2, method.direction, method.seed)
    if tagging is None or method.kind != "prior":
        return distil(embeddings, smoothed, how, start=start)
    prior = TagPrior(
        tagging.centroids, prior_table(rewards, tagging.assignment, setting.temperature)
    )
    domain, seen = None, None
    if domains is not None:
        domain = domain_prior(rewards, tagging, domains, setting.temperature)
        seen = domains.membership
    offset = prior_logits(prior, domain, tagging.near, tagging.membership, seen)
    head = distil(embeddings, smoothed, how, offset, start)
    return replace(head, prior=prior, domain=domain)


def labels_of(rewards: Array, tagging: Tags | None, setting: Setting, method: Method) -> Array:
    """(n_queries, n_experts) labels of exactly these queries, smoothed by their tags."""
    labels = harden(rewards) if method.hard_labels else normalise(rewards, setting.temperature)
    return labels if tagging is None else smooth(labels, tagging.assignment, setting.beta)


def domain_prior(
    rewards: Array, tagging: Tagging, domains: Domains, temperature: float
) -> DomainPrior:
    """Mean rewards per domain, and what the tags add to them, as the head's arrays.

    A tag's residual is the mean of reward minus what the domains predict, over its queries,
    shrunk towards that of all queries.
    """
    means = shrunk_tag_means(rewards, domains.assignment, SHRINKAGE)
    rest = rewards - domains.membership @ means
    residual = shrunk_tag_means(rest, tagging.assignment, RESIDUAL_SHRINKAGE)
    return as_prior(domains, means, residual, tagging.near.max(axis=1), temperature)


def as_prior(
    domains: Domains, means: Array, residual: Array, nearness: Array, temperature: float
) -> DomainPrior:
    """Put the domains' mean rewards (n_domains, n_experts) and the tags' residuals in logits.

    `nearness` (n_queries,) is the training queries' largest similarity to a tag.
    """
    return DomainPrior(
        domains.weight,
        domains.bias,
        normalise(means, temperature).clip(1e-6),
        residual / temperature,
        gate_of(nearness),
    )


def prior_table(rewards: Array, assignment: TagAssignment, temperature: float) -> Array:
    """(n_tags, n_experts) label of each tag: softmax of its mean rewards, shrunk by support.

    Of mean rewards and not, as in smoothing, the mean of labels: a label says how an
    expert did beside the others observed on the same query, so labels over different
    experts do not average.
    """
    return normalise(shrunk_tag_means(rewards, assignment, SHRINKAGE), temperature).clip(1e-6)
