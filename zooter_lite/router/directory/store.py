"""The router directory, format version 1: written whole or not at all, verified on load.

Nothing in it is unpickled, imported by name, or fetched.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from zooter_lite.errors import DataError, RouterError
from zooter_lite.router.directory.config import CONFIG, STATIC_POOLING, RouterConfig
from zooter_lite.router.estimates import Estimates
from zooter_lite.router.head import Head
from zooter_lite.tags.index import TagIndex
from zooter_lite.untrusted.typed_json import parse_json, typed
from zooter_lite.untrusted.verified import Content, VerifiedFile, promise_of, read_verified

HEAD, TOKENIZER = "head.safetensors", "tokenizer.json"
ESTIMATES = "estimates.safetensors"  # beside the head, so that a router without is still read
GRAPHS = {"fp32": "router.onnx", "int8": "router.int8.onnx", "fp16": "router.fp16.onnx"}
TEXT_GRAPH = "router.text.onnx"
CARD = "README.md"
TAG_FILES = ("tags.json", "tags.faiss")
QUERIES = "queries.json"  # texts of the indexed training queries, where the user kept them


@dataclass(frozen=True)
class RouterFiles:
    """A verified router directory."""

    config: RouterConfig
    head: Head
    tokenizer: str  # content of tokenizer.json
    folder: Path  # where the files that only some questions need are read from later

    def read(self, name: str) -> Content:
        """Return the content of a file that config.json lists; RouterError where it is not that."""
        return read_verified(self.folder / name, self.config.files.get(name))

    def open_graph(self, precision: str) -> VerifiedFile:
        """Open the graph of a precision, to be closed; its sha256 is yet to be checked.

        Raises
        ------
        RouterError
            There is no such precision, or the file is not what config.json promises.
        """
        name = GRAPHS.get(precision)
        if name is None:
            raise RouterError(f"precision {precision!r}: expected fp32, fp16 or int8")
        if precision != "fp32" and name not in self.config.files:
            static = self.config.encoder.pooling == STATIC_POOLING
            advice = (
                "a static router has none" if static else "python -m zooter_lite.export makes it"
            )
            raise RouterError(f"{self.folder}: no {name}; {advice}")
        return VerifiedFile(self.folder / name, self.config.files.get(name))

    @cached_property
    def tags(self) -> TagIndex | None:
        """The tag index, read when first asked for; None for a router without tags.

        Raises
        ------
        RouterError
            Its files changed since the router was loaded, or are not what they should be.
        """
        if TAG_FILES[0] not in self.config.files:
            return None
        tags, index = map(self.read, TAG_FILES)
        with _about(self.folder):
            return TagIndex.from_files(tags, index, self.head.dim, len(self.config.experts))

    @cached_property
    def kept_queries(self) -> list[str] | None:
        """The indexed training queries, read when first asked for; None where not kept.

        Raises
        ------
        RouterError
            As for `tags`.
        """
        if QUERIES not in self.config.files:
            return None
        rows = 0 if self.tags is None else len(self.tags.query_tags)
        content = self.read(QUERIES)
        with _about(self.folder):
            queries = typed(tuple[str, ...], parse_json(QUERIES, content), QUERIES)
            if len(queries) != rows:
                raise RouterError(f"{QUERIES} has {len(queries)} texts for {rows} indexed queries")
        return list(queries)


@contextmanager
def _about(where: object) -> Iterator[None]:
    """Say in errors which router, or which file of it, they are about."""
    try:
        yield
    except KeyError as error:  # a number type that numpy lacks, such as BF16
        raise RouterError(f"{where}: {error} is not float32") from error
    except (RouterError, SafetensorError, ValueError, AttributeError) as error:
        raise RouterError(f"{where}: {error}") from error


def read_router(path: Path) -> RouterFiles:
    """Read and verify a router directory, but for its graphs.

    Raises
    ------
    RouterError
        A missing file, a wrong size or hash, a wrong shape, an unknown version, or a
        file name that leaves the folder.
    """
    folder = _standing(path)
    config = RouterConfig.read(folder)
    later = TAG_FILES if any(name in config.files for name in TAG_FILES) else ()
    for name in (*later, *config.files.keys() & {QUERIES}):
        with VerifiedFile(folder / name, config.files.get(name)) as file:
            file.check()
    head = _read_head(folder, config)
    tokenizer = read_verified(folder / TOKENIZER, config.files.get(TOKENIZER))[:]
    try:
        return RouterFiles(config, head, tokenizer.decode(), folder.absolute())
    except UnicodeDecodeError as error:
        raise RouterError(f"{folder}: tokenizer.json is not UTF-8") from error


def _read_head(folder: Path, config: RouterConfig) -> Head:
    experts, dim = len(config.experts), config.encoder.dim
    content = read_verified(folder / HEAD, config.files.get(HEAD))
    with _about(f"{folder}: {HEAD}"):
        head = Head.from_tensors(load_tensors(content[:]), config.calibration.temperature)
    if (len(head.bias), head.dim) != (experts, dim):
        raise RouterError(
            f"{folder}: the head takes {head.dim} numbers to {len(head.bias)} experts, "
            f"but config.json names {dim} and {experts}"
        )
    if ESTIMATES not in config.files:
        return head
    content = read_verified(folder / ESTIMATES, config.files.get(ESTIMATES))
    with _about(f"{folder}: {ESTIMATES}"):
        estimates = Estimates.from_tensors(load_tensors(content[:]), experts, dim)
        if estimates.nearness is not None and head.prior is None:
            raise ValueError("nearness to tags of a head without tags")
    return replace(head, estimates=estimates)


def write_router(
    path: Path, config: RouterConfig, files: Mapping[str, Content], head: Head
) -> None:
    """Write a router directory; an older router of that name is replaced in one step.

    Parameters
    ----------
    config
        What config.json says; sizes and hashes of the files are added here.
    files
        Content by bare file name; head.safetensors and estimates.safetensors are made from
        `head`.

    Raises
    ------
    DataError
        The place cannot be written, or holds something that is no router.
    """
    check_replaceable(path)
    contents = dict(files) | {HEAD: save_tensors(head.tensors())}
    if head.estimates is not None:
        contents[ESTIMATES] = save_tensors(head.estimates.tensors())
    promises = {name: promise_of(content) for name, content in contents.items()}
    contents[CONFIG] = replace(config, files=promises).to_json().encode()
    with _replaced_folder(path) as folder:
        for name, content in contents.items():
            with (folder / name).open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())


def rewrite_router(path: Path, router: RouterFiles, changed: Mapping[str, bytes]) -> None:
    """Replace some files of a router directory and its config.json, in one step.

    Parameters
    ----------
    router
        As read from `path`, with what is to change in its config.
    changed
        Content of new or changed files by bare file name; the others stay.

    Raises
    ------
    RouterError
        A file that stays is missing or damaged.
    """
    kept = {name: router.read(name) for name in router.config.files if name not in changed}
    write_router(path, router.config, kept | dict(changed), router.head)


def check_replaceable(path: Path) -> None:
    """Raise DataError where `path` exists and is neither a router nor an empty folder."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise DataError(
            f"{path}: exists and is not a folder; expected a router directory or nothing"
        )
    if path.is_dir() and any(path.iterdir()) and not _is_router(path):
        raise DataError(f"{path}: a folder with other files in it; not overwritten")


def _is_router(path: Path) -> bool:
    """Tell a router from other folders with a config.json, such as an encoder's."""
    try:
        config = json.loads((path / CONFIG).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(config, dict) or not isinstance(config.get("files"), dict):
        return False
    ours = {CONFIG, *config["files"]}
    return "format_version" in config and all(file.name in ours for file in path.iterdir())


@contextmanager
def _replaced_folder(path: Path) -> Iterator[Path]:
    """Yield an empty sibling folder that takes the place of `path` when the block ends well.

    Where the system cannot swap two folders, the old one waits beside it for a moment: a
    process that is killed then leaves it there, and `read_router` finds it.
    """
    path = path.absolute()  # "." has no name
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had this number
        partial.mkdir()
        yield partial
        if not path.exists() or not _exchange(partial, path):
            if path.exists():
                shutil.rmtree(_aside(path), ignore_errors=True)
                path.rename(_aside(path))
            partial.rename(path)
        shutil.rmtree(_aside(path), ignore_errors=True)
    except OSError as error:
        raise DataError(f"{path}: cannot write ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _aside(path: Path) -> Path:
    """Return where the old router waits while a new one takes its place."""
    path = path.absolute()
    return path.with_name(f".{path.name}.old")


def _standing(path: Path) -> Path:
    """Return the folder that holds the router of this name."""
    return _aside(path) if not path.exists() and _aside(path).is_dir() else path


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of renameat2(2)
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.renameat2(here, os.fsencode(first), here, os.fsencode(second), swap) == 0)
    return False
