"""What a fork leaves behind: sessions, threads and locks of the parent do not work in its child."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any
from weakref import WeakSet

_told: WeakSet[Any] = WeakSet()


def tell_after_fork(thing: Any) -> None:
    """Call `thing.after_fork` in every child that is forked while it lives."""
    _told.add(thing)


def leak(thing: object) -> None:
    """Keep an object for ever: to end it would be to wait for threads that are not here."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _in_child() -> None:
    for thing in list(_told):
        thing.after_fork()
    if faiss := sys.modules.get("faiss"):
        faiss.omp_set_num_threads(1)  # OpenMP's threads are not here either
    # onnxruntime's own end, in exit(3), waits for threads that are not here: what Python has to
    # do is done by then, so the process ends before it, with the same status.
    if _on_exit is not None:
        _on_exit(_exit, None)


if hasattr(os, "register_at_fork"):  # Windows has no fork
    _libc = ctypes.CDLL(None)  # found here: a child may find the loader locked
    _exit = _libc._exit
    _on_exit = getattr(_libc, "on_exit", None)  # of glibc; elsewhere end a child by os._exit
    os.register_at_fork(after_in_child=_in_child)
