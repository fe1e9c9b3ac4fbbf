"""A report on random rewards, with everything that an evaluation may hold."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from tests.helpers import table, units
from zooter_lite.compare.analysis import analyse
from zooter_lite.compare.routed import sliced, trained_on
from zooter_lite.measure.metrics import Estimate
from zooter_lite.measure.results import Report, SliceReport
from zooter_lite.measure.system import Slice
from zooter_lite.router.decision import Predictions
from zooter_lite.router.directory.config import Point

EXPERTS = ["Mistral-7B-Instruct-v0.2", "zephyr-7b-beta", "MetaMath-Mistral-7B", "dolphin-2.6"]
TABLES = {  # slice: its subsets
    "routerdc test": ["mmlu", "arc_challenge", "gsm8k"],
    "routerdc ood": ["prealgebra", "mbpp", "ceval"],
}
N = 120  # queries of a slice, and as many to train on
HOSTILE = (
    "</script><img src=x onerror=\"alert(1)\"> <b>bold</b> & 'quotes' {{ 7 * 7 }} "
    "\u202etxet desrever\u202c \u0627\u0644\u0633\u0644\u0627\u0645 \x00\x07\x1b[31m $x_1^2$ "
    "\ud800 -->"
)


def around(value: float, wide: float = 0.01) -> Estimate:
    return Estimate(value, value - wide, value + wide)


@cache
def example(slices: int = 1) -> Report:
    """Report over the first `slices` of `TABLES`."""
    made = {
        "command": "python -m zooter_lite.evaluate --suite recipes/suite/suite.toml",
        "version": "0.1.0",
        "precision": "fp32",
        "routers": {"routerdc": "bench-routerdc"},
        "seconds": 312.4,
    }
    report = analyse([_slice(name) for name in list(TABLES)[:slices]], by_split=False)
    return replace(report, made=made, notes=["a note about the rows"])


def one_slice() -> SliceReport:
    return next(iter(example().slices.values()))


def _slice(name: str) -> Slice:
    random = np.random.default_rng(len(name))
    texts = [HOSTILE, "列出五个质数。", "\u0645\u0627 \u0647\u064a?", "how many apples " * 60]
    made = table(
        random.random((2 * N, 4)),
        queries=[f"{texts[place % 4]} {place}" for place in range(2 * N)],
        subsets=[TABLES[name][place % 3] for place in range(2 * N)],
    )
    costs = np.tile(np.array([1, 2, 4, 8], dtype=np.float32), (2 * N, 1))
    splits = ["train"] * N + ["test"] * N
    rows = replace(made, experts=EXPERTS, costs=costs, splits=splits)
    part, embeddings = rows.take(rows.rows("test")), units(2 * N, 5, 0).astype(np.float32)
    own = part.rewards + random.random((N, 4)).astype(np.float32)  # the router knows something
    probs = own / own.sum(axis=1, keepdims=True)
    return sliced(
        (name.split()[0], name.split()[1]),
        *(part, trained_on(rows, embeddings)),
        (Predictions(probs, own, part.costs), embeddings[N:]),
        {"SVM (RBF)": random.random((N, 4)), "matrix factorisation": random.random((N, 4))},
        (Point("quality"), Point("match", 0.1)),
    )
