"""A reward table of any size: the sample's prompts with variation, and made-up rewards.

  python -m recipes.scale.table --rows 1000000 --out table.parquet

A query is two prompts of one subset of the sample, with other numbers in them, so nearly
all queries differ. An expert's reward is its skill on the subset, plus its skill on each of
the two prompts, plus noise, within 0 and 1: what a router can learn, and what it cannot.
Rows of test are made of the sample's prompts of test. Written piece by piece, in memory
that does not grow with the rows.
"""

import random
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from zooter_lite.cli import option, run
from zooter_lite.files.atomic import atomic_file
from zooter_lite.table import RewardTable, read_table, sample_path

PIECE = 10_000  # rows written at a time
TEST = 0.1  # share of the rows
SUBSET, PROMPT, NOISE = 0.25, 0.15, 0.2  # standard deviations of the parts of a reward


@dataclass(frozen=True)
class Options:
    """Options of `python -m recipes.scale.table`."""

    rows: int = option(1_000_000, help="rows of the table")
    experts: int = option(20, help="experts")
    tags: int = option(0, help="different tags, two to a query; 0 writes none")
    responses: int = option(0, help="characters of each expert's response; 0 writes none")
    out: str = option("", help="Parquet file to write (default: table-ROWS.parquet)")
    seed: int = option(0, help="of everything")


def main(options: Options) -> None:
    """Write the table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = Path(options.out or f"table-{options.rows}.parquet")
    made = Maker(read_table(sample_path()), options)
    with atomic_file(out) as partial, tqdm(total=options.rows, disable=None) as bar:
        writer = None
        for start in range(0, options.rows, PIECE):
            piece = pa.table(made.piece(start, min(PIECE, options.rows - start)))
            writer = writer or pq.ParquetWriter(partial, piece.schema)
            writer.write_table(piece)
            bar.update(len(piece))
        if writer is not None:
            writer.close()
    print(f"{out}: {options.rows} rows, {options.experts} experts")


class Maker:
    """Makes rows from the prompts of a table with splits."""

    def __init__(self, sample: RewardTable, options: Options) -> None:
        self.options = options
        self.prompts = sample.queries
        self.subsets = sample.subsets
        draws = np.random.default_rng(options.seed)
        names = sorted(set(sample.subsets))
        place = np.asarray([names.index(subset) for subset in sample.subsets])
        by_subset = draws.normal(0.5, SUBSET, (len(names), options.experts))
        self.skill = by_subset[place] / 2 + draws.normal(
            0, PROMPT, (len(self.prompts), options.experts)
        )
        splits = np.asarray(sample.splits)
        self.pools = {
            split: [np.flatnonzero((splits == split) & (place == p)) for p in range(len(names))]
            for split in ("train", "test")
        }

    def piece(self, start: int, n_rows: int) -> dict[str, Any]:
        """Columns of the rows from `start`; the same whatever was made before."""
        draws = np.random.default_rng([self.options.seed, start])
        numbers = random.Random(f"{self.options.seed} {start}")
        splits = np.where(draws.random(n_rows) < TEST, "test", "train").tolist()
        pairs = np.empty((n_rows, 2), dtype=np.int64)
        for row, split in enumerate(splits):
            pools = [pool for pool in self.pools[split] if len(pool)]
            pool = pools[int(draws.integers(len(pools)))]
            pairs[row] = pool[draws.integers(len(pool), size=2)]
        rewards = self._rewards(pairs, draws)
        columns: dict[str, Any] = {
            "query": [
                " ".join(varied(self.prompts[prompt], numbers) for prompt in pair)
                for pair in pairs.tolist()
            ],
            "subset": [self.subsets[first] for first in pairs[:, 0].tolist()],
            "split": splits,
        }
        if self.options.tags:
            numbered = pairs * 64 + draws.integers(64, size=pairs.shape)
            tags = numbered * 7919 % self.options.tags
            columns["tags"] = [sorted({f"tag-{tag}" for tag in row}) for row in tags.tolist()]
        for expert in range(self.options.experts):
            columns[f"reward:expert-{expert:02}"] = rewards[:, expert]
        for expert in range(self.options.experts if self.options.responses else 0):
            texts = [numbers.randbytes(self.options.responses // 2).hex() for _ in range(n_rows)]
            columns[f"response:expert-{expert:02}"] = texts
        return columns

    def _rewards(self, pairs: NDArray[np.int64], draws: np.random.Generator) -> NDArray[np.float32]:
        noise = draws.normal(0, NOISE, (len(pairs), self.options.experts))
        rewards = self.skill[pairs].sum(axis=1) + noise
        return np.asarray(rewards.clip(0, 1), dtype=np.float32)


def varied(prompt: str, numbers: random.Random) -> str:
    """Return the prompt with other digits in the place of its own.

    >>> varied("What is 12 + 7?", random.Random(0))
    'What is 77 + 1?'
    """
    return re.sub(r"\d", lambda _: str(numbers.randrange(1, 10)), prompt)


if __name__ == "__main__":
    sys.exit(run(Options, main, "table", __doc__ or ""))
