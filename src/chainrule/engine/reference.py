"""The slow twin of everything fast: each op in NumPy, one line where one line is enough.

`KERNELS` is keyed by op and takes arrays and attributes. Eager work runs on it node by node; `run` runs a traced
graph on it. The compiler is tested against this page, and this page against PyTorch and published numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.engine.erf import erf
from chainrule.engine.graph import Graph, Node, Shape, looked_up
from chainrule.engine.op import Op
from chainrule.engine.philox import random_bits
from chainrule.errors import ArgumentError

Array = np.ndarray[Any, Any]


def run(graph: Graph, feeds: Mapping[Node, Array]) -> list[Array]:
    """The outputs of `graph` for the values in `feeds`, one for each input without a value of its own."""
    environment: dict[Node, Array] = dict(feeds)
    for node in graph.nodes:
        if node in environment:
            continue
        if node.value is not None:
            environment[node] = node.value
            continue
        try:
            environment[node] = evaluate(node.op, [environment[source] for source in node.inputs], node.attributes)
        except IndexError as error:
            axis, length = looked_up(node)
            what = f"an index is out of bounds for axis {axis} of length {length}."
            raise ArgumentError(f"{node.provenance}: {what}") from error
    return [environment[node] for node in graph.outputs]


def evaluate(op: Op, inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    """The value of one op. Overflow, division by zero and invalid values follow IEEE 754, without warnings."""
    with np.errstate(all="ignore"):
        return np.asarray(KERNELS[op](*inputs, **attributes))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), from exp(-|x|), which never overflows."""
    decay = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + decay), decay / (1 + decay)).astype(x.dtype, copy=False)


def _integer_power(a: Array, b: Array) -> Array:
    if a.dtype.kind == "i" and np.any(b < 0):
        return np.power(a.astype(np.float64), b).astype(a.dtype)
    return np.power(a, b)


def _slice(x: Array, *, starts: Shape, stops: Shape, steps: Shape) -> Array:
    return x[tuple(slice(*part) for part in zip(starts, stops, steps, strict=True))]


def _pad(x: Array, *, low: Shape, high: Shape, interior: Shape, value: float) -> Array:
    gaps = [gap + 1 for gap in interior]
    inside = [(length - 1) * gap + 1 if length else 0 for length, gap in zip(x.shape, gaps, strict=True)]
    spread = np.full(inside, value, x.dtype)
    spread[tuple(slice(None, None, gap) for gap in gaps)] = x
    cut = tuple(slice(max(0, -a), max(0, n - max(0, -b))) for a, b, n in zip(low, high, inside, strict=True))
    around = [(max(0, a), max(0, b)) for a, b in zip(low, high, strict=True)]
    return np.pad(spread[cut], around, constant_values=value)


def _take(x: Array, indices: Array, *, axis: int) -> Array:
    return np.take(x, indices, axis=axis, mode="wrap" if x.shape[axis] == 0 else "raise")


def _scatter_add(updates: Array, indices: Array, *, axis: int, size: int) -> Array:
    rank = indices.ndim
    after = updates.shape[axis + rank :]
    flat = updates.reshape(*updates.shape[:axis], indices.size, *after)
    result = np.zeros((*updates.shape[:axis], size, *after), updates.dtype)
    np.add.at(np.moveaxis(result, axis, 0), indices.reshape(-1), np.moveaxis(flat, axis, 0))
    return result


def _logical_or_bitwise(logical: Callable[..., Any], bitwise: Callable[..., Any]) -> Callable[..., Array]:
    return lambda *arrays: (logical if arrays[0].dtype == np.bool_ else bitwise)(*arrays)


KERNELS: dict[Op, Callable[..., Any]] = {
    Op.NEG: np.negative,
    Op.ABS: np.abs,
    Op.SIGN: np.sign,
    Op.SQRT: np.sqrt,
    Op.EXP: np.exp,
    Op.EXPM1: np.expm1,
    Op.LOG: np.log,
    Op.LOG1P: np.log1p,
    Op.SIN: np.sin,
    Op.COS: np.cos,
    Op.TAN: np.tan,
    Op.ASIN: np.arcsin,
    Op.ACOS: np.arccos,
    Op.ATAN: np.arctan,
    Op.SINH: np.sinh,
    Op.COSH: np.cosh,
    Op.TANH: np.tanh,
    Op.ASINH: np.arcsinh,
    Op.ACOSH: np.arccosh,
    Op.ATANH: np.arctanh,
    Op.SIGMOID: sigmoid,
    Op.ERF: erf,
    Op.FLOOR: np.floor,
    Op.CEIL: np.ceil,
    Op.ROUND: np.round,
    Op.TRUNC: np.trunc,
    Op.NOT: _logical_or_bitwise(np.logical_not, np.invert),
    Op.ADD: np.add,
    Op.SUB: np.subtract,
    Op.MUL: np.multiply,
    Op.DIV: np.divide,
    Op.FLOOR_DIVIDE: np.floor_divide,
    Op.REMAINDER: np.remainder,
    Op.POW: _integer_power,
    Op.ATAN2: np.arctan2,
    Op.MAXIMUM: np.maximum,
    Op.MINIMUM: np.minimum,
    Op.COPYSIGN: np.copysign,
    Op.NEXTAFTER: np.nextafter,
    Op.EQUAL: np.equal,
    Op.NOT_EQUAL: np.not_equal,
    Op.LESS: np.less,
    Op.LESS_EQUAL: np.less_equal,
    Op.AND: np.bitwise_and,
    Op.OR: np.bitwise_or,
    Op.XOR: np.bitwise_xor,
    Op.SHIFT_LEFT: np.left_shift,
    Op.SHIFT_RIGHT: np.right_shift,
    Op.WHERE: np.where,
    Op.CAST: lambda x, *, dtype: x.astype(dtype),
    Op.STOP_GRADIENT: lambda x: x,
    Op.CUSTOM: lambda x, *_sources, **_attributes: x,
    Op.SUM: lambda x, *, axes: np.sum(x, axis=axes, dtype=x.dtype),
    Op.PROD: lambda x, *, axes: np.prod(x, axis=axes, dtype=x.dtype),
    Op.MAX: lambda x, *, axes: np.max(x, axis=axes),
    Op.MIN: lambda x, *, axes: np.min(x, axis=axes),
    Op.ARGMAX: lambda x, *, axis: np.argmax(x, axis=axis),
    Op.ARGMIN: lambda x, *, axis: np.argmin(x, axis=axis),
    Op.CUMSUM: lambda x, *, axis: np.cumsum(x, axis=axis, dtype=x.dtype),
    Op.ARGSORT: lambda x, *, axis: np.argsort(x, axis=axis, kind="stable"),
    Op.RESHAPE: lambda x, *, shape, again=False: x.reshape(shape),
    Op.TRANSPOSE: lambda x, *, axes: x.transpose(axes),
    Op.BROADCAST: lambda x, *, shape: np.broadcast_to(x, shape),
    Op.SLICE: _slice,
    Op.PAD: _pad,
    Op.CONCAT: lambda *arrays, axis: np.concatenate(arrays, axis=axis),
    Op.FLIP: lambda x, *, axes: np.flip(x, axes),
    Op.MATMUL: np.matmul,
    Op.TAKE: _take,
    Op.SCATTER_ADD: _scatter_add,
    Op.RANDOM_BITS: random_bits,
}
