"""Fine-tuning: what is kept, resuming, several processes, the loss, and `fit --finetune`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from tests.conftest import ROOT, Call
from tests.helpers import softmax, table
from zooter_lite import Router
from zooter_lite.encode.encoder import Encoder
from zooter_lite.encode.load import load_encoder
from zooter_lite.encode.reference import load_torch, torch_embeddings
from zooter_lite.errors import ZooterError
from zooter_lite.finetune import launch, training
from zooter_lite.finetune.finetune import Finetuned, finetune
from zooter_lite.finetune.training import Learner, Task, batches
from zooter_lite.head.distil import Direction
from zooter_lite.head.fit_head import fit_head
from zooter_lite.recipe import Recipe
from zooter_lite.router.head import Head
from zooter_lite.table import write_table
from zooter_lite.table.reward_table import RewardTable

N = 400


@pytest.fixture(scope="module", autouse=True)
def quick(one_thread: None) -> Iterator[None]:
    """Two layers with random weights need large steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "RATE", 3e-3)
        yield


@pytest.fixture(scope="module")
def encoder(tiny: Path, cache: Path) -> Encoder:
    return load_encoder(str(tiny), cache)


def hidden(rewards: Callable[[int], Sequence[float]], n: int = N) -> RewardTable:
    """Queries of ten random letters and "cab" (1) or "face" (0), with the rewards of the two.

    In 32 dimensions, a linear head on the frozen encoder hardly tells the words from the letters.
    """
    random = np.random.default_rng(0)
    queries, values = [], []
    for _ in range(n):
        side = int(random.integers(2))
        words = [str(word) for word in random.choice(list("abcdefghijklmnopqrstuvwxyz"), 10)]
        words.insert(int(random.integers(10)), "cab" if side else "face")
        queries.append(" ".join(words))
        values.append(rewards(side))
    return replace(table(values, queries=queries), splits=["train"] * n)


def of_side(side: int) -> list[float]:
    return [float(side), float(1 - side)]


def tuned(
    encoder: Encoder,
    folder: Path,
    rewards: RewardTable,
    epochs: int = 5,
    progress: Callable[[int], object] = lambda _: None,
) -> Finetuned:
    """Fit a linear head on the frozen encoder, then fine-tune."""
    given = {"head": "linear", "tags": "none", "temperature": 0.3, "l2": 0.003}
    given["layers"] = encoder.spec.layers
    recipe = Recipe(encoder=encoder.spec.name, finetune=epochs, **given)  # type: ignore[arg-type]
    embeddings = encoder.embed(rewards.queries, folder)
    fitted = fit_head(rewards, embeddings, recipe, most_choosing=None)
    return finetune(encoder, embeddings, rewards, fitted, recipe, folder, progress)


@pytest.fixture(scope="module")
def whole(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finetuned]:
    """A cache, and the result of an uninterrupted run in it."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, tuned(encoder, folder, hidden(of_side))


def test_what_the_frozen_encoder_cannot_separate_is_learned_and_kept(
    encoder: Encoder, whole: tuple[Path, Finetuned], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, result = whole
    assert result.kept
    assert result.after - result.before > 2 * result.standard_error > 0
    assert result.judged == N // 5
    assert result.epochs[-1].loss < 0.7 * result.epochs[0].loss
    best = [epoch.reward for epoch in result.epochs]
    assert best[result.chosen - 1] == max(best)
    assert not list(cache.rglob("checkpoint*"))
    # the head and the embeddings are those of the encoder in the folder
    rewards = hidden(of_side)
    expected = torch_embeddings(load_torch(result.folder, "tiny"), rewards.queries, "")
    np.testing.assert_allclose(result.embeddings, expected, atol=1e-5)
    assert result.encoder.spec.name.startswith("tiny+finetuned-")
    figures = json.loads(json.dumps(result.to_json()))
    assert figures["epoch_chosen"] == result.chosen
    assert figures["after"] > figures["before"]
    assert "fine-tuned encoder kept: " in result.summary()
    # a finished run is read from the cache
    monkeypatch.setattr("zooter_lite.finetune.finetune.train", None)
    assert tuned(encoder, cache, rewards).to_json() == result.to_json()


def test_first_layers_are_fine_tuned_and_saved_without_the_others(
    tiny: Path, cache: Path, tmp_path: Path
) -> None:
    first = load_encoder(str(tiny), cache, layers=1)
    rewards = hidden(of_side, 100)
    result = tuned(first, tmp_path, rewards, epochs=1)
    saved = load_torch(result.folder, "tiny")
    assert len(saved[0].auto_model.encoder.layer) == 1
    moved = load_encoder(str(result.folder), tmp_path).embed(rewards.queries, tmp_path)
    expected = torch_embeddings(saved, rewards.queries, "")
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    assert np.abs(moved - first.embed(rewards.queries, tmp_path)).max() > 0.01


def test_a_killed_run_goes_on_to_the_same_bytes(
    encoder: Encoder, whole: tuple[Path, Finetuned], tmp_path: Path
) -> None:
    per_epoch = -(-N * 3 // 5 // training.BATCH)
    steps = 3 * per_epoch - 2

    def kill(done: int) -> None:
        nonlocal steps
        steps -= done
        if steps <= 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(encoder, tmp_path, hidden(of_side), progress=kill)
    (checkpoints,) = tmp_path.rglob("checkpoints")
    (checkpoints / f"checkpoint-{3 * per_epoch}").mkdir()  # as a kill leaves it, not whole
    done: list[int] = []
    result = tuned(encoder, tmp_path, hidden(of_side), progress=done.append)
    assert done[0] == 2 * per_epoch
    assert result.epochs == whole[1].epochs
    first, second = (load_file(r.folder / "model.safetensors") for r in (whole[1], result))
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_an_encoder_that_does_not_gain_is_not_kept(encoder: Encoder, tmp_path: Path) -> None:
    """One expert is better whatever is asked, so there is nothing to learn."""
    random = np.random.default_rng(5)
    rewards = hidden(lambda _: (random.random(2) < [0.8, 0.3]).astype(float).tolist(), 200)
    result = tuned(encoder, tmp_path, rewards, epochs=1)
    assert not result.kept
    assert result.after - result.before <= result.standard_error
    assert result.encoder is encoder
    frozen = encoder.embed(rewards.queries, tmp_path)
    np.testing.assert_array_equal(result.embeddings, frozen)
    assert "the frozen encoder stays" in result.summary()


def test_two_processes_train_together_and_the_first_alone_speaks(
    encoder: Encoder,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first is this process; the other one runs the command."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    launch |= {"RANK": "0", "LOCAL_RANK": "0", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for name, value in launch.items():
        monkeypatch.setenv(name, value)
    fit_options = ["--encoder", tiny, "--cache", tmp_path, "--finetune", "2", "--data", "nowhere"]
    other = subprocess.Popen(
        [sys.executable, "-m", "zooter_lite.fit", *map(str, fit_options)],
        env=os.environ | {"RANK": "1", "LOCAL_RANK": "1"},
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    steps: list[int] = []
    result = tuned(encoder, tmp_path, hidden(of_side, 240), 2, steps.append)
    out, err = other.communicate(timeout=120)
    assert (other.returncode, out, err) == (0, "", "")
    assert len(result.epochs) == 2
    # 9 batches of 16 from 144 queries, divided among the two, in each of 2 epochs
    assert steps[:11] == [0, *[1] * 10]


def test_the_command_fine_tunes_and_the_router_evaluates_and_exports(
    tiny: Path, cache: Path, tmp_path: Path, call: Call
) -> None:
    data, out = tmp_path / "hidden.csv", tmp_path / "r"
    rewards = hidden(of_side, 480)
    splits = ["test" if i % 6 == 5 else "train" for i in range(480)]
    write_table(replace(rewards, splits=splits), str(data))
    common = ("--encoder", tiny, "--tags", "none", "--precision", "fp32", "--cache", cache)
    code, printed, _ = call("fit", "--data", data, "--out", out, *common, "--finetune", 6)
    assert code == 0
    report = json.loads((out / "report.json").read_text("utf-8"))
    config = json.loads((out / "config.json").read_text("utf-8"))
    assert report["finetune"]["kept"]
    assert config["encoder"]["name"] == report["finetune"]["encoder"]
    assert str(tmp_path) not in (out / "config.json").read_text("utf-8")
    folder = printed.split("fine-tuned encoder kept: ")[1].splitlines()[0]
    query = ["a cab b c", ""]
    expected = torch_embeddings(load_torch(Path(folder), "it"), query, "")
    np.testing.assert_allclose(Router.load(out).embed(query)[1], expected, atol=1e-5)

    here = ("--router", out, "--data", data, "--cache", cache)
    assert call("evaluate", *here)[0] == 0
    assert call("export", *here, "--precision", "fp32")[0] == 0
    elsewhere = ("--precision", "fp32", *here[:-1], tmp_path / "elsewhere")
    code, _, errors = call("export", *elsewhere)
    assert code == 2
    assert "give its folder by --encoder" in errors
    assert call("export", *elsewhere, "--encoder", folder)[0] == 0


@pytest.fixture
def task(encoder: Encoder) -> Task:
    """Eight queries under random labels, and a random head."""
    random = np.random.default_rng(3)
    labels = random.dirichlet(np.ones(3), 8)
    return Task(
        tokens=encoder.session().tokens.many(hidden(of_side, 8).queries),
        offset=random.normal(size=(8, 3)),
        labels=labels,
        rewards=labels,
        learned=np.arange(8),
        choosing=np.arange(8),
        head=Head(random.normal(size=(3, encoder.spec.dim)), random.normal(size=3)),
        recipe=Recipe(finetune=1),
    )


@pytest.mark.parametrize("direction", ["label-router", "router-label"])
def test_the_loss_is_the_formula(tiny: Path, task: Task, direction: Direction) -> None:
    reference = load_torch(tiny, "tiny")
    learner = Learner(reference, replace(task, recipe=Recipe(kl=direction))).eval()
    found = learner(**task.collate([np.asarray([3, 1]), np.asarray([2])]))
    queries = hidden(of_side, 8).queries
    losses = []
    for row in (3, 1, 2):
        unit = torch_embeddings(reference, [queries[row]], "")[0]
        logits = task.offset[row] + task.head.weight @ unit + task.head.bias
        (router,) = softmax(logits[None])
        first, second = task.labels[row], router
        if direction == "router-label":
            first, second = second, first
        losses.append((first * np.log(first / second)).sum())
    assert float(found["loss"].detach()) == pytest.approx(np.mean(losses), rel=1e-4)
    assert found["logits"].shape == (3, 3)


def test_weights_that_layers_share_are_kept_once(tiny: Path, task: Task, tmp_path: Path) -> None:
    reference = load_torch(tiny, "tiny")
    layers = reference[0].auto_model.encoder.layer
    layers[1] = layers[0]
    kept = Learner(reference, task).state_dict()
    save_file(kept, tmp_path / "weights.safetensors")  # it refuses what is there twice
    assert any("layer.0." in name for name in kept)
    assert not any("layer.1." in name for name in kept)


def test_batches_hold_every_row_once_and_similar_lengths(task: Task) -> None:
    lengths = np.random.default_rng(1).integers(1, 100, 1000)
    learned = np.arange(0, 1000, 2)
    found = batches(replace(task, tokens=[np.zeros(n) for n in lengths], learned=learned))
    assert sorted(np.concatenate(found)) == learned.tolist()
    assert max(len(batch) for batch in found) == training.BATCH
    assert np.mean([np.ptp(lengths[batch]) for batch in found]) < 20


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--finetune", "1", "--encoder", "static"), "--finetune with a static encoder"),
        (("--finetune", "2", "--head", "mlp"), "--finetune with --head mlp"),
        (("--finetune", "2", "--folds", "2"), "--finetune with --folds 2: expected at least 3"),
    ],
)
def test_refusals(options: Sequence[str], expected: str, call: Call) -> None:
    code, _, errors = call("fit", *options)
    assert code == 2
    assert errors.startswith(f"error: {expected}")


def test_several_processes_are_for_fine_tuning_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, code, error in (
        ("0", 2, "error: started in 2 processes, which only --finetune divides"),
        ("1", 0, ""),
    ):
        monkeypatch.setenv("RANK", rank)
        found, printed, errors = call("fit", "--out", tmp_path / "r")
        assert (found, printed) == (code, "")
        assert errors.startswith(error)


def test_what_dies_with_others_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object, **__: object) -> None:
        raise RuntimeError("Connection closed by peer\nat line 2")

    monkeypatch.setattr(torch.distributed, "init_process_group", lost)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    message = r"2 processes stopped \(Connection closed by peer\)"
    with pytest.raises(ZooterError, match=message), launch.joined():
        pass
