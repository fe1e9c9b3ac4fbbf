"""Fit a chosen setting to more rows than fit into memory several times over.

Cross-validation chooses on a sample of the rows (train.py). Here the rest is fitted on all
of them, block by block: the labels, what the tags and domains say, and the head. The head's
objective and gradient are summed over the blocks, so L-BFGS takes the steps, and reaches the
optimum, of full batches. Of float64 no more is held than a block of embeddings and a few
arrays (n_queries, n_experts). Centroids of tags and the classifier of domains, which take
rows by the thousand, stay those of the sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from zooter_lite.head.blocks import for_blocks, in_blocks
from zooter_lite.head.distil import (
    Distillation,
    forward,
    kl_divergence,
    minimised,
    penalty,
    start_parameters,
)
from zooter_lite.head.domains import Domains
from zooter_lite.head.prior import RESIDUAL_SHRINKAGE, SHRINKAGE, as_prior, prior_table
from zooter_lite.head.settings import Method, Setting
from zooter_lite.labels.soft import (
    TagAssignment,
    harden,
    label_means,
    label_sums,
    mix,
    normalise,
    shrunk_tag_means,
)
from zooter_lite.router.head import (
    DomainPrior,
    Head,
    TagPrior,
    membership_of,
    prior_logits,
    softmax,
)
from zooter_lite.table.reward_table import RewardTable
from zooter_lite.tags.tagging import Tagging, Tags, tags_of_all

Array = NDArray[np.float64]
FloatArray = NDArray[np.float32]
Passed = Callable[[int], object]


def sample_rows(groups: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Draw whole groups until `most` rows are full; their rows, in order.

    Parameters
    ----------
    groups
        (n_queries,) number of each row's group, 0 and up: rows of equal queries.
    """
    counts = np.bincount(groups)
    drawn = np.zeros(len(counts), dtype=bool)
    room = most
    for group in np.random.default_rng(seed).permutation(len(counts)).tolist():
        if counts[group] <= room:
            drawn[group] = True
            room -= int(counts[group])
        if not room:
            break
    return np.flatnonzero(drawn[groups])


@dataclass(frozen=True)
class Sample:
    """What was learned on a sample of the rows.

    Attributes
    ----------
    rows
        Positions of the sample among all rows, ascending.
    tagging, domains
        Tags and subsets of exactly these rows, or None.
    head
        Fitted on them: where the search for the head of all rows starts.
    """

    rows: NDArray[np.int64]
    tagging: Tagging | None
    domains: Domains | None
    head: Head

    def memberships(self, inputs: Array, rows: slice) -> Array:
        """(n, n_domains) of the embeddings of `rows`; out of fold for rows of the sample."""
        if self.domains is None:
            raise ValueError("the sample has no domains")
        found: Array = np.asarray(softmax(inputs @ self.domains.weight.T + self.domains.bias))
        first, last = np.searchsorted(self.rows, (rows.start, rows.stop))
        found[self.rows[first:last] - rows.start] = self.domains.membership[first:last]
        return found


def fit_large(
    train: RewardTable,
    embeddings: FloatArray,
    sample: Sample,
    setting: Setting,
    method: Method,
    jobs: int = -1,
    passed: Passed = lambda _: None,
) -> tuple[Head, Tags | None]:
    """Fit one head as `fit_setting` does, block by block.

    Parameters
    ----------
    embeddings
        (n_queries, dim) unit vectors, such as an array mapped from disk.
    jobs
        Threads; -1 takes every core.
    passed
        Called with 1 after each pass over the rows.

    Returns
    -------
    The head, and the tags of all rows.
    """
    how = Distillation(method.kind, setting.l2, method.direction, method.seed)
    tags = None
    if sample.tagging is not None:
        tags = tags_of_all(sample.tagging, sample.rows, embeddings, train.tags, jobs)
    labels = labels_in_blocks(train.rewards, tags, setting, method, jobs)
    passed(1)
    if tags is None or method.kind != "prior":
        return distil_in_blocks(embeddings, labels, None, how, sample.head, jobs, passed), tags
    rewards = train.rewards.astype(np.float64)
    prior = TagPrior(tags.centroids, prior_table(rewards, tags.assignment, setting.temperature))
    domain = None
    if sample.domains is not None:
        domain = _domain_prior(
            train.subsets, rewards, embeddings, tags, sample, setting.temperature, jobs
        )
        passed(1)
    del rewards
    offset = np.empty(labels.shape, dtype=np.float32)

    def fill(rows: slice) -> None:
        inputs = embeddings[rows].astype(np.float64)
        near = inputs @ prior.centroids.T
        seen = None if domain is None else sample.memberships(inputs, rows)
        offset[rows] = prior_logits(prior, domain, near, membership_of(near), seen)

    for_blocks(fill, len(labels), jobs)
    passed(1)
    head = distil_in_blocks(embeddings, labels, offset, how, sample.head, jobs, passed)
    return replace(head, prior=prior, domain=domain), tags


def labels_in_blocks(
    rewards: FloatArray, tags: Tags | None, setting: Setting, method: Method, jobs: int = -1
) -> FloatArray:
    """(n_queries, n_experts) labels, smoothed by tag, as float32."""

    def own(rows: slice) -> Array:
        values = rewards[rows].astype(np.float64)
        return harden(values) if method.hard_labels else normalise(values, setting.temperature)

    smoothed = tags is not None and setting.beta < 1
    labels = np.empty(rewards.shape, dtype=np.float32)
    means: Array | None = None
    if tags is not None and smoothed:
        assignment = tags.assignment

        def sums(rows: slice) -> tuple[Array, Array]:
            return label_sums(own(rows), assignment.between(rows.start, rows.stop))

        total = count = np.zeros((tags.n_tags, rewards.shape[1]))
        for one_total, one_count in in_blocks(sums, len(rewards), jobs):
            total, count = total + one_total, count + one_count
        means = label_means(total, count)

    def fill(rows: slice) -> None:
        labels[rows] = own(rows)
        if tags is not None and means is not None:
            within = tags.assignment.between(rows.start, rows.stop)
            labels[rows] = mix(own(rows), within, means, setting.beta)

    for_blocks(fill, len(rewards), jobs)
    return labels


def distil_in_blocks(
    embeddings: FloatArray,
    labels: FloatArray,
    offset: FloatArray | None,
    how: Distillation,
    start: Head | None = None,
    jobs: int = -1,
    passed: Passed = lambda _: None,
) -> Head:
    """Fit a head as `distil` does, with the objective summed over blocks of rows."""
    n_rows, n_experts = labels.shape
    parameters = start_parameters(embeddings.shape[1], n_experts, how, start)

    def share(rows: slice) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        inputs = torch.from_numpy(embeddings[rows].astype(np.float64))
        target = torch.from_numpy(labels[rows].astype(np.float64))
        logits = forward(inputs, parameters)
        if offset is not None:
            logits = logits + torch.from_numpy(offset[rows].astype(np.float64))
        loss = kl_divergence(logits, target, how.direction) * (len(inputs) / n_rows)
        return loss.detach(), torch.autograd.grad(loss, parameters)

    def objective() -> torch.Tensor:
        loss = penalty(parameters, how.l2)
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in parameters:  # the penalty leaves biases alone
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        total = loss.detach()
        for part, gradients in in_blocks(share, n_rows, jobs):
            total = total + part
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if parameter.grad is not None:
                    parameter.grad += gradient
        passed(1)
        return total

    return minimised(parameters, objective)


def _domain_prior(
    subsets: Sequence[str],
    rewards: Array,
    embeddings: FloatArray,
    tags: Tags,
    sample: Sample,
    temperature: float,
    jobs: int,
) -> DomainPrior:
    """Domain prior of all rows; `rewards` are overwritten by what the domains leave."""
    if sample.domains is None:
        raise ValueError("the sample has no domains")
    domains, names = sample.domains, set(sample.domains.assignment.names)
    own = TagAssignment.from_lists([[name] if name in names else [] for name in subsets])
    means = shrunk_tag_means(rewards, own, SHRINKAGE)
    nearness = np.empty(len(rewards))

    def fill(rows: slice) -> None:
        inputs = embeddings[rows].astype(np.float64)
        nearness[rows] = (inputs @ tags.centroids.T).max(axis=1)
        rewards[rows] -= sample.memberships(inputs, rows) @ means

    for_blocks(fill, len(rewards), jobs)
    residual = shrunk_tag_means(rewards, tags.assignment, RESIDUAL_SHRINKAGE)
    return as_prior(domains, means, residual, nearness, temperature)
