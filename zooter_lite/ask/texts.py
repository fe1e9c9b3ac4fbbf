"""Texts in prompts and replies: quoted on their way out, unwrapped on their way in."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

_THOUGHT = re.compile(  # opened and closed by these marks, one of each line
    r"\s*(?:<(?P<tag>think|thinking|thought|thoughts|reasoning|reflection)>|(?P<magistral>\[THINK\])"
    r"|(?P<kimi>◁think▷)|(?P<harmony>(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)))",
    re.I,
)
_CLOSED = {"magistral": "[/THINK]", "kimi": "◁/think▷", "harmony": "<|channel|>final<|message|>"}
_HARMONY_END = re.compile(r"<\|(?:return|end)\|>\s*\Z")


def quoted(name: str, text: str) -> str:
    """Put a text between two lines that it cannot hold itself: they carry its own hash.

    It keeps a text from ending its own quotation. It is no guarantee that an LLM takes
    the text for material: instructions inside may still be followed.
    """
    mark = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
    return f"[{name} {mark} begins]\n{text}\n[{name} {mark} ends]"


def spoken(text: str) -> str:
    """Return what a response says after its thinking: all of it where there is no thinking.

    What stands before the last `</think>` is thinking, and so is what stands before the end
    of another mark of the kind that the response begins with. Thinking that never ends leaves
    nothing to say.

    >>> spoken("<think>Red? No.</think> blue")
    'blue'
    """
    _, closed, after = text.rpartition("</think>")
    if closed:
        return after.strip()
    opened = _THOUGHT.match(text)
    if opened is None:
        return _HARMONY_END.sub("", text.removeprefix(_CLOSED["harmony"]))
    kind = str(opened.lastgroup)
    mark = f"</{opened['tag']}>" if kind == "tag" else _CLOSED[kind]
    after = text[text.rindex(mark) + len(mark) :] if mark in text else ""
    return _HARMONY_END.sub("", after).strip()


def json_values(text: str) -> Iterator[Any]:
    r"""Yield the JSON values that a reply may mean, the likeliest first.

    The whole of what it says after its thinking; the code fences, the last first; the lists
    and objects amid prose, the last first.

    >>> next(json_values("Sure:\n```json\n[1]\n```"))
    [1]
    """
    said = spoken(text)
    for part in (said, *reversed(_fences(said, ("json", "")))):
        try:
            yield json.loads(part)
        except (ValueError, RecursionError):
            continue
    found: list[Any] = []
    decoder, place = json.JSONDecoder(), 0
    while begin := re.compile(r"[\[{]").search(said, place):
        try:
            value, place = decoder.raw_decode(said, begin.start())
            found.append(value)
        except ValueError:
            place = begin.end()
        except RecursionError:
            break
    yield from reversed(found)


def fenced(text: str, languages: tuple[str, ...]) -> str | None:
    r"""Return the last code fence in one of the languages, else the last fence, else None.

    A fence that the text leaves open ends with the text.

    >>> fenced("Here:\n```python\nx = 1\n```\nDone.", ("python",))
    'x = 1\n'
    """
    chosen = _fences(text, languages) or _fences(text)
    return chosen[-1] if chosen else None


def _fences(text: str, languages: tuple[str, ...] | None = None) -> list[str]:
    """List the code fences of a text, of the languages where they are given."""
    blocks: list[tuple[str, str]] = []
    language: str | None = None
    opened, body = 3, ""
    for line in text.splitlines(keepends=True):
        mark = line.strip()
        info = mark.lstrip("`")
        ticks = len(mark) - len(info)
        if language is None and ticks >= 3 and "`" not in info:
            language, opened, body = " ".join(info.split()[:1]).lower(), ticks, ""
        elif language is not None and ticks >= opened and not info:
            blocks.append((language, body))
            language = None
        elif language is not None:
            body += line
    if language is not None:
        blocks.append((language, body))
    return [body for name, body in blocks if languages is None or name in languages]


def last_boxed(text: str) -> str | None:
    r"""Return what the last \\boxed{...} of a text holds, or None where none is closed."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len("\\boxed{")
    for place in range(begin - 1, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[begin:place]
    return None
