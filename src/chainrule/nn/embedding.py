"""Embedding: a table of learned rows, looked up by number."""

import functools
from typing import Any

import numpy as np

from chainrule.engine.functions import take
from chainrule.engine.random import Generator
from chainrule.engine.state import Parameter
from chainrule.engine.tensor import Tensor, asarray
from chainrule.errors import DTypeError, ShapeError
from chainrule.nn.arguments import whole
from chainrule.nn.initializers import Initializer, initial, normal
from chainrule.nn.module import Module


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
        known = indices.node.value
        count = self.weight.shape[0]
        if known is not None and ((known < 0) | (known >= count)).any():
            place = tuple(int(i) for i in np.argwhere((known < 0) | (known >= count))[0])
            raise ShapeError(
                f"{self.label()} has rows 0 to {count - 1}, but the index at {place} is {int(known[place])}."
            )
        return take(self.weight, indices, axis=0)
