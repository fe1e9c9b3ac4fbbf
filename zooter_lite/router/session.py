"""Text in, arrays out: tokenizers and onnxruntime around one exported graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from zooter_lite.errors import RouterError
from zooter_lite.router.tokens import TextTokens
from zooter_lite.untrusted.limits import bound_memory, run_bounded
from zooter_lite.untrusted.limits import cores as _cores

TOKENS_PER_BATCH = 512  # padding and cache, not arithmetic, decide the speed of a batch
ROWS = 8  # of an exact batch, or a multiple: no operator then treats its last rows apart
QUICK = 2e-3  # seconds: a batch that takes less is mostly the way there and back
MORE_TOKENS = 2048  # of a batch of such a graph, where its size changes no result
_STEPS = ((32, 2), (64, 4), (128, 8))  # up to this many tokens, exact lengths are multiples of
_LAST_STEP = 16
THREADS = 4  # a judgement: one query's products are too small to divide among many cores
_MEASURED_BATCHES = 6  # that decide between one batch at a time and several
# Folding constants changes no graph of ours, and computes before any time limit holds.
_FOLDING = ["ConstantFolding", "ConstantFoldingDQ"]
# The fused operator is several times slower than its parts on many processors.
_SLOW_FUSIONS = ["SkipLayerNormFusion"]

Feed = dict[str, NDArray[np.int64]]
Outputs = list[NDArray[np.float32]]


class TextSession:
    """Runs a graph with inputs input_ids and attention_mask on texts.

    Safe to share between threads. Batches hold texts of about the same length, at
    most `TOKENS_PER_BATCH` padded tokens each; the results keep the order of the texts.

    Parameters
    ----------
    model
        ONNX graph, serialised or the path of a file; inputs input_ids and attention_mask
        int64 (batch, length).
    tokenizer
        Content of a tokenizer.json.
    max_length
        Longer texts are truncated to this many tokens.
    threads
        Threads of one batch; as many batches as the cores then allow run side by side.
        None gives one batch every core up to `THREADS`, and measures on the first long
        call whether several batches side by side are faster.
    exact
        A text gets the same bits whatever texts stand beside it: the shape of its batch
        depends on its own length alone. About 5% more tokens; on a CPU, with one thread.
    at_once
        Batches that run side by side; None for what `threads` says.
    """

    def __init__(
        self,
        model: bytes | str,
        tokenizer: str,
        max_length: int,
        threads: int | None = None,
        *,
        exact: bool = False,
        at_once: int | None = None,
    ) -> None:
        self._exact = exact
        self._budget = TOKENS_PER_BATCH
        available = _cores()
        together = threads or min(available, THREADS)
        self._session = _start(model, together)
        self.widths: dict[str, object] = {
            output.name: output.shape[-1] if output.shape else None
            for output in self._session.get_outputs()
        }
        inputs = sorted(node.name for node in self._session.get_inputs())
        if inputs != ["attention_mask", "input_ids"]:
            raise RouterError(
                f"the graph has the inputs {inputs}, expected attention_mask and input_ids"
            )
        self._tokens = TextTokens(tokenizer, max_length)
        side_by_side = at_once or max(2 if threads is None else 1, available // together)
        self._workers = ThreadPoolExecutor(side_by_side, thread_name_prefix="zooter")
        self._side_by_side: bool | None = None if threads is None else side_by_side > 1

    @property
    def metadata(self) -> dict[str, str]:
        """The graph's metadata_props."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def provider(self) -> str:
        """What runs the graph, as onnxruntime names it."""
        return str(self._session.get_providers()[0])

    def run(
        self,
        texts: Sequence[str],
        outputs: Sequence[str],
        progress: Callable[[int], object] = lambda _: None,
    ) -> Outputs:
        """Run the graph on `texts` and return the named outputs, rows in the order of the texts.

        `progress` is called with the number of texts done since the last call.
        """
        names = list(outputs)
        if len(texts) == 1 and not self._exact:  # what a request path pays for
            found = self._run(names, _feed([self._tokens.one(texts[0])]))
            progress(1)
            return found
        tokens = self.tokenise(texts)
        batches = list(_exact_batches(tokens, self._budget) if self._exact else _batches(tokens))
        done: list[Outputs] = []
        started = time.perf_counter() if self._exact else 0.0
        for batch, found in zip(batches, self._results(names, tokens, batches), strict=True):
            done.append(found)
            progress(len(batch))
        if self._exact and time.perf_counter() - started < QUICK * len(batches):
            self._budget = MORE_TOKENS
        order = np.concatenate(batches) if batches else np.zeros(0, dtype=np.int64)
        return [_in_order([part[i] for part in done], order) for i in range(len(names))]

    def tokenise(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Token ids of each text, with special tokens, truncated."""
        return self._tokens.many(texts)

    def feeds(self, texts: Sequence[str]) -> Iterator[Feed]:
        """Yield the inputs of the graph, batch by batch, shortest texts first."""
        tokens = self.tokenise(texts)
        for batch in _batches(tokens):
            yield _feed([tokens[i] for i in batch])

    def _run(self, names: list[str], feed: Feed) -> Outputs:
        found = run_bounded(self._session, names, feed)
        for name, output in zip(names, found, strict=True):
            if output.shape[1] != self.widths[name]:
                raise RouterError(
                    f"the graph's output {name!r} has the width {output.shape[1]}, "
                    f"but it names {self.widths[name]}"
                )
        return found

    def _results(
        self, names: list[str], tokens: list[NDArray[np.int64]], batches: list[NDArray[np.int64]]
    ) -> Iterator[Outputs]:
        """Yield the outputs of each batch, in order."""

        def work(batch: NDArray[np.int64]) -> Outputs:
            rows = [tokens[i] for i in batch]
            if not self._exact:
                return self._run(names, _feed(rows))
            found = self._run(names, _exact_feed(rows))
            return [output[: len(rows)] for output in found]

        start = 0
        if self._side_by_side is None and len(batches) >= 4 * _MEASURED_BATCHES:
            start = 2 * _MEASURED_BATCHES
            clock = [time.perf_counter()]
            yield from map(work, batches[:_MEASURED_BATCHES])
            clock.append(time.perf_counter())
            yield from self._workers.map(work, batches[_MEASURED_BATCHES:start])
            clock.append(time.perf_counter())
            first, second = np.diff(clock)
            self._side_by_side = bool(second < first)
        run = self._workers.map if self._side_by_side and len(batches) > 1 else map
        yield from run(work, batches[start:])


def _start(model: bytes | str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what went wrong is told once, by the error
    bound_memory(options)
    providers = _providers()
    slow = _SLOW_FUSIONS if providers == ["CPUExecutionProvider"] else []
    try:
        return onnxruntime.InferenceSession(
            model,
            options,
            providers=providers,
            disabled_optimizers=[*_FOLDING, *slow],
            enable_fallback=0,  # it would start again without these options
        )
    except Exception as error:  # onnxruntime's exceptions share no base class
        reason = " ".join(str(error).split())
        if isinstance(model, str):  # a path of ours, which tells the user nothing
            reason = reason.replace(model, "it")
        raise RouterError(f"onnxruntime cannot load the graph ({reason[:300]})") from error


def _providers() -> list[str]:
    available = onnxruntime.get_available_providers()
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    return [provider for provider in wanted if provider in available]


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


def _exact_batches(tokens: list[NDArray[np.int64]], budget: int) -> Iterator[NDArray[np.int64]]:
    """Positions of the texts of each batch: texts of one exact length, by ascending length."""
    found = np.asarray([len(ids) for ids in tokens], dtype=np.int64)
    lengths = np.asarray([_exact_length(n) for n in range(found.max(initial=0) + 1)])[found]
    order = np.argsort(lengths, kind="stable")
    starts = np.flatnonzero(np.diff(lengths[order], prepend=-1))
    for group in np.split(order, starts[1:]):
        if len(group):
            rows = _rows(int(lengths[group[0]]))
            size = max(1, budget // int(lengths[group[0]]) // rows) * rows
            yield from np.split(group, range(size, len(group), size))


def _exact_length(length: int) -> int:
    """Return the padded length of a text in an exact batch.

    >>> [_exact_length(n) for n in (0, 3, 32, 33, 65, 129)]
    [2, 4, 32, 36, 72, 144]
    """
    step = next((step for most, step in _STEPS if length <= most), _LAST_STEP)
    return max(1, -(-length // step)) * step


def _rows(length: int) -> int:
    """Rows of an exact batch of this length, or a multiple: a long text stands alone."""
    return ROWS if length <= TOKENS_PER_BATCH else 1


def _exact_feed(tokens: list[NDArray[np.int64]]) -> Feed:
    """Pad to the exact length of the texts, and to whole multiples of its rows."""
    length = _exact_length(len(tokens[0]))
    lengths = np.zeros(-(-len(tokens) // _rows(length)) * _rows(length), dtype=np.int64)
    lengths[: len(tokens)] = [len(ids) for ids in tokens]
    mask = np.arange(length) < lengths[:, None]
    input_ids = np.zeros(mask.shape, dtype=np.int64)
    input_ids[mask] = np.concatenate(tokens)
    mask[len(tokens) :, 0] = True  # a row without tokens would be divided by zero
    return {"input_ids": input_ids, "attention_mask": mask.astype(np.int64)}


def _feed(tokens: list[NDArray[np.int64]]) -> Feed:
    """Pad to one length; at least one column, since a tokeniser may return no token."""
    length = max(1, *(len(ids) for ids in tokens))
    input_ids = np.zeros((len(tokens), length), dtype=np.int64)
    attention_mask = np.zeros((len(tokens), length), dtype=np.int64)
    for row, ids in enumerate(tokens):
        input_ids[row, : len(ids)] = ids
        attention_mask[row, : len(ids)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def _in_order(parts: Outputs, order: NDArray[np.int64]) -> NDArray[np.float32]:
    if not parts:
        return np.zeros((0, 0), dtype=np.float32)
    stacked = np.concatenate(parts)
    result = np.empty_like(stacked)
    result[order] = stacked
    return result
