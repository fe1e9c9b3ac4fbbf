"""zooter-lite, the raw session under it, and sentence-transformers as contestants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from recipes.bench.speed.protocol import Contestant

if TYPE_CHECKING:
    from zooter_lite.router.runtime import Precision

THREADS = 2  # for everyone but ours, which chooses for itself
GRAPHS = {"fp32": "router.onnx", "int8": "router.int8.onnx"}


def precisions(folder: Path) -> list[str]:
    """Precisions that a router directory offers: fp32, and int8 where it is there."""
    return [name for name, graph in GRAPHS.items() if (folder / graph).is_file()]


def load(folder: str, precision: str) -> Any:
    """Load the router in one precision; "static" names a tier, whose directory has only one."""
    from zooter_lite import Router

    return Router.load(folder, "fp32" if precision == "static" else cast("Precision", precision))


def ours(folder: str, precision: str) -> Contestant:
    """Text to Decision, default settings."""
    router = load(folder, precision)
    return Contestant(
        decide=lambda prompt: router.route([prompt])[0],
        decide_many=router.route,
        about=versions("onnxruntime", "tokenizers", "numpy"),
    )


def raw(folder: str, precision: str, fusion: str) -> Contestant:
    """Time the tokeniser and the bare onnxruntime session on the router's graph.

    Precision "stock" is what `onnxruntime.quantization` makes of the fp32 graph by its defaults
    for dynamic int8. With `fusion` "no" onnxruntime leaves SkipLayerNormalization in parts, which
    is faster on many processors.
    """
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(
        stock(folder) if precision == "stock" else str(Path(folder) / GRAPHS[precision]),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["SkipLayerNormFusion"] if fusion == "no" else [],
    )
    encode = _tokenizer(folder).encode

    def decide(prompt: str) -> object:
        ids = np.asarray([encode(prompt).ids], dtype=np.int64)
        return session.run(["probs"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})

    return Contestant(decide)


def tokeniser(folder: str) -> Contestant:
    """Text to token ids, the least that a decision can take."""
    tokenizer = _tokenizer(folder)
    return Contestant(lambda prompt: tokenizer.encode_batch_fast([prompt])[0].ids)


def _tokenizer(folder: str) -> Any:
    from tokenizers import Tokenizer

    config = json.loads((Path(folder) / "config.json").read_text("utf-8"))
    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(config["encoder"]["max_length"])
    return tokenizer


def stock(folder: str) -> bytes:
    """Return the fp32 graph as onnxruntime's own dynamic quantisation leaves it."""
    from onnx import TensorProto
    from onnxruntime.quantization import quantize_dynamic

    with TemporaryDirectory() as work:  # what it infers is written beside the graph that it reads
        quantize_dynamic(
            copy(Path(folder) / GRAPHS["fp32"], work),
            Path(work) / "stock.onnx",
            extra_options={"DefaultTensorType": TensorProto.FLOAT},  # of operators unknown to it
        )
        return (Path(work) / "stock.onnx").read_bytes()


def sentence_transformers(encoder: str) -> Contestant:
    """Text to embedding with torch."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(THREADS)
    body = SentenceTransformer(encoder, device="cpu", local_files_only=True)

    def encode(prompts: Sequence[str]) -> object:
        return body.encode(list(prompts), show_progress_bar=False)

    return Contestant(
        decide=lambda prompt: encode([prompt]),
        decide_many=encode,
        about=versions("sentence-transformers", "transformers", "torch"),
    )


def changed(folder: Path, precision: str, prompts: Sequence[str], batch: int = 32) -> int:
    """Count decisions that depend on what else is in their batch."""
    # a router of its own for each way: one may remember the answers that it gave
    one, other = load(str(folder), precision), load(str(folder), precision)
    alone = [int(one.predict_proba([prompt]).argmax()) for prompt in prompts]
    parts = (prompts[start : start + batch] for start in range(0, len(prompts), batch))
    together = [place for part in parts for place in other.predict_proba(part).argmax(axis=1)]
    return sum(a != b for a, b in zip(alone, together, strict=True))


def versions(*packages: str) -> dict[str, str]:
    """Installed versions of `packages`."""
    return {package: version(package) for package in packages}
