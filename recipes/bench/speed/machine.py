"""What machine this is, for the head of the table."""

from __future__ import annotations

import os
import platform
from pathlib import Path

# instruction sets that decide the speed of matrix products, as /proc/cpuinfo spells them
TELLING = (
    *("avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16"),
    *("amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve"),
)


def describe() -> list[str]:
    """CPU, cores, instruction sets, memory, system and load, one line each."""
    cpu = _cpuinfo()
    flags = (cpu.get("flags") or cpu.get("Features") or "").split()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    told = " ".join(flag for flag in TELLING if flag in flags) or "unknown"
    return [
        f"CPU: {cpu.get('model name', platform.processor() or platform.machine())}, "
        f"family {cpu.get('cpu family', '?')} model {cpu.get('model', '?')}, {cores} cores",
        f"instruction sets: {told}; no " + ", ".join(_absent(flags)),
        f"memory: {_memory_gib():.0f} GiB; {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}",
        f"load average of the minute before: {os.getloadavg()[0]:.2f}"
        " (the figures mean something only where it is near 0)",
    ]


def _absent(flags: list[str]) -> list[str]:
    kinds = {"AVX-512": "avx512f", "VNNI": "vnni", "AMX": "amx"}
    return [name for name, part in kinds.items() if not any(part in flag for flag in flags)] or [
        "extension known to matter is missing"
    ]


def _cpuinfo() -> dict[str, str]:
    try:
        first = Path("/proc/cpuinfo").read_text("utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
