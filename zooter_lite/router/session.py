"""Text in, arrays out: tokenizers and onnxruntime around one exported graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from zooter_lite.cores import cores
from zooter_lite.errors import RouterError
from zooter_lite.router.forked import leak, tell_after_fork
from zooter_lite.router.runtime import Device
from zooter_lite.router.tokens import Ids, TextTokens
from zooter_lite.untrusted.limits import bound_memory, run_graph

TOKENS_PER_BATCH = 512  # padding and cache, not arithmetic, decide the speed of a batch
STATIC_BUDGET = 2048  # of a static router's, which are mostly the way there and back
ROWS = 8  # of an exact batch, or a multiple: no operator then treats its last rows apart
_STEPS = ((32, 2), (64, 4), (128, 8))  # up to this many tokens, exact lengths are multiples of
_LAST_STEP = 16
THREADS = 4  # a judgement: one query's products are too small to divide among many cores
# Folding constants changes no graph of ours, and computes before any time limit holds.
_FOLDING = ["ConstantFolding", "ConstantFoldingDQ"]
# The fused operator is several times slower than its parts on many processors.
_SLOW_FUSIONS = ["SkipLayerNormFusion"]

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"

Outputs = list[NDArray[np.float32]]
Feed = dict[str, NDArray[np.int64]]


class TextSession:
    """Runs a graph with inputs input_ids and attention_mask on texts.

    Safe to share between threads. Batches hold texts of about the same length; the results
    keep the order of the texts.

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
        None gives one batch every core up to `THREADS`.
    exact
        A text gets the same bits whatever texts stand beside it: the shape of its batch
        depends on its own length alone. About 5% more tokens; on a CPU, with one thread.
    at_once
        Batches that run side by side; None for what `threads` says.
    device
        "cpu" or "cuda"; None for CUDA where onnxruntime has it.
    trusted
        The graph is the user's own encoder: its memory and time have no bounds.
    budget
        Most padded tokens of a batch.
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
        device: Device | None = None,
        trusted: bool = False,
        budget: int = TOKENS_PER_BATCH,
    ) -> None:
        self._exact = exact
        self._trusted = trusted
        self._budget = budget
        threads = threads or min(cores(), THREADS)
        self._session = _start(model, threads, _providers(device), trusted=trusted)
        self.widths: dict[str, object] = {
            output.name: output.shape[-1] if output.shape else None
            for output in self._session.get_outputs()
        }
        inputs = sorted(node.name for node in self._session.get_inputs())
        if inputs != ["attention_mask", "input_ids"]:
            raise RouterError(
                f"the graph has the inputs {inputs}, expected attention_mask and input_ids"
            )
        self.tokens = TextTokens(tokenizer, max_length)
        self._at_once = at_once or max(1, cores() // threads)
        self._workers = ThreadPoolExecutor(self._at_once, thread_name_prefix="zooter")
        tell_after_fork(self)

    def after_fork(self) -> None:
        """Keep the parent's session from being ended in a child."""
        leak(self._session)

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
        widths = {name: self.widths[name] for name in outputs}
        if len(texts) == 1 and not self._exact:  # what a request path pays for
            inputs = feed([self.tokens.one(texts[0])])
            rows = run_graph(self._session, widths, inputs, trusted=self._trusted)
            progress(1)
            return rows
        tokens = self.tokens.many(texts)
        together = batches(tokens, self._budget, exact=self._exact)

        def work(batch: Ids) -> Outputs:
            inputs = feed([tokens[i] for i in batch], exact=self._exact)
            found = run_graph(self._session, widths, inputs, trusted=self._trusted)
            return [output[: len(batch)] for output in found]

        run = self._workers.map if min(self._at_once, len(together)) > 1 else map
        done: list[Outputs] = []
        for batch, rows in zip(together, run(work, together), strict=True):
            done.append(rows)
            progress(len(batch))
        if not done:
            return [np.zeros((0, 0), dtype=np.float32) for _ in widths]
        places = np.argsort(np.concatenate(together))
        return [np.concatenate(parts)[places] for parts in zip(*done, strict=True)]

    def feeds(self, texts: Sequence[str]) -> Iterator[Feed]:
        """Yield the inputs of the graph, batch by batch, shortest texts first."""
        tokens = self.tokens.many(texts)
        for batch in batches(tokens):
            yield feed([tokens[i] for i in batch])


def _providers(device: Device | None) -> list[str]:
    """Names of onnxruntime's providers for a device, the preferred one first."""
    known = onnxruntime.get_available_providers()
    if device == "cuda" and CUDA not in known:
        raise RouterError(f"device cuda: onnxruntime has no {CUDA}, only {', '.join(known)}")
    return [name for name in (CUDA, CPU) if name in known and (name == CPU or device != "cpu")]


def _start(model: bytes | str, threads: int, names: list[str], *, trusted: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what went wrong is told once, by the error
    providers = names if trusted else bound_memory(options, names)
    slow = _SLOW_FUSIONS if names == [CPU] else []
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


def batches(
    tokens: Sequence[Ids], budget: int = TOKENS_PER_BATCH, *, exact: bool = False
) -> list[Ids]:
    """Positions of the texts of each batch, by ascending length; at most `budget` padded tokens.

    An exact batch holds texts of one exact length, in multiples of `ROWS`.
    """
    lengths = [_exact_length(len(ids)) if exact else len(ids) for ids in tokens]
    together: list[list[int]] = []
    for position in np.argsort(lengths, kind="stable").tolist():
        length = lengths[position]
        rows = _rows(length) if exact else 1
        most = max(1, budget // max(1, length) // rows) * rows
        last = together[-1] if together else None
        if last is None or len(last) >= most or (exact and lengths[last[0]] != length):
            together.append([position])
        else:
            last.append(position)
    return [np.asarray(batch) for batch in together]


def feed(tokens: Sequence[Ids], *, exact: bool = False) -> Feed:
    """Pad the texts of a batch, to the longest or the exact length; at least one column.

    An exact batch is filled up to whole multiples of its rows.
    """
    if len(tokens) == 1 and len(tokens[0]) and not exact:  # a request, which needs no padding
        return {"input_ids": tokens[0][None], "attention_mask": np.ones_like(tokens[0][None])}
    length, n_rows = max(1, *map(len, tokens)), len(tokens)
    if exact:
        length = _exact_length(length)
        n_rows = -(-n_rows // _rows(length)) * _rows(length)
    lengths = np.zeros(n_rows, dtype=np.int64)
    lengths[: len(tokens)] = [len(ids) for ids in tokens]
    mask = np.arange(length) < lengths[:, None]
    input_ids = np.zeros(mask.shape, dtype=np.int64)
    input_ids[mask] = np.concatenate(tokens)
    mask[len(tokens) :, 0] = True  # a row without tokens would be divided by zero
    return {"input_ids": input_ids, "attention_mask": mask.astype(np.int64)}


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
