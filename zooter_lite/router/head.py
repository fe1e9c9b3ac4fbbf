"""The head: from a unit embedding to a distribution over experts, in numpy.

The same arithmetic stands in `router.onnx`; `onnx/router_graph.py` builds it from these arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zooter_lite.router.decision import Predictions
from zooter_lite.router.estimates import Estimates, as_written, check_arrays

Array = NDArray[np.floating]

SHARPNESS = 20.0  # membership is softmax(SHARPNESS * cosine similarity to the centroids)
DOMAIN = ("domain.weight", "domain.bias", "domain.table", "domain.residual", "domain.gate")


@dataclass(frozen=True)
class TagPrior:
    """What a query's place among the tags says about the experts."""

    centroids: Array  # (n_tags, dim) unit vectors
    table: Array  # (n_tags, n_experts) mean label of each tag, shrunk by support; rows sum to 1


@dataclass(frozen=True)
class DomainPrior:
    """What the subset that a query seems to come from says about the experts.

    A classifier of subsets, learned from the table's column `subset`. It is believed as far
    as the query is near the training queries: one that is far from every tag belongs to no
    subset that is known, whatever the classifier says.
    """

    weight: Array  # (n_domains, dim) of the classifier, a multinomial logistic regression
    bias: Array  # (n_domains,)
    table: Array  # (n_domains, n_experts) mean label of each, shrunk by support; rows sum to 1
    residual: Array  # (n_tags, n_experts) logits that a query's tags add to those of its domain
    gate: Array  # (2,) slope and threshold, on the largest cosine similarity to a tag

    def blended(self, nearest: Array, by_tags: Array, residual: Array, label: Array) -> Array:
        """(n, n_experts) logits of tags and domain, by the largest similarity to a tag (n, 1).

        `by_tags` are the tags' logits, `residual` and `label` the means of the rows of `residual`
        and `table` by membership; each (n, n_experts).
        """
        slope, threshold = self.gate.tolist()
        distrust = 1 + np.exp(slope * (threshold - nearest))  # one over the trust
        return np.asarray(by_tags + (np.log(label) + residual - by_tags) / distrust)


@dataclass(frozen=True)
class Hidden:
    """One rectified hidden layer, for the MLP head: weight (width, dim), bias (width,)."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Head:
    """Softmax head over experts.

    logits = prior(embedding) + weight @ hidden(embedding) + bias, where the prior and
    the hidden layer are optional; probs = softmax(logits / temperature). With a domain,
    prior = (1 - trust) * tags + trust * (domain + residual of the tags).
    """

    weight: Array  # (n_experts, dim); with a hidden layer (n_experts, width)
    bias: Array  # (n_experts,)
    prior: TagPrior | None = None  # added to the logits
    hidden: Hidden | None = None
    temperature: float = 1.0  # of the calibration; it changes no decision
    domain: DomainPrior | None = None  # which the tag prior gives way to; always None without tags
    estimates: Estimates | None = None  # expected rewards and costs, where they are known

    def logits(self, embeddings: Array) -> Array:
        """(n, n_experts) uncalibrated logits of unit embeddings (n, dim)."""
        return self._logits(embeddings, self._products(embeddings))

    def probs(self, embeddings: Array) -> Array:
        """(n, n_experts) calibrated probabilities; rows sum to 1."""
        return softmax(self.logits(embeddings) / self.temperature)

    def predict(self, embeddings: Array, tokens: NDArray[np.integer] | None = None) -> Predictions:
        """Everything that is predicted from unit embeddings (n, dim) and numbers of tokens (n,).

        Costs are left out where the tokens are not known.
        """
        linear, estimates = self._products(embeddings), self.estimates
        logits = self._logits(embeddings, linear)
        probs = softmax(logits / self.temperature)
        if estimates is None:
            return Predictions(probs)
        costs = novelty = None
        if estimates.costs is not None and tokens is not None:
            costs = estimates.costs(linear["costs"], tokens)
        if estimates.nearness is not None and self.prior is not None:
            novelty = estimates.novelty(linear["nearest"][:, 0] / SHARPNESS)
        return Predictions(probs, estimates.rewards(linear["level"], logits), costs, novelty)

    def linear_parts(self) -> dict[str, tuple[Array, Array]]:
        """Weight (k, dim) and bias (k,) of all that is linear in the embedding, by what it is."""
        parts = {} if self.hidden is not None else {"logits": (self.weight, self.bias)}
        if self.prior is not None:  # times SHARPNESS, as the softmax over the tags needs it
            near = SHARPNESS * self.prior.centroids
            parts["near"] = near, np.zeros(len(near), dtype=near.dtype)
        if self.domain is not None:
            parts["domain"] = self.domain.weight, self.domain.bias
        if self.estimates is not None:
            parts["level"] = self.estimates.level[None], self.estimates.level_bias
            if self.estimates.costs is not None:
                parts["costs"] = self.estimates.costs.weight, self.estimates.costs.bias
        return parts

    @cached_property
    def _joint(self) -> tuple[Array, Array, dict[str, slice]]:
        """All linear parts as one weight (n, dim) and one bias (n,), and where each stands."""
        parts = self.linear_parts()
        ends = np.cumsum([len(bias) for _, bias in parts.values()]).tolist()
        places = dict(zip(parts, map(slice, [0, *ends], ends), strict=True))
        if not parts:
            return np.zeros((0, self.dim)), np.zeros(0), places
        weight, bias = map(np.concatenate, zip(*parts.values(), strict=True))
        return weight, bias, places

    def _products(self, embeddings: Array) -> dict[str, Array]:
        weight, bias, places = self._joint
        product = embeddings.dot(weight.T)  # of small arrays faster than the operator
        product += bias
        linear = {name: product[:, place] for name, place in places.items()}
        if self.prior is not None:
            linear["nearest"] = np.maximum.reduce(linear["near"], axis=1, keepdims=True)
        return linear

    @cached_property
    def _values(self) -> list[Array]:
        """What is averaged over the tags and over the domains, each with a column of ones."""
        parts = [] if self.prior is None else [[self.prior.table]]
        if self.domain is not None:
            parts = [[*parts[0], self.domain.residual], [self.domain.table]]
        return [np.concatenate([*p, np.ones_like(p[0][:, :1])], axis=1) for p in parts]

    def _logits(self, embeddings: Array, linear: Mapping[str, Array]) -> Array:
        if self.hidden is None:
            logits = linear["logits"]
        else:
            inner = np.maximum(embeddings @ self.hidden.weight.T + self.hidden.bias, 0)
            logits = inner @ self.weight.T + self.bias
        if self.prior is None:
            return logits
        nearest, n_experts = linear["nearest"], len(self.bias)
        of_tags = _means(linear["near"], nearest, self._values[0])
        by_tags = np.log(of_tags[:, :n_experts])
        if self.domain is None:
            return logits + by_tags
        scores = linear["domain"]
        top = np.maximum.reduce(scores, axis=1, keepdims=True)
        label, residual = _means(scores, top, self._values[1]), of_tags[:, n_experts:]
        return logits + self.domain.blended(nearest / SHARPNESS, by_tags, residual, label)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Arrays by their names in head.safetensors, C-contiguous float32."""
        named: dict[str, Array] = {"weight": self.weight, "bias": self.bias}
        if self.prior is not None:
            named |= {"centroids": self.prior.centroids, "table": self.prior.table}
        if self.domain is not None:
            named |= {name: getattr(self.domain, name.split(".")[1]) for name in DOMAIN}
        if self.hidden is not None:
            named |= {"hidden.weight": self.hidden.weight, "hidden.bias": self.hidden.bias}
        return as_written(named)

    @classmethod
    def from_tensors(cls, tensors: dict[str, NDArray[np.float32]], temperature: float) -> Head:
        """Rebuild the head from what `tensors` returned.

        Raises
        ------
        ValueError
            An array is missing, unexpected, not finite, or does not fit the others.
        """
        check_arrays(tensors, _shapes(tensors))
        prior = hidden = domain = None
        if "table" in tensors:
            prior = TagPrior(tensors["centroids"], tensors["table"])
        if "hidden.weight" in tensors:
            hidden = Hidden(tensors["hidden.weight"], tensors["hidden.bias"])
        if DOMAIN[0] in tensors:
            domain = DomainPrior(*(tensors[name] for name in DOMAIN))
        return cls(tensors["weight"], tensors["bias"], prior, hidden, temperature, domain)

    @property
    def widths(self) -> dict[str, int]:
        """Outputs of the router's graph, and the length of a row of each."""
        n_experts, estimates = len(self.bias), self.estimates
        widths = {"probs": n_experts, "embedding": self.dim}
        if estimates is not None:
            widths["rewards"] = n_experts
            widths |= {"costs": n_experts} if estimates.costs is not None else {}
            widths |= {"novelty": 1} if estimates.nearness is not None else {}
        return widths

    @property
    def columns(self) -> int:
        """Numbers that are computed from one embedding at once."""
        return len(self._joint[1]) + len(self.weight.T)

    @property
    def dim(self) -> int:
        """Length of the embedding that the head takes."""
        return int((self.weight if self.hidden is None else self.hidden.weight).shape[1])


def _shapes(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, tuple[int, ...]]:
    """Names of the arrays that go with those in a file, and the shapes that fit together."""

    def size(name: str, axis: int) -> int:
        shape = tensors[name].shape if name in tensors else ()
        return shape[axis] if axis < len(shape) else -1

    n_experts, width = size("weight", 0), size("weight", 1)
    shapes: dict[str, tuple[int, ...]] = {"weight": (n_experts, width), "bias": (n_experts,)}
    dim = width
    if tensors.keys() & {"hidden.weight", "hidden.bias"}:
        dim = size("hidden.weight", 1)
        shapes |= {"hidden.weight": (width, dim), "hidden.bias": (width,)}
    n_tags, n_domains = size("table", 0), size("domain.bias", 0)
    if tensors.keys() & {"centroids", "table", *DOMAIN}:
        shapes |= {"centroids": (n_tags, dim), "table": (n_tags, n_experts)}
    if tensors.keys() & {*DOMAIN}:
        shapes |= {"domain.weight": (n_domains, dim), "domain.bias": (n_domains,)}
        shapes |= {"domain.table": (n_domains, n_experts), "domain.gate": (2,)}
        shapes["domain.residual"] = (n_tags, n_experts)
    return shapes


def prior_logits(
    prior: TagPrior,
    domain: DomainPrior | None,
    near: Array,
    tags: Array,
    domains: Array | None,
) -> Array:
    """(n, n_experts) logits of the tags and, where there is one, of the domain.

    Parameters
    ----------
    near
        (n, n_tags) cosine similarity to the tags' centroids.
    tags, domains
        (n, n_tags) and (n, n_domains) membership; None without a domain prior.
    """
    by_tags = np.log(tags @ prior.table)
    if domain is None or domains is None:
        return np.asarray(by_tags)
    nearest = near.max(axis=1, keepdims=True)
    return domain.blended(nearest, by_tags, tags @ domain.residual, domains @ domain.table)


def _means(logits: Array, top: Array, values: Array) -> Array:
    """(n, k) means of `values` (m, k + 1), but for its ones, by softmax(logits) (n, m).

    `top` is each row's largest logit, (n, 1). The ones add up what the softmax divides by.
    """
    sums = np.exp(logits - top).dot(values)
    return np.asarray(sums[:, :-1] / sums[:, -1:])


def membership_of(near: Array) -> Array:
    """(n, n_tags) softmax of `SHARPNESS` times the cosine similarities (n, n_tags)."""
    return softmax(SHARPNESS * near)


def softmax(logits: Array) -> Array:
    """Softmax along the last axis."""
    exp = np.exp(logits - np.maximum.reduce(logits, axis=-1, keepdims=True))
    exp /= np.add.reduce(exp, axis=-1, keepdims=True)
    return np.asarray(exp)
