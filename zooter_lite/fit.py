"""Fit a router on a reward table, evaluate it, and write the router directory.

  python -m zooter_lite.fit                                 the bundled sample
  python -m zooter_lite.fit --data rewards.csv              a table of your own
  python -m zooter_lite.fit --data rewards.parquet --out exports/mine
  python -m zooter_lite.fit --data rewards.csv --finetune 2     trains the encoder as well
  torchrun --nproc-per-node 2 -m zooter_lite.fit --data rewards.csv --finetune 2
                            the same in two processes; accelerate launch works as well

The table has a column 'query', one column 'reward:<expert>' per expert and, if you
like, 'split' (rows of 'train' are learned from, every other split is evaluated
apart), 'subset' and 'tags'. Formats: .csv, .jsonl (also .gz), .parquet, a folder
saved by datasets, or a hub dataset name. zooter_lite.fit_router does the same from Python.
"""

import sys
from dataclasses import asdict, dataclass
from functools import partial

from zooter_lite.api import fit_router
from zooter_lite.cli import cache_folder, option, run
from zooter_lite.finetune.launch import launched
from zooter_lite.recipe import Recipe


@dataclass(frozen=True)
class Options(Recipe):
    """Options of `python -m zooter_lite.fit`: those of `Recipe`, the table and the directory."""

    data: str = option("", help="reward table; without it, the bundled sample", metavar="TABLE")
    out: str = option(
        "", help="router directory to write (default: exports/NAME-OF-TABLE)", metavar="DIR"
    )


def main(options: Options) -> None:
    """Call `fit_router`, and print what it says; in all processes but the first, assist."""
    rank, _ = launched()
    if rank and not options.finetune:
        return  # the first process refuses
    if rank:
        from zooter_lite.finetune.finetune import assist

        assist(options, cache_folder(options.cache))
        return
    recipe = asdict(options)
    data, out = recipe.pop("data"), recipe.pop("out")
    fit_router(data or None, out, say=partial(print, flush=True), **recipe)


if __name__ == "__main__":
    sys.exit(run(Options, main, "fit", __doc__ or ""))
