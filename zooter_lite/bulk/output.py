"""One output file in the making: appended to, journaled, complete or not there at all."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from zooter_lite.bulk.block import Result, Tally
from zooter_lite.encode.cache import default_cache
from zooter_lite.errors import DataError
from zooter_lite.files.journal import Journal, read_journal
from zooter_lite.files.places import filesystem_of, is_url, refusals, size_of

REJECTS = ".rejects.jsonl"  # follows the name of the output


@dataclass(frozen=True)
class State:
    """How far an output has come."""

    end: int = 0  # bytes of the input that are done
    last: int = 0  # and lines
    size: int = 0  # bytes of the output
    rejects: int = 0  # and of the rejected rows
    tally: Tally = field(default_factory=Tally)
    done: bool = False  # every block is there

    @property
    def begun(self) -> bool:
        """Whether any block is there."""
        return self.end > 0 or self.done

    def after(self, result: Result) -> State:
        """Return the state when the rows of a block are added."""
        return State(
            result.end,
            result.last,
            self.size + len(result.data),
            self.rejects + len(result.rejects),
            self.tally.plus(result.tally),
            done=result.final,
        )


class Standard:
    """Standard output in the place of an `Output`; rejected rows go to standard error."""

    rejects_target = ""

    def __init__(self) -> None:
        self.state = State()

    def __enter__(self) -> Standard:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the stream open."""

    def append(self, result: Result) -> None:
        """Write the rows of a block."""
        try:
            sys.stdout.buffer.write(result.data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise DataError(f"standard output: cannot write ({error.strerror})") from error
        sys.stderr.write(result.rejects.decode("utf-8"))
        self.state = self.state.after(result)

    def finish(self, convert: object = None) -> None:
        """Leave it as it is."""

    def forget(self) -> None:
        """Leave it as it is."""


class Output:
    """What becomes the file `target`.

    Until `finish` everything stands beside it under hidden names (for a URL in the user's
    cache): a killed job leaves a journal by which the next one goes on. DataError where the
    target exists, cannot be written, or is being written by another process.

    Parameters
    ----------
    fingerprint
        Of everything that the output depends on; None where it cannot be gone on with.
    force
        Whether to replace a target, and to throw away an unfinished job of another fingerprint.
    """

    def __init__(self, target: str, fingerprint: str | None, *, force: bool) -> None:
        self.target = target
        self._fingerprint = fingerprint
        self._force = force
        self._final = _final(target)
        self._spool = self._beside("partial")
        self._rejects = self._beside("rejects.partial")
        self._journal_path = self._beside("journal")
        is_link = not is_url(target) and os.path.islink(target)  # noqa: PTH114
        self.rejects_target = f"{self._final if is_link else target}{REJECTS}"
        self._stack = ExitStack()
        self.state = self._check()

    def _beside(self, ending: str) -> Path:
        return self._final.with_name(f".{self._final.name}.{ending}")

    def _check(self) -> State:
        """Return the state to go on from; refuse what may not be replaced."""
        first, *records = [*read_journal(self._journal_path)] or [{}]
        if first == {"fingerprint": self._fingerprint}:
            state = self._last_state(records) if self._fingerprint is not None else State()
            if state.begun:
                return state
        elif first not in ({}, {"fingerprint": None}) and not self._force:
            raise DataError(
                f"{self.target}: an unfinished job of another input, router, setting or version "
                f"stands there ({self._journal_path}); --force throws it away"
            )
        for path in (self.target, self.rejects_target):
            if size_of(path) < 0:
                continue
            if not self._force:
                raise DataError(f"{path}: exists already; --force overwrites it")
            if not is_url(path) and os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
                raise DataError(f"{path}: expected a file, found a folder, device or pipe")
        return State()

    def _last_state(self, records: list[dict[str, Any]]) -> State:
        """Return the last state, if its bytes are on the disk."""
        if not records:
            return State()
        try:
            state = State(**records[-1] | {"tally": Tally(**records[-1]["tally"])})
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{self._journal_path}: expected the journal of a job; without it the job "
                "begins anew"
            ) from error
        spool, published = size_of(self._spool), size_of(self.target) >= 0
        if state.done and spool < 0:  # it went when the target was there
            return state if published else State()
        # of an output that is done, the rejected rows may have their place already
        rejects = state.done or state.rejects <= size_of(self._rejects)
        return state if state.size <= spool and rejects else State()

    def __enter__(self) -> Output:
        self._journal = self._stack.enter_context(Journal(self._journal_path))
        try:
            if self._check() != self.state:
                raise DataError(f"{self.target}: another process has written to it meanwhile")
            self._stack.callback(self._clear)  # while no other process may begin
            if not self.state.begun:
                self._journal.clear()
                self._spool.unlink(missing_ok=True)
                self._rejects.unlink(missing_ok=True)
            if not self.state.done:
                self._data = self._stack.enter_context(_at(self._spool, self.state.size))
                self._lines = self._stack.enter_context(_at(self._rejects, self.state.rejects))
        except (OSError, DataError) as error:
            if not size_of(self._journal_path):  # made here
                self._journal_path.unlink()
            self.__exit__()
            if isinstance(error, OSError):
                raise self._refused(error) from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, DataError):
            self._stack.close()

    def _clear(self) -> None:
        """Remove what no later run can go on with."""
        if not self.state.begun or self._fingerprint is None:
            for path in (self._spool, self._rejects, self._journal_path):
                with suppress(OSError):
                    path.unlink()

    def append(self, result: Result) -> None:
        """Add the rows of a block; once it returns, no kill takes them back.

        DataError where the disk is full, or refuses otherwise; what was added before stays.
        """
        try:
            for stream, content in ((self._data, result.data), (self._lines, result.rejects)):
                if content:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
        except OSError as error:
            raise self._refused(error) from error
        if not self.state.begun:
            self._journal.append({"fingerprint": self._fingerprint})
        state = self.state.after(result)
        self._journal.append(asdict(state))
        self.state = state

    def finish(self, convert: Callable[[IO[bytes], Path], None] | None = None) -> None:
        """Make the target appear, with its rejected rows first; doing so again does no harm.

        `convert` writes the target from what was appended; None where that is the target.
        """
        if not self._spool.exists():
            return
        whole = self._spool
        try:
            if convert is not None:
                whole = self._beside("whole.partial")
                with self._spool.open("rb") as spool:
                    convert(spool, whole)
            if self.state.rejects and self._rejects.exists():
                self._publish(self._rejects, self.rejects_target)
            elif not self.state.rejects and not is_url(self.target):
                Path(self.rejects_target).unlink(missing_ok=True)
            self._publish(whole, self.target)
            for path in (self._spool, self._rejects):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from error

    def _publish(self, path: Path, target: str) -> None:
        if is_url(target):
            with refusals(target, "cannot be written"):
                filesystem, inner = filesystem_of(target)
                filesystem.put_file(str(path), inner)
        else:
            path.replace(self._final if target == self.target else target)

    def forget(self) -> None:
        """Remove the journal: what was done stays done, and a new job starts anew."""
        with suppress(OSError, DataError), Journal(self._journal_path):
            first = next(read_journal(self._journal_path), {"fingerprint": self._fingerprint})
            if first == {"fingerprint": self._fingerprint}:  # not of a job begun since
                self._journal_path.unlink()

    def _refused(self, error: OSError) -> DataError:
        kept = self.state.begun and self._fingerprint is not None
        rest = "; what was routed is kept, and the same command goes on from there" if kept else ""
        return DataError(f"{self.target}: cannot write ({error.strerror or error}){rest}")


def _final(target: str) -> Path:
    """Return where the file is made: behind symbolic links, so that these stay."""
    if is_url(target):
        key = hashlib.sha256(target.encode()).hexdigest()[:16]
        name = target.rstrip("/").rpartition("/")[2] or "output"
        return default_cache() / "route" / key / name
    return Path(os.path.realpath(target))


def _at(path: Path, size: int) -> IO[bytes]:
    """Open a file for writing at `size`, without what stands behind."""
    stream = path.open("r+b" if path.exists() else "wb")
    stream.truncate(size)
    stream.seek(size)
    return stream
