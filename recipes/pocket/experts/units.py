"""A unit converter on top of pint."""

from __future__ import annotations

import re
from functools import lru_cache

import pint

from recipes.pocket.experts.base import DONT_KNOW, safely, shown

ALIASES = {
    "km/h": "kilometer/hour", "kph": "kilometer/hour", "mph": "mile/hour", "m/s": "meter/second",
    "km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "g": "gram",
    "kg": "kilogram", "lb": "pound", "lbs": "pound", "ml": "milliliter", "l": "liter",
    "°c": "degC", "c": "degC", "celsius": "degC", "degrees celsius": "degC",
    "°f": "degF", "f": "degF", "fahrenheit": "degF", "degrees fahrenheit": "degF",
    "kelvin": "kelvin", "k": "kelvin", "metric tons": "tonne", "tonnes": "tonne",
    "square metres": "meter**2", "square meters": "meter**2", "square feet": "foot**2",
    "us gallons": "gallon", "dozen": "12*count", "meter": "meter", "zentimeter": "centimeter",
    "kilos": "kilogram", "metros": "meter", "gramos": "gram", "stunden": "hour",
    "feet": "foot", "inches": "inch", "knots": "knot", "stone": "stone",
}  # fmt: skip
FACTORS = {"half a": "0.5", "a": "1", "an": "1", "one": "1", "two": "2", "three": "3", "ten": "10"}
UNIT = r"(?:(?:square|us|degrees|metric) )?[a-z°µ]+(?:/[a-z]+)?"
QUANTITY = re.compile(rf"(-?\d+(?:\.\d+)?) ?({UNIT})", re.IGNORECASE)
TARGET = re.compile(
    rf"(?=\b(?:how many|how much|wie viele?|in|to|into|as|en|which) (?:the )?({UNIT}))|"
    rf"(?=(?:->|=)[ ?]*({UNIT}))",
    re.IGNORECASE,
)


@lru_cache(maxsize=1)
def _registry() -> pint.UnitRegistry[float]:
    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


@lru_cache(maxsize=512)
def _unit(name: str) -> pint.Unit | None:
    """Return the pint unit of a word or symbol, or None where it is not one."""
    name = name.lower().strip()
    known = ALIASES.get(name, name)
    if name not in ALIASES and (len(name) < 3 or not name.isalpha()):
        return None
    try:
        return _registry().parse_units(known.removeprefix("12*"))
    except (pint.errors.PintError, ValueError, AttributeError):
        return None


def _quantities(text: str) -> list[pint.Quantity[float]]:
    found = []
    for amount, name in QUANTITY.findall(text):
        unit = _unit(name)
        if unit is not None:
            found.append(_registry().Quantity(float(amount), unit))
    return found


@safely
def units(prompt: str) -> str:
    """Answer a question about quantities: convert them, add them, or multiply a rate."""
    text = prompt.lower()
    quantities = _quantities(text)
    if not quantities:
        return DONT_KNOW
    first, *rest = quantities
    same = [other for other in rest if other.dimensionality == first.dimensionality]
    if same and re.search(r"pieces|how often|how many times", text):
        return shown(round((first / same[0]).to("").magnitude, 4))
    if same and re.search(r"-|minus|remain|drink|left|pours", text):
        total = max(first, same[0]) - min(first, same[0])
    elif same:
        total = sum(same, start=first)
    else:
        total = _with_rate(text, first, rest)
    target = _target(text, total)
    if target is None:
        return DONT_KNOW if not rest else f"{shown(round(total.magnitude, 6))}"
    return shown(round(total.to(target).magnitude, 4))


def _with_rate(
    text: str, first: pint.Quantity[float], rest: list[pint.Quantity[float]]
) -> pint.Quantity[float]:
    """Combine two quantities of different kinds as distance, time and speed combine."""
    if not rest:
        return first
    if "/" in text.split("?")[0] and "average" not in text:
        rate: pint.Quantity[float] = first * rest[0]
    else:
        rate = first / rest[0]
    return rate


def _target(text: str, total: pint.Quantity[float]) -> pint.Unit | None:
    """Return the unit that the prompt asks for: of the right kind, and best not its own unit."""
    named = [_unit(left or right) for left, right in TARGET.findall(text)]
    if re.search(r"how many ml", text):
        named.append(_unit("ml"))
    fitting = [u for u in named if u is not None and u.dimensionality == total.dimensionality]
    other = [unit for unit in fitting if unit != total.units]
    return next(reversed(other or fitting), None)
