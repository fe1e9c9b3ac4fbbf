"""The router directory: written whole or not at all, and every kind of damage noticed on load."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests.helpers import (
    EXPERTS,
    edit_config,
    open_files,
    replace_file,
    toy_files,
    toy_head,
    toy_router,
    units,
)
from zooter_lite.errors import DataError, RouterError
from zooter_lite.router.directory.config import (
    QUALITY,
    Calibration,
    Decisions,
    EncoderSpec,
    HeadSpec,
    Knot,
    LabelSpec,
    Parities,
    Parity,
    Point,
    RouterConfig,
    TextParity,
    Training,
)
from zooter_lite.router.directory.store import read_router
from zooter_lite.router.router import Router
from zooter_lite.untrusted.verified import Promise

ROOT = Path(__file__).resolve().parent.parent


def content_of(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


@pytest.fixture
def router(own_toy: Path) -> Path:
    return own_toy


@pytest.mark.parametrize("kind", ["prior", "linear", "mlp"])
def test_what_was_written_is_read(tmp_path: Path, kind: str) -> None:
    head = toy_router(tmp_path / "deep" / "router", kind)
    files = read_router(tmp_path / "deep" / "router")
    assert list(files.config.experts) == EXPERTS
    assert files.config.encoder.max_length == 16
    np.testing.assert_array_equal(files.head.probs(units(4, 6, 0)), head.probs(units(4, 6, 0)))
    assert files.head.temperature == head.temperature
    assert files.read("router.onnx") == toy_files(head)["router.onnx"]
    assert files.tags is not None
    assert files.tags.names == ["a", "b", "c", "d"]


def test_config_promises_size_and_hash_of_every_other_file(router: Path) -> None:
    config = json.loads((router / "config.json").read_text("utf-8"))
    assert config["format_version"] == 1
    others = {n: c for n, c in content_of(router).items() if n != "config.json"}
    assert config["files"] == {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in others.items()
    }


WHOLE = RouterConfig(
    experts=("é", "b"),
    encoder=EncoderSpec("e5", "0" * 64, 6, 16, "mean", prompt="query: "),
    calibration=Calibration(0.5),
    training=Training((0.25, 1), (None, 2.5), rows=9, rows_that_chose=5, folds=3, seed=4),
    head=HeadSpec("prior", 0.01, ("x", "y")),
    labels=LabelSpec("given", 8, 0.3, 0.9, "router-label", hard=True),
    decisions=Decisions(
        points=(QUALITY, Point("match", 0.5, None, 0.5, 2.0, 0.0, 0.1, (0.25, 0.75))),
        default="match",
        why="since",
        curve=(Knot(0.0, 0.6, 3.0, 2.9), Knot(0.5, 0.5, 2.0, 2.1)),
        single=Point("b", expert="b"),
    ),
    parity=Parities(int8=Parity(40, 0.05, spared=2), text=TextParity(3.0)),
    files={"router.onnx": Promise(3, "f" * 64)},
)


def test_a_config_is_what_it_was_after_writing_and_reading() -> None:
    text = WHOLE.to_json()
    assert RouterConfig.from_json(text.encode()) == WHOLE
    assert RouterConfig.from_json(text.encode()).to_json() == text
    assert WHOLE.best_single == "b"
    content = json.loads(text)
    assert content["decisions"]["points"] == [
        {"cost_weight": 0.0, "name": "quality", "shares": []},
        {"cost": 2.0, "cost_weight": 0.5, "gain": 0.0, "gain_error": 0.1, "name": "match",
         "reward": 0.5, "shares": [0.25, 0.75]},
    ]  # fmt: skip
    assert (content["experts"], content["training"]["mean_costs"]) == (["é", "b"], [None, 2.5])
    assert list(content["parity"]) == ["int8", "text"]
    assert text.startswith('{\n  "calibration": {\n    "temperature": 0.5\n  },')


def test_keys_that_are_not_known_are_passed_over() -> None:
    content = json.loads(WHOLE.to_json())
    content["parity"]["int8"] |= {"margin": 0.02, "repeats": 0.1, "changed_after_repeats": 0.0}
    content["later"] = {"more": []}
    assert RouterConfig.from_json(json.dumps(content).encode()) == WHOLE


def edited(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Change a file behind the back of config.json."""
    return lambda path: (path / name).write_bytes(edit((path / name).read_bytes()))


def forged(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Change a file, and what config.json promises of it."""
    return lambda path: replace_file(path, name, edit((path / name).read_bytes()))


def text(content: str | bytes) -> Callable[[Path], object]:
    raw = content if isinstance(content, bytes) else content.encode()
    return edited("config.json", lambda _: raw)


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def config(**changes: Any) -> Callable[[Path], object]:
    """Change keys of config.json, written a__b for config["a"]["b"]; ... takes the key away."""

    def edit(content: dict[str, Any]) -> None:
        for key, value in changes.items():
            *outer, last = key.split("__")
            place = content
            for name in outer:
                place = place[name]
            place[last] = value
            if value is ...:
                del place[last]

    return lambda path: edit_config(path, edit)


def promised(name: str, promise: object) -> Callable[[Path], object]:
    return lambda path: edit_config(path, lambda c: c["files"].update({name: promise}))


def symlink(path: Path) -> None:
    moved = (path / "router.onnx").rename(path.parent / "elsewhere")
    (path / "router.onnx").symlink_to(moved)


def loop(name: str) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        (path / name).unlink()
        (path / name).symlink_to(name)

    return change


def folder(path: Path) -> None:
    (path / "tokenizer.json").unlink()
    (path / "tokenizer.json").mkdir()


def other_head(**shape: Any) -> Callable[[Path], object]:
    return forged("head.safetensors", lambda _: save(toy_head("linear", **shape).tensors()))


BF16 = json.dumps({"weight": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no directory": (shutil.rmtree, "no such router directory"),
    "no config": (lambda path: (path / "config.json").unlink(), "no config.json"),
    "config not JSON": (text("{nope"), "config.json cannot be read"),
    "config not UTF-8": (text(b"\xff\xfe{}"), "config.json cannot be read"),
    "a key twice": (text('{"a": 1, "a": 2}'), "an object has a key twice"),
    "newer version": (config(format_version=2), "format_version 2, but this release reads 1"),
    "no experts": (config(experts=...), "has no 'experts'"),
    "experts a text": (config(experts="abc"), "experts is 'abc', expected a list"),
    "experts of control characters": (config(experts=["a\n", "b"]), "is not a list of names"),
    "too many experts": (config(experts=[*EXPERTS, "dog"]), "has 3 numbers for 4 experts"),
    "other dim": (config(encoder__dim=7), "the head takes 6 numbers to 3 experts"),
    "experts twice": (config(experts=["ant", "ant", "bee"]), "at least two different names"),
    "dim true": (config(encoder__dim=True), "encoder 'dim' is True, expected a whole number"),
    "words": (config(encoder__words=8), "encoder 'words' is 8, expected 1 to"),
    "layers": (config(encoder__layers=0), "encoder 'layers' is 0, expected at least 1"),
    "no rewards": (config(training={}), "training has no 'mean_rewards'"),
    "costs below zero": (config(training__mean_costs=[1, None, -1]), "are not costs"),
    **{
        f"temperature {value!r}": (
            config(calibration__temperature=value), "calibration 'temperature' is"
        )
        for value in (float("nan"), 0, None, 10**400)
    },
    **{
        f"listed {name!r}": (
            promised(name, {"bytes": 1, "sha256": "0" * 64}), "which is no bare file name"
        )
        for name in ("../x", "/etc/passwd", "a\\b", ".")
    },
    "half the tags promised": (
        lambda path: edit_config(path, lambda c: c["files"].pop("tags.json")),
        "no size and sha256 for tags.json",
    ),
    **{
        f"{name} {kind}": (damage(name), f"{name}: {message}")
        for name in ("head.safetensors", "router.onnx", "tokenizer.json", "tags.json", "tags.faiss")
        for kind, damage, message in (
            ("missing", lambda name: lambda path: (path / name).unlink(), "missing"),
            ("flipped", lambda name: edited(name, flipped), "its sha256 is not the one"),
        )
    },
    "truncated": (edited("router.onnx", lambda content: content[:99]), "router.onnx: truncated"),
    "longer": (edited("tags.faiss", lambda content: content + b"\0"), "tags.faiss: too long"),
    "symlink": (symlink, "router.onnx: missing, or not a plain file (a link, other"),
    "a config that is a loop": (loop("config.json"), "config.json cannot be read"),
    "a folder": (folder, "tokenizer.json: missing, or not a plain file"),
    "head of more experts": (other_head(n_experts=4), "the head takes 6 numbers to 4 experts"),
    "head not safetensors": (
        forged("head.safetensors", lambda _: b"nothing"), "head.safetensors: "
    ),
    "head of an odd type": (
        forged("head.safetensors", lambda _: len(BF16).to_bytes(8, "little") + BF16 + b"\0\0"),
        "head.safetensors: ",
    ),
    "tokenizer not UTF-8": (
        forged("tokenizer.json", lambda _: b"\xff"), "tokenizer.json is not UTF-8"
    ),
    "graph not ONNX": (
        forged("router.onnx", lambda _: b"nothing"), "router.onnx: the graph is not one"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_one_clear_error(router: Path, kind: str) -> None:
    damage, message = DAMAGE[kind]
    read_router(router)
    damage(router)
    before = open_files()
    with pytest.raises(RouterError) as caught:
        Router.load(router)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(router))
    assert "\n" not in str(caught.value)
    assert open_files() == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tags.json", b"{", "router: tags.json cannot be read"),
        ("tags.faiss", b"IwFl", "tags.faiss is not an index of 12 vectors"),
    ],
)
def test_malformed_tags_with_the_right_hash_are_one_clear_error_when_asked_for(
    router: Path, name: str, content: bytes, message: str
) -> None:
    replace_file(router, name, content)
    files = read_router(router)
    with pytest.raises(RouterError) as caught:
        files.tags  # noqa: B018
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(router))


def test_tags_that_changed_after_the_load_are_refused(router: Path) -> None:
    files = read_router(router)
    edited("tags.json", flipped)(router)
    with pytest.raises(RouterError, match=r"tags\.json: its sha256 is not the one"):
        files.tags  # noqa: B018


def test_a_router_is_replaced_whole(router: Path) -> None:
    old = content_of(router)
    head = toy_head("linear", temperature=2.0)
    (router / "notes.txt").write_text("the user's own")
    with pytest.raises(DataError, match="a folder with other files in it; not overwritten"):
        toy_router(router, head, tagged=False)
    (router / "notes.txt").unlink()
    toy_router(router, head, tagged=False)
    assert read_router(router).head.temperature == 2.0
    assert set(content_of(router)) == set(old) - {"tags.json", "tags.faiss"}
    assert [p.name for p in router.parent.iterdir()] == ["router"]


def test_a_kill_between_two_renames_leaves_the_old_router(
    router: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, rename, count = read_router(router).config, Path.rename, iter(range(2))

    def killed(self: Path, target: Path) -> Path:
        if next(count) == 1:
            raise KeyboardInterrupt
        return rename(self, target)

    head = toy_head("linear", temperature=2.0)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            toy_router(router, head)
    assert not router.exists()
    assert read_router(router).config == old
    assert Router.load(router).route(["one two"])
    # and the next one is written as if nothing had been
    toy_router(router, head)
    assert read_router(router).head.temperature == 2.0
    assert [p.name for p in router.parent.iterdir()] == ["router"]


def test_a_failure_while_writing_leaves_the_old_router_and_nothing_else(
    router: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, calls = content_of(router), iter(range(100))

    def failing(_: int) -> None:
        if next(calls) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", failing)
    head = toy_head("linear")
    with pytest.raises(DataError, match=r"router: cannot write \(No space left on device\)"):
        toy_router(router, head)
    assert next(calls) == 4  # it did fail in the middle
    assert content_of(router) == old
    assert [p.name for p in router.parent.iterdir()] == ["router"]


def test_a_folder_with_other_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(DataError, match="a folder with other files in it; not overwritten"):
        toy_router(tmp_path)
    assert content_of(tmp_path) == {"config.json": b'{"model_type": "bert"}'}


def test_an_empty_folder_is_taken_also_as_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    toy_router(Path())
    assert read_router(tmp_path / "here").config.experts == tuple(EXPERTS)


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_a_path_that_is_no_folder_is_refused(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "out", tmp_path / "target"
    if kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to(target)
        if kind == "link":
            target.mkdir()
    with pytest.raises(DataError, match="exists and is not a folder"):
        toy_router(path)
    assert path.is_symlink() or path.read_text() == "mine"


WRITER = """
import sys
from pathlib import Path
from tests.helpers import toy_config, toy_files, toy_head
from zooter_lite.router.directory.store import write_router
path = Path(sys.argv[1])
sys.platform = sys.argv[2]
heads = [toy_head("linear", temperature=float(t)) for t in (1, 2)]
parts = [(toy_config(head), toy_files(head), head) for head in heads]
print("ready", flush=True)
while True:
    for config, files, head in parts:
        write_router(path, config, files, head)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("platform", [sys.platform, "one that cannot exchange folders"])
def test_a_killed_writer_leaves_the_old_router_or_the_new_one(router: Path, platform: str) -> None:
    delays = random.Random(0)
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(router), platform], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(delays.uniform(0.0, 0.05))
        writer.kill()
        assert writer.wait() == -signal.SIGKILL
        writer.stdout.close()
        assert Router.load(router).head.temperature in (0.7, 1.0, 2.0)


def snapshot_of(router: Path, cache: Path, below: str = "") -> Path:
    """A router as a hub's cache keeps it: links from a snapshot into blobs."""
    repository = cache / "models--me--router"
    snapshot = repository / "snapshots" / "abc123" / below
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(router.iterdir())):
        blob = repository / "blobs" / f"blob{number}"
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


@pytest.mark.parametrize("below", ["", "routers/mine"])
def test_a_snapshot_of_a_hub_loads_as_the_plain_folder(
    toy: Path, tmp_path: Path, below: str
) -> None:
    snapshot = snapshot_of(toy, tmp_path, below)
    queries = ["2 + 2", "a poem"]
    expected = Router.load(toy).predict_proba(queries)
    assert (Router.load(snapshot).predict_proba(queries) == expected).all()
    (tmp_path / "by-name").symlink_to(snapshot)
    assert (Router.load(tmp_path / "by-name").predict_proba(queries) == expected).all()


def test_a_link_out_of_the_hubs_repository_is_refused(toy: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of(toy, tmp_path)
    for outside in (tmp_path / "elsewhere", tmp_path / "models--other" / "blobs" / "blob"):
        outside.parent.mkdir(exist_ok=True, parents=True)
        outside.write_bytes((toy / "router.onnx").read_bytes())
        (snapshot / "router.onnx").unlink()
        (snapshot / "router.onnx").symlink_to(outside)
        with pytest.raises(RouterError, match=r"copy the folder with its links followed \(cp -rL"):
            Router.load(snapshot)
    (snapshot / "router.onnx").unlink()
    (snapshot / "router.onnx").symlink_to(snapshot.parents[1] / "blobs")
    with pytest.raises(RouterError, match=r"router\.onnx: missing, or not a plain file"):
        Router.load(snapshot)
