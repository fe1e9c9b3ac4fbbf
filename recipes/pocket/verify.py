"""Verifiers: compare what an expert really said with the known answer of a prompt.

Each verifier takes the response and the expected text(s) and returns a reward between 0 and 1.
`verify` picks the verifier named by the prompt's `Answer`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from zooter_lite.scoring.verifiers import last_number, normalise

Kind = Literal["exact", "number", "one_of", "items", "date"]

NUMBER = re.compile(r"-?\d+(?:,\d{3})+(?:\.\d+)?|-?\d+/[1-9]\d*|-?\d+(?:\.\d+)?|-?\.\d+")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ISO_DATE = re.compile(r"\b(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})\b")
DAY_FIRST = re.compile(r"\b(?P<d>\d{1,2})(?:st|nd|rd|th)? (?P<m>[a-z]{3,9}),? (?P<y>\d{4})\b")
MONTH_FIRST = re.compile(r"\b(?P<m>[a-z]{3,9}) (?P<d>\d{1,2})(?:st|nd|rd|th)?,? (?P<y>\d{4})\b")


@dataclass(frozen=True)
class Answer:
    """What a right response must contain.

    Parameters
    ----------
    kind
        Which verifier judges the response.
    expected
        One text, except for `one_of` (every accepted text) and `items` (the list, in order).
    tolerance
        For `number` only: the accepted error, relative to the expected value.
    """

    kind: Kind
    expected: tuple[str, ...]
    tolerance: float = 1e-6


def exact(text: str) -> Answer:
    """Expect this text, up to case, outer punctuation and spacing."""
    return Answer("exact", (text,))


def number(value: float, tolerance: float = 1e-6) -> Answer:
    """Expect this number as the last number of the response."""
    return Answer("number", (repr(value),), tolerance)


def one_of(*texts: str) -> Answer:
    """Expect any one of these texts."""
    return Answer("one_of", texts)


def items(values: Iterable[object]) -> Answer:
    """Expect this list; every item in its right place earns its share."""
    return Answer("items", tuple(str(value) for value in values))


def day(value: date) -> Answer:
    """Expect this date, written in any of the usual ways."""
    return Answer("date", (value.isoformat(),))


def last_date(text: str) -> date | None:
    """Return the last calendar date of a text (ISO, or with an English month name), or None.

    >>> last_date("That would be March 4th, 2021.")
    datetime.date(2021, 3, 4)
    """
    lowered = text.lower()
    matches = [m for form in (ISO_DATE, DAY_FIRST, MONTH_FIRST) for m in form.finditer(lowered)]
    for match in sorted(matches, key=lambda m: m.end(), reverse=True):
        month = match["m"]
        if not month.isdigit() and month[:3] not in MONTHS:
            continue
        month_number = int(month) if month.isdigit() else MONTHS.index(month[:3]) + 1
        try:
            return date(int(match["y"]), month_number, int(match["d"]))
        except ValueError:
            continue
    return None


def split_items(text: str) -> list[str]:
    """Split a listing into normalised items, at commas where there are any, else at spaces.

    >>> split_items("[3, 1, 2]")
    ['3', '1', '2']
    """
    body = text.strip().rstrip(".").strip("[](){}")
    parts = re.split(r"[,;\n]+", body) if re.search(r"[,;\n]", body) else body.split()
    return [item for item in (normalise(part) for part in parts) if item]


def _score_number(response: str, answer: Answer) -> float:
    found, wanted = last_number(response), float(answer.expected[0])
    if found is None:
        return 0.0
    return float(math.isclose(found, wanted, rel_tol=answer.tolerance, abs_tol=1e-6))


def _same_item(left: str, right: str) -> bool:
    return left == right or (
        bool(NUMBER.fullmatch(left) and NUMBER.fullmatch(right))
        and last_number(left) == last_number(right)
    )


def _score_items(response: str, answer: Answer) -> float:
    given = split_items(response)
    wanted = [normalise(item) for item in answer.expected]
    right = sum(map(_same_item, given, wanted))
    return round(right / max(len(given), len(wanted), 1), 4)


def verify(response: str, answer: Answer) -> float:
    """Return the reward of a response, between 0 (wrong) and 1 (right).

    Only a list earns fractions: the share of its places that are right.
    """
    if answer.kind == "number":
        return _score_number(response, answer)
    if answer.kind == "items":
        return _score_items(response, answer)
    if answer.kind == "date":
        found = last_date(response)
        return float(found is not None and found.isoformat() == answer.expected[0])
    return float(normalise(response) in {normalise(text) for text in answer.expected})
