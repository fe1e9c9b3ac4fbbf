"""How many processors this process may use."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path


def cores(root: Path = Path("/")) -> int:
    """Count the processors that affinity and the quotas of control groups leave, at least 1.

    A quota of one and a half processors counts as two. `root` is where `proc` and `sys` are.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, min(allowed, _most(root)))


@cache
def _most(root: Path) -> int:
    """Return what the quotas allow, read once; `sys.maxsize` where there is none."""
    return min(map(math.ceil, _quotas(root)), default=sys.maxsize)


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quota, in processors, of each control group that this process is in."""
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text("utf-8").splitlines():
            _, names, path = line.split(":", 2)
            if names and "cpu" not in names.split(","):
                continue
            mounts = (names, "cpu") if names else ("", "unified")
            for mount in mounts:
                group = root / "sys/fs/cgroup" / mount
                for part in ("", *Path(path.lstrip("/")).parts):
                    group /= part
                    yield from _quota(group)


def _quota(group: Path) -> Iterator[float]:
    """Yield the quota of one group: version 2 keeps it in one file, version 1 in two."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with suppress(OSError, ValueError):  # such as "max", which is no number
            words = " ".join((group / name).read_text("ascii") for name in names)
            quota, period = map(int, words.split())
            if quota > 0:
                yield quota / period
