"""The processes of one launch, as torchrun or `accelerate launch` starts them.

The first process does all of a fit; the others wait, fine-tune along with it, and end. torch is
imported where it is needed and not before: `fit` asks who it is before it looks at anything else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from zooter_lite.encode.find import is_static
from zooter_lite.errors import DataError, MissingPackageError, ZooterError
from zooter_lite.recipe import Recipe

WAIT = timedelta(days=7)  # while the first process embeds and cross-validates, others wait


def launched() -> tuple[int, int]:
    """Return the number of this process, from 0, and how many there are; (0, 1) if it is alone."""
    count = int(os.environ.get("WORLD_SIZE") or 1)
    return (int(os.environ.get("RANK") or 0) if count > 1 else 0), count


def check(recipe: Recipe) -> None:
    """Refuse what fine-tuning cannot do, and several processes without it: a ZooterError."""
    if not recipe.finetune:
        if (count := launched()[1]) > 1:
            raise DataError(
                f"started in {count} processes, which only --finetune divides its work among: "
                "expected --finetune, or one process"
            )
        return
    if is_static(recipe.encoder):
        raise DataError("--finetune with a static encoder: it has no layers to fine-tune")
    if recipe.head == "mlp":
        raise DataError("--finetune with --head mlp: expected --head prior or linear")
    if recipe.folds < 3:
        raise DataError(f"--finetune with --folds {recipe.folds}: expected at least 3")
    if find_spec("accelerate") is None:
        raise MissingPackageError("accelerate", "fit", "fine-tuning")


@contextmanager
def joined() -> Iterator[None]:
    """Connect the processes of a launch, each of which has to call this, for a block.

    ZooterError where another process has died.
    """
    count = launched()[1]
    if count == 1:
        yield
        return
    import torch

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        torch.distributed.init_process_group(backend, timeout=WAIT)
        yield
        torch.distributed.destroy_process_group()
    except RuntimeError as error:  # of torch.distributed, and of the network below it
        raise ZooterError(
            f"fine-tuning in {count} processes stopped ({str(error).partition(chr(10))[0]}); run "
            "the same command again: it goes on after the last finished epoch"
        ) from error


def from_first(value: Any) -> Any:
    """Return what the first process gives; of the others, the value is not looked at."""
    if launched()[1] == 1:
        return value
    import torch

    shared = [value]
    torch.distributed.broadcast_object_list(shared, src=0, device=torch.device("cpu"))
    return shared[0]
