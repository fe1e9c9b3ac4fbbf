"""Fine-tuning: the loss, the rates, early stopping, resuming, and `fit --finetune`."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from zooter_lite.finetune.checkpoint import Epoch, best_epoch, latest_figures
from zooter_lite.finetune.learner import batch_loss, begin, held_reward
from zooter_lite.finetune.loop import fine_tune, stalled
from zooter_lite.finetune.tuning import Task, Tuning, batches, layer_rates, schedule

from tests.conftest import Command
from tests.tiny_encoders import save_tiny
from zooter_lite import Router, fit
from zooter_lite.cli import run
from zooter_lite.encode.encoder import Encoder
from zooter_lite.encode.find import EncoderError, find_encoder
from zooter_lite.encode.load import load_encoder
from zooter_lite.encode.reference import load_torch
from zooter_lite.finetune import loop as finetune
from zooter_lite.head.cross_validation import reward_of_choice
from zooter_lite.head.distil import Direction, distil
from zooter_lite.recipe import Recipe

FAST = partial(Tuning, rate=3e-3)  # two layers with random weights need large steps

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finetune") / "tiny"
    save_tiny(folder, "mean")
    return folder


@pytest.fixture(scope="module")
def encoder(tiny: Path, cache: Path) -> Encoder:
    return load_encoder(str(tiny), cache)


def ordered(n: int) -> tuple[list[str], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Queries in which "cab" stands before "face" (1) or behind it (0), among letters."""
    random = np.random.default_rng(0)
    sides = random.integers(0, 2, n)
    queries = []
    for side in sides:
        words = list(random.choice(list("abcdefghij"), 6))
        first, second = sorted(random.choice(8, 2, replace=False))
        words.insert(first, "cab" if side else "face")
        words.insert(second, "face" if side else "cab")
        queries.append(" ".join(words))
    return queries, sides


def task_for(
    encoder: Encoder, cache: Path, rewards: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> Task:
    """Ordered queries with these rewards as labels, and a linear head on frozen embeddings."""
    queries, _ = ordered(len(rewards))
    embeddings = encoder.embed(queries, cache).astype(np.float64)
    held = np.arange(len(rewards)) % 5 == 0
    head = distil(embeddings[~held], rewards[~held], 0.01, Recipe(head="linear"))
    logits = np.asarray(head.logits(embeddings[held]), dtype=np.float64)
    frozen = reward_of_choice(logits, rewards[held]).mean()
    return Task(
        encoder.session().tokenise(queries),
        np.zeros(rewards.shape),
        rewards,
        rewards,
        held,
        np.asarray(head.weight, dtype=np.float64),
        np.asarray(head.bias, dtype=np.float64),
        float(frozen),
    )


@pytest.fixture(scope="module")
def task(encoder: Encoder, cache: Path) -> Task:
    return task_for(encoder, cache, np.eye(2)[ordered(320)[1]])


def test_it_learns_what_the_frozen_encoder_cannot_separate(
    tiny: Path, task: Task, tmp_path: Path
) -> None:
    assert task.frozen < 0.65
    done: list[int] = []
    figures = fine_tune(tiny, "tiny", task, FAST(8), tmp_path, done.append)
    assert figures[0] == Epoch(0, None, task.frozen)
    assert max(epoch.reward for epoch in figures) > task.frozen + 0.1
    assert sum(done) == finetune.n_batches(task, FAST(8)) * (len(figures) - 1)
    assert finetune.n_batches(task, FAST(8)) == 8
    # what is kept computes the figure that decided, and the checkpoints are gone
    kept = load_encoder(str(tmp_path / "encoder"), tmp_path / "cache")
    assert kept.spec.dim == task.weight.shape[1]
    assert sorted(file.name for file in tmp_path.glob("*")) == ["cache", "encoder", "figures.json"]
    assert fine_tune(tiny, "tiny", task, FAST(8), tmp_path) == figures


@pytest.mark.parametrize("direction", ["label-router", "router-label"])
def test_the_loss_is_the_formula(
    tiny: Path, encoder: Encoder, task: Task, direction: Direction
) -> None:
    random = np.random.default_rng(3)
    labels = random.dirichlet(np.ones(2), len(task.rewards))
    changed = replace(task, labels=labels, offset=random.normal(size=labels.shape))
    state = begin(load_torch(tiny, "tiny"), "tiny", changed, Tuning(1, precision="no"))
    state.learner.eval()
    rows = np.asarray([3, 1, 7, 250])
    found = float(batch_loss(state, changed, rows, direction).detach())

    queries, _ = ordered(len(labels))
    units = load_torch(tiny, "tiny").encode(
        [queries[row] for row in rows], normalize_embeddings=True
    )
    logits = changed.offset[rows] + units @ changed.weight.T + changed.bias
    router = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    first, second = labels[rows], router
    if direction == "router-label":
        first, second = second, first
    assert found == pytest.approx(float((first * np.log(first / second)).sum(axis=1).mean()), 1e-4)


def test_the_frozen_figure_is_that_of_the_start(tiny: Path, task: Task) -> None:
    state = begin(load_torch(tiny, "tiny"), "tiny", task, Tuning(1))
    assert held_reward(state, task) == pytest.approx(task.frozen)


def test_every_layer_has_its_rate(tiny: Path, task: Task) -> None:
    state = begin(load_torch(tiny, "tiny"), "tiny", task, Tuning(1))
    rates = {
        id(weights): (group["lr"], group["weight_decay"])
        for group in state.optimiser.param_groups
        for weights in group["params"]
    }
    named = dict(state.learner.encoder.named_parameters())
    assert len(rates) == len(named) + 2
    for part, below in (("layer.1.", 0), ("layer.0.", 1), ("embeddings.", 2)):
        chosen = [name for name in named if part in name]
        assert chosen
        for name in chosen:
            decay = 0.01 if named[name].ndim > 1 else 0.0
            assert rates[id(named[name])] == (pytest.approx(2e-5 * 0.85**below), decay)
    assert rates[id(state.learner.head.weight)] == (pytest.approx(2e-4), 0.01)
    assert rates[id(state.learner.head.bias)] == (pytest.approx(2e-4), 0.0)
    with pytest.raises(EncoderError, match="'words': it has no transformer layers"):
        layer_rates(["0.embedding.weight"], Tuning(1), "words")


def test_the_schedule_rises_and_falls() -> None:
    factors = [schedule(step, 100, 0.1) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1.0
    assert factors[-1] == pytest.approx(1 / 90)
    assert schedule(0, 1, 0.1) == 1.0


def test_batches_hold_every_row_once_and_similar_lengths() -> None:
    lengths = np.random.default_rng(1).integers(1, 100, 1000)
    found = batches(lengths, 32, np.random.default_rng(2))
    assert sorted(np.concatenate(found)) == list(range(1000))
    assert max(len(batch) for batch in found) == 32
    assert len(found) == 32
    assert np.mean([np.ptp(lengths[batch]) for batch in found]) < 20


def test_early_stopping() -> None:
    figures = [Epoch(0, None, 0.5), Epoch(1, 1.0, 0.6), Epoch(2, 1.0, 0.6), Epoch(3, 1.0, 0.1)]
    assert best_epoch(figures) == 1
    assert not stalled(figures)
    assert stalled([*figures, Epoch(4, 1.0, 0.59)])
    assert best_epoch(figures[:1]) == 0


def test_noise_keeps_the_frozen_encoder(
    tiny: Path, encoder: Encoder, cache: Path, tmp_path: Path
) -> None:
    """One expert is better whatever is asked: what is learned beyond that only harms."""
    random = np.random.default_rng(5)
    rewards = (random.random((320, 2)) < [0.8, 0.3]).astype(np.float64)
    noisy = replace(task_for(encoder, cache, rewards), weight=np.zeros((2, 32)))
    noisy = replace(noisy, frozen=float(rewards[noisy.held, 0].mean()))
    figures = fine_tune(tiny, "tiny", noisy, FAST(3), tmp_path)
    assert best_epoch(figures) == 0
    assert [file.name for file in tmp_path.glob("*")] == ["figures.json"]


def test_a_killed_run_goes_on_to_the_same_bytes(
    tiny: Path, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning = FAST(3, seed=4)
    whole = fine_tune(tiny, "tiny", task, tuning, tmp_path / "whole")
    assert best_epoch(whole) > 0
    train, numbers = finetune._train, list[int]()

    def killed(*args: object) -> float:
        numbers.append(int(str(args[3])))
        if len(numbers) == 3:
            raise KeyboardInterrupt
        return train(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(finetune, "_train", killed)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(tiny, "tiny", task, tuning, tmp_path / "killed")
    assert [epoch.number for epoch in latest_figures(tmp_path / "killed")] == [0, 1, 2]
    (tmp_path / "killed" / "epoch-09.safetensors").write_bytes(b"half a file")
    assert fine_tune(tiny, "tiny", task, tuning, tmp_path / "killed") == whole
    assert numbers == [1, 2, 3, 3]
    first, second = (
        load_file(tmp_path / run / "encoder" / "model.safetensors") for run in ("whole", "killed")
    )
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_the_key_names_all_that_decides(task: Task) -> None:
    key = task.key("encoder", Tuning(2))
    labels = np.where(task.held[:, None], np.nan, task.labels)
    assert replace(task, labels=labels).key("encoder", Tuning(2)) == key
    others = [
        task.key("other", Tuning(2)),
        task.key("encoder", Tuning(3)),
        task.key("encoder", Tuning(2, seed=1)),
        replace(task, offset=task.offset + 1).key("encoder", Tuning(2)),
        replace(task, labels=task.labels[::-1]).key("encoder", Tuning(2)),
        replace(task, tokens=task.tokens[::-1]).key("encoder", Tuning(2)),
    ]
    assert len({key, *others}) == 7


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--finetune", "21"), "--finetune 21: expected a number from 0 to 20"),
        (("--finetune", "-1"), "--finetune -1: expected a number from 0 to 20"),
        (("--finetune", "1", "--encoder", "static"), "--finetune with a static encoder"),
        (("--preset", "best", "--encoder", "static:x"), "--preset best with a static encoder"),
        (("--finetune", "2", "--head", "mlp"), "--finetune with --head mlp"),
    ],
)
def test_refusals(options: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    assert run(fit.Options, fit.main, "fit", "", options) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert expected in error


def test_presets() -> None:
    assert fit._epochs(fit.Options()) == 0
    assert fit._epochs(fit.Options(preset="best")) == 2
    assert fit._epochs(fit.Options(preset="best", finetune=5)) == 5
    assert fit._epochs(fit.Options(preset="best", finetune=0)) == 0


def test_a_fine_tuned_encoder_that_is_not_cached_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="not in the cache of fine-tuned encoders"):
        find_encoder("all-MiniLM-L6-v2+finetuned-0123456789abcdef", tmp_path)


def write_ordered(path: Path, n: int) -> None:
    queries, sides = ordered(n)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["query", "reward:before", "reward:behind", "split"])
        for number, (query, side) in enumerate(zip(queries, sides, strict=True)):
            split = "test" if number % 4 == 3 else "train"
            writer.writerow([query, int(side), int(1 - side), split])


@pytest.mark.slow
def test_the_command_fine_tunes_evaluates_and_exports_again(
    command: Command,
    tiny: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table, out = tmp_path / "ordered.csv", tmp_path / "r"
    write_ordered(table, 640)
    common = ("--data", table, "--out", out, "--encoder", tiny, "--tags", "none", "--rate", "3e-3")
    arguments = [*map(str, common), "--finetune", "10", "--cache", str(cache)]
    assert run(fit.Options, fit.main, "fit", "", arguments) == 0
    printed = capsys.readouterr().out
    report = json.loads((out / "report.json").read_text("utf-8"))
    tuned = report["finetune"]
    assert tuned["epochs_kept"] > 0
    assert tuned["epochs"][0]["loss"] is None
    assert tuned["reward_with_head_fitted_anew"] > tuned["epochs"][0]["reward"]
    assert f"frozen {100 * tuned['epochs'][0]['reward']:.2f}, epoch 1" in printed
    assert len(report["cross_validation"]) > 1  # of the frozen embeddings, which chose
    config = json.loads((out / "config.json").read_text("utf-8"))
    assert config["encoder"]["name"] == tuned["encoder"]
    assert tuned["encoder"].startswith("tiny+finetuned-")
    assert str(tmp_path) not in (out / "config.json").read_text("utf-8")
    folder = printed.split("fine-tuned encoder: ")[1].splitlines()[0]
    router = Router.load(out)
    query = ["a cab b face c", ""]
    reference = load_torch(Path(folder), "it").encode(query, normalize_embeddings=True)
    np.testing.assert_allclose(router.embed(query)[1], reference, atol=1e-5)

    done = command("evaluate", "--router", out, "--data", table, "--json", tmp_path / "e.json")
    assert done.returncode == 0, done.stderr
    again = json.loads((tmp_path / "e.json").read_text("utf-8"))
    values = [found["slices"][0]["systems"][0]["micro"]["value"] for found in (report, again)]
    assert values[1] == pytest.approx(values[0], abs=1e-6)
    export = ("export", "--router", out, "--data", table, "--precision", "fp32")
    assert command(*export).returncode == 0
    elsewhere = (*export, "--cache", tmp_path / "elsewhere")
    done = command(*elsewhere)
    assert done.returncode == 2
    assert "give its folder by --encoder" in done.stderr
    assert command(*elsewhere, "--encoder", folder).returncode == 0


@pytest.mark.slow
def test_one_epoch_through_the_command(command: Command, tiny: Path, tmp_path: Path) -> None:
    table = tmp_path / "ordered.csv"
    write_ordered(table, 120)
    options = ("--data", table, "--encoder", tiny, "--finetune", "1", "--precision", "fp32")
    done = command("fit", *options, "--out", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    assert "fine-tuning without fold 0 of train" in done.stdout
    assert "epoch 1: loss" in done.stderr
    again = command("fit", *options, "--out", tmp_path / "again")
    assert "epoch 1: loss" not in again.stderr  # kept in the cache
    for name in ("config.json", "report.json", "router.onnx"):
        assert (tmp_path / "r" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert command("evaluate", "--router", tmp_path / "r", "--data", table).returncode == 0
