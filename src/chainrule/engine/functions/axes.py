"""What the functions share: axes made positive, and the register of functions that are methods too."""

from collections.abc import Callable
from typing import Any, TypeVar

from chainrule.engine.tensor import METHODS, Axis, Tensor
from chainrule.errors import ArgumentError, ShapeError

Function = TypeVar("Function", bound=Callable[..., Any])


def method(function: Function) -> Function:
    """Make `function` a method of `Tensor` of the same name."""
    METHODS[function.__name__] = function
    return function


def one_axis(axis: int, rank: int, name: str) -> int:
    """`axis` counted from the front."""
    if not isinstance(axis, int):
        raise ArgumentError(f"{name}: axis must be an integer, but is {axis!r}.")
    if not -rank <= axis < rank:
        raise ShapeError(f"{name}: axis {axis} does not exist in a tensor of {rank} axes.")
    return axis % rank


def all_axes(axis: Axis | list[int], rank: int, name: str) -> tuple[int, ...]:
    """`axis` (a number, several, or `None` for all) as sorted axes counted from the front."""
    if axis is None:
        return tuple(range(rank))
    axes = [one_axis(each, rank, name) for each in ((axis,) if isinstance(axis, int) else axis)]
    if len(set(axes)) != len(axes):
        raise ArgumentError(f"{name}: an axis is named twice in {axis}.")
    return tuple(sorted(axes))


def kept(x: Tensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of `x` with `axes` of length 1."""
    return tuple(1 if axis in axes else length for axis, length in enumerate(x.shape))
