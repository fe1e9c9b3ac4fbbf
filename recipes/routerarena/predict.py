"""Write the two files that RouterArena asks of a router: its config and its predictions.

python -m recipes.routerarena.predict exports/mine ../RouterArena my-router --split sub_10

RouterArena's folder holds `dataset/`, as its own prep_datasets.py makes it. The names of the
router's experts have to be RouterArena's names of the models.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from zooter_lite import DataError, Router
from zooter_lite.errors import ZooterError
from zooter_lite.files.atomic import atomic_text
from zooter_lite.files.rows import json_rows

FILES = {"full": "router_data", "sub_10": "router_data_10", "robustness": "router_robustness"}


def main(argv: list[str] | None = None) -> int:
    """Route the prompts of a split and write the files; return the exit code."""
    parser = argparse.ArgumentParser(description="Write the files that RouterArena asks for.")
    parser.add_argument("router", help="router directory")
    parser.add_argument("arena", type=Path, help="RouterArena's folder")
    parser.add_argument("name", help="what RouterArena calls the router")
    parser.add_argument("--split", choices=FILES, default="full", help="default: full")
    parser.add_argument("--point", help="operating point (default: the router's own)")
    options = parser.parse_args(argv)
    try:
        router = Router.load(options.router)
        rows = prompts_of(options.arena, options.split)
        decisions = router.route([prompt for _, prompt in rows], point=options.point)
        entries = [
            entry(index, prompt, decision.expert, optimality=False)
            for (index, prompt), decision in zip(rows, decisions, strict=True)
        ]
        if options.split != "robustness":  # what every other model would have earned
            tenth = {index for index, _ in prompts_of(options.arena, "sub_10")}
            entries += [
                entry(chosen["global index"], chosen["prompt"], other, optimality=True)
                for chosen in entries
                if chosen["global index"] in tenth
                for other in router.experts
                if other != chosen["prediction"]
            ]
        config = {"pipeline_params": {"router_name": options.name, "models": router.experts}}
        file = options.name + ("-robustness" if options.split == "robustness" else "")
        write(options.arena / f"router_inference/config/{options.name}.json", config)
        write(options.arena / f"router_inference/predictions/{file}.json", entries)
    except ZooterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def prompts_of(arena: Path, split: str) -> list[tuple[str, str]]:
    """Return the index and the prompt of each query of a split.

    Raises
    ------
    DataError
        The file is missing or has other keys.
    """
    path = str(arena / "dataset" / f"{FILES[split]}.json")
    found = []
    for line, row in json_rows(path):
        index, prompt = row.get("global index"), row.get("prompt_formatted") or row.get("prompt")
        if not isinstance(index, str) or not isinstance(prompt, str):
            raise DataError(f"{path}, line {line}: expected 'global index' and 'prompt_formatted'")
        found.append((index, prompt))
    return found


def entry(index: str, prompt: str, model: str, *, optimality: bool) -> dict[str, Any]:
    """Return one entry of a prediction file; RouterArena fills in what is null."""
    empty = {"generated_result": None, "cost": None, "accuracy": None}
    named = {"global index": index, "prompt": prompt, "prediction": model}
    return named | empty | {"for_optimality": optimality}


def write(path: Path, content: object) -> None:
    """Write a JSON file; it appears whole."""
    with atomic_text(str(path)) as stream:
        stream.write(json.dumps(content, ensure_ascii=False, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
