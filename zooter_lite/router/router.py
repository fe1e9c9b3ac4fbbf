"""Router: prompts in, decisions out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError, RouterError
from zooter_lite.files.messages import Context
from zooter_lite.router.budget import point_on, within_budget
from zooter_lite.router.decision import (
    Decision,
    Doubt,
    Mask,
    Predictions,
    choose,
    decisions,
    eligible_experts,
)
from zooter_lite.router.directory.config import Point
from zooter_lite.router.directory.notebook import router_html
from zooter_lite.router.explanation import Explanation, explain_decision
from zooter_lite.router.loading import LoadedRouter
from zooter_lite.router.tokens import texts_of

FloatArray = NDArray[np.float32]
Progress = Callable[[int], object]  # called with the number of queries done since the last call


def _silent(_: int) -> None:
    """Report no progress."""


class Router(LoadedRouter):
    """Routes prompts to experts; safe to share between threads, to fork, and to pickle.

    In a forked child it starts its own session with the first prompt. Pickled, it is its
    folder and the options it was loaded with, so the folder must stand where it is read.

    Examples
    --------
    >>> router = Router.load("exports/sample")  # doctest: +SKIP
    >>> router.route(["What is 17 * 23?"])[0].expert  # doctest: +SKIP
    'calculator'
    """

    def predict_proba(self, queries: Sequence[str], progress: Progress = _silent) -> FloatArray:
        """Probability of each expert being the best for each query.

        Parameters
        ----------
        queries
            Prompts: texts, or chats as files/messages.py reads them; longer ones are truncated
            at the encoder's max_length.
        progress
            Called with the number of queries done since the last call.

        Returns
        -------
        (n_queries, n_experts) float32; rows sum to 1, columns in the order of `experts`.
        """
        return np.asarray(self.predict(queries, progress).probs)

    def embed(
        self, queries: Sequence[str], progress: Progress = _silent
    ) -> tuple[FloatArray, FloatArray]:
        """Return `predict_proba` and the unit embeddings (n_queries, dim), in one pass."""
        predicted, embeddings = self.predict_and_embed(queries, progress)
        return np.asarray(predicted.probs), embeddings

    def predict(self, queries: Sequence[str], progress: Progress = _silent) -> Predictions:
        """Probabilities, expected rewards and costs of every expert, and the prompts' novelty.

        Returns
        -------
        An object with `.probs`, `.rewards`, `.costs` (n_queries, n_experts), columns in the
        order of `experts`, and `.novelty` (n_queries,); None for what the router lacks.
        """
        return self.predict_and_embed(queries, progress)[0]

    def predict_and_embed(
        self, queries: Sequence[str], progress: Progress = _silent
    ) -> tuple[Predictions, FloatArray]:
        """Return `predict` and the unit embeddings (n_queries, dim), in one pass."""
        texts = self._texts(queries)
        if texts:
            outputs = self._runtime.run(texts, progress)
        else:
            widths = self.head.widths.items()
            outputs = {name: np.zeros((0, width), dtype=np.float32) for name, width in widths}
        embeddings, novelty = outputs.pop("embedding"), outputs.pop("novelty", None)
        predicted = Predictions(**outputs, novelty=None if novelty is None else novelty[:, 0])
        return self.repriced(predicted), embeddings

    def _texts(self, queries: Sequence[str]) -> list[str]:
        return texts_of(queries, cast(Context, self.config.training.context))

    def repriced(self, predicted: Predictions) -> Predictions:
        """Return what the head predicts at the costs that the router was loaded with."""
        if self._cost_factors is None or predicted.costs is None:
            return predicted
        return replace(predicted, costs=predicted.costs * self._cost_factors)

    def route(
        self,
        queries: Sequence[str],
        progress: Callable[[int], object] = _silent,
        *,
        point: str | Point | None = None,
        allowed: Collection[str] | None = None,
        max_cost: float | None = None,
        windows: Mapping[str, int] | None = None,
        doubt: Doubt | None = None,
    ) -> list[Decision]:
        """Choose one expert for each query, in order.

        Parameters
        ----------
        queries, progress
            As for `predict_proba`.
        point
            Operating point: a name in `points`, "recommended", or what `point_for` returns;
            None for the router's default, which is "quality" unless it was fitted otherwise.
        allowed
            Experts that may be chosen, such as those that are up; None for all.
        max_cost
            Most that a prompt may cost, as expected, in the unit of the table.
        windows
            Most tokens of a prompt that an expert takes, by its name; an expert that is not
            named takes any. Tokens are counted by the router's own tokenizer.
        doubt
            When the fallback gets a prompt; `doubt_for` makes one.

        Raises
        ------
        DataError
            An unknown name; nobody is eligible; or the router does not predict what is asked.
        """
        chosen_by = self.point(point)
        predicted = self.predict(queries, progress)
        eligible = self.eligible(
            predicted, queries, allowed=allowed, max_cost=max_cost, windows=windows
        )
        choices = choose(predicted, chosen_by, self.config.experts, eligible, doubt)
        return decisions(predicted, choices, chosen_by, self.config.experts, doubt)

    @property
    def points(self) -> dict[str, Point]:
        """Operating points by name, with what each earned out of fold on train."""
        return {point.name: point for point in self.config.decisions.points}

    def point(self, point: str | Point | None = None) -> Point:
        """Return the operating point of a name; None for the default. DataError for no such."""
        if isinstance(point, Point):
            return point
        known, own = self.points, self.config.decisions
        name = {None: own.default, "recommended": own.recommended}.get(point, point)
        if name not in known:
            raise DataError(f"point {name!r}: expected {', '.join([*known, 'recommended'])}")
        return known[name]

    def point_for(
        self,
        *,
        budget: float | None = None,
        floor: float | None = None,
        queries: Sequence[str] = (),
        allowed: Collection[str] | None = None,
    ) -> Point:
        """Find an operating point of your own.

        Parameters
        ----------
        budget
            Mean cost of a prompt: the best choices for no more than this.
        floor
            Mean reward: the cheapest choices that earn no less than this.
        queries
            Prompts like those that will come, on whose expected costs a budget is met;
            without them, the curve that was measured on train tells.
        allowed
            Experts that will be allowed; only with `queries`.

        Raises
        ------
        DataError
            Not exactly one of the two, out of reach, or a router without costs.
        """
        if budget is not None and floor is None and len(queries):
            predicted = self.predict(queries)
            eligible = self.eligible(predicted, queries, allowed=allowed)
            return within_budget(predicted, budget, self.config.decisions.curve, eligible)
        return point_on(self.config.decisions.curve, budget=budget, floor=floor)

    def eligible(
        self, predicted: Predictions, queries: Sequence[str], **options: Any
    ) -> Mask | None:
        """(n, n_experts) who may be chosen, by the options of `route`; None for everybody."""
        return eligible_experts(
            predicted,
            self.config.experts,
            lambda: self.tokens.whole(self._texts(queries)),
            **options,
        )

    def doubt_for(
        self,
        fallback: str | None = None,
        *,
        min_reward: float | None = None,
        max_novelty: float | None = None,
        min_probability: float | None = None,
    ) -> Doubt:
        """Make the rules that send a prompt to `fallback`, by default the best single expert.

        DataError for no such expert.
        """
        name = self.config.best_single if fallback is None else fallback
        if name not in self.config.experts:
            raise DataError(f"fallback {name}: no such expert; expected {', '.join(self.experts)}")
        place = self.config.experts.index(name)
        return Doubt(place, min_reward, max_novelty, min_probability)

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
        if self.tag_index is None:
            raise RouterError(f"{self.folder}: fitted without tags; expected a router with tags")
        return self.tag_index.nearest_tags(self.embed(queries)[1], k, top)

    def explain(self, query: str, k: int = 16, point: str | Point | None = None) -> Explanation:
        """Tell why `query` goes where it goes at a point, by its `k` nearest training queries.

        A router without tags, or without kept queries, tells what it can and names what
        is missing.
        """
        _check_neighbours(k)
        if not isinstance(query, str):
            raise DataError(f"expected one prompt, found {type(query).__name__}")
        predicted, embeddings = self.predict_and_embed([query])
        chosen_by = self.point(point)
        choices = choose(predicted, chosen_by, self.config.experts)
        (decision,) = decisions(predicted, choices, chosen_by, self.config.experts)
        return explain_decision(
            *(query, decision, predicted, embeddings[0]),
            *(self.tag_index, self._files.kept_queries, k),
        )

    def __repr__(self) -> str:
        """Name where it is from, its experts and its encoder, in one line."""
        experts = ", ".join(self.experts)
        return f"<Router {self.folder}: {experts}; encoder {self.config.encoder.name}>"

    def _repr_html_(self) -> str:
        """Show the router, and what was measured of it, in a notebook."""
        return router_html(self._files)


def _check_neighbours(k: int) -> None:
    if k < 1:
        raise DataError(f"{k} neighbours: expected at least 1")
