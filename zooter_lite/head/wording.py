"""Whether a prompt's words beside its meaning pay on a table: told out of fold.

They pay where experts are specialists of kinds of prompts that are worded alike. They also tie
the head to these kinds: it goes astray on prompts of others, which no fold of the table shows.
So they are kept on clear evidence alone (recipes/quality/words.md has both sides measured).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.head.candidates import candidates_for
from zooter_lite.head.cross_validation import cross_validate, reward_of_choice
from zooter_lite.head.fit_head import Fitted, one_thread
from zooter_lite.recipe import Recipe
from zooter_lite.table.reward_table import RewardTable

CLEAR = 3.0  # standard errors that the gain has to exceed


@dataclass(frozen=True)
class Worded:
    """What words beside the meaning gain out of fold.

    Attributes
    ----------
    recipe, tagging
        Fit the head with them by `fit_head`.
    gain, standard_error
        Mean reward less that of the head without them, paired by query.
    """

    recipe: Recipe
    tagging: str | None
    gain: float
    standard_error: float

    @property
    def pays(self) -> bool:
        """Whether the gain is clear."""
        return self.gain > CLEAR * self.standard_error

    def to_json(self) -> dict[str, Any]:
        """Return the figures as report.json keeps them."""
        return {"gain": self.gain, "standard_error": self.standard_error, "kept": self.pays}

    def summary(self) -> str:
        """Say what the words gain, and whether they are kept."""
        return (
            f"words of the prompt {'kept' if self.pays else 'left out'}: {100 * self.gain:+.2f} "
            f"(standard error {100 * self.standard_error:.2f}) out of fold; "
            f"{CLEAR:.0f} standard errors are asked"
        )


def try_words(
    fitted: Fitted,
    train: RewardTable,
    embeddings: NDArray[np.float32],
    progress: Callable[[int], object] = lambda _: None,
    announce: Callable[[int], object] = lambda _: None,
) -> Worded:
    """Cross-validate the setting of `fitted`, but without domains, on embeddings with words.

    `embeddings` (n_queries, dim + width) are of the rows that `fitted` was fitted on; the rest
    is as for `fit_head`.
    """
    setting = fitted.selection.chosen
    tagging = fitted.tagging.name if fitted.tagging else None
    recipe = replace(fitted.recipe, domains=False, tune=False, l2=setting.l2)
    recipe = replace(recipe, temperature=setting.temperature, beta=setting.beta)
    with one_thread():
        candidates = candidates_for(train, embeddings, recipe, tagging)
        announce(recipe.folds)
        again = cross_validate(
            embeddings.astype(np.float64),
            train.rewards.astype(np.float64),
            train.subsets,
            fitted.selection.folds,
            candidates,
            None,
            recipe,
            propensities=train.propensities,
            progress=progress,
        )
    after, before = (reward_of_choice(s.logits, s.rewards) for s in (again, fitted.selection))
    gains = (after - before)[~np.isnan(after - before)]
    return Worded(recipe, tagging, float(gains.mean()), float(gains.std() / np.sqrt(len(gains))))
