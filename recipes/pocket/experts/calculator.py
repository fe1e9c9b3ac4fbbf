"""A calculator: evaluates expressions, solves equations, and guesses at small word problems."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable

import sympy
from sympy.parsing.sympy_parser import (
    implicit_multiplication,
    parse_expr,
    standard_transformations,
)

from recipes.pocket.experts.base import DONT_KNOW, numbers, safely, shown, without_small_talk

NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)
SPOKEN = (
    (r"\bplus\b|\bmás\b|\badded to\b|加", "+"), (r"\bminus\b|\bmenos\b|\bmoins\b|减|−", "-"),
    (r"\btimes\b|\bmultiplied by\b|\bmal\b|\bfois\b|×|·", "*"),
    (r"\bdivided by\b|\bgeteilt durch\b|÷", "/"), (r"\bsquared\b|²", "**2"),
    (r"\bcubed\b|³", "**3"), (r"\bto the power of\b|\^", "**"), (r"\bmodulo\b|\bmod\b", "%"),
    (r"\b(?:the )?square root of (\d+)", r"sqrt(\1)"), (r"\bpercent\b|\bprozent\b", "%"),
    (r"(\d+(?:\.\d+)?) ?% (?:of|von|de|del) (\d+)", r"\1/100*\2"),
    (r"\bhalf of\b", "0.5*"), (r"\b(?:a )?third of\b", "1/3*"), (r"\bdouble\b", "2*"),
    (r"(\d+) ?mod ?(\d+)", r"\1 % \2"), (r"\blim\b", "limit"),
)  # fmt: skip
TOKENS = re.compile(r"(?:\d{1,12}(?:\.\d{1,8})?|sqrt|sin|cos|tan|exp|log|pi|\*\*|[-+*/(). xynt])+")
EXPRESSION = re.compile(
    r"[-(]*(?:(?<![\w.])\d|sqrt|sin|cos|\b[xynt]\b)[\d.+\-*/() xynt]*|\([\d.+\-*/() xynt]+"
)
POINT = r"x ?(?:=|approaches|->|goes to) ?(-?\d+|infinity)"
CALCULUS = re.compile(
    r"deriv|differentiate|d/dx|slope of|how steep|rate of change|area under|f'|dérivée|integr|"
    r"limit|∫"
)
EQUATION = re.compile(
    r"((?<![a-z])[-\d(xynt][^=,:;?]*)=([^=,:;?]+?)(?=[,:;?]|\.(?!\d)|\s[a-wz]{2,}|$)"
)
POWER = re.compile(r"\*\*(?! ?\(?-?(?:\d{1,2}|[a-z])\)?(?![\d(]|\s*\*\*))")
NAMES = {name: getattr(sympy, name) for name in ("sqrt", "sin", "cos", "tan", "exp", "log", "pi")}
GLOBALS = {name: getattr(sympy, name) for name in ("Integer", "Float", "Symbol", "Function")}


def parse(text: str) -> sympy.Expr | None:
    """Parse a formula with sympy, or return None if it is not plainly a small formula.

    sympy evaluates what it parses, so nothing but digits, operators, four variable names and a
    few functions gets that far, and no power may be large or nested.
    """
    text = text.strip(" .")
    if len(text) > 80 or not TOKENS.fullmatch(text) or POWER.search(text) or text.count("**") > 3:
        return None
    scope = {**NAMES, **{name: sympy.Symbol(name) for name in "xynt"}}
    rules = (*standard_transformations, implicit_multiplication)
    try:
        parsed = parse_expr(text, scope, rules, {**GLOBALS, "__builtins__": {}})
    except (SyntaxError, TypeError, ValueError, AttributeError, NameError):
        return None
    return parsed if isinstance(parsed, sympy.Expr) else None


@safely
def calculator(prompt: str) -> str:
    """Answer a mathematical prompt."""
    text = _spoken_to_symbols(without_small_talk(prompt).lower())
    for attempt in (_calculus, _lowest, _equation, _integers, _percent, _expression, _story):
        answer = attempt(text)
        if answer is not None:
            return answer
    return DONT_KNOW


def _spoken_to_symbols(text: str) -> str:
    for value, word in enumerate(NUMBER_WORDS.split()):
        text = re.sub(rf"\b{word}\b", str(value), text)
    for pattern, symbol in SPOKEN:
        text = re.sub(pattern, symbol, text)
    return text


def _written(value: sympy.Expr) -> str | None:
    if value.is_number:
        return shown(float(value)) if value.is_finite and value.is_real else None
    return str(value)


def _formulas(text: str) -> list[sympy.Expr]:
    """Return the formulas of a text, the longest first."""
    found = sorted((m.strip() for m in EXPRESSION.findall(text)), key=len, reverse=True)
    parsed = (parse(piece) for piece in found if len(piece) > 1)
    return [formula for formula in parsed if formula is not None]


def _calculus(text: str) -> str | None:
    x = sympy.Symbol("x")
    topic = CALCULUS.search(text)
    if not topic:
        return None
    body = re.sub(r"d/dx|\bdx\b|f'?\(x\)|\by =|f\(x\) =", " ", text)
    ends = re.search(
        r"(?:from|von) (-?\d+) (?:to|bis) (-?\d+)|\[(-?\d+), ?(-?\d+)\]|"
        r"between x = (-?\d+) and x = (-?\d+)",
        body,
    )
    at = re.search(rf"\b{POINT}|f'\((-?\d+)\)", body)
    body = re.sub(rf"(?:at |where |when |between |and )?{POINT}", "|", body)
    body = re.sub(r"(?:from|von) -?\d+ (?:to|bis) -?\d+|\[.*?\]|f'\(.*?\)", "|", body)
    formulas = [formula for formula in _formulas(body) if x in formula.free_symbols]
    if not formulas:
        return None
    formula = formulas[0]
    if ends:
        low, high = (int(end) for end in ends.groups() if end is not None)
        return _written(sympy.Integral(formula, (x, low, high)).evalf(12))
    point = next((group for group in at.groups() if group), "") if at else ""
    if topic[0] == "limit":
        return _written(sympy.limit(formula, x, sympy.oo if point == "infinity" else int(point)))
    if topic[0].startswith("integr") or topic[0] == "∫":
        return str(sympy.integrate(formula, x))
    slope = sympy.diff(formula, x)
    return _written(slope.subs(x, int(point)) if point else slope)


def _lowest(text: str) -> str | None:
    """Return where, or how deep, a formula in x has its minimum."""
    x = sympy.Symbol("x")
    if "minimum" not in text:
        return None
    for formula in _formulas(text):
        places = sympy.solve(sympy.diff(formula, x), x) if x in formula.free_symbols else []
        if len(places) == 1:
            return _written(formula.subs(x, places[0]) if "value" in text else places[0])
    return None


def _equation(text: str) -> str | None:
    text = re.sub(r"f\(x\) =", " ", re.sub(r"f\((-?\d+)\)", r"x = \1", text))
    match = EQUATION.search(text)
    if not match:
        return None
    left_text = re.split(r"[a-z]{2,}", match[1])[-1]
    left, right = parse(left_text), parse(match[2])
    if left is None or right is None:
        return None
    unknowns = sorted((left - right).free_symbols, key=str)
    if len(unknowns) != 1:
        return None
    if unknowns[0] in (left, right) and not (left.is_Symbol and right.is_Symbol):
        rest = text.replace(f"{left_text}={match[2]}", " ")
        name, value = (left, right) if left.is_Symbol else (right, left)
        others = [formula for formula in _formulas(rest) if name in formula.free_symbols]
        return _written(others[0].subs(name, value)) if others else _written(value)
    roots = sorted((r for r in sympy.solve(left - right, unknowns[0]) if r.is_real), key=float)
    if re.search(r"larger|largest|biggest|positive", text):
        roots = roots[-1:]
    elif re.search(r"smallest x|smaller", text):
        roots = roots[:1]
    elif "sum of" in text:
        roots = [sum(roots)]
    return ", ".join(shown(float(root)) for root in roots) or None


def _integers(text: str) -> str | None:
    found = [int(value) for value in numbers(text.replace("!", " !"))]
    if not found or any(abs(value) > 10**9 for value in found):
        return None
    if re.search(r"\bgcd\b|greatest common|teiler", text):
        return str(math.gcd(*found[-2:]))
    if re.search(r"\blcm\b|least common|smallest common", text):
        return str(math.lcm(*found[-2:]))
    if re.search(r"factorial|\d!", text) and 0 <= found[0] <= 30:
        return str(math.factorial(found[0]))
    if re.search(r"prime factor", text):
        return str(max(sympy.primefactors(found[0])))
    if re.search(r"(?:sum|add) .*(?:from|between) \d+ (?:to|and) \d+", text) and len(found) > 1:
        low, high = found[-2:]
        return str((high - low + 1) * (low + high) // 2)
    if re.search(r"nearest whole|round", text):
        return str(round(numbers(text)[0]))
    if "prime number" in text:
        return "yes" if sympy.isprime(found[0]) else "no"
    if "remainder" in text and len(found) > 1 and found[-1]:
        return str(found[-2] % found[-1])
    if "%" in text and (pair := re.search(r"(\d+) % (\d+)", text)):
        return str(int(pair[1]) % int(pair[2] if int(pair[2]) else "1"))
    return None


def _percent(text: str) -> str | None:
    asked = [value for value in numbers(text) if value > 0]
    if "percentage of" in text and len(asked) > 1:
        return shown(100 * asked[-1] / asked[-2])
    rate = re.search(r"(\d+(?:\.\d+)?) ?%", text)
    if not rate:
        return None
    part = float(rate[1]) / 100
    others = [value for value in numbers(text.replace(rate[0], " ")) if value > 0]
    if not others or "/100*" in text:
        return None
    base = max(others)
    if re.search(r"increase|rise|more|raise|grow", text):
        return shown(base * (1 + part))
    if re.search(r"reduc|decrease|off\b|discount|less|new price", text):
        return shown(base * (1 - part))
    return shown(base * part)


def _expression(text: str) -> str | None:
    for piece in sorted(EXPRESSION.findall(text), key=len, reverse=True):
        if re.search(r"[\d)] ?(?:\*\*|[-+*/]) ?[\d(s]|sqrt", piece):
            formula = parse(piece)
            if formula is not None and formula.is_number:
                return _written(formula)
    return None


def _story(text: str) -> str | None:
    """Guess the operation of a word problem from its wording."""
    found = numbers(text)
    if len(found) < 2:
        return None
    a, b, *_ = found
    if re.search(r"fence|perimeter|around a rectangle", text):
        return shown(2 * (a + b))
    if "times as" in text and re.search(r"together|total", text):
        return shown(a * b + b)
    if re.search(r"fills|for 1 person|one person|a minute", text) and min(a, b):
        return shown(max(a, b) / min(a, b))
    if re.search(r"davon|übrig|gasto", text):
        return shown(a - b)
    if re.search(r"in total .*has|add up to .*other", text):
        return shown(abs(a - b))
    if len(found) > 3 or "list" in text or "median" in text:
        return _statistic(text, found)
    if re.search(r"\beach\b|\bevery\b|\bper\b|times as|multiply|product|area|km/h|doz", text):
        split = re.search(r"share|equal|split|average|divide", text)
        return shown(found[0] / found[1]) if split and found[1] else shown(math.prod(found[:3]))
    if re.search(r"share|equally|split|divide|go into", text) and min(found[:2]):
        return shown(max(found[:2]) / min(found[:2]))
    if re.search(r"left|gives|remain|younger|change|subtract|difference|still|other|fewer", text):
        return shown(max(found) - sum(sorted(found)[:-1]))
    if re.search(r"total|altogether|together|more|sum|add|both|now", text):
        return shown(sum(found))
    return None


def _statistic(text: str, found: list[float]) -> str | None:
    """Answer what the statistics keys of a pocket calculator answer."""
    keys: tuple[tuple[str, Callable[[list[float]], float]], ...] = (
        (r"\bmean\b|average", statistics.mean), (r"median", statistics.median),
        (r"largest|\bmax", max), (r"smallest n|\bmin\b", min), (r"add|sum|total", sum),
    )  # fmt: skip
    work = next((work for wording, work in keys if re.search(wording, text)), None)
    return shown(work(found)) if work else None
