"""Whether a decision depends on what else is in its batch: batch 1 against batch 32.

`python -m recipes.bench.speed.invariance ROUTER PRECISION PROMPTS.json` prints one JSON
line. It looks through the Router, as an application does, and at the bare graph with 32
prompts of all lengths padded into one batch, which the Router's sorted batches avoid.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.bench.speed.ours import GRAPHS, load

BATCH = 32
Probs = NDArray[np.floating]
Predict = Callable[[Sequence[str]], Probs]


def changes(one_by_one: Probs, batched: Probs) -> dict[str, float]:
    """Decisions that differ, and the largest difference of a probability.

    Parameters
    ----------
    one_by_one, batched
        (n_queries, n_experts) each.
    """
    return {
        "changed": int((one_by_one.argmax(axis=1) != batched.argmax(axis=1)).sum()),
        "difference": float(np.abs(one_by_one - batched).max()),
    }


def in_batches(predict: Predict, prompts: Sequence[str]) -> Probs:
    """Predict 32 prompts at a time."""
    return np.concatenate([predict(prompts[i : i + BATCH]) for i in range(0, len(prompts), BATCH)])


def graph_predictor(folder: Path, precision: str) -> Predict:
    """Probabilities straight from the graph, the prompts padded to the longest of them."""
    import onnxruntime
    from tokenizers import Tokenizer

    config = json.loads((folder / "config.json").read_text("utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(config["encoder"]["max_length"])
    tokenizer.enable_padding()
    session = onnxruntime.InferenceSession(
        str(folder / GRAPHS[precision]), providers=["CPUExecutionProvider"]
    )

    def predict(prompts: Sequence[str]) -> Probs:
        encodings = tokenizer.encode_batch(list(prompts))
        feeds: dict[str, Any] = {
            "input_ids": np.asarray([e.ids for e in encodings], dtype=np.int64),
            "attention_mask": np.asarray([e.attention_mask for e in encodings], dtype=np.int64),
        }
        return np.asarray(session.run(["probs"], feeds)[0])

    return predict


def main(folder: str, precision: str, prompts_file: str) -> None:
    """Compare through the Router and, where the precision is one graph, through the graph."""
    prompts = json.loads(Path(prompts_file).read_text("utf-8"))
    # a router of its own for each way: one may remember the answers that it gave
    one, other = load(folder, precision), load(folder, precision)
    alone = np.concatenate([one.predict_proba([prompt]) for prompt in prompts])
    result: dict[str, Any] = {
        "prompts": len(prompts),
        "router": changes(alone, in_batches(other.predict_proba, prompts)),
    }
    if precision == "auto":
        result["repeated"] = one.repeat_share
    if (Path(folder) / GRAPHS.get(precision, "")).is_file():
        result["graph"] = changes(
            alone, in_batches(graph_predictor(Path(folder), precision), prompts)
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
