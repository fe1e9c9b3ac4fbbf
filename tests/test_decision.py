"""From probabilities to a decision."""

from __future__ import annotations

import numpy as np

from zooter_lite.router.decision import Decision, arg_max


def test_arg_max_by_hand() -> None:
    probs = np.array([[0.25, 0.5, 0.25], [0.5, 0.0, 0.5]], dtype=np.float32)
    first, second = arg_max(probs, ["a", "b", "c"])
    assert first == Decision("b", 0.5, {"a": 0.25, "b": 0.5, "c": 0.25})
    assert (second.expert, second.probability) == ("a", 0.5)  # of equals the first
    assert not first.fallback
    assert first.reason == "highest probability"
    assert type(first.probability) is float  # serialises as JSON
    assert arg_max(np.zeros((0, 3)), ["a", "b", "c"]) == []
