"""Reward models: batches agree with one transformers call per pair.

The architectures are real, the weights random: the plumbing is tested, not a model's taste.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from tests.tiny_encoders import tiny_tokenizer
from zooter_lite.errors import DataError
from zooter_lite.scoring import reward_model
from zooter_lite.scoring.reward_model import Network, RewardModel
from zooter_lite.scoring.scorer import Item

MAX_LENGTH = 96
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }} {{ eos_token }}"
    "{% endfor %}"
)
PAIRS = [
    ("a cab", "bad"), ("face", ""), ("a b c", "d e " * 30), ("!", "Ünknown 日本語"),
    ("a b c d", "0 1 2 3 4 5"), ("cab " * 20, "face " * 9), ("x", "y z"), ("a cab", "bad"),
]  # fmt: skip
LONG = [*PAIRS, ("a", "b " * 300), ("c " * 200, "d")]


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, to compare with direct calls."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def make(folder: Path, kind: str, labels: int = 1) -> Path:
    """Save a tiny reward model with random weights.

    `llama` has no pad token, `llama-left` has one and a tokenizer that pads on the left.
    """
    torch.manual_seed(3)
    tokenizer, size = tiny_tokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = {"bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "[UNK]"}
    shared: dict[str, Any] = {"vocab_size": size, "num_labels": labels, "initializer_range": 0.3}
    model: Any
    if kind == "bert":
        names |= {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        model = BertForSequenceClassification(BertConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
            max_position_embeddings=MAX_LENGTH, **shared,
        ))  # fmt: skip
    else:
        pad = 0 if kind == "llama-left" else None
        names |= {} if pad is None else {"pad_token": "[PAD]"}
        model = LlamaForSequenceClassification(LlamaConfig(  # type: ignore[no-untyped-call]
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
            max_position_embeddings=MAX_LENGTH, pad_token_id=pad, bos_token_id=2, eos_token_id=3,
            **shared,
        ))  # fmt: skip
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, model_max_length=MAX_LENGTH, **names
    )
    if kind != "bert":
        wrapped.chat_template = TEMPLATE
        wrapped.model_input_names = ["input_ids", "attention_mask"]
    if kind == "llama-left":
        wrapped.padding_side = "left"
    wrapped.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def direct(folder: Path, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
    """(n_pairs, n_labels) logits of one plain transformers call per pair."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    rows = []
    for query, response in pairs:
        if tokenizer.chat_template:
            turns = [{"role": "user", "content": query}, {"role": "assistant", "content": response}]
            tokens: Any = tokenizer.apply_chat_template(
                turns, return_tensors="pt", return_dict=True, truncation=True, max_length=MAX_LENGTH
            )
        else:
            tokens = tokenizer(query, response, return_tensors="pt", truncation=True)
        with torch.inference_mode():
            rows.append(model(**tokens).logits[0].double().numpy())
    return np.array(rows)


def items_of(pairs: Sequence[tuple[str, str]]) -> list[Item]:
    return [Item(str(i), query, "e", response) for i, (query, response) in enumerate(pairs)]


@pytest.mark.parametrize("kind", ["bert", "llama", "llama-left"])
def test_scores_equal_a_direct_call_and_do_not_depend_on_the_batch(
    tmp_path: Path, kind: str
) -> None:
    folder = make(tmp_path / kind, kind)
    expected = direct(folder, LONG)[:, 0]
    assert expected.std() > 0.1  # random, but not constant
    for tokens in (1, 16384):
        scorer = RewardModel("rm", str(folder), batch_tokens=tokens)
        done: list[float] = []
        scores, notes = scorer.score(items_of(LONG), tmp_path / str(tokens), done.append)
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        assert notes == ["2 of 10 responses truncated"]
        assert sum(done) == len(LONG)


def test_a_second_run_computes_nothing_and_changed_weights_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "bert", "bert")
    scorer = RewardModel("rm", str(folder))
    first, _ = scorer.score(items_of(PAIRS), tmp_path, lambda n: None)
    loaded: list[Path] = []

    def counted(folder: Path, on_gpu: bool) -> Network:
        loaded.append(folder)
        return Network(folder, on_gpu)

    monkeypatch.setattr(reward_model, "Network", counted)
    again, _ = scorer.score(items_of(PAIRS), tmp_path, lambda n: None)
    assert loaded == []
    np.testing.assert_array_equal(first, again)
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    tensors["classifier.bias"] = tensors["classifier.bias"] + 1
    save_file(tensors, weights, metadata={"format": "pt"})
    changed, _ = scorer.score(items_of(PAIRS), tmp_path, lambda n: None)
    assert loaded == [folder]
    np.testing.assert_allclose(changed, first + 1, atol=1e-5)


def test_what_is_no_reward_model_is_refused(tmp_path: Path) -> None:
    def score(folder: Path) -> None:
        RewardModel("rm", str(folder)).score(items_of(PAIRS), tmp_path, lambda n: None)

    headless = make(tmp_path / "headless", "bert")
    BertModel(BertConfig.from_pretrained(headless)).save_pretrained(headless)
    with pytest.raises(DataError, match=r"no weights for 'classifier\.bias'"):
        score(headless)
    with pytest.raises(DataError, match="no such folder or hub model"):
        score(tmp_path / "nowhere")
    with pytest.raises(DataError, match="3 labels, expected one, the reward"):
        score(make(tmp_path / "three", "bert", labels=3))
    custom = make(tmp_path / "custom", "bert")
    config = json.loads((custom / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {
        "AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"
    }}  # fmt: skip
    (custom / "config.json").write_text(json.dumps(config))
    (custom / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(DataError, match="cannot be loaded"):
        score(custom)
    pickled = make(tmp_path / "pickled", "bert")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(DataError, match="cannot be loaded"):
        score(pickled)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be loaded"):
        score(tmp_path / "empty")
