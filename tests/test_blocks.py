"""Blocks of rows: all rows once, in order, on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from zooter_lite.labels import blocks


@pytest.mark.parametrize("n_rows", [0, 16, 100])
@pytest.mark.parametrize("jobs", [1, 3])
def test_every_row_is_in_one_block(n_rows: int, jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "ROWS", 16)
    found = list(blocks.in_blocks(lambda rows: list(range(n_rows))[rows], n_rows, jobs))
    assert [row for block in found for row in block] == list(range(n_rows))
    assert {len(block) for block in found[:-1]} <= {16}
    counted = np.zeros(n_rows, dtype=int)

    def count(rows: slice) -> None:
        counted[rows] += 1

    blocks.for_blocks(count, n_rows, jobs)
    assert (counted == 1).all()


def test_some_rows_of_a_matrix_are_read_a_slice_at_a_time() -> None:
    matrix = np.arange(20.0).reshape(10, 2)
    some = blocks.RowsOf(matrix, np.array([1, 4, 9]))
    assert (len(some), some.shape, some.dtype) == (3, (3, 2), matrix.dtype)
    np.testing.assert_array_equal(some[1:3], matrix[[4, 9]])
