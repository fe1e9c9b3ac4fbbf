"""Route files of prompts: every row kept, in order, with its expert added.

  python -m zooter_lite.route --router exports/mine --input prompts.csv --output routed.csv
  python -m zooter_lite.route --router R --input 'logs/*.jsonl.gz' --output routed/
  python -m zooter_lite.route --router R --input p.csv --output o.csv --point match
  cat p.jsonl | python -m zooter_lite.route --router R --input - --output - --format jsonl

Appends the columns 'expert' and 'probability', and 'expected_reward' and 'expected_cost'
where the router predicts costs. A row whose prompt is empty is kept and
gets neither. Rows are streamed: memory does not grow with the file. An output appears
when it is complete; a run that was killed goes on where it stopped when the same command
is given again. A prompt gets the same answer whatever rows stand around it, and however
the work is divided.
"""

import sys

from zooter_lite.bulk.job import route_files
from zooter_lite.bulk.options import Options
from zooter_lite.cli import bar, run


def main(options: Options) -> None:
    """Run the job and tell what it did."""
    with bar(None, "rows routed") as progress:
        done = route_files(options, progress.update)
    print(*done.summary(), sep="\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run(Options, main, "route", __doc__ or ""))
