"""Sums, means, extremes and other functions that take axes away, by the names of the array API standard."""

import builtins
import math
from typing import Any

from chainrule.engine.dtypes import bool_, int64, is_floating, supported
from chainrule.engine.functions.axes import all_axes, kept, method, one_axis
from chainrule.engine.functions.elementwise import exp, floating, isfinite, log, logical_not, sqrt, truth, where
from chainrule.engine.op import Op
from chainrule.engine.tensor import Axis, Tensor, apply, asarray, cast
from chainrule.errors import ArgumentError


def _reduce(op: Op, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    axes = all_axes(axis, x.ndim, op.value)
    result = apply(op, x, axes=axes) if axes else x
    return apply(Op.RESHAPE, result, shape=kept(x, axes)) if keepdims and axes else result


def summand(x: Any, dtype: Any) -> Tensor:
    """`x` in the data type in which sums and products are formed: its own if floating, else int64."""
    tensor = asarray(x)
    if dtype is not None:
        return cast(tensor, supported(dtype))
    return tensor if is_floating(tensor.dtype) else cast(tensor, int64)


@method
def sum(x: Any, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """The sum over `axis` (default: over all). Integers and booleans are counted in int64."""
    return _reduce(Op.SUM, summand(x, dtype), axis, keepdims)


@method
def prod(x: Any, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """The product over `axis` (default: over all)."""
    return _reduce(Op.PROD, summand(x, dtype), axis, keepdims)


@method
def max(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest over `axis` (default: over all). Equal largest elements share the gradient."""
    return _reduce(Op.MAX, asarray(x), axis, keepdims)


@method
def min(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest over `axis` (default: over all). Equal smallest elements share the gradient."""
    return _reduce(Op.MIN, asarray(x), axis, keepdims)


@method
def any(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether any element is true (not zero)."""
    return sum(truth(x), axis=axis, keepdims=keepdims) > 0


@method
def all(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether all elements are true (not zero)."""
    return logical_not(any(logical_not(x), axis=axis, keepdims=keepdims))


def _count(x: Tensor, axis: Axis) -> int:
    return math.prod(x.shape[each] for each in all_axes(axis, x.ndim, "mean"))


@method
def mean(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The arithmetic mean over `axis` (default: over all). Of nothing it is NaN."""
    tensor = floating(x)
    return sum(tensor, axis=axis, keepdims=keepdims) / _count(tensor, axis)


@method
def var(x: Any, /, *, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """The variance over `axis`: squared distances from the mean, summed and divided by `count - correction`."""
    tensor = floating(x)
    centred = tensor - mean(tensor, axis=axis, keepdims=True)
    return sum(centred * centred, axis=axis, keepdims=keepdims) / builtins.max(0.0, _count(tensor, axis) - correction)


@method
def std(x: Any, /, *, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """The square root of the variance."""
    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


def logsumexp(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over `axis`, without overflow: the largest element is taken out first."""
    tensor = floating(x)
    if builtins.any(tensor.shape[each] == 0 for each in all_axes(axis, tensor.ndim, "logsumexp")):
        return log(sum(tensor, axis=axis, keepdims=keepdims))  # the sum of nothing is 0
    largest = apply(Op.STOP_GRADIENT, max(tensor, axis=axis, keepdims=True))
    shift = where(isfinite(largest), largest, 0.0)
    total = log(sum(exp(tensor - shift), axis=axis, keepdims=True)) + shift
    axes = all_axes(axis, tensor.ndim, "logsumexp")
    if keepdims:
        return total
    return apply(Op.RESHAPE, total, shape=tuple(n for i, n in enumerate(tensor.shape) if i not in axes))


def _arg_extreme(op: Op, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    tensor = asarray(x)
    if tensor.dtype == bool_:
        raise ArgumentError(f"{op.value}: a bool tensor has no order; use astype(int32) first.")
    if axis is None:
        flat = apply(Op.RESHAPE, tensor, shape=(tensor.size,))
        result = apply(op, flat, axis=0)
        return apply(Op.RESHAPE, result, shape=(1,) * tensor.ndim) if keepdims else result
    chosen = one_axis(axis, tensor.ndim, op.value)
    result = apply(op, tensor, axis=chosen)
    return apply(Op.RESHAPE, result, shape=kept(tensor, (chosen,))) if keepdims else result


@method
def argmax(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first largest element along `axis` (default: of all, flattened), int64."""
    return _arg_extreme(Op.ARGMAX, x, axis, keepdims)


@method
def argmin(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first smallest element along `axis` (default: of all, flattened), int64."""
    return _arg_extreme(Op.ARGMIN, x, axis, keepdims)


def count_nonzero(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """How many elements are not zero, int64."""
    return sum(truth(x), axis=axis, keepdims=keepdims)
