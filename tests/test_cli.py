"""Options from dataclasses, help texts, exit codes."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.conftest import ROOT, Call
from zooter_lite import fit
from zooter_lite.__main__ import COMMANDS, main
from zooter_lite.cli import parse, run
from zooter_lite.errors import DataError
from zooter_lite.table import sample_path


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    text = capsys.readouterr().out
    assert f"python -m zooter_lite.{name}" in text
    options = [line for line in text.splitlines() if line.startswith(("  --", "  -k"))]
    assert len(options) >= {"explain": 3, "feedback": 4}.get(name, 5)
    assert "MISSING" not in text
    if name == "fit":
        assert "(default: 5)" in text
        assert "(default: all-MiniLM-L6-v2)" in text


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
        (ZeroDivisionError(), None, ""),  # a bug keeps its traceback
    ],
)
def test_exit_codes(
    capsys: pytest.CaptureFixture[str], raised: BaseException | None, code: int | None, line: str
) -> None:
    def stopped(_: fit.Options) -> None:
        if raised is not None:
            raise raised

    with pytest.raises(ZeroDivisionError) if code is None else nullcontext():
        assert run(fit.Options, stopped, "fit", "", []) == code
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("words", [("--hed", "linear"), ("--head", "tree")])
def test_unknown_options_and_choices_are_refused(
    words: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["fit", *words])
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("fit", "--out", "{folder}/r"),
        ("tag", "--queries", sample_path(), "--out", "{folder}/t.jsonl", "--tagger", "clusters:4"),
    ],
)
def test_without_a_home_the_cache_is_asked_for(
    words: tuple[str, ...], tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for variable in ("ZOOTER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    code, _, err = call(*(word.format(folder=tmp_path) for word in words))
    assert code == 2
    assert "name a folder by --cache or by the variable ZOOTER_CACHE" in err.splitlines()[-1]
