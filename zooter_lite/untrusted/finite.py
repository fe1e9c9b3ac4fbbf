"""Outputs that are numbers, whoever computed them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import RouterError


def check_finite(outputs: Sequence[NDArray[np.float32]], names: Sequence[str]) -> None:
    """Raise RouterError where a named output holds NaN or an infinity."""
    for name, output in zip(names, outputs, strict=True):
        flat = output.reshape(-1)
        if not isfinite(np.dot(flat, flat)):  # quicker than to look at each
            raise RouterError(f"the graph's output {name!r} is not finite")
