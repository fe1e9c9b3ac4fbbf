"""The peers as contestants, each on the same all-MiniLM-L6-v2 weights.

Each is used as its own README shows, with the answer to one prompt timed whole. Heads
are fitted on a few rows or random: a head's weights do not change its speed.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from recipes.bench.speed.ours import THREADS, versions
from recipes.bench.speed.protocol import Contestant

EXPERTS = ("calculator", "lexicon", "calendar", "generalist")
EXAMPLES = {
    "calculator": ["What is 17 * 23?", "Add 9 and 4", "Divide 84 by 7", "Square root of 81?"],
    "lexicon": ["Define brisk", "A synonym of happy", "Spell the word for fear", "Plural of ox?"],
    "calendar": ["Which day is 1 May?", "Days until June", "Is 2028 a leap year?", "What month?"],
    "generalist": ["Tell me a story", "Write a poem", "Who are you?", "Give me some advice"],
}


def _two_threads() -> None:
    import torch

    torch.set_num_threads(THREADS)


def _rows() -> tuple[list[str], list[str]]:
    texts = [text for expert in EXPERTS for text in EXAMPLES[expert]]
    return texts, [expert for expert in EXPERTS for _ in EXAMPLES[expert]]


def setfit(encoder: str) -> Contestant:
    """SetFit: `predict_proba` with its default logistic head, fitted on the examples."""
    from setfit import SetFitModel

    _two_threads()
    body = SetFitModel.from_pretrained(encoder, labels=list(EXPERTS), device="cpu")
    texts, labels = _rows()
    body.model_head.fit(body.encode(texts, show_progress_bar=False), labels)

    def predict(prompts: list[str]) -> object:
        return body.predict_proba(prompts, show_progress_bar=False)

    return Contestant(
        decide=lambda prompt: predict([prompt]),
        decide_many=predict,
        about=versions("setfit", "sentence-transformers", "transformers", "torch"),
    )


def routellm(encoder: str) -> Contestant:
    """RouteLLM's BERT router with a random classification head; it takes one prompt a call."""
    os.environ.setdefault("OPENAI_API_KEY", "unused")  # the module makes a client on import
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    _two_threads()
    from routellm.routers.routers import BERTRouter

    with tempfile.TemporaryDirectory() as checkpoint:
        body = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=3)
        body.save_pretrained(checkpoint)
        AutoTokenizer.from_pretrained(encoder).save_pretrained(checkpoint)
        router = BERTRouter(checkpoint)

    def each(prompts: list[str]) -> list[float]:
        return [router.calculate_strong_win_rate(prompt) for prompt in prompts]

    return Contestant(
        decide=router.calculate_strong_win_rate,
        decide_many=each,
        about=versions("routellm", "transformers", "torch"),
    )


def adaptive_classifier(encoder: str, runtime: str) -> Contestant:
    """adaptive-classifier with its encoder in torch, in ONNX, or in the int8 ONNX that it saves.

    `runtime` is "torch", "onnx" (its own choice on a CPU) or "saved" (fitted in torch,
    saved and loaded again, which by default quantises).
    """
    from adaptive_classifier import AdaptiveClassifier

    _two_threads()
    router: Any = AdaptiveClassifier(encoder, device="cpu", use_onnx=runtime == "onnx")
    if router.use_onnx != (runtime == "onnx"):
        raise RuntimeError("it fell back to torch")
    router.add_examples(*_rows())
    if runtime == "saved":
        with tempfile.TemporaryDirectory() as folder:
            router.save(folder)
            if not (Path(folder) / "onnx" / "model_quantized.onnx").is_file():
                raise RuntimeError("it saved no quantised graph")
            router = AdaptiveClassifier.load(folder, device="cpu")
    return Contestant(
        decide=router.predict,
        decide_many=router.predict_batch,
        about=versions("adaptive-classifier", "transformers", "torch", "onnxruntime"),
    )


def semantic_router(encoder: str) -> Contestant:
    """semantic-router with its HuggingFace encoder and the local index; whole decision."""
    from semantic_router import IndexedRouter, Route
    from semantic_router.encoders import HuggingFaceEncoder

    _two_threads()
    routes = [Route(name=expert, utterances=EXAMPLES[expert]) for expert in EXPERTS]
    router = IndexedRouter(HuggingFaceEncoder(name=encoder, device="cpu"), routes)
    return Contestant(
        decide=router,
        # its only call that decides many prompts at once
        decide_many=lambda prompts: router.evaluate(prompts, [None] * len(prompts)),
        about=versions("semantic-router", "transformers", "torch"),
    )
