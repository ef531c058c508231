"""One row of a product whose right operand lies without gaps along the depth: dot products, vectors along the depth.

Each column has a vector of partial sums; at the end the vectors of as many columns as there are lanes are added up
together, by a tree that gives one vector of results.
"""

from __future__ import annotations

from chainrule.engine.code import Code, Kind
from chainrule.engine.dtypes import DType
from chainrule.engine.kernels.packing import kind_of, load, moved
from chainrule.engine.kernels.sums import carried_loop, multiply_add
from chainrule.engine.kernels.tile import Panel


def dot_products(code: Code, dtype: DType, panel: Panel, depth: int, left: str, right: tuple[str, int]) -> list[str]:
    """The results for a panel's columns as its vectors; column 0 is at `right[0]`, each next one `right[1]` further."""
    kind, element = kind_of(dtype, panel.lanes), Kind(dtype).type
    zero = "zeroinitializer"
    places = [right[0], *(moved(code, kind, right[0], column * right[1]) for column in range(1, panel.width))]
    sums = [zero] * panel.width
    turns, rest = divmod(depth, panel.lanes)
    if turns == 1:
        sums = _added(code, kind, left, places, sums, None, None)
    else:
        with carried_loop(code, str(turns), kind, sums, (left, right[0])) as (carried, (here, start), names, moves):
            beside = [moved(code, kind, start, column * right[1]) for column in range(panel.width)]
            _added(code, kind, here, beside, carried, names, None)
            for name, base in zip(moves, (here, start), strict=True):
                code.do(f"{name} = getelementptr {element}, ptr {base}, i64 {panel.lanes}")
        sums = names
    if rest:
        last = depth - panel.lanes
        ends = [moved(code, kind, place, last) for place in places]
        sums = _added(code, kind, moved(code, kind, left, last), ends, sums, None, panel.lanes - rest)
    return [
        _together(code, kind, sums[start : start + panel.lanes] + [zero] * (start + panel.lanes - panel.width))
        for start in panel.offsets
    ]


def _added(
    code: Code,
    kind: Kind,
    left: str,
    places: list[str],
    sums: list[str],
    names: list[str] | None,
    done: int | None,
) -> list[str]:
    """`sums` with the next products added; the first `done` lanes were added before."""

    def rest(address: str) -> str:
        value = load(code, kind, address)
        if done is None:
            return value
        kept = ", ".join(f"i1 {'true' if lane >= done else 'false'}" for lane in range(kind.lanes))
        return code.let(f"select {kind.mask} <{kept}>, {kind.type} {value}, {kind.type} zeroinitializer")

    result, factor = [], rest(left)
    for number, (place, before) in enumerate(zip(places, sums, strict=True)):
        name = names[number] if names else "%" + code.fresh()
        multiply_add(code, kind, name, factor, rest(place), before)
        result.append(name)
    return result


def _together(code: Code, kind: Kind, vectors: list[str]) -> str:
    """A vector whose lane n is the sum of all lanes of vector n: neighbours are added until one is left of each."""
    add = "fadd" if kind.dtype.kind == "f" else "add"
    while len(vectors) > 1:
        halves = []
        for first, second in zip(vectors[::2], vectors[1::2], strict=True):
            even, odd = (", ".join(f"i32 {lane}" for lane in range(start, 2 * kind.lanes, 2)) for start in (0, 1))
            pair = f"{kind.type} {first}, {kind.type} {second}, <{kind.lanes} x i32>"
            sides = [code.let(f"shufflevector {pair} <{lanes}>") for lanes in (even, odd)]
            halves.append(code.let(f"{add} {kind.type} {sides[0]}, {sides[1]}"))
        vectors = halves
    return vectors[0]
