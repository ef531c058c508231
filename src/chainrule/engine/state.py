"""State by reference: `State` is a tensor that can be assigned, `Parameter` one that backpropagation finds.

A compiled program works on a state's value in place. The state lends it an array for that; whoever reads the state
afterwards gets this very array, which from then on nobody writes to: the program is lent a copy next time.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.engine import context
from chainrule.engine.context import trace_under_way
from chainrule.engine.dtypes import DType, is_floating
from chainrule.engine.graph import Node
from chainrule.engine.room import aligned, near_others
from chainrule.engine.tensor import Array, Tensor, asarray, leaf
from chainrule.errors import DTypeError, ShapeError


class State(Tensor):
    """A tensor that can be assigned: running statistics, optimizer moments, counters.

    Graphs made before an assignment keep the value that they read. Inside a trace, reading makes an input of the
    program and assigning makes an output that is written in place.

    Parameters
    ----------
    value
        The first value; its shape and data type stay.
    name
        Its path in the network, such as `"0.running_mean"`.
    """

    __slots__ = ("_lent", "name")

    def __init__(self, value: Any, name: str = "") -> None:
        self.name = name
        self._lent: Array | None = None
        super().__init__(self._leaf(_held(value, None).value))

    def _leaf(self, value: Array) -> Node:
        return leaf(value, tracked=self._is_tracked(value.dtype), owner=self)

    def _is_tracked(self, dtype: DType) -> bool:
        return False

    @property
    def node(self) -> Node:
        """The node of the value as it is now."""
        trace = trace_under_way.get()
        if trace is not None:
            return trace.read(self)
        if self._lent is not None:
            self._node, self._lent = self._leaf(self._lent), None
            context.places.changed()
        return self._node

    def lend(self) -> Array:
        """The array of the value, to be written in place until somebody reads the state."""
        if self._lent is None:
            value = self._node.value
            assert value is not None, "a state always has a value"
            self._lent = aligned(value)
            self._node = replace(self._node, value=None)
            context.places.changed()
        return self._lent

    def __copy__(self) -> State:
        """Another state of the same value, which goes its own way."""
        return copy.deepcopy(self)

    @property
    def is_lent(self) -> bool:
        """Whether a program may write to its array: to lend it takes no copy then."""
        return self._lent is not None

    def look(self) -> Array:
        """The array of the value, only to be read now, without taking it from the program to which it is lent."""
        value = self._node.value if self._lent is None else self._lent
        assert value is not None, "a state always has a value"
        return value

    def assign(self, value: Any) -> None:
        """Take a new value, of the same shape and data type. No gradient flows through an assignment.

        Raises
        ------
        ShapeError, DTypeError
            If shape or data type differ.
        """
        new = _held(value, self.dtype)
        label = f'{type(self).__name__} "{self.name}"' if self.name else type(self).__name__
        if new.shape != self.shape:
            raise ShapeError(f"{label} has the shape {self.shape} and cannot take a value of {new.shape}.")
        if new.dtype != self.dtype:
            raise DTypeError(f"{label} is {self.dtype.name} and cannot take {new.dtype.name}; use astype.")
        trace = trace_under_way.get()
        if trace is not None:
            trace.write(self, new)
        else:
            self._node, self._lent = self._leaf(new.value), None
            context.places.changed()

    def __repr__(self) -> str:
        label = f'"{self.name}", ' if self.name else ""
        return super().__repr__().replace("Tensor(", f"{type(self).__name__}({label}", 1)


def _held(value: Any, dtype: DType | None) -> Tensor:
    """What a state is to hold: a tensor is shared as it is, a copy of an array lies near those of other states."""
    if isinstance(value, Tensor):
        return asarray(value)
    tensor = asarray(value, dtype=dtype)
    return asarray(near_others(tensor.value), copy=False) if isinstance(value, np.ndarray) else tensor


class Parameter(State):
    """A state that is learned: `backpropagate` finds it by itself.

    Parameters
    ----------
    value
        The first value, float32 or float64.
    name
        Its path in the network, such as `"0.weight"`.
    trainable
        Whether gradients are wanted for it; `False` freezes it.
    """

    __slots__ = ("_trainable",)

    def __init__(self, value: Any, name: str = "", trainable: bool = True) -> None:
        self._trainable = trainable
        super().__init__(value, name)
        if not is_floating(self.dtype):
            raise DTypeError(f"a Parameter must be float32 or float64, but its value is {self.dtype.name}.")

    def _is_tracked(self, dtype: DType) -> bool:
        return self._trainable and is_floating(dtype)

    @property
    def trainable(self) -> bool:
        """Whether gradients are wanted for it."""
        return self._trainable

    @trainable.setter
    def trainable(self, wanted: bool) -> None:
        self._trainable = wanted
        self._node = self._leaf(self.value)
        context.modes.changed()
