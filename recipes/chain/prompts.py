"""Write prompts.csv: pocket prompts with one short answer each, other ones than the sample's.

`python -m recipes.chain.prompts recipes/chain/prompts.csv`
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

from recipes.pocket.build import split_of, write
from recipes.pocket.experts.base import shown
from recipes.pocket.prompts import numbered
from recipes.pocket.verify import Answer

SEED = 1  # the bundled sample has 0
EACH = 20  # prompts of each subset
SUBSETS = ("arithmetic", "dictionary", "facts", "translation", "units", "word_problems")


def short_answer(answer: Answer) -> str | None:
    """Return the one text that a right response contains; None where that is not enough."""
    if len(answer.expected) != 1 or answer.kind not in ("number", "exact", "one_of"):
        return None
    if answer.kind != "number":
        return answer.expected[0]
    value = float(answer.expected[0])
    return shown(value) if value == int(value) else None


def main(path: str) -> None:
    """Write the first prompts of each subset that have a short answer."""
    lines = io.StringIO()
    rows = csv.writer(lines, lineterminator="\n")
    rows.writerow(["query", "answer", "subset", "split"])
    counts = dict.fromkeys(SUBSETS, 0)
    for _, subset, prompt in numbered(SEED):
        answer = short_answer(prompt.answer)
        if subset in counts and answer is not None and counts[subset] < EACH:
            counts[subset] += 1
            rows.writerow([prompt.query, answer, subset, split_of(prompt.query, subset)])
    write(lines.getvalue().encode(), Path(path))
    print(f"wrote {sum(counts.values())} prompts to {path}")


if __name__ == "__main__":
    main(sys.argv[1])
