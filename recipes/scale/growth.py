"""How the cost of routing grows with the prompt, the experts and the tags.

python -m recipes.scale.growth ROUTER STATIC-ROUTER RESULTS.json

One process with one thread routes generated prompts as `route`'s workers do. Routers with
more experts or tags are fitted on made-up tables of recipes/scale/table.py with a static
encoder: of them only the head and the tag index differ.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tokenizers import Tokenizer

from recipes.bench.speed.prompts import prompts_of, vocabulary
from recipes.scale.prompts import prompts
from zooter_lite.bulk.options import Options as Routing
from zooter_lite.bulk.work import Worker
from zooter_lite.table import read_table, sample_path

LENGTHS = (8, 16, 32, 64, 128, 256)
EXPERTS = (2, 20, 200)
TAGS = (10, 100, 1_000, 10_000)
ROWS = 4_000  # of the table of each router with more experts; two for each tag if more
SETTING = ("--temperature", "0.3", "--beta", "0.5", "--l2", "0.01", "--folds", "2")  # one
SECONDS = 4.0  # of each measurement, about


def speed(router: str, texts: list[str], precision: str = "fp32") -> float:
    """Prompts per second of one worker; `texts` are repeated in new orders until time is up."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    worker = Worker(Routing(router, "-", "-", precision=precision), at_once=1)  # type: ignore[arg-type]
    part = max(64, len(texts) // 8)
    worker.choose(texts[:part])
    done, started = 0, time.perf_counter()
    for start in range(part, len(texts), part):
        done += len(worker.choose(texts[start : start + part])[0])
        if time.perf_counter() - started > SECONDS:
            break
    return done / (time.perf_counter() - started)


def memory(router: str, precision: str) -> float:
    """Peak memory in MiB of a process that routes long and short prompts as a worker does."""
    script = (
        "import re, sys\n"
        "from itertools import islice\n"
        "from recipes.scale.growth import speed\n"
        "from recipes.scale.prompts import prompts\n"
        "texts = [text * (1 + i % 20) for i, text in enumerate(islice(prompts(512), 512))]\n"
        "speed(sys.argv[1], texts, sys.argv[2])\n"
        "status = open('/proc/self/status').read()\n"  # ru_maxrss begins with the parent's
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) / 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, router, precision],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return float(done.stdout)


def by_length(routers: list[tuple[str, str, str]]) -> list[dict[str, object]]:
    """Speed of each (name, router, precision) at each length."""
    tokenizer = Tokenizer.from_file(str(Path(routers[0][1]) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    words = vocabulary(tokenizer, read_table(sample_path()).queries)
    found: list[dict[str, object]] = []
    for length in LENGTHS:
        quick = prompts_of(tokenizer, words, [length] * 16_384, length)
        slow = quick[: max(128, 32_768 // length)]
        for name, router, precision in routers:
            texts = quick if name == "static" else slow
            found.append(
                {"encoder": name, "tokens": length, "per_second": speed(router, texts, precision)}
            )
            print(found[-1], file=sys.stderr)
    return found


def fitted(folder: Path, experts: int, tags: int) -> dict[str, object]:
    """Fit a static router on a made-up table; return what it took and what it does."""
    table, router = folder / f"{experts}-{tags}.parquet", folder / f"{experts}-{tags}"
    run = [sys.executable, "-m"]
    rows = max(ROWS, 2 * tags)
    sizes = ["--rows", str(rows), "--experts", str(experts), "--tags", str(tags)]
    subprocess.run([*run, "recipes.scale.table", *sizes, "--out", str(table)], check=True)
    started = time.perf_counter()
    subprocess.run(
        [*run, "zooter_lite.fit", "--data", str(table), "--encoder", "static",
         "--tags", "given" if tags else "auto", "--out", str(router), *SETTING],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    texts = list(prompts(200_000))
    return {
        "rows": rows,
        "experts": experts,
        "tags": tags,
        "fit_seconds": seconds,
        "directory_mb": sum(path.stat().st_size for path in router.iterdir()) / 1e6,
        "per_second": speed(str(router), texts),
    }


def main() -> None:
    """Measure and write the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("router")
    parser.add_argument("static")
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    encoders = [
        ("static", options.static, "fp32"),
        ("MiniLM int8", options.router, "int8"),
        ("MiniLM fp32", options.router, "fp32"),
    ]
    with tempfile.TemporaryDirectory(dir=options.results.parent) as name:
        grown = [fitted(Path(name), experts, 0) for experts in EXPERTS]
        grown += [fitted(Path(name), 20, tags) for tags in TAGS]
    found = {
        "lengths": by_length(encoders),
        "routers": grown,
        "memory_mib": {name: memory(router, precision) for name, router, precision in encoders},
        "load": os.getloadavg()[0],
    }
    options.results.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
