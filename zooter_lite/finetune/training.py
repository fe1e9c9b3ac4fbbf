"""Train an encoder and its head together, by transformers' Trainer, towards given labels.

Checkpoints, resuming, bfloat16 and several processes are the Trainer's. Ours are the loss
and the batches of similar length.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from zooter_lite.encode.reference import load_torch
from zooter_lite.finetune.launch import from_first, launched
from zooter_lite.head.cross_validation import reward_of_choice
from zooter_lite.head.distil import Direction
from zooter_lite.recipe import Recipe
from zooter_lite.router.head import Head

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

RATE = 2e-5
BATCH = 32  # queries per step, of all processes together
PATIENCE = 3  # epochs without a new best after which training stops
_POOL = 20  # batches that are sorted by length together
_FLOOR = 1e-12  # keeps the logarithm of a zero label finite


@dataclass(frozen=True)
class Task:
    """What fine-tuning learns from, and what chooses the epoch.

    The logits are `offset` plus those of a linear head. The offset stays: it is what tags and
    domains say by the frozen embeddings.
    """

    tokens: list[Rows]  # ids of each query
    offset: Array  # (n_queries, n_experts)
    labels: Array  # likewise; zero in the rows not learned from
    rewards: Array  # likewise; NaN where not observed
    learned: Rows  # that are learned from
    choosing: Rows  # whose mean reward chooses the epoch
    head: Head  # fitted to the learned rows; its weight and bias are a start
    recipe: Recipe

    def by_length(self, rows: Rows) -> Rows:
        """Sort rows by their number of tokens."""
        return rows[np.argsort([len(self.tokens[row]) for row in rows], kind="stable")]

    def collate(self, parts: Sequence[Rows]) -> dict[str, torch.Tensor]:
        """Make one batch of the rows of all parts, padded to the longest of them."""
        rows = np.concatenate(parts)
        tokens = [torch.as_tensor(self.tokens[row]) for row in rows]
        masks = [torch.ones_like(ids) for ids in tokens]
        return {
            "input_ids": torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True),
            "attention_mask": torch.nn.utils.rnn.pad_sequence(masks, batch_first=True),
            "offset": torch.as_tensor(self.offset[rows], dtype=torch.float32),
            "labels": torch.as_tensor(self.labels[rows], dtype=torch.float32),
        }


@dataclass(frozen=True)
class Epoch:
    """Mean KL divergence over an epoch's queries, and mean reward on the rows that choose."""

    loss: float
    reward: float


class Learner(torch.nn.Module):
    """Encoder and head as one module: the loss and the logits of a batch."""

    _keys_to_ignore_on_save = None  # the Trainer asks for it where `state_dict` left names out

    def __init__(self, encoder: Any, task: Task) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = torch.nn.Linear(*task.head.weight.shape[::-1])
        with torch.no_grad():
            self.head.weight.copy_(torch.as_tensor(task.head.weight))
            self.head.bias.copy_(torch.as_tensor(task.head.bias))
        self._direction = task.recipe.kl

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        offset: torch.Tensor,
        labels: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """(n, n_experts) logits, in float32 also where the encoder computes in bfloat16."""
        features = {"input_ids": input_ids, "attention_mask": attention_mask}
        pooled = self.encoder(features)["sentence_embedding"]
        with torch.autocast(input_ids.device.type, enabled=False):
            unit = torch.nn.functional.normalize(pooled.float(), dim=-1)
            logits = self.head(unit) + offset
            return {"loss": _divergence(logits, labels, self._direction), "logits": logits}

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return every weight once: safetensors refuses what two layers share, as in T5."""
        return {name: weights.detach() for name, weights in self.named_parameters()}


def _divergence(logits: torch.Tensor, labels: torch.Tensor, kl: Direction) -> torch.Tensor:
    """Mean over rows of what `head.distil.kl_divergence` computes in numpy."""
    log_router, kl_div = torch.log_softmax(logits, dim=1), torch.nn.functional.kl_div
    if kl == "label-router":
        return kl_div(log_router, labels, reduction="batchmean")
    log_labels = labels.clamp_min(_FLOOR).log()
    return kl_div(log_labels, log_router, reduction="batchmean", log_target=True)


class _Steps(transformers.TrainerCallback):
    """Counts steps, those of an earlier run too."""

    def __init__(self, progress: Callable[[int], object]) -> None:
        self._progress = progress

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._progress(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._progress(1)


def train(
    base: Path,
    name: str,
    task: Task,
    folder: Path,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[Any, list[Epoch]]:
    """Train, and return the encoder of the best epoch with the figures of every epoch.

    Each process of a launch has to call this. `base` is the encoder's folder, and `name` what
    errors call it; `folder` holds a checkpoint for each epoch, so that a run that was killed goes
    on from the last. `progress` is called with the number of steps done since the last call.
    EncoderError where the encoder cannot be loaded.
    """
    choosing = task.by_length(task.choosing)
    on_gpu = torch.cuda.is_available()

    def mean_reward(results: Any) -> dict[str, float]:
        earned = reward_of_choice(np.asarray(results.predictions), task.rewards[choosing])
        return {"reward": float(np.nanmean(earned))}

    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=task.recipe.finetune,
        per_device_train_batch_size=1,  # one of `batches`
        per_device_eval_batch_size=2 * BATCH,
        learning_rate=RATE,
        weight_decay=0.01,
        warmup_steps=0.1,  # a share of all
        max_grad_norm=1.0,
        bf16=on_gpu and torch.cuda.is_bf16_supported(including_emulation=False),
        use_cpu=not on_gpu,
        seed=task.recipe.seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="reward",
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        ddp_find_unused_parameters=True,  # many encoders hold a pooler that is not used
        remove_unused_columns=False,
        dataloader_pin_memory=on_gpu,
        disable_tqdm=True,
        report_to="none",
        log_level="error",
    )
    learner = Learner(load_torch(base, name, task.recipe.layers).float(), task)
    whole = [state.parent for state in folder.glob("checkpoint-*/trainer_state.json")]
    latest = max(whole, key=lambda place: int(place.name.split("-")[1]), default=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = transformers.Trainer(
            model=learner,
            args=arguments,
            train_dataset=batches(task),
            eval_dataset=choosing[:, None],
            data_collator=task.collate,
            compute_metrics=mean_reward,
            callbacks=[transformers.EarlyStoppingCallback(PATIENCE), _Steps(progress)],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train(resume_from_checkpoint=from_first(latest and str(latest)))
    history = trainer.state.log_history
    losses = [entry["loss"] for entry in history if "loss" in entry]
    reached = [entry["eval_reward"] for entry in history if "eval_reward" in entry]
    figures = zip(losses, reached, strict=True)
    return learner.encoder.to("cpu"), [Epoch(*pair) for pair in figures]


def batches(task: Task) -> list[Rows]:
    """Divide the learned rows at random into batches of similar length, one for each process."""
    size = -(-BATCH // launched()[1])
    order = np.random.default_rng(task.recipe.seed).permutation(task.learned)
    pools = np.split(order, range(_POOL * size, len(order), _POOL * size))
    return [
        batch
        for pool in map(task.by_length, pools)
        for batch in np.split(pool, range(size, len(pool), size))
    ]
