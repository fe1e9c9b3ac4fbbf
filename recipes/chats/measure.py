"""What is lost by routing whole chats instead of their last turn.

`python -m recipes.chats.measure FOLDER` writes recipes/chats/results.md. Test prompts become
chats: a system prompt, two earlier turns that ask something else (a prompt of another subset,
where there is one), then the prompt. The router is fitted on plain prompts.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from zooter_lite.encode.cache import default_cache
from zooter_lite.encode.find import DEFAULT
from zooter_lite.encode.load import load_encoder
from zooter_lite.files.messages import Context, prompt_of
from zooter_lite.head.fit_head import fit_head
from zooter_lite.measure.metrics import reward_of
from zooter_lite.recipe import Recipe
from zooter_lite.table import RewardTable

OUT = Path(__file__).parent / "results.md"
TABLES = ("mmlu_pro", "llmrouter", "bfcl", "zeroeval")
MOST = 500  # test prompts of each table
CONTEXTS: tuple[Context, ...] = ("last", "user", "all")


def chats(table: RewardTable, rows: list[int]) -> list[list[dict[str, Any]]]:
    """Put before each prompt a system prompt and two turns about something else."""
    random = np.random.default_rng(0)
    made = []
    for row in rows:
        others = [other for other in rows if table.subsets[other] != table.subsets[row]] or rows
        before = table.queries[int(random.choice(others))]
        made.append(
            [
                {"role": "system", "content": "You are a helpful assistant. Be brief."},
                {"role": "user", "content": before},
                {"role": "assistant", "content": "Let me think about that, and answer below."},
                {"role": "user", "content": table.queries[row]},
            ]
        )
    return made


def main(folder: str) -> None:
    """Measure, and write the table."""
    lines = [
        "| table | prompts | last | user minus last | all minus last | best single minus last |",
        "|---|---|---|---|---|---|",
    ]
    for name in TABLES:
        table = RewardTable.read(f"{folder}/{name}.parquet", responses=False)
        encoder, cache = load_encoder(DEFAULT, default_cache()), default_cache()
        train, test = table.rows("train"), table.rows("test")
        known = encoder.embed([table.queries[row] for row in train.tolist()], cache)
        head = fit_head(table.take(train), known, Recipe()).head
        rows = np.sort(np.random.default_rng(0).permutation(test)[:MOST]).tolist()
        rewards = table.rewards[rows].astype(np.float64)
        earned: dict[str, Any] = {}
        for context in CONTEXTS:
            texts = [prompt_of(chat, context).text for chat in chats(table, rows)]
            choices = head.logits(encoder.embed(texts, cache).astype(np.float64)).argmax(axis=1)
            earned[context] = reward_of(choices, rewards)
        earned["single"] = rewards[:, int(table.rewards[train].mean(axis=0).argmax())]
        cells = [f"{100 * earned['last'].mean():.2f}"]
        for other in ("user", "all", "single"):
            apart = 100 * (earned[other] - earned["last"])
            cells.append(f"{apart.mean():+.2f} ± {apart.std() / np.sqrt(len(apart)):.2f}")
        lines.append(f"| {name} | {len(rows)} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    OUT.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
