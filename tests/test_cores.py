"""Processors that may be used: affinity, and quotas of control groups of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zooter_lite.cores import cores
from zooter_lite.scoring.sandbox import Limits, run_python


@pytest.fixture(autouse=True)
def _many_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "150000 100000\n"}, 2),  # one and a half
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "nonsense\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({}, 64),
    ],
)
def test_quotas_of_control_groups_count(
    tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text, "ascii")
    assert cores(tmp_path) == expected


def test_a_program_that_is_starved_of_processors_is_not_out_of_time() -> None:
    """Ten seconds on the clock used to be the end, however little processor time they held."""
    limits = Limits()
    assert limits.wall_seconds >= 10 * limits.cpu_seconds
    assert run_python(["import time; time.sleep(1.5)"], Limits(cpu_seconds=1)).passed
