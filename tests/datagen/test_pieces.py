"""Scratch records come back piece by piece, and what is torn does not stand."""

import numpy as np
import pytest

from datagen.errors import ShardError
from datagen.pieces import read_piece, stands, take, write_pieces

KIND = np.dtype([("n", "i8"), ("x", "f4")])


@pytest.fixture
def path(tmp_path):
    records = np.zeros(7, KIND)
    records["n"] = np.arange(7)
    write_pieces(tmp_path / "some", records, np.array([2, 0, 2, 0, 2, 2, 0]), 4)
    return tmp_path / "some"


def test_pieces_keep_their_order_and_know_where_they_begin(path):
    found = [read_piece(path, KIND, number) for number in range(4)]
    assert [(start, records["n"].tolist()) for start, records in found] == [
        (0, [1, 3, 6]), (3, []), (3, [0, 2, 4, 5]), (7, []),
    ]  # fmt: skip
    assert take(path, KIND, np.array([4, 0]))["n"].tolist() == [2, 1]


def test_every_byte_counts(path):
    whole = path.read_bytes()
    assert stands(path)
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert not stands(path)
        path.write_bytes(whole[:at])
        assert not stands(path)
    path.unlink()
    assert not stands(path)
    with pytest.raises(ShardError, match="some: cannot be read"):
        read_piece(path, KIND, 0)


def test_nothing_at_all_can_be_written(tmp_path):
    write_pieces(tmp_path / "none", np.empty(0, KIND), np.empty(0, np.int64), 2)
    assert stands(tmp_path / "none")
    assert len(read_piece(tmp_path / "none", KIND, 1)[1]) == 0
