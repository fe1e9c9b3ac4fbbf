"""Print a routed CSV as lines: prompt, expert, probability and a bar."""

import csv
import sys
from pathlib import Path


def main(path: str) -> None:
    """Print the rows of `path`."""
    with Path(path).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    width = max(len(row["expert"]) for row in rows)
    for row in rows:
        prompt = " ".join(row["query"].split())
        share = float(row["probability"])
        print(f"  {prompt[:44]:44}  {row['expert']:{width}}  {share:.2f} {'█' * round(20 * share)}")


if __name__ == "__main__":
    main(sys.argv[1])
