"""Fine-tune on a third of the bundled sample, in one process and in two; write results.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from zooter_lite.table import read_table, sample_path, write_table

RESULTS = Path(__file__).parent / "results.md"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
WAYS = {"one process": (), "two processes": TORCHRUN}
COLUMNS = ("", "whole fit, s", "load", "loss", "reward x100, chooses", "frozen", "tuned", "s.e.")


def measured(name: str, launcher: tuple[str, ...], folder: Path) -> str:
    """Run one fit with a new cache, and return its row of the table."""
    options = ("--finetune", "2", "--head", "linear", "--tags", "none", "--precision", "fp32")
    places = ("--data", "../part.parquet", "--out", "router", "--cache", "cache")
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "zooter_lite.fit", *options, *places],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    wall = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr)
    figures = json.loads((folder / "router" / "report.json").read_text("utf-8"))["finetune"]
    losses = ", ".join(f"{epoch['loss']:.4f}" for epoch in figures["epochs"])
    rewards = ", ".join(f"{100 * epoch['reward']:.2f}" for epoch in figures["epochs"])
    judged = [f"{100 * figures[key]:.2f}" for key in ("before", "after", "standard_error")]
    load = f"{os.getloadavg()[0]:.1f}"
    return f"| {' | '.join([name, f'{wall:.0f}', load, losses, rewards, *judged])} |"


def main() -> None:
    """Measure every way, and write the table."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    with tempfile.TemporaryDirectory() as made:
        table = read_table(sample_path())
        write_table(table.take(np.arange(0, len(table), 3)), f"{made}/part.parquet")
        for number, (name, launcher) in enumerate(WAYS.items()):
            folder = Path(made) / str(number)
            folder.mkdir()
            lines.append(measured(name, launcher, folder))
            print(lines[-1], flush=True)
    note = f"{os.cpu_count()} cores, one thread per process; load: the average of the last minute, "
    lines += ["", f"{note}at the end, with what else was running."]
    RESULTS.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
