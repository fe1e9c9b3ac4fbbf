"""Who takes part: every precision the routers offer, the references and the peers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from recipes.bench.speed.figures import OURS, PEER, TOKENISED, TOKENISER, TORCH
from recipes.bench.speed.ours import GRAPHS, precisions

# label, environment and requirements file, arguments of the worker
PEERS = (
    ("SetFit", "setfit", ("setfit",)),
    ("RouteLLM BERT router", "routellm", ("routellm",)),
    ("semantic-router", "semantic-router", ("semantic_router",)),
    ("adaptive-classifier, torch", "adaptive-classifier", ("adaptive_classifier", "torch")),
    ("adaptive-classifier, ONNX", "adaptive-classifier", ("adaptive_classifier", "onnx")),
    ("adaptive-classifier, ONNX int8", "adaptive-classifier", ("adaptive_classifier", "saved")),
)


@dataclass(frozen=True)
class Entry:
    """One contestant before it starts: how it is labelled and how its process is started."""

    group: str
    label: str
    python: str
    arguments: tuple[str, ...]
    precision: str = "fp32"
    rates: bool = True  # whether mixed-length throughput is measured too


def routers(router: Path, static: Path | None) -> dict[str, Path]:
    """Directory of every precision on offer: fp32, int8, static."""
    offered = dict.fromkeys(precisions(router), router)
    return offered | ({"static": static} if static else {})


def lineup(offered: dict[str, Path], encoder: str, work: Path, peers: bool) -> list[Entry]:
    """All entries, in the order of the table. Peers live in environments under `work`."""
    own = sys.executable
    entries = [
        Entry(OURS, f"zooter-lite {name}", own, ("ours", str(folder), name), name)
        for name, folder in offered.items()
    ]
    graphs = [name for name in offered if name in GRAPHS]
    for precision in [*graphs, *(["stock"] if "int8" in graphs else [])]:
        for fusion in ("", ", no skip fusion"):  # onnxruntime's default, and what is often faster
            label = f"{TOKENISED}, {precision}{fusion}"
            raw = ("raw", str(offered["fp32"]), precision, "no" if fusion else "yes")
            entries.append(Entry(TOKENISED, label, own, raw, precision, rates=False))
    if "static" in offered:
        alone = ("tokeniser", str(offered["static"]))
        entries.append(Entry(TOKENISER, f"{TOKENISER}, static", own, alone, "static", rates=False))
    entries.append(Entry(TORCH, TORCH, own, ("sentence_transformers", encoder)))
    for label, environment, (name, *rest) in PEERS if peers else ():
        python = str(work / environment / "bin" / "python")
        entries.append(Entry(PEER, label, python, (name, encoder, *rest)))
    return entries
