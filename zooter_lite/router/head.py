"""The head: from a unit embedding to a distribution over experts, in numpy.

The same arithmetic stands in `router.onnx`; `learn/export.py` builds it from these arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

SHARPNESS = 20.0  # membership is softmax(SHARPNESS * cosine similarity to the centroids)


@dataclass(frozen=True)
class TagPrior:
    """What a query's place among the tags says about the experts.

    Attributes
    ----------
    centroids
        (n_tags, dim) unit vectors.
    table
        (n_tags, n_experts) mean label of each tag, shrunk by support; rows sum to 1.
    """

    centroids: Array
    table: Array

    def membership(self, embeddings: Array) -> Array:
        """(n, n_tags) soft membership of unit embeddings (n, dim); rows sum to 1."""
        return soft_membership(embeddings, self.centroids)

    def logits(self, embeddings: Array) -> Array:
        """(n, n_experts) log of the membership-weighted mean label."""
        return np.asarray(np.log(self.membership(embeddings) @ self.table))


@dataclass(frozen=True)
class Hidden:
    """One rectified hidden layer, for the MLP head: weight (width, dim), bias (width,)."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Head:
    """Softmax head over experts.

    logits = prior(embedding) + weight @ hidden(embedding) + bias, where the prior and
    the hidden layer are optional; probs = softmax(logits / temperature).

    Attributes
    ----------
    weight, bias
        (n_experts, dim) and (n_experts,); with a hidden layer (n_experts, width).
    prior
        Tag prior added to the logits, or None.
    hidden
        Hidden layer, or None.
    temperature
        Calibration temperature; it changes no decision.
    """

    weight: Array
    bias: Array
    prior: TagPrior | None = None
    hidden: Hidden | None = None
    temperature: float = 1.0

    def logits(self, embeddings: Array) -> Array:
        """(n, n_experts) uncalibrated logits of unit embeddings (n, dim)."""
        inner = embeddings
        if self.hidden is not None:
            inner = np.maximum(embeddings @ self.hidden.weight.T + self.hidden.bias, 0)
        linear = inner @ self.weight.T + self.bias
        return linear if self.prior is None else linear + self.prior.logits(embeddings)

    def probs(self, embeddings: Array) -> Array:
        """(n, n_experts) calibrated probabilities; rows sum to 1."""
        return softmax(self.logits(embeddings) / self.temperature)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Arrays by their names in head.safetensors, C-contiguous float32."""
        named: dict[str, Array] = {"weight": self.weight, "bias": self.bias}
        if self.prior is not None:
            named |= {"centroids": self.prior.centroids, "table": self.prior.table}
        if self.hidden is not None:
            named |= {"hidden.weight": self.hidden.weight, "hidden.bias": self.hidden.bias}
        return {name: np.ascontiguousarray(a, dtype=np.float32) for name, a in named.items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, NDArray[np.float32]], temperature: float) -> Head:
        """Rebuild the head from what `tensors` returned.

        Raises
        ------
        ValueError
            An array is missing, unexpected, not finite, or does not fit the others.
        """
        expected = {"weight", "bias"}
        for pair in ({"centroids", "table"}, {"hidden.weight", "hidden.bias"}):
            expected |= pair if pair & set(tensors) else set()
        if set(tensors) != expected:
            raise ValueError(f"expected the arrays {sorted(expected)}, found {sorted(tensors)}")
        for name, array in tensors.items():
            if array.dtype != np.float32 or not np.isfinite(array).all():
                raise ValueError(f"array {name!r} is not finite float32")
        prior = hidden = None
        if "table" in tensors:
            prior = TagPrior(tensors["centroids"], tensors["table"])
        if "hidden.weight" in tensors:
            hidden = Hidden(tensors["hidden.weight"], tensors["hidden.bias"])
        head = cls(tensors["weight"], tensors["bias"], prior, hidden, temperature)
        head.check_shapes()
        return head

    def check_shapes(self) -> None:
        """Raise ValueError where the arrays do not fit together."""
        n_experts, width = self.weight.shape if self.weight.ndim == 2 else (-1, -1)
        shapes = {"weight": (n_experts, width), "bias": (n_experts,)}
        dim = width
        if self.hidden is not None:
            dim = np.atleast_1d(self.hidden.weight).shape[-1]
            shapes |= {"hidden.weight": (width, dim), "hidden.bias": (width,)}
        if self.prior is not None:
            n_tags = len(np.atleast_1d(self.prior.table))
            shapes |= {"centroids": (n_tags, dim), "table": (n_tags, n_experts)}
        for name, array in self.tensors().items():
            if array.shape != shapes[name] or 0 in array.shape:
                raise ValueError(f"array {name!r} has shape {array.shape}, expected {shapes[name]}")

    @property
    def dim(self) -> int:
        """Length of the embedding that the head takes."""
        return int((self.weight if self.hidden is None else self.hidden.weight).shape[1])


def soft_membership(embeddings: Array, centroids: Array) -> Array:
    """(n, n_tags) softmax of `SHARPNESS` times the cosine similarity to each centroid."""
    return softmax(SHARPNESS * (embeddings @ centroids.T))


def softmax(logits: Array) -> Array:
    """Softmax along the last axis."""
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=-1, keepdims=True))
