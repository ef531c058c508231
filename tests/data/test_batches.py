"""Batches and splits are functions of seeds alone, and keep the shares of classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit

from chainrule.data.batches import Batches, split
from chainrule.errors import ArgumentError, DataError


@given(rows=st.integers(1, 200), batch_size=st.integers(1, 50), seed=st.integers(0, 2**40), epoch=st.integers(0, 1000))
def test_an_epoch_holds_every_row_once_and_pairs_stay_together(rows, batch_size, seed, epoch):
    x = np.arange(rows)
    batches = Batches((x, x * 10), batch_size, seed=seed)
    seen = list(batches.epoch(epoch))
    assert len(seen) == len(batches)
    assert all(len(a) == batch_size for a, _ in seen[:-1])
    assert all((b == 10 * a).all() for a, b in seen)
    assert sorted(np.concatenate([a for a, _ in seen])) == list(range(rows))


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    batches = Batches((np.arange(100),), 7, seed=3)
    late = batches.order(5)
    for epoch in range(5):
        batches.order(epoch)
    assert (batches.order(5) == late).all()
    assert (Batches((np.arange(100),), 50, seed=3).order(5) == late).all()
    assert (batches.order(4) != late).any()
    assert (Batches((np.arange(100),), 7, seed=4).order(5) != late).any()


def test_the_order_is_that_of_numpys_philox():
    expected = np.random.Generator(np.random.Philox(np.random.SeedSequence((9, 2)))).permutation(20)
    assert (Batches((np.arange(20),), 4, seed=9).order(2) == expected).all()


def test_rows_of_a_memory_map_are_gathered(tmp_path):
    stored = np.memmap(tmp_path / "x", np.float32, "w+", shape=(10, 3))
    stored[:] = np.arange(30).reshape(10, 3)
    (batch,) = next(Batches((stored,), 4, shuffle=False).epoch(0))
    assert type(batch) is np.ndarray or not isinstance(batch, list)
    np.testing.assert_array_equal(batch, np.arange(12).reshape(4, 3))


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True])
def test_a_batch_size_that_is_no_count_is_refused(batch_size):
    with pytest.raises(ArgumentError, match="batch_size"):
        Batches((np.arange(3),), batch_size)


def test_arrays_without_rows_or_of_different_lengths_are_refused():
    with pytest.raises(DataError, match=r"\[3, 4\]"):
        Batches((np.arange(3), np.arange(4)))
    with pytest.raises(DataError, match="no rows"):
        Batches((np.empty((0, 2)),))
    with pytest.raises(ArgumentError, match="seed"):
        Batches((np.arange(3),), seed=-1)


@given(rows=st.integers(2, 300), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 100))
def test_a_split_shares_out_all_rows(rows, fraction, seed):
    if not 0 < round(rows * fraction) < rows:
        with pytest.raises(DataError):
            split(rows, fraction, seed)
        return
    kept, held = split(rows, fraction, seed)
    assert len(held) == round(rows * fraction)
    assert sorted([*kept, *held]) == list(range(rows))
    assert all((a == b).all() for a, b in zip(split(rows, fraction, seed), (kept, held), strict=True))


def test_stratified_shares_are_those_of_scikit_learn(rng):
    labels = rng.choice(4, 400, p=[0.5, 0.3, 0.15, 0.05])
    _, held = split(400, 0.25, 0, labels)
    _, theirs = next(StratifiedShuffleSplit(1, test_size=0.25, random_state=0).split(labels, labels))
    ours, expected = np.bincount(labels[held]), np.bincount(labels[theirs])
    assert ours.sum() == expected.sum() == 100
    assert np.abs(ours - expected).max() <= 1


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=12), fraction=st.floats(0.1, 0.9), seed=st.integers(0))
def test_every_class_keeps_a_row_for_training(counts, fraction, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    try:
        kept, held = split(len(labels), fraction, seed, labels)
    except DataError:
        return
    assert (np.bincount(labels[kept], minlength=len(counts)) >= 1).all()
    assert len(held) == min(round(len(labels) * fraction), len(labels) - len(counts))


def test_wrong_fractions_and_labels_are_refused():
    for fraction in (0, 1, -0.5, float("nan")):
        with pytest.raises(ArgumentError, match="fraction"):
            split(10, fraction, 0)
    with pytest.raises(ArgumentError, match="labels"):
        split(10, 0.5, 0, np.zeros(9))
    with pytest.raises(DataError, match="spare"):
        split(4, 0.5, 0, np.arange(4))
