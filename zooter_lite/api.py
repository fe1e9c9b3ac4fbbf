"""Fit a router from Python. `fit_router` reads top to bottom, as the data meets the rooms."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zooter_lite.cli import as_command, bar, check_range
from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.recipe import MAX_EPOCHS, Recipe
from zooter_lite.router.router import Router
from zooter_lite.table import RewardTable, sample_path, table_name

if TYPE_CHECKING:
    from zooter_lite.onnx.graphs import Exports

PRECISIONS = ("fp32", "int8")


def _silent(_: str) -> None:
    """Say nothing."""


def fit_router(
    table: Any = None,
    out: str | Path = "",
    *,
    say: Callable[[str], object] = _silent,
    **options: Any,
) -> Router:
    """Fit a router on a reward table, evaluate it on the held-out rows, and write its directory.

    Parameters
    ----------
    table
        A RewardTable; the path of one; a pandas or polars frame, an Arrow table or a
        `datasets.Dataset` with its columns; None for the bundled sample.
    out
        Router directory to write; "" for exports/NAME-OF-TABLE.
    say
        Called with every line of what the command prints.
    **options
        Fields of `Recipe`.

    Returns
    -------
    The router, loaded from its directory.

    Raises
    ------
    DataError
        The table or an option is not usable; nothing is written.
    MissingPackageError
        The extra [fit] is not installed.

    Examples
    --------
    >>> router = fit_router("rewards.csv", "exports/mine", seed=1)  # doctest: +SKIP
    >>> router.route(["What is 17 * 23?"])[0].expert  # doctest: +SKIP
    'calculator'
    """
    recipe = Recipe(**options)
    check(recipe)
    source = sample_path() if table is None else table
    name = table_name(str(source)) if isinstance(source, (str, Path)) else "table"
    folder = Path(out or f"exports/{name or 'router'}")
    fit(source, name, folder, recipe, say)
    return Router.load(folder)
