"""What is computed from a product while a part of it is at hand: functions that finish a tile, called by its kernel.

They stand apart from the loops that form the product, so that each has all registers to itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from chainrule.engine.code import MEMORY, Code
from chainrule.engine.graph import Node
from chainrule.engine.kernel import Access, Contraction, contiguous, expressions, nodes_made
from chainrule.engine.kernels.body import Arrays, Body, View, strides_by_access, write_fixed
from chainrule.engine.kernels.loops import lanes_for, write_stores
from chainrule.engine.kernels.shares import plus, times
from chainrule.engine.kernels.sums import Beside
from chainrule.engine.kernels.tile import Tile
from chainrule.engine.kernels.walk import Axis, Spot, along
from chainrule.engine.target import Target

_LINE = 64  # bytes that a cache takes at once
_TOGETHER = 2  # vectors side by side


class Epilogue:
    """Writes the epilogue of a product: a function for each form of its tiles, and the calls.

    Parameters
    ----------
    name
        Of the product's function; those of its epilogue begin with it.
    contraction
        The product.
    arrays
        Where each array is, by the name of a parameter of the product's function.
    sites
        Nodes that may go wrong; if there are any, the product's function has a parameter `%status`.
    target
        What it is for.
    """

    def __init__(
        self, name: str, contraction: Contraction, arrays: dict[Node, str], sites: Sequence[Node], target: Target
    ) -> None:
        self.name, self.contraction, self.arrays, self.sites, self.target = name, contraction, arrays, sites, target
        self.functions: list[Code] = []
        self._names: dict[tuple[int, int, bool], str] = {}
        used = {arrays[access.array]: None for access in _accesses(contraction)}
        self._pointers = [*used, *(["%status"] if sites else [])]

    def __call__(self, code: Code, tile: Tile) -> None:
        """Call what finishes a tile."""
        form = (tile.width, tile.stride, tile.panels == "1")
        if form not in self._names:
            self._names[form] = f"{self.name}_tile_{len(self._names)}"
            self.functions.append(self._function(self._names[form], tile))
        pointers = ", ".join(f"ptr {pointer}" for pointer in (*self._pointers, tile.address))
        numbers = ", ".join(f"i64 {number}" for number in (tile.row, tile.column, tile.rows, tile.panels, *tile.batch))
        code.do(f"call void @{self._names[form]}({pointers}, {numbers})")

    def ahead(self, code: Code, tile: Tile, every: int) -> Beside:
        """Ask row by row, beside a tile's sums, for what it will meet when its band is finished, which would else be
        waited for: not all at once, because then the sums wait behind it."""
        product = self.contraction.node
        own, item = contiguous(product.shape), product.dtype.itemsize
        met = {self.arrays[access.array]: access for access in _accesses(self.contraction) if access.strides == own}
        indices = {**dict(enumerate(tile.batch)), len(own) - 2: tile.row, len(own) - 1: tile.column}
        body = Body(code, self.arrays, indices)
        alike = [access for access in met.values() if access.array.dtype.itemsize == item]

        def fetch(*rows: str) -> None:
            for row in rows:
                for column in range(0, tile.width, max(1, _LINE // item)):
                    code.fetch(code.element(MEMORY[product.dtype], row, str(column)), cache=2)

        starts = tuple([body.address(access) for access in alike])
        return Beside(every, starts, (own[-2],) * len(alike), fetch)

    def _function(self, name: str, tile: Tile) -> Code:
        """The function for tiles of the form of this one."""
        batch = [f"batch{axis}" for axis in range(len(tile.batch))]
        parameters = [("ptr noalias", pointer[1:]) for pointer in self._pointers]
        parameters += [("ptr", "tile"), *(("i64", number) for number in ("row", "column", "rows", "panels", *batch))]
        target = self.target
        code = Code(name, parameters, internal=True, **target.options)
        made = nodes_made(replace(self.contraction, kept=True))
        kept = {node: where for node, where in self.arrays.items() if node not in made}
        write_fixed(code, expressions(self.contraction), kept)
        panels = "1" if tile.panels == "1" else "%panels"
        indices = tuple(f"%{each}" for each in batch)
        here = Tile(indices, "%row", "%column", "%rows", panels, tile.width, "%tile", tile.stride)
        _write_rows(code, self.contraction, self.arrays, here, target)
        write_failures(code, self.sites)
        return code


def write_failures(code: Code, sites: Sequence[Node]) -> None:
    """At the end of a function: say in the words at `%status` which sites went wrong in it."""
    for number, site in enumerate(sites):
        if site in code.failures:
            with code.when(code.get("i1", code.failures[site])):
                code.do(f"store i64 1, ptr {code.element('i64', '%status', str(number))}")


def _write_rows(code: Code, contraction: Contraction, arrays: dict[Node, str], tile: Tile, target: Target) -> None:
    """The values of an epilogue over a tile, row by row while the tile is in the nearest cache."""
    product, stores = contraction.node, contraction.stores
    rank = len(product.shape)
    back = code.let(f"mul i64 {tile.row}, {-tile.stride}")
    corner = code.element(MEMORY[product.dtype], tile.address, code.let(f"sub i64 {back}, {tile.column}"))
    seen: Arrays = {**arrays, product: View(corner, (*[0] * (rank - 2), tile.stride, 1))}
    bottom = code.let(f"add i64 {tile.row}, {tile.rows}")
    batch = dict(enumerate(tile.batch))
    fast = Axis(tile.width, rank - 1)
    lanes = lanes_for(stores, fast, target)
    side_by_side = nullcontext("0") if tile.panels == "1" else code.loop("0", tile.panels)
    with code.loop(tile.row, bottom) as row, side_by_side as panel:
        begin = plus(code, tile.column, times(code, panel, tile.width))

        def write(spots: list[Spot]) -> None:
            for index, vector in spots:
                place = {**batch, rank - 2: row, rank - 1: plus(code, begin, index)}
                write_stores(code, stores, seen, place, vector)

        along(code, fast, lanes, write, together=_TOGETHER)


def _accesses(contraction: Contraction) -> list[Access]:
    """What an epilogue reads and writes beside the product."""
    reads = strides_by_access(store.value for store in contraction.stores)
    found = [*(access for access, _ in reads if access), *(store.access for store in contraction.stores)]
    return [access for access in found if access.array is not contraction.node]
