"""The sandbox lets honest programs run and ends greedy ones; it is no security boundary."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from zooter_lite.scoring.checks import python_tests
from zooter_lite.scoring.sandbox import Limits, run_python

LIMITS = Limits(cpu_seconds=1, wall_seconds=30.0, memory_bytes=128 * 2**20)
linux = pytest.mark.skipif(sys.platform != "linux", reason="the limits of Linux")


@linux
@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("while True: pass", "out of CPU time"),
        ("x = 'x' * 10**9", "MemoryError"),
        ("import os\nwhile True: os.fork()", "BlockingIOError"),
        ("open('f', 'w').write('x' * 10**7)", "File too large"),
        ("assert 1 == 2, 'no'", "AssertionError: no"),
        ("import numpy", "ModuleNotFoundError"),
        ("import os; os._exit(0)", "ended before its last line"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal 11"),
    ],
)  # fmt: skip
def test_greedy_and_broken_programs_fail(program: str, problem: str) -> None:
    done = run_python([program], LIMITS)
    assert not done.passed
    assert problem in done.problem


def test_a_program_that_waits_is_ended_in_time() -> None:
    started = time.monotonic()
    done = run_python(["import time; time.sleep(60)"], Limits(wall_seconds=0.5))
    assert (done.passed, done.problem) == (False, "out of wall time")
    assert time.monotonic() - started < 20


def test_environment_and_folder_are_empty_and_gone_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET_KEY", "planted")
    program = (
        "import os, sys\nassert 'SECRET_KEY' not in os.environ\nassert os.listdir() == []\n"
        "open('f', 'w').write('x')\nprint(os.getcwd())\nprint(sys.path)"
    )
    done = run_python([program, "import fractions; print(fractions.Fraction(1, 2))"], LIMITS)
    assert done.passed, done.problem
    assert done.problem == ""
    folder, path, half = done.output.decode().splitlines()
    assert half == "1/2"
    assert not Path(folder).exists()
    assert "site-packages" not in path


@linux
def test_the_network_is_cut_where_the_system_allows_it() -> None:
    allowed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import ctypes; raise SystemExit(ctypes.CDLL(None).unshare(1 << 28))",
        ]
    )
    if allowed.returncode:
        pytest.skip("this system forbids user namespaces")
    program = "import socket\nsocket.create_connection(('127.0.0.1', 1), 1)"
    assert "Network is unreachable" in run_python([program], LIMITS).problem


@linux
def test_a_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    code = (
        "from zooter_lite.scoring.sandbox import Limits, run_python\n"
        f"run_python([{program!r}], Limits(wall_seconds=1.0))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    child = int(pid.read_text())
    parent.kill()
    parent.wait()
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("response", "reward"),
    [
        ("Draft:\n```python\ndouble = 3\n```\n```python\ndef double(x):\n    return 2*x\n```", 1.0),
        ("```python\ndef double(x):\n    return 2*x\n```\nSo:\n```python\ndouble('')()\n```", 0.0),
        ("```python\ndef double(x):\n    return 2*x\n```\nPrints:\n```\n4\n```", 1.0),
        ("def double(x): return x + x", 1.0),
        ("def double(x): return 2 * x\nif __name__ == '__main__': double(input())", 1.0),
        ("def double(x): return x", 0.0),
        ("import os\ndef double(x): os._exit(0)", 0.0),
    ],
)  # fmt: skip
def test_python_tests(response: str, reward: float) -> None:
    tests = ["assert double(2) == 4", "assert double('a') == 'aa'"]
    assert python_tests(response, tests)[0] == reward
