"""Python programs in a restricted child process.

**Not a security boundary.** The limits keep a language model's programs from hurting by
accident: they loop, fill memory, fork, write files or call the network. Someone who means
harm can get past them; for hostile code use a container or a virtual machine.

On Linux all limits hold; the network is cut where user namespaces are allowed, which many
containers forbid. macOS is known not to enforce the limit on memory; Windows was not tried.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CHILD = Path(__file__).with_name("sandbox_child.py")
_REASON = 200  # characters


@dataclass(frozen=True)
class Limits:
    """What a program may use; it cannot start processes or threads."""

    cpu_seconds: int = 5
    wall_seconds: float = 60.0
    memory_bytes: int = 512 * 2**20
    file_bytes: int = 2**20  # what it prints goes to a file too


@dataclass(frozen=True)
class Finished:
    """What became of a program, and what it printed."""

    passed: bool  # it ran to its end: no exception, and no early exit of any kind
    output: bytes
    problem: str  # last line of its error output, or what limit it met


def run_python(parts: Sequence[str], limits: Limits, name: str = "__main__") -> Finished:
    """Run source texts one after the other, in one namespace, in a child process.

    The child starts without environment variables, site packages or user settings, in an
    empty folder that is removed afterwards; its standard input is empty. `name` is what it
    sees as `__name__`.
    """
    mark = secrets.token_hex(16)
    rlimits = {
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_AS": limits.memory_bytes,
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": 32,
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": 0,
    }
    task = {
        "parts": list(parts),
        "name": name,
        "mark": mark,
        "wall_seconds": limits.wall_seconds,
        "limits": rlimits,
    }
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            env={},
            cwd=folder,
            start_new_session=True,
        )
        code: int | None = None
        try:
            child.communicate(json.dumps(task).encode(), limits.wall_seconds)
            code = child.returncode
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(OSError, AttributeError):  # with all it may have started
                os.killpg(child.pid, signal.SIGKILL)
            child.kill()
            child.communicate()
        for stream in (output, errors):
            stream.seek(0)
        printed, said = output.read(limits.file_bytes), errors.read(limits.file_bytes)
    passed = code == 0 and printed.endswith(mark.encode())
    problem = "" if passed else _problem(code, said)
    return Finished(passed, printed.removesuffix(mark.encode()), problem)


def _problem(code: int | None, said: bytes) -> str:
    if code is None:
        return "out of wall time"
    if code < 0:
        late = -code == getattr(signal, "SIGXCPU", None)
        return "out of CPU time" if late else f"ended by signal {-code}"
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:_REASON] if lines else "ended before its last line"
