"""Routers in forked children, and pickled: what a preloading server and a pool of workers do."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from zooter_lite import Router

SCRIPT = """
import os, sys, threading
from zooter_lite import Router

router = Router.load(sys.argv[1], **eval(sys.argv[2]))
queries = [f"How much is {n} plus 5?" for n in range(120)]
warm = router.predict_proba(queries[:100]) if "warm" in sys.argv[3] else None
if "tags" in sys.argv[3]:
    router.tags(queries[:20])
stop = threading.Event()
def busy():
    while not stop.is_set():
        router.predict_proba([f"{os.urandom(4).hex()} plus 1" for _ in range(30)])
threads = [threading.Thread(target=busy, daemon=True) for _ in range(2 * ("busy" in sys.argv[3]))]
for thread in threads:
    thread.start()
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        if number == 2:
            sys.exit(7)  # has routed nothing
        seen = []
        workers = [
            threading.Thread(target=lambda: seen.append(router.predict_proba(queries)))
            for _ in range(2)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if "tags" in sys.argv[3]:
            assert router.tags(queries[:20])
        if warm is not None:
            assert (seen[0][:100] == warm).all() or abs(seen[0][:100] - warm).max() < 1e-5
        print(len(seen), len(seen[0]), flush=True)
        sys.exit(0)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children], flush=True)
stop.set()
for thread in threads:
    thread.join()
"""

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@forking
@pytest.mark.parametrize(
    ("options", "state"),
    [
        ("{}", "cold"),
        ("{}", "warm tags"),
        ("{'threads': 1}", "warm busy"),
        ("{'threads': 1, 'exact': True}", "warm"),
    ],
)
def test_a_child_routes_as_its_parent_and_ends_cleanly(
    router_path: Path, options: str, state: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(router_path), options, state],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split("\n")[:3] == ["2 120", "2 120", "[0, 0, 7]"], done.stderr
    assert done.returncode == 0


@forking
def test_a_child_says_that_the_router_was_replaced(own_toy: Path) -> None:
    script = (
        "import os\nfrom tests.helpers import edit_config\nfrom zooter_lite import Router\n"
        f"from pathlib import Path\nfolder = Path({str(own_toy)!r})\n"
        "router = Router.load(folder)\n"
        "edit_config(folder, lambda config: config['encoder'].update(name='other'))\n"
        "child = os.fork()\n"
        "if child == 0:\n    try:\n        router.route(['a'])\n"
        "    except Exception as error:\n        print(error, flush=True)\n    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "another router stands there since this one was loaded" in done.stdout, done.stderr


def probabilities(router: Router) -> list[list[float]]:
    return [[float(x) for x in row] for row in router.predict_proba(["2 + 2", "a poem"])]


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda router: pickle.loads(pickle.dumps(router))]
)
def test_a_pickled_router_is_loaded_again_with_its_options(
    toy: Path, copied: Callable[[Router], Router], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(toy.parent)
    router = Router.load(toy.name, threads=1, exact=True, remember=7)
    monkeypatch.chdir("/")
    again = copied(router)
    assert (again.folder, again.config) == (router.folder, router.config)
    assert again._options == router._options
    assert probabilities(again) == probabilities(router)
