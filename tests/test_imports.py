"""Import boundaries: routing never loads the training stack, and imports point one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

HEAVY = ("torch", "transformers", "sklearn", "datasets", "sentence_transformers", "onnx", "scipy")
PACKAGE = ROOT / "zooter_lite"
MAY_IMPORT = {
    "batch": {"batch", "data", "router"},
    "data": {"data"},
    "labels": {"labels", "data"},
    "router": {"router", "data"},
    "evaluation": {"evaluation", "labels", "router", "data"},
    "learn": {"learn", "labels", "router", "data"},
}


def test_loading_and_routing_import_nothing_heavy(router_path: Path) -> None:
    code = (
        "import sys\n"
        "from zooter_lite import Router\n"
        f"router = Router.load({str(router_path)!r})\n"
        "assert router.route(['What is 2 + 2?'])[0].expert in router.experts\n"
        "router.predict_proba(['a', 'b'])\n"
        f"print([name for name in {(*HEAVY, 'faiss')!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["route", "evaluate", "explain", "fit", "score", "tag"])
def test_importing_a_command_imports_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, zooter_lite.{module}\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_point_one_way(room: str) -> None:
    rooms = set(MAY_IMPORT)
    for file in sorted((PACKAGE / room).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zooter_lite."):
                other = (node.module or "").split(".")[1]
                assert other not in rooms or other in MAY_IMPORT[room], f"{file}: {node.module}"
