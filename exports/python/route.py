"""Route prompts with an exported router: onnxruntime, tokenizers and numpy, nothing else.

    python route.py ROUTER "What is 17 * 23?" "Write a haiku."
    python route.py --int8 ROUTER < prompts.json     # a JSON list of texts
    python route.py --point economy ROUTER "What is 17 * 23?"

Prints a JSON list: for each prompt the expert, every expert's probability, the reward and
cost to expect of the chosen one where the router knows them, and the milliseconds from text
to decision. All that it reads is ROUTER/router.onnx (or router.int8.onnx) and
ROUTER/tokenizer.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

OUTPUTS = ("probs", "rewards", "costs")  # older routers have only the first


class Point(NamedTuple):
    """An operating point: what a unit of cost weighs against reward, or one expert for all."""

    cost_weight: float
    expert: str | None


class TextRouter:
    """Text in, decision out.

    Parameters
    ----------
    graph
        Path of router.onnx or router.int8.onnx; its metadata names the experts, the
        operating points and the length at which prompts are cut.
    tokenizer
        Path of tokenizer.json.
    """

    def __init__(self, graph: Path, tokenizer: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # steadier than several beside other work
        self._session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )
        properties = self._session.get_modelmeta().custom_metadata_map
        self.experts: list[str] = json.loads(properties["zooter.experts"])
        self.points = {
            name: Point(
                float(properties.get(f"zooter.point.{name}.cost_weight", "0")),
                properties.get(f"zooter.point.{name}.expert"),
            )
            for name in json.loads(properties.get("zooter.points", '["quality"]'))
        }
        outputs = {output.name for output in self._session.get_outputs()}
        self._outputs = [name for name in OUTPUTS if name in outputs]
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(int(properties["zooter.max_length"]))

    def route(self, prompt: str, point: str = "quality") -> dict[str, Any]:
        """Choose the expert of one prompt at one of `points`; of equals the first."""
        start = time.perf_counter()
        text = prompt.encode("utf-8", "replace").decode("utf-8")  # half an emoji is no text
        ids = self._tokenizer.encode(text).ids
        mask = [1] * len(ids)
        feeds = {  # a tokenizer without [CLS] makes no token of "": one masked column then
            "input_ids": np.array([ids or [0]], dtype=np.int64),
            "attention_mask": np.array([mask or [0]], dtype=np.int64),
        }
        values = self._session.run(self._outputs, feeds)
        predicted = {name: rows[0] for name, rows in zip(self._outputs, values, strict=True)}
        best = self._choose(predicted, self.points[point])
        milliseconds = 1000 * (time.perf_counter() - start)
        probabilities = dict(zip(self.experts, predicted["probs"].tolist(), strict=True))
        answer: dict[str, Any] = {"expert": self.experts[best], "probabilities": probabilities}
        for name in self._outputs[1:]:  # rewards, costs
            answer[f"expected_{name.rstrip('s')}"] = float(predicted[name][best])
        return answer | {"ms": round(milliseconds, 3)}

    def _choose(self, predicted: dict[str, NDArray[np.float32]], point: Point) -> int:
        if point.expert is not None:
            return self.experts.index(point.expert)
        if not point.cost_weight:
            return int(predicted["probs"].argmax())
        rewards, costs = (predicted[name].astype(np.float64) for name in ("rewards", "costs"))
        return int((rewards - point.cost_weight * costs).argmax())


def main() -> None:
    """Read the command line, and standard input where it holds no prompts."""
    parser = argparse.ArgumentParser(description="Route prompts with an exported router.")
    parser.add_argument("router", type=Path, help="router directory")
    parser.add_argument("prompts", nargs="*", help="prompts (default: a JSON list on stdin)")
    parser.add_argument("--int8", action="store_true", help="read router.int8.onnx")
    parser.add_argument("--point", default="quality", help="operating point (default: quality)")
    options = parser.parse_args()
    graph = options.router / ("router.int8.onnx" if options.int8 else "router.onnx")
    tokenizer = options.router / "tokenizer.json"
    for file in (graph, tokenizer):
        if not file.is_file():
            parser.error(f"{file}: no such file")
    prompts = options.prompts or _stdin_list(parser)
    router = TextRouter(graph, tokenizer)
    if options.point not in router.points:
        names = ", ".join(router.points)
        parser.exit(2, f"route.py: point {json.dumps(options.point)}: expected {names}\n")
    answers = [router.route(prompt, options.point) for prompt in prompts]
    sys.stdout.buffer.write(json.dumps(answers, ensure_ascii=False, indent=1).encode() + b"\n")


def _stdin_list(parser: argparse.ArgumentParser) -> list[str]:
    try:
        prompts = json.load(sys.stdin.buffer)
    except ValueError as error:
        parser.error(f"standard input is not JSON ({error})")
    if not isinstance(prompts, list) or not all(isinstance(text, str) for text in prompts):
        parser.error("standard input is not a JSON list of texts")
    return prompts


if __name__ == "__main__":
    main()
