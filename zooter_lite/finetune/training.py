"""Train an encoder and its head together, by transformers' Trainer, towards given labels.

Checkpoints, resuming, bfloat16 and several processes are the Trainer's. Ours are the loss
and the batches of similar length.
"""

from __future__ import annotations

import json
import logging
import shutil
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
from zooter_lite.head.distil import Direction, kl_divergence

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

RATE = 2e-5
BATCH = 32  # queries per step, of all processes together
PATIENCE = 3  # epochs without a new best after which training stops
_POOL = 20  # batches that are sorted by length together

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What fine-tuning learns from, and what chooses the epoch.

    The logits are `offset` + `weight` @ unit embedding + `bias`. The offset stays: it is
    what tags and domains say by the frozen embeddings. Weight and bias are a start.

    Attributes
    ----------
    tokens
        Token ids of each query.
    offset
        (n_queries, n_experts).
    labels
        (n_queries, n_experts); NaN where not observed, and in the rows not learned from.
    rewards
        (n_queries, n_experts), NaN where not observed.
    learned, choosing
        Rows that are learned from, and rows whose mean reward chooses the epoch.
    weight, bias
        (n_experts, dim) and (n_experts,), fitted to the learned rows.
    direction
        Of the KL divergence.
    epochs, seed
        At most so many epochs; of the order of the queries and of dropout.
    """

    tokens: list[Rows]
    offset: Array
    labels: Array
    rewards: Array
    learned: Rows
    choosing: Rows
    weight: Array
    bias: Array
    direction: Direction
    epochs: int
    seed: int

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
        self.head = torch.nn.Linear(*task.weight.shape[::-1])
        with torch.no_grad():
            self.head.weight.copy_(torch.as_tensor(task.weight))
            self.head.bias.copy_(torch.as_tensor(task.bias))
        self._direction = task.direction

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
            return {"loss": kl_divergence(logits, labels, self._direction), "logits": logits}

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return every weight once: safetensors refuses what two layers share, as in T5."""
        return {name: weights.detach() for name, weights in self.named_parameters()}


def train(
    base: Path,
    name: str,
    task: Task,
    folder: Path,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[Any, list[Epoch]]:
    """Train, and return the encoder of the best epoch with the figures of every epoch.

    Each process of a launch has to call this.

    Parameters
    ----------
    base, name
        Folder of the encoder, and its name for errors.
    folder
        Of the checkpoints, one for each epoch; a run that was killed goes on from the last.
    progress
        Called with the number of steps done since the last call.

    Raises
    ------
    EncoderError
        The encoder cannot be loaded.
    """
    learner = Learner(load_torch(base, name).float(), task)
    choosing = task.by_length(task.choosing)
    on_gpu = torch.cuda.is_available()
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=task.epochs,
        per_device_train_batch_size=1,  # one of `batches`
        per_device_eval_batch_size=2 * BATCH,
        learning_rate=RATE,
        weight_decay=0.01,
        warmup_steps=0.1,  # a share of all
        max_grad_norm=1.0,
        bf16=computes_bfloat16(),
        use_cpu=not on_gpu,
        seed=task.seed,
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
        report_to="none",
        log_level="error",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = transformers.Trainer(
            model=learner,
            args=arguments,
            train_dataset=batches(task),
            eval_dataset=choosing[:, None],
            data_collator=task.collate,
            compute_metrics=lambda results: {
                "reward": _mean_reward(results.predictions, task.rewards[choosing])
            },
            callbacks=[transformers.EarlyStoppingCallback(PATIENCE), _Report(progress)],
        )
        for printing in (transformers.ProgressCallback, transformers.PrinterCallback):
            trainer.remove_callback(printing)
        first = launched()[0] == 0
        checkpoint = from_first(_last_checkpoint(folder) if first else None)
        trainer.train(resume_from_checkpoint=checkpoint)
    history = trainer.state.log_history
    losses = [entry["loss"] for entry in history if "loss" in entry]
    reached = [entry["eval_reward"] for entry in history if "eval_reward" in entry]
    figures = zip(losses, reached, strict=True)
    return learner.encoder.to("cpu"), [Epoch(*pair) for pair in figures]


def _mean_reward(logits: Any, rewards: Array) -> float:
    return float(np.nanmean(reward_of_choice(np.asarray(logits), rewards)))


def _last_checkpoint(folder: Path) -> str | None:
    """Return the latest whole checkpoint; what a killed process left half written is removed."""
    for place in sorted(folder.glob("checkpoint-*"), key=lambda p: -int(p.name.split("-")[1])):
        try:
            json.loads((place / "trainer_state.json").read_text("utf-8"))  # written last
        except (OSError, ValueError):
            shutil.rmtree(place)
        else:
            return str(place)
    return None


def batches(task: Task) -> list[Rows]:
    """Divide the learned rows at random into batches of similar length, one for each process."""
    size = -(-BATCH // launched()[1])
    order = np.random.default_rng(task.seed).permutation(task.learned)
    pools = np.split(order, range(_POOL * size, len(order), _POOL * size))
    return [
        batch
        for pool in map(task.by_length, pools)
        for batch in np.split(pool, range(size, len(pool), size))
    ]


def computes_bfloat16() -> bool:
    """Whether the processor that trains has bfloat16 of its own."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


class _Report(transformers.TrainerCallback):
    """Counts steps, and logs what every epoch brought."""

    def __init__(self, progress: Callable[[int], object]) -> None:
        self._progress = progress

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._progress(state.global_step)
        if state.global_step and state.is_world_process_zero:
            log.info("fine-tuning goes on after epoch %.0f", state.epoch)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._progress(1)

    def on_evaluate(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        loss = next(entry["loss"] for entry in reversed(state.log_history) if "loss" in entry)
        if state.is_world_process_zero:
            figures = (state.epoch, loss, more["metrics"]["eval_reward"])
            log.info("epoch %.0f: loss %.4f, reward %.4f", *figures)
