"""The router directory, format version 1: written whole or not at all, verified on load.

Nothing in it is unpickled, imported by name, or fetched.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from zooter_lite.errors import DataError, RouterError
from zooter_lite.router.directory.config import CONFIG, RouterConfig
from zooter_lite.router.head import Head
from zooter_lite.tags.index import TagIndex, parse_json
from zooter_lite.untrusted.verified import VerifiedFile, check_file, map_file, promise_of, read_file

HEAD, TOKENIZER = "head.safetensors", "tokenizer.json"
GRAPHS = {"fp32": "router.onnx", "int8": "router.int8.onnx"}
TEXT_GRAPH = "router.text.onnx"
CARD = "README.md"
TAG_FILES = ("tags.json", "tags.faiss")
QUERIES = "queries.json"  # texts of the indexed training queries, where the user kept them


@dataclass(frozen=True)
class RouterFiles:
    """A verified router directory, in memory.

    Attributes
    ----------
    config
        The content of config.json.
    head
        The head's arrays.
    graphs
        The graphs that were asked for, by precision; their sha256 is yet to be checked.
    tokenizer
        Content of tokenizer.json.
    folder
        Where the files that only some questions need are read from later.
    """

    config: RouterConfig
    head: Head
    graphs: dict[str, VerifiedFile]
    tokenizer: str
    folder: Path

    @cached_property
    def tags(self) -> TagIndex | None:
        """The tag index, read when first asked for; None for a router without tags.

        Raises
        ------
        RouterError
            Its files changed since the router was loaded, or are not what they should be.
        """
        listed = self.config.files
        if TAG_FILES[0] not in listed:
            return None
        tags, index = (map_file(self.folder / name, listed[name]) for name in TAG_FILES)
        try:
            return TagIndex.from_files(tags, index, self.head.dim, len(self.config.experts))
        except RouterError as error:
            raise RouterError(f"{self.folder}: {error}") from error

    @cached_property
    def kept_queries(self) -> list[str] | None:
        """The indexed training queries, read when first asked for; None where not kept.

        Raises
        ------
        RouterError
            As for `tags`.
        """
        listed = self.config.files
        if QUERIES not in listed:
            return None
        rows = 0 if self.tags is None else len(self.tags.query_tags)
        content = map_file(self.folder / QUERIES, listed[QUERIES])
        try:
            queries = parse_json(QUERIES, content)
        except RouterError as error:
            raise RouterError(f"{self.folder}: {error}") from error
        if not isinstance(queries, list) or not all(isinstance(q, str) for q in queries):
            raise RouterError(f"{self.folder}: {QUERIES} is not a list of texts")
        if len(queries) != rows:
            raise RouterError(
                f"{self.folder}: {QUERIES} has {len(queries)} texts for {rows} indexed queries"
            )
        return queries


def write_router(path: Path, config: RouterConfig, files: dict[str, bytes], head: Head) -> None:
    """Write a router directory; an older router of that name is replaced in one step.

    Parameters
    ----------
    config
        What config.json says; sizes and hashes of the files are added here.
    files
        Content by bare file name; head.safetensors is made from `head`.

    Raises
    ------
    DataError
        The place cannot be written, or holds something that is no router.
    """
    check_replaceable(path)
    contents = dict(files)
    contents[HEAD] = save_tensors(head.tensors())
    promises = {name: promise_of(content) for name, content in contents.items()}
    contents[CONFIG] = replace(config, files=promises).to_json().encode()
    with _replaced_folder(path) as folder:
        for name, content in contents.items():
            with (folder / name).open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())


def rewrite_router(
    path: Path,
    config: RouterConfig,
    changed: dict[str, bytes],
    edit_card: Callable[[str], str],
) -> None:
    """Replace some files of a router directory and its config.json, in one step.

    Parameters
    ----------
    config
        As read, with what is to change.
    changed
        Content of new or changed files by bare file name; the others stay.
    edit_card
        Makes the new model card of the old one.

    Raises
    ------
    RouterError
        A file that stays is missing or damaged.
    """
    listed = config.files
    files = {name: read_file(path / name, listed[name]) for name in listed if name not in changed}
    head = Head.from_tensors(load_tensors(files.pop(HEAD)), config.calibration.temperature)
    if CARD in files:
        files[CARD] = edit_card(files[CARD].decode("utf-8", "replace")).encode()
    write_router(path, config, files | changed, head)


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
    """Yield an empty sibling folder that takes the place of `path` when the block ends well."""
    path = path.absolute()  # "." has no name
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had this number
        partial.mkdir()
        yield partial
        if path.exists() and not _exchange(partial, path):
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.rename(old)
            partial.rename(path)
            shutil.rmtree(old, ignore_errors=True)
        elif not path.exists():
            partial.rename(path)
    except OSError as error:
        raise DataError(f"{path}: cannot write ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of renameat2(2)
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.renameat2(here, os.fsencode(first), here, os.fsencode(second), swap) == 0)
    return False


def read_router(path: Path, precisions: Sequence[str] = ("fp32",)) -> RouterFiles:
    """Read and verify a router directory.

    Raises
    ------
    RouterError
        A missing file, a wrong size or hash, a wrong shape, an unknown version, or a
        file name that leaves the folder.
    """
    config = RouterConfig.read(path)
    graphs = _graphs(path, config, precisions)
    contents = _verified_contents(path, config)
    experts, dim = config.experts, config.encoder.dim
    try:
        head = Head.from_tensors(load_tensors(contents[HEAD]), config.calibration.temperature)
    except KeyError as error:  # a number type that numpy lacks, such as BF16
        raise RouterError(f"{path}: head.safetensors: {error} is not float32") from error
    except (SafetensorError, ValueError, AttributeError) as error:
        raise RouterError(f"{path}: head.safetensors: {error}") from error
    if (len(head.bias), head.dim) != (len(experts), dim):
        raise RouterError(
            f"{path}: the head takes {head.dim} numbers to {len(head.bias)} experts, "
            f"but config.json names {dim} and {len(experts)}"
        )
    try:
        tokenizer = contents[TOKENIZER].decode("utf-8")
    except UnicodeDecodeError as error:
        raise RouterError(f"{path}: tokenizer.json is not UTF-8") from error
    return RouterFiles(config, head, graphs, tokenizer, path.absolute())


def _graphs(path: Path, config: RouterConfig, precisions: Sequence[str]) -> dict[str, VerifiedFile]:
    listed = config.files
    for precision in precisions:
        if precision not in GRAPHS:
            raise RouterError(f"precision {precision!r}: expected fp32, int8 or auto")
        if precision != "fp32" and GRAPHS[precision] not in listed:
            raise RouterError(
                f"{path}: no {GRAPHS[precision]}; python -m zooter_lite.export makes it"
            )
    return {
        precision: VerifiedFile(path / GRAPHS[precision], listed.get(GRAPHS[precision]))
        for precision in precisions
    }


def _verified_contents(path: Path, config: RouterConfig) -> dict[str, bytes]:
    """Check every file that is ever read; return the content of those that routing needs."""
    listed = config.files
    later = TAG_FILES if any(name in listed for name in TAG_FILES) else ()
    for name in (*later, *(name for name in (QUERIES,) if name in listed)):
        check_file(path / name, listed.get(name))
    return {name: read_file(path / name, listed.get(name)) for name in (HEAD, TOKENIZER)}
