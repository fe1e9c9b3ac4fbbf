"""Kill a job at random moments, let it go on each time, compare with an undisturbed run.

python -m recipes.scale.kills ROUTER ROWS KILLS RESULTS.md
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recipes.scale.prompts import write
from zooter_lite.files.journal import read_journal


def command(router: str, source: Path, target: Path) -> list[str]:
    """Return the command line of a job."""
    return [sys.executable, "-m", "zooter_lite.route", "--router", router,
            "--input", str(source), "--output", str(target)]  # fmt: skip


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def rows_done(target: Path) -> int:
    """Rows that the journal of an unfinished job holds."""
    records = list(read_journal(target.with_name(f".{target.name}.journal")))
    return int(records[-1]["tally"]["rows"]) if len(records) > 1 else 0


def main() -> None:
    """Do so and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("router")
    parser.add_argument("rows", type=int)
    parser.add_argument("kills", type=int)
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    moments = random.Random(0)
    with tempfile.TemporaryDirectory(dir=options.results.parent) as folder:
        source = Path(folder) / "prompts.csv"
        write(options.rows, source)
        whole, target = Path(folder) / "whole.csv", Path(folder) / "killed.csv"
        started = time.perf_counter()
        subprocess.run(command(options.router, source, whole), check=True)
        seconds = time.perf_counter() - started
        found: list[int] = []
        jobs, same = 0, True
        while len(found) < options.kills or not target.exists():
            job = subprocess.Popen(
                command(options.router, source, target), stderr=subprocess.DEVNULL
            )
            longest = max(2.0, 4 * seconds / options.kills)
            wait = moments.uniform(0.2, longest) if len(found) < options.kills else None
            try:
                if job.wait(wait):
                    raise SystemExit("the job failed")
            except subprocess.TimeoutExpired:
                job.send_signal(signal.SIGKILL)
                job.wait()
                found.append(rows_done(target))
                continue
            jobs += 1
            same = same and digest(whole) == digest(target)
            if len(found) < options.kills:
                target.unlink()  # the next job begins anew
        left = sorted(path.name for path in Path(folder).iterdir())
    text = (
        f"{options.rows:,} rows, undisturbed in {seconds:.1f} s. {len(found)} times SIGKILL to the "
        f"first process, {len(set(found))} different places, rows done at each: "
        f"{', '.join(f'{rows:,}' for rows in found)}.\n\n"
        f"{jobs} whole jobs came of it. "
        f"Output {'byte for byte that' if same else 'NOT that'} of the undisturbed run; files "
        f"left: {', '.join(left)}. Load of the machine at the end: {os.getloadavg()[0]:.1f}.\n"
    )
    options.results.write_text(text, encoding="utf-8")
    print(text)
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
