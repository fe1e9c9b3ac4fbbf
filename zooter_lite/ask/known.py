"""What a journal says of the calls that earlier runs made, so that none is made twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from zooter_lite.errors import DataError
from zooter_lite.files.journal import read_journal

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
Record = Mapping[str, Any]


class Known(Generic[Key, Value]):
    """The last answer (`value` of its record) or else error by `key`, and the cost of all calls.

    The journal may be missing. `kind` says what its records are, for errors. With `retry_failed`,
    errors are forgotten, so that what failed is asked again.

    Raises
    ------
    DataError
        The journal is damaged, or of another kind.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        key: Callable[[Record], Key],
        value: Callable[[Record], Value],
        retry_failed: bool = False,
    ) -> None:
        self.answers: dict[Key, Value] = {}
        self.failed: dict[Key, str] = {}
        self.cost = 0.0
        self._path, self._kind, self._key, self._value = path, kind, key, value
        for record in read_journal(path):
            self.add(record)
        if retry_failed:
            self.failed.clear()

    def __contains__(self, key: Key) -> bool:
        return key in self.answers or key in self.failed

    def add(self, record: Record) -> None:
        """Take in one record; a call that the end of a run cut short only has its cost."""
        try:
            key = self._key(record)
            self.cost += float(record.get("cost", 0.0))
            if "error" not in record:
                self.answers[key] = self._value(record)
                self.failed.pop(key, None)
            elif "unfinished" not in record and key not in self.answers:
                self.failed[key] = str(record["error"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            text = f"{self._path}: a record is not one of a {self._kind} ({error!r})"
            raise DataError(text) from error
