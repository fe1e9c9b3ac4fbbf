"""Generate short prompts, all different, as many as wanted, without holding them in memory."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

TEMPLATES = (
    "What is {a} plus {b}?",
    "Convert {a} miles to kilometres and round to {d} digits.",
    "How many days are there from day {d} of month {c} to day {e} of month 12 in {f}?",
    "Write a Python function that returns the {a}th prime number.",
    "Translate 'room {a}, floor {d}' into French.",
    "Solve {d}x + {e} = {a} for x.",
    "Summarise chapter {c} of report {a} in {d} sentences.",
    "Sort the numbers {a}, {b}, {c} and {e} in descending order.",
)


def prompts(count: int) -> Iterator[str]:
    """Yield `count` different prompts of 6 to 30 tokens."""
    for i in range(count):
        yield TEMPLATES[i % len(TEMPLATES)].format(
            a=i, b=(i * 7919) % 100_003, c=i % 97 + 1, d=i % 9 + 1, e=i % 29 + 1, f=1900 + i % 200
        )


def write(count: int, path: Path) -> None:
    """Write a CSV file with the columns id and query."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "query"])
        writer.writerows(enumerate(prompts(count)))


if __name__ == "__main__":
    write(int(sys.argv[1]), Path(sys.argv[2]))
