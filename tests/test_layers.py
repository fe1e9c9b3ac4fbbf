"""`--layers N`: an encoder's first layers alone, against transformers' own hidden states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from tests.conftest import Call
from tests.test_fit import write_planted
from tests.tiny_encoders import TEXTS, save_tiny, tiny_tokenizer
from zooter_lite import Router
from zooter_lite.encode.find import EncoderError
from zooter_lite.encode.load import load_encoder
from zooter_lite.encode.reference import load_torch
from zooter_lite.encode.words import Words, encoder_of

pytestmark = pytest.mark.slow


def pooled(folder: Path, texts: list[str], layer: int) -> Any:
    """(n, dim) unit means of the tokens after a layer, as transformers returns them."""
    encoder: Any = SentenceTransformer(str(folder), device="cpu").eval()
    rows = []
    for text in texts:
        inputs = encoder.tokenize([text])
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            states = encoder[0].auto_model(**inputs, output_hidden_states=True).hidden_states
        rows.append(torch.nn.functional.normalize(states[layer][0].mean(dim=0), dim=0).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra"])  # the last by torch's exporter
def test_the_first_layers_alone_are_pooled(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / kind
    save_tiny(folder, "mean", kind)
    whole = load_encoder(str(folder), tmp_path / "cache")
    first = load_encoder(str(folder), tmp_path / "cache", layers=1)
    assert (whole.spec.layers, first.spec.layers) == (None, 1)
    assert len(first.graph) < len(whole.graph)
    for encoder, layer in ((whole, 2), (first, 1), (whole, 2)):  # the cache tells them apart
        found = encoder.embed(TEXTS, tmp_path / "cache")
        np.testing.assert_allclose(found, pooled(folder, TEXTS, layer), atol=1e-5)
    assert load_encoder(str(folder), tmp_path / "cache", layers=1) == first


@pytest.mark.parametrize("kind", ["bert", "modernbert"])  # the latter lists a kind for each layer
def test_the_first_layers_are_saved_alone(kind: str, tmp_path: Path) -> None:
    save_tiny(tmp_path / "whole", "mean", kind)
    load_torch(tmp_path / "whole", kind, layers=1).save(str(tmp_path / "first"))
    saved = load_encoder(str(tmp_path / "first"), tmp_path / "cache")
    first = load_encoder(str(tmp_path / "whole"), tmp_path / "cache", layers=1)
    expected = first.embed(TEXTS, tmp_path / "cache")
    np.testing.assert_allclose(saved.embed(TEXTS, tmp_path / "cache"), expected, atol=1e-5)


def test_words_stand_beside_first_layers(tiny: Path, tmp_path: Path) -> None:
    first = load_encoder(str(tiny), tmp_path, layers=1)
    words = Words.of(first)
    assert words is not None
    both = words.encoder()
    found = both.embed(TEXTS, tmp_path)
    expected = words.beside(first.embed(TEXTS, tmp_path), TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert encoder_of(both.spec, tmp_path) == both


@pytest.mark.parametrize("kind", ["bert", "electra"])
def test_more_layers_than_there_are(kind: str, tmp_path: Path) -> None:
    save_tiny(tmp_path / "tiny", "mean", kind)
    with pytest.raises(EncoderError, match=r"3 layers asked for, and it has 2$"):
        load_encoder(str(tmp_path / "tiny"), tmp_path / "cache", layers=3)
    assert not (tmp_path / "cache").exists()


def test_an_encoder_without_a_stack_of_layers(tmp_path: Path) -> None:
    words = StaticEmbedding(tiny_tokenizer()[0], embedding_dim=8)
    SentenceTransformer(modules=[words], device="cpu").save(str(tmp_path / "words"))
    save_tiny(tmp_path / "shared", "mean", "albert")  # it runs one layer again and again
    for name in ("words", "shared"):
        with pytest.raises(EncoderError, match="asked for, and it has no one stack of layers"):
            load_encoder(str(tmp_path / name), tmp_path / "cache", layers=1)
    with pytest.raises(EncoderError, match="'static': a static encoder has no layers to keep"):
        load_encoder("static", tmp_path / "cache", layers=1)


def test_a_router_of_the_first_layer(call: Call, tiny: Path, tmp_path: Path) -> None:
    write_planted(tmp_path / "table.csv")
    out, data = tmp_path / "router", ("--data", tmp_path / "table.csv")
    code, _, errors = call("fit", *data, "--out", out, "--encoder", tiny, "--layers", 1)
    assert code == 0, errors
    config = json.loads((out / "config.json").read_text("utf-8"))
    assert config["encoder"]["layers"] == 1
    assert "the first 1 layers" in (out / "README.md").read_text("utf-8")
    found = Router.load(out).embed(TEXTS)[1]
    np.testing.assert_allclose(found, pooled(tiny, TEXTS, 1), atol=1e-5)
    before = (out / "router.onnx").read_bytes()
    assert call("export", "--router", out, *data)[0] == 0
    assert (out / "router.onnx").read_bytes() == before


@pytest.mark.parametrize("layers", [0, -1])
def test_less_than_a_layer_is_refused(call: Call, layers: int, tmp_path: Path) -> None:
    code, printed, errors = call("fit", "--out", tmp_path / "router", "--layers", layers)
    assert (code, printed) == (2, "")
    assert errors == f"error: --layers {layers}: expected a number from 1 to 10000\n"
