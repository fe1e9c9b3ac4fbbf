"""What keeping a session on its expert loses in reward, and how often it then switches.

`python -m recipes.litellm.sessions ROUTER TABLE [SPLIT]` prints a table. A session is four
prompts of one subset, then four of another, all drawn from the split; the plugin decides each
turn. Differences are paired by session, x100, ± one standard error. `... divide TABLE OUT` holds a
quarter of a table's train out as "valid", to choose a margin without a test row.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exports.litellm.zooter_plugin import SIGNAL, ZooterPlugin
from zooter_lite import Router
from zooter_lite.table import RewardTable, in_router_order, write_table

TURNS = 4  # of a subset
SESSIONS = 400
MARGINS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass
class Handed:
    """What LiteLLM hands to the plugin."""

    structured_messages: list[dict[str, object]]
    candidate_models: list[str]
    metadata: dict[str, Any]
    signals: dict[str, object] = field(default_factory=dict)


def drawn(table: RewardTable) -> NDArray[np.int64]:
    """(SESSIONS, 2 * TURNS) rows: turns of one subset, then of another."""
    random, subsets = np.random.default_rng(0), np.asarray(table.subsets)
    names = sorted(set(table.subsets))
    sessions = []
    for _ in range(SESSIONS):
        pair = random.choice(len(names), 2, replace=False)
        parts = [
            random.choice(np.flatnonzero(subsets == names[one]), TURNS, replace=False)
            for one in pair.tolist()
        ]
        sessions.append(np.concatenate(parts))
    return np.stack(sessions)


async def decided(
    plugin: ZooterPlugin, table: RewardTable, sessions: NDArray[np.int64], *, together: bool
) -> NDArray[np.int64]:
    """(SESSIONS, 2 * TURNS) experts, with each session known as one, or each turn by itself."""
    choices = np.empty_like(sessions)
    models = [f"openai/{expert}" for expert in table.experts]
    for place, rows in enumerate(sessions.tolist()):
        for turn, row in enumerate(rows):
            name = f"{place}" if together else f"{place} {turn}"
            messages: list[dict[str, object]] = [{"role": "user", "content": table.queries[row]}]
            context = await plugin.run(Handed(messages, models, {"session_id": name}))
            signal: Any = context.signals[SIGNAL]
            choices[place, turn] = table.experts.index(signal["expert"])
    return choices


def main(folder: str, source: str, split: str = "test") -> None:
    """Decide all sessions at every margin, and print the table."""
    router = Router.load(folder)
    table = RewardTable.read(source, responses=False)
    table = in_router_order(table.take(table.rows(split)), router.experts, source)
    sessions, models = drawn(table), {expert: f"openai/{expert}" for expert in table.experts}
    first = None
    print("| margin | reward | minus no stickiness | turns that switch | cost |")
    print("|---|---|---|---|---|")
    for margin in (None, *MARGINS, np.inf):
        plugin = ZooterPlugin(folder, models, margin=0.0 if margin is None else margin)
        choices = asyncio.run(decided(plugin, table, sessions, together=margin is not None))
        rewards = 100 * table.rewards[sessions, choices].mean(axis=1)
        first = rewards if first is None else first
        lost = rewards - first
        error = lost.std(ddof=1) / np.sqrt(len(lost))
        switched = (np.diff(choices, axis=1) != 0).mean()
        cost = "" if table.costs is None else f"{np.nanmean(table.costs[sessions, choices]):.3g}"
        name = "no stickiness" if margin is None else "never moves" if margin == np.inf else margin
        print(
            f"| {name} | {rewards.mean():.2f} | {lost.mean():+.2f} ± {error:.2f} "
            f"| {switched:.1%} | {cost} |"
        )


def divide(source: str, out: str) -> None:
    """Write the rows of train, a quarter of them as the split "valid"."""
    table = RewardTable.read(source, responses=False)
    train = replace(table.take(table.rows("train")), splits=None).hold_out(0.25)
    names = ["valid" if split == "test" else "train" for split in train.splits or ()]
    write_table(replace(train, splits=names), out)


if __name__ == "__main__":
    if sys.argv[1] == "divide":
        divide(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
