"""Fine-tune on a third of the bundled sample in several ways; writes recipes/finetune/results.md.

The encoder is the default one without dropout, so that curves can be compared.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zooter_lite.encode.find import DEFAULT, find_encoder
from zooter_lite.table import read_table, sample_path, write_table

RESULTS = Path(__file__).parent / "results.md"
EPOCHS = 2
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
OFF = ("hidden_dropout_prob", "attention_probs_dropout_prob")


@dataclass(frozen=True)
class Way:
    """One way of running the same fine-tuning."""

    name: str
    options: tuple[str, ...] = ()
    launcher: tuple[str, ...] = ()


FLOAT32 = ("--mixed-precision", "no")
QUICK = ("--head", "linear", "--tags", "none", "--precision", "fp32")  # the rest of the fit
WAYS = (
    Way("one process", FLOAT32),
    Way("two processes", FLOAT32, TORCHRUN),
    Way("one process, `--accumulate 4`", (*FLOAT32, "--accumulate", "4")),
)


def without_dropout(folder: Path) -> Path:
    """Copy the default encoder into `folder` and switch its dropout off."""
    copied = folder / "no-dropout"
    shutil.copytree(find_encoder(DEFAULT), copied)
    file = copied / "config.json"
    config = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(config | dict.fromkeys(OFF, 0.0)), "utf-8")
    return copied


def measured(way: Way, encoder: str, folder: Path) -> str:
    """Run one fit with a new cache, and return its row of the table."""
    options = ("--encoder", encoder, "--finetune", str(EPOCHS), *QUICK, *way.options)
    table = str(folder.parent / "part.parquet")
    places = ("--data", table, "--out", str(folder / "router"), "--cache", str(folder / "cache"))
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *way.launcher, "-m", "zooter_lite.fit", *options, *places],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    wall = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr)
    seconds = re.findall(r"epoch \d+: .* ([\d.]+) s since", done.stderr)[-1]
    report = json.loads((folder / "router" / "report.json").read_text("utf-8"))
    epochs = report["finetune"]["epochs"][1:]
    losses = ", ".join(f"{epoch['loss']:.7f}" for epoch in epochs)
    rewards = ", ".join(f"{100 * epoch['reward']:.2f}" for epoch in epochs)
    load = os.getloadavg()[0]
    return f"| {way.name} | {seconds} | {wall:.0f} | {load:.1f} | {losses} | {rewards} |"


def main() -> None:
    """Measure every way, and write the table."""
    columns = ("", "fine-tuning, s", "whole fit, s", "load", "loss", "reward x100, held")
    lines = [f"| {' | '.join(columns)} |", "|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as made:
        table = read_table(sample_path())
        write_table(table.take(np.arange(0, len(table), 3)), f"{made}/part.parquet")
        plain = str(without_dropout(Path(made)))
        for number, way in enumerate(WAYS):
            folder = Path(made) / str(number)
            folder.mkdir()
            lines.append(measured(way, plain, folder))
            print(lines[-1], flush=True)
    note = f"{os.cpu_count()} cores, one thread per process; load: the "
    lines += ["", f"{note}average of the last minute, at the end, with what else was running."]
    RESULTS.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
