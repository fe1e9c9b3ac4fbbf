"""config.json of a router directory: read, and checked before anything else is opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zooter_lite.errors import RouterError

FORMAT_VERSION = 1
CONFIG = "config.json"


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
        config = json.loads((path / CONFIG).read_text("utf-8"))
    except FileNotFoundError as error:
        raise RouterError(f"{path}: no {CONFIG}; expected a router directory") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RouterError(f"{path}: {CONFIG} cannot be read ({error})") from error
    if not isinstance(config, dict) or "format_version" not in config:
        raise RouterError(f"{path}: {CONFIG} names no format_version")
    if config["format_version"] != FORMAT_VERSION:
        raise RouterError(
            f"{path}: format_version {config['format_version']!r}, "
            f"but this release reads {FORMAT_VERSION}"
        )
    problem = _problem(config)
    if problem:
        raise RouterError(f"{path}: {CONFIG}: {problem}")
    return config


def _problem(config: dict[str, Any]) -> str:
    """Say what is wrong, or ""."""
    experts, encoder = config.get("experts"), config.get("encoder")
    if not isinstance(experts, list) or not all(isinstance(e, str) for e in experts):
        return "'experts' is not a list of names"
    if len(experts) < 2 or len(set(experts)) != len(experts):
        return "'experts' are not at least two different names"
    if not isinstance(encoder, dict):
        return "'encoder' is missing"
    for key in ("dim", "max_length"):
        value = encoder.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 1_000_000:
            return f"encoder {key!r} is {value!r}, expected a positive whole number"
    training = config.get("training")
    means = training.get("mean_rewards") if isinstance(training, dict) else None
    if not isinstance(means, list) or not all(isinstance(m, (int, float)) for m in means):
        return "training 'mean_rewards' is not a list of numbers"
    if len(means) != len(experts):
        return f"training 'mean_rewards' has {len(means)} numbers for {len(experts)} experts"
    calibration = config.get("calibration")
    temperature = calibration.get("temperature") if isinstance(calibration, dict) else None
    if not isinstance(temperature, (int, float)) or not 0 < temperature < 1e6:
        return f"calibration temperature is {temperature!r}, expected a positive number"
    parity = config.get("parity", {})
    if not isinstance(parity, dict):
        return "'parity' is not an object"
    margin = parity["int8"].get("margin") if isinstance(parity.get("int8"), dict) else 0.0
    if not isinstance(margin, (int, float)) or not 0 <= margin <= 1:
        return f"parity int8 margin is {margin!r}, expected a number from 0 to 1"
    files = config.get("files")
    if not isinstance(files, dict):
        return "'files' is missing"
    for name in files:
        if Path(name).name != name or name in ("", ".", "..") or "\\" in name:
            return f"lists {name!r}, which is no bare file name"
    return ""
