"""config.json of a router directory: what it says, how it is read, checked and written."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from zooter_lite.errors import RouterError
from zooter_lite.untrusted.typed_json import parse_json, shown, typed
from zooter_lite.untrusted.verified import Promise, open_plain

FORMAT_VERSION = 1
CONFIG = "config.json"
MAX_NAME = 1000  # characters of an expert's name
MAX_LENGTH = 65_536  # tokens
STATIC_POOLING = "static"  # of an encoder that is a table of vectors


@dataclass(frozen=True)
class EncoderSpec:
    """The encoder of a router."""

    name: str = ""  # as the user gave it, or the folder's name
    sha256: str = ""  # over the names and contents of the encoder's files
    dim: int = 0  # length of the embedding
    max_length: int = 0  # tokens after which a query is truncated
    pooling: str = ""  # as sentence-transformers names it; "static" for a static encoder
    normalise: bool = True  # always: the graph returns unit vectors
    prompt: str = ""  # text before every query, such as "query: "; tokenizer.json adds it
    words: int | None = None  # the last so many numbers of an embedding, if any, are words
    layers: int | None = None  # the encoder's first so many layers; None for all


@dataclass(frozen=True)
class HeadSpec:
    """How the head was fitted."""

    kind: str = "linear"  # or "prior", "mlp"
    l2: float = 0.0
    domains: tuple[str, ...] = ()  # the table's subsets that it tells apart


@dataclass(frozen=True)
class LabelSpec:
    """How rewards became labels."""

    tags: str | None = None  # where the tags are from; None without tags
    n_tags: int = 0
    temperature: float = 0.0  # of the softmax over rewards; 0 where it is not known
    beta: float = 1.0  # share of the sample label
    direction: str = "label-router"  # of the KL divergence; or "router-label"
    hard: bool = False  # whether the label is the best expert alone


@dataclass(frozen=True)
class Calibration:
    """The temperature that makes the head's probabilities what they say."""

    temperature: float


@dataclass(frozen=True)
class Training:
    """The training rows; rewards and costs in the order of the experts."""

    mean_rewards: tuple[float, ...]  # over all rows; what was not observed is filled in
    # observed; None for an expert without, and None at all for a table without costs
    mean_costs: tuple[float | None, ...] | None = None
    tokens_in: tuple[float, ...] | None = None  # mean of a prompt, where costs are from prices
    tokens_out: tuple[float, ...] | None = None  # mean of each expert's responses
    rows: int = 0
    rows_that_chose: int | None = None  # None: all of them
    observed: tuple[int, ...] | None = None  # rewards of each expert; None: on every row
    folds: int = 0
    seed: int = 0
    context: str = "last"  # which turns of a chat are the query: "last", "user" or "all"


@dataclass(frozen=True)
class Parity:
    """What an exported graph changes on training queries."""

    queries: int = 0  # compared
    max_difference: float = 0.0  # largest |difference| of a probability
    changed_decisions: float = 0.0  # share of queries that go to another expert, ties apart
    # Mean reward, in hundredths of the rewards' range, negative for a gain: observed with its
    # standard error, and by the expected rewards with its one-sided upper bound at 95%.
    lost: float = 0.0
    lost_error: float = 0.0
    expected_loss: float = 0.0
    expected_loss_bound: float = 0.0
    divergence: float = 0.0  # mean Kullback-Leibler divergence of the probabilities, nats
    spared: int = 0  # products of the int8 graph in float32, since it lost too much without

    def rounded(self) -> Parity:
        """Return the figures as config.json keeps them, to nine decimals."""
        return Parity(*(round(getattr(self, each.name), 9) for each in fields(self)))


@dataclass(frozen=True)
class TextParity:
    """What router.text.onnx changes against router.onnx."""

    queries: float = 0.0  # compared
    changed_tokens: float = 0.0  # share of queries with other token ids
    changed_decisions: float = 0.0
    max_difference: float = 0.0


@dataclass(frozen=True)
class Parities:
    """What each exported graph changes; None for a graph that the router does not have."""

    fp32: Parity | None = None
    int8: Parity | None = None
    text: TextParity | None = None
    fp16: Parity | None = None


@dataclass(frozen=True)
class Knot:
    """A place on the curve from quality to cheapness, out of fold on train."""

    cost_weight: float
    reward: float  # mean, in the unit of the table
    cost: float
    expected_cost: float  # of the same choices, as predicted


@dataclass(frozen=True)
class Point:
    """An operating point: utility = reward - cost_weight * cost, or one expert for everything.

    Rewards and costs are out of fold on train, means per prompt in the units of the table.
    """

    name: str
    cost_weight: float = 0.0  # reward for a unit of cost
    expert: str | None = None  # asked whatever the prompt is
    reward: float | None = None
    cost: float | None = None  # None for a table without costs
    gain: float | None = None  # reward minus that of the best single expert
    gain_error: float | None = None  # standard error of the paired difference
    shares: tuple[float, ...] = ()  # of the prompts, for each expert


QUALITY = Point("quality")  # what a router does that names no points


@dataclass(frozen=True)
class Decisions:
    """How the router decides, and what that earned out of fold on train."""

    points: tuple[Point, ...] = (QUALITY,)
    default: str = "quality"
    recommended: str = "quality"
    why: str = ""  # in words
    curve: tuple[Knot, ...] = ()  # by rising cost weight; empty for a table without costs
    single: Point | None = None  # always the best single expert, on the same rows


@dataclass(frozen=True)
class RouterConfig:
    """The content of config.json, format version 1."""

    experts: tuple[str, ...]  # names in the order of the graph's columns
    encoder: EncoderSpec
    calibration: Calibration
    training: Training
    head: HeadSpec = HeadSpec()
    labels: LabelSpec = LabelSpec()
    parity: Parities = Parities()
    decisions: Decisions = Decisions()
    files: Mapping[str, Promise] = field(default_factory=dict)  # every other file, by bare name

    @property
    def best_single(self) -> str:
        """The expert with the highest mean reward on the training rows; of equals the first."""
        rewards = self.training.mean_rewards
        return self.experts[rewards.index(max(rewards))]

    @classmethod
    def from_json(cls, text: bytes) -> RouterConfig:
        """Read what `to_json` wrote.

        Raises
        ------
        RouterError
            With what is missing, unknown or out of its range.
        """
        content = parse_json(CONFIG, text)
        if not isinstance(content, dict) or "format_version" not in content:
            raise RouterError(f"{CONFIG} names no format_version")
        if (version := content["format_version"]) != FORMAT_VERSION:
            found = f"format_version {shown(version)}"
            raise RouterError(f"{found}, but this release reads {FORMAT_VERSION}")
        try:
            config: RouterConfig = typed(cls, content, "")
            _check(config)
        except (ValueError, OverflowError) as error:
            raise RouterError(f"{CONFIG}: {error}") from error
        return config

    @classmethod
    def read(cls, path: Path) -> RouterConfig:
        """Read config.json of the router directory `path`; errors as of `from_json`."""
        if not path.is_dir():
            raise RouterError(f"{path}: no such router directory")
        try:
            with open_plain(path / CONFIG) as stream:
                return cls.from_json(stream.read())
        except FileNotFoundError as error:
            raise RouterError(f"{path}: no {CONFIG}; expected a router directory") from error
        except OSError as error:
            raise RouterError(f"{path}: {CONFIG} cannot be read ({error})") from error
        except RouterError as error:
            raise RouterError(f"{path}: {error}") from error

    def to_json(self) -> str:
        """Return the text of config.json: sorted keys, two spaces, UTF-8 as it is."""
        whole = asdict(self, dict_factory=_written)
        whole["format_version"] = FORMAT_VERSION
        return json.dumps(whole, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def _written(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Leave out what is not known, but for where the tags are from."""
    return {key: value for key, value in pairs if value is not None or key == "tags"}


def _is_name(name: str) -> bool:
    """Tell whether the name of an expert can be printed and written anywhere."""
    return len(name) <= MAX_NAME and not {"Cc", "Cs"} & {*map(unicodedata.category, name)}


def _check(config: RouterConfig) -> None:
    """Raise ValueError where a value is out of its range or does not fit the others."""
    for name in config.files:
        if Path(name).name != name or name in ("", ".", "..") or "\\" in name:
            raise ValueError(f"lists {shown(name)}, which is no bare file name")
    n_experts, encoder, training = len(config.experts), config.encoder, config.training
    if not all(map(_is_name, config.experts)):
        raise ValueError("'experts' is not a list of names")
    if n_experts < 2 or len(set(config.experts)) != n_experts:
        raise ValueError("'experts' are not at least two different names")
    for key, size in (("dim", encoder.dim), ("max_length", encoder.max_length)):
        if not 0 < size <= MAX_LENGTH:
            raise ValueError(f"encoder {key!r} is {shown(size)}, expected 1 to {MAX_LENGTH}")
    if encoder.words is not None and not 0 < encoder.words < encoder.dim:
        found = shown(encoder.words)
        raise ValueError(f"encoder 'words' is {found}, expected 1 to {encoder.dim - 1}")
    if encoder.layers is not None and encoder.layers < 1:
        raise ValueError(f"encoder 'layers' is {shown(encoder.layers)}, expected at least 1")
    if training.context not in ("last", "user", "all"):
        raise ValueError(f"training 'context' is {shown(training.context)}, expected last")
    for key in ("mean_rewards", "mean_costs", "observed", "tokens_in", "tokens_out"):
        values = getattr(training, key)
        if values is not None and len(values) != n_experts:
            raise ValueError(f"training {key!r} has {len(values)} numbers for {n_experts} experts")
    if not all(cost is None or 0 <= cost < 1e30 for cost in training.mean_costs or ()):
        raise ValueError("training 'mean_costs' are not costs, which are numbers from 0")
    if not 0 < (temperature := config.calibration.temperature) < 1e6:
        found = shown(temperature)
        raise ValueError(f"calibration 'temperature' is {found}, expected a positive number")
    _check_decisions(config)


def _check_decisions(config: RouterConfig) -> None:
    """Raise ValueError where an operating point is none of these experts', or out of range."""
    decisions, names = config.decisions, [point.name for point in config.decisions.points]
    if len(set(names)) != len(names) or not all(map(_is_name, names)):
        raise ValueError("the names of 'decisions' points are not all different")
    for name in (decisions.default, decisions.recommended):
        if name not in names:
            raise ValueError(f"decisions has no point {shown(name)}")
    for point in (*decisions.points, decisions.single or QUALITY):
        if point.expert is not None and point.expert not in config.experts:
            raise ValueError(f"point {point.name!r} names no expert of the router")
    weights = [p.cost_weight for p in decisions.points] + [k.cost_weight for k in decisions.curve]
    if not all(0 <= weight < 1e30 for weight in weights):
        raise ValueError("decisions has a 'cost_weight' that is no number from 0")
    if list(decisions.curve) != sorted(decisions.curve, key=lambda knot: knot.cost_weight):
        raise ValueError("decisions 'curve' does not rise")
