"""`route --engine ray`: the bytes of the local engine, whatever dies on the way."""

from __future__ import annotations

import csv
import gzip
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT, Command
from tests.test_bulk_job import tree
from zooter_lite.bulk.block import Task
from zooter_lite.bulk.options import Options
from zooter_lite.bulk.reader import read_blocks
from zooter_lite.bulk.work import versions
from zooter_lite.errors import DataError, RouterError
from zooter_lite.files.places import Source
from zooter_lite.router.router import Router

ray = pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")
from zooter_lite.bulk.ray import cluster as ray_cluster  # noqa: E402 - after the skip
from zooter_lite.bulk.ray import pipeline  # noqa: E402

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",
    "RAY_ADDRESS": "",
}
QUESTIONS = ("one two", "three four five", "six", "")


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def descendants(pid: int) -> dict[Any, str]:
    """Processes below `pid`, and what each calls itself."""
    names = {}
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):
            names[child] = " ".join(child.cmdline())
    return names


def end(processes: Iterable[Any]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, int]]:
    """Address and process of a cluster with two cores on loopback."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
    options = ["--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", "2"]
    with tempfile.TemporaryDirectory(prefix="zr") as folder:  # short, for names of sockets
        log = Path(folder, "log").open("wb")  # noqa: SIM115 - closed after the processes
        process = subprocess.Popen(
            [*command, *options, "--include-dashboard", "false", "--temp-dir", folder],
            cwd=ROOT,
            env=os.environ | QUIET | {"PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        children: dict[Any, str] = {}
        try:
            wait(lambda: b"Ray runtime started" in Path(folder, "log").read_bytes(), process)
            children = descendants(process.pid)
            yield f"127.0.0.1:{port}", process.pid
            children = descendants(process.pid)
        finally:
            process.kill()
            process.wait()
            end(children)
            log.close()


def wait(ready: Callable[[], object], process: subprocess.Popen[Any], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def route(command: Command, toy: Path) -> Command:
    def run(source: object, target: object, *args: object, **options: Any) -> Any:
        environment = os.environ | QUIET
        files = ("--router", toy, "--input", source, "--output", target)
        return command("route", *files, *args, **({"env": environment} | options))

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """CSV, packed JSON lines and Parquet, each with rows that cannot be routed."""
    path = tmp_path / "input"
    path.mkdir()
    prompts = [f"{QUESTIONS[row % 4]} {row}" if row % 4 < 3 else "" for row in range(48)]
    with (path / "a.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["n", "query"])
        writer.writerows((n, prompt) if n != 30 else (n,) for n, prompt in enumerate(prompts))
    lines = [json.dumps({"query": prompt, "n": n}) for n, prompt in enumerate(prompts)]
    (path / "b.jsonl.gz").write_bytes(gzip.compress("\n".join([*lines, "{"]).encode()))
    table = pa.table({"query": [*prompts, None], "n": range(len(prompts) + 1)})
    pq.write_table(table, path / "c.parquet", row_group_size=20)
    return path


def test_every_format_has_the_bytes_of_the_local_engine(
    folder: Path, tmp_path: Path, route: Command, cluster: tuple[str, int]
) -> None:
    where = ("--engine", "ray", "--ray-address", cluster[0], "--workers", 2)
    job = ("--block", 1, "--on-error", "skip", "--all-probabilities")
    local = route(folder, tmp_path / "local", *job, "--workers", 1)
    done = route(folder, tmp_path / "ray", *job, *where)
    assert local.returncode == done.returncode == 0, done.stderr
    assert tree(tmp_path / "ray") == tree(tmp_path / "local")
    assert sorted(tree(tmp_path / "ray")) == [
        "a.csv",
        "a.csv.rejects.jsonl",
        "b.jsonl.gz",
        "b.jsonl.gz.rejects.jsonl",
        "c.parquet",
    ]
    first, _, *rest = done.stderr.splitlines()
    assert [first, *rest] == [
        line.replace("/local/", "/ray/")
        for place, line in enumerate(local.stderr.splitlines())
        if place != 1  # the speed
    ]
    assert first.startswith("107 rows routed (")


def test_a_bad_row_is_one_line_and_what_stands_before_it_is_kept(
    tmp_path: Path, route: Command, cluster: tuple[str, int]
) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    rows = [f"{n},{QUESTIONS[n % 3]}" for n in range(150)]
    source.write_text("\n".join(["n,query", *rows, "x"]) + "\n")
    where = ("--engine", "ray", "--ray-address", cluster[0], "--workers", 1)
    done = route(source, target, "--block", 1, *where)
    assert done.returncode == 2
    assert done.stderr == (f"error: {source}, line 152: 1 cells, but the header has 2 columns\n")
    assert not target.exists()
    assert (tmp_path / ".out.csv.partial").read_text().splitlines()[1].startswith("0,one two")
    left_out = ("--block", 1, "--on-error", "skip", "--workers", 1)
    assert " of an earlier run (" in route(source, target, *left_out).stderr
    assert route(source, tmp_path / "whole.csv", *left_out).returncode == 0
    assert target.read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.slow
def test_a_killed_driver_and_a_killed_worker_change_no_byte(
    tmp_path: Path, route: Command, toy: Path, cluster: tuple[str, int]
) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    rows = [f"{n},{QUESTIONS[n % 3]} {'And then? ' * 10}{n}" for n in range(1500)]
    source.write_text("\n".join(["n,query", *rows]) + "\n")
    job = ("--block", "1")
    assert route(source, tmp_path / "local.csv", *job).returncode == 0
    expected = (tmp_path / "local.csv").read_bytes()
    where = ("--engine", "ray", "--workers", "2")
    files = ("--router", str(toy), "--input", str(source), "--output", str(target))
    command = [sys.executable, "-m", "zooter_lite.route", *files, *job, *where]

    def start(*more: str) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        environment = os.environ | QUIET
        return subprocess.Popen(
            [*command, *more], cwd=ROOT, env=environment, stdout=pipe, stderr=pipe
        )

    def begun() -> bool:
        partial = tmp_path / ".out.csv.partial"
        return partial.exists() and partial.stat().st_size > 0

    driver = start()  # with a cluster of its own
    try:
        wait(begun, driver)
        started = descendants(driver.pid)
    finally:
        driver.kill()
        driver.communicate()
    assert any("raylet" in name for name in started.values())
    awaited = [child for child, name in started.items() if "Agent" not in name]
    _, left = psutil.wait_procs(awaited, timeout=60)
    assert not left
    end(started)  # Ray's agents take a minute to notice
    assert not target.exists()
    kept = (tmp_path / ".out.csv.partial").stat().st_size

    driver = start("--ray-address", cluster[0])
    wait(lambda: (tmp_path / ".out.csv.partial").stat().st_size > kept, driver)
    workers = [child for child, name in descendants(cluster[1]).items() if "MapWorker" in name]
    assert len(workers) == 2
    workers[0].kill()
    printed, said = driver.communicate(timeout=180)
    assert driver.returncode == 0, said
    assert printed == b""
    assert b" of an earlier run (" in said
    assert len(said.splitlines()) == 3  # the last tells of long prompts
    assert target.read_bytes() == expected


def test_an_address_without_a_cluster() -> None:
    for address, message in (
        (f"127.0.0.1:{free_port()}", "cannot be reached ("),
        ("head", "cannot be reached ("),
        ("ray://head:10001", "cannot be reached ("),
    ):
        with pytest.raises(DataError) as caught:
            ray_cluster._reach(address)
        assert str(caught.value).startswith(f"--ray-address {address}: {message}")


def test_standard_input(tmp_path: Path, route_toy: Callable[..., tuple[int, str]]) -> None:
    code, err = route_toy("-", tmp_path / "out.csv", "--engine", "ray")
    assert code == 2
    assert err == (
        "error: standard input: --engine ray needs a file, which can be read again when a node "
        "fails\n"
    )


def the_start(path: Path) -> Task:
    return Task(Source(str(path), "csv", "", ""), "-", "query", ("expert", "probability"), 64)


def test_a_worker_routes_and_tells_why_it_cannot(
    tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.csv"
    path.write_text("query\none two\n")
    block = next(read_blocks(the_start(path)))
    monkeypatch.setattr(ray, "get", lambda files: files)
    options = Options(str(toy), "-", "-")
    files = pipeline.router_files(toy)
    others = {"config.json", "head.safetensors", "tokenizer.json", "tags.json", "tags.faiss"}
    assert others | {"router.onnx"} <= set(files)

    def ask(files: dict[str, bytes], expected: dict[str, str]) -> Any:
        return pipeline.RayWorker(options, [files], expected)({"item": [block]})["item"][0]

    expert = Router.load(toy).route(["one two"])[0].expert
    result = ask(files, versions())
    assert result.data.startswith(f"query,expert,probability\none two,{expert},".encode())
    error = ask(files | {"head.safetensors": b""}, versions())
    assert isinstance(error, RouterError)
    assert str(error).startswith(f"{toy}/head.safetensors")
    error = ask(files, {"zooter-lite": "9", "onnxruntime": "8"})
    assert str(error).startswith("a node of the cluster has zooter-lite 0.")
    assert str(error).endswith("; expected zooter-lite 9 and onnxruntime 8, as here")


def test_what_a_cluster_does_to_a_job_is_one_line() -> None:
    with pytest.raises(DataError) as caught, ray_cluster._told(ray):
        raise ray.exceptions.RaySystemError("No module named 'zooter_lite'\ntrace")
    assert str(caught.value) == (
        "a node of the Ray cluster has no zooter-lite; expected the same version on each"
    )
    with pytest.raises(DataError, match=r"^Ray: System error: disk full$"), ray_cluster._told(ray):
        raise ray.exceptions.RaySystemError("disk\nfull")
    with pytest.raises(ray.exceptions.RayTaskError), ray_cluster._told(ray):
        raise ray.exceptions.RayTaskError("work", "a bug", ValueError("a bug"))
