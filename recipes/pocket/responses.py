"""Keep what the LLM experts said, so that the sample can be built again without the LLM.

`llm.sh` runs both commands, from the repository root, with `collect` between them:
`python -m recipes.pocket.responses prompts FOLDER` writes FOLDER/prompts.jsonl, and
`python -m recipes.pocket.responses keep FOLDER` copies the responses of FOLDER's journal to
responses.jsonl.gz and prints the journal's figures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes.pocket.prompts import numbered
from zooter_lite.ask.pool import Expert, read_pool
from zooter_lite.ask.responses import JOURNAL, Collection
from zooter_lite.errors import DataError, ZooterError
from zooter_lite.files.journal import read_journal
from zooter_lite.table.queries import Queries, read_queries, write_queries

POOL = Path(__file__).with_name("experts.toml")
RESPONSES = Path(__file__).with_name("responses.jsonl.gz")
PROMPTS = "prompts.jsonl"
SEED = 0  # of the bundled sample


@dataclass(frozen=True)
class Kept:
    """The responses of a file such as responses.jsonl.gz.

    Attributes
    ----------
    path
        The file.
    responses
        By expert, fingerprint of the settings under which it was asked, and query.
    """

    path: Path
    responses: Mapping[tuple[str, str, str], str]

    def of(self, expert: Expert, query: str) -> str:
        """Return what an expert said to a query.

        Raises
        ------
        DataError
            It was not asked this query, or under other settings.
        """
        key = (expert.name, expert.fingerprint, query)
        if key not in self.responses:
            raise DataError(
                f"{self.path}: no response of {expert.name!r}, with the settings that it has in "
                f"{POOL.name}, to {query!r}; recipes/pocket/llm.sh asks for it"
            )
        return self.responses[key]


def read_kept(path: Path) -> Kept:
    """Read a file of responses: a row for each query, with the columns of `write_kept`.

    Raises
    ------
    DataError
        The file is missing or damaged.
    """
    queries = read_queries(str(path))
    return Kept(
        path,
        {
            (name.removeprefix("settings:"), str(settings), query): _cell(row, name)
            for query, row in zip(queries.texts, queries.rows, strict=True)
            for name, settings in row.items()
            if name.startswith("settings:")
        },
    )


def _cell(row: Mapping[str, Any], settings: str) -> str:
    return row[settings.replace("settings:", "response:", 1)] or ""


def write_kept(
    path: Path, queries: Queries, pool: Sequence[Expert], said: Mapping[tuple[str, str], str]
) -> None:
    """Write the columns response:<expert> and settings:<expert> (the fingerprint) of each query.

    Parameters
    ----------
    said
        What was said, by query_id and expert.

    Raises
    ------
    DataError
        A response is missing.
    """
    rows = []
    for name, query in zip(queries.ids, queries.texts, strict=True):
        row: dict[str, Any] = {}
        for expert in pool:
            if (name, expert.name) not in said:
                raise DataError(f"no response of {expert.name!r} to {query!r}; run llm.sh again")
            row[f"response:{expert.name}"] = said[name, expert.name]
            row[f"settings:{expert.name}"] = expert.fingerprint
        rows.append(row)
    write_queries(Queries(queries.ids, queries.texts, rows), str(path))


def figures(records: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table of a journal's figures, one line for each expert.

    `failed` counts the queries that ended in an error, also where a later run had an answer;
    `seconds` is the sum over the calls, some of which were side by side.
    """
    lines = ["| expert | calls | failed | seconds | tokens in | tokens out |"]
    lines.append("|---|" + "---:|" * 5)
    for name in sorted({str(record["expert"]) for record in records}):
        mine = [record for record in records if record["expert"] == name]
        calls = sum(record["attempts"] for record in mine)
        failed = sum("error" in record for record in mine)
        seconds = sum(record["seconds"] for record in mine)
        tokens = [sum(record["usage"][way] for record in mine) for way in ("input", "output")]
        lines.append(
            f"| {name} | {calls:,} | {failed} | {seconds:,.0f} | {tokens[0]:,} | {tokens[1]:,} |"
        )
    return "\n".join(lines)


def write_prompts(folder: Path) -> None:
    """Write the prompts of the bundled sample for `collect`."""
    folder.mkdir(parents=True, exist_ok=True)
    prompts = numbered(SEED)
    ids, texts = [name for name, _, _ in prompts], [prompt.query for _, _, prompt in prompts]
    write_queries(Queries(ids, texts, [{} for _ in prompts]), str(folder / PROMPTS))
    print(f"{folder / PROMPTS}: {len(prompts)} prompts")


def keep(folder: Path, path: Path) -> None:
    """Copy the responses of a folder of `collect` to `path`, and print the journal's figures.

    Raises
    ------
    DataError
        The journal is damaged, of other prompts or settings, or lacks a response.
    """
    queries, pool = read_queries(str(folder / PROMPTS)), read_pool(str(POOL))
    Collection(folder, pool, queries)  # refuses other prompts or settings
    records = list(read_journal(folder / JOURNAL))
    said = {(r["query_id"], r["expert"]): r["response"] for r in records if "response" in r}
    write_kept(path, queries, pool, said)
    print(figures(records))
    print(f"{path}: what {len(pool)} experts said to {len(queries)} prompts")


def main() -> None:
    """Write the prompts, or keep the responses."""
    parser = argparse.ArgumentParser(description="Keep what the LLM experts of the pocket said.")
    parser.add_argument("action", choices=["prompts", "keep"])
    parser.add_argument("folder", type=Path, help="where collect keeps its journal")
    options = parser.parse_args()
    if options.action == "prompts":
        write_prompts(options.folder)
    else:
        keep(options.folder, RESPONSES)


if __name__ == "__main__":
    try:
        main()
    except ZooterError as error:
        print("error:", error, file=sys.stderr)
        sys.exit(2)
