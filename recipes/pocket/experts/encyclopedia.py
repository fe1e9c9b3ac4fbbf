"""An almanac: countries, elements, currencies, numerals and a shelf of general facts."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path

from recipes.pocket.experts.base import DONT_KNOW, NUMBER, quoted, safely

ROMAN = re.compile(r"\b(?=[MDCLXVI]{2,})M*(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})\b")
STEPS = ((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"),
         (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))  # fmt: skip
NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
SMALL, TENS = NUMBER_WORDS.split(), TENS_WORDS.split()
IGNORED = (
    "a an and are by do does for from has have how i in is it its me my name of on or please "
    "that the their there to was what which who whose with you your many much called"
)


@lru_cache(maxsize=1)
def _almanac() -> dict[str, dict[str, str]]:
    path = Path(__file__).with_name("almanac.json")
    almanac: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return almanac


@safely
def encyclopedia(prompt: str) -> str:
    """Answer a question of fact."""
    for attempt in (_numerals, _tables, _general):
        answer = attempt(prompt)
        if answer is not None:
            return answer
    return DONT_KNOW


def _numerals(prompt: str) -> str | None:
    text = prompt.lower()
    found = NUMBER.findall(text)
    if "roman" in text and found:
        value, letters = abs(int(float(found[0]))), ""
        for step, symbol in STEPS:
            count, value = divmod(value, step)
            letters += symbol * min(count, 20)
        return letters
    roman = ROMAN.search(prompt)
    if roman and re.search(r"number|numeral|year|roman", text):
        values = {symbol: step for step, symbol in STEPS}
        parts = re.findall("CM|CD|XC|XL|IX|IV|.", roman[0])
        return str(sum(values[part] for part in parts))
    if re.search(r"in english words|spell out|written out|in words", text) and found:
        return _spelled(abs(int(float(found[-1]))))
    if re.search(r"digits|as a number", text):
        return _unspelled(text)
    if "hex" in text and found:
        return f"{int(found[0]):x}"
    if "binary" in text and found:
        return str(int(found[0], 2)) if "decimal" in text else f"{int(found[0]):b}"
    return None


def _spelled(value: int) -> str | None:
    """Write out a number below a thousand.

    >>> _spelled(714)
    'seven hundred and fourteen'
    """
    if value < 20:
        return SMALL[value]
    if value < 100:
        return TENS[value // 10 - 2] + (f"-{SMALL[value % 10]}" if value % 10 else "")
    if value < 1000:
        rest = f" and {_spelled(value % 100)}" if value % 100 else ""
        return f"{SMALL[value // 100]} hundred{rest}"
    return None


def _unspelled(text: str) -> str | None:
    """Read a number below a thousand that is written in words."""
    total, seen = 0, False
    for word in re.findall(r"[a-z]+", text):
        if word in SMALL:
            total, seen = total + SMALL.index(word), True
        elif word in TENS:
            total, seen = total + 10 * TENS.index(word) + 20, True
        elif word == "hundred":
            total *= 100
    return str(total) if seen else None


def _tables(prompt: str) -> str | None:
    """Look for a key of a table whose topic the prompt names."""
    text = prompt.lower()
    topics = (
        ("capital", r"capital|hauptstadt|首都"),
        ("element", r"element|symbol|periodic|chemical"),
        ("currency", r"currency|money|pay with|währung"),
    )
    for table, wording in topics:
        if not re.search(wording, text):
            continue
        entries = _almanac()[table]
        for key, value in entries.items():
            if re.search(rf"\b{re.escape(key.lower())}\b", text):
                return value
        for key, value in entries.items():
            if re.search(rf"\b{re.escape(value)}\b", prompt) and table != "currency":
                return key
    return None


def _general(prompt: str) -> str | None:
    """Return the fact whose key words overlap most with the words of the prompt."""
    if quoted(prompt):
        return None
    asked = set(_stems(prompt))
    best, answer = 0.5, None
    for key, value in _almanac()["general"].items():
        words = set(_stems(key))
        overlap = len(words & asked) / len(words)
        if overlap > best:
            best, answer = overlap, value
    return answer


def _stems(text: str) -> list[str]:
    words = re.findall(r"[a-z]+", text.lower())
    return [word.rstrip("s")[:7] for word in words if word not in IGNORED.split()]
