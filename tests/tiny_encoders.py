"""Tiny encoders with random weights, as sentence-transformers saves them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

DIM, MAX_LENGTH = 32, 24
TEXTS = [
    "a cab", "", "bad", "a b c d e " * 60, "Ünknown 日本語 !", "abcde edcba", "face dab",
    "a", "cab " * 21, "cab " * 22, "cab " * 23, "\n\t", "a cab",
]  # fmt: skip


def tiny_tokenizer() -> tuple[Tokenizer, int]:
    """Words of letters, [CLS] and [SEP] around them; and the size of the vocabulary."""
    letters = "abcdefghijklmnopqrstuvwxyz!?:0123456789"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cab", "##ab", "face"]
    words += [*letters, *(f"##{letter}" for letter in letters)]
    tokenizer = Tokenizer(WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer, len(words)


def save_tiny(
    folder: Path, pooling: str, kind: str = "bert", *, normalise: bool = False, prompt: str = ""
) -> None:
    """Two layers with random weights; `prompt` becomes the declared default prompt."""
    torch.manual_seed(7)
    tokenizer, size = tiny_tokenizer()
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=MAX_LENGTH,
    )  # fmt: skip
    plain = folder.with_name(f"{folder.name}-plain")
    sizes = {
        "vocab_size": size, "hidden_size": DIM, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": 64, "initializer_range": 0.3,
    }  # fmt: skip
    length = MAX_LENGTH
    if kind == "roberta":  # its first position is that after the padding token's number
        length += 2
        sizes |= {"max_position_embeddings": length, "pad_token_id": 1, "type_vocab_size": 1}
    if kind == "modernbert":
        sizes |= {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3}
        sizes |= {"bos_token_id": 2, "eos_token_id": 3}
    if kind in ("electra", "albert"):
        sizes |= {"embedding_size": 16}
    sizes |= {"distilbert": {"hidden_dim": 64}}.get(kind, {})
    config = AutoConfig.for_model(kind, **sizes)
    AutoModel.from_config(config).save_pretrained(plain)  # type: ignore[no-untyped-call]
    wrapped.save_pretrained(plain)
    body = Transformer(str(plain), max_seq_length=length)
    modules: list[torch.nn.Module] = [body, Pooling(DIM, pooling_mode=pooling)]
    if normalise:
        modules.append(Normalize())
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    if prompt:
        file = folder / "config_sentence_transformers.json"
        declared = {"prompts": {"query": prompt}, "default_prompt_name": "query"}
        file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | declared), "utf-8")
