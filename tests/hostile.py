"""Hundreds of hostile router directories, made of one toy router, always the same ones.

Their author controls everything: where a file is changed, config.json promises the changed
one, unless the case is about that promise.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from tests.helpers import (
    TOY_DECISIONS,
    edit_config,
    replace_file,
    toy_estimates,
    toy_head,
    toy_router,
)
from tests.hostile_graphs import GRAPHS
from tests.hostile_tokenizers import TOKENIZERS
from zooter_lite.router.directory.config import Parities, Parity

FILES = (
    "estimates.safetensors", "head.safetensors", "queries.json", "router.int8.onnx", "router.onnx",
    "tags.faiss", "tags.json", "tokenizer.json",
)  # fmt: skip
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**63, 10**400, 0.5, float("nan"), float("inf"), "", "x\n\x1b[2J",
    "\ud800", [], [[]], {}, {"int8": []}, "../../etc/passwd",
)  # fmt: skip
PLACES = (
    "format_version", "experts", "experts.0", "encoder", "encoder.dim", "encoder.max_length",
    "training", "training.mean_rewards", "training.mean_rewards.1", "calibration",
    "calibration.temperature", "parity", "parity.int8", "parity.int8.queries", "decisions",
    "decisions.default", "decisions.points", "decisions.points.0.name",
    "decisions.points.1.cost_weight", "decisions.points.3.expert",
    "decisions.curve.1.cost_weight", "files", "files.router#onnx",
    "files.tokenizer#json.bytes", "files.tags#faiss.sha256",
)  # fmt: skip
NAMES = (
    "../x", "/etc/passwd", "C:\\x", "..", "", "\ud800", "a\nb", "x" * 10_000,
    "\x1b]0;title\x07",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One hostile directory: its attack class, what is special, and how it is made of a copy."""

    kind: str
    name: str
    apply: Callable[[Path], object]


def base_router(path: Path) -> None:
    """Write the valid router that every case starts from: all files, two graphs."""
    parity = Parities(int8=Parity())
    head = toy_estimates(toy_head("prior"))
    toy_router(path, head, parity=parity, decisions=TOY_DECISIONS)
    replace_file(path, "queries.json", json.dumps([f"query {i}" for i in range(12)]).encode())
    replace_file(path, "router.int8.onnx", (path / "router.onnx").read_bytes())


def cases() -> list[Case]:
    """Every case, in an order that mixes the classes."""
    found = [
        *_flips(),
        *_cuts(),
        *_swaps(),
        *_configs(),
        *_paths(),
        *_heads(),
        *_json_files(),
        *(Case("graph", name, _both(edit)) for name, edit in GRAPHS.items()),
        *(Case("tokenizer", name, _tokenizer(edit)) for name, edit in TOKENIZERS.items()),
    ]
    random.Random(0).shuffle(found)
    return found


def _both(edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        changed = edit((path / "router.onnx").read_bytes())
        replace_file(path, "router.onnx", changed)
        replace_file(path, "router.int8.onnx", changed)

    return apply


def _tokenizer(edit: Callable[[dict[str, Any]], bytes]) -> Any:
    return _edited("tokenizer.json", lambda content: edit(json.loads(content)))


def _edited(name: str, edit: Callable[[bytes], bytes], *, promised: bool = True) -> Any:
    def apply(path: Path) -> None:
        changed = edit((path / name).read_bytes())
        if promised:
            replace_file(path, name, changed)
        else:
            (path / name).write_bytes(changed)

    return apply


def _flips() -> Iterator[Case]:
    def flip(seed: int) -> Callable[[bytes], bytes]:
        def edit(content: bytes) -> bytes:
            dice = random.Random(seed)
            changed = bytearray(content)
            for _ in range(1 + seed % 3):
                changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
            return bytes(changed)

        return edit

    for name in FILES:
        for seed in range(6):
            yield Case("flip promised", f"{name} {seed}", _edited(name, flip(seed)))
    for name in (*FILES, "config.json"):
        for seed in range(2 if name != "config.json" else 8):
            yield Case("flip", f"{name} {seed}", _edited(name, flip(seed), promised=False))


def _cuts() -> Iterator[Case]:
    def cut(part: float) -> Callable[[bytes], bytes]:
        return lambda content: content[: int(part * len(content))]

    for name in FILES:
        for tenth in (0, 1, 9):
            edit = cut(tenth / 10)
            yield Case("truncation promised", f"{name} {tenth}", _edited(name, edit))
        yield Case("truncation promised", f"{name} -1", _edited(name, lambda c: c[:-1]))
        yield Case("truncation promised", f"{name} +1", _edited(name, lambda c: c + b"\0"))
        yield Case("truncation", name, _edited(name, cut(0.7), promised=False))
    for tenth in (0, 5, 9):
        apply = _edited("config.json", cut(tenth / 10), promised=False)
        yield Case("truncation", f"config.json {tenth}", apply)


def _swaps() -> Iterator[Case]:
    def swap(first: str, second: str) -> Callable[[Path], None]:
        return lambda path: replace_file(path, first, (path / second).read_bytes())

    for first, second in permutations((*FILES, "config.json"), 2):
        if first != "config.json":
            yield Case("swap", f"{second} as {first}", swap(first, second))


def _configs() -> Iterator[Case]:
    def put(place: str, value: Any) -> Callable[[Path], None]:
        *outer, last = [part.replace("#", ".") for part in place.split(".")]

        def edit(config: dict[str, Any]) -> None:
            target: Any = config
            for part in outer:
                target = target[int(part) if part.isdigit() else part]
            target[int(last) if last.isdigit() else last] = value

        return lambda path: edit_config(path, edit)

    def text(content: bytes) -> Callable[[Path], None]:
        return _edited("config.json", lambda _: content, promised=False)  # type: ignore[no-any-return]

    for shift, place in enumerate(PLACES):
        for number in range(shift % 4, len(ODD), 4):  # every value, each at some of the places
            yield Case("config", f"{place} {number}", put(place, ODD[number]))
    whole = {
        "nested": b"[" * 200_000,
        "nested objects": b'{"a":' * 200_000,
        "digits": b'{"format_version":' + b"9" * 100_000 + b"}",
        "twice": b'{"format_version":1,"format_version":1}',
        "other coding": "{}".encode("utf-16"),
        "large": b'{"":[' + b"[]," * 3_000_000 + b"0]}",
    }
    for name, content in whole.items():
        yield Case("config", name, text(content))


def _paths() -> Iterator[Case]:
    def list_name(name: str) -> Callable[[Path], None]:
        promise = {"bytes": 1, "sha256": "0" * 64}
        return lambda path: edit_config(path, lambda c: c["files"].update({name: promise}))

    def link(name: str, target: str) -> Callable[[Path], None]:
        def apply(path: Path) -> None:
            (path / name).unlink()
            (path / name).symlink_to(target)

        return apply

    def pipe(name: str) -> Callable[[Path], None]:
        def apply(path: Path) -> None:
            (path / name).unlink()
            os.mkfifo(path / name)

        return apply

    def sparse(name: str, size: int) -> Callable[[Path], None]:
        def apply(path: Path) -> None:
            os.truncate(path / name, size)
            if name != "config.json":
                edit_config(path, lambda config: config["files"][name].update(bytes=size))

        return apply

    for number, name in enumerate(NAMES):
        yield Case("path", f"listed {number}", list_name(name))
    targets = ("/dev/zero", "/etc/passwd", "../canary", ".", "/proc/self/mem", "/dev/stdin")
    for name in (*FILES, "config.json"):
        for target in targets if name in ("router.onnx", "config.json") else targets[:1]:
            yield Case("path", f"{name} -> {target}", link(name, target))
        yield Case("path", f"{name} -> itself", link(name, name))
        yield Case("path", f"{name} a pipe", pipe(name))
        yield Case("path", f"{name} of a terabyte", sparse(name, 2**40))


def _heads() -> Iterator[Case]:
    good = toy_head("prior").tensors()
    names = sorted(good)

    def tensors(changed: dict[str, Any]) -> Callable[[Path], None]:
        return lambda path: replace_file(path, "head.safetensors", save(changed))

    def raw(header: bytes, size: int | None = None, body: bytes = b"\0" * 64) -> Any:
        length = (len(header) if size is None else size).to_bytes(8, "little")
        return lambda path: replace_file(path, "head.safetensors", length + header + body)

    for name in names:
        for odd in (np.nan, np.inf, 1e38, -1e38):
            changed = good | {name: np.full_like(good[name], odd)}
            yield Case("head", f"{name} {odd}", tensors(changed))
        yield Case("head", f"no {name}", tensors({n: good[n] for n in names if n != name}))
        yield Case("head", f"{name} float64", tensors(good | {name: good[name].astype("f8")}))
        yield Case("head", f"{name} twice as wide", tensors(good | {name: np.tile(good[name], 2)}))
        yield Case("head", f"{name} empty", tensors(good | {name: good[name][:0]}))
        yield Case(
            "head", f"{name} one number", tensors(good | {name: np.ones(1, dtype=np.float32)})
        )
    for size in (0, 2**31, 2**64 - 1):
        yield Case("head", f"header of {size}", raw(b"{}", size))
    for dtype, shape, offsets in (
        ("F32", [2**62, 4], [0, 64]), ("BF16", [16], [0, 32]), ("F32", [16], [0, 10**30]),
    ):  # fmt: skip
        entry = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        header = json.dumps({"weight": entry, "bias": entry}).encode()
        yield Case("head", f"{dtype} {shape} {offsets}", raw(header))
    yield Case("head", "nested header", raw(b"[" * 100_000))


def _json_files() -> Iterator[Case]:
    def put(name: str, key: str, value: Any) -> Callable[[Path], None]:
        def edit(content: bytes) -> bytes:
            return json.dumps(json.loads(content) | {key: value}).encode()

        return _edited(name, edit)  # type: ignore[no-any-return]

    keys = ("names", "support", "mean_rewards", "query_tags", "index", "observed")
    for key in keys:
        odd = (*ODD[:4], [[-1]] * 12, [[2**70]] * 12, [["a"]] * 12, "abcd")
        for number, value in enumerate(odd):
            yield Case("tags", f"{key} {number}", put("tags.json", key, value))
    for name in ("tags.json", "queries.json"):
        for number, content in enumerate(
            (
                b"[" * 100_000,
                b"[]",
                b"{}",
                b"null",
                b"[" + b"[]," * 9_000_000 + b"0]",
                b'"\\ud800"',
                b'["\\ud800"' + b',"\\u0000"' * 11 + b"]",
                b"[1,2,3,4,5,6,7,8,9,10,11,12]",
            )
        ):
            yield Case("tags", f"{name} {number}", _edited(name, lambda _, c=content: c))  # type: ignore[misc]
