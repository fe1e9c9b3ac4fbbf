"""config.json of a router directory: read, and checked before anything else is opened."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zooter_lite.errors import RouterError
from zooter_lite.untrusted.verified import open_plain

FORMAT_VERSION = 1
CONFIG = "config.json"
MAX_NAME = 1000  # characters of an expert's name
MAX_LENGTH = 65_536  # tokens


@dataclass(frozen=True)
class EncoderSpec:
    """The encoder of a router.

    Attributes
    ----------
    name
        As the user gave it, or the folder's name.
    sha256
        Over the names and contents of the encoder's files.
    dim, max_length
        Length of the embedding; tokens after which a query is truncated.
    pooling
        Pooling mode as sentence-transformers names it; "static" for a static encoder.
    normalise
        Always true: the graph returns unit vectors.
    prompt
        Text before every query, such as "query: "; tokenizer.json adds it.
    """

    name: str = ""
    sha256: str = ""
    dim: int = 0
    max_length: int = 0
    pooling: str = ""
    normalise: bool = True
    prompt: str = ""


def read_config(path: Path) -> dict[str, Any]:
    """Read config.json of the router directory `path`.

    Raises
    ------
    RouterError
        With what is missing, unknown or out of its range.
    """
    if not path.is_dir():
        raise RouterError(f"{path}: no such router directory")
    try:
        with open_plain(path / CONFIG) as stream:
            config = json.loads(stream.read().decode("utf-8"), object_pairs_hook=_object)
    except FileNotFoundError as error:
        raise RouterError(f"{path}: no {CONFIG}; expected a router directory") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RouterError(f"{path}: {CONFIG} cannot be read ({error})") from error
    if not isinstance(config, dict) or "format_version" not in config:
        raise RouterError(f"{path}: {CONFIG} names no format_version")
    if config["format_version"] != FORMAT_VERSION:
        raise RouterError(
            f"{path}: format_version {_shown(config['format_version'])}, "
            f"but this release reads {FORMAT_VERSION}"
        )
    problem = _problem(config)
    if problem:
        raise RouterError(f"{path}: {CONFIG}: {problem}")
    return config


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that has a key twice: readers differ in which one counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _shown(value: object) -> str:
    """Return a value for a message, which stays one short line whatever it is."""
    try:
        return repr(value)[:80]
    except (ValueError, RecursionError):  # of numbers of thousands of digits, and nesting
        return f"some {type(value).__name__}"


def _is_name(value: object) -> bool:
    """Tell whether a value can be printed and written anywhere as the name of an expert."""
    if not isinstance(value, str) or len(value) > MAX_NAME:
        return False
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in value)


def _is_cost(value: object) -> bool:
    """Whether it is a cost that was observed, or None."""
    if value is None:
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e30


def _problem(config: dict[str, Any]) -> str:
    """Say what is wrong, or ""."""
    experts, encoder = config.get("experts"), config.get("encoder")
    if not isinstance(experts, list) or not all(_is_name(e) for e in experts):
        return "'experts' is not a list of names"
    if len(experts) < 2 or len(set(experts)) != len(experts):
        return "'experts' are not at least two different names"
    if not isinstance(encoder, dict):
        return "'encoder' is missing"
    for key in ("dim", "max_length"):
        value = encoder.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAX_LENGTH:
            return f"encoder {key!r} is {_shown(value)}, expected 1 to {MAX_LENGTH}"
    training = config.get("training")
    training = training if isinstance(training, dict) else {}
    means = training.get("mean_rewards")
    if not isinstance(means, list) or not all(isinstance(m, (int, float)) for m in means):
        return "training 'mean_rewards' is not a list of numbers"
    if len(means) != len(experts):
        return f"training 'mean_rewards' has {len(means)} numbers for {len(experts)} experts"
    costs = training.get("mean_costs", [None] * len(experts))
    if not isinstance(costs, list) or len(costs) != len(experts) or not all(map(_is_cost, costs)):
        return f"training 'mean_costs' is not a list of {len(experts)} costs"
    calibration = config.get("calibration")
    temperature = calibration.get("temperature") if isinstance(calibration, dict) else None
    if not isinstance(temperature, (int, float)) or not 0 < temperature < 1e6:
        return f"calibration temperature is {_shown(temperature)}, expected a positive number"
    parity = config.get("parity", {})
    if not isinstance(parity, dict):
        return "'parity' is not an object"
    int8 = parity.get("int8", {})
    margin = int8.get("margin", 0.0) if isinstance(int8, dict) else None
    if not isinstance(margin, (int, float)) or not 0 <= margin <= 1:
        return f"parity int8 margin is {_shown(margin)}, expected a number from 0 to 1"
    files = config.get("files")
    if not isinstance(files, dict):
        return "'files' is missing"
    for name in files:
        if Path(name).name != name or name in ("", ".", "..") or "\\" in name:
            return f"lists {_shown(name)}, which is no bare file name"
    return ""
