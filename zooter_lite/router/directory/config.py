"""config.json of a router directory: what it says, how it is read, checked and written."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from zooter_lite.errors import RouterError
from zooter_lite.untrusted.verified import Promise, open_plain

FORMAT_VERSION = 1
CONFIG = "config.json"
MAX_NAME = 1000  # characters of an expert's name
MAX_LENGTH = 65_536  # tokens

_LEFT_OUT = {"left out": True}  # a key that is not written where its value is None
_NUMBERS: dict[Any, Any] = {float: (float, int)}


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


@dataclass(frozen=True)
class HeadSpec:
    """How the head was fitted: its kind, its L2 penalty, and the subsets that it tells apart."""

    kind: str = "linear"
    l2: float = 0.0
    domains: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelSpec:
    """How rewards became labels.

    Attributes
    ----------
    tags, n_tags
        Where the tags are from, None without tags; how many there are.
    temperature, beta
        Of the softmax over rewards, 0 where it is not known; the share of the sample label.
    direction
        Of the KL divergence, "label-router" or "router-label".
    hard
        True where the label is the best expert alone.
    """

    tags: str | None = None
    n_tags: int = 0
    temperature: float = 0.0
    beta: float = 1.0
    direction: str = "label-router"
    hard: bool = False


@dataclass(frozen=True)
class Calibration:
    """The temperature that makes the head's probabilities what they say."""

    temperature: float


@dataclass(frozen=True)
class Training:
    """The training rows.

    Attributes
    ----------
    mean_rewards
        Mean observed reward of each expert.
    mean_costs
        Mean observed cost of each expert, None for an expert without; None without costs.
    rows, rows_that_chose
        Number of rows; of those that chose the settings, None where all of them did.
    folds, seed
        Of the cross-validation.
    """

    mean_rewards: tuple[float, ...]
    mean_costs: tuple[float | None, ...] | None = field(default=None, metadata=_LEFT_OUT)
    rows: int = 0
    rows_that_chose: int | None = field(default=None, metadata=_LEFT_OUT)
    folds: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Policy:
    """How a decision follows from the probabilities."""

    default: str = "arg max"


@dataclass(frozen=True)
class Parity:
    """What an exported graph changes on training queries.

    Attributes
    ----------
    queries
        Number of queries compared.
    max_difference
        Largest |difference| of a probability.
    changed_decisions
        Share of queries that go to another expert, ties apart.
    lost
        Mean reward lost, in hundredths of the range of the rewards; negative is a gain.
    margin, repeats, changed_after_repeats
        Of `--precision auto`: where int8's two best are closer than `margin`, fp32 decides;
        the share of queries for which it does, and of decisions changed then. 0 for fp32.
    spared
        Last products of the int8 graph that stayed in float32, since it lost too much without.
    """

    queries: int = 0
    max_difference: float = 0.0
    changed_decisions: float = 0.0
    lost: float = 0.0
    margin: float = 0.0
    repeats: float = 0.0
    changed_after_repeats: float = 0.0
    spared: int = 0

    def rounded(self) -> Parity:
        """Return the figures as config.json keeps them, to nine decimals."""
        return Parity(*(round(getattr(self, name.name), 9) for name in fields(self)))


@dataclass(frozen=True)
class TextParity:
    """What router.text.onnx changes against router.onnx: queries compared, shares, a difference."""

    queries: float = 0.0
    changed_tokens: float = 0.0
    changed_decisions: float = 0.0
    max_difference: float = 0.0


@dataclass(frozen=True)
class Parities:
    """What each exported graph changes; None for a graph that the router does not have."""

    fp32: Parity | None = field(default=None, metadata=_LEFT_OUT)
    int8: Parity | None = field(default=None, metadata=_LEFT_OUT)
    text: TextParity | None = field(default=None, metadata=_LEFT_OUT)


@dataclass(frozen=True)
class RouterConfig:
    """The content of config.json, format version 1.

    Attributes
    ----------
    experts
        Names in the order of the graph's columns.
    encoder, head, labels, calibration, training, policy, parity
        How the router was made, and what it is.
    files
        Size and hash of every other file of the directory, by bare name.
    as_read
        The parsed file: keys that this release does not know are written again.
    """

    experts: tuple[str, ...]
    encoder: EncoderSpec
    calibration: Calibration
    training: Training
    head: HeadSpec = HeadSpec()
    labels: LabelSpec = LabelSpec()
    policy: Policy = Policy()
    parity: Parities = Parities()
    files: Mapping[str, Promise] = field(default_factory=dict)
    as_read: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def best_single(self) -> str:
        """The expert with the highest mean reward on the training rows; of equals the first."""
        rewards = self.training.mean_rewards
        return self.experts[rewards.index(max(rewards))]

    @classmethod
    def from_json(cls, text: str) -> RouterConfig:
        """Read what `to_json` wrote.

        Raises
        ------
        RouterError
            With what is missing, unknown or out of its range.
        """
        try:
            content = json.loads(text, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise RouterError(f"{CONFIG} cannot be read ({error})") from error
        if not isinstance(content, dict) or "format_version" not in content:
            raise RouterError(f"{CONFIG} names no format_version")
        if content["format_version"] != FORMAT_VERSION:
            raise RouterError(
                f"format_version {_shown(content['format_version'])}, "
                f"but this release reads {FORMAT_VERSION}"
            )
        try:
            _check(content)
            sections = {
                name: _typed(kind, content[name], repr(name))
                for name, kind in get_type_hints(cls).items()
                if is_dataclass(kind) and name in content
            }
        except ValueError as error:
            raise RouterError(f"{CONFIG}: {error}") from error
        files = {name: _promise(name, promise) for name, promise in content["files"].items()}
        return cls(experts=tuple(content["experts"]), files=files, as_read=content, **sections)

    @classmethod
    def read(cls, path: Path) -> RouterConfig:
        """Read config.json of the router directory `path`; errors as of `from_json`."""
        if not path.is_dir():
            raise RouterError(f"{path}: no such router directory")
        try:
            with open_plain(path / CONFIG) as stream:
                text = stream.read().decode("utf-8")
        except FileNotFoundError as error:
            raise RouterError(f"{path}: no {CONFIG}; expected a router directory") from error
        except (OSError, ValueError) as error:
            raise RouterError(f"{path}: {CONFIG} cannot be read ({error})") from error
        try:
            return cls.from_json(text)
        except RouterError as error:
            raise RouterError(f"{path}: {error}") from error

    def to_json(self) -> str:
        """Return the text of config.json: sorted keys, two spaces, UTF-8 as it is."""
        whole = _plain(self, self.as_read) | {"format_version": FORMAT_VERSION}
        del whole["as_read"]
        return json.dumps(whole, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that has a key twice: readers differ in which one counts."""
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("an object has a key twice")
    return content


def _plain(section: Any, as_read: Any) -> dict[str, Any]:
    """Return a dataclass as JSON keeps it, with the unknown keys that were read."""
    known = {each.name for each in fields(section)}
    as_read = as_read if isinstance(as_read, dict) else {}
    plain = {key: value for key, value in as_read.items() if key not in known}
    for each in fields(section):
        value = getattr(section, each.name)
        if value is None and "left out" in each.metadata:
            continue
        if is_dataclass(value):
            value = _plain(value, as_read.get(each.name))
        elif each.name == "files":
            value = {name: _plain(promise, None) for name, promise in value.items()}
        plain[each.name] = value
    return plain


def _typed(kind: Any, value: Any, where: str) -> Any:
    """Make of a JSON value what an annotation names.

    Raises
    ------
    ValueError
        The value is something else.
    """
    arguments = get_args(kind)
    if get_origin(kind) is UnionType:
        return None if value is None else _typed(arguments[0], value, where)
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_typed(arguments[0], each, where) for each in value)
    if is_dataclass(kind) and isinstance(value, dict):
        kinds = get_type_hints(kind)
        keys = [name for name in kinds if name in value]
        section: Any = kind  # the class, whatever mypy makes of is_dataclass
        return section(**{key: _typed(kinds[key], value[key], f"{where} {key!r}") for key in keys})
    plain = get_origin(kind) is None and not is_dataclass(kind)
    if not plain or isinstance(value, bool) != (kind is bool):
        raise ValueError(f"{where} is {_shown(value)}, which no router holds")
    if not isinstance(value, _NUMBERS.get(kind, kind)):
        raise ValueError(f"{where} is {_shown(value)}, expected {kind.__name__}")
    return value


def _shown(value: object) -> str:
    """Return a value for a message, which stays one short line whatever it is."""
    try:
        return repr(value)[:80]
    except (ValueError, RecursionError):  # of numbers of thousands of digits, and nesting
        return f"some {type(value).__name__}"


def _promise(name: str, promise: object) -> Promise:
    if isinstance(promise, dict):
        size, sha256 = promise.get("bytes"), promise.get("sha256")
        if isinstance(size, int) and isinstance(sha256, str):
            return Promise(size, sha256)
    raise RouterError(f"{CONFIG} gives no size and sha256 for {name}")


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


def _section(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = content.get(name)
    return section if isinstance(section, dict) else {}


def _check(content: Mapping[str, Any]) -> None:
    """Raise ValueError where what every router needs is missing or out of its range."""
    experts, encoder = content.get("experts"), content.get("encoder")
    if not isinstance(experts, list) or not all(_is_name(e) for e in experts):
        raise ValueError("'experts' is not a list of names")
    if len(experts) < 2 or len(set(experts)) != len(experts):
        raise ValueError("'experts' are not at least two different names")
    if not isinstance(encoder, dict):
        raise ValueError("'encoder' is missing")
    for key in ("dim", "max_length"):
        size = encoder.get(key)
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= MAX_LENGTH:
            raise ValueError(f"encoder {key!r} is {_shown(size)}, expected 1 to {MAX_LENGTH}")
    training = _section(content, "training")
    means = training.get("mean_rewards")
    if not isinstance(means, list) or not all(isinstance(m, (int, float)) for m in means):
        raise ValueError("training 'mean_rewards' is not a list of numbers")
    if len(means) != len(experts):
        raise ValueError(
            f"training 'mean_rewards' has {len(means)} numbers for {len(experts)} experts"
        )
    costs = training.get("mean_costs", [None] * len(experts))
    if not isinstance(costs, list) or len(costs) != len(experts) or not all(map(_is_cost, costs)):
        raise ValueError(f"training 'mean_costs' is not a list of {len(experts)} costs")
    temperature = _section(content, "calibration").get("temperature")
    if not isinstance(temperature, (int, float)) or not 0 < temperature < 1e6:
        raise ValueError(
            f"calibration temperature is {_shown(temperature)}, expected a positive number"
        )
    if not isinstance(content.get("parity", {}), dict):
        raise ValueError("'parity' is not an object")
    int8 = _section(content, "parity").get("int8", {})
    margin = int8.get("margin", 0.0) if isinstance(int8, dict) else None
    if not isinstance(margin, (int, float)) or not 0 <= margin <= 1:
        raise ValueError(f"parity int8 margin is {_shown(margin)}, expected a number from 0 to 1")
    files = content.get("files")
    if not isinstance(files, dict):
        raise ValueError("'files' is missing")
    for name in files:
        if Path(name).name != name or name in ("", ".", "..") or "\\" in name:
            raise ValueError(f"lists {_shown(name)}, which is no bare file name")
