"""The network of a reward model: found, loaded with its tokenizer, and run in batches."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zooter_lite.errors import DataError, MissingPackageError

_MAX_BATCH = 256
_BLOCK = 2**20


@dataclass(frozen=True)
class Network:
    """A loaded reward model with its tokenizer; see RewardModel."""

    module: Any
    tokenizer: Any
    max_length: int
    label: int | None

    def scores(
        self, pairs: Sequence[tuple[str, str]], batch_tokens: int
    ) -> Iterator[tuple[int, float, bool]]:
        """Yield the position of a pair (query, response), its score, and whether it was cut.

        The longest come first, so a batch that does not fit in memory fails at once.
        """
        encoded = [self._encode(*pair) for pair in pairs]
        lengths = [len(each["input_ids"]) for each, _ in encoded]
        order = sorted(range(len(pairs)), key=lambda place: -lengths[place])
        start = 0
        while start < len(order):
            size = min(max(1, batch_tokens // max(1, lengths[order[start]])), _MAX_BATCH)
            batch = order[start : start + size]
            values = self._forward([encoded[place][0] for place in batch])
            for place, value in zip(batch, values, strict=True):
                yield place, value, encoded[place][1]
            start += size

    def _encode(self, query: str, response: str) -> tuple[dict[str, list[int]], bool]:
        """Tokens of one pair without padding, and whether they were cut."""
        cut: dict[str, Any] = {"truncation": True, "max_length": self.max_length}
        turns = [{"role": "user", "content": query}, {"role": "assistant", "content": response}]
        if self.tokenizer.chat_template:
            text: tuple[str, ...] = (self.tokenizer.apply_chat_template(turns, tokenize=False),)
            plain = {"add_special_tokens": False}  # the template holds them
        else:
            text, plain = (query, response), {}
        tokens = self.tokenizer(*text, **plain, verbose=False)
        too_long = len(tokens["input_ids"]) > self.max_length
        if too_long:
            tokens = self.tokenizer(*text, **plain, **cut)
        return dict(tokens), too_long

    def _forward(self, batch: Sequence[Mapping[str, list[int]]]) -> list[float]:
        """Scores of a batch, padded on the right.

        A decoder reads its score at the last token that is not `config.pad_token_id`, so a
        model that has none (and would read the last token) gets one that does not occur in
        the batch. The positions of padding count only on the left, which is why the
        tokenizer's own side is not asked.
        """
        longest = max(len(each["input_ids"]) for each in batch)
        config = self.module.config.get_text_config()
        own_pad = config.pad_token_id
        pad = own_pad
        if own_pad is None and len(batch) > 1:
            pad = _unused({token for each in batch for token in each["input_ids"]})
            if pad >= config.vocab_size:  # every token of a small vocabulary occurs
                return [value for each in batch for value in self._forward([each])]
        rows: dict[str, list[list[int]]] = {}
        for name in batch[0]:
            fill = pad if name == "input_ids" else 0
            rows[name] = [[*e[name], *[fill] * (longest - len(e[name]))] for e in batch]
        inputs = {
            name: torch.tensor(values, device=self.module.device) for name, values in rows.items()
        }
        config.pad_token_id = pad
        try:
            with torch.inference_mode():
                output = self.module(**inputs)
        except torch.OutOfMemoryError as error:
            raise DataError(
                f"out of GPU memory at {len(batch)} texts of {longest} tokens; lower batch_tokens "
                "in scorers.toml (scores so far are kept)"
            ) from error
        finally:
            config.pad_token_id = own_pad
        own = getattr(output, "score", None)
        if own is not None:
            return [float(value) for value in own.float().reshape(len(batch))]
        logits = output.logits.float().reshape(len(batch), -1)
        if self.label is None:
            return [float(value) for value in logits[:, 0]]
        others = torch.cat([logits[:, : self.label], logits[:, self.label + 1 :]], dim=1)
        odds = logits[:, self.label] - torch.logsumexp(others, dim=1)
        return [float(value) for value in odds]


def _unused(tokens: set[int]) -> int:
    return next(token for token in range(len(tokens) + 1) if token not in tokens)


def find_model(model: str, *, code: bool = False) -> Path:
    """Return the folder of a model; one that is named on the hub is fetched first.

    Raises
    ------
    DataError
        There is neither such a folder nor such a model, or it brings code and `code` is off.
    """
    folder = Path(model)
    if not folder.is_dir():
        try:
            from huggingface_hub import snapshot_download
        except ImportError as error:
            raise MissingPackageError("huggingface_hub", "fit", "a reward model by name") from error
        patterns = ["*.json", "*.jinja", "*.model", "*.txt", "*.safetensors"]
        try:
            folder = Path(
                snapshot_download(model, allow_patterns=[*patterns, *(["*.py"] if code else [])])
            )
        except Exception as error:  # the hub client raises many unrelated classes
            raise DataError(f"{model}: no such folder or hub model ({error})") from error
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: no config.json of a model ({error})") from error
    if "auto_map" in config and not code:
        raise DataError(
            f"{model}: the model brings Python code of its own; read it, then say "
            "trust_remote_code = true in scorers.toml if it may run"
        )
    return folder


def content_hash(folder: Path) -> str:
    """Hash the files that decide a model's scores; names and contents, not dates."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".jinja", ".model", ".txt", ".safetensors", ".py"):
            part = hashlib.sha256()
            with path.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    part.update(block)
            whole.update(f"{path.name} {part.hexdigest()}\n".encode())
    return whole.hexdigest()


def best_device(device: str = "") -> torch.device:
    """Return the named device; where none is named, the first GPU or the CPU.

    Raises
    ------
    DataError
        There is no such device.
    """
    try:
        found = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:  # the latter where torch has no CUDA
        raise DataError(f"device {device!r} cannot be used ({error})") from error
    return found


def load(
    folder: Path,
    device: torch.device,
    *,
    max_length: int = 0,
    label: int | str | None = None,
    trust_remote_code: bool = False,
) -> Network:
    """Load a model and its tokenizer; the options are those of RewardModel.

    Raises
    ------
    DataError
        Weights are missing (such as the head of a model that was never a reward model), or
        the label is missing or unknown.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingPackageError("transformers", "fit", "a reward model") from error
    code = {"trust_remote_code": trust_remote_code}
    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **code)
        module, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **code
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise DataError(f"{folder}: cannot be loaded ({error})") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise DataError(
            f"{folder}: no weights for {missing[0]!r}; expected a model trained for "
            "sequence classification"
        )
    limits = [tokenizer.model_max_length, getattr(module.config, "max_position_embeddings", None)]
    most = min(int(limit) for limit in limits if limit and limit > 0)
    length = min(max_length or most, most)
    module.to(device).eval()
    return Network(
        module, tokenizer, length, _label(label, module.config, folder, trust_remote_code)
    )


def _label(label: int | str | None, config: Any, folder: Path, code: bool) -> int | None:
    """Position of the chosen label; None for a model of one."""
    names = [str(config.id2label.get(place, place)) for place in range(config.num_labels)]
    if len(names) == 1:
        return None
    if label in names:
        return names.index(str(label))
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    if label is None and code:
        return None
    raise DataError(
        f"{folder}: label is {label!r}, expected one of the model's "
        f"{len(names)} labels ({', '.join(names)}), by name or position"
    )
