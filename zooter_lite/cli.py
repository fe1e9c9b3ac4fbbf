"""What every command shares: options from a dataclass, logging, one-line errors.

argparse-dataclass reads real annotations, so a command module must not use
``from __future__ import annotations``, and an optional number is written ``Optional[int]``.
"""

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import MISSING, field
from pathlib import Path
from typing import Any, Optional, TypeVar

from argparse_dataclass import ArgumentParser
from tqdm import tqdm

from zooter_lite.errors import DataError, ZooterError

Options = TypeVar("Options")


def option(
    default: Any = MISSING,
    *,
    help: str,
    metavar: str | None = None,
    choices: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> Any:
    """One field of an options dataclass, with the help text argparse shows.

    `names` replaces the name --FIELD: ("-k", "--neighbours"), or ("query",) for an
    argument told by its place.
    """
    plain = default is True or default in (MISSING, None, "", False)  # True makes it --no-x
    text = help if plain else f"{help} (default: {default})"
    given = {"metavar": metavar, "choices": choices, "args": names}
    metadata = {name: value for name, value in given.items() if value is not None}
    return field(default=default, metadata={"help": text.replace("%", "%%"), **metadata})


def separator_option() -> Any:
    """Option of every command that reads CSV."""
    return option(
        "", help="between the cells of CSV: a character, or tab (default: told by the file)"
    )


def cache_option() -> Any:
    """Return the option --cache, which several commands have."""
    return option(
        "",
        help="cache of embeddings (default: $ZOOTER_CACHE or ~/.cache/zooter-lite)",
        metavar="DIR",
    )


def check_range(name: str, value: Optional[float], low: float, high: float) -> None:
    """Raise DataError where a value lies outside `low` to `high`; None passes."""
    if value is not None and not low <= value <= high:
        first, last = (f"{end:g}" if isinstance(end, float) else end for end in (low, high))
        raise DataError(f"{name} {value}: expected a number from {first} to {last}")


def check_out(path: str, suffixes: tuple[str, ...]) -> None:
    """Raise DataError where a file to write has another suffix, or its folder is missing."""
    if not path.lower().endswith(suffixes):
        raise DataError(f"{path}: expected a name ending in {', '.join(suffixes)}")
    if not Path(path).absolute().parent.is_dir():
        raise DataError(f"{path}: no such folder")


def cache_folder(text: str) -> Path:
    """Folder of the embeddings that `cache_option` was given."""
    from zooter_lite.encode.cache import default_cache

    return Path(text) if text else default_cache()


def bar(total: Optional[int], label: str) -> AbstractContextManager[Any]:
    """Show a progress bar on stderr in a terminal or a notebook, elsewhere nothing."""
    hidden = False if "ipykernel" in sys.modules else None  # None: unless it is a terminal
    progress: AbstractContextManager[Any] = tqdm(
        total=total, desc=label, disable=hidden, file=sys.stderr, leave=False
    )
    return progress


def parse(
    options_class: type[Options], command: str, description: str, argv: Sequence[str] | None
) -> Options:
    """Parse the command line into the frozen dataclass `options_class`."""
    parser = ArgumentParser(
        options_class,
        prog=f"python -m zooter_lite.{command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parsed: Options = parser.parse_args(None if argv is None else list(argv))
    return parsed


def as_command(command: str, given: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    """Write the command line that sets the options that are not at their default."""
    words = ["python", "-m", f"zooter_lite.{command}"]
    for key, value in given.items():
        name = key.replace("_", "-")
        if value == defaults.get(key):
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", str(value)]
    return shlex.join(words)


def run(
    options_class: type[Options],
    main: Callable[[Options], None],
    command: str,
    description: str,
    argv: Sequence[str] | None = None,
) -> int:
    """Run one command and return its exit code.

    0 when it did its work, 2 for an error the user can put right (one line on
    stderr), 130 when interrupted. Any other exception is a bug and keeps its traceback.
    """
    options = parse(options_class, command, description, argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    for chatty in ("httpx", "httpx2", "sentence_transformers", "datasets", "faiss"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        main(options)
        sys.stdout.flush()
    except ZooterError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0
