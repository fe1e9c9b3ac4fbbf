"""Texts in prompts and replies: quoted on their way out, unwrapped on their way in."""

from __future__ import annotations

import hashlib


def quoted(name: str, text: str) -> str:
    """Put a text between two lines that it cannot hold itself: they carry its own hash.

    It keeps a text from ending its own quotation. It is no guarantee that an LLM takes
    the text for material: instructions inside may still be followed.
    """
    mark = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
    return f"[{name} {mark} begins]\n{text}\n[{name} {mark} ends]"


def fenced(text: str, languages: tuple[str, ...]) -> str | None:
    r"""Return the first code fence in one of the languages, else the first fence, else None.

    A fence that the text leaves open ends with the text.

    >>> fenced("Here:\n```python\nx = 1\n```\nDone.", ("python",))
    'x = 1\n'
    """
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
    chosen = [body for name, body in blocks if name in languages] or [body for _, body in blocks]
    return chosen[0] if chosen else None


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
