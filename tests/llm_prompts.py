"""What a test reads out of the prompts that an LLM server got."""

from __future__ import annotations

import re
from typing import Any


def prompt_of(request: dict[str, Any]) -> str:
    """Last message of a request."""
    return str(request["messages"][-1]["content"])


def quoted_texts(prompt: str) -> dict[str, str]:
    """Texts between marks, by the name that the marks give."""
    found = re.findall(r"\[(\w+) (\w{16}) begins\]\n(.*?)\n\[\1 \2 ends\]", prompt, re.S)
    return {name: text for name, _, text in found}
