"""Where a forward pass goes, by operator: onnxruntime's profiler on one thread.

`python -m recipes.bench.operators ROUTER` writes recipes/bench/operators.md: fp32, int8, and the
int8 that onnxruntime's own dynamic quantisation makes of the fp32 graph.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime

from recipes.bench.speed.figures import LENGTHS
from recipes.bench.speed.ours import GRAPHS, stock

ROOT = Path(__file__).resolve().parents[2]
RUNS = {20: 400, 60: 200, 200: 60}
SHOWN = 12  # operators; the rest is summed


def profile(graph: bytes, tokens: int, runs: int) -> dict[str, tuple[float, int]]:
    """Microseconds of a pass over one prompt, and number of nodes, by operator."""
    ids = np.random.default_rng(0).integers(1000, 20_000, (1, tokens))
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.enable_profiling = True
    with TemporaryDirectory() as work:
        options.profile_file_prefix = f"{work}/profile"
        session = onnxruntime.InferenceSession(
            graph,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],
        )
        for _ in range(runs):
            session.run(["probs"], feed)
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    spent: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"], event["name"]].append(event["dur"])
    found: dict[str, tuple[float, int]] = {}
    for (operator, _), times in spent.items():  # the median, since others use the machine
        total, nodes = found.get(operator, (0.0, 0))
        found[operator] = total + float(np.median(times)), nodes + 1
    return found


def main(router: str) -> None:
    """Profile the three graphs at each length and write the table."""
    graphs = {"int8": (Path(router) / GRAPHS["int8"]).read_bytes(), "stock int8": stock(router)}
    graphs["fp32"] = (Path(router) / GRAPHS["fp32"]).read_bytes()
    lines = [
        "# Where a forward pass goes",
        "",
        f"Microseconds at {', '.join(map(str, LENGTHS))} tokens, one thread (in brackets the "
        "number of nodes); medians of onnxruntime's profiler. Written by `python -m "
        "recipes.bench.operators ROUTER`; stock int8 is onnxruntime's own dynamic quantisation "
        "of the same fp32 graph.",
    ]
    for name, graph in graphs.items():
        found = {tokens: profile(graph, tokens, RUNS[tokens]) for tokens in LENGTHS}
        order = sorted(found[20], key=lambda one: -found[20][one][0])
        sums = [sum(time for time, _ in found[n].values()) for n in LENGTHS]
        rows = [("all", sums, sum(nodes for _, nodes in found[20].values()))]
        for operator in order[:SHOWN]:
            rows.append(
                (operator, [found[n][operator][0] for n in LENGTHS], found[20][operator][1])
            )
        lines += [
            "",
            f"| {name} | {' | '.join(f'{n} tokens' for n in LENGTHS)} |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {operator} [{nodes}] | {' | '.join(f'{time:,.0f}' for time in times)} |"
            for operator, times, nodes in rows
        ]
    (ROOT / "recipes/bench/operators.md").write_text("\n".join(lines) + "\n", "utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
