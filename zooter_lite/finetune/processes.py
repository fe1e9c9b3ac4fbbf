"""The processes of one launch: torchrun or accelerate starts them, accelerate joins them.

The first process does all of a fit; the others wait, fine-tune along with it, and end. Which
process this is stands in the environment (RANK, WORLD_SIZE), as torchrun and `accelerate
launch` set it. torch and accelerate are imported where they are needed and not before: `fit`
asks this module who it is before it looks at anything else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from zooter_lite.encode.find import EncoderError
from zooter_lite.errors import DataError, MissingPackageError

Precision = Literal["auto", "bf16", "no"]

WAIT = timedelta(days=7)  # while the first process embeds and cross-validates, others wait


@dataclass(frozen=True)
class Processes:
    """The processes of a launch, as one of them sees it.

    Attributes
    ----------
    rank, count
        Number of this process, from 0, and how many there are.
    waiting
        torch's group in which a process may wait for long; None before `join`.
    """

    rank: int = 0
    count: int = 1
    waiting: Any = None

    def join(self) -> Processes:
        """Meet the other processes; every one of them has to call this.

        Raises
        ------
        MissingPackageError
            accelerate is not installed.
        EncoderError
            They cannot be reached.
        """
        accelerate = _accelerate()
        if self.count == 1:
            return self
        import torch

        with self.failing_together():
            accelerate.PartialState(cpu=not torch.cuda.is_available())
            return replace(self, waiting=torch.distributed.new_group(backend="gloo", timeout=WAIT))

    def from_first(self, value: Any) -> Any:
        """Return what the first process gives; of the others, the value is not looked at.

        Raises
        ------
        EncoderError
            In the first process, where another one has died.
        SystemExit
            In another one, where the first has ended: it has said why.
        """
        if self.count == 1:
            return value
        import torch

        shared = [value]
        try:
            with self.failing_together():
                torch.distributed.broadcast_object_list(shared, src=0, group=self.waiting)
        except EncoderError as error:
            if self.rank:
                raise SystemExit(2) from error
            raise
        return shared[0]

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Make one line of what torch raises where another process has died.

        Raises
        ------
        EncoderError
            With several processes, in the place of any RuntimeError.
        """
        try:
            yield
        except RuntimeError as error:
            if self.count == 1:
                raise
            first = (str(error).splitlines() or [type(error).__name__])[0]
            why = re.sub(r"^\[[^]]*\] ?|\. This is typically.*", "", first)  # of gloo, the fact
            raise EncoderError(
                f"process {self.rank} of {self.count} (from 0) stopped, as the whole run does: "
                f"{why}; run the same command again: it goes on after the last finished epoch"
            ) from error

    def leave(self) -> None:
        """End the connections; every process goes its own way."""
        if self.count > 1:
            import torch

            torch.distributed.destroy_process_group()


ALONE = Processes()


def launched() -> Processes:
    """Read from the environment which process of how many this is.

    Raises
    ------
    DataError
        RANK or WORLD_SIZE is no number, or they do not fit together.
    """
    given = {name: os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE")}
    if not given["WORLD_SIZE"]:
        return ALONE
    try:
        rank, count = int(given["RANK"]), int(given["WORLD_SIZE"])
    except ValueError:
        rank, count = -1, 0
    if not 0 <= rank < count:
        raise DataError(
            f"environment: RANK is {given['RANK']!r} and WORLD_SIZE {given['WORLD_SIZE']!r}; "
            "expected both as torchrun or accelerate launch sets them, or WORLD_SIZE unset"
        )
    return Processes(rank, count)


def accelerator(precision: Precision) -> Any:
    """Return accelerate's Accelerator on CUDA where it is there, else on the CPU.

    Raises
    ------
    MissingPackageError
        accelerate is not installed.
    EncoderError
        A precision or a kind of parallel training that fine-tuning does not do.
    """
    import torch

    accelerate = _accelerate()
    accelerate.state.AcceleratorState._reset_state()  # it would keep an earlier precision
    made = accelerate.Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision=mixed_precision(precision),
        # the loss is weighted by finetune.py: no division by the environment's number of steps
        gradient_accumulation_plugin=accelerate.utils.GradientAccumulationPlugin(num_steps=1),
        kwargs_handlers=[
            # many encoders hold a pooler that is not used
            accelerate.DistributedDataParallelKwargs(find_unused_parameters=True)
        ],
    )
    if made.distributed_type not in ("NO", "MULTI_CPU", "MULTI_GPU"):
        raise EncoderError(
            f"accelerate is set to {made.distributed_type}: expected plain data parallel training "
            "(accelerate launch --multi_gpu, or torchrun)"
        )
    return made


def mixed_precision(precision: Precision) -> str:
    """Return "bf16" or "no"; "auto" takes bf16 where the launch asks for it or it is native.

    Raises
    ------
    EncoderError
        `accelerate launch --mixed_precision` names another one.
    """
    if precision != "auto":
        return precision
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if asked not in ("no", "bf16"):
        raise EncoderError(f"accelerate launch --mixed_precision {asked}: expected bf16 or no")
    return "bf16" if asked == "bf16" or _computes_bfloat16() else "no"


def _computes_bfloat16() -> bool:
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _accelerate() -> Any:
    try:
        import accelerate
    except ImportError as error:
        raise MissingPackageError("accelerate", "fit", "fine-tuning") from error
    return accelerate
