"""Make a reward table of logged decisions and the rewards that came later.

  python -m zooter_lite.feedback --journal decisions.jsonl --rewards rewards.csv --out log.csv
  python -m zooter_lite.fit --data log.csv --out exports/next
  python -m zooter_lite.evaluate --router exports/mine --data log.csv

The journal is what exports/litellm writes: a JSON line for each decision. Several workers
write several; quote a pattern, such as "decisions*.jsonl". The rewards are a .csv, .jsonl or
.parquet file with the columns 'request' (the journal's), 'reward' and, if you like, 'cost';
where a request comes twice, the last reward counts. The table has a row for each request
with a reward, which stands at the expert that answered, and a column 'propensity': the chance
of that choice. Only where the log explored do rewards tell of experts that were not chosen.
"""

import sys
from dataclasses import dataclass

import numpy as np

from zooter_lite.cli import check_out, option, run, separator_option
from zooter_lite.files.dialect import check_separator
from zooter_lite.table import write_table
from zooter_lite.table.decisions import logged_table
from zooter_lite.table.storage import SUFFIXES


@dataclass(frozen=True)
class Options:
    """Options of `python -m zooter_lite.feedback`."""

    journal: str = option(help="decisions: a .jsonl file, or a pattern of several", metavar="FILE")
    rewards: str = option(
        help="rewards by request: .csv, .jsonl (also .gz) or .parquet", metavar="FILE"
    )
    out: str = option(help="reward table: .parquet, .jsonl or .csv (also .gz)", metavar="FILE")
    separator: str = separator_option()


def main(options: Options) -> None:
    """Join the decisions with their rewards, write the table, say what it holds."""
    check_out(options.out, SUFFIXES)
    logged = logged_table(options.journal, options.rewards, check_separator(options.separator))
    table = logged.table
    write_table(table, options.out)
    for expert, column in zip(table.experts, table.rewards.T, strict=True):
        seen = column[np.isfinite(column)]
        mean = f"mean reward {seen.mean():.4f} over " if len(seen) else ""
        print(f"{expert}: {mean}{len(seen)} requests")
    left = {
        "requests without a reward": logged.unrewarded,
        "requests without text": logged.empty,
        "rewards of unknown requests": logged.unknown,
    }
    words = "".join(f", {count} {what} left out" for what, count in left.items() if count)
    print(f"{options.out}: {len(table)} rows{words}")
    if table.propensities is not None and bool((table.propensities == 1).all()):
        print("every choice was certain: the log tells nothing of the experts that were not chosen")


if __name__ == "__main__":
    sys.exit(run(Options, main, "feedback", __doc__ or ""))
