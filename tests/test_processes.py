"""Who is who in a launch, the precision, and what is said when something is missing or dies."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.test_fit import write_planted
from zooter_lite import fit
from zooter_lite.cli import run
from zooter_lite.encode.find import EncoderError
from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.finetune import processes
from zooter_lite.finetune.processes import ALONE, Processes, accelerator, launched, mixed_precision


def test_a_process_is_alone_unless_it_was_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched() == ALONE == Processes(0, 1)
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "2")
    assert launched() == Processes(2, 3)


@pytest.mark.parametrize(
    ("rank", "count"), [("2", "2"), ("-1", "2"), ("", "2"), ("0", "0"), ("0", "two")]
)
def test_an_environment_that_makes_no_sense(
    rank: str, count: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", count)
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(DataError, match=f"RANK is '{rank}' and WORLD_SIZE '{count}'"):
        launched()


def test_alone_there_is_nobody_to_wait_for() -> None:
    assert ALONE.join() == ALONE
    assert ALONE.from_first("job") == "job"
    ALONE.leave()


def test_what_dies_with_others_is_one_line() -> None:
    lost = RuntimeError(
        "[/src/gloo/pair.cc:553] Connection closed by peer [::1]:5. This is typically caused by "
        "a remote worker crashing.\nat line 2"
    )
    with pytest.raises(EncoderError) as caught, Processes(1, 2).failing_together():
        raise lost
    assert str(caught.value) == (
        "process 1 of 2 (from 0) stopped, as the whole run does: Connection closed by peer "
        "[::1]:5; run the same command again: it goes on after the last finished epoch"
    )
    with pytest.raises(RuntimeError, match=r"pair\.cc"), ALONE.failing_together():
        raise lost
    with pytest.raises(DataError, match="as it is"), Processes(0, 2).failing_together():
        raise DataError("as it is")


def test_who_waits_for_a_first_process_that_ended_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def closed(*_: object, **__: object) -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(torch.distributed, "broadcast_object_list", closed)
    with pytest.raises(SystemExit) as ended:
        Processes(1, 2).from_first(None)
    assert ended.value.code == 2
    with pytest.raises(EncoderError, match="process 0 of 2"):
        Processes(0, 2).from_first("job")


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for able in (False, True):
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda able=able: {"amx_bf16": able}, raising=False
        )
        assert mixed_precision("no") == "no"
        assert mixed_precision("bf16") == "bf16"
        assert mixed_precision("auto") == ("bf16" if able else "no")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert mixed_precision("auto") == "bf16"
    assert mixed_precision("no") == "no"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(EncoderError, match="--mixed_precision fp16: expected bf16 or no"):
        mixed_precision("auto")


def test_the_command_refuses_a_precision_before_it_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    arguments = ["--data", "nowhere.csv", "--finetune", "1", "--out", "nowhere"]
    assert run(fit.Options, fit.main, "fit", "", arguments) == 2
    assert capsys.readouterr().err == (
        "error: accelerate launch --mixed_precision fp8: expected bf16 or no\n"
    )


def test_the_launch_does_not_divide_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    made = accelerator("no")
    weight = torch.ones(1, requires_grad=True)
    made.backward(weight.sum() * 3)
    assert weight.grad is not None
    assert float(weight.grad) == 3.0
    assert accelerator("bf16").mixed_precision == "bf16"  # a second one, in the same process


def test_other_kinds_of_parallel_training_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import accelerate

    monkeypatch.setattr(
        accelerate, "Accelerator", lambda **_: SimpleNamespace(distributed_type="FSDP")
    )
    with pytest.raises(EncoderError, match="accelerate is set to FSDP: expected plain data par"):
        processes.accelerator("no")


def test_without_accelerate_fine_tuning_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingPackageError):
        accelerator("no")
    write_planted(tmp_path / "planted.csv")
    arguments = ["--data", str(tmp_path / "planted.csv"), "--out", str(tmp_path / "r")]
    assert run(fit.Options, fit.main, "fit", "", [*arguments, "--finetune", "1"]) == 2
    printed = capsys.readouterr()
    assert printed.err == (
        "error: fine-tuning needs the package 'accelerate': pip install 'zooter-lite[fit]'\n"
    )
    assert printed.out == ""  # before anything is read
