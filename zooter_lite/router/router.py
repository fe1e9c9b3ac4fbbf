"""Router: load a directory, then prompts in, decisions out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError, RouterError
from zooter_lite.router.decision import Decision, arg_max
from zooter_lite.router.directory import RouterFiles, read_router
from zooter_lite.router.explain import Explanation, explain_decision
from zooter_lite.router.head import Head
from zooter_lite.router.session import TextSession
from zooter_lite.router.tags import TagIndex

FloatArray = NDArray[np.float32]


def _silent(_: int) -> None:
    """Report no progress."""


class Router:
    """Routes prompts to experts; safe to share between threads.

    Examples
    --------
    >>> router = Router.load("exports/sample")  # doctest: +SKIP
    >>> router.route(["What is 17 * 23?"])[0].expert  # doctest: +SKIP
    'calculator'
    """

    def __init__(self, files: RouterFiles, session: TextSession) -> None:
        self._files = files
        self._session = session

    @classmethod
    def load(cls, path: str | Path) -> Router:
        """Load a router directory after verifying it.

        Raises
        ------
        RouterError
            With what is damaged, missing or unknown, and where.
        """
        folder = Path(path)
        files = read_router(folder)
        try:
            session = TextSession(files.graph, files.tokenizer, files.max_length)
        except RouterError as error:
            raise RouterError(f"{folder}: {error}") from error
        widths = {"probs": len(files.experts), "embedding": files.head.dim}
        if not widths.items() <= session.widths.items():
            raise RouterError(
                f"{folder}: router.onnx has the outputs {session.widths}, expected {widths}"
            )
        if session.metadata.get("zooter.experts") != json.dumps(files.experts, ensure_ascii=False):
            raise RouterError(f"{folder}: router.onnx and config.json name different experts")
        if session.metadata.get("zooter.max_length") != str(files.max_length):
            raise RouterError(f"{folder}: router.onnx and config.json name different max_lengths")
        return cls(replace(files, graph=b"", tokenizer=""), session)  # the session has its own

    @property
    def experts(self) -> list[str]:
        """Expert names, in the order of the columns of `predict_proba`."""
        return list(self._files.experts)

    @property
    def config(self) -> dict[str, Any]:
        """The content of config.json."""
        return self._files.config

    @property
    def head(self) -> Head:
        """The head's arrays, as fitted."""
        return self._files.head

    @property
    def tag_index(self) -> TagIndex | None:
        """Tags and nearest training queries; None for a router fitted without tags."""
        return self._files.tags

    def predict_proba(
        self, queries: Sequence[str], progress: Callable[[int], object] = _silent
    ) -> FloatArray:
        """Probability of each expert being the best for each query.

        Parameters
        ----------
        queries
            Prompts; longer ones are truncated at the encoder's max_length.
        progress
            Called with the number of queries done since the last call.

        Returns
        -------
        (n_queries, n_experts) float32; rows sum to 1, columns in the order of `experts`.
        """
        return self._outputs(queries, ["probs"], progress)[0]

    def embed(
        self, queries: Sequence[str], progress: Callable[[int], object] = _silent
    ) -> tuple[FloatArray, FloatArray]:
        """Return `predict_proba` and the unit embeddings (n_queries, dim), in one pass."""
        probs, embeddings = self._outputs(queries, ["probs", "embedding"], progress)
        return probs, embeddings

    def route(self, queries: Sequence[str]) -> list[Decision]:
        """Choose one expert for each query, in order."""
        return arg_max(self.predict_proba(queries), self.experts)

    def tags(
        self, queries: Sequence[str], k: int = 16, top: int = 4
    ) -> list[list[tuple[str, float]]]:
        """Tags of each query by its `k` nearest training queries.

        Returns
        -------
        For each query up to `top` pairs (tag, weight), heaviest first; the weight is the
        similarity-weighted share of the neighbours that carry the tag.

        Raises
        ------
        RouterError
            The router was fitted without tags.
        """
        _check_neighbours(k)
        index = self.tag_index
        if index is None:
            raise RouterError(
                f"{self._files.folder}: fitted without tags; expected a router with tags"
            )
        return index.nearest_tags(self.embed(queries)[1], k, top)

    def explain(self, query: str, k: int = 16) -> Explanation:
        """Tell why `query` goes where it goes, by its `k` nearest training queries.

        A router without tags, or without kept queries, tells what it can and names what
        is missing.
        """
        _check_neighbours(k)
        if not isinstance(query, str):
            raise DataError(f"expected one prompt, found {type(query).__name__}")
        probs, embeddings = self.embed([query])
        decision = arg_max(probs, self.experts)[0]
        return explain_decision(
            query, decision, embeddings[0], self.tag_index, self._files.kept_queries, k
        )

    def _outputs(
        self, queries: Sequence[str], names: list[str], progress: Callable[[int], object]
    ) -> list[FloatArray]:
        if isinstance(queries, str):
            raise DataError("expected a list of prompts, found one text; put it in a list")
        for place, query in enumerate(queries):
            if not isinstance(query, str):
                raise DataError(f"prompt {place}: expected text, found {type(query).__name__}")
        if not len(queries):
            widths = {"probs": len(self.experts), "embedding": self.head.dim}
            return [np.zeros((0, widths[name]), dtype=np.float32) for name in names]
        return self._session.run(queries, names, progress)


def _check_neighbours(k: int) -> None:
    if k < 1:
        raise DataError(f"{k} neighbours: expected at least 1")
