"""From measured speeds to nodes, hours, memory and money for a billion prompts.

python -m recipes.scale.capacity GROWTH.json RESULTS.md [--cores 16] [--price 0.70] [--hours 24]

Everything in the first tables was measured; everything in the last one is extrapolated
from them: prompts divided by (speed of one worker x workers x efficiency).
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

PROMPTS = 10**9


def lengths(found: list[dict[str, Any]]) -> list[str]:
    """Table of speeds by encoder and length."""
    tokens = sorted({row["tokens"] for row in found})
    encoders = list(dict.fromkeys(row["encoder"] for row in found))
    speeds = {(row["encoder"], row["tokens"]): row["per_second"] for row in found}
    return [
        "| prompts per second of one core | " + " | ".join(f"{n} tokens" for n in tokens) + " |",
        "|---" * (len(tokens) + 1) + "|",
        *(
            f"| {encoder} | " + " | ".join(f"{speeds[encoder, n]:,.0f}" for n in tokens) + " |"
            for encoder in encoders
        ),
    ]


def routers(found: list[dict[str, Any]]) -> list[str]:
    """Table of what experts and tags cost."""
    return [
        "| experts | tags | rows of the table | fit of one setting, s | router directory, MB "
        "| prompts per second |",
        "|---|---|---|---|---|---|",
        *(
            f"| {row['experts']} | {row['tags'] or 'found by clustering'} | {row['rows']:,} "
            f"| {row['fit_seconds']:.0f} | {row['directory_mb']:.1f} | {row['per_second']:,.0f} |"
            for row in found
        ),
    ]


def billion(
    found: list[dict[str, Any]], memory: dict[str, float], options: argparse.Namespace
) -> list[str]:
    """Table of the extrapolation."""
    lines = [
        f"| encoder | tokens | core hours | nodes of {options.cores} cores for {options.hours:g} "
        "hours | memory of a node, GiB | money |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        if row["tokens"] not in (16, 64, 256):
            continue
        hours = PROMPTS / (row["per_second"] * options.efficiency) / 3600
        node_hours = hours / options.cores
        gib = memory[row["encoder"]] * options.cores / 1024
        lines.append(
            f"| {row['encoder']} | {row['tokens']} | {hours:,.0f} "
            f"| {math.ceil(node_hours / options.hours)} | {gib:.1f} "
            f"| {node_hours * options.price:,.0f} |"
        )
    return lines


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("growth", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--cores", type=int, default=16, help="of a node, one worker each")
    parser.add_argument("--price", type=float, default=0.70, help="of a node for an hour")
    parser.add_argument("--hours", type=float, default=24.0, help="that the job may take")
    parser.add_argument("--efficiency", type=float, default=0.8, help="of a worker among others")
    options = parser.parse_args()
    found = json.loads(options.growth.read_text(encoding="utf-8"))
    text = "\n".join(
        [
            "## Measured",
            "",
            f"One worker, one thread; load of the machine at the end {found['load']:.1f}.",
            "",
            *lengths(found["lengths"]),
            "",
            "Peak memory of a worker: "
            + ", ".join(f"{name} {size:.0f} MiB" for name, size in found["memory_mib"].items())
            + ".",
            "",
            *routers(found["routers"]),
            "",
            "## Extrapolated: one billion prompts",
            "",
            f"At {options.price:g} for a node of {options.cores} cores and an hour (stated, not a "
            f"quotation), {options.efficiency:.0%} of the speed of a worker that is alone.",
            "",
            *billion(found["lengths"], found["memory_mib"], options),
            "",
        ]
    )
    options.results.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
