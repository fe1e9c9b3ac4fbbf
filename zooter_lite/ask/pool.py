"""The pool file: which LLMs there are, how to reach each, and what it costs and may be asked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zooter_lite.errors import DataError
from zooter_lite.files.toml import check_names, from_table, number, read_toml, tables_of

VARIABLE = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)\}")  # in a value of `query` or `headers`
_SECRET = re.compile("key|token|secret|auth|passw|signature|^sig$|cookie|credential", re.I)
_KEY = re.compile(r"(?:sk|gsk|hf|xai|pk)[-_]\S{8}|(?:bearer|basic)\s+\S", re.I)
_LIMITS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True)
class Expert:
    """One `[[expert]]` of a pool file.

    Attributes
    ----------
    name
        Name of the expert: the <expert> of the columns reward:<expert>.
    base_url, model
        Where an OpenAI-compatible server listens, such as http://127.0.0.1:8000/v1, and
        the name that it gives the model.
    api_key_env
        Name of the environment variable that holds the key; empty where none is needed.
    callable
        "module:function" of a Python function from prompt to answer, instead of a server.
        It is called from `concurrency` threads.
    system
        System prompt; empty sends none.
    sampling
        What else the request holds, such as temperature, max_tokens, seed, stop.
    price_input, price_output
        Price of a million input and output tokens, in one currency for the whole pool.
    requests_per_minute
        Calls that are begun in a minute at most, evenly spread; 0 is no limit.
    concurrency
        Calls at a time.
    timeout
        Seconds after which a call counts as failed.
    attempts
        Calls for one query before it is given up.
    query, headers
        What every request to the server carries besides, such as query = { api-version =
        "2024-06-01" }; "${NAME}" in a value stands for an environment variable that holds a key.
    context_window
        Tokens of a prompt that the model takes at most; 0 where not known.
    """

    name: str
    base_url: str = ""
    model: str = ""
    api_key_env: str = ""
    callable: str = ""
    system: str = ""
    sampling: dict[str, Any] = field(default_factory=dict)
    price_input: float = number(0.0, 0, 1e9)
    price_output: float = number(0.0, 0, 1e9)
    requests_per_minute: float = number(0.0, 0, 1e9)
    concurrency: int = number(8, 1, 1000)
    timeout: float = number(120.0, 1e-3, 1e6)
    attempts: int = number(6, 1, 1000)
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    context_window: int = number(0, 0, 10**9)

    @property
    def fingerprint(self) -> str:
        """Hash of what decides the answers: model, system prompt, sampling or callable."""
        content = [self.model, self.callable, self.system, self.sampling]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        """Price of a call with so many tokens."""
        return (tokens_in * self.price_input + tokens_out * self.price_output) / 1e6

    @property
    def max_tokens(self) -> int | None:
        """Tokens of an answer at most; None where the pool file does not say."""
        return max((int(self.sampling[n]) for n in _LIMITS if n in self.sampling), default=None)


def read_pool(path: str) -> list[Expert]:
    """Read a pool file; DataErrors name the expert, its field, and what was expected there."""
    return experts_of(read_toml(path), path)


def experts_of(content: Mapping[str, Any], path: str) -> list[Expert]:
    """Read the `[[expert]]` tables of parsed TOML; `path` is named by the errors."""
    tables = tables_of(content, "expert", path)
    pool = [_expert(table, f"{path}, expert {place}") for place, table in enumerate(tables, 1)]
    check_names([expert.name for expert in pool], "expert", path)
    return pool


def _expert(table: Mapping[str, Any], where: str) -> Expert:
    name = table.get("name")
    if isinstance(name, str) and name:
        where = f"{where} ({name})"
    expert = from_table(Expert, table, where)
    if not expert.name.strip() or not expert.name.isprintable():
        raise DataError(f"{where}: name is {expert.name!r}, expected a name")
    if bool(expert.callable) == bool(expert.base_url):
        raise DataError(f"{where}: expected either base_url and model, or callable")
    (_check_callable if expert.callable else _check_server)(expert, where)
    return expert


def _check_callable(expert: Expert, where: str) -> None:
    if not re.fullmatch(r"[\w.]+:\w+", expert.callable):
        raise DataError(f"{where}: callable is {expert.callable!r}, expected 'module:function'")
    texts = ("model", "query", "headers", "api_key_env", "system", "sampling")
    for name in (*texts, "price_input", "price_output"):
        if getattr(expert, name):
            raise DataError(f"{where}: {name} has no meaning for a callable")


def _check_server(expert: Expert, where: str) -> None:
    # what is refused here may hold a key, so it is not shown
    if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", expert.base_url):
        raise DataError(
            f"{where}: base_url is not of the form http(s)://HOST:PORT/v1; a key stands in the "
            "variable that api_key_env names, and what follows a '?' in a table of its own, such "
            'as query = { api-version = "2024-06-01" }'
        )
    if not re.fullmatch("|[A-Z_][A-Z0-9_]*", expert.api_key_env):
        raise DataError(
            f"{where}: api_key_env is not the name of an environment variable "
            "(expected capital letters, digits and _)"
        )
    for name, text in (*expert.query.items(), *expert.headers.items()):
        if not isinstance(text, str) or not (name + text).isascii() or not text.isprintable():
            raise DataError(f"{where}: {name!r} is not a text of one line in ASCII")
        plain = VARIABLE.sub("", text)
        secret = plain == text and _SECRET.search(name)
        if secret or _KEY.search(plain) or "${" in plain:
            raise DataError(
                f"{where}: {name!r} seems to hold a key; write "
                '"${NAME}", the environment variable (in capital letters) that holds it'
            )
    if not expert.model:
        raise DataError(f"{where}: no model")
    for name in ("model", "messages", "stream", "n"):
        if name in expert.sampling:
            raise DataError(f"{where}: sampling holds {name!r}, which is not its to set")
    for name in _LIMITS:
        limit = expert.sampling.get(name, 1)
        if type(limit) is not int or limit < 1:
            raise DataError(f"{where}: {name} is {limit!r}, expected a positive whole number")
    try:
        json.dumps(expert.sampling, allow_nan=False)
    except (TypeError, ValueError) as error:  # TOML has dates and infinity
        raise DataError(f"{where}: sampling cannot be sent as JSON ({error})") from error
