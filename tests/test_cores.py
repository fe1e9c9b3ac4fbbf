"""Processors that may be used: affinity, and quotas of control groups of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zooter_lite.cores import cores


@pytest.fixture(autouse=True)
def _many_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),  # one and a half
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "nonsense\n"}, 64),
        ("1:cpu,cpuacct:/a\n", {"cpu,cpuacct/a/cpu.cfs_quota_us": "200000\n",
                                "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, 2),
        ("4:cpu:/docker/x\n", {"cpu/cpu.cfs_quota_us": "100000\n",  # the mount is the group
                               "cpu/cpu.cfs_period_us": "50000\n"}, 2),
        ("1:cpu:/\n0::/\n", {"cpu/cpu.cfs_quota_us": "-1\n",
                             "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ("1:memory:/\n0::/u\n", {"unified/u/cpu.max": "700000 100000\n"}, 7),
        ("no control group\n", {}, 64),
    ],
)  # fmt: skip
def test_quotas_of_control_groups_count(
    tmp_path: Path, groups: str, files: dict[str, str], expected: int
) -> None:
    for name, text in {"proc/self/cgroup": groups}.items() | {
        (f"sys/fs/cgroup/{name}", text) for name, text in files.items()
    }:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "ascii")
    assert cores(tmp_path) == expected
