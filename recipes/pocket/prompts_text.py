"""Prompts about strings, lists and small Python programs."""

from __future__ import annotations

import random
import statistics

from recipes.pocket.prompt import Prompt
from recipes.pocket.verify import Answer, exact, items, number

WORDS = ("planet", "window", "garden", "orange", "silver", "bottle", "thunder", "pencil", "harbor",
         "violin", "engine", "pepper", "castle", "monkey", "forest", "basket", "mirror", "dragon",
         "winter", "butter", "candle", "button", "rocket", "tunnel", "kettle", "sailor", "banana",
         "ladder", "coffee", "strawberry", "mississippi", "committee", "bookkeeper", "parallel",
         "rhythm", "quartz", "onion", "eleven", "lantern", "umbrella")  # fmt: skip
PALINDROMES = ("level", "radar", "rotator", "civic", "kayak", "noon", "refer", "madam", "stats",
               "deified", "racecar", "tenet")  # fmt: skip
SENTENCES = (
    "the quick river runs past old mills", "every good cook tastes the soup twice",
    "a small boat waits near the pier", "nobody reads the manual before lunch",
    "seven tired hikers found a dry cave", "our neighbour paints doors in bright colours",
    "rain fell softly on the tin roof", "my uncle keeps bees behind the barn",
    "the last bus leaves at midnight", "she folded the map and walked north",
    "they grow tall beans along the fence", "old maps show roads that never existed",
)  # fmt: skip
Case = tuple[str, Answer, tuple[str, ...]]


def _one_word(rng: random.Random) -> Case:
    word = rng.choice(WORDS)
    letter = rng.choice(word)
    mirrored = rng.choice((rng.choice(PALINDROMES), word))
    yes_no = exact("yes" if mirrored == mirrored[::-1] else "no")
    count = number(word.count(letter))
    return rng.choice(
        (
            (f"Reverse the word '{word}'.", exact(word[::-1]), ("reverse",)),
            (f"Spell {word} backwards", exact(word[::-1]), ("reverse", "spelling")),
            (f"What does \"{word}\" look like in a mirror, letter by letter from the end?",
             exact(word[::-1]), ("reverse",)),
            (f"How many times does the letter {letter} appear in {word}?", count, ("counting",)),
            (f"Count the letter '{letter}' in '{word}'", count, ("counting",)),
            (f"number of {letter}'s in \"{word}\"?", count, ("counting",)),
            (f"How many letters does the word {word} have?", number(len(word)), ("length",)),
            (f"len('{word}')", number(len(word)), ("length", "python")),
            (f"How many vowels are in '{word}'?", number(sum(word.count(v) for v in "aeiou")),
             ("counting", "vowels")),
            (f"Is '{mirrored}' a palindrome? Say yes or no.", yes_no, ("palindrome",)),
            (f"Does {mirrored} read the same in both directions? yes/no", yes_no, ("palindrome",)),
            (f"Write '{word}' in capital letters.", exact(word), ("case",)),
            (f"What is the third letter of {word}?", exact(word[2]), ("position",)),
            (f"Which letter comes last in the word '{word}'?", exact(word[-1]), ("position",)),
            (f"Put the letters of '{word}' in alphabetical order.", exact("".join(sorted(word))),
             ("sorting",)),
            (f"Remove all vowels from '{word}'.",
             exact("".join(c for c in word if c not in "aeiou")), ("vowels",)),
            (f"Replace every '{letter}' by 'z' in '{word}'.", exact(word.replace(letter, "z")),
             ("replacing",)),
            (f"'{word}'[::-1] gives what?", exact(word[::-1]), ("reverse", "python")),
            (f"Schreibe das Wort '{word}' rückwärts.", exact(word[::-1]), ("reverse", "german")),
            (f"Repeat '{word}' 3 times without spaces", exact(word * 3), ("repetition",)),
        )
    )  # fmt: skip


def _sentence(rng: random.Random) -> Case:
    sentence = rng.choice(SENTENCES)
    words = sentence.split()[: rng.randint(4, 7)]
    text = " ".join(words)
    acronym = "".join(word[0] for word in words)
    return rng.choice(
        (
            (f"How many words are in this sentence: {text}.", number(len(words)), ("counting",)),
            (f"Sort these words alphabetically: {' '.join(words)}", items(sorted(words)),
             ("sorting",)),
            (f"Put in alphabetical order: {', '.join(words)}", items(sorted(words)), ("sorting",)),
            (f"Reverse the order of the words in \"{text}\"", exact(" ".join(words[::-1])),
             ("reverse",)),
            (f"What is the longest word in '{text}'?", exact(max(words, key=len)), ("length",)),
            (f"What's the second word of \"{text}\"?", exact(words[1]), ("position",)),
            (f"Give me the last word of '{text}'", exact(words[-1]), ("position",)),
            (f"Make an acronym from the first letters of: {text}", exact(acronym), ("acronym",)),
            (f"Replace all spaces with dashes: '{text}'", exact(text.replace(" ", "-")),
             ("replacing",)),
            (f"How many characters, spaces included, has '{text}'?", number(len(text)),
             ("length",)),
            (f"Join the words with nothing in between: '{text}'", exact(text.replace(" ", "")),
             ("joining",)),
            (f"Write \"{text}\" in title case", exact(text.title()), ("case",)),
        )
    )  # fmt: skip


def strings(rng: random.Random) -> Prompt:
    """Return a request to look at, count in, or rework a word or a sentence."""
    text, answer, tags = rng.choice((_one_word, _one_word, _sentence))(rng)
    return Prompt(text, ("strings", *tags), answer)


def lists(rng: random.Random) -> Prompt:
    """Return a request about a list of numbers, written as text or as Python."""
    values = [rng.randint(1, 60) for _ in range(rng.randint(4, 8))]
    values[-1] = values[0] if rng.random() < 0.5 else values[-1]
    shown = rng.choice((", ".join(map(str, values)), str(values), " ".join(map(str, values))))
    unique, limit = list(dict.fromkeys(values)), rng.randint(10, 40)
    up, down = items(sorted(values)), items(sorted(values, reverse=True))
    text, answer, tag = rng.choice(
        (
            (f"Sort {shown} in ascending order.", up, "sorting"),
            (f"Arrange from smallest to largest: {shown}", up, "sorting"),
            (f"sorted({values})", up, "sorting"),
            (f"Order these numbers from high to low: {shown}", down, "sorting"),
            (f"Sortiere absteigend: {shown}", down, "sorting"),
            (f"What is the median of {shown}?", number(statistics.median(values)), "median"),
            (f"median: {shown}", number(statistics.median(values)), "median"),
            (f"Find the mean of {shown}", number(sum(values) / len(values), 1e-3), "average"),
            (f"What do {shown} average to?", number(sum(values) / len(values), 1e-3), "average"),
            (f"Add up these numbers: {shown}", number(sum(values)), "sum"),
            (f"My receipts say {shown} euros. What is the total?", number(sum(values)), "sum"),
            (f"sum({values})", number(sum(values)), "sum"),
            (f"Remove the duplicates, keep the order: {shown}", items(unique), "duplicates"),
            (f"Which distinct values occur in {shown}, in order of appearance?", items(unique),
             "duplicates"),
            (f"Largest number in {shown}?", number(max(values)), "maximum"),
            (f"min of {shown}", number(min(values)), "minimum"),
            (f"Reverse the list {values}", items(values[::-1]), "reverse"),
            (f"How many even numbers are in {shown}?", number(sum(v % 2 == 0 for v in values)),
             "counting"),
            (f"Keep only the numbers above {limit}: {shown}",
             items([v for v in values if v > limit] or ["none"]), "filtering"),
            (f"len(set({values}))", number(len(unique)), "duplicates"),
            (f"What is the range (max minus min) of {shown}?", number(max(values) - min(values)),
             "range"),
            (f"Ordena de menor a mayor: {shown}", up, "sorting"),
            (f"How many items does the list {values} have?", number(len(values)), "counting"),
            (f"Double every number: {shown}", items([2 * v for v in values]), "mapping"),
        )
    )  # fmt: skip
    return Prompt(text, ("lists", tag), answer)


def _expressions(rng: random.Random) -> Case:
    a, b, c = rng.randint(2, 30), rng.randint(2, 12), rng.randint(2, 6)
    word = rng.choice(WORDS)
    shown, answer = rng.choice(
        (
            (f"{a} // {b} + {a} % {b}", number(a // b + a % b)),
            (f"{b} ** {c} - {a}", number(b**c - a)),
            (f"sum(range({a}))", number(sum(range(a)))),
            (f"len('{word}') * {c}", number(len(word) * c)),
            (f"'{word}'.replace('{word[0]}', 'k')", exact(word.replace(word[0], "k"))),
            (f"[n * {c} for n in range(4)]", items([n * c for n in range(4)])),
            (f"max({a}, {b}, {c * 7}) - {c}", number(max(a, b, c * 7) - c)),
            (f"'{word}'[1:{c}]", exact(word[1:c])),
            (f"sorted('{word}')[0]", exact(min(word))),
            (f"int('{a}{b}') + {c}", number(int(f"{a}{b}") + c)),
            (f"{a} > {b} and {b} > {c}", exact(str(a > b > c))),
            (f"abs({b} - {a}) * {c}", number(abs(b - a) * c)),
        )
    )  # fmt: skip
    asked = rng.choice(
        ("What does the Python expression {} evaluate to?", "print({}) shows what?",
         "In Python, what is `{}`?", "Evaluate this Python: {}", ">>> {}",
         "What would the interpreter answer to `{}`?", "Was ergibt `{}` in Python?",
         "result of {} in python 3")
    )  # fmt: skip
    return asked.format(shown), answer, ("expression",)


def _programs(rng: random.Random) -> Case:
    a, b, c = rng.randint(3, 25), rng.randint(2, 9), rng.randint(2, 6)
    word = rng.choice(WORDS)
    values = [rng.randint(1, 30) for _ in range(5)]
    shown, answer, tag = rng.choice(
        (
            (f"total = 0\nfor i in range({a}):\n    total += i * {c}\nprint(total)",
             number(sum(range(a)) * c), "loop"),
            (f"x = {a}\ny = x * {b} - {c}\nx = y + 1\nprint(x)", number(a * b - c + 1),
             "variables"),
            (f"def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\nprint(f({b + 3}))",
             number(_fibonacci(b + 3)), "recursion"),
            (f"s = '{word}'\nprint(s[::-1])", exact(word[::-1]), "strings"),
            (f"values = {values}\nprint([v for v in values if v % 2])",
             items([v for v in values if v % 2] or [""]), "lists"),
            (f"n = {a}\nsteps = 0\nwhile n > 1:\n    n = n // 2\n    steps += 1\nprint(steps)",
             number(a.bit_length() - 1), "loop"),
            (f"d = {{'a': {a}, 'b': {b}}}\nd['c'] = d['a'] + d['b']\nprint(d['c'])", number(a + b),
             "dictionary"),
            (f"word = '{word}'\nprint(sum(1 for ch in word if ch in 'aeiou'))",
             number(sum(word.count(v) for v in "aeiou")), "strings"),
            (f"data = sorted({values})\nprint(data[-1] - data[0])",
             number(max(values) - min(values)), "lists"),
            (f"if {a} % {b} == 0:\n    print('even split')\nelse:\n    print({a} % {b})",
             number(a % b) if a % b else exact("even split"), "branch"),
            (f"import math\nprint(math.factorial({c}) + {a})", number(_factorial(c) + a), "import"),
            (f"print('{word}'.upper().count('{word[1].upper()}'))", number(word.count(word[1])),
             "strings"),
        )
    )  # fmt: skip
    asked = rng.choice(
        ("What does this print?\n```python\n{}\n```", "What is the output of this snippet?\n\n{}",
         "Here is my code:\n```\n{}\n```\nWhat will I see on the screen?",
         "predict the output\n{}", "Run this in your head:\n\n{}",
         "Python beginner here, what comes out of\n```py\n{}\n```",
         "Qu'affiche ce programme ?\n```python\n{}\n```")
    )  # fmt: skip
    return asked.format(shown), answer, ("program", tag)


def _fibonacci(n: int) -> int:
    low, high = 0, 1
    for _ in range(n):
        low, high = high, low + high
    return low


def _factorial(n: int) -> int:
    return 1 if n < 2 else n * _factorial(n - 1)


def code(rng: random.Random) -> Prompt:
    """Return a Python expression or program whose result is asked for."""
    text, answer, tags = rng.choice((_expressions, _programs))(rng)
    return Prompt(text, ("python", *tags), answer)
