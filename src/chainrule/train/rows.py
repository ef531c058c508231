"""Which row of a batch an element of some value belongs to, and what it was made of.

Comes in: the nodes of a step and their values. Goes out: along which axis each value has the rows of the batch, the
row of an element, and the numbers that an op made it of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.engine.graph import Node
from chainrule.engine.op import Op

Array = np.ndarray[Any, Any]
Values = Mapping[Node, Array]
Place = tuple[int, ...]
_REDUCTIONS = {Op.SUM, Op.PROD, Op.MAX, Op.MIN}
_KEEPING = {Op.SLICE, Op.PAD, Op.CONCAT, Op.FLIP, Op.CUMSUM, Op.ARGSORT}


def row_axes(values: Values, arguments: Sequence[Node]) -> dict[Node, int]:
    """For each value that has the rows of the batch along an axis, which one.

    Parameters
    ----------
    values
        Every node of a step, in topological order.
    arguments
        Inputs whose first axis is the batch.
    """
    axes: dict[Node, int] = {node: 0 for node in arguments if node.shape}
    rows = {node.shape[0] for node in axes}
    for node in values:
        if node not in axes and node.shape:
            axis = _axis(node, axes)
            if axis is not None and 0 <= axis < len(node.shape) and node.shape[axis] in rows:
                axes[node] = axis
    return axes


def _axis(node: Node, axes: Mapping[Node, int]) -> int | None:
    known = [(source, axes[source]) for source in node.inputs if source in axes]
    if not known:
        return None
    source, axis = known[0]
    match node.op:
        case Op.TRANSPOSE:
            return int(node.attributes["axes"].index(axis))
        case op if op in _REDUCTIONS or op in (Op.ARGMAX, Op.ARGMIN):
            gone = node.attributes["axes"] if "axes" in node.attributes else (node.attributes["axis"],)
            return None if axis in gone else axis - sum(other < axis for other in gone)
        case Op.RESHAPE:
            return 0 if axis == 0 and node.shape[0] == source.shape[0] else None
        case Op.MATMUL:
            return _axis_of_product(node, axes)
        case Op.TAKE:
            return _axis_of_taken(node, axes)
        case Op.SCATTER_ADD:
            return axis if axis < node.attributes["axis"] else None
        case op if op in _KEEPING:
            return axis
    return axis + len(node.shape) - len(source.shape)  # elementwise and broadcast: aligned at the right


def _axis_of_product(node: Node, axes: Mapping[Node, int]) -> int | None:
    left, right = node.inputs
    if left in axes and axes[left] != len(left.shape) - 1:
        return axes[left] + len(node.shape) - len(left.shape)
    if right in axes and axes[right] != len(right.shape) - 2:
        return axes[right] + len(node.shape) - len(right.shape)
    return None


def _axis_of_taken(node: Node, axes: Mapping[Node, int]) -> int | None:
    base, indices = node.inputs
    axis: int = node.attributes["axis"]
    if indices in axes:
        return axis + axes[indices]
    if axes[base] == axis:
        return None
    return axes[base] if axes[base] < axis else axes[base] + len(indices.shape) - 1


def row_of(node: Node, place: Place, values: Values, axes: Mapping[Node, int]) -> int | None:
    """The row that the element of `node` at `place` belongs to, or that gave the largest part of it.

    None if that is not known, or all rows alike gave it.
    """
    if node in axes:
        return place[axes[node]]
    parts = _parts(node, place, values, axes)
    if parts is None or not parts.size:
        return None
    with np.errstate(all="ignore"):
        sizes = np.where(np.isnan(parts), np.inf, np.abs(parts))
    return int(np.argmax(sizes))


def _parts(node: Node, place: Place, values: Values, axes: Mapping[Node, int]) -> Array | None:
    """What each row gave to an element that is a sum over the rows."""
    if node.op in _REDUCTIONS and node.inputs[0] in axes:
        source = node.inputs[0]
        gone = node.attributes["axes"]
        if axes[source] not in gone:
            return None
        by_row = np.moveaxis(_reduced(node, place, values[source]), sorted(gone).index(axes[source]), 0)
        return np.asarray(np.abs(by_row).reshape(len(by_row), -1).max(axis=1))
    if node.op is Op.MATMUL and any(source in axes for source in node.inputs):
        left, right = _factors(node, place, values)
        contracted = any(
            source in axes and axes[source] == len(source.shape) - back
            for source, back in zip(node.inputs, (1, 2), strict=True)
        )
        with np.errstate(all="ignore"):
            return np.asarray(left.astype(np.float64) * right) if contracted else None
    return None


def _reduced(node: Node, place: Place, source: Array) -> Array:
    """The elements that a reduction made one of, with the axes over which it went."""
    kept = iter(place)
    gone = node.attributes["axes"]
    return source[tuple(slice(None) if axis in gone else next(kept) for axis in range(source.ndim))]


def _factors(node: Node, place: Place, values: Values) -> tuple[Array, Array]:
    """The row and the column whose product stands at a place."""
    left, right = (values[source] for source in node.inputs)
    batch = node.shape[:-2]
    left = np.broadcast_to(left, (*batch, *left.shape[-2:]))
    right = np.broadcast_to(right, (*batch, *right.shape[-2:]))
    around, i, j = place[:-2], place[-2], place[-1]
    return left[around][i], right[around][:, j]


def elements_at(node: Node, place: Place, values: Values) -> tuple[float, ...]:
    """The numbers of which an op made the element at a place; where they are many, the largest of each input."""
    if node.op in _REDUCTIONS:
        return (_largest(_reduced(node, place, values[node.inputs[0]])),)
    if node.op is Op.MATMUL:
        return tuple(map(_largest, _factors(node, place, values)))
    found = []
    for source in node.inputs:
        value = values[source]
        try:
            found.append(float(np.broadcast_to(value, node.shape)[place]))
        except ValueError:
            found.append(_largest(value))
    return tuple(found)


def _largest(array: Array) -> float:
    """The element of the largest size."""
    return float(array.reshape(-1)[int(np.argmax(np.abs(array)))]) if array.size else 0.0
