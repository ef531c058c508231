"""Embedding: a table of learned rows, looked up by number; alone, or for the last columns of a table."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.checks import checked_already, require
from chainrule.engine.dtypes import int64
from chainrule.engine.functions import astype, concat, take, where
from chainrule.engine.random import Generator
from chainrule.engine.state import Parameter
from chainrule.engine.tensor import Tensor, asarray
from chainrule.errors import ArgumentError, DTypeError, ShapeError
from chainrule.nn.arguments import whole
from chainrule.nn.initializers import Initializer, initial, normal
from chainrule.nn.module import Module

Array = np.ndarray[Any, Any]


class Embedding(Module):
    """Row `i` of a learned table for every index `i`: `(...)` becomes `(..., width)`.

    Parameters
    ----------
    count
        How many rows the table has: indices go from 0 up to, not including, `count`.
    width
        How many features a row has.
    init
        How the table begins; default normally distributed with standard deviation 1.
    generator
        Where random numbers come from; default `chainrule.random.default()`.

    Attributes
    ----------
    weight
        Parameter `(count, width)`.

    Raises
    ------
    DTypeError
        On a call, if the indices are not integers.
    ShapeError
        On a call, if an index is out of range.

    Examples
    --------
    >>> from chainrule import nn
    >>> nn.Embedding(10, 4)([[1, 2, 3]]).shape
    (1, 3, 4)
    """

    def __init__(
        self,
        count: int,
        width: int,
        init: str | Initializer | None = None,
        generator: Generator | None = None,
    ) -> None:
        shape = (whole(count, "Embedding: count"), whole(width, "Embedding: width"))
        default = functools.partial(normal, std=1.0)
        self.weight = Parameter(initial(default if init is None else init, shape, "Embedding: weight", generator))

    def __call__(self, indices: Any) -> Tensor:
        indices = asarray(indices)
        if indices.dtype.kind != "i":
            raise DTypeError(f"{self.label()} looks up integers, but got {indices.dtype.name}; use astype(cr.int64).")
        count, label = self.weight.shape[0], self.label()

        def refusal(values: Array, place: tuple[int, ...]) -> ShapeError:
            return ShapeError(f"{label} has rows 0 to {count - 1}, but the index at {place} is {int(values[place])}.")

        require(indices, lambda each: (each >= 0) & (each < count), refusal, is_lookup=True)
        if indices.node.value is None:  # what turns out only within a step must not count from the end
            indices = where(indices < 0, count, indices)
        with checked_already():
            return take(self.weight, indices, axis=0)


class EmbeddedColumns(Module):
    """The last columns of each row are codes; each is replaced by a row of a learned table of its own.

    `(rows, numbers + codes)` becomes `(rows, numbers + sum of the widths)`: numbers first, then the embeddings.

    Parameters
    ----------
    counts
        How many codes each of the last columns has, in their order.
    widths
        How many features each becomes.
    init
        How the tables begin; default normally distributed with standard deviation 0.1, on the scale at which a column
        of standardised numbers is a quiet neighbour.
    generator
        Where random numbers come from; default `chainrule.random.default()`.

    Raises
    ------
    ArgumentError
        If there is not one width for each count, or none.
    ShapeError
        On a call, if there are fewer columns than codes, or a code is out of range.

    Examples
    --------
    >>> from chainrule import nn
    >>> nn.EmbeddedColumns([10, 4], [3, 2])([[0.5, 9.0, 1.0], [0.1, 0.0, 3.0]]).shape
    (2, 6)
    """

    def __init__(
        self,
        counts: Sequence[int],
        widths: Sequence[int],
        init: str | Initializer | None = None,
        generator: Generator | None = None,
    ) -> None:
        if not counts or len(counts) != len(widths):
            raise ArgumentError(
                f"EmbeddedColumns: give one width for each count, but there are {len(widths)} for {len(counts)}."
            )
        begin = functools.partial(normal, std=0.1) if init is None else init
        self.tables = [Embedding(count, width, begin, generator) for count, width in zip(counts, widths, strict=True)]

    def __call__(self, x: Any) -> Tensor:
        x = asarray(x)
        numbers = (x.shape[1] if x.ndim == 2 else 0) - len(self.tables)
        if numbers < 0:
            raise ShapeError(f"{self.label()} expects (rows, {len(self.tables)} columns or more) but got {x.shape}.")
        parts = [x[:, :numbers]] if numbers else []
        for place, table in enumerate(self.tables, numbers):
            codes = x[:, place]
            _require_codes(codes, table)
            parts.append(table(astype(codes, int64)))
        return concat(parts, axis=1)


def _require_codes(codes: Tensor, table: Embedding) -> None:
    """No code is NaN, which is another integer wherever it is made one."""
    count, label = table.weight.shape[0], table.label()

    def refusal(_values: Array, place: tuple[int, ...]) -> ShapeError:
        return ShapeError(f"{label} has rows 0 to {count - 1}, but the code in row {place[0]} is NaN.")

    require(codes, lambda each: each == each, refusal)
