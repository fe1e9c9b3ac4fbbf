"""Cold start, peak memory and size of a serving environment: the base install alone."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from recipes.bench.speed.ours import GRAPHS

MB, MIB = 1e6, 1024.0
# runs in the base environment, away from the repository, so the installed package answers
_CHILD = """
import json, resource, sys
from zooter_lite import Router
router = Router.load(sys.argv[1], "fp32" if sys.argv[2] == "static" else sys.argv[2])
expert = router.route(["What is the capital of France?"])[0].expert
try:  # on Linux ru_maxrss begins with the peak of the process that started this one
    status = open("/proc/self/status").read()
    peak = int(status.partition("VmHWM:")[2].split()[0])
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
heavy = [name for name in ("torch", "transformers", "sklearn", "onnx") if name in sys.modules]
print(json.dumps({"expert": expert, "kib": peak, "heavy": heavy}), flush=True)
"""


@dataclass(frozen=True)
class Start:
    """Medians over fresh processes."""

    seconds: float  # to the first decision, the interpreter's start included
    mib: float  # peak resident memory up to then
    router_mb: float  # of the router directory, less the graphs that are not read


def start(python: Path, router: Path, precision: str, runs: int) -> Start:
    """Start `runs` fresh processes one after another, after one that warms the page cache."""
    seconds, mib = [], []
    for _ in range(runs + 1):
        began = time.perf_counter()
        with subprocess.Popen(
            [str(python), "-c", _CHILD, str(router.resolve()), precision],
            stdout=subprocess.PIPE, text=True, cwd=python.parent,
        ) as child:  # fmt: skip
            assert child.stdout is not None
            line = child.stdout.readline()
            seconds.append(time.perf_counter() - began)
        if child.returncode or not line:
            raise RuntimeError(f"{python}: the first decision of {router} failed")
        answer = json.loads(line)
        if answer["heavy"]:
            raise RuntimeError(f"{python} is no base install: {answer['heavy']} was imported")
        mib.append(answer["kib"] / MIB)
    read = GRAPHS.get(precision, GRAPHS["fp32"])  # "static" has that graph alone
    unread = {graph for graph in GRAPHS.values() if graph != read}
    size = sum(_bytes(file) for file in router.iterdir() if file.name not in unread) / MB
    return Start(statistics.median(seconds[1:]), statistics.median(mib[1:]), size)


def packages_mb(python: Path) -> float:
    """MB of all files in the environment's site-packages, less pip and setuptools.

    The bytecode that pip compiles is counted; the interpreter, its standard library and
    the router directory are not.
    """
    (folder,) = (python.parent.parent / "lib").glob("python*/site-packages")
    tools = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
    kept = (entry for entry in folder.iterdir() if not entry.name.startswith(tools))
    return sum(_bytes(entry) for entry in kept) / MB


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(_bytes(entry) for entry in path.iterdir())
    return path.stat().st_size
