"""Prompts from chats: which text of a list of messages is routed.

A prompt may be plain text; a list of messages as OpenAI (`role`, `content`), Anthropic (parts,
tool results in a user's turn) or ShareGPT (`from`, `value`) write them; an object that holds
such a list as `messages` or `conversations`; a list of content parts; or any of these as JSON in
a text. System prompts, tool results, and what a harness puts into a user's turn are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Context = Literal["last", "user", "all"]

_LISTS = ("messages", "conversations", "conversation", "input")  # keys of an object that holds one
_ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "ai", "bot"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "function_call"), "tool"),
}
_TEXTS = ("text", "input_text", "output_text")  # types of parts that hold text
_SILENT = ("tool_result", "tool_use", "thinking", "redacted_thinking", "refusal", "reasoning")
_INJECTED = re.compile(r"<(system-reminder|environment_details)>.*?</\1>", re.S)
_CHAT = re.compile(r'\s*[\[{]\s*\[?\s*[{"].*"(?:role|from|type)"', re.S)
_OPENING = set("[{ \t\r\n")
MAX_CHAT = 10**7  # characters of a text that is looked at as JSON


@dataclass(frozen=True)
class Prompt:
    """What is routed of a prompt."""

    text: str  # "" where there is none
    unread: int = 0  # parts that are no text, such as images, in the turns that were taken


@dataclass(frozen=True)
class _Turn:
    role: str
    text: str
    unread: int


def prompt_of(value: Any, context: Context = "last") -> Prompt:
    """Return what is routed of a prompt in any of the shapes above.

    Parameters
    ----------
    value
        The prompt; None is an empty one.
    context
        "last" takes the last turn of the user that has text; "user" all of the user's turns;
        "all" those of user and assistant.

    Raises
    ------
    ValueError
        It is neither text nor a chat, or a chat without any text of a user.

    Examples
    --------
    >>> prompt_of([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
    Prompt(text='Hi', unread=0)
    """
    if value is None:
        return Prompt("")
    if isinstance(value, str):
        chat = _chat_in(value)
        if chat is None:
            return Prompt(value)
        value = chat
    roles = ("user", "assistant") if context == "all" else ("user",)
    spoken = [turn for turn in _turns(value) if turn.role in roles and turn.text]
    if not any(turn.role == "user" for turn in spoken):
        raise ValueError("a chat without any text of a user")
    if context == "last":
        spoken = spoken[-1:]
    text = "\n\n".join(turn.text for turn in spoken)
    return Prompt(text, sum(turn.unread for turn in spoken))


def nested(values: Mapping[str, Any], path: str) -> Any:
    """Return what an object has under a key, or a dotted path of keys; KeyError for nothing."""
    if path in values:
        return values[path]
    found: Any = values
    for key in path.split("."):
        if not isinstance(found, Mapping) or key not in found:
            raise KeyError(path)
        found = found[key]
    return found


def _chat_in(text: str) -> Any:
    """Return the chat that a text holds as JSON; None for any other text."""
    if text[:1] not in _OPENING or len(text) > MAX_CHAT or not _CHAT.match(text):
        return None
    try:
        value = json.loads(text)
        return value if _turns(value) else None
    except (ValueError, RecursionError):
        return None


def _turns(value: Any) -> list[_Turn]:
    if isinstance(value, Mapping):
        for key in _LISTS:
            if isinstance(value.get(key), list):
                return _turns(value[key])
        value = [value]
    if isinstance(value, list) and not value:
        raise ValueError("expected text or a list of messages, found an empty list")
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not len(value):
        raise ValueError(f"expected text or a list of messages, found {type(value).__name__}")
    if not all(isinstance(one, Mapping) for one in value):
        raise ValueError("expected text or a list of messages, found another list")
    if all("role" not in one and "from" not in one and "type" in one for one in value):
        return [_turn("user", value)]
    return [_message(one) for one in value]


def _message(message: Mapping[str, Any]) -> _Turn:
    named = message.get("role", message.get("from"))
    if named is None and message.get("type") in ("function_call", "function_call_output"):
        named = "tool"
    role = _ROLES.get(str(named).lower())
    if role is None:
        raise ValueError(f"a message of the role {named!r}; expected user, assistant, system, tool")
    content = message.get("content", message.get("value"))
    return _turn("tool" if message.get("isMeta") else role, content)


def _turn(role: str, content: Any) -> _Turn:
    if isinstance(content, Mapping):
        content = content.get("parts", [content])
    parts = content if isinstance(content, list) else [content]
    texts, unread = [], 0
    for part in parts:
        if part is None:
            continue
        kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
        text = part.get("text") if isinstance(part, Mapping) else part
        if kind in _TEXTS and isinstance(text, str):
            texts.append(text)
        elif kind not in _SILENT:
            unread += 1
    text = "\n".join(texts)
    if "<" in text:
        text = _INJECTED.sub("", text)
    return _Turn(role, text.strip() if text.isspace() else text, unread)
