"""Cells of any kind as text formats hold them: ISO dates, decimals as written, no NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from numbers import Integral, Real
from uuid import UUID

from zooter_lite.table.cells import TAG_SIGN


def json_cell(cell: object) -> object:
    """Return a cell as JSON can hold it; None for NaN and infinity.

    Raises
    ------
    ValueError
        It holds bytes, or something else that JSON has no form for.

    Examples
    --------
    >>> json_cell([Decimal("0.10"), date(2024, 5, 1), math.nan])
    ['0.10', '2024-05-01', None]
    """
    if cell is None or isinstance(cell, (str, bool)):
        return cell
    if isinstance(cell, (datetime, date, time)):
        return None if cell != cell else cell.isoformat()  # pandas' NaT equals nothing
    if isinstance(cell, (Decimal, UUID, timedelta)):
        return str(cell)
    if isinstance(cell, Integral):
        return int(cell)
    if isinstance(cell, Real):
        return float(cell) if math.isfinite(cell) else None
    if isinstance(cell, Mapping):
        return {str(key): json_cell(value) for key, value in cell.items()}
    if isinstance(cell, (list, tuple)):
        return [json_cell(part) for part in cell]
    raise ValueError(f"it holds {type(cell).__name__}, which this format has no form for")


def csv_cell(cell: object) -> object:
    """Return a cell as CSV can hold it: of a list of texts, the texts with ; between them.

    Raises
    ------
    ValueError
        It holds bytes, or a list of something else, or one with ; in a text.
    """
    plain = json_cell(cell)
    if isinstance(plain, dict):
        raise ValueError("it holds objects, which CSV has no form for")
    if not isinstance(plain, list):
        return plain
    if any(isinstance(part, (list, dict)) for part in plain):
        raise ValueError("it holds lists of lists or of objects, which CSV has no form for")
    if any(TAG_SIGN in str(part) for part in plain):
        raise ValueError(f"a text of a list holds {TAG_SIGN!r}, which CSV cannot keep")
    return TAG_SIGN.join("" if part is None else str(part) for part in plain)
