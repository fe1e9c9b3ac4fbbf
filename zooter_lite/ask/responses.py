"""The folder of responses: what was asked before, and under which settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from zooter_lite.ask.known import Known, Record
from zooter_lite.ask.pool import Expert
from zooter_lite.errors import DataError
from zooter_lite.files.atomic import atomic_text
from zooter_lite.table.queries import Queries

JOURNAL = "responses.jsonl"
SETTINGS = "experts.json"
Pair = tuple[str, str]


def known_responses(
    folder: Path, queries: Queries, *, retry_failed: bool = False
) -> Known[Pair, int]:
    """Read the journal of `folder`: by (query_id, expert), the tokens of each answer.

    Raises
    ------
    DataError
        The journal is damaged, or holds another text under one of the ids.
    """
    path = folder / JOURNAL
    texts = dict(zip(queries.ids, queries.texts, strict=True))

    def pair(record: Record) -> Pair:
        name, text = str(record["query_id"]), record["query"]
        if texts.get(name, text) != text:
            raise DataError(f"{path}: query_id {name!r} stands there for another query")
        return name, str(record["expert"])

    def tokens(record: Record) -> int:
        return int(record.get("usage", {}).get("output", 0))

    return Known(path, "response", pair, tokens, retry_failed)


def settings_of(folder: Path, pool: Sequence[Expert], known: Known[Pair, int]) -> dict[str, str]:
    """Return the settings that `folder` keeps, with those of the pool: name to fingerprint.

    Raises
    ------
    DataError
        One of the experts answered in this folder under other settings, or the settings
        cannot be read.
    """
    path = folder / SETTINGS
    settings: dict[str, str] = {}
    if path.exists():
        try:
            settings = dict(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{path}: not the settings of a collection ({error})") from error
    answered = {expert for _, expert in known.answers}
    for expert in pool:
        before = settings.get(expert.name, expert.fingerprint)
        if before != expert.fingerprint and expert.name in answered:
            raise DataError(
                f"expert {expert.name!r} answered in {folder} with another model, system prompt "
                "or sampling; give it another name, or another --out"
            )
        settings[expert.name] = expert.fingerprint
    return settings


def keep_settings(folder: Path, settings: Mapping[str, str]) -> None:
    """Write the settings of `folder`; the file appears whole."""
    with atomic_text(str(folder / SETTINGS)) as stream:
        stream.write(json.dumps(settings, indent=1, sort_keys=True) + "\n")
