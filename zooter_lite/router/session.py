"""Text in, arrays out: tokenizers and onnxruntime around one exported graph."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from zooter_lite.errors import RouterError

TOKENS_PER_BATCH = 512  # padding and cache, not arithmetic, decide the speed of a batch


class TextSession:
    """Runs a graph with inputs input_ids and attention_mask on texts.

    Safe to share between threads. Batches hold texts of about the same length, at
    most `TOKENS_PER_BATCH` padded tokens each; the results keep the order of the texts.

    Parameters
    ----------
    model
        Serialised ONNX graph; inputs input_ids and attention_mask int64 (batch, length).
    tokenizer
        Content of a tokenizer.json.
    max_length
        Longer texts are truncated to this many tokens.
    """

    def __init__(self, model: bytes, tokenizer: str, max_length: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # batches run side by side instead
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=_providers())
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise RouterError(f"onnxruntime cannot load the graph ({error})") from error
        self.widths: dict[str, object] = {
            output.name: output.shape[-1] for output in self._session.get_outputs()
        }
        inputs = sorted(node.name for node in self._session.get_inputs())
        if inputs != ["attention_mask", "input_ids"]:
            raise RouterError(
                f"the graph has the inputs {inputs}, expected attention_mask and input_ids"
            )
        try:
            self._tokenizer = Tokenizer.from_str(tokenizer)
        except Exception as error:  # the tokenizers library raises plain Exception
            raise RouterError(f"tokenizer.json cannot be read ({error})") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self._workers = ThreadPoolExecutor(_cores(), thread_name_prefix="zooter")

    @property
    def metadata(self) -> dict[str, str]:
        """The graph's metadata_props."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def run(
        self,
        texts: Sequence[str],
        outputs: Sequence[str],
        progress: Callable[[int], object] = lambda _: None,
    ) -> list[NDArray[np.float32]]:
        """Run the graph on `texts` and return the named outputs, rows in the order of the texts.

        `progress` is called with the number of texts done since the last call.
        """
        tokens = [
            np.asarray(encoding.ids, dtype=np.int64)
            for encoding in self._tokenizer.encode_batch([_encodable(text) for text in texts])
        ]
        batches = list(_batches(tokens))
        feed = self._session.run
        if len(batches) == 1:
            done = [feed(list(outputs), _inputs(tokens, batches[0]))]
            progress(len(texts))
        else:
            done = []
            jobs = [
                self._workers.submit(feed, list(outputs), _inputs(tokens, batch))
                for batch in batches
            ]
            for batch, job in zip(batches, jobs, strict=True):
                done.append(job.result())
                progress(len(batch))
        order = np.concatenate(batches) if batches else np.zeros(0, dtype=np.int64)
        return [_in_order([part[i] for part in done], order) for i in range(len(outputs))]


def _providers() -> list[str]:
    available = onnxruntime.get_available_providers()
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    return [provider for provider in wanted if provider in available]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _encodable(text: str) -> str:
    """Replace lone surrogates, which the tokeniser cannot take."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _batches(tokens: list[NDArray[np.int64]]) -> Iterator[NDArray[np.int64]]:
    """Positions of the texts of each batch, by ascending length."""
    lengths = np.asarray([len(ids) for ids in tokens], dtype=np.int64)
    batch: list[int] = []
    for position in np.argsort(lengths, kind="stable"):
        if batch and lengths[position] * (len(batch) + 1) > TOKENS_PER_BATCH:
            yield np.asarray(batch)
            batch = []
        batch.append(int(position))
    if batch:
        yield np.asarray(batch)


def _inputs(tokens: list[NDArray[np.int64]], batch: NDArray[np.int64]) -> dict[str, Any]:
    length = max(1, *(len(tokens[i]) for i in batch))
    input_ids = np.zeros((len(batch), length), dtype=np.int64)
    attention_mask = np.zeros((len(batch), length), dtype=np.int64)
    for row, i in enumerate(batch):
        input_ids[row, : len(tokens[i])] = tokens[i]
        attention_mask[row, : len(tokens[i])] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def _in_order(parts: list[NDArray[np.float32]], order: NDArray[np.int64]) -> NDArray[np.float32]:
    if not parts:
        return np.zeros((0, 0), dtype=np.float32)
    stacked = np.concatenate(parts)
    result = np.empty_like(stacked)
    result[order] = stacked
    return result
