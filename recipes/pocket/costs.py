"""Measure what each program costs: mean processor milliseconds a prompt, by subset.

Run from the repository root: `python -m recipes.pocket.costs`. It writes `costs.json`, which
the build reads, since another machine is faster or slower. The LLM experts' figure is the mean
of the run that was kept (README.md): 1,318 s of the server for 3,838 calls.
"""

from __future__ import annotations

import json
import resource
from pathlib import Path

from tqdm import tqdm

from recipes.pocket.experts import EXPERTS
from recipes.pocket.prompts import numbered
from recipes.pocket.responses import POOL, SEED
from zooter_lite.ask.pool import read_pool

COSTS = Path(__file__).with_name("costs.json")
LLM_MILLISECONDS = round(1000 * 1318 / 3838)
Costs = dict[str, dict[str, float]]  # milliseconds, by expert and subset


def read_costs() -> Costs:
    """Return the costs that were kept."""
    costs: Costs = json.loads(COSTS.read_text("utf-8"))
    return costs


def spent() -> float:
    """Seconds of processor time of this process and the children that it waited for."""
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def measure() -> Costs:
    """Run every program on every prompt, and time each subset as a whole."""
    subsets: dict[str, list[str]] = {}
    for _, subset, prompt in numbered(SEED):
        subsets.setdefault(subset, []).append(prompt.query)
    costs: Costs = {name: {} for name in EXPERTS}
    for name, program in tqdm(EXPERTS.items(), unit="program", disable=None):
        program("What is 2 + 2?")  # what it loads once is no cost of a prompt
        for subset, queries in subsets.items():
            start = spent()
            for query in queries:
                program(query)
            each = 1000 * (spent() - start) / len(queries)
            costs[name][subset] = float(f"{each:.2g}")
    for expert in read_pool(str(POOL)):
        costs[expert.name] = dict.fromkeys(subsets, float(LLM_MILLISECONDS))
    return costs


if __name__ == "__main__":
    COSTS.write_text(json.dumps(measure(), indent=1, sort_keys=True) + "\n", "utf-8")
