"""The one data type that every prompt generator returns, and the small talk around prompts."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace

from recipes.pocket.verify import Answer

OPENERS = (
    "Hi! ", "Hello there, ", "Quick question: ", "Hey, ", "Could you help me? ", "Homework time. ",
    "I keep getting this wrong. ", "My teacher asked: ", "For a quiz tonight: ", "Sorry to bother "
    "you again. ", "ok so ", "Asking for a friend: ", "I'm on the train with no signal later, so "
    "please be quick. ", "My 2 cats walked over the keyboard, anyway: ", "It is late and I've had "
    "3 coffees. ", "Second attempt, the first 5 apps failed me. ", "pls help. ", "Trivia night, "
    "table 7! ",
)  # fmt: skip
CLOSERS = (
    " Thanks!", " Just the answer, please.", " Only the result.", " Thx", " No explanation needed.",
    " I need it for page 12 of my notes.", " Please be exact.", " Answer briefly.",
    " My brother says he knows, but I doubt it.", " (this is question 3 of 10)",
)  # fmt: skip
TYPOS = {
    "What": "Waht", "what is": "waht is", "How many": "How mnay", "Convert": "Covnert",
    "convert": "conver",
    "Reverse": "Revrese", "letters": "leters", "letter": "lettre", "between": "betwen",
    "derivative": "derivitive", "number": "numbr", "capital": "captial", "plural": "plurral",
    "percent": "precent", "Calculate": "Calcualte", "opposite": "oposite", "tense": "tence",
    "Which": "Wich", "Solve": "Slove", "weekday": "weekdy", "translate": "tranlsate",
}  # fmt: skip


@dataclass(frozen=True)
class Prompt:
    """One prompt, the tags that describe it, and how to tell a right answer."""

    query: str
    tags: tuple[str, ...]
    answer: Answer


def chatty(prompt: Prompt, rng: random.Random) -> Prompt:
    """Sometimes wrap a prompt in small talk, a distraction, or careless typing."""
    query = prompt.query
    roll = rng.random()
    if roll < 0.16:
        query = rng.choice(OPENERS) + query
    elif roll < 0.28:
        query = _close(query, rng.choice(CLOSERS))
    elif roll < 0.33:
        query = _close(rng.choice(OPENERS) + query, rng.choice(CLOSERS))
    elif roll < 0.39:
        query = _with_typo(query, rng)
    return replace(prompt, query=query)


def _close(query: str, closer: str) -> str:
    """Append a closing remark, on a line of its own where the query has no final mark."""
    return query + closer if query[-1] in ".?!" else f"{query}\n{closer.strip()}"


def _with_typo(query: str, rng: random.Random) -> str:
    """Misspell one of the common words that a query contains."""
    known = [word for word in TYPOS if re.search(rf"\b{word}\b", query)]
    if not known:
        return query.lower() if query[:5] in ("What ", "Which") else query
    word = rng.choice(known)
    return re.sub(rf"\b{word}\b", TYPOS[word], query, count=1)
