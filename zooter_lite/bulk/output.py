"""One output file in the making: appended to, journaled, complete or not there at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from zooter_lite.bulk.block import Result, Tally
from zooter_lite.errors import DataError
from zooter_lite.files.journal import Journal, read_journal
from zooter_lite.files.store import REJECTS, exists, is_url, size_of, upload

CACHE = Path("~/.cache/zooter-lite/route")


@dataclass(frozen=True)
class State:
    """How far an output has come.

    Attributes
    ----------
    end, last
        Bytes and lines of the input that are done.
    size, rejects
        Bytes of the output and of the rejected rows.
    tally
        Counts so far.
    begun, done
        Whether any block is there, and whether every one is.
    whole
        Bytes of the target from the moment on that it may be there; -1 before.
    """

    end: int = 0
    last: int = 0
    size: int = 0
    rejects: int = 0
    tally: Tally = field(default_factory=Tally)
    begun: bool = False
    done: bool = False
    whole: int = -1


class Output:
    """What becomes the file `target`.

    Until `finish` everything stands beside it under hidden names (for a URL in the user's
    cache): a killed job leaves a journal by which the next one goes on.

    Parameters
    ----------
    target
        Path or URL.
    fingerprint
        Of everything that the output depends on; None where it cannot be gone on with.
    force
        Whether an existing target may be replaced, and an unfinished job of another
        fingerprint thrown away.

    Raises
    ------
    DataError
        The target exists, cannot be written, or is being written by another process.
    """

    def __init__(self, target: str, fingerprint: str | None, *, force: bool) -> None:
        self.target = target
        self._fingerprint = fingerprint
        self._force = force
        self._final = _final(target)
        self._spool = self._beside("partial")
        self._rejects = self._beside("rejects.partial")
        self._journal_path = self._beside("journal")
        self.rejects_target = f"{self._final if _is_link(target) else target}{REJECTS}"
        self._stack = ExitStack()
        self.state = self._check()

    def _beside(self, ending: str) -> Path:
        return self._final.with_name(f".{self._final.name}.{ending}")

    def _check(self) -> State:
        records = list(read_journal(self._journal_path))
        own = bool(records) and records[0] == {"fingerprint": self._fingerprint}
        if own and self._fingerprint is not None:
            try:
                state = self._last_state(records[1:])
            except (KeyError, TypeError) as error:
                raise DataError(
                    f"{self._journal_path}: expected the journal of a job; without it the job "
                    "begins anew"
                ) from error
            if state.begun:
                return state
        elif records and not own and records[0] != {"fingerprint": None} and not self._force:
            raise DataError(
                f"{self.target}: an unfinished job of another input, router or setting stands "
                f"there ({self._journal_path}); --force throws it away"
            )
        for path in (self.target, self.rejects_target):
            if exists(path):
                self._check_existing(path)
        return State()

    def _check_existing(self, path: str) -> None:
        if not self._force:
            raise DataError(f"{path}: exists already; --force overwrites it")
        if not is_url(path) and os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
            raise DataError(f"{path}: expected a file, found a folder, device or pipe")

    def _last_state(self, records: list[dict[str, Any]]) -> State:
        """Return the last state whose bytes are on the disk."""
        for record in reversed(records):
            state = State(**record | {"tally": Tally(**record["tally"])})
            spool = _size(self._spool)
            if state.whole >= 0 and spool < 0 and size_of(self.target) == state.whole:
                return state
            rejects_gone = state.whole >= 0 and size_of(self.rejects_target) == state.rejects
            if state.size <= spool and (rejects_gone or state.rejects <= _size(self._rejects)):
                return state
        return State()

    def __enter__(self) -> Output:
        try:
            self._final.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(error) from error
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
        except OSError as error:
            self.__exit__()
            raise self._refused(error) from error
        except DataError:
            if not _size(self._journal_path):
                self._journal_path.unlink()
            self._stack.close()
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

        Raises
        ------
        DataError
            The disk is full, or refuses otherwise; what was added before stays.
        """
        before = self.state
        try:
            for stream, content in ((self._data, result.data), (self._lines, result.rejects)):
                stream.write(content)
                stream.flush()
            os.fsync(self._data.fileno())
        except OSError as error:
            raise self._refused(error) from error
        if not before.begun:
            self._journal.append({"fingerprint": self._fingerprint})
        state = State(
            result.end,
            result.last,
            before.size + len(result.data),
            before.rejects + len(result.rejects),
            before.tally.plus(result.tally),
            begun=True,
            done=result.final,
        )
        self._note(state)

    def _note(self, state: State) -> None:
        self._journal.append(vars(state) | {"tally": state.tally.as_dict()})
        self.state = state

    def finish(self, convert: Callable[[IO[bytes], Path], None] | None = None) -> None:
        """Make the target appear, with its rejected rows first; within the `with` block.

        Doing so again does no harm.

        Parameters
        ----------
        convert
            Writes the target from what was appended; None where that is the target.

        Raises
        ------
        DataError
            It cannot be written there; what was appended stays.
        """
        if not self._spool.exists():
            return
        whole = self._spool
        try:
            if convert is not None:
                whole = self._beside("whole.partial")
                with self._spool.open("rb") as spool:
                    convert(spool, whole)
            self._note(replace(self.state, whole=_size(whole)))
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
            upload(path, target)
            return
        path.replace(self._final if target == self.target else target)

    def forget(self) -> None:
        """Remove the journal: what was done stays done, and a new job starts anew."""
        with suppress(OSError, DataError), Journal(self._journal_path):
            first = next(read_journal(self._journal_path), {"fingerprint": self._fingerprint})
            if first == {"fingerprint": self._fingerprint}:  # not of a job begun since
                self._journal_path.unlink()

    def _refused(self, error: OSError) -> DataError:
        rest = "; what was routed is kept, and the same command goes on from there"
        reason = f"cannot write ({error.strerror or error})"
        return DataError(
            f"{self.target}: {reason}{rest if self.state.begun and self._fingerprint else ''}"
        )


def _final(target: str) -> Path:
    """Return where the file is made: behind symbolic links, so that these stay."""
    if is_url(target):
        key = hashlib.sha256(target.encode()).hexdigest()[:16]
        return CACHE.expanduser() / key / (target.rstrip("/").rpartition("/")[2] or "output")
    return Path(os.path.realpath(target))


def _is_link(target: str) -> bool:
    return not is_url(target) and os.path.islink(target)  # noqa: PTH114


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _at(path: Path, size: int) -> IO[bytes]:
    """Open a file for writing at `size`, without what stands behind."""
    stream = path.open("r+b" if path.exists() else "wb")
    stream.truncate(size)
    stream.seek(size)
    return stream
