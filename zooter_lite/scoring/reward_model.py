"""Reward models: any Hugging Face model for sequence classification, on this machine."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from zooter_lite.ask.calls import Progress
from zooter_lite.errors import DataError, needs
from zooter_lite.files.toml import number
from zooter_lite.scoring.scorer import FloatArray, Item, Scored, fingerprint, score_once

VERSION = 1  # of how a response becomes a score
_WINDOW = 8192  # responses whose tokens are held, and sorted by length
_MAX_BATCH = 256
_READ = (".json", ".jinja", ".model", ".txt", ".safetensors")


@dataclass(frozen=True)
class RewardModel:
    """A scorer that asks a local reward model.

    The query and the response pass through the tokenizer's chat template where it has
    one, and are a pair of texts where it has none. Weights are bfloat16 on a GPU, float32
    on a CPU. They are read from safetensors files alone, and no Python code of the model is run.

    Attributes
    ----------
    model
        A folder, or a name on the hub.
    batch_tokens
        Tokens of a batch at most.
    """

    name: str
    model: str
    batch_tokens: int = number(16384, 0, 2**31)

    def score(
        self, items: Sequence[Item], folder: Path, progress: Progress
    ) -> tuple[FloatArray, list[str]]:
        """Score every item; NaN where the model's output is not finite.

        Raises
        ------
        DataError
            There is no such model, or it is none that gives a reward.
        """
        with needs("fit", "a reward model"):
            import torch
            import transformers  # noqa: F401  # with which the model is loaded
        on_gpu = torch.cuda.is_available()
        source = _find(self.model)
        # 0 and None stand where settings once stood, so that old journals stay good
        mark = fingerprint(VERSION, _content(source), 0, None, on_gpu)

        def compute(pairs: Sequence[tuple[Item, Any]]) -> Iterator[Scored]:
            network = Network(source, on_gpu)
            for start in range(0, len(pairs), _WINDOW):
                window = [(x.query, x.response) for x, _ in pairs[start : start + _WINDOW]]
                for place, value, cut in network.scores(window, self.batch_tokens):
                    yield start + place, value, {"truncated": True} if cut else {}

        path = folder / f"scores-{self.name}.jsonl"
        values, records = score_once(items, path, mark, compute, progress)
        truncated = sum(bool(record.get("truncated")) for record in records)
        return values, [f"{truncated} of {len(items)} responses truncated"]


class Network:
    """A reward model of a folder, with its tokenizer; see RewardModel.

    Raises
    ------
    DataError
        Weights are missing (such as the head of a model that was never a reward model), or
        the model has several labels.
    """

    def __init__(self, folder: Path, on_gpu: bool) -> None:
        import torch
        import transformers

        from zooter_lite.encode.reference import longest

        if not sys.stderr.isatty():
            transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        plain = {"trust_remote_code": False}
        dtype = torch.bfloat16 if on_gpu else torch.float32
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **plain)
            self._module, report = transformers.AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **plain
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise DataError(f"{folder}: cannot be loaded ({error})") from error
        config = self._module.config
        if missing := sorted(report["missing_keys"]):
            raise DataError(
                f"{folder}: no weights for {missing[0]!r}; expected a model trained for "
                "sequence classification"
            )
        if config.num_labels != 1:
            raise DataError(f"{folder}: {config.num_labels} labels, expected one, the reward")
        if config.get_text_config().pad_token_id is None:
            # no token; without one, decoders refuse a batch of several texts
            config.get_text_config().pad_token_id = -1
        stated = getattr(config, "max_position_embeddings", None)
        self._max_length = longest(self._module, self._tokenizer.model_max_length, stated)
        self._module.to("cuda" if on_gpu else "cpu").eval()

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
        texts: tuple[Any, ...] = (query, response)
        tokenize, options = self._tokenizer, {"verbose": False}
        if tokenize.chat_template:
            turns = [{"role": "user", "content": query}, {"role": "assistant", "content": response}]
            texts = (tokenize.apply_chat_template(turns, tokenize=False),)
            options["add_special_tokens"] = False  # the template holds them
        tokens = tokenize(*texts, **options)
        too_long = len(tokens["input_ids"]) > self._max_length
        if too_long:
            tokens = tokenize(*texts, **options, truncation=True, max_length=self._max_length)
        return dict(tokens), too_long

    def _forward(self, batch: Sequence[Mapping[str, list[int]]]) -> list[float]:
        """Scores of a batch of texts of one length."""
        import torch

        device = self._module.device
        inputs = {
            name: torch.tensor([each[name] for each in batch], device=device) for name in batch[0]
        }
        try:
            with torch.inference_mode():
                output = self._module(**inputs)
        except torch.OutOfMemoryError as error:
            raise DataError(
                f"out of GPU memory at {len(batch)} texts of {len(batch[0]['input_ids'])} tokens; "
                "lower batch_tokens in scorers.toml (scores so far are kept)"
            ) from error
        return [float(value) for value in output.logits.float().reshape(len(batch))]


def _find(model: str) -> Path:
    """Folder of a model; one that is named on the hub is fetched first."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=[f"*{end}" for end in _READ]))
    except Exception as error:  # the hub client raises many unrelated classes
        raise DataError(f"{model}: no such folder or hub model ({error})") from error


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
