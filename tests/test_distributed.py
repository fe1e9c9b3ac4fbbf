"""`fit --finetune` in two processes: the curve of one, killed and resumed, refused.

The processes are launched as a user launches them, by torchrun or accelerate, on the CPU
(gloo, loopback), with an encoder of two layers and no dropout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from tests.conftest import ROOT, Command
from tests.test_finetune import write_ordered
from tests.tiny_encoders import save_tiny
from zooter_lite import Router
from zooter_lite.finetune.checkpoint import Epoch, best_epoch, latest_figures

TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")

Weights = dict[str, np.ndarray[Any, Any]]
Launch = Callable[..., "subprocess.Popen[str]"]


@dataclass(frozen=True)
class Run:
    """A finished fit: its router directory, its cache, what it printed."""

    out: Path
    cache: Path
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "report.json").read_text("utf-8"))
        return found

    @property
    def epochs(self) -> list[Epoch]:
        return [Epoch(**entry) for entry in self.report["finetune"]["epochs"]]

    @property
    def encoder(self) -> Weights:
        (file,) = (self.cache / "encoders").glob("finetuned-*/encoder/model.safetensors")
        found: Weights = load_file(file)
        return found


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """Start `LAUNCHER -m zooter_lite.fit` with a cache of its own, on an ordered table.

    A batch of 32 leaves a last one of a single query: one of two processes has no share.
    """
    shared = tmp_path_factory.mktemp("distributed")
    tiny, table = shared / "tiny", shared / "ordered.csv"
    save_tiny(tiny, "mean")
    config = json.loads((tiny / "config.json").read_text("utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (tiny / "config.json").write_text(json.dumps(config), "utf-8")
    write_ordered(table, 642)

    def start(launcher: tuple[str, ...], folder: Path, *options: str) -> subprocess.Popen[str]:
        environment = os.environ | {
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "ZOOTER_CACHE": str(folder / "cache"),
        }
        command = [sys.executable, *(("-m", *launcher) if launcher else ()), "-m"]
        command += ["zooter_lite.fit", "--data", str(table), "--encoder", str(tiny)]
        command += ["--out", str(folder / "router"), "--precision", "fp32"]
        command += ["--tags", "none", "--rate", "3e-3", *options]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=pipe, stderr=pipe
        )

    return start


def finished(started: subprocess.Popen[str], folder: Path) -> Run:
    stdout, stderr = started.communicate(timeout=400)
    assert started.returncode == 0, stderr
    return Run(folder / "router", folder / "cache", stdout, stderr)


FULL = ("--finetune", "8", "--mixed-precision", "no")
PARTS = ("--accumulate", "2")


@pytest.fixture(scope="module")
def two(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("two")
    return finished(launch(TORCHRUN, folder, *FULL, *PARTS), folder)


def assert_same_curve(first: list[Epoch], second: list[Epoch]) -> None:
    assert [epoch.reward for epoch in first] == [epoch.reward for epoch in second]
    losses = np.asarray([[epoch.loss for epoch in run[1:]] for run in (first, second)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert losses[0, -1] < 0.8 * losses[0, 0]  # it is a curve


def assert_same_weights(first: Weights, second: Weights) -> None:
    """Up to rounding; a bias of all keys has a gradient of rounding alone, which Adam scales."""
    assert first.keys() == second.keys()
    for name in first:
        if not name.endswith("key.bias"):
            np.testing.assert_allclose(first[name], second[name], atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_two_processes_give_the_curve_of_one(launch: Launch, two: Run, tmp_path: Path) -> None:
    """Two with half of every batch each, in two parts, against one with whole batches."""
    one = finished(launch((), tmp_path, *FULL), tmp_path)
    assert "fine-tuning in 2 processes" in two.stderr
    assert "fine-tuning in" not in one.stderr
    assert_same_curve(one.epochs, two.epochs)
    assert_same_weights(one.encoder, two.encoder)
    assert best_epoch(two.epochs) > 0
    routers = [Router.load(run.out) for run in (one, two)]
    first, second = (router.predict_proba(["a cab b face c", ""]) for router in routers)
    np.testing.assert_allclose(first, second, atol=1e-3)
    assert one.report["options"] == two.report["options"]  # how it was divided decides nothing
    # the first process alone speaks
    for text in ("fine-tuning without fold 0", "router: ", "time: encoder"):
        assert two.stdout.count(text) == 1
    assert two.stderr.count("epoch 1: loss") == 1
    assert "exporting to ONNX" in two.stderr
    files = sorted(file.name for file in (two.cache / "encoders").glob("finetuned-*/*"))
    assert files == ["encoder", "figures.json"]


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_run_which_then_goes_on(
    launch: Launch, two: Run, tmp_path: Path
) -> None:
    started = launch(TORCHRUN, tmp_path, *FULL, *PARTS)
    victim: list[psutil.Process] = []
    kept: list[Path] = []
    while started.poll() is None and not (victim and kept):
        time.sleep(0.01)
        kept = list((tmp_path / "cache" / "encoders").glob("finetuned-*/epoch-02.safetensors"))
        victim = victim or ranked(started.pid, "1")
    victim[0].kill()
    _, stderr = started.communicate(timeout=400)
    assert started.returncode != 0, stderr
    assert "SIGKILL" in stderr
    assert not (tmp_path / "router").exists()
    before = latest_figures(kept[0].parent)
    assert 2 <= before[-1].number < 8
    assert before == two.epochs[: len(before)]

    again = finished(launch(ACCELERATE, tmp_path, *FULL, *PARTS), tmp_path)
    assert "fine-tuning in 2 processes" in again.stderr
    assert f"fine-tuning goes on after epoch {before[-1].number}\n" in again.stderr
    assert again.epochs == two.epochs
    assert again.encoder.keys() == two.encoder.keys()
    for name, weights in again.encoder.items():
        np.testing.assert_array_equal(weights, two.encoder[name])


def ranked(launcher: int, rank: str) -> list[psutil.Process]:
    """The process of this rank among the children of a launcher, once it runs."""
    found = []
    for process in psutil.Process(launcher).children():
        try:
            if process.environ().get("RANK") == rank:
                found.append(process)
        except psutil.Error:
            continue  # it has not started, or ended
    return found


def test_several_processes_are_for_fine_tuning_alone(command: Command, tmp_path: Path) -> None:
    first = os.environ | {"RANK": "0", "WORLD_SIZE": "2"}
    done = command("fit", "--out", tmp_path / "r", env=first)
    assert done.returncode == 2
    assert done.stderr == (
        "error: started in 2 processes, which only --finetune divides its work among: expected "
        "--finetune or --preset best, or one process\n"
    )
    done = command("fit", "--out", tmp_path / "r", env=first | {"RANK": "1"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = command("fit", "--finetune", "1", "--batch", "1", env=first)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --batch 1: expected a number from 2 to ")
    done = command("fit", "--finetune", "1", env=first | {"RANK": "2"})
    assert done.returncode == 2
    assert "RANK is '2' and WORLD_SIZE '2'" in done.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_an_error_of_the_first_process_ends_the_others(launch: Launch, tmp_path: Path) -> None:
    options = (*FULL, "--encoder", "./no-such-encoder")
    started = launch(TORCHRUN, tmp_path, *options)
    _, stderr = started.communicate(timeout=400)
    assert started.returncode != 0
    lines = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert lines == ["error: encoder './no-such-encoder': no such folder"]
