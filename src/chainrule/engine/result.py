"""A tensor that machine code made: an array, and a node only once somebody computes with it.

A compiled function may be called some hundred thousand times a second, and most of what it returns is only looked at.
"""

from __future__ import annotations

import math
from dataclasses import replace

from chainrule.engine.dtypes import DType
from chainrule.engine.graph import Forgotten, Node, Shape
from chainrule.engine.tensor import Array, Tensor, constant


class Result(Tensor):
    """What a compiled function returns: a tensor that does not remember how it was made.

    Parameters
    ----------
    array
        Its value, which nobody else holds.
    forgotten
        Of what it does not remember that it was made: what `backpropagate` warns of.
    """

    __slots__ = ("_array", "_forgotten")

    def __init__(self, array: Array, forgotten: Forgotten | None = None) -> None:
        self._array, self._forgotten = array, forgotten

    @property
    def node(self) -> Node:
        """A constant of this value, made where it is first needed."""
        if not hasattr(self, "_node"):
            self._node = replace(constant(self._array, self._array.dtype).node, owner=self._forgotten)
        return self._node

    @property
    def shape(self) -> Shape:
        """The length of every axis."""
        shape: Shape = self._array.shape
        return shape

    @property
    def dtype(self) -> DType:
        """The data type: one of bool, int32, int64, float32, float64."""
        dtype: DType = self._array.dtype
        return dtype

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self._array.shape)

    @property
    def value(self) -> Array:
        """The value as a read-only NumPy array (no copy)."""
        self._array.setflags(write=False)
        return self._array
