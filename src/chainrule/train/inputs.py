"""What `fit` and `evaluate` are given, checked and made into batches.

Arrays stay where they are, also on disk: rows are gathered batch by batch. Whatever does not fit is said here, before
the first step, with its place.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from chainrule.data.batches import Batches, split
from chainrule.engine.dtypes import DType
from chainrule.engine.tensor import asarray
from chainrule.errors import ArgumentError, DataError
from chainrule.nn.losses import Loss, check_probabilities

Array = np.ndarray[Any, Any]
_CHUNK = 2**22  # elements that are looked at together


class BatchSource(Protocol):
    """Where batches come from."""

    batches: int  # in an epoch; 0 where that is unknown

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[tuple[Array, ...]]:
        """The batches of an epoch (from 0) without the first `skip`: tuples (x, y) or (x, y, weights)."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of arrays (inputs, targets, perhaps weights) that stay where they are; all, or those in `chosen`."""

    arrays: tuple[Array, ...]
    chosen: Array | None = None

    def __len__(self) -> int:
        return len(self.arrays[0] if self.chosen is None else self.chosen)

    def take(self, places: Any) -> tuple[Array, ...]:
        """The rows at `places`, a slice or row numbers, as arrays in memory."""
        numbers = places if self.chosen is None else self.chosen[places]
        return tuple(np.asarray(array[numbers]) for array in self.arrays)

    def numbers(self, places: Array) -> Array:
        """As which rows of the arrays the rows at `places` stand."""
        return places if self.chosen is None else np.asarray(self.chosen[places])

    def in_order(self, batch_size: int) -> Iterator[tuple[Array, ...]]:
        """All rows from first to last, `batch_size` at a time."""
        for start in range(0, len(self), batch_size):
            yield self.take(slice(start, start + batch_size))


class ShuffledRows:
    """A source that draws a new order of `rows` for every epoch, from the seed and the epoch alone."""

    def __init__(self, rows: Rows, batch_size: int, seed: int) -> None:
        self.rows, self.batch_size = rows, batch_size
        self._numbers = Batches((np.arange(len(rows)),), batch_size, True, seed)
        self.batches = len(self._numbers)

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[tuple[Array, ...]]:
        """The batches of an epoch without the first `skip`."""
        for (numbers,) in itertools.islice(self._numbers.epoch(epoch), skip, None):
            yield self.rows.take(numbers)

    def numbers(self, epoch: int, skip: int = 0) -> Iterator[Array]:
        """The same batches as numbers of rows of `rows.arrays`."""
        for (numbers,) in itertools.islice(self._numbers.epoch(epoch), skip, None):
            yield self.rows.numbers(numbers)


class GivenBatches:
    """A source that walks over an iterable of batches once an epoch.

    It keeps the first `keep` rows in `kept`, as copies: batches may be gone, or cost what they cost to make.
    """

    def __init__(self, data: Iterable[Any], epochs: int, keep: int = 0) -> None:
        if isinstance(data, Iterator) and epochs > 1:
            raise DataError(
                f"an iterator or generator can be walked only once, but epochs is {epochs}; give a list of batches, "
                "or an object whose __iter__ begins anew."
            )
        self._data, self._keep = data, keep
        self.kept: list[tuple[Array, ...]] = []
        self.batches = len(data) if isinstance(data, Sized) else 0

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[tuple[Array, ...]]:
        """The batches of an epoch without the first `skip`."""
        for number, batch in enumerate(itertools.islice(self._data, skip, None), skip + 1):
            if not isinstance(batch, tuple | list) or not 2 <= len(batch) <= 3:
                raise DataError(f"batch {number} must be a tuple (x, y) or (x, y, weights).")
            arrays = tuple(_as_array(name, part) for name, part in zip(("x", "y", "weights"), batch, strict=False))
            if len({len(array) for array in arrays}) > 1:
                raise DataError(f"batch {number} has parts of different lengths: {[len(array) for array in arrays]}.")
            if epoch == 0 and sum(len(x) for x, *_ in self.kept) < self._keep:
                self.kept.append(tuple(array.copy() for array in arrays))
            yield arrays

    def first_rows(self) -> Rows:
        """The rows that were kept, of batches that look as the first one does."""
        like = [tuple(array.shape[1:] for array in batch) for batch in self.kept]
        alike = [batch for batch, shapes in zip(self.kept, like, strict=True) if shapes == like[0]]
        return Rows(tuple(np.concatenate(parts) for parts in zip(*alike, strict=True)))


def rows_of(data: Any, dtype: DType, sample_weights: Any = None) -> Rows:
    """The rows of `(X, y)` or `(X, y, weights)`, checked, for a network that works in `dtype`.

    Raises
    ------
    DataError
        If they are not arrays of finite numbers with the same number of rows, or there are none.
    """
    if not isinstance(data, tuple | list) or not 2 <= len(data) <= 3:
        raise DataError("data must be a tuple (X, y) or (X, y, weights).")
    parts = list(data)
    if sample_weights is not None:
        if len(parts) == 3:
            raise ArgumentError("give weights once: either in data, as (X, y, weights), or as sample_weights.")
        parts.append(sample_weights)
    X, *rest = (array_of(name, part, dtype) for name, part in zip(("X", "y", "weights"), parts, strict=False))
    for name, array in zip(("y", "weights"), rest, strict=False):
        if len(array) != len(X):
            raise DataError(f"X has {len(X)} rows, but {name} has {len(array)}; give one {name} value for each row.")
    if not len(X):
        raise DataError("X has no rows; there is nothing to learn from.")
    if len(rest) > 1:
        rest[1] = _checked_weights(rest[1])
    return Rows((X, *rest))


def _checked_weights(weights: Array) -> Array:
    if weights.ndim != 1:
        raise DataError(f"weights must have the shape ({len(weights)},), one number for each row, not {weights.shape}.")
    if (weights < 0).any():
        place = int(np.argmax(weights < 0))
        raise DataError(f"the weight in row {place} is {weights[place]}; weights must not be negative.")
    if not weights.any():
        raise DataError("all weights are 0, so nothing would be learned; give some rows a weight above 0.")
    return weights.astype(np.float64)


def array_of(name: str, part: Any, dtype: DType) -> Array:
    """`part` as an array of finite numbers with rows first.

    Raises
    ------
    DataError
        If it holds something else; the message names the first place.
    """
    array = _as_array(name, part)
    if array.dtype.kind != "f":
        return array
    most = float(np.finfo(dtype).max)
    step = max(1, _CHUNK // max(1, array[:1].size))
    for start in range(0, len(array), step):
        chunk = array[start : start + step]
        fits = (chunk >= -most) & (chunk <= most)
        if not fits.all():
            place = tuple(int(i) for i in np.argwhere(~fits)[0])
            column = f", column {', '.join(map(str, place[1:]))}" if len(place) > 1 else ""
            raise DataError(
                f"{name} holds {float(chunk[place])} in row {start + place[0]}{column} (counted from 0); "
                "fill in or drop such rows first."
            )
    return array


def _as_array(name: str, part: Any) -> Array:
    try:
        array = part if isinstance(part, np.ndarray) else np.asarray(part)
    except (ValueError, TypeError) as error:
        raise DataError(f"{name} cannot become one array of numbers: {error}.") from error
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        raise DataError(
            f"{name} must be an array of numbers with rows first, but is {kind_of(array)} of shape {array.shape}. "
            "Encode words as numbers first, or train on the table with `chainrule train`."
        )
    return array


def kind_of(array: Array) -> str:
    """What an array holds, in a word: "text", or the name of its data type.

    Examples
    --------
    >>> kind_of(np.array(["cat", "dog"])), kind_of(np.array([1 + 2j]))
    ('text', 'complex128')
    """
    return "text" if array.dtype.kind in "US" else array.dtype.name


def hold_out(rows: Rows, validation: Any, seed: int, loss: Loss) -> tuple[Rows, Rows]:
    """The rows to learn from and those held out, a fraction of them, by class where the targets are classes.

    Raises
    ------
    ArgumentError, DataError
        If the fraction is not between 0 and 1, or leaves one part empty.
    """
    if isinstance(validation, bool) or not isinstance(validation, int | float | np.number):
        raise ArgumentError(
            f"validation must be a fraction between 0 and 1 or a set (X, y), but is a {type(validation).__name__}."
        )
    kept, held = split(len(rows), float(validation), seed, _classes(rows.arrays[1], loss))
    return Rows(rows.arrays, kept), Rows(rows.arrays, held)


def _classes(y: Array, loss: Loss) -> Array | None:
    """The targets if they number classes."""
    if loss.kind == "regression" or y.size != len(y):
        return None
    labels = np.asarray(y).reshape(-1)
    return labels if labels.dtype.kind in "iub" or (labels == np.round(labels)).all() else None


def check_targets(loss: Loss, y: Array, answers: tuple[int, ...], dtype: DType) -> bool:
    """Refuse targets that the loss cannot take, all rows at once, with the first wrong one.

    `answers` is the shape of what the network gives for a few rows, in `dtype`. Tells whether everything was looked at
    that the loss looks at in targets.

    Raises
    ------
    DataError
        If a label is not a class of the network, or a target out of the loss's range.
    ArgumentError
        If the targets are rows of numbers that are no probabilities.
    """
    y = np.asarray(y)
    are_shares = loss.name == "kl_divergence" or (loss.name == "cross_entropy" and y.dtype.kind == "f")
    if are_shares and y.ndim == 2 == len(answers):
        if y.shape[1] == answers[1]:
            check_probabilities(loss.name, asarray(y.astype(dtype, copy=False)))
        return bool(y.shape[1] == answers[1])
    if loss.name in ("cross_entropy", "hinge") and y.dtype.kind in "iu" and len(answers) == 2 and answers[1] > 1:
        wrong = (y < 0) | (y >= answers[1])
        wanted = (
            f"the network has {answers[1]} outputs, for the classes 0 to {answers[1] - 1}: number the classes from 0, "
            "or give the last layer more outputs"
        )
    elif loss.name == "binary_cross_entropy":
        wrong = (y < 0) | (y > 1)
        wanted = "binary_cross_entropy expects 0 or 1 (or a probability): map your two classes to 0 and 1"
    elif loss.name == "hinge" and answers[1:] in ((), (1,)):
        wrong = ~np.isin(y, (-1, 0, 1))
        wanted = "hinge expects the classes 0 and 1, or -1 and 1: map yours to them"
    elif loss.name == "poisson":
        wrong = y < 0
        wanted = "poisson expects counts from 0"
    else:
        return False
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise DataError(f"y holds {y[place]} in row {place[0]} (counted from 0), but {wanted}.")
    return True
