"""Prompts about vocabulary, translation and facts, from the word lists in words.json."""

from __future__ import annotations

import json
import random
from functools import lru_cache
from pathlib import Path

from recipes.pocket.prompt import Prompt
from recipes.pocket.verify import Answer, exact, number, one_of

SMALL_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
LANGUAGES = {"de": "German", "es": "Spanish", "fr": "French"}
Pairs = list[list[str]]


@lru_cache(maxsize=1)
def _words() -> dict[str, Pairs]:
    path = Path(__file__).with_name("words.json")
    words: dict[str, Pairs] = json.loads(path.read_text(encoding="utf-8"))
    return words


def _ask(rng: random.Random, phrasings: tuple[str, ...], *words: str) -> str:
    return rng.choice(phrasings).format(*words)


PLURAL = ("What is the plural of {0}?", "plural of '{0}'", "One {0}, two ...?",
          "How do you write more than one {0}?", "Give the plural form of \"{0}\".",
          "I have one {0}. If I had several, I would have several what?",
          "Pluralise: {0}", "Wie lautet der englische Plural von '{0}'?")  # fmt: skip
PAST = ("What is the past tense of {0}?", "Today I {0}, yesterday I ...?", "simple past of '{0}'",
        "Past tense of the verb to {0}", "Put the verb \"{0}\" into the past.",
        "How do I say '{0}' when it happened last week?", "{0} -> past form",
        "Was ist das Präteritum von 'to {0}' auf Englisch?")  # fmt: skip
OPPOSITE = ("What is the opposite of {0}?", "antonym of '{0}'", "{0} is to its opposite as ... ?",
            "Give me a word that means the reverse of \"{0}\".", "Not {0} but quite the contrary?",
            "If something is not {0}, what is it? One word, the usual opposite.",
            "Which word is the contrary of {0}?")  # fmt: skip
SYNONYM = ("Give a synonym of {0}.", "Another word for '{0}'?", "What word means the same as {0}?",
           "I've used \"{0}\" three times in this essay. A replacement?", "synonym: {0}",
           "Find one word with the meaning of '{0}'.")  # fmt: skip
SPELLING = ("Which spelling is right: {0} or {1}?", "Correct the spelling: {0}",
            "Is it '{1}' or '{0}'? I can never remember.", "Fix the typo in \"{0}\".",
            "spell check: {0}", "How do you spell {0} properly?")  # fmt: skip
COMPARE = ("What is the comparative of {0}?", "{0}, ... , the most. Fill in the middle.",
           "comparative form of '{0}'", "This one is {0}, the other is even ... what?")  # fmt: skip


def dictionary(rng: random.Random) -> Prompt:
    """Return a question about the form, the meaning or the spelling of an English word."""
    kind, phrasings = rng.choice(
        (("plural", PLURAL), ("past tense", PAST), ("opposites", OPPOSITE), ("synonyms", SYNONYM),
         ("spelling", SPELLING), ("comparative", COMPARE), ("plural", PLURAL), ("past tense", PAST))
    )  # fmt: skip
    word, *accepted = rng.choice(_words()[kind])
    return Prompt(_ask(rng, phrasings, word, accepted[0]), ("vocabulary", kind), one_of(*accepted))


def translation(rng: random.Random) -> Prompt:
    """Return a word or short phrase to put into or out of German, Spanish or French."""
    english, *foreign = rng.choice(_words()["translations"])
    code, other = rng.choice(list(zip(LANGUAGES, foreign, strict=True)))
    language = LANGUAGES[code]
    outward = (
        "How do you say '{0}' in {2}?", "Translate \"{0}\" into {2}.", "{2} for {0}?",
        "What is the {2} word for {0}?", "{0} in {2}, please",
        "I'm writing a postcard in {2} and need the word for {0}.", "en -> {2}: {0}",
        "My {2} teacher wants to know the translation of \"{0}\".",
    )  # fmt: skip
    inward = (
        "What does the {2} word '{1}' mean in English?", "Translate '{1}' from {2} to English.",
        "{1} ({2}) = ? in English", "A sign in a {2} shop says \"{1}\". What is that in English?",
        "Meaning of {1} ({2})", "English for the {2} '{1}'?",
    )  # fmt: skip
    tags = ("translation", language.lower())
    if rng.random() < 0.55:
        accepted = [part.strip() for part in other.split("|")]
        return Prompt(_ask(rng, outward, english, accepted[0], language), tags, one_of(*accepted))
    shown = other.split("|")[0].strip()
    return Prompt(_ask(rng, inward, english, shown, language), tags, exact(english))


CAPITAL = ("What is the capital of {0}?", "capital city of {0}", "{0}'s capital?",
           "Which city is the seat of government and capital of {0}?",
           "I'm flying to {0} and want to see the capital. Which city is that?",
           "Wie heißt die Hauptstadt von {0}?", "¿Cuál es la capital de {0}?",
           "Name the capital of {0}.")  # fmt: skip
COUNTRY = ("{1} is the capital of which country?", "Of which country is {1} the capital?",
           "In what country would I be if I stood in its capital, {1}?")  # fmt: skip
SYMBOL = ("What is the chemical symbol of {0}?", "symbol for {0}", "How is {0} abbreviated in the "
          "periodic table?", "Which letters stand for the element {0}?", "{0}: its symbol?",
          )  # fmt: skip
ELEMENT = ("Which element has the symbol {1}?", "What element is {1} in the periodic table?",
           "The chemical symbol {1} stands for what?")  # fmt: skip
CURRENCY = ("What currency is used in {0}?", "Which money do people pay with in {0}?",
            "currency of {0}?", "If I shop in {0}, what is the currency called?")  # fmt: skip
FACTS = {
    "capitals": (CAPITAL, COUNTRY), "elements": (SYMBOL, ELEMENT), "currencies": (CURRENCY,),
}  # fmt: skip


def _roman(value: int) -> str:
    steps = ((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"),
             (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))  # fmt: skip
    text = ""
    for step, letters in steps:
        count, value = divmod(value, step)
        text += letters * count
    return text


def _number_words(value: int) -> str:
    small, tens = SMALL_NUMBERS.split(), TENS.split()
    if value < 20:
        return small[value]
    if value < 100:
        rest = f"-{small[value % 10]}" if value % 10 else ""
        return tens[value // 10 - 2] + rest
    rest = f" and {_number_words(value % 100)}" if value % 100 else ""
    return f"{small[value // 100]} hundred{rest}"


def _numerals(rng: random.Random) -> Prompt:
    value = rng.choice((rng.randint(4, 99), rng.randint(100, 999), rng.randint(1000, 2100)))
    below = value % 1000 or 7
    roman, words = _roman(value), _number_words(below)
    text, answer, tag = rng.choice(
        (
            (f"Write {value} as a Roman numeral.", exact(roman), "roman numerals"),
            (f"{value} in roman numerals", exact(roman), "roman numerals"),
            (f"What number is {roman}?", number(value), "roman numerals"),
            (f"The clock tower says {roman}. Which year or number is that?", number(value),
             "roman numerals"),
            (f"Write the number {below} in English words.",
             one_of(words, words.replace(" and ", " ")), "number words"),
            (f"How do you spell out {below}?", one_of(words, words.replace(" and ", " ")),
             "number words"),
            (f"Write '{words}' in digits", number(below), "number words"),
            (f"{words} as a number?", number(below), "number words"),
            (f"What is {value} in binary?", exact(f"{value:b}"), "binary"),
            (f"Convert the binary number {below:b} to decimal.", number(below), "binary"),
            (f"{below} in hexadecimal", one_of(f"{below:x}", f"0x{below:x}"), "hexadecimal"),
        )
    )  # fmt: skip
    return Prompt(text, ("facts", "numbers", tag), answer)


def facts(rng: random.Random) -> Prompt:
    """Return a question about countries, elements, currencies, numerals, or a general fact."""
    kind = rng.choice(("capitals", "capitals", "elements", "currencies", "general", "numerals"))
    if kind == "numerals":
        return _numerals(rng)
    if kind == "general":
        question, *accepted = rng.choice(_words()["general"])
        return Prompt(question, ("facts", "general knowledge"), one_of(*accepted))
    phrasings = rng.choice(FACTS[kind])
    key, value, *others = rng.choice(_words()[kind])
    answer: Answer = exact(key) if phrasings in (COUNTRY, ELEMENT) else one_of(value, *others)
    return Prompt(_ask(rng, phrasings, key, value), ("facts", kind), answer)
