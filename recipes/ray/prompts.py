"""Write a CSV file of many different prompts: python -m recipes.ray.prompts ROWS FILE."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from importlib.resources import files
from pathlib import Path


def write_prompts(rows: int, path: Path) -> None:
    """Write the prompts of the bundled sample over and over, each time with another number.

    No prompt stands twice, so each costs a forward pass.
    """
    packed = files("zooter_lite.data").joinpath("sample.jsonl.gz").read_bytes()
    queries = [json.loads(line)["query"] for line in gzip.decompress(packed).splitlines()]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["id", "query"])
        for row in range(rows):
            again, place = divmod(row, len(queries))
            writer.writerow([row, f"{queries[place]} [{again}]"])


if __name__ == "__main__":
    write_prompts(int(sys.argv[1]), Path(sys.argv[2]))
