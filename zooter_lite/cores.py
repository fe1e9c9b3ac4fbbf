"""How many processors this process may use."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

# where the two versions of control groups keep a quota and its period, as a container sees them
_QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))


def cores(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Count the processors that affinity and a container's quota leave, at least 1.

    A quota of one and a half processors counts as two.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _quota(groups))))


@cache
def _quota(groups: Path) -> float:
    """Return the quota in processors, read once; infinity where there is none."""
    for names in _QUOTAS:
        with suppress(OSError, ValueError):  # such as "max", which is no number
            words = " ".join((groups / name).read_text("ascii") for name in names)
            quota, period = map(int, words.split())
            if quota > 0 and period > 0:
                return quota / period
    return math.inf
