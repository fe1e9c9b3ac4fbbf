"""Reward models: any Hugging Face model for sequence classification, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.scoring.scorer import Found, Item, fingerprint, score_once, values_of

VERSION = 1  # of how a response becomes a score
_WINDOW = 4096  # responses whose tokens are held, and sorted by length
_FIELDS: dict[str, tuple[type, ...]] = {
    "model": (str,), "max_length": (int,), "batch_tokens": (int,), "label": (int, str),
    "device": (str,), "trust_remote_code": (bool,),
}  # fmt: skip


@dataclass
class RewardModel:
    """A scorer that asks a local reward model.

    The query and the response pass through the tokenizer's chat template where it has
    one, and are a pair of texts where it has none. Weights are bfloat16 on a GPU, float32
    on a CPU. Weights are read from safetensors files alone.

    Attributes
    ----------
    model
        A folder, or a name on the hub.
    max_length
        Tokens after which a text is cut as the tokenizer says; 0 is what the model can take.
    batch_tokens
        Tokens of a batch at most, padding included.
    label
        Index or name of the label whose log-odds are the score, for a model of several
        labels; a model of one label scores with its logit, whatever stands here.
    device
        Such as cpu or cuda:1; empty takes the first GPU where there is one.
    trust_remote_code
        Run the Python code that comes with the model. Where its output has a `score`
        (as ArmoRM's), that is the score.
    """

    name: str
    model: str
    max_length: int = 0
    batch_tokens: int = 16384
    label: int | str | None = None
    device: str = ""
    trust_remote_code: bool = False
    notes: list[str] = field(default_factory=list)

    def score(
        self, items: Sequence[Item], folder: Path, progress: Callable[[int], object]
    ) -> NDArray[np.float64]:
        """Score every item; NaN where the model's output is not finite.

        Raises
        ------
        DataError
            There is no such model, or it is none that gives a reward.
        """
        from zooter_lite.scoring.reward_network import (
            best_device,
            content_hash,
            find_model,
            load,
        )

        source = find_model(self.model, code=self.trust_remote_code)
        device = best_device(self.device)
        mark = fingerprint(
            VERSION, content_hash(source), self.max_length, self.label, device.type != "cpu"
        )

        def compute(todo: list[int]) -> Iterator[Found]:
            network = load(
                source,
                device,
                max_length=self.max_length,
                label=self.label,
                trust_remote_code=self.trust_remote_code,
            )
            for start in range(0, len(todo), _WINDOW):
                window = todo[start : start + _WINDOW]
                pairs = [(items[place].query, items[place].response) for place in window]
                for number, value, cut in network.scores(pairs, self.batch_tokens):
                    yield window[number], value, {"truncated": True} if cut else {}

        records = score_once(items, folder / f"scores-{self.name}.jsonl", mark, compute, progress)
        truncated = sum(bool(record.get("truncated")) for record in records)
        broken = sum(record["score"] is None for record in records)
        self.notes = [f"{truncated} of {len(items)} responses truncated"]
        if broken:
            self.notes.append(f"{broken} scores were not finite and count as none")
        return values_of(records)


def read_reward_model(table: Mapping[str, Any], where: str) -> RewardModel:
    """Make a reward model of its table in scorers.toml; `where` locates the table.

    Raises
    ------
    DataError
        A field is missing, unknown, or not of its type.
    """
    values = {k: v for k, v in table.items() if k not in ("name", "kind", "weight")}
    for name, value in values.items():
        kinds = _FIELDS.get(name, ())
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise DataError(
                f"{where}: {name} = {value!r}, expected fields are {', '.join(_FIELDS)}"
            )
        if isinstance(value, int) and value < 0:
            raise DataError(f"{where}: {name} is {value}, expected no negative number")
    if not values.get("model"):
        raise DataError(f"{where}: no model; expected a folder or the name of a hub model")
    return RewardModel(str(table["name"]), **values)
