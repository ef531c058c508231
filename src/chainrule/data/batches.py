"""Batches and splits: which rows are seen, in which order, as a function of seeds alone.

Comes in: arrays (also memory-mapped ones). Goes out: the rows of each batch, gathered when they are needed, so that
only one batch at a time is in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, DataError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Batches:
    """Rows of arrays in batches; the last batch of an epoch may be smaller.

    Parameters
    ----------
    arrays
        One or more arrays with the same number of rows: inputs, targets, weights. Memory maps stay on disk.
    batch_size
        Rows in a batch, from 1.
    shuffle
        Whether each epoch has an order of its own, drawn from `(seed, epoch)`.
    seed
        The key of the orders, from 0.

    Examples
    --------
    >>> import numpy as np
    >>> batches = Batches((np.arange(5),), batch_size=2, shuffle=False)
    >>> [x.tolist() for (x,) in batches.epoch(0)]
    [[0, 1], [2, 3], [4]]
    """

    arrays: tuple[Array, ...]
    batch_size: int = 32
    shuffle: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ArgumentError(f"batch_size must be a whole number from 1, but is {self.batch_size!r}.")
        lengths = [len(array) for array in self.arrays]
        if len(set(lengths)) > 1:
            raise DataError(f"the arrays have different numbers of rows: {lengths}.")
        if not lengths or not lengths[0]:
            raise DataError("there are no rows to make batches of.")
        _check_seed(self.seed)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.arrays[0])

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return -(-self.rows // self.batch_size)

    def order(self, epoch: int) -> Array:
        """The row numbers in the order of `epoch` (from 0)."""
        if not self.shuffle:
            return np.arange(self.rows)
        return np.random.Generator(np.random.Philox(np.random.SeedSequence((self.seed, epoch)))).permutation(self.rows)

    def epoch(self, epoch: int) -> Iterator[tuple[Array, ...]]:
        """The batches of `epoch`, each a tuple of arrays."""
        order = self.order(epoch)
        for start in range(0, self.rows, self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield tuple(np.asarray(array[chosen]) for array in self.arrays)


def split(rows: int, fraction: float, seed: int, labels: Array | None = None) -> tuple[Array, Array]:
    """The row numbers to keep and those held out, both in ascending order.

    Parameters
    ----------
    rows
        How many rows there are.
    fraction
        The part to hold out, above 0 and below 1.
    seed
        The key of the choice.
    labels
        Class labels of shape (rows,): every class then gives its share (largest remainders), and each class with two
        rows or more keeps at least one.

    Raises
    ------
    ArgumentError
        If the fraction is not between 0 and 1, the seed is negative, or the labels have another shape.
    DataError
        If one of the parts would be empty.

    Examples
    --------
    >>> kept, held = split(6, 0.5, seed=0, labels=np.array([0, 0, 1, 1, 2, 2]))
    >>> len(kept), len(held)
    (3, 3)
    """
    _check_seed(seed)
    if labels is not None and np.shape(labels) != (rows,):
        raise ArgumentError(f"labels must have the shape ({rows},), but have {np.shape(labels)}.")
    if not 0 < fraction < 1:
        raise ArgumentError(f"the fraction to hold out must lie between 0 and 1, but is {fraction}.")
    held = round(rows * fraction)
    if not 0 < held < rows:
        raise DataError(f"{rows} rows cannot be split with a fraction of {fraction}: one part would be empty.")
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, rows))))
    if labels is None:
        chosen = generator.permutation(rows)[:held]
    else:
        classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
        shares = _shares(counts, held)
        members = [generator.permutation(np.flatnonzero(inverse == i)) for i in range(len(classes))]
        chosen = np.concatenate([rows_of[:share] for rows_of, share in zip(members, shares, strict=True)])
        if not chosen.size:
            raise DataError(f"none of the {len(classes)} classes has a row to spare; do not stratify.")
    mask = np.zeros(rows, bool)
    mask[chosen] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def _shares(counts: Array, held: int) -> Array:
    """How many rows of each class to hold out: proportional, rounded by largest remainder, one always left."""
    exact = counts * (held / counts.sum())
    limit = counts - 1
    shares: Array = np.minimum(np.floor(exact).astype(int), limit)
    for i in np.argsort(shares - exact, kind="stable"):
        if shares.sum() < held and shares[i] < limit[i]:
            shares[i] += 1
    # What small classes cannot give, the classes with the most room give.
    for i in np.argsort(shares - limit, kind="stable"):
        shares[i] += min(int(limit[i] - shares[i]), max(0, held - int(shares.sum())))
    return shares


def _check_seed(seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ArgumentError(f"seed must be a whole number from 0, but is {seed!r}.")
