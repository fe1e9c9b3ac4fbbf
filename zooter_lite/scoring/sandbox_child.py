"""The child process of sandbox.py: gives up what it does not need, then runs the program.

Run by its path under `python -I -S`, so it imports the standard library alone. Standard
input holds a JSON object: `parts` (source texts, one namespace), `name` (of the module),
`mark` (printed when the last part has ended) and the limits.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

_NOBODY = 65534
_NEW_USER_AND_NET = 0x10000000 | 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET of sched.h


def give_up(wall_seconds: float, limits: dict[str, int]) -> None:
    """Let go of the network, and set the limits that this system has.

    The limit on processes does not hold for root, so root's real user becomes nobody
    first. Its effective user stays (without capabilities, in a user namespace of its own),
    because nobody may not be able to read the standard library.
    """
    if hasattr(os, "setresuid") and os.geteuid() == 0:
        os.setresuid(_NOBODY, 0, 0)
    try:
        import ctypes

        ctypes.CDLL(None).unshare(_NEW_USER_AND_NET)
    except (ImportError, OSError, AttributeError, TypeError):
        pass  # no such call on this system
    try:
        import resource
    except ImportError:
        return
    if hasattr(signal, "setitimer"):  # the end even where the parent was killed
        signal.setitimer(signal.ITIMER_REAL, wall_seconds + 1)
    for name, value in limits.items():
        kind = getattr(resource, name, None)
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            grace = 1 if name == "RLIMIT_CPU" and most == value else 0  # its signal tells why
            resource.setrlimit(kind, (most, most + grace))


def main() -> None:
    """Run what standard input says."""
    task: dict[str, Any] = json.load(sys.stdin)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    give_up(task["wall_seconds"], task["limits"])
    namespace = {"__name__": task["name"], "__builtins__": __builtins__}
    for place, source in enumerate(task["parts"]):
        exec(compile(source, f"<part {place + 1}>", "exec"), namespace)
    for stream in (sys.stdout, sys.__stdout__):
        if stream is not None:
            stream.flush()
    os.write(1, task["mark"].encode())
    os._exit(0)  # the mark stays last


if __name__ == "__main__":
    main()
