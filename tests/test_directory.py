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
from dataclasses import replace
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
    toy_config,
    toy_files,
    toy_head,
    toy_router,
    units,
)
from zooter_lite.errors import DataError, RouterError
from zooter_lite.router.directory.config import (
    Calibration,
    EncoderSpec,
    HeadSpec,
    LabelSpec,
    Parities,
    Parity,
    RouterConfig,
    TextParity,
    Training,
)
from zooter_lite.router.directory.store import read_router, write_router
from zooter_lite.router.router import Router
from zooter_lite.untrusted.verified import Promise

ROOT = Path(__file__).resolve().parent.parent


def content_of(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


@pytest.fixture
def router(tmp_path: Path) -> Path:
    toy_router(tmp_path / "router")
    return tmp_path / "router"


@pytest.mark.parametrize("kind", ["prior", "linear", "mlp"])
def test_what_was_written_is_read(tmp_path: Path, kind: str) -> None:
    head = toy_router(tmp_path / "deep" / "router", kind)
    files = read_router(tmp_path / "deep" / "router")
    assert list(files.config.experts) == EXPERTS
    assert files.config.encoder.max_length == 16
    np.testing.assert_array_equal(files.head.probs(units(4, 6, 0)), head.probs(units(4, 6, 0)))
    assert files.head.temperature == head.temperature
    assert files.read("router.onnx") == toy_files(head)["router.onnx"]
    assert files.graphs == {}
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


def test_a_router_without_tags(tmp_path: Path) -> None:
    head = toy_head("linear")
    write_router(tmp_path / "r", toy_config(head), toy_files(head, tagged=False), head)
    assert read_router(tmp_path / "r").tags is None


WHOLE = RouterConfig(
    experts=("é", "b"),
    encoder=EncoderSpec("e5", "0" * 64, 6, 16, "mean", prompt="query: "),
    calibration=Calibration(0.5),
    training=Training((0.25, 1), (None, 2.5), rows=9, rows_that_chose=5, folds=3, seed=4),
    head=HeadSpec("prior", 0.01, ("x", "y")),
    labels=LabelSpec("given", 8, 0.3, 0.9, "router-label", hard=True),
    parity=Parities(int8=Parity(40, 0.05, margin=0.02), text=TextParity(3.0)),
    files={"router.onnx": Promise(3, "f" * 64)},
)


def test_a_config_is_what_it_was_after_writing_and_reading() -> None:
    text = WHOLE.to_json()
    assert RouterConfig.from_json(text) == WHOLE
    assert RouterConfig.from_json(text).to_json() == text
    assert WHOLE.best_single == "b"
    content = json.loads(text)
    assert content["policy"] == {"default": "arg max"}
    assert (content["experts"], content["training"]["mean_costs"]) == (["é", "b"], [None, 2.5])
    assert list(content["parity"]) == ["int8", "text"]
    assert text.startswith('{\n  "calibration": {\n    "temperature": 0.5\n  },')


def test_keys_of_a_later_release_stay_when_a_config_is_changed() -> None:
    content = json.loads(WHOLE.to_json())
    for place in (content, content["labels"], content["policy"], content["parity"]["int8"]):
        place["later"] = {"a": [1]}
    config = RouterConfig.from_json(json.dumps(content))
    parity = replace(config.parity, fp32=Parity(1, 0.5).rounded())
    again = json.loads(replace(config, parity=parity).to_json())
    assert again["parity"].pop("fp32")["max_difference"] == 0.5
    assert again == content


def flip(name: str, place: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = bytearray((path / name).read_bytes())
        content[place] ^= 1
        (path / name).write_bytes(content)

    return change


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    raw = content if isinstance(content, bytes) else content.encode()

    def change(path: Path) -> None:
        (path / name).write_bytes(raw)

    return change


def config(**changes: Any) -> Callable[[Path], None]:
    """Change keys of config.json, written a__b for config["a"]["b"]."""

    def edit(content: dict[str, Any]) -> None:
        for key, value in changes.items():
            *outer, last = key.split("__")
            place = content
            for name in outer:
                place = place[name]
            place[last] = value

    return lambda path: edit_config(path, edit)


def without(key: str) -> Callable[[Path], None]:
    return lambda path: edit_config(path, lambda content: content.pop(key))


def listed(name: str) -> Callable[[Path], None]:
    promise = {"bytes": 1, "sha256": "0" * 64}
    return lambda path: edit_config(path, lambda c: c["files"].update({name: promise}))


def promised(name: str, promise: object) -> Callable[[Path], None]:
    return lambda path: edit_config(path, lambda c: c["files"].update({name: promise}))


def symlink(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        moved = (path / name).rename(path.parent / "elsewhere")
        (path / name).symlink_to(moved)

    return change


def swap(path: Path) -> None:
    (path / "router.onnx").rename(path / "kept")
    (path / "tokenizer.json").rename(path / "router.onnx")
    (path / "kept").rename(path / "tokenizer.json")


def grow(path: Path) -> None:
    with (path / "tags.faiss").open("ab") as stream:
        stream.write(b"\0")


def cut(path: Path) -> None:
    content = (path / "router.onnx").read_bytes()
    (path / "router.onnx").write_bytes(content[: len(content) // 2])


def other_head(**shape: Any) -> Callable[[Path], None]:
    return lambda path: replace_file(
        path, "head.safetensors", save(toy_head("linear", **shape).tensors())
    )


def one_folder_for(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        (path / name).unlink()
        (path / name).mkdir()

    return change


BF16 = json.dumps({"weight": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
DAMAGE = {
    "no directory": (shutil.rmtree, "no such router directory"),
    "no config": (lambda path: (path / "config.json").unlink(), "no config.json"),
    "config is a folder": (one_folder_for("config.json"), "config.json cannot be read"),
    "config not JSON": (text("config.json", "{nope"), "config.json cannot be read"),
    "config empty": (text("config.json", ""), "config.json cannot be read"),
    "config not UTF-8": (text("config.json", b"\xff\xfe{}"), "config.json cannot be read"),
    "config nested": (text("config.json", "[" * 200_000), "config.json cannot be read"),
    "config a list": (text("config.json", "[]"), "names no format_version"),
    "config empty object": (text("config.json", "{}"), "names no format_version"),
    "newer version": (config(format_version=2), "format_version 2, but this release reads 1"),
    "odd version": (config(format_version=[1]), "this release reads 1"),
    "no experts": (without("experts"), "'experts' is missing"),
    "experts a text": (config(experts="abc"), "experts is 'abc', expected a list"),
    "experts numbers": (config(experts=[1, 2, 3]), "experts is 1, expected text"),
    "experts of control characters": (config(experts=["a\n", "b"]), "is not a list of names"),
    "experts twice": (config(experts=["ant", "ant", "bee"]), "at least two different names"),
    "one expert": (config(experts=["ant"]), "at least two different names"),
    "too many experts": (config(experts=[*EXPERTS, "dog"]), "has 3 numbers for 4 experts"),
    "no encoder": (without("encoder"), "'encoder' is missing"),
    "other dim": (config(encoder__dim=7), "the head takes 6 numbers to 3 experts"),
    **{
        f"dim {dim!r}": (config(encoder__dim=dim), "encoder 'dim' is")
        for dim in (0, "6", 6.5, True, None, 10**9)
    },
    "max_length": (config(encoder__max_length=0), "encoder 'max_length' is 0"),
    "no training": (without("training"), "'training' is missing"),
    "no rewards": (config(training={}), "training has no 'mean_rewards'"),
    "costs below zero": (config(training__mean_costs=[1, None, -1]), "are not costs"),
    "labels of another type": (config(labels__hard="no"), "labels 'hard' is 'no', expected true"),
    "a key twice": (text("config.json", '{"a": 1, "a": 2}'), "an object has a key twice"),
    "other training": (config(training__mean_rewards=[0.5]), "has 1 numbers for 3 experts"),
    "no calibration": (without("calibration"), "'calibration' is missing"),
    **{
        f"temperature {value!r}": (
            config(calibration__temperature=value), "calibration 'temperature' is"
        )
        for value in (float("nan"), float("inf"), 0, "1", None, 10**400)
    },
    "no files": (without("files"), "'files' is missing"),
    **{
        f"listed {name!r}": (listed(name), "which is no bare file name")
        for name in ("../x", "/etc/passwd", "a\\b", ".", "")
    },
    "no promise": (promised("router.onnx", None), "no size and sha256 for router.onnx"),
    "promise a text": (
        promised("router.onnx", {"bytes": "12", "sha256": ""}), "router.onnx 'bytes' is '12'"
    ),
    "promise no hash": (
        lambda path: edit_config(path, lambda c: c["files"]["router.onnx"].pop("sha256")),
        "no size and sha256 for router.onnx",
    ),
    "file not promised": (
        lambda path: edit_config(path, lambda c: c["files"].pop("head.safetensors")),
        "no size and sha256 for head.safetensors",
    ),
    "half the tags promised": (
        lambda path: edit_config(path, lambda c: c["files"].pop("tags.json")),
        "no size and sha256 for tags.json",
    ),
    **{
        f"{name} missing": (lambda path, name=name: (path / name).unlink(), f"{name}: missing")
        for name in ("head.safetensors", "router.onnx", "tokenizer.json", "tags.json", "tags.faiss")
    },
    **{
        f"{name} flipped at {place}": (flip(name, place), f"{name}: its sha256 is not the one")
        for name in ("head.safetensors", "router.onnx", "tokenizer.json", "tags.json", "tags.faiss")
        for place in (-1,)
    },
    "truncated": (cut, "router.onnx: truncated"),
    "longer": (grow, "tags.faiss: too long"),
    "swapped": (swap, "too long"),
    "symlink": (symlink("router.onnx"), "router.onnx: missing, or not a plain file"),
    "a folder": (one_folder_for("tokenizer.json"), "tokenizer.json: missing, or not a plain file"),
    "head of more experts": (other_head(n_experts=4), "the head takes 6 numbers to 4 experts"),
    "head of another width": (other_head(dim=5), "the head takes 5 numbers to 3 experts"),
    "head not safetensors": (
        lambda path: replace_file(path, "head.safetensors", b"nothing"), "head.safetensors: "
    ),
    "head empty": (
        lambda path: replace_file(path, "head.safetensors", save({})), "expected the arrays"
    ),
    "head of an odd type": (
        lambda path: replace_file(
            path, "head.safetensors", len(BF16).to_bytes(8, "little") + BF16 + b"\0\0"
        ),
        "head.safetensors: ",
    ),
    "head with a single number": (
        lambda path: replace_file(
            path,
            "head.safetensors",
            save(toy_head("mlp").tensors() | {"hidden.weight": np.array(1.0, dtype=np.float32)}),
        ),
        "'hidden.weight' has shape",
    ),
    "tokenizer not UTF-8": (
        lambda path: replace_file(path, "tokenizer.json", b"\xff"), "tokenizer.json is not UTF-8"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_one_clear_error(router: Path, kind: str) -> None:
    damage, message = DAMAGE[kind]
    read_router(router)
    damage(router)  # type: ignore[operator]
    before = open_files()
    with pytest.raises(RouterError) as caught:
        Router.load(router)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(router))
    assert "\n" not in str(caught.value)
    assert open_files() == before


TAG_DAMAGE = {
    "tags not JSON": (lambda path: replace_file(path, "tags.json", b"{"), "router: tags.json is"),
    "tags nested": (
        lambda path: replace_file(path, "tags.json", b"[" * 200_000), "router: tags.json is"
    ),
    "faiss of another kind": (
        lambda path: replace_file(
            path, "tags.faiss", b"IwFl" + (path / "tags.faiss").read_bytes()[4:]
        ),
        "tags.faiss is not an index of 12 vectors",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TAG_DAMAGE)
def test_malformed_tags_with_the_right_hash_are_one_clear_error_when_asked_for(
    router: Path, kind: str
) -> None:
    damage, message = TAG_DAMAGE[kind]
    damage(router)  # type: ignore[no-untyped-call]
    files = read_router(router)
    with pytest.raises(RouterError) as caught:
        files.tags  # noqa: B018
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(router))
    assert "\n" not in str(caught.value)


def test_tags_that_changed_after_the_load_are_refused(router: Path) -> None:
    files = read_router(router)
    flip("tags.json", 3)(router)
    with pytest.raises(RouterError, match=r"tags\.json: its sha256 is not the one"):
        files.tags  # noqa: B018


@pytest.mark.slow
def test_damage_to_a_real_router_is_one_clear_error(router_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "router"
    shutil.copytree(router_path, copy)
    assert read_router(copy).config == read_router(router_path).config
    flip("router.onnx", 5_000_000)(copy)
    with pytest.raises(RouterError, match=r"router\.onnx: its sha256 is not the one"):
        Router.load(copy)
    flip("router.onnx", 5_000_000)(copy)
    edit_config(copy, lambda content: content["experts"].reverse())
    with pytest.raises(RouterError, match="name different experts"):
        Router.load(copy)


def test_nothing_that_is_unlisted_is_read(router: Path) -> None:
    (router / "notes.txt").write_text("mine")
    (router / "evil.pkl").write_bytes(b"\x80")
    assert read_router(router).config.experts == tuple(EXPERTS)


def test_a_router_is_replaced_whole(router: Path) -> None:
    old = content_of(router)
    head = toy_head("linear", temperature=2.0)
    (router / "notes.txt").write_text("the user's own")
    with pytest.raises(DataError, match="a folder with other files in it; not overwritten"):
        write_router(router, toy_config(head), toy_files(head, tagged=False), head)
    (router / "notes.txt").unlink()
    write_router(router, toy_config(head), toy_files(head, tagged=False), head)
    assert read_router(router).head.temperature == 2.0
    assert set(content_of(router)) == set(old) - {"tags.json", "tags.faiss"}
    assert [p.name for p in router.parent.iterdir()] == ["router"]


def test_a_router_is_replaced_where_folders_cannot_be_exchanged(
    router: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    head = toy_head("linear", temperature=2.0)
    write_router(router, toy_config(head), toy_files(head), head)
    assert read_router(router).head.temperature == 2.0
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
            write_router(router, toy_config(head), toy_files(head), head)
    assert not router.exists()
    assert read_router(router).config == old
    assert Router.load(router).route(["one two"])
    # and the next one is written as if nothing had been
    write_router(router, toy_config(head), toy_files(head), head)
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
        write_router(router, toy_config(head), toy_files(head), head)
    assert next(calls) == 4  # it did fail in the middle
    assert content_of(router) == old
    assert [p.name for p in router.parent.iterdir()] == ["router"]


def test_an_interrupt_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        toy_router(tmp_path / "router")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_of_the_same_number_left_is_no_obstacle(tmp_path: Path) -> None:
    left = tmp_path / f".router.{os.getpid()}.partial"
    left.mkdir()
    (left / "half").write_text("")
    toy_router(tmp_path / "router")
    assert [p.name for p in tmp_path.iterdir()] == ["router"]
    assert "half" not in content_of(tmp_path / "router")


@pytest.mark.parametrize("name", ["notes.txt", "config.json"])
def test_a_folder_with_other_files_is_not_overwritten(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text('{"model_type": "bert"}')
    with pytest.raises(DataError, match="a folder with other files in it; not overwritten"):
        toy_router(folder)
    assert content_of(folder) == {name: b'{"model_type": "bert"}'}


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


def test_a_parent_that_is_a_file_is_one_clean_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        toy_router(tmp_path / "file" / "router")


WRITER = """
import sys
from pathlib import Path
from tests.helpers import toy_config, toy_files, toy_head
from zooter_lite.router.directory.config import (
    Calibration,
    EncoderSpec,
    HeadSpec,
    LabelSpec,
    Parities,
    Parity,
    RouterConfig,
    TextParity,
    Training,
)
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
