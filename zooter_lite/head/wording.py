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

from zooter_lite.head.choose import Choice, choose
from zooter_lite.head.cross_validation import reward_of_choice
from zooter_lite.table.reward_table import RewardTable

CLEAR = 3.0  # standard errors that the gain has to exceed


@dataclass(frozen=True)
class Worded:
    """What words beside the meaning gain out of fold.

    Attributes
    ----------
    choice
        What the head with them is fitted by.
    gain, standard_error
        Mean reward less that of the head without them, paired by query.
    """

    choice: Choice
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
    plain: Choice,
    train: RewardTable,
    embeddings: NDArray[np.float32],
    progress: Callable[[int], object] = lambda _: None,
    announce: Callable[[int], object] = lambda _: None,
) -> Worded:
    """Cross-validate the setting of `plain`, but without domains, on embeddings with words.

    `embeddings` (n_queries, dim + width) are of the rows that `plain` was chosen on; the rest
    is as for `fit_head`.
    """
    setting, tagging = plain.selection.chosen, plain.tagging
    fixed = replace(plain.recipe, domains=False, tune=False, l2=setting.l2)
    fixed = replace(fixed, temperature=setting.temperature, beta=setting.beta)
    name = tagging.name if tagging else None
    worded = choose(
        *(train, embeddings, fixed, progress, announce), tagging=name, most_choosing=None
    )
    after, before = (
        reward_of_choice(one.selection.logits, one.selection.rewards) for one in (worded, plain)
    )
    gains = (after - before)[~np.isnan(after - before)]
    return Worded(worded, float(gains.mean()), float(gains.std() / np.sqrt(len(gains))))
