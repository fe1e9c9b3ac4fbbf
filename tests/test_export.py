"""The router's graph against the head in numpy, and the parity gate that guards it."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.helpers import (
    DIM,
    EXPERTS,
    table,
    toy_encoder,
    toy_estimates,
    toy_head,
)
from zooter_lite.head.cross_validation import Score, Selection
from zooter_lite.head.fit_head import Fitted
from zooter_lite.head.fit_setting import Setting
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.onnx.graphs import router_config
from zooter_lite.onnx.router_graph import router_graph
from zooter_lite.recipe import Recipe
from zooter_lite.router.directory.config import Decisions, Point
from zooter_lite.router.head import Head, TagPrior
from zooter_lite.tags.tagging import Tags


@pytest.mark.parametrize(
    ("head", "further"),
    [
        (toy_head("prior"), {}),
        (toy_estimates(toy_head("prior")), {"rewards": 3, "costs": 3, "novelty": 1}),
        (toy_estimates(toy_head("mlp"), costs=False), {"rewards": 3}),
    ],
    ids=["plain", "all", "neither costs nor tags"],
)
def test_names_types_and_axes_are_the_contract(head: Head, further: dict[str, int]) -> None:
    graph = router_graph(toy_encoder(), head, EXPERTS)
    model = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    inputs = {node.name: (node.type, node.shape) for node in model.get_inputs()}
    assert inputs == {
        name: ("tensor(int64)", ["batch", "length"]) for name in ("input_ids", "attention_mask")
    }
    outputs = {node.name: (node.type, node.shape) for node in model.get_outputs()}
    widths = {"probs": 3, "embedding": DIM} | further
    assert outputs == {name: ("tensor(float)", ["batch", width]) for name, width in widths.items()}


def test_metadata_names_the_experts_in_order_and_the_points() -> None:
    experts = ["zwölf", "a;b", "専門家"]
    points = [Point("quality"), Point("match", 0.05), Point("safe", expert="専門家")]
    graph = router_graph(toy_encoder(max_length=9), toy_head("linear"), experts, points)
    found = {p.key: p.value for p in onnx.load_model_from_string(graph).metadata_props}
    assert json.loads(found.pop("zooter.experts")) == experts
    assert json.loads(found.pop("zooter.points")) == ["quality", "match", "safe"]
    assert found == {
        "zooter.max_length": "9",
        "zooter.format_version": "1",
        "zooter.point.quality.cost_weight": "0.0",
        "zooter.point.match.cost_weight": "0.05",
        "zooter.point.safe.cost_weight": "0.0",
        "zooter.point.safe.expert": "専門家",
    }


def fitted_by_hand() -> Fitted:
    tagging = Tags("given", TagAssignment.from_lists([["x"], ["x", "y"], ["y"]]), np.eye(DIM)[:2])
    setting = Setting(0, 0.25, 0.3, 0.01)
    head = Head(
        np.zeros((2, DIM), dtype=np.float32),
        np.zeros(2, dtype=np.float32),
        TagPrior(np.eye(DIM, dtype=np.float32)[:2], np.full((2, 2), 0.5, dtype=np.float32)),
        temperature=0.5,
    )
    scores = [Score(setting, 0.5, 0.0, 0.0)]
    selection = Selection(
        setting, scores, scores[0], np.zeros((3, 2)), np.zeros((3, 2)), np.arange(3)
    )
    return Fitted(
        head=head,
        tagging=tagging,
        domains=None,
        recipe=Recipe(),
        selection=selection,
        decisions=Decisions(),
    )


def test_router_config_by_hand() -> None:
    train = table([[1.0, 0.0], [0.5, np.nan], [0.0, 1.0]])
    config = router_config(toy_encoder(), train, fitted_by_hand(), Recipe(seed=4))
    assert json.loads(config.to_json()) == {
        "calibration": {"temperature": 0.5},
        "decisions": {
            "curve": [], "default": "quality", "recommended": "quality", "why": "",
            "points": [{"cost_weight": 0.0, "name": "quality", "shares": []}],
        },
        "encoder": {k: v for k, v in asdict(toy_encoder().spec).items() if v is not None},
        "experts": ["e0", "e1"],
        "files": {},
        "format_version": 1,
        "head": {"domains": [], "kind": "prior", "l2": 0.01},
        "labels": {
            "beta": 0.3, "direction": "label-router", "hard": False, "n_tags": 2,
            "tags": "given", "temperature": 0.25,
        },
        "parity": {},
        "training": {
                "context": "last", "folds": 5, "mean_rewards": [0.5, 0.5], "observed": [3, 2],
                "rows": 3, "seed": 4,
            },
    }  # fmt: skip
