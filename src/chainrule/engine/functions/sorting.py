"""Order: sort, argsort, top-k, search, and the distinct values. All are made of one stable ARGSORT and a gather."""

from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.functions.axes import one_axis
from chainrule.engine.functions.indexing import take_along_axis
from chainrule.engine.functions.reductions import sum as sum_over
from chainrule.engine.functions.shapes import cut_axis, expand_dims, flip
from chainrule.engine.op import Op
from chainrule.engine.symbols import numbers_of
from chainrule.engine.tensor import Tensor, apply, asarray, operands
from chainrule.errors import ArgumentError, ShapeError


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort along `axis`, int64. Always stable; NaN comes last (first where descending)."""
    tensor = asarray(x)
    place = one_axis(axis, tensor.ndim, "argsort")
    if not descending:
        return apply(Op.ARGSORT, tensor, axis=place)
    # Sorting the mirror image and mirroring the result keeps equal elements in their order.
    mirrored = apply(Op.ARGSORT, flip(tensor, axis=place), axis=place)
    return tensor.shape[place] - 1 - flip(mirrored, axis=place)


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Sorted along `axis`; the gradient goes back to where each element came from."""
    return take_along_axis(x, argsort(x, axis=axis, descending=descending), axis=axis)


def top_k(x: Any, k: int, /, *, axis: int = -1) -> tuple[Tensor, Tensor]:
    """The `k` largest along `axis`, largest first, and their indices (int64)."""
    tensor = asarray(x)
    place = one_axis(axis, tensor.ndim, "top_k")
    if not 0 <= k <= tensor.shape[place]:
        raise ArgumentError(f"top_k: k is {k}, but the axis has {tensor.shape[place]} elements.")
    indices = cut_axis(argsort(tensor, axis=place, descending=True), place, 0, k)
    return take_along_axis(tensor, indices, axis=place), indices


def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Tensor:
    """Where each element of `x2` would go into the sorted vector `x1`, int64."""
    if side not in ("left", "right"):
        raise ArgumentError(f'searchsorted: side is "left" or "right", not {side!r}.')
    order, wanted = operands(x1, x2)
    if order.ndim != 1:
        raise ShapeError(f"searchsorted: x1 must be a vector, but its shape is {order.shape}.")
    if sorter is not None:
        order = take_along_axis(order, sorter)
    column = expand_dims(wanted, axis=-1)
    return sum_over(order < column if side == "left" else order <= column, axis=-1)


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Any, /) -> UniqueAll:
    """The distinct values in ascending order; where each stands first in the flattened tensor; for each element of `x`
    the place of its value among them; and how often each occurs. NaN is never equal to NaN. Eager only: the size
    depends on data."""
    tensor = asarray(x)
    instead = "Their number would depend on the data: use cr.one_hot and cr.sum where the values are known, or cr.sort"
    values, indices, inverse, counts = np.unique(
        numbers_of(tensor.node, "cr.unique_* needs to know which values there are", instead),
        return_index=True,
        return_inverse=True,
        return_counts=True,
        equal_nan=False,
    )
    parts = (asarray(found) for found in (values, indices, inverse.reshape(tensor.shape), counts))
    return UniqueAll(*parts)


def unique_counts(x: Any, /) -> UniqueCounts:
    """The distinct values in ascending order and how often each occurs. Eager only: the size depends on data."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Any, /) -> UniqueInverse:
    """The distinct values in ascending order and for each element of `x` the place of its value. Eager only."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Any, /) -> Tensor:
    """The distinct values in ascending order. Eager only: the size depends on data."""
    return unique_all(x).values
