"""Loops in which every point stands for itself, as native code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chainrule.engine.code import Code
from chainrule.engine.dtypes import DType
from chainrule.engine.kernel import Expression, Loop, Store, dtypes_of, parts
from chainrule.engine.kernels.body import Arrays, Body, fixed_along, strides_of
from chainrule.engine.kernels.vector import Vector, widest
from chainrule.engine.kernels.walk import Axis, Spot, along, joined, loops, shared_axis
from chainrule.engine.target import Target


def write_loop(code: Code, loop: Loop, arrays: Arrays, target: Target) -> None:
    """Compute every value at a point, then store them all."""
    axes = loop_axes(loop)
    lanes = lanes_for(loop.stores, axes[-1], target)
    shared = shared_axis(axes)
    *slow, fast = axes
    values = parts(*(store.value for store in loop.stores))
    with (
        loops(code, slow, None if shared == len(slow) else shared) as outer,
        fixed_along(code, fast.last, values, arrays, outer),
    ):

        def write(spots: list[Spot]) -> None:
            for index, vector in spots:
                write_stores(code, loop.stores, arrays, {**outer, fast.last: index}, vector)

        along(code, fast, lanes, write, shared=shared == len(slow))


def loop_axes(loop: Loop) -> list[Axis]:
    """The axes along which a loop goes."""
    strides = [store.access.strides for store in loop.stores] + strides_of(store.value for store in loop.stores)
    return joined(loop.domain, strides)


def loop_splits(loop: Loop, parts: int, target: Target) -> bool:
    """Whether the part of each of so many threads is as long as any other, and follows the one before."""
    axes = loop_axes(loop)
    if shared_axis(axes):
        return False
    lanes = lanes_for(loop.stores, axes[0], target) if len(axes) == 1 else 0
    return axes[0].extent % (max(1, lanes) * parts) == 0


def write_stores(
    code: Code, stores: Iterable[Store], arrays: Arrays, indices: dict[int, str], vector: Vector | None
) -> None:
    """All values at a point, each computed before the first is stored."""
    body = Body(code, arrays, indices, vector)
    values = [(store.access, body.value(store.value)) for store in stores]
    for access, value in values:
        body.store(access, value)


def lanes_for(stores: Sequence[Store], fast: Axis, target: Target) -> int:
    """Lanes of the vectors that run along the fast axis: 0 where one point at a time is better."""
    return lanes_of([store.value for store in stores], {store.access.array.dtype for store in stores}, fast, target)


def lanes_of(values: Sequence[Expression], dtypes: set[DType], fast: Axis, target: Target) -> int:
    """Lanes for values along the fast axis, from the narrowest type among them."""
    return widest(dtypes | dtypes_of(values), target.vector_bytes) if fast.extent > 1 else 0
