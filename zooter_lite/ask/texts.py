"""Texts in prompts and replies: quoted on their way out, unwrapped on their way in."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

_OPENED = re.compile(  # by a line that begins with it
    r"^[ \t]*(?:<(?:seed:)?think(?:ing)?>|\[THINK\]|◁think▷|<\|begin_of_thought\|>"
    r"|<\|START_THINKING\|>|(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary))",
    re.I | re.M,
)
_CLOSED = re.compile(
    r"</(?:seed:)?think(?:ing)?>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|END_THINKING\|>"
    r"|<\|channel\|>final[^<\n]*(?:<\|constrain\|>\w*)?<\|message\|>",
    re.I,
)
_AHEAD = re.compile(  # thinking only where the response begins with it, since answers hold it too
    r"\s*<(thoughts?|reasoning|reflection|analysis|scratchpad)>(?:.*</\1>|.*)"
    r"|analysis.*assistantfinal",  # of gpt-oss, decoded without its marks
    re.I | re.S,
)
_WRAPPED = re.compile(
    r"(?:<answer>|<\|(?:begin_of_(?:box|solution)|START_RESPONSE)\|>)(.*?)"
    r"(?:</answer>|<\|(?:end_of_(?:box|solution)|END_RESPONSE)\|>)?",
    re.S,
)
_FENCE = re.compile(  # the marks, what stands behind them, and what they hold
    r"^[ \t]*(`{3,})([^`\n]*)\n(.*?)(?:^[ \t]*\1`*[ \t]*$|\Z)", re.M | re.S
)
_ENDING = re.compile(r"(?:<\|(?:return|end|im_end|eot_id|endoftext)\|>|</s>)\s*\Z")


def quoted(name: str, text: str) -> str:
    """Put a text between two lines that it cannot hold itself: they carry its own hash.

    It keeps a text from ending its own quotation. It is no guarantee that an LLM takes
    the text for material: instructions inside may still be followed.
    """
    mark = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
    return f"[{name} {mark} begins]\n{text}\n[{name} {mark} ends]"


def spoken(text: str) -> str:
    """Return what a response says after its thinking: all of it where there is no thinking.

    What stands before the last `</think>`, or another mark that ends thinking, is thinking, and
    so is what follows a mark that begins it and is not closed. A frame of marks such as
    `<answer>` is taken off.

    >>> spoken("<think>Red? No.</think> blue")
    'blue'
    """
    after = text
    for closed in _CLOSED.finditer(text):
        after = text[closed.end() :]
    if ahead := _AHEAD.match(after):
        after = after[ahead.end() :]
    if opened := _OPENED.search(after):
        after = after[: opened.start()]
    after = _ENDING.sub("", after)
    wrapped = _WRAPPED.fullmatch(after.strip())
    after = wrapped[1] if wrapped else after
    return text if after == text else after.strip()


def json_values(text: str) -> Iterator[Any]:
    r"""Yield the JSON lists and objects of what a reply says after its thinking, the last first.

    >>> next(json_values("Sure:\n```json\n[1]\n```"))
    [1]
    """
    said = spoken(text)
    values: list[Any] = []
    decoder, place = json.JSONDecoder(), 0
    while begin := re.compile(r"[\[{]").search(said, place):
        try:
            value, place = decoder.raw_decode(said, begin.start())
            values.append(value)
        except ValueError:
            place = begin.end()
        except RecursionError:
            break
    yield from reversed(values)


def fenced(text: str, languages: tuple[str, ...]) -> str | None:
    r"""Return the last code fence in one of the languages, else the last fence, else None.

    A fence that the text leaves open ends with the text.

    >>> fenced("Here:\n```python\nx = 1\n```\nDone.", ("python",))
    'x = 1\n'
    """
    fences = [(info.split()[:1], body) for _, info, body in _FENCE.findall(text)]
    named = [body for name, body in fences if name and name[0].lower() in languages]
    return next(reversed(named or [body for _, body in fences]), None)


def last_boxed(text: str) -> str | None:
    r"""Return what the last \\boxed{...} of a text holds, or None where none is closed."""
    starts = [match.end() for match in re.finditer(r"\\f?boxed\s*\{", text)]
    depth = 1
    for place in range(starts[-1], len(text)) if starts else ():
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[starts[-1] : place]
    return None
