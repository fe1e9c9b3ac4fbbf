"""Who takes part: every precision the routers offer, the references and the peers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from recipes.bench.speed.figures import BARE, FLOOR, OURS, PEER, TOKENISED, TORCH
from recipes.bench.speed.floor import KINDS
from recipes.bench.speed.ours import GRAPHS, THREADS, precisions

# threads, begins with the text, fuses SkipLayerNormalization as onnxruntime does by default;
# the fastest of those that begin with the text is what the whole decision is compared with
RAW = (
    (BARE, THREADS, "no", "yes"),
    (TOKENISED, THREADS, "yes", "yes"),
    (TOKENISED, THREADS, "yes", "no"),
    (TOKENISED, 1, "yes", "no"),
)

# label, environment and requirements file, arguments of the worker, on torch
PEERS = (
    ("SetFit", "setfit", ("setfit",), "fp32", True),
    ("RouteLLM BERT router", "routellm", ("routellm",), "fp32", True),
    ("semantic-router", "semantic-router", ("semantic_router",), "fp32", True),
    ("adaptive-classifier, torch", "adaptive-classifier", ("adaptive_classifier", "torch"),
     "fp32", True),
    ("adaptive-classifier, ONNX", "adaptive-classifier", ("adaptive_classifier", "onnx"),
     "fp32", False),
    ("adaptive-classifier, ONNX int8", "adaptive-classifier", ("adaptive_classifier", "saved"),
     "int8", False),
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One contestant before it starts: how it is labelled and how its process is started."""

    group: str
    label: str
    python: str
    arguments: tuple[str, ...]
    precision: str = "fp32"
    on_torch: bool = False
    rates: bool = False  # whether mixed-length throughput is measured too


def routers(router: Path, static: Path | None) -> dict[str, Path]:
    """Directory of every precision on offer: fp32, int8, auto, static."""
    offered = dict.fromkeys(precisions(router), router)
    return offered | ({"static": static} if static else {})


def lineup(offered: dict[str, Path], encoder: str, work: Path, peers: bool) -> list[Entry]:
    """All entries, in the order of the tables. Peers live in environments under `work`."""
    entries = [
        Entry(OURS, f"zooter-lite {precision}", sys.executable,
              ("ours", str(folder), precision), precision, rates=True)
        for precision, folder in offered.items()
    ]  # fmt: skip
    for precision in (name for name in offered if name in GRAPHS):
        for group, threads, tokenise, fusion in RAW:
            label = f"{group}, {precision}, {threads} thread{'s' if threads > 1 else ''}"
            raw = ("raw", str(offered[precision]), precision, str(threads), tokenise, fusion)
            label += ", no skip fusion" if fusion == "no" else ""
            entries.append(Entry(group, label, sys.executable, raw, precision))
    reference = ("sentence_transformers", encoder)
    entries.append(Entry(TORCH, TORCH, sys.executable, reference, on_torch=True, rates=True))
    for label, environment, (name, *rest), precision, on_torch in PEERS if peers else ():
        python = str(work / environment / "bin" / "python")
        peer = (name, encoder, *rest)
        entries.append(Entry(PEER, label, python, peer, precision, on_torch, rates=True))
    for kind in KINDS:
        precision = "int8" if "8" in kind else "fp32"
        floor = ("floor", encoder, kind, str(THREADS))
        entries.append(Entry(FLOOR, kind, sys.executable, floor, precision))
    return entries
