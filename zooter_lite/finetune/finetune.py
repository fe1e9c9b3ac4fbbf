"""Fine-tune the encoder of a fitted router, and keep it only where a fold of train gains.

Of the folds of the cross-validation, `CHOOSING` chooses the epoch and `JUDGING` judges; the
encoder learns from the others. The head is then fitted anew, of all rows, on the fine-tuned
embeddings. In that fit nothing is chosen by cross-validation: an encoder that has seen the
rewards flatters itself there. Tags, temperature, beta and L2 stay as the frozen embeddings
chose them, and fold `JUDGING` alone calibrates. On its rows both routers are compared, each
with a head fitted without them; the fine-tuned one has to gain by more than one standard error
of the paired difference. No test row has a part in it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.encode.cache import keep_files
from zooter_lite.encode.encoder import Encoder, cache_key
from zooter_lite.encode.find import FINETUNED, find_encoder, finetuned_folder
from zooter_lite.encode.load import load_encoder
from zooter_lite.encode.reference import quiet
from zooter_lite.finetune.launch import from_first, joined
from zooter_lite.finetune.training import Epoch, Task, batches, train
from zooter_lite.head.cross_validation import reward_of_choice
from zooter_lite.head.fit_head import Fitted, fit_head
from zooter_lite.head.fit_setting import fit_setting, logits_of
from zooter_lite.labels.completion import completed
from zooter_lite.labels.soft import soft_labels
from zooter_lite.recipe import Recipe
from zooter_lite.table.reward_table import RewardTable

CHOOSING, JUDGING = 0, 1  # the folds that fine-tuning does not learn from
VERSION = 2  # to be raised with every change of what fine-tuning computes

Progress = Callable[[int], object]


@dataclass(frozen=True)
class Finetuned:
    """An encoder and a head to go on with: fine-tuned or, where that did not pay, as they were."""

    encoder: Encoder
    embeddings: NDArray[np.float32]  # (n_queries, dim) of the whole table
    fitted: Fitted
    epochs: tuple[Epoch, ...]  # all that were trained; the best reward chose
    judged: int  # number of rows that judged
    before: float  # mean reward of the expert chosen on these rows, frozen
    after: float  # and fine-tuned
    standard_error: float  # of the paired difference
    folder: Path  # of the fine-tuned encoder
    kept: bool  # whether `encoder` is the fine-tuned one

    @property
    def chosen(self) -> int:
        """Number of the epoch chosen, from 1."""
        return 1 + int(np.argmax([epoch.reward for epoch in self.epochs]))

    def to_json(self) -> dict[str, Any]:
        """Return the figures as report.json keeps them."""
        return {
            "after": self.after,
            "before": self.before,
            "encoder": self.encoder.spec.name,
            "epoch_chosen": self.chosen,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "judged_rows": self.judged,
            "kept": self.kept,
            "standard_error": self.standard_error,
        }

    def summary(self) -> str:
        """Say what every epoch brought, what is kept and why, and where it lies."""
        epochs = ", ".join(
            f"epoch {number} {100 * epoch.reward:.2f} (loss {epoch.loss:.4f})"
            for number, epoch in enumerate(self.epochs, 1)
        )
        before, after, error = (100 * x for x in (self.before, self.after, self.standard_error))
        verdict = (
            f"kept: {self.folder}" if self.kept else "no clear gain, so the frozen encoder stays"
        )
        return (
            f"fine-tuning, mean reward x100 on the fold of train that chooses: {epochs}\n"
            f"epoch {self.chosen} on the {self.judged} rows of the fold that judges: {after:.2f} "
            f"against {before:.2f} frozen (gain {after - before:+.2f}, standard error "
            f"{error:.2f})\nfine-tuned encoder {verdict}"
        )


def finetune(
    encoder: Encoder,
    embeddings: NDArray[np.float32],
    table: RewardTable,
    fitted: Fitted,
    recipe: Recipe,
    cache: Path,
    progress: Progress = lambda _: None,
    announce: Progress = lambda _: None,
) -> Finetuned:
    """Fine-tune the encoder of a router that is fitted on the table's training rows.

    A finished run is read from `cache`, one that was killed goes on after its last epoch. In a
    launch of several processes this is the first one's call, and the others call `assist`.

    `embeddings` (n_queries, dim) are those of the whole table by `encoder`; `fitted` is what
    `fit_head` made of all training rows by this recipe. `announce` is called with the number of
    steps to come, `progress` with those done since its last call. EncoderError where the encoder
    cannot be loaded; ZooterError where another process died.
    """
    rows = table.rows("train")
    learned = table.take(rows)
    task = _task_of(encoder, embeddings[rows], learned, fitted, recipe)
    name, key = encoder.spec.name, _key(task, encoder)
    folder = finetuned_folder(cache, key)
    with joined():
        epochs = _trained(find_encoder(name, cache), name, task, folder, progress, announce)
    plain = Path(name).name if Path(name).is_dir() else name
    tuned = load_encoder(f"{plain}{FINETUNED}{key}", cache, encoder.spec.prompt)
    announce(len(set(table.queries)))
    moved = tuned.embed(table.queries, cache, progress)
    chosen, tagging = fitted.selection.chosen, fitted.tagging
    fixed = replace(recipe, temperature=chosen.temperature, beta=chosen.beta, l2=chosen.l2)
    again = fit_head(
        *(learned, moved[rows], fixed if tagging else replace(fixed, tags="none")),
        *(progress, announce),
        tagging=tagging.name if tagging else None,
        judged=JUDGING,
        most_choosing=None,
        tokens=encoder.session().tokens.lengths(learned.queries) if learned.has_costs else None,
    )
    judged = fitted.selection.folds == JUDGING
    before, after = (
        reward_of_choice(one.selection.logits[judged], task.rewards[judged])
        for one in (fitted, again)
    )
    paired = ~np.isnan(after - before)
    before, after = before[paired], after[paired]
    error = float((after - before).std(ddof=1) / np.sqrt(len(before))) if len(before) > 1 else 0.0
    kept = len(before) > 1 and float((after - before).mean()) > error
    return Finetuned(
        *((tuned, moved, again) if kept else (encoder, embeddings, fitted)),
        epochs=tuple(epochs),
        judged=len(before),
        before=float(before.sum() / max(1, len(before))),
        after=float(after.sum() / max(1, len(after))),
        standard_error=error,
        folder=folder,
        kept=kept,
    )


def assist(recipe: Recipe, cache: Path) -> None:
    """Fine-tune along with the first process of a launch, in every other one; keep nothing.

    On several machines, `cache` has to lie where all of them reach it.
    """
    with joined():
        job = from_first(None)
        if job is not None:
            train(find_encoder(recipe.encoder, cache), recipe.encoder, *job)


def _task_of(
    encoder: Encoder,
    embeddings: NDArray[np.float32],
    train: RewardTable,
    fitted: Fitted,
    recipe: Recipe,
) -> Task:
    """Return the task of fine-tuning on training rows, made without the two folds."""
    inputs, rewards = embeddings.astype(np.float64), train.rewards.astype(np.float64)
    folds, setting = fitted.selection.folds, fitted.selection.chosen
    rows = np.flatnonzero((folds != CHOOSING) & (folds != JUDGING))
    tags = fitted.tagging and fitted.tagging.take(rows)
    domains = fitted.domains and fitted.domains.take(rows)
    known = completed(
        *(rewards[rows], inputs[rows], [train.subsets[row] for row in rows]),
        None if train.propensities is None else train.propensities[rows],
    )
    head = fit_setting(inputs[rows], known, tags, domains, setting, fitted.recipe)
    logits = logits_of(head, inputs, fitted.tagging, fitted.domains)
    labels = np.zeros(rewards.shape)
    labels[rows] = soft_labels(
        known,
        None if tags is None else tags.assignment,
        setting.temperature,
        setting.beta,
        hard=fitted.recipe.labels == "hard",
    )
    return Task(
        tokens=encoder.session().tokens.many(train.queries),
        offset=logits - replace(head, prior=None, domain=None).logits(inputs),
        labels=labels,
        rewards=rewards,
        learned=rows,
        choosing=np.flatnonzero(folds == CHOOSING),
        head=replace(head, prior=None, domain=None),
        recipe=recipe,
    )


def _trained(
    base: Path, name: str, task: Task, folder: Path, progress: Progress, announce: Progress
) -> list[Epoch]:
    """Return the figures of the encoder in `folder`, after training it where it is not there."""
    figures, checkpoints = folder.parent / "figures.json", folder.parent / "checkpoints"
    if figures.is_file() and folder.is_dir():
        from_first(None)
        return [Epoch(**entry) for entry in json.loads(figures.read_text("utf-8"))]
    announce(task.recipe.finetune * len(batches(task)))
    from_first((task, checkpoints))
    tuned, epochs = train(base, name, task, checkpoints, progress)
    partial = folder.with_name("partial")
    with quiet():
        tuned.save(str(partial), create_model_card=False)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    keep_files(folder.parent, {figures.name: json.dumps([asdict(e) for e in epochs]).encode()})
    shutil.rmtree(checkpoints)
    return epochs


def _key(task: Task, encoder: Encoder) -> str:
    """16 hexadecimal digits over all that decides the result."""
    recipe = task.recipe
    settings = (VERSION, cache_key(encoder.spec), recipe.kl, recipe.finetune, recipe.seed)
    numbers = (task.offset, task.labels, task.rewards, task.head.weight, task.head.bias)
    arrays: list[NDArray[Any]] = [*task.tokens, task.learned, task.choosing]
    arrays += [part.astype(np.float32) for part in numbers]
    digest = hashlib.sha256(repr((settings, [array.shape for array in arrays])).encode())
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]
