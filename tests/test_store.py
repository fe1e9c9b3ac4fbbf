"""The store of vectors: what is found again after crashes, damage, and writers at one time."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from zooter_lite.encode.vectors import KEY, FloatArray, Keys, VectorStore

from zooter_lite.encode import vectors as module
from zooter_lite.errors import DataError

DIM = 4


def keys_of(*names: object) -> Keys:
    return np.asarray([hashlib.sha256(str(name).encode()).digest() for name in names], dtype=KEY)


def vectors_of(*names: int) -> FloatArray:
    return np.asarray([[n, n + 0.5, -n, 1 / (n + 1)] for n in names], dtype=np.float32)


def filled(folder: Path, n_rows: int) -> VectorStore:
    store = VectorStore(folder, "a", DIM)
    store.append(keys_of(*range(n_rows)), vectors_of(*range(n_rows)))
    return store


def test_rows_are_found_by_key_in_the_order_asked_for(tmp_path: Path) -> None:
    filled(tmp_path, 5)
    store = VectorStore(tmp_path, "a", DIM)
    rows = store.find(keys_of(3, "none", 0, 3))
    assert rows.tolist() == [3, -1, 0, 3]
    np.testing.assert_array_equal(store.read(rows[rows >= 0]), vectors_of(3, 0, 3))
    assert VectorStore(tmp_path, "b", DIM).find(keys_of(3)).tolist() == [-1]


def test_keys_that_end_with_zero_bytes_are_told_apart(tmp_path: Path) -> None:
    keys = np.asarray([b"k" * 32, b"k" * 31 + b"\0", b"k" * 30 + b"\0\0", b"\0" * 32], dtype=KEY)
    store = VectorStore(tmp_path, "a", DIM)
    store.append(keys, vectors_of(0, 1, 2, 3))
    assert store.find(keys[::-1]).tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize(("file", "cut"), [("a.keys", 7), ("a.vectors", 5), ("a.vectors", 16)])
def test_a_write_that_stopped_costs_the_last_row_alone(tmp_path: Path, file: str, cut: int) -> None:
    store = filled(tmp_path, 5)
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-cut])
    assert store.find(keys_of(*range(5))).tolist() == [0, 1, 2, 3, -1]
    store.append(keys_of(4, 9), vectors_of(4, 9))
    assert store.find(keys_of(*range(5), 9)).tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(store.read(np.arange(6)), vectors_of(0, 1, 2, 3, 4, 9))


def test_a_damaged_row_is_unknown_until_it_is_written_again(tmp_path: Path) -> None:
    store = filled(tmp_path, 3)
    content = bytearray((tmp_path / "a.vectors").read_bytes())
    content[4 * DIM] ^= 1
    (tmp_path / "a.vectors").write_bytes(content)
    assert store.find(keys_of(0, 1, 2)).tolist() == [0, -1, 2]
    store.append(keys_of(1), vectors_of(1))
    assert store.find(keys_of(0, 1, 2)).tolist() == [0, 3, 2]


def test_large_results_are_mapped_and_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path, 300)
    rows = np.random.default_rng(0).permutation(300)
    plain = store.read(rows)
    monkeypatch.setattr(module, "IN_MEMORY", 1000)
    monkeypatch.setattr(module, "_BLOCK", 64)
    mapped = store.read(rows)
    np.testing.assert_array_equal(mapped, plain)
    base: object = mapped
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.keys", "a.vectors"]


def test_writers_at_one_time_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.test_store import *\n"
        "store = VectorStore(Path(sys.argv[1]), 'a', DIM)\nfirst = int(sys.argv[2])\n"
        "for n in range(first, first + 60):\n    store.append(keys_of(n), vectors_of(n))\n"
    )
    root = Path(__file__).parents[1]
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(first)], cwd=root)
        for first in (0, 60, 120)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    store = VectorStore(tmp_path, "a", DIM)
    rows = store.find(keys_of(*range(180)))
    assert sorted(rows.tolist()) == list(range(180))
    np.testing.assert_array_equal(store.read(rows), vectors_of(*range(180)))


def test_files_that_cannot_be_used_are_one_clean_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be used as a cache"):
        VectorStore(tmp_path / "file", "a", DIM)
    store = filled(tmp_path, 1)
    (tmp_path / "a.keys").unlink()
    (tmp_path / "a.keys").mkdir()
    with pytest.raises(DataError, match=r"a\.keys: cannot be written"):
        store.append(keys_of(1), vectors_of(1))
