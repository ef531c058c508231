"""Rows that occur more than once: a number for every row, and how often rows would repeat by chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.train.inputs import Rows

Array = np.ndarray[Any, Any]
_CHUNK = 2**22  # numbers that are read at a time


def row_keys(rows: Rows) -> Array:
    """A 64-bit number for every row, the same for equal inputs, and for different ones hardly ever (rows,).

    A sum of the bits of all columns, each times a random odd number (multiply-shift hashing, Dietzfelbinger et al.).
    """
    columns = int(np.prod(rows.arrays[0].shape[1:]))
    factors = np.random.default_rng(0).integers(0, 2**63, columns, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    step = max(1, _CHUNK // max(columns, 1))
    found = [_keys(rows.take(slice(start, start + step))[0], factors) for start in range(0, len(rows), step)]
    return np.concatenate(found) if found else np.empty(0, np.uint64)


def _keys(X: Array, factors: Array) -> Array:  # the field's name
    wide = np.ascontiguousarray(X.reshape(len(X), -1), dtype=np.float64) + 0.0  # so that -0 is 0
    bits = wide.view(np.uint64)
    return np.asarray(((bits ^ (bits >> np.uint64(32))) * factors).sum(axis=1, dtype=np.uint64))


def by_chance(rows: Array) -> float:
    """The share of rows that may well have a twin by chance, from 0 to 1, where columns take few values.

    Two rows agree in a column with the probability that two draws of its values do. Of columns that tell each other
    half is counted: the root of the product.
    """
    if not rows.size:
        return 1.0
    agree = 0.0
    for column in rows.T:
        shares = np.unique(column, return_counts=True)[1] / len(column)
        agree += float(np.log((shares**2).sum()))
    return float(min(1.0, len(rows) * np.exp(agree / 2)))
