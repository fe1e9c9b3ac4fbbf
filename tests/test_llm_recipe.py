"""The scripts that serve the real LLM, with a stand-in for its environment."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

SERVER = """#!/bin/sh
[ "$1" = "{serve}" ] || exit 9
echo "port $2" >>"{log}"
{body}
"""


def served(tmp_path: Path, body: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run `command` by with.sh, with a server that does what `body` says."""
    recipe = ROOT / "recipes" / "llm"
    place = tmp_path / "zooter-lite" / "llm"
    (place / "bin").mkdir(parents=True)
    shutil.copy(recipe / "requirements.txt", place / "installed.txt")
    python = place / "bin" / "python"
    serve = recipe / "serve.py"
    python.write_text(SERVER.format(serve=serve, log=tmp_path / "log", body=body), "utf-8")
    python.chmod(0o755)
    return subprocess.run(
        [recipe / "with.sh", *command],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_the_command_runs_while_the_server_does_and_not_before(tmp_path: Path) -> None:
    body = (
        'echo $$ >pid; sleep 0.5; echo "answers" >>log; echo http://127.0.0.1:8012; exec sleep 60'
    )
    body = f"cd {tmp_path}; {body}"
    done = served(tmp_path, body, "sh", "-c", f"cat {tmp_path}/log; kill -0 $(cat {tmp_path}/pid)")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "port 8012\nanswers\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text("utf-8")), 0)


def test_a_server_that_dies_is_not_waited_for(tmp_path: Path) -> None:
    done = served(tmp_path, "exit 3", "echo", "never")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "ended before it answered" in done.stderr
