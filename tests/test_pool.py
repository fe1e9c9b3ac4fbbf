"""The pool file: what is read, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from zooter_lite.ask.pool import Expert, read_pool
from zooter_lite.errors import DataError

SERVER = '[[expert]]\nname = "a"\nbase_url = "http://127.0.0.1:8000/v1"\nmodel = "m"\n'
FUNCTION = '[[expert]]\nname = "f"\ncallable = "math:sqrt"\n'
SECRET = "sk-planted-0123456789"


def pool_of(tmp_path: Path, text: str) -> list[Expert]:
    path = tmp_path / "experts.toml"
    path.write_text(text, "utf-8")
    return read_pool(str(path))


def test_every_field_is_read(tmp_path: Path) -> None:
    pool = pool_of(
        tmp_path,
        SERVER + 'api_key_env = "A_KEY"\nsystem = "Be brief."\n'
        'sampling = { temperature = 0, max_tokens = 10, stop = ["\\n"] }\n'
        "price_input = 1\nprice_output = 2.5\nrequests_per_minute = 30\n"
        "concurrency = 3\ntimeout = 4\nattempts = 5\n" + FUNCTION,
    )
    assert pool == [
        Expert(
            "a", "http://127.0.0.1:8000/v1", "m", "A_KEY", "", "Be brief.",
            {"temperature": 0, "max_tokens": 10, "stop": ["\n"]}, 1, 2.5, 30, 3, 4, 5,
        ),
        Expert("f", callable="math:sqrt"),
    ]  # fmt: skip


def test_the_fingerprint_is_of_what_decides_the_answers() -> None:
    base = Expert("a", "http://x/v1", "m", system="s", sampling={"seed": 1, "top_p": 0.5})
    same = Expert(
        "b", "http://y/v1", "m", "KEY", "", "s", {"top_p": 0.5, "seed": 1}, 1, 2, 3, 4, 5, 6
    )
    assert base.fingerprint == same.fingerprint
    others = [
        Expert("a", "http://x/v1", "n", system="s", sampling=base.sampling),
        Expert("a", "http://x/v1", "m", system="t", sampling=base.sampling),
        Expert("a", "http://x/v1", "m", system="s", sampling={"seed": 2, "top_p": 0.5}),
        Expert("a", callable="m:s"),
    ]
    assert len({e.fingerprint for e in [base, *others]}) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"experts\.toml: no \[\[expert\]\]"),
        (SERVER + SERVER, "two experts have the name 'a'"),
        ("[[expert]]\nbase_url = 'http://x'\nmodel = 'm'\n", "expert 1: no name"),
        (SERVER + "modell = 'x'\n", r"expert 1 \(a\): unknown field 'modell'; expected name, base"),
        (SERVER + f"api_key = '{SECRET}'\n", "api_key_env names the variable that holds it"),
        (SERVER + f"api_key_env = '{SECRET}'\n", "api_key_env is not the name of an environment"),
        (SERVER + "concurrency = 'many'\n", "concurrency is of type str, expected int"),
        (SERVER + "concurrency = 0\n", "concurrency is 0, expected 1 to 1000"),
        (SERVER + "sampling = { n = 2 }\n", "sampling holds 'n', which is not its to set"),
        (SERVER + "sampling = { max_tokens = 0 }\n", "max_tokens is 0, expected a positive"),
        (SERVER + "sampling = { x = 2020-01-01 }\n", "sampling cannot be sent as JSON"),
        (SERVER + 'callable = "a:b"\n', "either base_url and model, or callable"),
        (SERVER.replace("/v1", "/v1 "), "base_url is not of the form"),
        (SERVER.replace("/v1", f"/v1?key={SECRET}"), "what follows a '.' in a table of its own"),
        (SERVER + f'headers = {{ api-key = "{SECRET}" }}\n', "'api-key' seems to hold a key"),
        (SERVER + f'headers = {{ x = "Bearer {SECRET}" }}\n', "'x' seems to hold a key"),
        (SERVER + 'headers = { api-key = "${azure_key}" }\n', r"variable \(in capital letters\)"),
        (SERVER + "query = { a = 1 }\n", "'a' is not a text of one line in ASCII"),
        ("[[expert]]\nname = 'a'\ncallable = 'math.sqrt'\n", "expected 'module:function'"),
        (FUNCTION + "system = 'x'\n", "system has no meaning for a callable"),
        ("[[expert]]\nname = 'a'\nbase_url = 'http://x/v1'\n", "no model"),
        (
            f"[[expert]]\nname = 'a'\nmodel='m'\nbase_url = 'http://u:{SECRET}@x/v1'\n",
            "a key stands in the variable that api_key_env names",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        pool_of(tmp_path, text)
    assert "experts.toml" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_annotated_example_is_a_pool() -> None:
    pool = read_pool(str(ROOT / "recipes/collect/experts.toml"))
    assert [expert.name for expert in pool] == [
        "qwen-7b", "smollm-tuned", "gemma", "hosted", "calculator"
    ]  # fmt: skip
    assert len({expert.fingerprint for expert in pool}) == 5
