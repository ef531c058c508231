"""Reading by position: slices, gathers, boolean selection, and the sums that scatter back.

A key is turned into at most three primitives: SLICE and FLIP for the basic part, and one TAKE on a flattened view
for all integer arrays together. Boolean keys are turned into integer arrays, which needs their values (eager only).
"""

import builtins
import math
from typing import Any

import numpy as np

from chainrule.engine.checks import require
from chainrule.engine.dtypes import bool_, float32, int64, supported
from chainrule.engine.functions.axes import method, one_axis
from chainrule.engine.functions.creation import arange
from chainrule.engine.functions.elementwise import add, equal, where
from chainrule.engine.functions.shapes import broadcast_arrays, broadcast_to, expand_dims, permute_dims, reshape
from chainrule.engine.graph import broadcast_shapes
from chainrule.engine.op import Op
from chainrule.engine.symbols import numbers_of
from chainrule.engine.tensor import METHODS, Tensor, apply, asarray, cast, operands
from chainrule.errors import ArgumentError, DTypeError, ShapeError


def getitem(x: Tensor, key: Any) -> Tensor:
    """`x[key]` by NumPy's rules: integers, slices, `None`, `...`, integer arrays and boolean arrays."""
    if _is_truth(key):  # a mask of no axes: a new first axis of length 1, or of length 0
        return take(expand_dims(x), arange(int(bool(key))), axis=0)
    parts = _expand(x, key if isinstance(key, tuple) else (key,))
    x = _basic(x, parts)
    shape: list[int] = []  # of the result of the basic part: integers gone, None in place
    arrays: dict[int, Tensor] = {}  # axis of that result -> integer array
    axis = 0
    for part in parts:
        if part is None:
            shape.append(1)
        elif isinstance(part, Tensor):
            arrays[len(shape)] = part
            shape.append(x.shape[axis])
            axis += 1
        else:
            if isinstance(part, slice):
                shape.append(x.shape[axis])
            axis += 1
    x = reshape(x, shape)
    if not arrays:
        return x
    separated = _arrays_are_separated(parts)
    return _gather(x, arrays, in_front=separated)


METHODS["__getitem__"] = getitem


def _is_truth(part: Any) -> bool:
    is_scalar = isinstance(part, bool | np.bool_) or (isinstance(part, np.ndarray | Tensor) and part.ndim == 0)
    return is_scalar and (isinstance(part, bool) or part.dtype == bool_)


def _expand(x: Tensor, key: tuple[Any, ...]) -> list[Any]:
    """The key with `...` written out, booleans turned into integer arrays, and every part of a known kind."""
    parts: list[Any] = []
    if builtins.any(_is_truth(part) for part in key):
        raise ArgumentError("a single boolean in an index must stand alone: x[mask].")
    used = builtins.sum(_axes_of(part) for part in key)
    if builtins.sum(part is Ellipsis for part in key) > 1:
        raise ArgumentError("an index may hold '...' only once.")
    if used > x.ndim:
        raise ShapeError(f"{used} indices for a tensor of {x.ndim} axes and shape {x.shape}.")
    fill = [slice(None)] * (x.ndim - used)
    axis = 0
    for part in key if builtins.any(part is Ellipsis for part in key) else (*key, Ellipsis):
        if part is Ellipsis:
            parts += fill
            axis += len(fill)
        elif part is None or isinstance(part, slice):
            parts.append(part if part is None else _checked(part))
            axis += part is not None
        elif isinstance(part, int | np.integer) and not isinstance(part, bool):
            parts.append(_position(int(part), x.shape[axis], axis))
            axis += 1
        else:
            for each in _as_integers(part, x.shape, axis):
                parts.append(each)
                axis += 1
    return parts


def _checked(part: slice) -> slice:
    try:
        part.indices(0)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{part} is not a slice of whole numbers with a step other than 0.") from error
    return part


def _axes_of(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    if isinstance(part, slice | int | np.integer) and not isinstance(part, bool):
        return 1
    dtype, ndim = (part.dtype, part.ndim) if isinstance(part, Tensor) else _look(part)
    return ndim if dtype == bool_ else 1


def _look(part: Any) -> tuple[Any, int]:
    array = np.asarray(part)
    if array.dtype.kind not in "biu" and array.size:
        raise DTypeError(f"{part!r} is not an index; use integers, slices, None, '...', or integer or bool arrays.")
    return array.dtype, array.ndim


def _position(index: int, length: int, axis: int) -> int:
    if not -length <= index < length:
        raise ShapeError(f"index {index} is out of range for axis {axis} of length {length}.")
    return index % length


def _as_integers(part: Any, shape: tuple[int, ...], axis: int) -> list[Tensor]:
    tensor = part if isinstance(part, Tensor) else asarray(np.asarray(part, None if np.size(part) else np.int64))
    if tensor.dtype == bool_:
        if tensor.shape != shape[axis : axis + tensor.ndim]:
            raise ShapeError(f"a mask of shape {tensor.shape} does not fit the shape {shape} at axis {axis}.")
        instead = "Its shape would depend on the data: use cr.where(mask, x, 0), and sums weighted by 0 and 1"
        chosen = numbers_of(tensor.node, "a selection x[mask] needs to know what is true", instead)
        return [asarray(found) for found in np.nonzero(chosen)]
    if tensor.dtype.kind != "i":
        raise DTypeError(f"an index must be integer or bool, but is {tensor.dtype.name}.")
    return [in_range(tensor, shape[axis], f"index for axis {axis}")]


_NOWHERE = -(2**36)  # below every index of a flattened tensor, and no int64 overflows where it is flattened with it


def in_range(indices: Tensor, length: int, what: str) -> Tensor:
    """`indices` counted from the front, int64; refused where out of range.

    Those of a trace are looked at when the program runs, before the step where they are known by then. What turns out
    only later is made to be out of range in any tensor that this one is flattened to, too.
    """

    def refusal(values: np.ndarray[Any, Any], place: tuple[int, ...]) -> ShapeError:
        return ShapeError(f"{what}: {int(values[place])} at {place} is out of range for length {length}.")

    known = indices.node.value
    asked = cast(indices, int64) if known is None else indices  # a length may be larger than an int32
    require(asked, lambda each: (each >= -length) & (each < length), refusal, is_lookup=True)
    if known is not None and not (known < 0).any():
        return cast(indices, int64)
    wide = cast(indices, int64)
    counted = where(wide < 0, wide + length, wide)
    return counted if known is not None else where((counted >= 0) & (counted < length), counted, _NOWHERE)


def _basic(x: Tensor, parts: list[Any]) -> Tensor:
    """The slices and integers of a key, as one SLICE and one FLIP; integers leave an axis of length 1."""
    starts, stops, steps, flipped = [], [], [], []
    for axis, part in enumerate(part for part in parts if part is not None):
        length = x.shape[axis]
        if isinstance(part, int):
            start, stop, step = part, part + 1, 1
        elif isinstance(part, slice):
            start, stop, step = part.indices(length)
            if step < 0:  # the same elements forwards, then flipped
                count = len(range(start, stop, step))
                start, stop, step = start + (count - 1) * step, start + 1, -step
                start, stop = (start, stop) if count else (0, 0)
                flipped.append(axis)
            stop = builtins.max(start, stop)
        else:
            start, stop, step = 0, length, 1
        starts.append(start)
        stops.append(stop)
        steps.append(step)
    if (starts, stops, steps) != ([0] * x.ndim, list(x.shape), [1] * x.ndim):
        x = apply(Op.SLICE, x, starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))
    return apply(Op.FLIP, x, axes=tuple(flipped)) if flipped else x


def _arrays_are_separated(parts: list[Any]) -> bool:
    """NumPy's rule: their axes go to the front where a slice or None stands between them (integers are arrays too)."""
    places = [place for place, part in enumerate(parts) if isinstance(part, Tensor | int)]
    return places[-1] - places[0] + 1 != len(places)


def _gather(x: Tensor, arrays: dict[int, Tensor], *, in_front: bool) -> Tensor:
    """Several integer arrays at once: one TAKE on the view in which their axes are flattened together."""
    axes = list(arrays)
    first = 0 if in_front else axes[0]
    rest = [axis for axis in range(x.ndim) if axis not in arrays]
    moved = permute_dims(x, [*rest[:first], *axes, *rest[first:]])
    lengths = [x.shape[axis] for axis in axes]
    position = broadcast_arrays(*arrays.values())
    flat = position[0]
    for length, index in zip(lengths[1:], position[1:], strict=True):
        flat = flat * length + index
    joined = (*moved.shape[:first], math.prod(lengths), *moved.shape[first + len(axes) :])
    return apply(Op.TAKE, reshape(moved, joined), flat, axis=first)


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Tensor:
    """The elements at `indices` along `axis`, which is replaced by the shape of the indices."""
    tensor = asarray(x)
    if axis is None:
        if tensor.ndim != 1:
            raise ArgumentError(f"take: name the axis for a tensor of {tensor.ndim} axes.")
        axis = 0
    place = one_axis(axis, tensor.ndim, "take")
    return apply(Op.TAKE, tensor, _indices(indices, tensor.shape[place], "take"), axis=place)


def _indices(indices: Any, length: int, name: str) -> Tensor:
    tensor = asarray(indices) if np.size(indices) or isinstance(indices, Tensor) else asarray(indices, dtype=int64)
    if tensor.dtype.kind != "i":
        raise DTypeError(f"{name}: indices must be integers, but are {tensor.dtype.name}.")
    return in_range(tensor, length, name)


def _flat_positions(indices: Tensor, shape: tuple[int, ...], axis: int) -> Tensor:
    """For each element of `indices` its position in a flattened tensor of `shape`, other axes keeping their place."""
    flat = broadcast_to(asarray(0), indices.shape)
    for place, length in enumerate(shape):
        counter = arange(indices.shape[place]).reshape([-1 if i == place else 1 for i in range(len(shape))])
        flat = flat * length + (indices if place == axis else counter)
    return flat


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Tensor:
    """For every place of `indices` the element at that index along `axis`; the other axes keep their place, and
    broadcast where one of both is of length 1."""
    tensor = asarray(x)
    place = one_axis(axis, tensor.ndim, "take_along_axis")
    index = _indices(indices, tensor.shape[place], "take_along_axis")
    if index.ndim != tensor.ndim:
        raise ShapeError(f"take_along_axis: indices {index.shape} do not go with {tensor.shape} along axis {axis}.")
    around = broadcast_shapes("take_along_axis", _but(tensor.shape, place, 1), _but(index.shape, place, 1))
    tensor = broadcast_to(tensor, _but(around, place, tensor.shape[place]))
    index = broadcast_to(index, _but(around, place, index.shape[place]))
    flat = _flat_positions(index, tensor.shape, place)
    return apply(Op.TAKE, reshape(tensor, (tensor.size,)), flat, axis=0)


def _but(shape: tuple[int, ...], axis: int, length: int) -> tuple[int, ...]:
    return (*shape[:axis], length, *shape[axis + 1 :])


def scatter_add(x: Any, indices: Any, updates: Any, /, *, axis: int = 0) -> Tensor:
    """`x` with `updates` added at `indices` along `axis`; equal indices add up.

    Shapes: with `x` of (..., n, ...) and n at `axis`, `updates` has the shape of `take(x, indices, axis=axis)`.
    """
    tensor, change = operands(x, updates)
    place = one_axis(axis, tensor.ndim, "scatter_add")
    index = _indices(indices, tensor.shape[place], "scatter_add")
    expected = (*tensor.shape[:place], *index.shape, *tensor.shape[place + 1 :])
    if change.shape != expected:
        raise ShapeError(f"scatter_add: updates have the shape {change.shape}, but {expected} is needed.")
    return add(tensor, apply(Op.SCATTER_ADD, change, index, axis=place, size=tensor.shape[place]))


def one_hot(x: Any, classes: int, /, *, dtype: Any = float32) -> Tensor:
    """A new last axis of length `classes` with 1 at each index and 0 elsewhere."""
    tensor = _indices(x, classes, "one_hot")
    return cast(equal(expand_dims(tensor, axis=-1), arange(classes)), supported(dtype))


@method
def nonzero(x: Any, /) -> tuple[Tensor, ...]:
    """The indices of the elements that are not zero, one tensor for each axis. Eager only: the size depends on data."""
    tensor = asarray(x)
    if not tensor.ndim:
        raise ShapeError("nonzero: a scalar has no indices.")
    instead = "Its shape would depend on the data: use the mask x != 0 itself, in cr.where or as a factor"
    values = numbers_of(tensor.node, "cr.nonzero needs to know what is zero", instead)
    return tuple(asarray(found) for found in np.nonzero(values))
