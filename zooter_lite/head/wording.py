"""Whether a prompt's words beside its meaning pay on a table: told out of fold.

They pay where experts are specialists of kinds of prompts that are worded alike. They also tie
the head to these kinds: it goes astray on prompts of others, which no fold of the table shows.
So they are kept on clear evidence alone (recipes/quality/words.md has both sides measured).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.head.cross_validation import reward_of_choice
from zooter_lite.head.fit_head import Fitted, fit_head
from zooter_lite.recipe import Recipe
from zooter_lite.table.reward_table import RewardTable

CLEAR = 3.0  # standard errors that the gain has to exceed


@dataclass(frozen=True)
class Worded:
    """A head fitted with words beside the meaning, and what it gains.

    Attributes
    ----------
    gain, standard_error
        Mean reward out of fold less that of the head without them, paired by query.
    """

    fitted: Fitted
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


def fit_with_words(
    fitted: Fitted,
    train: RewardTable,
    embeddings: NDArray[np.float32],
    recipe: Recipe,
    *progress: Any,
    tokens: NDArray[np.int64] | None = None,
) -> Worded:
    """Fit a head with the setting of `fitted`, but no domains, and compare the two.

    `embeddings` (n_queries, dim + width) hold the words too; the rest is as for `fit_head`.
    """
    setting = fitted.selection.chosen
    fixed = replace(recipe, temperature=setting.temperature, beta=setting.beta, l2=setting.l2)
    again = fit_head(
        *(train, embeddings, replace(fixed, domains=False, tune=False), *progress),
        tagging=fitted.tagging.name if fitted.tagging else None,
        tokens=tokens,
    )
    gains = np.subtract(
        *(reward_of_choice(f.selection.logits, f.selection.rewards) for f in (again, fitted))
    )
    gains = gains[~np.isnan(gains)]
    return Worded(again, float(gains.mean()), float(gains.std() / np.sqrt(len(gains))))
