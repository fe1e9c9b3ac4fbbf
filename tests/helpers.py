"""Small stand-ins that the tests share: tables, a toy encoder with a numpy twin, a toy router."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from zooter_lite.encode.encoder import Encoder
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.onnx.router_graph import router_graph
from zooter_lite.router.directory.config import (
    Calibration,
    Decisions,
    EncoderSpec,
    Knot,
    Point,
    RouterConfig,
    Training,
)
from zooter_lite.router.directory.store import write_router
from zooter_lite.router.estimates import CostModel, Estimates
from zooter_lite.router.head import DomainPrior, Head, Hidden, TagPrior
from zooter_lite.table.reward_table import RewardTable
from zooter_lite.tags.index import TagIndex

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *["zero", "one", "two", "three", "four", "five", "six", "seven", "eight"],
]
DIM = 6
EXPERTS = ["ant", "bee", "cat"]
NAN = float("nan")


def table(
    rewards: Sequence[Sequence[float]] | NDArray[np.floating],
    *,
    queries: list[str] | None = None,
    subsets: list[str] | None = None,
    tags: list[list[str]] | None = None,
) -> RewardTable:
    """Make a reward table of these rewards (n_queries, n_experts); experts are e0, e1, ..."""
    values = np.asarray(rewards, dtype=np.float32)
    n = len(values)
    return RewardTable(
        queries=queries or [f"query {i}" for i in range(n)],
        experts=[f"e{i}" for i in range(values.shape[1])],
        rewards=values,
        subsets=subsets or ["all"] * n,
        splits=None,
        tags=tags,
        costs=None,
        responses=None,
        query_ids=[str(i) for i in range(n)],
    )


def angles(*degrees: float) -> NDArray[np.float32]:
    """Unit vectors in the plane, (n, 2)."""
    turned = np.radians(degrees)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


def units(n: int, dim: int, seed: int) -> NDArray[np.float64]:
    """Random unit vectors (n, dim)."""
    values = np.random.default_rng(seed).normal(size=(n, dim))
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Softmax of each row, written out."""
    return np.asarray([[np.exp(x) / sum(np.exp(row)) for x in row] for row in logits])


def toy_tokenizer() -> Tokenizer:
    """One token per known word, [CLS] and [SEP] around them."""
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def toy_vectors() -> NDArray[np.float32]:
    """One vector per token: (n_words, DIM)."""
    return np.random.default_rng(5).normal(size=(len(WORDS), DIM)).astype(np.float32)


def toy_embedding(text: str, max_length: int = 16) -> NDArray[np.float64]:
    """What the toy graph computes for a text, in numpy: the direction of the sum of its tokens."""
    inner = [WORDS.index(word) if word in WORDS else 1 for word in text.split()]
    total = toy_vectors()[[2, *inner[: max_length - 2], 3]].astype(np.float64).sum(axis=0)
    return np.asarray(total / np.linalg.norm(total))


def toy_encoder(max_length: int = 16) -> Encoder:
    """Encoder whose graph adds up the vectors of the tokens; no torch involved."""
    vectors = numpy_helper.from_array(toy_vectors(), "encoder.vectors")
    one = numpy_helper.from_array(np.asarray([1], dtype=np.int64), "encoder.axis")
    two = numpy_helper.from_array(np.asarray([2], dtype=np.int64), "encoder.last")
    nodes = [
        helper.make_node("Gather", ["encoder.vectors", "input_ids"], ["encoder.tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["encoder.mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["encoder.mask", "encoder.last"], ["encoder.wide"]),
        helper.make_node("Mul", ["encoder.tokens", "encoder.wide"], ["encoder.kept"]),
        helper.make_node(
            "ReduceSum", ["encoder.kept", "encoder.axis"], ["encoder.sum"], keepdims=0
        ),
        helper.make_node("LpNormalization", ["encoder.sum"], ["unit"], axis=-1, p=2),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("unit", TensorProto.FLOAT, ["batch", DIM])
    graph = helper.make_graph(nodes, "toy", inputs, [output], [vectors, one, two])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    spec = EncoderSpec("toy", "0" * 64, DIM, max_length, "sum")
    return Encoder(spec, model.SerializeToString(), toy_tokenizer().to_str())


def toy_head(kind: str, *, dim: int = DIM, n_experts: int = 3, temperature: float = 0.7) -> Head:
    """Random float32 head of one kind: linear, prior, mlp, or domain (with a prior)."""
    random = np.random.default_rng(11)

    def array(*shape: int) -> NDArray[np.float32]:
        return random.normal(size=shape).astype(np.float32)

    if kind == "mlp":
        hidden = Hidden(array(8, dim), array(8))
        return Head(array(n_experts, 8), array(n_experts), None, hidden, temperature)
    prior = domain = None
    if kind != "linear":
        shares = random.dirichlet(np.ones(n_experts), size=4).astype(np.float32)
        prior = TagPrior(units(4, dim, 3).astype(np.float32), shares)
    if kind == "domain":
        shares = random.dirichlet(np.ones(n_experts), size=2).astype(np.float32)
        gate = np.asarray([5.0, 0.4], dtype=np.float32)
        domain = DomainPrior(array(2, dim), array(2), shares, array(4, n_experts), gate)
    return Head(array(n_experts, dim), array(n_experts), prior, None, temperature, domain)


def toy_estimates(head: Head, *, costs: bool = True) -> Head:
    """Return the head with random estimates, of costs too, and of novelty where it has tags."""
    random = np.random.default_rng(12)
    n_experts, dim = len(head.bias), head.dim

    def array(*shape: int) -> NDArray[np.float32]:
        return random.normal(size=shape).astype(np.float32)

    model = CostModel(
        weight=array(n_experts, dim),
        length=np.abs(array(n_experts)),
        bias=array(n_experts),
        low=np.full(n_experts, -3.0, dtype=np.float32),
        high=np.full(n_experts, 3.0, dtype=np.float32),
    )
    estimates = Estimates(
        slope=np.asarray([0.3], dtype=np.float32),
        level=array(dim),
        level_bias=array(1),
        costs=model if costs else None,
        nearness=None if head.prior is None else np.linspace(-0.5, 1, 5, dtype=np.float32),
    )
    return replace(head, estimates=estimates)


TOY_DECISIONS = Decisions(
    points=(
        Point("quality"),
        Point("match", 0.05),
        Point("economy", 0.5),
        Point("safe", expert=EXPERTS[1]),
    ),
    recommended="safe",
    curve=(Knot(0.0, 0.8, 3.0, 2.5), Knot(0.1, 0.7, 2.0, 2.0), Knot(9.0, 0.2, 0.5, 0.5)),
)


def toy_files(
    head: Head, experts: Sequence[str] = EXPERTS, *, tagged: bool = True
) -> dict[str, bytes]:
    """Content of router.onnx, tokenizer.json and the tag index of a toy router."""
    encoder = toy_encoder()
    files = {
        "router.onnx": router_graph(encoder, head, experts),
        "tokenizer.json": encoder.tokenizer.encode(),
    }
    if tagged:
        rewards = np.random.default_rng(2).random((12, len(experts)))
        tags = TagAssignment.from_lists([["abcd"[i % 4]] for i in range(12)])
        index = TagIndex.build(units(12, DIM, 8).astype(np.float32), tags, rewards)
        files |= index.to_files()
    return files


def toy_config(head: Head, experts: Sequence[str] = EXPERTS, **sections: Any) -> RouterConfig:
    """What config.json of a toy router says before writing adds the sums; `sections` of it."""
    return RouterConfig(
        experts=tuple(experts),
        encoder=toy_encoder().spec,
        calibration=Calibration(head.temperature),
        training=sections.pop("training", Training((0.5,) * len(experts))),
        **sections,
    )


def toy_router(
    path: Path,
    kind: str | Head = "prior",
    experts: Sequence[str] = EXPERTS,
    *,
    tagged: bool = True,
    **sections: Any,
) -> Head:
    """Write a whole, valid router directory of a few kilobytes and return its head.

    `kind` names the head, or is one; `sections` are those of `toy_config`.
    """
    head = kind if isinstance(kind, Head) else toy_head(kind, n_experts=len(experts))
    files = toy_files(head, experts, tagged=tagged)
    write_router(path, toy_config(head, experts, **sections), files, head)
    return head


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write rows as JSON lines, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def edit_config(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change config.json of a router in place."""
    file = path / "config.json"
    config = json.loads(file.read_text("utf-8"))
    change(config)
    file.write_text(json.dumps(config), "utf-8")


def replace_file(path: Path, name: str, content: bytes) -> None:
    """Replace one file of a router and promise the new content in config.json."""
    (path / name).write_bytes(content)
    promise = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit_config(path, lambda config: config["files"].update({name: promise}))


def open_files() -> set[str]:
    """What this process holds open or mapped below a temporary folder, where /proc tells."""
    held = {os.path.realpath(link) for link in Path("/proc/self/fd").glob("*")}
    maps = Path("/proc/self/maps")
    lines = maps.read_text("utf-8").splitlines() if maps.is_file() else []
    return {name for name in held | {line.partition("/")[2] for line in lines} if "pytest" in name}
