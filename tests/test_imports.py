"""Import boundaries: routing never loads the training stack, and imports point one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

HEAVY = ("torch", "transformers", "sklearn", "datasets", "sentence_transformers", "onnx", "scipy")
PACKAGE = ROOT / "zooter_lite"
# A room imports itself and the rooms of the lines above its own; what a function imports when it
# is called, such as the page of a report, does not count.
LEVELS = (
    ("files", "untrusted"),
    ("table", "labels", "graph"),
    ("tags",),
    ("router",),
    ("encode", "ask"),
    ("head", "bulk"),
    ("onnx", "finetune", "scoring", "measure"),
    ("compare",),
    ("report",),
)


def test_importing_commands_and_routing_load_nothing_heavy(router_path: Path) -> None:
    code = (
        "import sys\n"
        "from zooter_lite import Router\n"
        f"router = Router.load({str(router_path)!r})\n"
        "assert router.route(['What is 2 + 2?'])[0].expert in router.experts\n"
        "router.predict_proba(['a', 'b'])\n"
        f"print([name for name in {(*HEAVY, 'faiss')!r} if name in sys.modules])\n"
        "from zooter_lite import RewardTable, evaluate_router, fit_router\n"
        "from zooter_lite import collect, evaluate, explain, export, feedback, fit, route\n"
        "from zooter_lite import score, tag\n"
        "from exports.http.serve import Service\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.split() == ["[]", "[]"]


def test_imports_point_one_way_and_no_command_imports_another() -> None:
    level = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
    rooms = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(level)
    commands = {
        *("collect", "evaluate", "explain", "export", "feedback", "fit", "route", "score", "tag")
    }
    wrong = []
    for file in sorted(PACKAGE.rglob("*.py")):
        own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.parse(file.read_text("utf-8")).body:
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            if not node.module.startswith("zooter_lite."):
                continue
            other = node.module.split(".")[1]
            upward = other in level and own in level and level[other] > level[own]
            sideways = other in level and own in level and level[other] == level[own]
            if upward or (sideways and other != own) or (other in commands and other != own):
                wrong.append(f"{file.relative_to(PACKAGE)} imports {node.module}")
    assert wrong == []
