"""From predictions to decisions: here a policy is added, in `choose`, a pure function.

    utility = expected reward - cost_weight * expected cost, over the eligible experts

With the cost weight 0 the most probable expert is chosen, as in the paper. A cost weight is
reward for a unit of cost; named operating points carry theirs (head/operating.py finds them).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.router.directory.config import Point

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Predictions:
    """What a router predicts of n prompts; None for what it does not know."""

    probs: Array  # (n, n_experts) calibrated, of being the best expert; rows sum to 1
    rewards: Array | None = None  # (n, n_experts) expected, in the unit of the reward table
    costs: Array | None = None  # (n, n_experts) expected, in the unit of the table
    novelty: Array | None = None  # (n,) share of the training queries that are less odd

    def take(self, rows: NDArray[np.integer]) -> Predictions:
        """Return the predictions of these prompts."""
        parts = (self.rewards, self.costs, self.novelty)
        return Predictions(self.probs[rows], *(None if p is None else p[rows] for p in parts))


@dataclass(frozen=True)
class Doubt:
    """When a prompt goes to the fallback instead; None for a rule that is off."""

    fallback: int  # position of the expert that then gets it
    min_reward: float | None = None  # least expected reward of the choice
    max_novelty: float | None = None  # beyond 0.99 a prompt is odder than 99% of the training's
    # Least probability that the choice is the best expert. It says little of the reward: a hard
    # prompt has a clear best expert, too.
    min_probability: float | None = None


@dataclass(frozen=True)
class Choices:
    """What a policy chose for n prompts."""

    experts: NDArray[np.intp]  # (n,) positions
    utilities: Array  # (n, n_experts) that rank the experts; -inf for one that is not eligible
    doubts: NDArray[np.intp]  # (n,) position in `DOUBTS` of the rule that chose the fallback, or -1


@dataclass(frozen=True)
class Decision:
    """Where one query goes; None for what the router does not know."""

    expert: str  # name of the chosen expert
    probability: float  # calibrated, that it is the best expert
    probabilities: dict[str, float]  # of every expert
    expected_reward: float | None = None  # of the chosen expert, in the unit of the reward table
    expected_cost: float | None = None
    ranking: tuple[str, ...] = ()  # eligible experts by utility, the chosen one first
    reason: str = "highest probability"  # the rule that decided
    novelty: float | None = None  # share of the training queries that are less odd


MOST_WEIGHT = 1e30  # of a unit of cost; config.json holds no more
DOUBTS = ("min_reward", "max_novelty", "min_probability")


def choose(
    predicted: Predictions,
    point: Point,
    experts: Sequence[str],
    eligible: Mask | None = None,
    doubt: Doubt | None = None,
) -> Choices:
    """Choose an expert for each prompt; of equals the first.

    Parameters
    ----------
    predicted
        Of n prompts.
    point
        Its cost weight, or its one expert.
    experts
        Names in the order of the columns.
    eligible
        (n, n_experts) who may be chosen; None for everybody.
    doubt
        When the fallback gets a prompt, where it is eligible.

    Raises
    ------
    DataError
        Nobody is eligible for a prompt, or the router does not predict what the point needs.
    """
    utilities = predicted.probs
    if point.cost_weight:
        if predicted.rewards is None or predicted.costs is None:
            raise DataError(f"point {point.name!r}: the router predicts no costs to weigh")
        costs = predicted.costs.astype(np.float64)
        utilities = predicted.rewards.astype(np.float64) - point.cost_weight * costs
    if eligible is not None:
        nobody = np.flatnonzero(~eligible.any(axis=1))
        if len(nobody):
            raise DataError(f"prompt {nobody[0]}: no expert is eligible")
        utilities = np.where(eligible, utilities, -np.inf)
    chosen = utilities.argmax(axis=1)
    if point.expert is not None:
        check_names([point.expert], experts, f"point {point.name!r}: ")
        always = list(experts).index(point.expert)
        chosen = np.where(np.isneginf(utilities[:, always]), chosen, always)
    doubts = np.full(len(chosen), -1, dtype=np.intp)
    if doubt is not None:
        free = ~np.isneginf(utilities[:, doubt.fallback])
        for place, wrong in _doubtful(predicted, chosen, doubt):
            doubts[wrong & free & (doubts < 0)] = place
        chosen = np.where(doubts >= 0, doubt.fallback, chosen)
    return Choices(chosen, utilities, doubts)


def check_names(names: Iterable[str], experts: Sequence[str], where: str = "") -> None:
    """Raise DataError where a name is none of the experts'."""
    unknown = sorted(set(names) - set(experts))
    if unknown:
        raise DataError(f"{where}no expert {unknown[0]!r}; expected {', '.join(experts)}")


def eligible_experts(
    predicted: Predictions,
    experts: Sequence[str],
    tokens: Callable[[], NDArray[np.int64]],
    *,
    allowed: Collection[str] | None = None,
    max_cost: float | None = None,
    windows: Mapping[str, int] | None = None,
) -> Mask | None:
    """(n, n_experts) who may be chosen, by the options of `Router.route`; None for everybody.

    `tokens` counts those of each prompt, where there are windows.
    """
    if allowed is None and max_cost is None and not windows:
        return None
    if isinstance(allowed, str):
        raise DataError("allowed: expected a list of names, found one text; put it in a list")
    wanted = set(experts if allowed is None else allowed)
    check_names({*wanted, *(windows or ())}, experts)
    mask = np.tile([expert in wanted for expert in experts], (len(predicted.probs), 1))
    if max_cost is not None:
        if predicted.costs is None:
            raise DataError("max_cost: this router predicts no costs")
        mask &= predicted.costs <= max_cost
    if windows:
        mask &= tokens()[:, None] <= [windows.get(expert, np.inf) for expert in experts]
    return mask


def _doubtful(
    predicted: Predictions, chosen: NDArray[np.intp], doubt: Doubt
) -> Iterator[tuple[int, Mask]]:
    """Yield the place in `DOUBTS` of each rule that is on, and who fails it, (n,)."""
    parts = (predicted.rewards, predicted.novelty, predicted.probs)
    for place, (name, values) in enumerate(zip(DOUBTS, parts, strict=True)):
        limit = getattr(doubt, name)
        if limit is None:
            continue
        if values is None:
            raise DataError(f"{name}: this router does not predict what it is about")
        if name == "max_novelty":
            yield place, values > limit
        else:
            yield place, values[np.arange(len(chosen)), chosen] < limit


def decisions(
    predicted: Predictions,
    choices: Choices,
    point: Point,
    experts: Sequence[str],
    doubt: Doubt | None = None,
) -> list[Decision]:
    """Put choices into words, with what is expected of each."""
    nothing: list[Any] = [None] * len(choices.experts)
    parts = (predicted.rewards, predicted.costs, predicted.novelty)
    rewards, costs, novelty = (nothing if part is None else part.tolist() for part in parts)
    made = []
    for row, best in enumerate(choices.experts.tolist()):
        probs, utilities = predicted.probs[row].tolist(), choices.utilities[row].tolist()
        eligible = [place for place, utility in enumerate(utilities) if utility > -math.inf]
        eligible.sort(key=utilities.__getitem__, reverse=True)
        if eligible[0] != best:
            eligible.remove(best)
            eligible.insert(0, best)
        rule = "" if choices.doubts[row] < 0 else DOUBTS[choices.doubts[row]]
        made.append(
            Decision(
                expert=experts[best],
                probability=probs[best],
                probabilities=dict(zip(experts, probs, strict=True)),
                expected_reward=rewards[row] and rewards[row][best],
                expected_cost=costs[row] and costs[row][best],
                ranking=tuple([experts[place] for place in eligible]),
                reason=f"fallback: {rule} {getattr(doubt, rule)}"
                if rule
                else _reason(point, experts[best], barred=len(eligible) < len(experts)),
                novelty=novelty[row],
            )
        )
    return made


def _reason(point: Point, expert: str, *, barred: bool) -> str:
    if point.expert is not None:
        always = f"point {point.name}: always {expert}"
        return always if expert == point.expert else f"{point.expert} is not eligible"
    among = ", of those eligible" if barred else ""
    if not point.cost_weight:
        return f"highest probability{among}"
    return f"point {point.name}: highest reward - {point.cost_weight:.4g} * cost{among}"
