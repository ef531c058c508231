"""Running sums, products and differences along one axis, by the names of the array API standard."""

from typing import Any

from chainrule.engine.dtypes import bool_
from chainrule.engine.functions.axes import one_axis
from chainrule.engine.functions.creation import full
from chainrule.engine.functions.reductions import summand
from chainrule.engine.functions.shapes import concat, cut_axis
from chainrule.engine.op import Op
from chainrule.engine.tensor import Tensor, apply, asarray
from chainrule.errors import ArgumentError, ShapeError


def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """The running sum along `axis`; `include_initial` puts a 0 in front."""
    tensor = summand(x, dtype)
    place = _running_axis(tensor, axis, "cumulative_sum")
    total = apply(Op.CUMSUM, tensor, axis=place)
    return _with_initial(total, place, 0) if include_initial else total


def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """The running product along `axis`; `include_initial` puts a 1 in front. Takes time and memory of n log n."""
    found = summand(x, dtype)
    place = _running_axis(found, axis, "cumulative_prod")
    length, step, none = found.shape[place], 1, (0,) * found.ndim
    while step < length:  # each is the product of 1, 2, 4, ... elements that end with it
        low = (*none[:place], step, *none[place + 1 :])
        before = apply(Op.PAD, cut_axis(found, place, 0, length - step), low=low, high=none, interior=none, value=1)
        found, step = found * before, 2 * step
    return _with_initial(found, place, 1) if include_initial else found


def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Tensor:
    """The difference between neighbours along `axis`, `n` times; `prepend` and `append` are joined on before.

    >>> diff([1, 4, 9, 16]).tolist(), diff([1, 4, 9, 16], n=2).tolist()
    ([3, 5, 7], [2, 2])
    """
    tensor = asarray(x)
    place = one_axis(axis, tensor.ndim, "diff")
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ArgumentError(f"diff: n is how many times, a whole number from 0, but is {n!r}.")
    given = [asarray(part) for part in (prepend, tensor, append) if part is not None]
    joined = concat(given, axis=place)
    for _ in range(n):
        length = joined.shape[place]
        first, last = max(0, length - 1), min(1, length)
        after, before = cut_axis(joined, place, last, length), cut_axis(joined, place, 0, first)
        joined = apply(Op.XOR if joined.dtype == bool_ else Op.SUB, after, before)
    return joined


def _running_axis(x: Tensor, axis: int | None, name: str) -> int:
    if not x.ndim:
        raise ShapeError(f"{name}: a scalar has no axis to run along.")
    if axis is None and x.ndim != 1:
        raise ArgumentError(f"{name}: name the axis for a tensor of {x.ndim} axes.")
    return one_axis(0 if axis is None else axis, x.ndim, name)


def _with_initial(x: Tensor, axis: int, value: int) -> Tensor:
    first = full((*x.shape[:axis], 1, *x.shape[axis + 1 :]), value, dtype=x.dtype)
    return concat([first, x], axis=axis)
