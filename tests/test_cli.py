"""Options from dataclasses, help texts, exit codes."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import zooter_lite
from tests.conftest import ROOT, Command
from zooter_lite import fit
from zooter_lite.__main__ import COMMANDS
from zooter_lite.cli import parse, run
from zooter_lite.errors import DataError


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_explains_every_option(command: Command, name: str) -> None:
    done = command(name, "--help")
    assert done.returncode == 0
    assert f"python -m zooter_lite.{name}" in done.stdout
    options = [line for line in done.stdout.splitlines() if line.startswith(("  --", "  -k"))]
    assert len(options) >= {"explain": 3, "feedback": 4}.get(name, 5)
    assert "MISSING" not in done.stdout
    if name == "fit":
        assert "(default: 5)" in done.stdout
        assert "(default: all-MiniLM-L6-v2)" in done.stdout


def test_the_package_lists_its_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zooter_lite"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert all(f"zooter-lite {name}" in done.stdout for name in COMMANDS)


def test_optional_numbers_keep_none_and_flags_stay_off() -> None:
    options = parse(fit.Options, "fit", "", [])
    assert options == fit.Options()
    assert options.beta is None
    given = parse(fit.Options, "fit", "", ["--beta", "0.3", "--drop-leaks", "--seed", "7"])
    assert (given.beta, given.drop_leaks, given.seed) == (0.3, True, 7)


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (None, 0, ""),
        (DataError("t.csv, line 3:\nbad"), 2, "error: t.csv, line 3: bad\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_exit_codes(
    capsys: pytest.CaptureFixture[str], raised: BaseException | None, code: int, line: str
) -> None:
    def main(_: fit.Options) -> None:
        if raised is not None:
            raise raised

    assert run(fit.Options, main, "fit", "", []) == code
    assert capsys.readouterr().err == line


def test_a_bug_keeps_its_traceback() -> None:
    def main(_: fit.Options) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(fit.Options, main, "fit", "", [])


def test_unknown_options_and_choices_are_refused(command: Command) -> None:
    for arguments in (("--hed", "linear"), ("--head", "tree")):
        done = command("fit", *arguments)
        assert done.returncode == 2
        assert "usage:" in done.stderr


@pytest.mark.parametrize("name", ["fit", "evaluate", "export", "tag"])
def test_without_a_home_the_cache_is_asked_for(
    name: str,
    router_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for variable in ("ZOOTER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    sample = Path(zooter_lite.__file__).parent / "table" / "sample.jsonl.gz"
    options = {
        "fit": ["--out", tmp_path / "r"],
        "evaluate": ["--router", router_path, "--data", sample],
        "export": ["--router", router_path],
        "tag": ["--queries", sample, "--out", tmp_path / "t.jsonl", "--tagger", "clusters:4"],
    }
    module = importlib.import_module(f"zooter_lite.{name}")
    code = run(module.Options, module.main, name, "", list(map(str, options[name])))
    errors = capsys.readouterr().err.splitlines()
    assert code == 2
    assert "name a folder by --cache, or by the variable ZOOTER_CACHE" in errors[-1]
