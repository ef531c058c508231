"""Loops in which every point stands for itself, over a whole domain or over a tile of a product, as native code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chainrule.engine.code import REGISTER, Code
from chainrule.engine.dtypes import DType
from chainrule.engine.graph import Node
from chainrule.engine.kernel import Access, Expression, Loop, Store, contiguous, dtypes_of
from chainrule.engine.kernels.body import Arrays, Body, View, strides_by_access, strides_of
from chainrule.engine.kernels.tile import Tile
from chainrule.engine.kernels.vector import Vector, widest
from chainrule.engine.kernels.walk import Axis, Spot, along, joined, loops, shared_axis
from chainrule.engine.target import Target


def write_loop(code: Code, loop: Loop, arrays: Arrays, target: Target) -> None:
    """Compute every value at a point, then store them all."""
    strides = [store.access.strides for store in loop.stores] + strides_of(store.value for store in loop.stores)
    axes = joined(loop.domain, strides)
    lanes = lanes_for(loop.stores, axes[-1], target)
    shared = shared_axis(axes)
    *slow, fast = axes
    with loops(code, slow, None if shared == len(slow) else shared) as outer:

        def write(spots: list[Spot]) -> None:
            for index, vector in spots:
                write_stores(code, loop.stores, arrays, {**outer, fast.last: index}, vector)

        along(code, fast, lanes, write, shared=shared == len(slow))


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


def write_epilogue(
    code: Code, product: Node, stores: Sequence[Store], arrays: dict[Node, str], tile: Tile, target: Target
) -> None:
    """The values of an epilogue over a tile of a product, row by row while the tile is in the nearest cache."""
    rank = len(product.shape)
    back = code.let(f"mul i64 {tile.row}, {-tile.stride}")
    corner = code.element(REGISTER[product.dtype], tile.address, code.let(f"sub i64 {back}, {tile.column}"))
    seen: Arrays = {**arrays, product: View(corner, (*[0] * (rank - 2), tile.stride, 1))}
    bottom = code.let(f"add i64 {tile.row}, {tile.rows}")
    batch = dict(enumerate(tile.batch))
    fast = Axis(tile.columns, rank - 1)
    ahead = _whole_arrays(product, stores)
    with code.loop(tile.row, bottom) as row:
        later = code.let(f"add i64 {row}, {tile.rows}")
        _prefetch(code, ahead, arrays, {**batch, rank - 2: later, rank - 1: tile.column})

        def write(spots: list[Spot]) -> None:
            for index, vector in spots:
                column = tile.column if index == "0" else code.let(f"add i64 {tile.column}, {index}")
                write_stores(code, stores, seen, {**batch, rank - 2: row, rank - 1: column}, vector)

        along(code, fast, lanes_for(stores, fast, target), write)


def _whole_arrays(product: Node, stores: Sequence[Store]) -> list[Access]:
    """What an epilogue reads or writes that is as large as the product, such as a parameter and its moments."""
    own = contiguous(product.shape)
    found = [store.access for store in stores] + [a for a, _ in strides_by_access(store.value for store in stores) if a]
    return [*{a.array: a for a in found if a.strides == own and a.array is not product}.values()]


def _prefetch(code: Code, ahead: Sequence[Access], arrays: Arrays, indices: dict[int, str]) -> None:
    """Ask for the same row of the next tile, which would else be waited for: no processor guesses that pattern."""
    code.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    for access in ahead:
        address = Body(code, arrays, indices).address(access)
        code.do(f"call void @llvm.prefetch.p0(ptr {address}, i32 1, i32 3, i32 1)")
