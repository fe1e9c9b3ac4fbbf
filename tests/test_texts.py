"""Texts that stay in an Arrow column, against the list of the same texts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from zooter_lite.table.texts import ArrowTexts, taken

WORDS = ["a", "bb", "", "日本", "e\u0301", "f", "g"]
COLUMN = pa.chunked_array([WORDS[:3], [], WORDS[3:4], WORDS[4:]], pa.string())


def test_they_read_as_the_list() -> None:
    texts = ArrowTexts(COLUMN)
    assert list(texts) == WORDS
    assert [texts[i] for i in range(-7, 7)] == WORDS * 2
    assert texts[1:6:2] == WORDS[1:6:2]
    assert len(texts) == 7
    assert "f" in texts
    for place in (7, -8):
        with pytest.raises(IndexError):
            texts[place]


def test_taken_rows_stay_in_the_column() -> None:
    rows = np.array([6, 0, 3, 3])
    some = taken(ArrowTexts(COLUMN), rows)
    again = taken(some, np.array([2, 0]))
    assert isinstance(again, ArrowTexts)
    assert list(some) == ["g", "a", "日本", "日本"]
    assert list(again) == ["日本", "g"]
    assert taken(WORDS, rows) == list(some)
