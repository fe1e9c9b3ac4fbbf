"""A connection to Ray: quiet, closed in the end, its errors in one line."""

from __future__ import annotations

import io
import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from zooter_lite.errors import DataError, needs
from zooter_lite.files.places import flat

VARIABLE = "RAY_ADDRESS"  # Ray's own; `ray job submit` sets it
_LOCAL = "local"
_SECONDS = 10.0  # to reach an address


@contextmanager
def connected(address: str | None, cpus: int) -> Iterator[Any]:
    """Yield the ray package, connected to a cluster; leave or end that afterwards.

    `address` is HOST:PORT or "auto"; None for the one that RAY_ADDRESS names, or else for one
    with so many CPUs that is started on this machine. DataError where there is no such cluster,
    or it fails later on, or a node lacks zooter-lite.
    """
    wanted = address or os.environ.get(VARIABLE) or _LOCAL
    _set_environment(wanted)
    with needs("ray", "--engine ray"):
        import ray  # which reads the environment
        import ray.data
    with redirect_stdout(io.StringIO()):  # where Ray says that a node died
        try:
            _init(ray, wanted, cpus)
            _settle(ray)
            with _told(ray):
                yield ray
        finally:
            ray.shutdown()


def _set_environment(address: str) -> None:
    """Tell Ray to be quiet; and a cluster of our own to work as hard as we do, for us alone."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # the rest goes to the terminal
    if address == _LOCAL:
        os.environ.setdefault("RAY_worker_niceness", "0")
        if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token":
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else kept in ~/.ray


def _init(ray: Any, address: str, cpus: int) -> None:
    """Connect to the cluster at `address`, or start one with so many CPUs."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == _LOCAL:
        options |= {"num_cpus": cpus, "include_dashboard": False}
    elif address != "auto":
        _reach(address)
    kept = os.environ.pop(VARIABLE, None)  # it would win over the option
    try:
        with _silence():
            ray.init(address, **options)
    except Exception as error:  # Ray raises many kinds, some of them plain
        what = "Ray cannot be started" if address == _LOCAL else f"--ray-address {address}"
        raise DataError(f"{what}: {flat(error)}") from error
    finally:
        if kept is not None:
            os.environ[VARIABLE] = kept


@contextmanager
def _silence() -> Iterator[None]:
    """Send what native code writes to standard error nowhere: Ray tells there how it logs."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _reach(address: str) -> None:
    """Try an address before Ray does, which takes a minute and many lines to give up."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise DataError(
            f"--ray-address {address}: cannot be reached ({flat(error)}); expected HOST:PORT or "
            "auto, on a machine of the cluster"
        ) from error


def _settle(ray: Any) -> None:
    """Results in order, each block on its own, nothing on the terminal."""
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.target_max_block_size = 1  # Ray would join ours up to 128 MiB
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # a block takes as long as it takes


@contextmanager
def _told(ray: Any) -> Iterator[None]:
    """Turn what a cluster does to a job into one line; a bug of ours keeps its traceback."""
    try:
        yield
    except ray.exceptions.RayError as error:
        if "No module named 'zooter_lite" in str(error):
            raise DataError(
                "a node of the Ray cluster has no zooter-lite; expected the same version on each"
            ) from error
        if isinstance(error, ray.exceptions.RayTaskError):
            raise
        raise DataError(f"Ray: {flat(error)}") from error
