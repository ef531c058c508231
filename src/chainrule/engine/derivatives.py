"""The page of calculus: for each op, how an error that arrives at its output goes back to each input.

`g` is the upstream gradient (the error at the output), `y` the output, the rest the inputs by their usual letters;
attributes come by name. One line for each input, `None` where no gradient flows. Rules speak in tensors, so a gradient
can be differentiated again; the driver in `backprop.py` undoes broadcasting and adds what meets.
"""

import math
from collections.abc import Callable
from typing import Any

from chainrule.engine.functions import (
    arange,
    cos,
    cosh,
    cumulative_prod,
    equal,
    exp,
    flip,
    log,
    matrix_transpose,
    permute_dims,
    reshape,
    sign,
    sin,
    sinh,
    sqrt,
    where,
)
from chainrule.engine.functions import sum as sum_over
from chainrule.engine.functions.shapes import broadcast_to, cut_axis
from chainrule.engine.op import Op
from chainrule.engine.tensor import Tensor, apply, cast

Rule = Callable[..., Tensor | None]
Axes = tuple[int, ...]


def spread(g: Tensor, x: Tensor, axes: Axes) -> Tensor:
    """`g`, from which `axes` of `x` were reduced, stretched back to the shape of `x`."""
    thin = tuple(1 if axis in axes else length for axis, length in enumerate(x.shape))
    return broadcast_to(reshape(g, thin), x.shape)


def shared(g: Tensor, y: Tensor, x: Tensor, axes: Axes) -> Tensor:
    """`g` for the elements of `x` that equal the extreme `y`, in equal parts where several do."""
    chosen = cast(equal(x, spread(y, x, axes)), x.dtype)
    return chosen * spread(g / sum_over(chosen, axis=axes), x, axes)


def half_where_equal(g: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`g` where `a` wins over `b`; a tie gives each side half."""
    return where(equal(a, b), 0.5 * g, g)


def others(x: Tensor, axes: Axes) -> Tensor:
    """For each element the product of all others along `axes`, right also where some are zero."""
    rest = [axis for axis in range(x.ndim) if axis not in axes]
    moved = permute_dims(x, [*rest, *axes])
    lengths = [x.shape[axis] for axis in rest]
    count = math.prod(x.shape[axis] for axis in axes)
    rows = reshape(moved, (*lengths, count))
    before, after = (_of_those_before(each) for each in (rows, flip(rows, axis=-1)))
    products = before * flip(after, axis=-1)
    back = [[*rest, *axes].index(axis) for axis in range(x.ndim)]
    return permute_dims(reshape(products, moved.shape), back)


def _of_those_before(rows: Tensor) -> Tensor:
    """For each element the product of those before it in its row."""
    return cut_axis(cumulative_prod(rows, axis=-1, include_initial=True), rows.ndim - 1, 0, rows.shape[-1])


def unslice(g: Tensor, x: Tensor, starts: Axes, steps: Axes) -> Tensor:
    """`g` at the places that a slice took from `x`, zeros elsewhere."""
    if 0 in g.shape:
        return broadcast_to(cast(arange(1), x.dtype), x.shape)
    reached = [start + (n - 1) * step + 1 for start, n, step in zip(starts, g.shape, steps, strict=True)]
    high = tuple(length - end for length, end in zip(x.shape, reached, strict=True))
    return apply(Op.PAD, g, low=starts, high=high, interior=tuple(step - 1 for step in steps), value=0)


def unpad(g: Tensor, x: Tensor, low: Axes, high: Axes, interior: Axes) -> Tensor:
    """The part of `g` that padding took from `x`; what negative padding cut off gets zeros."""
    if min(low + high, default=0) < 0:
        before, after = (tuple(max(0, -length) for length in side) for side in (low, high))
        g = apply(Op.PAD, g, low=before, high=after, interior=(0,) * x.ndim, value=0)
        low = tuple(max(0, length) for length in low)
    steps = tuple(gap + 1 for gap in interior)
    stops = tuple(a + (n - 1) * step + 1 if n else a for a, n, step in zip(low, x.shape, steps, strict=True))
    return apply(Op.SLICE, g, starts=low, stops=stops, steps=steps)


def part(g: Tensor, position: int, inputs: tuple[Tensor, ...], axis: int) -> Tensor:
    """The part of `g` that input number `position` gave to a concatenation."""
    start = sum(x.shape[axis] for x in inputs[:position])
    return cut_axis(g, axis, start, start + inputs[position].shape[axis])


def reversed_cumsum(g: Tensor, axis: int) -> Tensor:
    """At each place the sum of `g` from there to the end."""
    return flip(apply(Op.CUMSUM, flip(g, axis=axis), axis=axis), axis=axis)


def safe_log(a: Tensor) -> Tensor:
    """log(a), 0 where `a` is not positive: 0**b stays 0 when b moves."""
    return where(a > 0, log(where(a > 0, a, 1)), 0)


def power_slope(a: Tensor, b: Tensor) -> Tensor:
    """The derivative of a**b for a; 0 where b is 0, also at a = 0."""
    return where(equal(b, 0), 0, b * a ** where(equal(b, 0), 1, b - 1))


_NONE_1: tuple[Rule, ...] = (lambda g, y, x, **_: None,)
_NONE_2: tuple[Rule, ...] = (lambda g, y, a, b, **_: None, lambda g, y, a, b, **_: None)

DERIVATIVES: dict[Op, tuple[Rule, ...]] = {
    # Elementwise, one input
    Op.NEG: (lambda g, y, x: -g,),
    Op.ABS: (lambda g, y, x: g * sign(x),),
    Op.SIGN: _NONE_1,
    Op.SQRT: (lambda g, y, x: g / (2 * y),),
    Op.EXP: (lambda g, y, x: g * y,),
    Op.EXPM1: (lambda g, y, x: g * (y + 1),),
    Op.LOG: (lambda g, y, x: g / x,),
    Op.LOG1P: (lambda g, y, x: g / (1 + x),),
    Op.SIN: (lambda g, y, x: g * cos(x),),
    Op.COS: (lambda g, y, x: -g * sin(x),),
    Op.TAN: (lambda g, y, x: g * (1 + y * y),),
    Op.ASIN: (lambda g, y, x: g / sqrt((1 - x) * (1 + x)),),
    Op.ACOS: (lambda g, y, x: -g / sqrt((1 - x) * (1 + x)),),
    Op.ATAN: (lambda g, y, x: g / (1 + x * x),),
    Op.SINH: (lambda g, y, x: g * cosh(x),),
    Op.COSH: (lambda g, y, x: g * sinh(x),),
    Op.TANH: (lambda g, y, x: g * (1 - y * y),),
    Op.ASINH: (lambda g, y, x: g / sqrt(x * x + 1),),
    Op.ACOSH: (lambda g, y, x: g / sqrt((x - 1) * (x + 1)),),
    Op.ATANH: (lambda g, y, x: g / ((1 - x) * (1 + x)),),
    Op.SIGMOID: (lambda g, y, x: g * y * (1 - y),),
    Op.ERF: (lambda g, y, x: g * (2 / math.sqrt(math.pi)) * exp(-x * x),),
    Op.FLOOR: _NONE_1,
    Op.CEIL: _NONE_1,
    Op.ROUND: _NONE_1,
    Op.TRUNC: _NONE_1,
    Op.NOT: _NONE_1,
    # Elementwise, two inputs
    Op.ADD: (lambda g, y, a, b: g, lambda g, y, a, b: g),
    Op.SUB: (lambda g, y, a, b: g, lambda g, y, a, b: -g),
    Op.MUL: (lambda g, y, a, b: g * b, lambda g, y, a, b: g * a),
    Op.DIV: (lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b),
    Op.FLOOR_DIVIDE: _NONE_2,
    Op.REMAINDER: (lambda g, y, a, b: g, lambda g, y, a, b: -g * (a // b)),
    Op.POW: (lambda g, y, a, b: g * power_slope(a, b), lambda g, y, a, b: g * y * safe_log(a)),
    Op.ATAN2: (lambda g, y, a, b: g * b / (a * a + b * b), lambda g, y, a, b: -g * a / (a * a + b * b)),
    Op.MAXIMUM: (
        lambda g, y, a, b: where(a >= b, half_where_equal(g, a, b), 0),
        lambda g, y, a, b: where(b >= a, half_where_equal(g, a, b), 0),
    ),
    Op.MINIMUM: (
        lambda g, y, a, b: where(a <= b, half_where_equal(g, a, b), 0),
        lambda g, y, a, b: where(b <= a, half_where_equal(g, a, b), 0),
    ),
    Op.COPYSIGN: (lambda g, y, a, b: g * where(equal(a, 0), 0, sign(y) * sign(a)), lambda g, y, a, b: None),
    Op.NEXTAFTER: (lambda g, y, a, b: g, lambda g, y, a, b: None),
    Op.EQUAL: _NONE_2,
    Op.NOT_EQUAL: _NONE_2,
    Op.LESS: _NONE_2,
    Op.LESS_EQUAL: _NONE_2,
    Op.AND: _NONE_2,
    Op.OR: _NONE_2,
    Op.XOR: _NONE_2,
    Op.SHIFT_LEFT: _NONE_2,
    Op.SHIFT_RIGHT: _NONE_2,
    # Elementwise, other
    Op.WHERE: (
        lambda g, y, c, a, b: None,
        lambda g, y, c, a, b: where(c, g, 0),
        lambda g, y, c, a, b: where(c, 0, g),
    ),
    Op.CAST: (lambda g, y, x, dtype: cast(g, x.dtype),),
    Op.STOP_GRADIENT: _NONE_1,
    # Reductions
    Op.SUM: (lambda g, y, x, axes: spread(g, x, axes),),
    Op.PROD: (lambda g, y, x, axes: spread(g, x, axes) * others(x, axes),),
    Op.MAX: (lambda g, y, x, axes: shared(g, y, x, axes),),
    Op.MIN: (lambda g, y, x, axes: shared(g, y, x, axes),),
    Op.ARGMAX: _NONE_1,
    Op.ARGMIN: _NONE_1,
    Op.CUMSUM: (lambda g, y, x, axis: reversed_cumsum(g, axis),),
    Op.ARGSORT: _NONE_1,
    # Shape
    Op.RESHAPE: (lambda g, y, x, shape, again=False: reshape(g, x.shape),),
    Op.TRANSPOSE: (lambda g, y, x, axes: permute_dims(g, [axes.index(axis) for axis in range(len(axes))]),),
    Op.BROADCAST: (lambda g, y, x, shape: g,),
    Op.SLICE: (lambda g, y, x, starts, stops, steps: unslice(g, x, starts, steps),),
    Op.PAD: (lambda g, y, x, low, high, interior, value: unpad(g, x, low, high, interior),),
    Op.FLIP: (lambda g, y, x, axes: flip(g, axis=axes),),
    # Contraction and indexed access
    Op.MATMUL: (lambda g, y, a, b: g @ matrix_transpose(b), lambda g, y, a, b: matrix_transpose(a) @ g),
    Op.TAKE: (
        lambda g, y, x, i, axis: apply(Op.SCATTER_ADD, g, i, axis=axis, size=x.shape[axis]),
        lambda g, y, x, i, axis: None,
    ),
    Op.SCATTER_ADD: (
        lambda g, y, x, i, axis, size: apply(Op.TAKE, g, i, axis=axis),
        lambda g, y, x, i, axis, size: None,
    ),
    # Random
    Op.RANDOM_BITS: _NONE_2,
}


def derivative(op: Op, position: int, g: Tensor, y: Tensor, inputs: tuple[Tensor, ...], attributes: Any) -> Any:
    """The gradient for input number `position`, before broadcasting is undone; `None` where none flows."""
    if op is Op.CONCAT:  # the one op with any number of inputs
        return part(g, position, inputs, attributes["axis"])
    if op is Op.CUSTOM:
        return attributes["backward"](g, position, inputs)
    return DERIVATIVES[op][position](g, y, *inputs, **attributes)
