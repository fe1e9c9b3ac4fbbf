"""Loads and asks hostile routers in a process of its own, and reports what each of them did.

    python -m tests.hostile_worker FOLDER FIRST STEP

prints a line of JSON when a case begins and one when it ends. A case that hangs ends the
process, and one that wants far too much memory meets its limit.
"""

from __future__ import annotations

import faulthandler
import json
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile import base_router, cases
from zooter_lite.errors import DataError, RouterError
from zooter_lite.router.router import Router
from zooter_lite.untrusted import limits

HANG_SECONDS = 120
RUN_SECONDS = 1.0  # instead of thirty, so that hundreds of cases take a minute
PROMPTS = [
    "one two three",
    "",
    "eee aaaa! " * 40,
    "e" * 300 + " a" * 300,
    "three [SEP] \ud800\0 two",
]
FORBIDDEN = (
    "ctypes.dlopen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.remove", "os.rename",
    "os.spawn", "os.startfile", "os.system", "pickle.find_class", "pty.spawn", "shutil.", "socket.",
    "subprocess.Popen", "urllib.Request",
)  # fmt: skip


class Guard:
    """Notes what no router may cause: programs, sockets, unpickling, files outside of it."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event.startswith(FORBIDDEN):
            self.seen.append(f"{event} {arguments!r:.100}")
        elif event == "open" and isinstance(arguments[0], (str, bytes)):
            path = str(arguments[0])
            if not path.startswith((str(self.folder), "/proc/self/")):
                self.seen.append(f"open {path}")


def _kibibytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise ValueError(field)


def ask(path: Path, precision: str) -> str:
    """Load and ask a router; return "refused", "harmless", or what is wrong."""
    try:
        router = Router.load(path, precision, threads=1)  # type: ignore[arg-type]
        decisions = router.route(PROMPTS)
        assert [decision.expert in router.experts for decision in decisions] == [True] * 5
        for point in [*router.points, "recommended"]:
            assert len(router.route(PROMPTS, point=point)) == 5
        probs, embeddings = router.embed([*PROMPTS[:2], "seven"])
        assert probs.shape == (3, len(router.experts))
        assert embeddings.shape == (3, router.head.dim)
        assert np.isfinite(probs).all()
        assert np.isfinite(embeddings).all()
        assert np.abs(probs.sum(axis=1) - 1).max() < 1e-3
        json.dumps(router.experts, ensure_ascii=False).encode()
        weights = [weight for row in router.tags(PROMPTS) for _, weight in row]
        assert np.isfinite(weights).all()
        router.explain(PROMPTS[0])
    except (RouterError, DataError) as error:
        text = str(error)
        return "refused" if "\n" not in text and len(text) < 1000 else f"long: {text[:1500]!r}"
    except BaseException as error:  # panics of Rust are no Exception
        return f"{type(error).__name__}: {error}"[:1000]
    return "harmless"


def main(folder: Path, first: int, step: int) -> None:
    """Run every `step`-th case from `first` on."""
    limits.RUN_SECONDS = RUN_SECONDS
    base = folder / f"base{first}"
    base_router(base)
    assert [ask(base, precision) for precision in ("fp32", "int8")] == ["harmless"] * 2
    guard = Guard()
    room = _kibibytes("VmSize") * 1024 + 2 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
    for number, case in list(enumerate(cases()))[first::step]:
        print(json.dumps({"begin": number, "kind": case.kind, "name": case.name}), flush=True)
        path = folder / f"case{first}"
        shutil.copytree(base, path)
        case.apply(path)
        Path("/proc/self/clear_refs").write_text("5", "ascii")  # VmHWM starts anew
        before, start = _kibibytes("VmRSS"), time.monotonic()
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        guard.folder = path
        outcomes = [ask(path, precision) for precision in ("fp32", "int8")]
        guard.folder = None
        faulthandler.cancel_dump_traceback_later()
        wrong = [each for each in outcomes if each not in ("refused", "harmless")]
        report = {
            "end": number,
            "outcome": "harmless" if "harmless" in outcomes else "refused",
            "wrong": wrong + guard.seen,
            "seconds": round(time.monotonic() - start, 3),
            "mebibytes": (_kibibytes("VmHWM") - before) >> 10,
        }
        guard.seen.clear()
        print(json.dumps(report), flush=True)
        shutil.rmtree(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
