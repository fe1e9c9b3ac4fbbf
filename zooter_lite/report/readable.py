"""Numbers of the report in words: intervals, standings, and text that is safe to show."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any, Literal

Estimate = dict[str, Any]  # {"value", "low", "high"}, each a float or None
Standing = Literal["better", "worse", "unclear", "unknown"]

MISSING = "–"
LEVEL = 0.05  # of the Holm-corrected p below which a difference is called one
MARKS: dict[Standing, str] = {"better": "▲", "worse": "▼", "unclear": "≈", "unknown": MISSING}
STANDING_WORDS: dict[Standing, str] = {
    "better": "router ahead",
    "worse": "router behind",
    "unclear": "within noise",
    "unknown": "not comparable",
}


def number(value: float | None, digits: int = 1, scale: float = 100.0, signed: bool = False) -> str:
    """Write a number times `scale`, with a true minus sign.

    Examples
    --------
    >>> number(-0.0123, 2), number(0.5, signed=True), number(None)
    ('−1.23', '+50.0', '–')
    """
    if value is None:
        return MISSING
    text = f"{value * scale:{'+' if signed else ''},.{digits}f}"
    if not any(digit in text for digit in "123456789"):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def interval(estimate: Estimate | None, digits: int = 1, scale: float = 100.0) -> str:
    """`[low, high]`, or nothing where the interval is unknown."""
    if estimate is None or estimate["low"] is None or estimate["high"] is None:
        return ""
    return f"[{number(estimate['low'], digits, scale)}, {number(estimate['high'], digits, scale)}]"


def said(
    estimate: Estimate, digits: int = 1, scale: float = 100.0, signed: bool = False, unit: str = ""
) -> str:
    """Write a value with its interval for a sentence.

    Examples
    --------
    >>> said({"value": 0.5, "low": 0.4, "high": 0.6}, unit="%")
    '50.0% (95% interval 40.0% to 60.0%)'
    """
    text = number(estimate["value"], digits, scale, signed) + unit
    if estimate["low"] is None or estimate["high"] is None:
        return text
    low, high = (number(estimate[end], digits, scale) + unit for end in ("low", "high"))
    return f"{text} (95% interval {low} to {high})"


def percent(value: float | None) -> str:
    """Write a share as whole per cent; one decimal below 10%."""
    if value is None:
        return MISSING
    return number(value, 1 if abs(value) < 0.0995 else 0) + "%"


def p_value(p: float | None) -> str:
    """Write a p value; nothing smaller than 0.001 is told apart."""
    if p is None:
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def standing(gap: Estimate | None) -> Standing:
    """Say whether the router is ahead by a paired gap (router minus the other).

    `better` and `worse` need both: an interval without 0, and a Holm-corrected p
    (where there is one) below `LEVEL`.
    """
    if gap is None or gap["value"] is None or gap["low"] is None or gap["high"] is None:
        return "unknown"
    corrected = gap.get("p_holm")
    if corrected is not None and corrected >= LEVEL:
        return "unclear"
    if gap["low"] > 0:
        return "better"
    return "worse" if gap["high"] < 0 else "unclear"


def side(estimate: Estimate) -> int:
    """1 where the whole interval is above 0, -1 where it is below, 0 otherwise."""
    if estimate["low"] is None or estimate["high"] is None:
        return 0
    return int(estimate["low"] > 0) - int(estimate["high"] < 0)


def listed(names: Iterable[str], most: int = 4) -> str:
    """Write `a, b and c`; what is beyond `most` names is counted.

    Examples
    --------
    >>> listed(["a", "b", "c"]), listed("abcdef")
    ('a, b and c', 'a, b, c, d and 2 more')
    """
    shown = list(names)
    if len(shown) > most + 1:
        shown = [*shown[:most], f"{len(shown) - most} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def counted(count: int, noun: str) -> str:
    """`1 query`, `1,200 queries`."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count:,} {noun if count == 1 else plural}"


def visible(value: Any) -> Any:
    """Copy a report with every text free of characters that act instead of being shown.

    Control characters become their Unicode pictures (newline and tab stay), direction
    overrides and whatever UTF-8 or XML cannot hold become `⟨U+202E⟩`. Letters of
    right-to-left scripts stay as they are.
    """
    if isinstance(value, dict):
        return {visible(key): visible(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [visible(inner) for inner in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    if not isinstance(value, str) or (value.isascii() and value.isprintable()):
        return value
    return "".join(map(_shown, value))


def _shown(character: str) -> str:
    code = ord(character)
    if character in "\n\t":
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if unicodedata.category(character) == "Cf" and code not in (0xAD, 0x200C, 0x200D):
        return f"⟨U+{code:04X}⟩"
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or code & 0xFFFE == 0xFFFE:
        return f"⟨U+{code:04X}⟩"
    return character
