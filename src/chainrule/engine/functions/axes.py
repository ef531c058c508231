"""What the functions share: axes and shapes checked, and the register of functions that are methods too."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from chainrule.engine.tensor import METHODS, Axis, Tensor
from chainrule.errors import ArgumentError, ShapeError

Function = TypeVar("Function", bound=Callable[..., Any])
Lengths = int | Sequence[int]


def method(function: Function) -> Function:
    """Make `function` a method of `Tensor` of the same name."""
    METHODS[function.__name__] = function
    return function


def one_axis(axis: int, rank: int, name: str) -> int:
    """`axis` counted from the front."""
    if not _is_whole(axis):
        raise ArgumentError(f"{name}: axis must be an integer, but is {axis!r}.")
    if not -rank <= axis < rank:
        raise ShapeError(f"{name}: axis {axis} does not exist in a tensor of {rank} axes.")
    return int(axis) % rank


def all_axes(axis: Axis | list[int], rank: int, name: str) -> tuple[int, ...]:
    """`axis` (a number, several, or `None` for all) as sorted axes counted from the front."""
    if axis is None:
        return tuple(range(rank))
    axes = [one_axis(each, rank, name) for each in _several(axis)]
    if len(set(axes)) != len(axes):
        raise ArgumentError(f"{name}: an axis is named twice in {axis}.")
    return tuple(sorted(axes))


def kept(x: Tensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of `x` with `axes` of length 1."""
    return tuple(1 if axis in axes else length for axis, length in enumerate(x.shape))


def lengths_of(shape: Lengths, *, open_length: bool = False) -> tuple[int, ...]:
    """`shape` as a tuple, checked; with `open_length` a length may be -1, to be worked out."""
    lengths = tuple(_several(shape))
    lowest = -1 if open_length else 0
    if any(not _is_whole(length) or length < lowest for length in lengths):
        raise ArgumentError(f"a shape holds whole numbers from {lowest}, but is {shape!r}.")
    return tuple(int(length) for length in lengths)


def _several(given: Any) -> Iterable[Any]:
    """One or several as several; an integer is told at once, as to find out that it has no elements takes long."""
    return given if not isinstance(given, int) and isinstance(given, Iterable) else (given,)


def _is_whole(number: Any) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)
