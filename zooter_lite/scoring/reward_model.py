"""Reward models: any Hugging Face model for sequence classification, on this machine."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError, needs
from zooter_lite.files.toml import from_table, number
from zooter_lite.scoring.scorer import Item, Scored, fingerprint, score_once

VERSION = 1  # of how a response becomes a score
_WINDOW = 8192  # responses whose tokens are held, and sorted by length
_MAX_BATCH = 256
_READ = (".json", ".jinja", ".model", ".txt", ".safetensors")


@dataclass
class RewardModel:
    """A scorer that asks a local reward model.

    The query and the response pass through the tokenizer's chat template where it has
    one, and are a pair of texts where it has none. Weights are bfloat16 on a GPU, float32
    on a CPU. Weights are read from safetensors files alone.

    Attributes
    ----------
    model
        A folder, or a name on the hub.
    max_length
        Tokens after which a text is cut as the tokenizer says; 0 is what the model can take.
    batch_tokens
        Tokens of a batch at most.
    device
        Such as cpu or cuda:1; empty takes the first GPU where there is one.
    """

    name: str
    model: str
    max_length: int = number(0, 0, 2**31)
    batch_tokens: int = number(16384, 0, 2**31)
    device: str = ""
    notes: list[str] = field(default_factory=list, init=False)

    def score(
        self, items: Sequence[Item], folder: Path, progress: Callable[[int], object]
    ) -> NDArray[np.float64]:
        """Score every item; NaN where the model's output is not finite.

        Raises
        ------
        DataError
            There is no such model, or it is none that gives a reward.
        """
        device = _device(self.device)
        source = _find(self.model)
        # None stands where a label was once chosen, so that old journals stay good
        mark = fingerprint(VERSION, _content(source), self.max_length, None, device.type != "cpu")

        def compute(todo: list[int]) -> Iterator[Scored]:
            network = load(self, source, device)
            for start in range(0, len(todo), _WINDOW):
                window = todo[start : start + _WINDOW]
                pairs = [(items[place].query, items[place].response) for place in window]
                for place, value, cut in network.scores(pairs, self.batch_tokens):
                    yield window[place], value, {"truncated": True} if cut else {}

        path = folder / f"scores-{self.name}.jsonl"
        values, records = score_once(items, path, mark, compute, progress)
        truncated = sum(bool(record.get("truncated")) for record in records)
        self.notes = [f"{truncated} of {len(items)} responses truncated"]
        if broken := int(np.isnan(values).sum()):
            self.notes.append(f"{broken} scores were not finite and count as none")
        return values


def read_reward_model(table: Mapping[str, Any], where: str) -> RewardModel:
    """Make a reward model of its table in scorers.toml; `where` locates the table in errors."""
    model = from_table(RewardModel, {k: v for k, v in table.items() if k != "kind"}, where)
    if not model.model:
        raise DataError(f"{where}: no model; expected a folder or the name of a hub model")
    return model


@dataclass(frozen=True)
class Network:
    """A loaded reward model with its tokenizer; see RewardModel."""

    module: Any
    tokenizer: Any
    max_length: int

    def scores(
        self, pairs: Sequence[tuple[str, str]], batch_tokens: int
    ) -> Iterator[tuple[int, float, bool]]:
        """Yield the position of a pair (query, response), its score, and whether it was cut.

        A batch holds texts of one length, so that no model meets padding (decoders read
        their score beside it, each in its own way). The longest come first, so a batch
        that does not fit in memory fails at once.
        """
        encoded = [self._encode(*pair) for pair in pairs]
        lengths = [len(tokens["input_ids"]) for tokens, _ in encoded]
        order = sorted(range(len(pairs)), key=lambda place: -lengths[place])
        for length, group in groupby(order, lengths.__getitem__):
            places = list(group)
            size = min(max(1, batch_tokens // max(1, length)), _MAX_BATCH)
            for start in range(0, len(places), size):
                batch = places[start : start + size]
                values = self._forward([encoded[place][0] for place in batch])
                for place, value in zip(batch, values, strict=True):
                    yield place, value, encoded[place][1]

    def _encode(self, query: str, response: str) -> tuple[dict[str, list[int]], bool]:
        """Tokens of one pair, and whether they were cut."""
        turns = [{"role": "user", "content": query}, {"role": "assistant", "content": response}]
        if self.tokenizer.chat_template:
            text: tuple[str, ...] = (self.tokenizer.apply_chat_template(turns, tokenize=False),)
            plain = {"add_special_tokens": False}  # the template holds them
        else:
            text, plain = (query, response), {}
        tokens = self.tokenizer(*text, **plain, verbose=False)
        too_long = len(tokens["input_ids"]) > self.max_length
        if too_long:
            tokens = self.tokenizer(*text, **plain, truncation=True, max_length=self.max_length)
        return dict(tokens), too_long

    def _forward(self, batch: Sequence[Mapping[str, list[int]]]) -> list[float]:
        """Scores of a batch of texts of one length."""
        import torch

        inputs = {
            name: torch.tensor([each[name] for each in batch], device=self.module.device)
            for name in batch[0]
        }
        try:
            with torch.inference_mode():
                output = self.module(**inputs)
        except torch.OutOfMemoryError as error:
            raise DataError(
                f"out of GPU memory at {len(batch)} texts of {len(batch[0]['input_ids'])} tokens; "
                "lower batch_tokens in scorers.toml (scores so far are kept)"
            ) from error
        return [float(value) for value in output.logits.float().reshape(len(batch))]


def load(scorer: RewardModel, folder: Path, device: Any) -> Network:
    """Load the model of `folder` and its tokenizer, with the options of `scorer`.

    Raises
    ------
    DataError
        Weights are missing (such as the head of a model that was never a reward model), or
        the model has several labels.
    """
    import torch
    import transformers

    from zooter_lite.encode.reference import longest

    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        module, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise DataError(f"{folder}: cannot be loaded ({error})") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise DataError(
            f"{folder}: no weights for {missing[0]!r}; expected a model trained for "
            "sequence classification"
        )
    if module.config.num_labels != 1:
        raise DataError(f"{folder}: {module.config.num_labels} labels, expected one, the reward")
    text = module.config.get_text_config()
    if text.pad_token_id is None:
        text.pad_token_id = -1  # no token; without one, decoders refuse a batch of several texts
    stated = getattr(module.config, "max_position_embeddings", None)
    most = longest(module, tokenizer.model_max_length, stated)
    module.to(device).eval()
    return Network(module, tokenizer, min(scorer.max_length or most, most))


def _find(model: str) -> Path:
    """Folder of a model; one that is named on the hub is fetched first."""
    folder = Path(model)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(model, allow_patterns=[f"*{end}" for end in _READ]))
        except Exception as error:  # the hub client raises many unrelated classes
            raise DataError(f"{model}: no such folder or hub model ({error})") from error
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: no config.json of a model ({error})") from error
    if "auto_map" in config:
        raise DataError(f"{model}: the model brings Python code of its own, which is not run")
    return folder


def _content(folder: Path) -> str:
    """Hash the files that decide a model's scores; names and contents, not dates."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (*_READ, ".py"):
            part = hashlib.sha256()
            with path.open("rb") as stream:
                while block := stream.read(2**20):
                    part.update(block)
            whole.update(f"{path.name} {part.hexdigest()}\n".encode())
    return whole.hexdigest()


def _device(name: str) -> Any:
    """Return the named device of torch; where none is named, the first GPU or the CPU."""
    with needs("fit", "a reward model"):
        import torch
        import transformers  # noqa: F401  # with which models are loaded
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter where torch has no CUDA
        raise DataError(f"device {name!r} cannot be used ({error})") from error
    return device
