"""Near-duplicates of vectors: greedy by order, the same by products, by an index and in blocks."""

import itertools

import numpy as np
import pytest

from datagen import neighbours
from datagen.neighbours import near_duplicates, near_duplicates_in_blocks


def clustered(n, seed=0, dimension=8):
    """Unit vectors around a few centres, so that near ones have near ones."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(6, dimension))[rng.integers(0, 6, n)] + 0.5 * rng.normal(size=(n, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def one_after_the_other(vectors, threshold):
    gone, kept = {}, []
    for row, vector in enumerate(vectors):
        keeper = next((k for k in kept if vectors[k] @ vector > threshold), None)
        if keeper is None:
            kept.append(row)
        else:
            gone[row] = keeper
    return gone


@pytest.mark.parametrize("n", [1, 2, 200, 1500])
def test_the_first_in_order_that_is_near_and_kept_is_the_keeper(n):
    vectors = clustered(n)
    expected = one_after_the_other(vectors, 0.9)
    assert near_duplicates(vectors, range(n), 0.9) == expected
    assert n < 200 or len(expected) > n / 3


def test_the_order_decides_who_stays():
    v = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    assert near_duplicates(v, [1, 0, 2], 0.9) == {0: 1}


def test_a_keeper_is_never_dropped_by_a_later_one():
    v = np.array([[1, 0], [0.8, 0.6], [0.28, 0.96]], dtype=np.float32)
    gone = near_duplicates(v, [1, 2, 0], 0.7)
    assert gone == {0: 1, 2: 1}
    assert not set(gone) & set(gone.values())


@pytest.mark.parametrize("block", [20, 64, 999, 5000])
def test_blocks_leave_what_one_piece_leaves(block):
    vectors, most = clustered(1000), []

    def load(rows):
        most.append(len(rows))
        return vectors[rows]

    found = near_duplicates_in_blocks(load, 1000, 0.9, block)
    assert found == near_duplicates(vectors, range(1000), 0.9)
    assert max(most) == min(block, 1000)


def test_an_inverted_file_finds_the_pairs_that_brute_force_finds():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(3000, 64)).astype(np.float32)
    vectors = np.concatenate([base, base[:600] + 0.01 * rng.normal(size=(600, 64)).astype(np.float32)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = range(len(vectors))
    exact = near_duplicates(vectors, order, 0.99)
    assert near_duplicates(vectors, order, 0.99, exact=100) == exact
    assert near_duplicates_in_blocks(vectors.__getitem__, 3600, 0.99, 1000, exact=100) == exact
    assert exact == {3000 + i: i for i in range(600)}


@pytest.mark.parametrize("threshold", [0.8, 0.9, 0.97])
def test_lists_that_are_skipped_hold_nothing_near(monkeypatch, threshold):
    monkeypatch.setattr(neighbours, "PROBES", 10**6)  # every list may be looked at
    vectors, looked_at = clustered(3000), []
    index = neighbours._Lists(vectors)
    search = index.file.range_search_preassigned

    def counted(some, limit, probed, likeness):
        looked_at.append((probed >= 0).mean())
        return search(some, limit, probed, likeness)

    index.file.range_search_preassigned = counted
    limits, _, found = index.range_search(vectors, threshold)
    near = [set(np.flatnonzero(row > threshold)) for row in vectors @ vectors.T]
    assert [set(found[a:b]) for a, b in itertools.pairwise(limits.astype(int))] == near
    assert looked_at[0] < 0.8
