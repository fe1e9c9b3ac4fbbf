"""Prompts about arithmetic, algebra and calculus; every answer is worked out in plain Python."""

from __future__ import annotations

import math
import random
from fractions import Fraction

from recipes.pocket.prompt import Prompt
from recipes.pocket.verify import exact, items, number


def _sums(rng: random.Random) -> Prompt:
    a, b, c = rng.randint(12, 980), rng.randint(3, 99), rng.randint(2, 19)
    text, value = rng.choice(
        (
            (f"{a} + {b} * {c}", a + b * c),
            (f"({a} - {b}) * {c}", (a - b) * c),
            (f"{a} - {b} - {c}", a - b - c),
            (f"{a} / {c}", a / c),
            (f"{b}^2 + {c}^2", b * b + c * c),
            (f"{a}.{c} + {b}.5", float(f"{a}.{c}") + b + 0.5),
            (f"{a} × {c}", a * c),
            (f"{b} * {c} - {a} ÷ 4", b * c - a / 4),
        )
    )
    asked = rng.choice(
        ("{}", "What is {}?", "Calculate {}.", "{} = ?", "Work out {} for me", "Evaluate: {}",
         "How much is {}?", "I typed {} into my phone, what should it show?", "Wie viel ist {}?",
         "¿Cuánto es {}?", "Combien font {} ?", "{} 等于多少？")
    )  # fmt: skip
    return Prompt(asked.format(text), ("arithmetic", "expression"), number(value, 1e-4))


def _in_words(rng: random.Random) -> Prompt:
    a, b, c = rng.randint(11, 250), rng.randint(2, 40), rng.randint(2, 9)
    text, value = rng.choice(
        (
            (f"What do you get when you add {a} to {b}?", a + b),
            (f"Subtract {b} from {a}.", a - b),
            (f"Multiply {a} by {b}, then take away {c}.", a * b - c),
            (f"the product of {a} and {b}", a * b),
            (f"What is the difference between {a} and {b * 3}?", abs(a - b * 3)),
            (f"Half of {a * 2} plus a third of {b * 3}?", a + b),
            (f"Take {a}, double it and subtract {b}.", 2 * a - b),
            (f"How often does {c} go into {c * a}?", a),
            (f"{b} squared minus {a}", b * b - a),
            (f"What's the square root of {b * b}?", b),
            (f"If you triple {a} and divide by 4, what comes out?", a * 3 / 4),
            (f"What is {a} plus {b} times {c}?", a + b * c),
            (f"{c} cubed, please", c**3),
            (f"Round {a * 7 / 9:.4f} to the nearest whole number.", round(a * 7 / 9)),
        )
    )
    return Prompt(text, ("arithmetic", "worded"), number(value, 1e-4))


def _percent(rng: random.Random) -> Prompt:
    p, n = rng.choice((5, 8, 10, 12, 15, 20, 25, 30, 40, 60, 75)), rng.randint(2, 90) * 10
    text, value = rng.choice(
        (
            (f"What is {p}% of {n}?", n * p / 100),
            (f"{p} percent of {n}", n * p / 100),
            (f"Increase {n} by {p}%.", n * (100 + p) / 100),
            (f"A {n} euro coat is reduced by {p}%. New price in euros?", n * (100 - p) / 100),
            (f"What percentage of {n} is {n * p / 100:g}?", p),
            (f"I tip {p}% on a bill of {n} dollars. How big is the tip?", n * p / 100),
            (f"{n} people voted and {p}% said yes. How many said yes?", n * p / 100),
            (f"My rent was {n} and rises by {p} percent. What will I pay?", n * (100 + p) / 100),
            (f"Decrease {n} by {p} %", n * (100 - p) / 100),
            (f"Was sind {p}% von {n}?", n * p / 100),
            (f"¿Cuánto es el {p}% de {n}?", n * p / 100),
        )
    )
    return Prompt(text, ("arithmetic", "percentages"), number(value, 1e-4))


def arithmetic(rng: random.Random) -> Prompt:
    """Return a calculation, as an expression, in words, or with percentages."""
    return rng.choice((_sums, _in_words, _percent))(rng)


def _equation(rng: random.Random) -> Prompt:
    x, a, b, c = rng.randint(-9, 15), rng.randint(2, 12), rng.randint(1, 40), rng.randint(1, 5)
    name = rng.choice("xynt")
    text = rng.choice(
        (
            f"{a}{name} + {b} = {a * x + b}",
            f"{a}*{name} - {b} = {a * x - b}",
            f"{a + c}{name} + {b} = {c}{name} + {a * x + b}",
            f"{a}({name} + {b}) = {a * (x + b)}",
            f"{b} - {a}{name} = {b - a * x}",
        )
    )
    asked = rng.choice(
        ("Solve {}.", "Solve for the unknown: {}", "What is {v} if {}?", "Find {v}: {}",
         "{}, so {v} = ?", "For which value of {v} does {} hold?", "Determine {v} such that {}.",
         "Löse die Gleichung {}.", "Résous {}.", "If {}, what must {v} be?")
    )  # fmt: skip
    return Prompt(asked.format(text, v=name), ("algebra", "equation"), number(x))


def _quadratic(rng: random.Random) -> Prompt:
    small, gap = rng.randint(-8, 6), rng.randint(1, 9)
    large = small + gap
    text = f"x^2 {-(small + large):+d}x {small * large:+d} = 0".replace("+0x ", "")
    asked, answer = rng.choice(
        (
            (f"Solve {text} and list the roots in increasing order.", items((small, large))),
            (f"What is the larger root of {text}?", number(large)),
            (f"Give both solutions of {text}, smallest first.", items((small, large))),
            (f"Smallest x with {text}?", number(small)),
            (f"Sum of the roots of {text}", number(small + large)),
        )
    )
    return Prompt(asked, ("algebra", "equation", "quadratic"), answer)


def _integers(rng: random.Random) -> Prompt:
    g, m, n = rng.randint(2, 15), rng.randint(2, 14), rng.randint(2, 14)
    a, b, k = g * m, g * n, rng.randint(20, 200)
    prime = k > 1 and all(k % d for d in range(2, math.isqrt(k) + 1))
    small = rng.randint(3, 9)
    text, answer = rng.choice(
        (
            (f"What is the greatest common divisor of {a} and {b}?", number(math.gcd(a, b))),
            (f"gcd({a}, {b})", number(math.gcd(a, b))),
            (f"Find the least common multiple of {a} and {b}.", number(math.lcm(a, b))),
            (f"lcm of {a} and {b}?", number(math.lcm(a, b))),
            (f"Is {k} a prime number? Answer yes or no.", exact("yes" if prime else "no")),
            (f"What is {small} factorial?", number(math.factorial(small))),
            (f"Compute {small}!", number(math.factorial(small))),
            (f"What is the remainder when {a * 3 + 1} is divided by {g}?", number((a * 3 + 1) % g)),
            (f"{k * 5} mod {small}", number(k * 5 % small)),
            (f"Sum of all whole numbers from 1 to {k}", number(k * (k + 1) // 2)),
            (f"In how many ways can {small} books be put on a shelf?",
             number(math.factorial(small))),
            (f"How many different pairs can be chosen from {small + 5} people?",
             number(math.comb(small + 5, 2))),
            (f"Which number is the largest prime factor of {g * 13}?",
             number(max(_primes(g * 13)))),
        )
    )  # fmt: skip
    return Prompt(text, ("algebra", "integers", "number theory"), answer)


def _primes(n: int) -> list[int]:
    return [p for p in range(2, n + 1) if n % p == 0 and all(p % d for d in range(2, p))]


def _plug_in(rng: random.Random) -> Prompt:
    a, b, x = rng.randint(2, 9), rng.randint(1, 20), rng.randint(-6, 12)
    text, value = rng.choice(
        (
            (f"If x = {x}, what is {a}x + {b}?", a * x + b),
            (f"Evaluate x^2 - {a}x for x = {x}.", x * x - a * x),
            (f"Let f(x) = {a}x^2 + {b}. What is f({x})?", a * x * x + b),
            (f"Given n = {x}, compute {b} - {a}n.", b - a * x),
            (f"y = {a}x - {b}; x is {x}; y?", a * x - b),
            (f"What is the slope of y = {a}x + {b}?", a),
            (f"Two numbers add up to {a + b} and one of them is {a}. What is the other?", b),
            (f"I think of a number, multiply it by {a}, add {b} and get {a * x + b}. Which?", x),
            (f"A line passes through (0, {b}) and ({a}, {b + a * x}). Slope?", x),
        )
    )
    return Prompt(text, ("algebra", "substitution"), number(value))


def algebra(rng: random.Random) -> Prompt:
    """Return a prompt about equations, integers or substitution."""
    return rng.choice((_equation, _quadratic, _integers, _plug_in, _equation))(rng)


def _slope(rng: random.Random) -> Prompt:
    a, b, n, x = rng.randint(2, 9), rng.randint(1, 12), rng.randint(2, 4), rng.randint(-3, 5)
    poly, value = rng.choice(
        (
            (f"{a}x^{n}", a * n * x ** (n - 1)),
            (f"x^{n} + {b}x", n * x ** (n - 1) + b),
            (f"{a}x^2 - {b}x + 7", 2 * a * x - b),
            (f"(x + {a})^2", 2 * (x + a)),
        )
    )
    asked = rng.choice(
        ("What is the derivative of {} at x = {}?", "Differentiate {} and evaluate it at x = {}.",
         "f(x) = {}. Find f'({}).", "Slope of the curve y = {} at x = {}",
         "How steep is the graph of {} where x = {}?", "d/dx of {}, at x={}",
         "Calcule la dérivée de {} en x = {}.", "Rate of change of y = {} when x = {}?")
    )  # fmt: skip
    return Prompt(asked.format(poly, x), ("calculus", "derivative"), number(value, 1e-4))


def _area(rng: random.Random) -> Prompt:
    a, n, top = rng.randint(1, 9), rng.randint(1, 3), rng.randint(1, 6)
    poly = f"{a}x^{n}" if n > 1 else f"{a}x"
    value = float(Fraction(a * top ** (n + 1), n + 1))
    asked = rng.choice(
        (f"Integrate {poly} from 0 to {top}.", f"What is the integral of {poly} from 0 to {top}?",
         f"Area under y = {poly} between x = 0 and x = {top}",
         f"Compute the definite integral of {poly} over [0, {top}].",
         f"∫ {poly} dx from 0 to {top}", f"Integral von {poly} von 0 bis {top}?",
         f"A tap runs at {poly} litres per minute after x minutes. How many litres in the first "
         f"{top} minutes?")
    )  # fmt: skip
    return Prompt(asked, ("calculus", "integral"), number(value, 1e-3))


def _limit(rng: random.Random) -> Prompt:
    a, b, c = rng.randint(2, 12), rng.randint(2, 9), rng.randint(1, 30)
    text, value = rng.choice(
        (
            (f"What is the limit of ({a}x + {c})/({b}x - 1) as x goes to infinity?", a / b),
            (f"limit of (x^2 - {a * a})/(x - {a}) as x approaches {a}", 2 * a),
            (f"lim x->0 of sin({a}x)/x", a),
            (f"To what value does {c} + {a}/n tend for large n?", c),
            (f"Find the minimum value of x^2 - {2 * b}x + {c}.", c - b * b),
            (f"At which x does x^2 - {2 * a}x + {c} reach its minimum?", a),
            (f"Sum of the infinite series 1 + 1/{a} + 1/{a}^2 + ...", a / (a - 1)),
        )
    )
    return Prompt(text, ("calculus", "limit"), number(value, 1e-3))


def calculus(rng: random.Random) -> Prompt:
    """Return a prompt about a derivative, an integral or a limit."""
    return rng.choice((_slope, _area, _limit))(rng)
