"""A prompt's words beside its meaning: the graph against numpy, and when they are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.tiny_encoders import DIM, TEXTS, save_tiny
from zooter_lite import Router, fit_router
from zooter_lite.encode.load import load_encoder
from zooter_lite.encode.words import HALF, Words
from zooter_lite.head.wording import Worded

QUERIES = [f"add {a} and {b}" for a in range(12) for b in range(10)]


@pytest.mark.parametrize(
    "kind", ["bert", "distilbert", pytest.param("electra", marks=pytest.mark.slow)]
)
def test_the_graph_computes_what_the_head_was_fitted_on(tmp_path: Path, kind: str) -> None:
    save_tiny(tmp_path / "tiny", "mean", kind, prompt="query: ")
    plain = load_encoder(str(tmp_path / "tiny"), tmp_path)
    words = Words.of(plain)
    assert words is not None
    (sentences,) = plain.session().run(TEXTS, ["unit"])
    expected = words.beside(sentences, TEXTS)
    both = words.encoder()
    width = len(words.usual)
    assert (both.spec.dim, both.spec.words) == (DIM + width, width)
    assert expected.shape == (len(TEXTS), DIM + width)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(expected[:, :DIM], sentences * HALF)
    (found,) = both.session().run(TEXTS, ["unit"])
    np.testing.assert_allclose(found, expected, atol=2e-6)
    for text, row in zip(TEXTS, found, strict=True):  # alone as among others
        np.testing.assert_allclose(both.session().run([text], ["unit"])[0][0], row, atol=1e-6)


def test_a_prompt_without_a_token_has_words_too(tiny: Path, cache: Path) -> None:
    plain = load_encoder(str(tiny), cache)
    tokenizer = json.loads(plain.tokenizer) | {"post_processor": None}  # no token around a text
    bare = replace(plain, tokenizer=json.dumps(tokenizer))
    words = Words.of(bare)
    assert words is not None
    texts = ["", "add 1 and 2"]
    (found,) = words.encoder().session().run(texts, ["unit"])
    assert np.isfinite(found).all()
    (sentences,) = bare.session().run(texts, ["unit"])
    np.testing.assert_allclose(found, words.beside(sentences, texts), atol=2e-6)


def test_the_words_are_the_mean_of_the_tokens_vectors(tiny: Path, cache: Path) -> None:
    from sentence_transformers import SentenceTransformer

    words = Words.of(load_encoder(str(tiny), cache))
    assert words is not None
    model: Any = SentenceTransformer(str(tiny), device="cpu")
    features = model.preprocess(["rhyme moon with June"])
    vectors = model[0].auto_model.get_input_embeddings()(features["input_ids"])[0]
    own = vectors.detach().numpy().mean(axis=0) - words.usual
    found = words.beside(np.ones((1, DIM), np.float32), ["rhyme moon with June"])[0, DIM:]
    np.testing.assert_allclose(found, HALF * own / np.linalg.norm(own), atol=1e-5)


def test_a_static_encoder_has_no_words_apart(tiny: Path, cache: Path) -> None:
    encoder = load_encoder(str(tiny), cache)
    static = replace(encoder, spec=replace(encoder.spec, pooling="static"))
    assert Words.of(static) is None


def test_words_that_gain_nothing_leave_no_trace(tiny: Path, tmp_path: Path) -> None:
    options = {"encoder": str(tiny), "cache": str(tmp_path / "cache"), "precision": "fp32"}
    said: list[str] = []
    frame = pd.DataFrame({"query": QUERIES, "reward:a": 0.5, "reward:b": 0.5})
    router = fit_router(frame, tmp_path / "out", say=said.append, **options)
    assert any(line.startswith("words of the prompt left out: +0.00") for line in said)
    assert "words" not in json.loads((tmp_path / "out/config.json").read_text("utf-8"))["encoder"]
    assert router.embed(["add 1 and 2"])[1].shape == (1, DIM)
    said.clear()
    fit_router(frame, tmp_path / "out", say=said.append, domains=False, **options)
    assert not any("words of the prompt" in line for line in said)


@pytest.mark.parametrize(("gain", "kept"), [(0.029, False), (0.031, True)])
def test_only_a_clear_gain_keeps_them(gain: float, kept: bool) -> None:
    choice: Any = None
    assert Worded(choice, gain, standard_error=0.01).pays is kept


def test_the_sample_keeps_its_words(fitted: tuple[Path, str]) -> None:
    path, printed = fitted
    assert "words of the prompt kept: +" in printed
    told = json.loads((path / "report.json").read_text("utf-8"))["words"]
    assert told["kept"]
    assert told["gain"] > 3 * told["standard_error"] > 0
    card = (path / "README.md").read_text("utf-8")
    assert "(768 dimensions, 384 of them the prompt's words, " in card
    router = Router.load(path)
    assert router.config.encoder.words == 384
    _, embedding = router.embed(["What is 17 * 23?"])
    assert embedding.shape == (1, 768)
    halves = np.linalg.norm(embedding.reshape(2, 384), axis=1)
    np.testing.assert_allclose(halves, HALF, atol=1e-3)
