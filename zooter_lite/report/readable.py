"""Numbers and strangers' text as people read them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence

from zooter_lite.measure.metrics import Estimate
from zooter_lite.measure.significance import Gap

Interval = Estimate | Gap  # a value, and the low and high end of its 95% interval
MISSING = "–"


def number(value: float, digits: int = 1, scale: float = 100.0, signed: bool = False) -> str:
    """Write a number times `scale`, with a true minus sign.

    Examples
    --------
    >>> number(-0.0123, 2), number(0.5, signed=True), number(math.nan)
    ('−1.23', '+50.0', '–')
    """
    if not math.isfinite(value):
        return MISSING
    text = f"{value * scale:{'+' if signed else ''},.{digits}f}"
    if not any(digit in text for digit in "123456789"):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def interval(estimate: Interval, digits: int = 1, scale: float = 100.0) -> str:
    """Write the ends of an interval, `[low, high]`; nothing where they are unknown."""
    if math.isnan(estimate.low + estimate.high):
        return ""
    return f"[{number(estimate.low, digits, scale)}, {number(estimate.high, digits, scale)}]"


def with_interval(estimate: Interval, scale: float = 100) -> str:
    """Write a value and its interval, `60.00 [59.0, 62.0]`."""
    if math.isnan(estimate.value):
        return "not known"
    value, low, high = (scale * end for end in (estimate.value, estimate.low, estimate.high))
    return f"{value:.2f} [{low:.1f}, {high:.1f}]"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown, with columns of one width."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [f"| {' | '.join(map(str.ljust, row, widths))} |" for row in cells]
    return [lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]]


def percent(value: float) -> str:
    """Write a share as whole per cent; one decimal below 10%."""
    shown = number(value, 1 if abs(value) < 0.0995 else 0)
    return shown if shown == MISSING else f"{shown}%"


def amount(value: float) -> str:
    """Write a cost in whatever unit it has, four digits."""
    return f"{value:.4g}" if math.isfinite(value) else MISSING


def p_value(p: float) -> str:
    """Write a p value; nothing smaller than 0.001 is told apart."""
    return "<0.001" if p < 0.001 else number(p, 3, 1)


def counted(count: int, noun: str) -> str:
    """Write `1 query`, `1,200 queries`."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count:,} {noun if count == 1 else plural}"


def visible(text: str) -> str:
    """Return a text without characters that act instead of being shown.

    Control characters become their Unicode pictures (newline and tab stay), direction
    overrides and whatever UTF-8 or XML cannot hold become `⟨U+202E⟩`. Letters of
    right-to-left scripts stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    code, category = ord(character), unicodedata.category(character)
    if character in "\n\t":
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    harmless = category != "Cf" or code in (0xAD, 0x200C, 0x200D)
    if category in ("Cc", "Cs", "Zl", "Zp") or code & 0xFFFE == 0xFFFE or not harmless:
        return f"⟨U+{code:04X}⟩"
    return character
