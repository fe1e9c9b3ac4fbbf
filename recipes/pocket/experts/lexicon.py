"""A dictionary: word forms by rule with a list of exceptions, opposites, synonyms, translation."""

from __future__ import annotations

import difflib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from recipes.pocket.experts.base import DONT_KNOW, quoted, safely, without_small_talk

LANGUAGES = (
    (r"german|deutsch|auf deutsch", 0), (r"spanish|español", 1), (r"french|français", 2),
)  # fmt: skip
FILLER_WORDS = (
    "a an and another answer are be but can do does english even fill for form from give have help "
    "hey hi how i if in into is it know last like me mean meaning means more my never not of on "
    "one only opposite or other past please plural put quick quite right same say simple smart "
    "something spell synonym tense that the there this to translate two usual verb was we what "
    "when which who will with word write yesterday you your today had had't answer briefly "
    "exact brother says kind correct spelling check typo properly comparative contrary antonym "
    "several would here ok so pls thx thanks question just asking friend"
)
FILLER = frozenset(FILLER_WORDS.split())


@lru_cache(maxsize=1)
def _lexicon() -> dict[str, Any]:
    path = Path(__file__).with_name("lexicon.json")
    lexicon: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return lexicon


@safely
def lexicon(prompt: str) -> str:
    """Answer a question about words."""
    prompt = without_small_talk(prompt)
    text = prompt.lower()
    for wording, attempt in (
        (r"translat|german|spanish|french|auf englisch|en anglais|en inglés", _translate),
        (r"plural|more than one|several|one .*, two", _plural),
        (r"past|yesterday|last week|präteritum|happened", _past),
        (r"opposite|antonym|contrary|gegenteil|means the reverse", _opposite),
        (r"synonym|another word|means the same|replacement|the meaning of|same meaning", _synonym),
        (r"spell|typo|correct|right|remember", _spelling),
        (r"comparative|even \.\.\.", _comparative),
    ):
        if re.search(wording, text):
            answer = attempt(prompt)
            if answer is not None:
                return answer
    return DONT_KNOW


def _subject(prompt: str) -> str | None:
    """Return the word that a prompt is about: the quoted one, else what follows a signal word."""
    marked = quoted(prompt)
    if marked:
        return re.sub(r"^to ", "", marked[-1].lower())
    signal = re.search(
        r"(?:plural of|tense of|past of|the verb to|synonym of|synonym:|opposite of|contrary of|"
        r"comparative of|the same as|pluralise:|check:|spelling:|spell) (?:the verb )?([a-z-]{2,})"
        r"|(?:more than|have|today i|not|is not|this one is|^|[.,!:?] )(?: one| a)?\b ?([a-z-]{2,})"
        r"(?:,| but| what| yesterday| is to| ->|\.| two)",
        prompt.lower(),
    )
    word = (signal[1] or signal[2]) if signal else None
    if word and word not in FILLER:
        return word
    words = [w for w in re.findall(r"[a-z-]{2,}", prompt.lower()) if w not in FILLER]
    return words[-1] if words else None


def _plural(prompt: str) -> str | None:
    word = _subject(prompt)
    if word is None:
        return None
    irregular = _lexicon()["plurals"].get(word)
    if irregular:
        return str(irregular)
    if word.endswith("sis"):
        return word[:-2] + "es"
    if re.search(r"(?:s|x|z|ch|sh)$", word):
        return word + "es"
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + "s"


def _past(prompt: str) -> str | None:
    word = _subject(prompt)
    if word is None:
        return None
    irregular = _lexicon()["pasts"].get(word)
    if irregular:
        return str(irregular)
    if word.endswith("e"):
        return word + "d"
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ied"
    if re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", word):
        return word + word[-1] + "ed"
    return word + "ed"


def _opposite(prompt: str) -> str | None:
    word = _subject(prompt)
    table: dict[str, str] = _lexicon()["opposites"]
    if word is None:
        return None
    for known, other in table.items():
        if word in (known, other):
            return other if word == known else known
    prefixes = (("l", "il"), ("r", "ir"), ("m", "im"), ("p", "im"))
    return next((p + word for first, p in prefixes if word.startswith(first)), "un" + word)


def _synonym(prompt: str) -> str | None:
    word = _subject(prompt)
    for known, other in _lexicon()["synonyms"].items():
        if word in (known, other):
            return str(other if word == known else known)
    return None


def _spelling(prompt: str) -> str | None:
    """Return the known word nearest to any unknown word of the prompt."""
    known: list[str] = _lexicon()["spellings"]
    for word in quoted(prompt) + re.findall(r"[a-z]{4,}", prompt.lower()):
        near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.85)
        if near:
            return str(near[0])
    return None


def _comparative(prompt: str) -> str | None:
    word = _subject(re.sub(r"(?:if )?this one is (\w+).*", r"comparative of \1", prompt.lower()))
    if word is None:
        return None
    irregular = _lexicon()["comparatives"].get(word)
    if irregular:
        return str(irregular)
    if len(re.findall(r"[aeiouy]+", word.removesuffix("e"))) > 2:
        return f"more {word}"
    if word.endswith("y"):
        return word[:-1] + "ier"
    if re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", word):
        return word + word[-1] + "er"
    return word.removesuffix("e") + "er"


def _translate(prompt: str) -> str | None:
    """Translate the foreign or English word in a prompt, whichever the lexicon knows."""
    table: dict[str, list[str]] = _lexicon()["translations"]
    text = prompt.lower()
    column = next((c for pattern, c in LANGUAGES if re.search(pattern, text)), None)
    marked = " ".join(quoted(prompt)).lower() or text
    for english, foreign in table.items():
        named = [word.lower() for word in foreign] if column is None else [foreign[column].lower()]
        if any(re.search(rf"\b{re.escape(word)}\b", marked) for word in named) and re.search(
            r"english|englisch|anglais|inglés|mean", text
        ):
            return english
    if column is None:
        return None
    hits = [
        (match.start(), -len(english), english)
        for english in table
        if (match := re.search(rf"\b{re.escape(english.lower())}\b", marked))
    ]
    return table[min(hits)[2]][column] if hits else None
