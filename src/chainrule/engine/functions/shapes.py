"""Functions that move elements without changing them: reshape, transpose, stretch, join, split, repeat."""

import builtins
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.functions.axes import Lengths, all_axes, lengths_of, method, one_axis
from chainrule.engine.graph import Shape, broadcast_shapes
from chainrule.engine.op import Op
from chainrule.engine.symbols import numbers_of
from chainrule.engine.tensor import Axis, Tensor, apply, asarray, operands
from chainrule.errors import ArgumentError, ShapeError


@method
def reshape(x: Any, /, shape: Lengths, *, copy: bool | None = None) -> Tensor:
    """The same elements in another shape; one length may be -1 and is worked out.

    `copy` is there for the standard's sake: whether tensors share memory cannot be seen, as no value ever changes.
    """
    tensor = asarray(x)
    lengths = list(lengths_of(shape, open_length=True))
    if lengths.count(-1) > 1:
        raise ArgumentError(f"reshape: the shape {tuple(lengths)} may hold one -1 only.")
    if -1 in lengths:
        rest = math.prod(length for length in lengths if length != -1)
        if rest == 0 or tensor.size % rest:
            raise ShapeError(f"reshape: {tensor.size} elements of {tensor.shape} do not fit {tuple(lengths)}.")
        lengths[lengths.index(-1)] = tensor.size // rest
    return tensor if tuple(lengths) == tensor.shape else apply(Op.RESHAPE, tensor, shape=tuple(lengths))


def permute_dims(x: Any, /, axes: Sequence[int]) -> Tensor:
    """The axes in the order `axes`."""
    tensor = asarray(x)
    order = tuple(one_axis(axis, tensor.ndim, "permute_dims") for axis in axes)
    if sorted(order) != list(range(tensor.ndim)):
        raise ArgumentError(f"permute_dims: {tuple(axes)} must name each of the {tensor.ndim} axes once.")
    return tensor if order == tuple(range(tensor.ndim)) else apply(Op.TRANSPOSE, tensor, axes=order)


method(permute_dims)


@method
def matrix_transpose(x: Any, /) -> Tensor:
    """The last two axes swapped."""
    tensor = asarray(x)
    if tensor.ndim < 2:
        raise ShapeError(f"matrix_transpose: needs at least two axes, but the shape is {tensor.shape}.")
    return permute_dims(tensor, (*range(tensor.ndim - 2), tensor.ndim - 1, tensor.ndim - 2))


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int], /) -> Tensor:
    """The axes `source` at the places `destination`, the others in their order."""
    tensor = asarray(x)
    come = [one_axis(a, tensor.ndim, "moveaxis") for a in ([source] if isinstance(source, int) else source)]
    go = [
        one_axis(a, tensor.ndim, "moveaxis") for a in ([destination] if isinstance(destination, int) else destination)
    ]
    if len(come) != len(go) or len(set(come)) != len(come) or len(set(go)) != len(go):
        raise ArgumentError(f"moveaxis: {source} and {destination} must be as many different axes.")
    order = [axis for axis in range(tensor.ndim) if axis not in come]
    for place, axis in sorted(zip(go, come, strict=True)):
        order.insert(place, axis)
    return permute_dims(tensor, order)


@method
def squeeze(x: Any, /, axis: Axis = None) -> Tensor:
    """Without the axes of length 1 named by `axis` (default: all of them)."""
    tensor = asarray(x)
    if axis is None:
        axes: tuple[int, ...] = tuple(i for i, length in enumerate(tensor.shape) if length == 1)
    else:
        axes = all_axes(axis, tensor.ndim, "squeeze")
    for each in axes:
        if tensor.shape[each] != 1:
            raise ShapeError(f"squeeze: axis {each} of shape {tensor.shape} is not of length 1.")
    return reshape(tensor, [length for i, length in enumerate(tensor.shape) if i not in axes])


def expand_dims(x: Any, /, *, axis: int = 0) -> Tensor:
    """A new axis of length 1 at the place `axis`."""
    tensor = asarray(x)
    place = one_axis(axis, tensor.ndim + 1, "expand_dims")
    return reshape(tensor, (*tensor.shape[:place], 1, *tensor.shape[place:]))


def broadcast_to(x: Any, /, shape: Lengths) -> Tensor:
    """Stretched to `shape`: axes of length 1 repeat, new axes come in front."""
    tensor = asarray(x)
    wanted = lengths_of(shape)
    return tensor if tensor.shape == wanted else apply(Op.BROADCAST, tensor, shape=wanted)


def broadcast_arrays(*arrays: Any) -> list[Tensor]:
    """All stretched to their common shape."""
    tensors = [asarray(array) for array in arrays]
    shape = broadcast_shapes("broadcast_arrays", *(tensor.shape for tensor in tensors))
    return [broadcast_to(tensor, shape) for tensor in tensors]


def flip(x: Any, /, *, axis: Axis = None) -> Tensor:
    """The order of elements reversed along `axis` (default: along all)."""
    tensor = asarray(x)
    axes = all_axes(axis, tensor.ndim, "flip")
    return apply(Op.FLIP, tensor, axes=axes) if axes else tensor


def roll(x: Any, /, shift: int | Sequence[int], *, axis: Axis = None) -> Tensor:
    """Elements moved by `shift` places along `axis`; what leaves at the end comes back at the front."""
    tensor = asarray(x)
    if axis is None:
        if not isinstance(shift, int):
            raise ArgumentError("roll: several shifts need as many axes; name them with axis=.")
        return reshape(roll(reshape(tensor, (-1,)), shift, axis=0), tensor.shape) if tensor.size else tensor
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    shifts = (shift,) * len(axes) if isinstance(shift, int) else tuple(shift)
    if len(axes) != len(shifts):
        raise ArgumentError(f"roll: {len(shifts)} shifts for {len(axes)} axes.")
    for each, places in zip(axes, shifts, strict=True):
        place = one_axis(each, tensor.ndim, "roll")
        length = tensor.shape[place]
        if length and places % length:
            cut = length - places % length
            tensor = concat([cut_axis(tensor, place, cut, length), cut_axis(tensor, place, 0, cut)], axis=place)
    return tensor


def cut_axis(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """The part from `start` to `stop` along one axis."""
    starts, stops = [0] * x.ndim, list(x.shape)
    starts[axis], stops[axis] = start, stop
    return apply(Op.SLICE, x, starts=tuple(starts), stops=tuple(stops), steps=(1,) * x.ndim)


def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Each element `repeats` times in a row along `axis` (default: of the flattened tensor).

    `repeats` is one number, or a vector with one for each element along `axis` (eager only: the size depends on data).
    """
    tensor = asarray(x)
    if axis is None:
        tensor, axis = reshape(tensor, (tensor.size,)), 0
    place = one_axis(axis, tensor.ndim, "repeat")
    counts = asarray(repeats)
    instead = "The shape would depend on the data: give a number of Python"
    given = numbers_of(counts.node, "cr.repeat needs to know how often", instead)
    if counts.dtype.kind != "i" or counts.ndim > 1 or builtins.any(count < 0 for count in given.flat):
        raise ArgumentError(f"repeat: repeats must hold whole numbers from 0, but is {repeats!r}.")
    before, length, after = tensor.shape[:place], tensor.shape[place], tensor.shape[place + 1 :]
    if counts.ndim and counts.size not in (1, length):
        raise ShapeError(f"repeat: {counts.size} numbers of repeats for {length} elements along axis {axis}.")
    if counts.size != 1:
        return apply(Op.TAKE, tensor, asarray(np.repeat(np.arange(length), given)), axis=place)
    times = int(counts.item())
    stretched = broadcast_to(reshape(tensor, (*before, length, 1, *after)), (*before, length, times, *after))
    return reshape(stretched, (*before, length * times, *after))


def tile(x: Any, repetitions: Sequence[int], /) -> Tensor:
    """The whole tensor laid side by side, `repetitions[i]` times along axis `i`."""
    tensor = asarray(x)
    rank = builtins.max(tensor.ndim, len(repetitions))
    shape = (1,) * (rank - tensor.ndim) + tensor.shape
    times = (1,) * (rank - len(repetitions)) + tuple(repetitions)
    if builtins.any(count < 0 for count in times):
        raise ArgumentError(f"tile: repetitions {tuple(repetitions)} must not be negative.")
    split_shape = tuple(length for n in shape for length in (1, n))
    wide = tuple(length for count, n in zip(times, shape, strict=True) for length in (count, n))
    final = tuple(count * n for count, n in zip(times, shape, strict=True))
    return reshape(broadcast_to(reshape(tensor, split_shape), wide), final)


def concat(arrays: Sequence[Any], /, *, axis: int | None = 0) -> Tensor:
    """Joined end to end along `axis` (`None`: flattened first)."""
    if not len(arrays):
        raise ArgumentError("concat: needs at least one tensor.")
    tensors = operands(*(asarray(array) for array in arrays))
    if axis is None:
        tensors, axis = [reshape(tensor, (tensor.size,)) for tensor in tensors], 0
    place = one_axis(axis, tensors[0].ndim, "concat")
    return tensors[0] if len(tensors) == 1 else apply(Op.CONCAT, *tensors, axis=place)


@method
def stack(arrays: Sequence[Any], /, *, axis: int = 0) -> Tensor:
    """Laid on each other along a new axis."""
    if not len(arrays):
        raise ArgumentError("stack: needs at least one tensor.")
    tensors = [asarray(array) for array in arrays]
    for tensor in tensors:
        if tensor.shape != tensors[0].shape:
            raise ShapeError(f"stack: shapes {tensors[0].shape} and {tensor.shape} must be equal.")
    place = one_axis(axis, tensors[0].ndim + 1, "stack")
    return concat([expand_dims(tensor, axis=place) for tensor in tensors], axis=place)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The layers along `axis`, each without it."""
    tensor = asarray(x)
    place = one_axis(axis, tensor.ndim, "unstack")
    return tuple(squeeze(cut_axis(tensor, place, i, i + 1), axis=place) for i in range(tensor.shape[place]))


def split(x: Any, parts: int | Sequence[int], /, *, axis: int = 0) -> list[Tensor]:
    """Cut along `axis` into `parts` equal parts, or at the positions in `parts`."""
    tensor = asarray(x)
    place = one_axis(axis, tensor.ndim, "split")
    length = tensor.shape[place]
    if isinstance(parts, int):
        if parts < 1 or length % parts:
            raise ShapeError(f"split: {length} elements along axis {axis} do not make {parts} equal parts.")
        cuts = [i * (length // parts) for i in range(parts + 1)]
    else:
        cuts = [0, *(builtins.min(builtins.max(int(cut), 0), length) for cut in parts), length]
    return [cut_axis(tensor, place, a, builtins.max(a, b)) for a, b in itertools.pairwise(cuts)]


def pad(x: Any, widths: Sequence[tuple[int, int]] | int, /, *, value: float = 0) -> Tensor:
    """`value` put around: `widths[i]` gives how many before and after along axis `i` (a number: everywhere)."""
    tensor = asarray(x)
    pairs = [(widths, widths)] * tensor.ndim if isinstance(widths, int) else [(int(a), int(b)) for a, b in widths]
    if len(pairs) != tensor.ndim:
        raise ShapeError(f"pad: {len(pairs)} pairs of widths for {tensor.ndim} axes.")
    if builtins.any(width < 0 for pair in pairs for width in pair):
        raise ArgumentError("pad: widths must not be negative; use a slice to cut.")
    low, high = tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
    if not builtins.any((*low, *high)):
        return tensor
    return apply(Op.PAD, tensor, low=low, high=high, interior=(0,) * tensor.ndim, value=value)


def sum_to(x: Tensor, shape: Shape) -> Tensor:
    """The transpose of broadcasting: summed over the axes along which `shape` was stretched to `x.shape`."""
    if x.shape == shape:
        return x
    offset = x.ndim - len(shape)
    axes = tuple(axis for axis in range(x.ndim) if axis < offset or (shape[axis - offset] == 1 and x.shape[axis] != 1))
    summed = apply(Op.SUM, x, axes=axes)
    return summed if summed.shape == shape else apply(Op.RESHAPE, summed, shape=shape)
