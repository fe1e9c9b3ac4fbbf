"""Text and list manipulation: one table of wordings for texts, one for lists of numbers."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable

from recipes.pocket.experts.base import DONT_KNOW, QUOTED, numbers, quoted, safely, shown

TextWork = Callable[[str, str], str]
ListWork = Callable[[list[float], str], list[float] | float]
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


def _letter(prompt: str) -> str | None:
    """Return the single letter that a prompt asks about."""
    match = re.search(
        r"letters? ['\"]?([a-z])['\"]?\b|\b([a-z])'s\b|every '([a-z])'|count the ([a-z]) ", prompt
    )
    return next((group for group in match.groups() if group), None) if match else None


def _count(text: str, prompt: str) -> str:
    letter = _letter(prompt)
    if letter:
        return str(text.lower().count(letter))
    if "vowel" in prompt:
        return str(sum(text.lower().count(vowel) for vowel in "aeiou"))
    if "word" in prompt and " " in text:
        return str(len(text.split()))
    return str(len(text)) if "character" in prompt else str(sum(c.isalpha() for c in text))


def _replace(text: str, prompt: str) -> str:
    names = {"spaces": " ", "dashes": "-", "underscores": "_", "commas": ","}
    named = sorted((prompt.find(name), mark) for name, mark in names.items() if name in prompt)
    marks = [mark for _, mark in named]
    singles = re.findall(r"'(\S)'|\"(\S)\"", prompt)
    marks = marks or ["".join(pair) for pair in singles]
    return text.replace(marks[0], marks[1]) if len(marks) > 1 else text


def _pick(text: str, prompt: str) -> str:
    parts = text.split() if " " in text else list(text)
    if "last" in prompt:
        return parts[-1]
    return parts[next(i for i, ordinal in enumerate(ORDINALS) if ordinal in prompt)]


def _sort(text: str, prompt: str) -> str:
    parts = re.split(r"[,\s]+", text.strip()) if re.search(r"[,\s]", text.strip()) else list(text)
    joined = ", " if len(max(parts, key=len)) > 1 else ""
    return joined.join(sorted(parts, key=str.lower, reverse="descending" in prompt))


def _reverse(text: str, prompt: str) -> str:
    by_word = " " in text and "word" in prompt
    return " ".join(text.split()[::-1]) if by_word else text[::-1]


def _palindrome(text: str, prompt: str) -> str:
    letters = [c for c in text.lower() if c.isalnum()]
    return "yes" if letters == letters[::-1] else "no"


TEXT_WORK: tuple[tuple[str, TextWork], ...] = (
    (r"palindrome|same in both directions|same backwards", _palindrome),
    (r"how many|count|numbe?r of|length|len\(|wie oft|wie viele", _count),
    (r"replace|swap|substitute", _replace),
    (r"remove .*vowel|without vowel", lambda t, p: re.sub("[aeiouAEIOU]", "", t)),
    (r"alphabetical|sort", _sort),
    (r"acronym|first letters|initials", lambda t, p: "".join(w[0] for w in t.split())),
    (r"revers|backward|mirror|rückwärts|right to left|\[::-1\]", _reverse),
    (r"capital letters|upper|mayúsculas|shout", lambda t, p: t.upper()),
    (r"lower ?case|small letters", lambda t, p: t.lower()),
    (r"title case|capitali[sz]e", lambda t, p: t.title()),
    (r"longest", lambda t, p: max(re.findall(r"\w+", t), key=len)),
    (r"last|" + "|".join(ORDINALS), _pick),
    (r"join|nothing in between|without spaces", lambda t, p: t.replace(" ", "")),
    (r"repeat", lambda t, p: t * min(int((*numbers(p), 2)[0]), 10)),
)


def _wanted(test: Callable[[float], bool]) -> ListWork:
    """Keep, or where the prompt asks how many, count the values that pass a test."""

    def work(values: list[float], prompt: str) -> list[float] | float:
        kept = [value for value in values if test(value)]
        return len(kept) if "how many" in prompt else kept

    return work


def _above(values: list[float], prompt: str) -> list[float] | float:
    limit, *rest = values
    return [value for value in rest if value > limit]


LIST_WORK: tuple[tuple[str, ListWork], ...] = (
    (r"\brange\b.*max|max.* minus .*min", lambda v, p: max(v) - min(v)),
    (r"duplicate|distinct|unique|set\(", lambda v, p: _unique(v, p)),
    (r"\beven\b", _wanted(lambda value: value % 2 == 0)),
    (r"\bodd\b", _wanted(lambda value: value % 2 == 1)),
    (r"above|greater than|bigger than", _above),
    (r"descending|high to low|largest to smallest|absteigend|decreasing",
     lambda v, p: sorted(v, reverse=True)),
    (r"sort|ascending|smallest to largest|low to high|increasing|menor a mayor|aufsteigend",
     lambda v, p: sorted(v)),
    (r"median|middle", lambda v, p: statistics.median(v)),
    (r"\bmean\b|average", lambda v, p: statistics.mean(v)),
    (r"\bsum\b|total|add up|summe", lambda v, p: sum(v)),
    (r"largest|\bmax|biggest|highest", lambda v, p: max(v)),
    (r"smallest|\bmin\b|minimum|lowest", lambda v, p: min(v)),
    (r"revers", lambda v, p: v[::-1]),
    (r"how many|len\(|count", lambda v, p: len(v)),
)  # fmt: skip


def _unique(values: list[float], prompt: str) -> list[float] | float:
    unique = list(dict.fromkeys(values))
    return len(unique) if re.search(r"how many|len\(", prompt) else unique


@safely
def strings_lists(prompt: str) -> str:
    """Answer a request to look at, count in, or rework a text or a list of numbers."""
    text = prompt.lower()
    values = _list(prompt)
    if len(values) > 2:
        for wording, list_work in LIST_WORK:
            if re.search(wording, text):
                result = list_work(values, text)
                return shown(result) if isinstance(result, (int, float)) else _joined(result)
    subject = _subject(prompt)
    if subject:
        request = text.replace(subject.lower(), " ")
        for wording, text_work in TEXT_WORK:
            if re.search(wording, request):
                return text_work(subject, request)
    return DONT_KNOW


def _joined(values: list[float]) -> str:
    return ", ".join(map(shown, values)) or "none"


def _list(prompt: str) -> list[float]:
    """Return the longest run of listed numbers in a prompt."""
    runs = re.findall(r"-?\d+(?:\.\d+)?(?:(?:, ?| and | und | )-?\d+(?:\.\d+)?)+", prompt)
    limit = re.findall(r"(?:above|greater than|bigger than) (\d+)", prompt)
    run = max(runs, key=len, default="")
    return [float(value) for value in limit] + numbers(run.replace(",", " "))


def _subject(prompt: str) -> str | None:
    """Return the text to work on: the longest quote, what follows a colon, or a named word."""
    marked = quoted(prompt)
    if marked:
        return max(marked, key=len)
    colon = re.search(r": *([^:\n]{4,}?)[.?!]?\s*(?:\n|$)", prompt)
    if colon and not QUOTED.search(prompt):
        return colon[1]
    named = re.search(r"\b(?:word|spell|in|of|is|does)(?: the word)? ([a-z]{4,})\b", prompt.lower())
    return named[1] if named and named[1] not in ("this", "that", "these", "word") else None
