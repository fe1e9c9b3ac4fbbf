"""What the pocket experts share: the interface, and reading numbers and quotes out of a prompt."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps

Expert = Callable[[str], str]
DONT_KNOW = "I don't know."
MAX_PROMPT = 2_000
MAX_RESPONSE = 200

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w)")
QUOTED = re.compile(r"'([^'\n]+)'|\"([^\"\n]+)\"|“([^”\n]+)”|`([^`\n]+)`")
SMALL_TALK = re.compile(
    r"^(?:hi|hello|hello there|hey|thanks|thx|pls help|quick question)\b.?$|\b(?:answer briefly|"
    r"(?:just|only) the (?:answer|result)|explanation|be exact|be quick|sorry|homework)\b|\(this",
    re.IGNORECASE,
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def safely(expert: Expert) -> Expert:
    """Wrap an expert so that it always returns a short text and never raises.

    Prompts are arbitrary text and the libraries underneath raise almost anything on it; to a
    router, an expert that fails is an expert that does not know.
    """

    @wraps(expert)
    def answer(prompt: str) -> str:
        try:
            response = expert(prompt[:MAX_PROMPT]).strip()
        except Exception:
            return DONT_KNOW
        return response[:MAX_RESPONSE] or DONT_KNOW

    return answer


def numbers(text: str) -> list[float]:
    """Return the numbers that stand free in a text, in order.

    >>> numbers("7 of 12.5 in x2")
    [7.0, 12.5]
    """
    return [float(found) for found in NUMBER.findall(text)]


def shown(value: float) -> str:
    """Write a number without needless decimals.

    >>> shown(4.0), shown(1 / 3)
    ('4', '0.333333')
    """
    return str(int(value)) if value == int(value) else f"{value:.6f}".rstrip("0")


def quoted(text: str) -> list[str]:
    """Return what stands between quotation marks, without apostrophes inside words."""
    cleaned = re.sub(r"(?<=\w)'(?=\w)", "’", text)
    return ["".join(groups) for groups in QUOTED.findall(cleaned)]


def without_small_talk(text: str) -> str:
    """Drop greetings, thanks and remarks on how to answer.

    >>> without_small_talk("Hi! What is 2 + 2? Thanks!")
    'What is 2 + 2?'
    """
    parts = re.split(r"(?<=[.!?:,])\s+|\n+", text.strip())
    kept = [part for part in parts if not SMALL_TALK.search(part)]
    return " ".join(kept) if kept else text


def last_sentence(text: str) -> str:
    """Return the last sentence of a text that asks something, or the whole text."""
    parts = [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]
    asked = [part for part in parts if part.endswith("?")]
    return (asked or [text])[-1]
