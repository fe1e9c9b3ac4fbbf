"""Measure `route` on CSV files of two sizes, each in a fresh process.

The rows are the bundled sample's prompts, each with a number of its own appended, so
that no two are equal. Prints a Markdown table.
"""

import csv
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from zooter_lite.data import read_table, sample_path

SIZES = (10_000, 100_000)


def main(router: str) -> None:
    """Route every size and print rows/s, peak memory and the size of the input."""
    queries = read_table(sample_path()).queries
    print("| rows | input MB | seconds | rows/s | peak memory MiB |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            source, target = Path(folder) / f"{size}.csv", Path(folder) / f"{size}-routed.csv"
            with source.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(["id", "query"])
                writer.writerows([i, f"{queries[i % len(queries)]} ({i})"] for i in range(size))
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "zooter_lite.route", "--router", router,
                 "--input", str(source), "--output", str(target)],
                check=True,
            )  # fmt: skip
            seconds = time.perf_counter() - started
            # of the largest child so far: the sizes ascend, so growth would show
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            cells = (
                f"{size:,}",
                f"{source.stat().st_size / 1e6:.1f}",
                f"{seconds:.1f}",
                f"{size / seconds:.0f}",
                f"{peak:.0f}",
            )
            print("| " + " | ".join(cells) + " |")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
