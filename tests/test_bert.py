"""The direct graph against sentence-transformers, for every family and pooling that it builds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from tests.tiny_encoders import DIM, MAX_LENGTH, TEXTS, save_tiny
from zooter_lite.encode.encoder import cache_key
from zooter_lite.encode.find import EncoderError
from zooter_lite.encode.load import load_encoder
from zooter_lite.graph.bert import bert_graph, read_bert
from zooter_lite.router.session import TextSession

CASES = [
    ("bert", "mean", False), ("bert", "cls", True), ("bert", "max", False),
    ("distilbert", "mean", True),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "pooling", "normalise"), CASES)
def test_the_direct_graph_equals_sentence_transformers(
    tmp_path: Path, kind: str, pooling: str, normalise: bool
) -> None:
    folder = tmp_path / "tiny"
    save_tiny(folder, pooling, kind, normalise=normalise)
    bert = read_bert(folder)
    assert bert is not None
    assert (bert.dim, bert.max_length) == (DIM, MAX_LENGTH)
    expected = SentenceTransformer(str(folder), device="cpu").encode(
        TEXTS, normalize_embeddings=True
    )
    session = TextSession(bert_graph(bert), bert.tokenizer, bert.max_length)
    (found,) = session.run(TEXTS, ["unit"])
    np.testing.assert_allclose(found, expected, atol=2e-6)
    for text, row in zip(TEXTS, found, strict=True):  # padding: alone as among others
        np.testing.assert_allclose(session.run([text], ["unit"])[0][0], row, atol=1e-6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny encoder with mean pooling."""
    save_tiny(tmp_path / "tiny", "mean")
    return tmp_path / "tiny"


def edit(folder: Path, name: str, **changes: object) -> None:
    file = folder / name
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes), "utf-8")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("config.json", {"model_type": "electra"}),
        ("config.json", {"hidden_act": "silu"}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("1_Pooling/config.json", {"pooling_mode": "weightedmean"}),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "max"]}),
        ("model.safetensors", {}),  # damaged, which the library names
    ],
)
def test_what_it_cannot_build_is_left_to_torch(
    folder: Path, name: str, values: dict[str, object]
) -> None:
    assert read_bert(folder) is not None
    if values:
        edit(folder, name, **values)
    else:
        (folder / name).write_bytes(b"nothing")
    assert read_bert(folder) is None
    assert read_bert(folder.parent) is None


def test_the_older_form_of_the_settings_is_read_too(folder: Path) -> None:
    modes = {f"pooling_mode_{mode}": mode == "max_tokens" for mode in ("cls_token", "max_tokens")}
    older = {"word_embedding_dimension": DIM} | modes
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(older), "utf-8")
    settings = {"max_seq_length": 9, "do_lower_case": False}
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings), "utf-8")
    bert = read_bert(folder)
    assert bert is not None
    assert (bert.max_length, bert.pooling) == (9, "max")


@pytest.mark.parametrize("how", ["declared", "given"])
def test_a_prompt_stands_before_every_query(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "tiny"
    save_tiny(folder, "mean", prompt="face: " if how == "declared" else "")
    encoder = load_encoder(str(folder), tmp_path / "cache", None if how == "declared" else "face: ")
    assert encoder.spec.prompt == "face: "
    reference = SentenceTransformer(str(folder), device="cpu")
    expected = reference.encode(TEXTS, prompt="face: ", normalize_embeddings=True)
    np.testing.assert_allclose(encoder.session().run(TEXTS, ["unit"])[0], expected, atol=2e-6)
    plain = load_encoder(str(folder), tmp_path / "cache", "")
    assert plain.spec.prompt == ""
    assert cache_key(plain.spec) != cache_key(encoder.spec)
    assert np.abs(plain.session().run(TEXTS, ["unit"])[0] - expected).max() > 0.01


def test_a_prompt_that_melts_into_the_text_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="the prompt 'cab' does not tokenise apart from 'What"):
        load_encoder(str(folder), tmp_path / "cache", "cab")


def test_a_pooling_without_the_prompt_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    save_tiny(folder, "mean", prompt="face: ")
    edit(folder, "1_Pooling/config.json", include_prompt=False)
    with pytest.raises(EncoderError, match="its pooling leaves out the prompt 'face: '"):
        load_encoder(str(folder), tmp_path / "cache")
    assert load_encoder(str(folder), tmp_path / "cache", "").spec.prompt == ""
