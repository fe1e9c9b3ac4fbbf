"""Time a server: 20 short chats, one after another, at temperature 0.

`python -m recipes.llm.ask http://127.0.0.1:8012/v1 smollm2-135m-instruct`, with a server running.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from typing import Any

from recipes.pocket.prompts import numbered

CHATS = 20
SUBSET = "common_knowledge"
MAX_TOKENS = 16


def ask(base_url: str, name: str, prompt: str) -> dict[str, Any]:
    """Return the server's reply to one prompt."""
    system = {"role": "system", "content": "Answer with one word."}
    body = {
        "model": name,
        "messages": [system, {"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
    }
    request = urllib.request.Request(
        f"{base_url}/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as stream:
        reply: dict[str, Any] = json.load(stream)
    return reply


def main(base_url: str, name: str) -> None:
    """Ask once to warm up, then time the chats."""
    prompts = [prompt.query for _, subset, prompt in numbered(0) if subset == SUBSET][: CHATS + 1]
    ask(base_url, name, prompts.pop())
    started = time.monotonic()
    replies = [ask(base_url, name, prompt) for prompt in prompts]
    seconds = time.monotonic() - started
    tokens = sum(reply["usage"]["completion_tokens"] for reply in replies)
    print(f"{len(prompts)} chats, {tokens} tokens out: {seconds:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
