"""Fine-tune the encoder of a fitted router, and keep what a fold of train says is better.

The encoder learns from every fold of the cross-validation but `HELD`, which decides how many
epochs are kept, and is not trained again on all rows: its later self would be unmeasured.
The head is then fitted anew on the fine-tuned embeddings, of all rows. In that fit nothing is
chosen by cross-validation: an encoder that has seen the rewards of four folds flatters itself
there, and would be given too weak a penalty. Tags, temperature, beta and L2 stay those that
cross-validation chose on the frozen embeddings; the calibration takes the rows of fold `HELD`
alone, under a head fitted without them; and the result is kept only if its mean reward on
these rows is above that of the frozen router, fitted without them too. That figure is a little
optimistic, since the epochs were counted by it; no test row has a part in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.encode.encoder import Encoder
from zooter_lite.encode.find import FINETUNED, find_encoder, finetuned_folder
from zooter_lite.encode.load import load_encoder
from zooter_lite.finetune.checkpoint import Epoch, best_epoch
from zooter_lite.finetune.loop import fine_tune, n_batches
from zooter_lite.finetune.processes import ALONE, Processes
from zooter_lite.finetune.tuning import Task, Tuning
from zooter_lite.head.prior import labels_of
from zooter_lite.head.select import fit_path, reward_of_choice
from zooter_lite.head.train import Fitted, Recipe, fit_head
from zooter_lite.router.head import Head
from zooter_lite.table.reward_table import RewardTable

HELD = 0  # the fold that fine-tuning does not learn from

Progress = Callable[[int], object]


@dataclass(frozen=True)
class Refined:
    """An encoder and a head, fine-tuned or, where that did not pay, as they were.

    Attributes
    ----------
    encoder, embeddings, fitted
        To go on with; (n_queries, dim) of the whole table.
    epochs
        Figures of epoch 0 (frozen) and of every epoch trained.
    held
        Number of training rows held out.
    refitted
        Mean reward on these rows after the head was fitted anew; None with 0 epochs kept.
    folder
        Of the fine-tuned encoder, or None where the frozen one stays.
    """

    encoder: Encoder
    embeddings: NDArray[np.float32]
    fitted: Fitted
    epochs: list[Epoch]
    held: int
    refitted: float | None
    folder: Path | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as report.json keeps them."""
        return {
            "encoder": self.encoder.spec.name,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "epochs_kept": best_epoch(self.epochs) if self.folder else 0,
            "held_out_rows": self.held,
            "reward_with_head_fitted_anew": self.refitted,
        }

    def summary(self) -> str:
        """Say what every epoch brought, what is kept, and where it lies."""
        figures = [f"frozen {100 * self.epochs[0].reward:.2f}"] + [
            f"epoch {e.number} {100 * e.reward:.2f} (loss {e.loss:.4f})" for e in self.epochs[1:]
        ]
        text = (
            f"fine-tuning without fold {HELD} of train; mean reward x100 on its {self.held} rows: "
            f"{', '.join(figures)}"
        )
        if self.refitted is None:
            return f"{text}\n0 epochs kept: the frozen encoder stays"
        again = f"the head fitted anew, {100 * self.refitted:.2f}"
        if self.folder is None:
            return f"{text}\n{again}, is not above frozen: the frozen encoder stays"
        return (
            f"{text}\n{best_epoch(self.epochs)} epochs kept: {again}\n"
            f"fine-tuned encoder: {self.folder}"
        )


def refine(
    encoder: Encoder,
    embeddings: NDArray[np.float32],
    table: RewardTable,
    fitted: Fitted,
    recipe: Recipe,
    tuning: Tuning,
    cache: Path,
    progress: Progress = lambda _: None,
    announce: Progress = lambda _: None,
    processes: Processes = ALONE,
) -> Refined:
    """Fine-tune the encoder of a router fitted on the table's training rows.

    Parameters
    ----------
    embeddings
        (n_queries, dim) of the whole table, by `encoder`.
    fitted, recipe
        As `fit_head` made it of the training rows; head "prior" or "linear".
    tuning
        Of the encoder, for 1 epoch or more.
    progress, announce
        Called with the number of batches done since the last call; once before, with that
        of all batches.
    processes
        Of this launch, joined; this is the first of them.
    """
    rows = table.rows("train")
    train = table.take(rows)
    task = task_of(encoder, embeddings[rows], train, fitted)
    announce(tuning.epochs * n_batches(task, tuning))
    name = encoder.spec.name
    key = task.key(encoder.spec.cache_key, tuning)
    folder = finetuned_folder(cache, key)
    base, kept = find_encoder(name, cache), folder.parent
    figures = fine_tune(base, name, task, tuning, kept, progress, processes)
    unchanged = Refined(encoder, embeddings, fitted, figures, int(task.held.sum()), None, None)
    if best_epoch(figures) == 0:
        return unchanged
    plain = Path(name).name if Path(name).is_dir() else name
    tuned = load_encoder(f"{plain}{FINETUNED}{key}", cache, encoder.spec.prompt)
    moved = tuned.embed(table.queries, cache)
    again = fit_head(train, moved[rows], same_setting(recipe, fitted))
    logits = again.selection.logits[task.held]
    reward = float(reward_of_choice(logits, task.rewards[task.held]).mean())
    if reward <= task.frozen:
        return replace(unchanged, refitted=reward)
    return replace(
        unchanged, encoder=tuned, embeddings=moved, fitted=again, refitted=reward, folder=folder
    )


def task_of(
    encoder: Encoder, embeddings: NDArray[np.float32], train: RewardTable, fitted: Fitted
) -> Task:
    """Return the task of fine-tuning on training rows: all of it made without fold `HELD`."""
    rewards = train.rewards.astype(np.float64)
    inputs = embeddings.astype(np.float64)
    held = fitted.selection.folds == HELD
    inside = np.flatnonzero(~held)
    setting = replace(fitted.selection.chosen, tagging=None if fitted.tagging is None else 0)
    ((head, logits),) = fit_path(
        inputs, rewards, fitted.candidates, [setting], fitted.method, ~held, np.arange(len(rewards))
    )
    tagging = None if fitted.tagging is None else fitted.tagging.take(inside)
    labels = np.full(rewards.shape, np.nan)
    labels[inside] = labels_of(rewards[inside], tagging, setting, fitted.method)
    residual = Head(head.weight, head.bias).logits(inputs)
    return Task(
        tokens=encoder.session().tokenise(train.queries),
        offset=logits - residual,
        labels=labels,
        rewards=rewards,
        held=held,
        weight=np.asarray(head.weight, dtype=np.float64),
        bias=np.asarray(head.bias, dtype=np.float64),
        frozen=float(reward_of_choice(logits[held], rewards[held]).mean()),
    )


def same_setting(recipe: Recipe, fitted: Fitted) -> Recipe:
    """Return the recipe that fits the chosen setting alone, judged by fold `HELD` alone."""
    chosen = fitted.selection.chosen
    return replace(
        recipe,
        tags=recipe.tags if fitted.tagging is not None else "none",
        tagging=None if fitted.tagging is None else fitted.tagging.name,
        temperature=chosen.temperature,
        beta=chosen.beta,
        l2=chosen.l2,
        judged=HELD,
    )
