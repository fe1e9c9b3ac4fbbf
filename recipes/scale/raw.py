"""The reference of `route`: the tokeniser and the onnxruntime session alone, in every core.

Each process takes its share of the prompts, already in memory, through
`tokenizers.Tokenizer` and `onnxruntime.InferenceSession`, in batches of similar length,
and keeps the place of the highest probability. Nothing is read, written, checked,
remembered or counted.
"""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from recipes.scale.prompts import prompts

CHUNK = 1024  # prompts tokenised, then sorted by length, together: faster than 8192
TOKENS = 2048  # of a padded batch; the fastest of 512, 2048, 8192 and 32768 for static routers


def share(router: str, graph: str, tokens: int, first: int, count: int) -> tuple[float, int]:
    """Route `count` generated prompts from `first` on; return seconds, and the last decision."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = Tokenizer.from_file(str(Path(router) / "tokenizer.json"))
    tokenizer.no_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(Path(router) / graph), options)
    texts = list(islice(prompts(first + count), first, None))
    best = 0
    started = time.perf_counter()
    for start in range(0, count, CHUNK):
        ids = [each.ids for each in tokenizer.encode_batch_fast(texts[start : start + CHUNK])]
        lengths = np.asarray([len(each) for each in ids])
        order = np.argsort(lengths, kind="stable").tolist()
        while order:
            longest = lengths[order[-1]]
            rows = max(1, tokens // int(longest))
            batch, order = order[-rows:], order[:-rows]
            feed = np.zeros((len(batch), longest), dtype=np.int64)
            mask = np.zeros_like(feed)
            for row, place in enumerate(batch):
                feed[row, : lengths[place]] = ids[place]
                mask[row, : lengths[place]] = 1
            found = session.run(["probs"], {"input_ids": feed, "attention_mask": mask})[0]
            best = int(found.argmax(axis=1)[-1])
    return time.perf_counter() - started, best


def raw_speed(router: str, graph: str, tokens: int, count: int, workers: int) -> float:
    """Prompts per second of `workers` processes at once, the slowest one counted."""
    each = count // workers
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        shares = [pool.submit(share, router, graph, tokens, i * each, each) for i in range(workers)]
        return each * workers / max(future.result()[0] for future in shares)
