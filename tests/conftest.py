"""What the tests share: no network but loopback, one cache, one router fitted by the command."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("ZOOTER_CACHE", None)

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Call = Callable[..., tuple[int, str, str]]
Decide = Callable[[object], list[object]]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to anything but loopback and local sockets."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else "localhost"
        if host not in ("localhost", "127.0.0.1", "::1"):
            raise RuntimeError(f"a test tried to reach {address!r}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread: tiny encoders are slower in more, and add up otherwise."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def untuned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each rival of an evaluation one strength: tuning takes minutes."""
    from zooter_lite.compare import rivals

    each = [replace(r, strengths=r.strengths[len(r.strengths) // 2 :][:1]) for r in rivals.RIVALS]
    monkeypatch.setattr(rivals, "RIVALS", each)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache of exports and embeddings, shared by the whole run and by nothing else."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny encoder with random weights; not to be changed by a test."""
    from tests.tiny_encoders import save_tiny

    folder = tmp_path_factory.mktemp("encoders") / "tiny"
    save_tiny(folder, "mean")
    return folder


@pytest.fixture(scope="session")
def command(cache: Path) -> Command:
    """Run `python -m zooter_lite.NAME ARGS...` as a user would; returns the finished process."""

    def run(name: str, *args: object, **options: Any) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"ZOOTER_CACHE": str(cache), "PYTHONIOENCODING": "utf-8"}
        return subprocess.run(
            [sys.executable, "-m", f"zooter_lite.{name}", *map(str, args)],
            **(dict[str, Any](capture_output=True, text=True, cwd=ROOT, env=environment) | options),
        )

    return run


@pytest.fixture
def call(cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `zooter-lite NAME ARGS...` in this process; returns exit code, output and errors."""
    from zooter_lite.__main__ import main

    monkeypatch.setenv("ZOOTER_CACHE", str(cache))

    def run(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def fitted(command: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A router fitted on the bundled sample by the command, and what the command printed.

    Where tests run in several processes, the first one that needs it fits it for all.
    """
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    path, printed = folder / "sample", folder / "sample.txt"
    with FileLock(folder / "sample.lock"):
        if not printed.exists():
            done = command("fit", "--out", path)
            assert done.returncode == 0, done.stderr
            printed.write_text(done.stdout, "utf-8")
    return path, printed.read_text("utf-8")


@pytest.fixture(scope="session")
def router_path(fitted: tuple[Path, str]) -> Path:
    """Directory of the router fitted on the bundled sample; not to be changed by a test."""
    return fitted[0]


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a whole router of a few kilobytes; not to be changed by a test."""
    from tests.helpers import toy_router

    path = tmp_path_factory.mktemp("toy") / "router"
    toy_router(path)
    return path


@pytest.fixture(scope="session")
def decide(toy: Path) -> Decide:
    """Expert and probability of a prompt as the library alone decides with the toy router."""
    from zooter_lite.router.router import Router

    router = Router.load(toy, exact=True)

    def cells(prompt: object) -> list[object]:
        if not isinstance(prompt, str) or not prompt.strip():
            return [None, None]
        (probs,) = router.predict_proba([prompt])
        return [router.experts[int(probs.argmax())], round(float(probs.max()), 6)]

    return cells


@pytest.fixture
def own_toy(tmp_path: Path) -> Path:
    """The same as `toy`, for a test to change: `router` in its own folder."""
    from tests.helpers import toy_router

    toy_router(tmp_path / "router")
    return tmp_path / "router"


@pytest.fixture
def route_toy(toy: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run `route` with the toy router in this process; returns exit code and standard error."""
    from zooter_lite.bulk.options import Options
    from zooter_lite.cli import run
    from zooter_lite.route import main

    def call(source: object, target: object, *args: object) -> tuple[int, str]:
        files = ("--router", toy, "--input", source, "--output", target)
        arguments = [str(argument) for argument in (*files, "--workers", 1, *args)]
        code = run(Options, main, "route", "", arguments)
        out, err = capsys.readouterr()
        assert out == ""
        return code, err

    return call


@pytest.fixture
def shared_table() -> Callable[[str], Path]:
    """Path of a real reward table, or a skip that says where it was looked for."""

    def find(name: str) -> Path:
        path = SHARED_DATA / f"{name}.parquet"
        if not path.is_file():
            pytest.skip(f"real reward table {name}.parquet is not at {path.parent}")
        return path

    return find
