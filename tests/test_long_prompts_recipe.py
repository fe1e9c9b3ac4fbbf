"""The recipe of long prompts: which tokens each way of reading takes, and of which rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recipes.long_prompts import measure
from recipes.long_prompts.reading import READINGS, Reader, windows
from tests.helpers import toy_encoder, toy_vectors


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("128 + 128", [[*range(128), *range(472, 600)]]),
        ("192 + 64", [[*range(192), *range(536, 600)]]),
        ("first 512", [[*range(511), 599]]),
        ("windows", [[*range(255), 599], [0, *range(255, 509), 599], [0, *range(509, 600)]]),
    ],
)
def test_the_tokens_that_are_read(name: str, expected: list[list[int]]) -> None:
    assert [ids.tolist() for ids in READINGS[name](np.arange(600))] == expected
    assert [ids.tolist() for ids in windows(np.arange(256))] == [[*range(256)]]  # just fits


def test_windows_weigh_as_many_tokens_as_they_have(tmp_path: Path) -> None:
    reader = Reader(toy_encoder(256), tmp_path)
    text = " ".join(["one two three four"] * 70 + ["nine"] * 20)
    (ids,) = reader.tokens([text])
    (found,) = reader.embed([text], "windows")
    sums = [toy_vectors()[part].sum(axis=0) for part in windows(ids)]
    first, second = (total / np.linalg.norm(total) for total in sums)
    mean = 254 * first + (len(ids) - 256) * second
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), rtol=1e-5, atol=1e-6)


def test_of_a_large_table_some_long_prompts_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "MOST", {"train": 2, "test": 1})
    splits = ["train", "train", "test", "train", "ood", "test", "train", "test"]
    is_long = np.asarray([True, False, True, True, True, True, True, False])
    rows = measure.measured_rows(splits, is_long)
    assert {1, 7} <= set(rows.tolist())
    assert is_long[rows].tolist().count(True) == 3
    assert np.asarray(splits)[rows].tolist().count("test") == 2
