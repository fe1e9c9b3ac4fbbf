"""What fine-tuning leaves on disk: a checkpoint per epoch, then the encoder and its figures.

Files of a folder: epoch-03.safetensors (weights, head, optimiser; the figures so far are its
metadata) while it runs; encoder/ and figures.json once it is done. Each is written beside its
place and renamed; figures.json comes last.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from zooter_lite.encode.find import EncoderError
from zooter_lite.files.atomic import atomic_file

ENCODER, FIGURES = "encoder", "figures.json"

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Epoch:
    """Figures after an epoch; number 0 is the frozen encoder.

    Attributes
    ----------
    number
        Epochs finished.
    loss
        Mean KL divergence over the epoch's queries; None for number 0.
    reward
        Mean reward of the expert chosen for the held queries.
    """

    number: int
    loss: float | None
    reward: float


def best_epoch(figures: Sequence[Epoch]) -> int:
    """Return the number of the epoch with the largest reward; of equal ones, the first.

    Examples
    --------
    >>> best_epoch([Epoch(0, None, 0.5), Epoch(1, 0.3, 0.6), Epoch(2, 0.2, 0.6)])
    1
    """
    return max(figures, key=lambda epoch: (epoch.reward, -epoch.number)).number


def write_checkpoint(folder: Path, figures: Sequence[Epoch], tensors: Tensors) -> None:
    """Keep the state after the last of `figures`; of older ones, only the best stays."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EncoderError(f"cache {folder}: cannot be written ({error.strerror})") from error
    target = _file(folder, figures[-1].number)
    with atomic_file(target) as partial:
        save_file(tensors, partial, metadata={"figures": _dumped(figures)})
    stays = {target, _file(folder, best_epoch(figures))}
    for file in set(folder.glob("epoch-*.safetensors")) - stays:
        file.unlink()


def latest_figures(folder: Path) -> list[Epoch]:
    """Return the figures of the latest usable checkpoint; empty where there is none."""
    for file in sorted(folder.glob("epoch-*.safetensors"), reverse=True):
        with suppress(OSError, SafetensorError, ValueError, TypeError, KeyError):
            with safe_open(file, "pt") as opened:
                figures = _loaded(opened.metadata()["figures"])
            best = best_epoch(figures)
            if best == 0 or _file(folder, best).is_file():
                return figures
    return []


def read_checkpoint(folder: Path, number: int) -> Tensors:
    """Return the tensors kept after epoch `number`.

    Raises
    ------
    EncoderError
        The file is damaged.
    """
    file = _file(folder, number)
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise EncoderError(f"{file}: damaged ({error}); remove it and run again") from error


def finish(folder: Path, figures: Sequence[Epoch], encoder: Any) -> None:
    """Keep a SentenceTransformer (None: none) and the figures; remove the checkpoints."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if encoder is not None:
            partial = folder / f".{ENCODER}.{os.getpid()}.partial"
            encoder.save(str(partial), create_model_card=False)
            shutil.rmtree(folder / ENCODER, ignore_errors=True)
            partial.replace(folder / ENCODER)
    except OSError as error:
        raise EncoderError(f"cache {folder}: cannot be written ({error.strerror})") from error
    with atomic_file(folder / FIGURES) as partial:
        partial.write_text(_dumped(figures), "utf-8")
    for file in folder.glob("epoch-*.safetensors"):
        file.unlink()


def finished_figures(folder: Path) -> list[Epoch]:
    """Return the figures of a finished run whose encoder is there; empty where it is not."""
    try:
        figures = _loaded((folder / FIGURES).read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return []
    whole = best_epoch(figures) == 0 or (folder / ENCODER / "modules.json").is_file()
    return figures if whole else []


def _file(folder: Path, number: int) -> Path:
    return folder / f"epoch-{number:02d}.safetensors"


def _dumped(figures: Sequence[Epoch]) -> str:
    return json.dumps([asdict(epoch) for epoch in figures], sort_keys=True)


def _loaded(text: str) -> list[Epoch]:
    return [Epoch(**entry) for entry in json.loads(text)]
