"""Build the bundled sample: real prompts, what each expert said to them, and what it earned.

Run from the repository root:
`python -m recipes.pocket.build --output zooter_lite/table/sample.jsonl.gz`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recipes.pocket.costs import Costs, read_costs
from recipes.pocket.experts import EXPERTS
from recipes.pocket.prompt import Prompt
from recipes.pocket.prompts import SHIFTED, numbered
from recipes.pocket.responses import POOL, RESPONSES, SEED, read_kept
from recipes.pocket.verify import verify
from zooter_lite.ask.pool import read_pool
from zooter_lite.errors import ZooterError

Row = dict[str, Any]
TEST_SHARE = 0.25


def split_of(query: str, subset: str) -> str:
    """Return the split of a prompt: `shift` by its subset, else by a hash of its text."""
    if subset in SHIFTED:
        return "shift"
    digest = hashlib.sha256(query.encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") / 2**64 < TEST_SHARE else "train"


def row_of(
    query_id: str, subset: str, prompt: Prompt, said: Mapping[str, str], costs: Costs
) -> Row:
    """Verify what every expert said, by its name, and return one row of the reward table."""
    row: Row = {
        "query_id": query_id,
        "query": prompt.query,
        "subset": subset,
        "split": split_of(prompt.query, subset),
        "tags": list(prompt.tags),
    }
    for name, response in said.items():
        row[f"response:{name}"] = response
        row[f"reward:{name}"] = verify(response, prompt.answer)
        row[f"cost:{name}"] = costs[name][subset]
    return row


def build(seed: int) -> list[Row]:
    """Return the rows of the sample, ordered by their id.

    The programs are run; what the LLM experts said was kept, since an LLM on another machine
    says other things.

    Raises
    ------
    DataError
        An LLM expert was not asked one of the prompts.
    """
    pool, kept, costs = read_pool(str(POOL)), read_kept(RESPONSES), read_costs()
    rows = []
    for query_id, subset, prompt in tqdm(numbered(seed), unit="prompt", disable=None):
        said = {expert.name: kept.of(expert, prompt.query) for expert in pool}
        said |= {name: program(prompt.query) for name, program in EXPERTS.items()}
        rows.append(row_of(query_id, subset, prompt, said, costs))
    return rows


def encode(rows: list[Row]) -> bytes:
    """Return the rows as gzip'd JSON lines, the same bytes for the same rows."""
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows]
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write("".join(lines).encode())
    return buffer.getvalue()


def write(data: bytes, path: Path) -> None:
    """Write a file in one step, so that a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def summary(rows: list[Row]) -> str:
    """Return a Markdown table: mean reward of each expert by subset, and what routing could add.

    The line `best per subset` is what a router would earn that knew the subset of every prompt
    and always chose the expert that is best on it. A prompt is answered right where the reward
    is 1.
    """
    names = sorted(key.removeprefix("reward:") for key in rows[0] if key.startswith("reward:"))
    subsets = sorted({row["subset"] for row in rows})
    lines = [f"| subset | train | test | shift | {' | '.join(names)} | oracle |"]
    lines.append("|---|" + "---:|" * (len(names) + 4))
    best_by_subset = 0.0
    for subset in subsets:
        chosen = [row for row in rows if row["subset"] == subset]
        best_by_subset += max(_means(chosen, names)) * len(chosen)
        lines.append(_line(subset, chosen, names))
    lines.append(_line("all", rows, names))
    best = max(_means(rows, names))
    lines.append("")
    lines.append(f"best single: {names[_means(rows, names).index(best)]} {best:.3f}")
    lines.append(f"best per subset: {best_by_subset / len(rows):.3f}")
    lines.append(f"oracle: {_oracle(rows, names):.3f}")
    for split in ("train", "test", "shift"):
        chosen = [row for row in rows if row["split"] == split]
        lines.append(f"oracle, {split}: {_oracle(chosen, names):.3f}")
    right = [{name for name in names if row[f"reward:{name}"] == 1} for row in rows]
    lines.append(f"right by several experts: {sum(len(some) > 1 for some in right)} prompts")
    alone = Counter(
        row["subset"]
        for row, some in zip(rows, right, strict=True)
        if some and some.isdisjoint(EXPERTS)
    )
    lines.append(f"right by LLM experts alone: {alone.total()} prompts ({_listed(alone)})")
    return "\n".join(lines)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def _means(rows: list[Row], names: list[str]) -> list[float]:
    return [sum(row[f"reward:{name}"] for row in rows) / len(rows) for name in names]


def _oracle(rows: list[Row], names: list[str]) -> float:
    return sum(max(float(row[f"reward:{name}"]) for name in names) for row in rows) / len(rows)


def _line(label: str, rows: list[Row], names: list[str]) -> str:
    counts = [sum(row["split"] == split for row in rows) for split in ("train", "test", "shift")]
    rewards = [f"{mean:.2f}" for mean in (*_means(rows, names), _oracle(rows, names))]
    return f"| {label} | {' | '.join([*map(str, counts), *rewards])} |"


def main() -> None:
    """Build the sample, write it, and print what it holds."""
    parser = argparse.ArgumentParser(description="Build the bundled sample of pocket experts.")
    parser.add_argument("--output", type=Path, required=True, help="where to write the .jsonl.gz")
    parser.add_argument("--seed", type=int, default=SEED, help="seeds the generated prompts")
    options = parser.parse_args()
    rows = build(options.seed)
    data = encode(rows)
    write(data, options.output)
    print(summary(rows))
    print(f"wrote {len(rows)} rows, {len(data):,} bytes, to {options.output}")


if __name__ == "__main__":
    try:
        main()
    except ZooterError as error:
        print("error:", error, file=sys.stderr)
        sys.exit(2)
