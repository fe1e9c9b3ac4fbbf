"""The BERT family's encoder graph, built straight from the weights. No torch.

BERT (MiniLM, E5, BGE, GTE and others are BERTs) and DistilBERT, with mean, CLS or max
pooling. Whatever else a folder holds is left to torch's exporter (encoder.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from safetensors import SafetensorError
from safetensors.numpy import load_file

from zooter_lite.graph.builder import MICROSOFT, GraphBuilder, encoder_model, serialise

FloatArray = NDArray[np.float32]

_BERT = {
    "layer": "encoder.layer.{}.",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "attended_norm": "attention.output.LayerNorm",
    "widen": "intermediate.dense",
    "narrow": "output.dense",
    "norm": "output.LayerNorm",
}
_DISTILBERT = {
    "layer": "transformer.layer.{}.",
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "attended": "attention.out_lin",
    "attended_norm": "sa_layer_norm",
    "widen": "ffn.lin1",
    "narrow": "ffn.lin2",
    "norm": "output_layer_norm",
}
_ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
# Settings of sentence_bert_config.json that change nothing; any other is left to torch.
_PLAIN: dict[str, Any] = {
    "do_lower_case": False,
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
# "mean_sqrt_len" has the direction of the mean, so the same unit vector
_POOLINGS = {"mean": "mean", "mean_sqrt_len": "mean", "cls": "cls", "max": "max"}


@dataclass(frozen=True)
class Bert:
    """What the folder of a BERT-family encoder says."""

    weights: dict[str, FloatArray]  # by name, float32
    names: dict[str, str]  # of a layer's parts in `weights`
    heads: int
    layers: int
    epsilon: float  # of the layer norms
    gelu: str  # its approximation
    dim: int  # of the embedding
    max_length: int  # tokens after which a query is truncated
    pooling: str  # "mean", "cls" or "max"
    tokenizer: str  # content of tokenizer.json


def read_bert(folder: Path) -> Bert | None:
    """Read a sentence-transformers folder; None where this module cannot build its graph."""
    try:
        modules = [
            (module["type"].rsplit(".", 1)[-1], folder / module["path"])
            for module in json.loads((folder / "modules.json").read_text("utf-8"))
        ]
        kinds = [kind for kind, _ in modules]
        if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
            return None
        body, pooling = modules[0][1], _pooling(_json(modules[1][1] / "config.json"))
        config = _json(body / "config.json")
        settings = _json(body / "sentence_bert_config.json")
        max_length = settings.pop("max_seq_length", None)
        if max_length is None:
            max_length = _json(body / "tokenizer_config.json")["model_max_length"]
        tokenizer = (body / "tokenizer.json").read_text("utf-8")
        plain = all(_PLAIN[key] == value for key, value in settings.items())
        if pooling is None or not plain:
            return None
        weights = {  # without the prefix that some checkpoints have
            name.removeprefix("bert.").removeprefix("distilbert."): tensor.astype(np.float32)
            for name, tensor in load_file(body / "model.safetensors").items()
            if tensor.dtype.kind == "f"
        }
        return _bert(config, weights, max_length, pooling, tokenizer)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, AttributeError):
        return None


def _json(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))


def _pooling(config: dict[str, Any]) -> str | None:
    """Return the pooling mode, or None where there are several or one we do not build."""
    modes = config.get("pooling_mode")
    if modes is None:  # as older releases of sentence-transformers write it
        start = "pooling_mode_"
        modes = [
            key.removeprefix(start) for key, on in config.items() if on is True and start in key
        ]
    names = [modes] if isinstance(modes, str) else list(modes)
    names = [name.removeprefix("pooling_mode_").split("_token")[0] for name in names]
    return _POOLINGS.get(names[0]) if len(names) == 1 else None


def _bert(
    config: dict[str, Any],
    weights: dict[str, FloatArray],
    max_length: int,
    pooling: str,
    tokenizer: str,
) -> Bert | None:
    kind = config["model_type"]
    if kind == "bert" and config.get("position_embedding_type", "absolute") == "absolute":
        act, names = config["hidden_act"], _BERT
        heads, layers = config["num_attention_heads"], config["num_hidden_layers"]
    elif kind == "distilbert":
        act, names = config["activation"], _DISTILBERT
        heads, layers = config["n_heads"], config["n_layers"]
    else:
        return None
    if act not in _ACTIVATIONS or config.get("is_decoder"):
        return None
    word = weights["embeddings.word_embeddings.weight"]
    positions = len(weights["embeddings.position_embeddings.weight"])
    return Bert(
        weights=weights,
        names=names,
        heads=heads,
        layers=layers,
        epsilon=config.get("layer_norm_eps", 1e-12),
        gelu=_ACTIVATIONS[act],
        dim=word.shape[1],
        max_length=min(int(max_length), positions),
        pooling=pooling,
        tokenizer=tokenizer,
    )


def bert_graph(bert: Bert) -> bytes:
    """Serialise the graph: input_ids, attention_mask (batch, length) to `unit` (batch, dim).

    Query, key and value are one product; attention is onnxruntime's fused operator.
    """
    graph = GraphBuilder("encoder")
    hidden = _embedded(graph, bert)
    mask = graph.add("Cast", "attention_mask", to=TensorProto.INT32)
    for layer in range(bert.layers):
        hidden = _layer(graph, bert, bert.names["layer"].format(layer), hidden, mask)
    _unit(graph, bert.pooling, hidden)
    return serialise(encoder_model(graph, bert.dim))


def _embedded(graph: GraphBuilder, bert: Bert) -> str:
    """Word plus position plus (for BERT) first-segment embeddings, normalised."""
    stem = "embeddings."
    places = bert.weights[f"{stem}position_embeddings.weight"]
    segments = bert.weights.get(f"{stem}token_type_embeddings.weight")
    if segments is not None:
        places = places + segments[0]
    word = graph.constant("word", bert.weights[f"{stem}word_embeddings.weight"])
    words = graph.add("Gather", word, "input_ids")
    length = graph.add("Shape", "input_ids", start=1, end=2)
    place = graph.add(
        "Slice", graph.constant("position", places), graph.integers(0), length, graph.integers(0)
    )
    return _norm(graph, bert, f"{stem}LayerNorm", graph.add("Add", words, place))


def _layer(graph: GraphBuilder, bert: Bert, stem: str, hidden: str, mask: str) -> str:
    """One transformer layer, normalised after each residual sum."""
    names = bert.names
    parts = [stem + names[part] for part in ("query", "key", "value")]
    weight = np.concatenate([bert.weights[f"{part}.weight"].T for part in parts], axis=1)
    bias = np.concatenate([bert.weights[f"{part}.bias"] for part in parts])
    product = graph.add("MatMul", hidden, graph.constant(f"{stem}qkv.weight", weight))
    heads = graph.split(product, outputs=3, axis=-1, num_outputs=3)
    context = graph.add(
        "MultiHeadAttention",
        *heads,
        graph.constant(f"{stem}qkv.bias", bias),
        mask,
        domain=MICROSOFT,
        num_heads=bert.heads,
    )
    attended = _linear(graph, bert, stem + names["attended"], context)
    hidden = _norm(graph, bert, stem + names["attended_norm"], graph.add("Add", attended, hidden))
    wide = _linear(graph, bert, stem + names["widen"], hidden)
    active = graph.add("Gelu", wide, approximate=bert.gelu)
    narrow = _linear(graph, bert, stem + names["narrow"], active)
    return _norm(graph, bert, stem + names["norm"], graph.add("Add", narrow, hidden))


def _linear(graph: GraphBuilder, bert: Bert, name: str, inputs: str) -> str:
    weight = graph.constant(f"{name}.weight", bert.weights[f"{name}.weight"].T)
    product = graph.add("MatMul", inputs, weight)
    return graph.add("Add", product, graph.constant(f"{name}.bias", bert.weights[f"{name}.bias"]))


def _norm(graph: GraphBuilder, bert: Bert, name: str, inputs: str) -> str:
    parts = [graph.constant(f"{name}.{p}", bert.weights[f"{name}.{p}"]) for p in ("weight", "bias")]
    return graph.add("LayerNormalization", inputs, *parts, axis=-1, epsilon=bert.epsilon)


def _unit(graph: GraphBuilder, pooling: str, hidden: str) -> None:
    """Pool the tokens and scale to unit length, as the graph's output."""
    if pooling == "cls":
        pooled = graph.add(
            "Gather", hidden, graph.constant("first", np.asarray(0, dtype=np.int64)), axis=1
        )
    elif pooling == "max":
        present = graph.add("Cast", "attention_mask", to=TensorProto.BOOL)
        present = graph.add("Unsqueeze", present, graph.integers(2))
        tokens = graph.add("Where", present, hidden, graph.scalar("masked", -1e9))
        pooled = graph.add("ReduceMax", tokens, graph.integers(1), keepdims=0)
    else:  # the sum has the direction of the mean
        present = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
        present = graph.add("Unsqueeze", present, graph.integers(1))
        pooled = graph.add("MatMul", present, hidden)
        pooled = graph.add("Squeeze", pooled, graph.integers(1))
    length = graph.add("ReduceL2", pooled, graph.integers(-1), keepdims=1)
    graph.add("Div", pooled, graph.add("Max", length, graph.scalar("tiny", 1e-12)), output="unit")
