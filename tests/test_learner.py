"""The gradient of a divided batch is that of the whole; precision; tensors there and back."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.test_finetune import ordered, task_for
from tests.tiny_encoders import save_tiny
from zooter_lite.encode.load import load_encoder
from zooter_lite.encode.reference import load_torch
from zooter_lite.finetune.learner import (
    State,
    batch_loss,
    begin,
    gradient,
    held_reward,
    restore,
    tensors_of,
)
from zooter_lite.finetune.loop import fine_tune
from zooter_lite.finetune.tuning import Task, Tuning, share

pytestmark = pytest.mark.usefixtures("one_thread")

PLAIN = partial(Tuning, rate=3e-3, precision="no")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder without dropout."""
    folder = tmp_path_factory.mktemp("learner") / "tiny"
    save_tiny(folder, "mean")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


@pytest.fixture(scope="module")
def task(tiny: Path, cache: Path) -> Task:
    rewards = np.eye(2)[ordered(207)[1]]  # 165 are learned from: the last batch has 5
    return task_for(load_encoder(str(tiny), cache), cache, rewards)


def start(tiny: Path, task: Task, tuning: Tuning) -> State:
    return begin(load_torch(tiny, "tiny"), "tiny", task, tuning)


def gradients(state: State) -> dict[str, torch.Tensor]:
    named = state.learner.named_parameters()
    return {name: w.grad.clone() for name, w in named if w.grad is not None}


@dataclass(frozen=True)
class Place:
    """One of several processes, as accelerate would say; the mean over them is taken below."""

    process_index: int
    num_processes: int
    device = torch.device("cpu")

    def no_sync(self, _: object) -> AbstractContextManager[None]:
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]


def test_shares_hold_every_row_once_and_are_even() -> None:
    batch = np.arange(100, 131)
    for processes, parts in ((1, 1), (2, 1), (3, 2), (4, 5), (40, 2)):
        shares = [share(batch, rank, processes, parts) for rank in range(processes)]
        sizes = [sum(map(len, own)) for own in shares]
        assert max(sizes) - min(sizes) <= 1
        assert all(len(own) <= parts and all(map(len, own)) for own in shares)
        assert sorted(np.concatenate([part for own in shares for part in own])) == list(batch)


@pytest.mark.parametrize("n", [32, 5, 1])
@pytest.mark.parametrize(("processes", "parts"), [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (4, 3)])
def test_the_gradient_is_that_of_the_mean_over_the_batch(
    tiny: Path, task: Task, n: int, processes: int, parts: int
) -> None:
    """Also where shares are of different sizes (5 rows for 4), or empty (1 row for 2)."""
    rows = np.flatnonzero(~task.held)[:n]
    state = start(tiny, task, PLAIN(1))
    loss = batch_loss(state, task, rows, "label-router")
    loss.backward()  # type: ignore[no-untyped-call]
    expected = gradients(state)
    total, mean = 0.0, {name: torch.zeros_like(g) for name, g in expected.items()}
    for rank in range(processes):
        state.optimiser.zero_grad()
        one = replace(state, accelerator=Place(rank, processes))
        total += gradient(one, task, PLAIN(1, accumulate=parts), rows)
        for name, found in gradients(state).items():
            mean[name] += found / processes
    assert total / n == pytest.approx(float(loss.detach()), rel=1e-5)
    scale = max(float(g.abs().max()) for g in expected.values())
    for name in expected:
        torch.testing.assert_close(mean[name], expected[name], rtol=1e-4, atol=1e-6 * scale)


def test_accumulation_gives_the_curve_of_whole_batches(
    tiny: Path, task: Task, tmp_path: Path
) -> None:
    """Two parts of 16 against one batch of 32, twice the size."""
    whole = fine_tune(tiny, "tiny", task, PLAIN(3), tmp_path / "whole")
    parts = fine_tune(tiny, "tiny", task, PLAIN(3, accumulate=2), tmp_path / "parts")
    assert [epoch.reward for epoch in whole] == [epoch.reward for epoch in parts]
    losses = np.asarray([[epoch.loss for epoch in run[1:]] for run in (whole, parts)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    halves = fine_tune(tiny, "tiny", task, PLAIN(3, batch=16), tmp_path / "halves")
    assert abs(losses[0] - [epoch.loss for epoch in halves[1:]]).max() > 1e-3  # not the same


def test_accumulation_is_no_part_of_the_key(task: Task) -> None:
    key = task.key("encoder", PLAIN(2))
    assert task.key("encoder", PLAIN(2, accumulate=4)) == key
    assert task.key("encoder", PLAIN(2, batch=64)) != key
    assert task.key("encoder", replace(PLAIN(2), precision="bf16")) != key


def test_bfloat16_is_close_and_its_weights_are_float32(tiny: Path, task: Task) -> None:
    rows = np.flatnonzero(~task.held)[:32]
    losses, rewards = [], []
    for precision in ("no", "bf16"):
        state = start(tiny, task, Tuning(1, precision=precision))
        losses.append(batch_loss(state, task, rows, "label-router"))
        state.accelerator.backward(losses[-1])
        kept = [*state.learner.parameters(), *gradients(state).values()]
        assert {tensor.dtype for tensor in (*kept, losses[-1])} == {torch.float32}
        rewards.append(held_reward(state, task))
    exact, half = (float(loss.detach()) for loss in losses)
    assert half == pytest.approx(exact, rel=0.03)
    assert half != exact
    assert rewards[0] == rewards[1]  # held queries are computed in float32


def test_bfloat16_learns(tiny: Path, task: Task, tmp_path: Path) -> None:
    exact = fine_tune(tiny, "tiny", task, PLAIN(3), tmp_path / "exact")
    tuning = Tuning(3, 3e-3, precision="bf16")
    half = fine_tune(tiny, "tiny", task, tuning, tmp_path / "half")
    losses = np.asarray([[epoch.loss for epoch in run[1:]] for run in (exact, half)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.1)
    assert (losses[0] != losses[1]).any()


def test_tensors_there_and_back(tiny: Path, task: Task) -> None:
    state = start(tiny, task, PLAIN(1))
    gradient(state, task, PLAIN(1), np.arange(8))
    state.optimiser.step()
    kept = tensors_of(state)
    assert sum(name.startswith("adam.") for name in kept) > 0
    other = start(tiny, task, PLAIN(1))
    restore(other, kept)
    found = tensors_of(other)
    assert found.keys() == kept.keys()
    for name in kept:
        torch.testing.assert_close(found[name], kept[name], rtol=0, atol=0)
