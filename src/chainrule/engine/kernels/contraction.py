"""Matrix products as native code: tiles whose sums stay in registers over the depth, shared out among threads.

Comes in: a contraction, whose shapes and strides are all known, and a plan made for it (`plan`). Goes out: code made
for exactly that product. Vectors run along the columns; each number of the left operand is spread over a vector.
Operands are read where they lie when that is friendly to the caches, and else copied first (`packing`). Every element
is the sum over ascending depth, whatever tile it is in and whichever thread computes it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from chainrule.engine.code import Code
from chainrule.engine.graph import Node
from chainrule.engine.kernel import Contraction
from chainrule.engine.kernels.blocks import write_blocks
from chainrule.engine.kernels.plan import Plan, Product, Scratch
from chainrule.engine.kernels.shares import plus, times
from chainrule.engine.kernels.streams import UnitWriter
from chainrule.engine.kernels.strips import Task, Writer
from chainrule.engine.kernels.sums import Ahead
from chainrule.engine.kernels.tile import Finish, Tile
from chainrule.engine.kernels.unit import Unit
from chainrule.engine.target import Target

SITES = 2  # strips of a product at most
_SHORTEST = 8  # rows of a block
_COPIED = 2**16  # bytes of a right operand at most, as each block may copy it


def contraction_splits(contraction: Contraction, blocks: int, target: Target) -> bool:
    """Whether it can be done block by block: part b of so many is the b-th of equal runs of rows, or of the batch."""
    if not contraction.node.size:
        return False
    product = Product.of(contraction)
    if product.batch:
        return product.batch[0] % blocks == 0
    rows, source = contraction.node.shape[-2], contraction.node.inputs[1]
    if rows % blocks or rows < blocks * _SHORTEST or source.size * source.dtype.itemsize > _COPIED:
        return False
    return not (Unit.of(product, target) or product.beside or Plan.of(product.in_blocks(blocks), target).blocks)


def _product_and_unit(contraction: Contraction, target: Target, blocks: int) -> tuple[Product, Unit | None]:
    """The product, in blocks of rows unless its batch makes them; and how a matrix unit computes it, if one does."""
    product = Product.of(contraction)
    if blocks and not product.batch:
        return product.in_blocks(blocks), None
    return product, Unit.of(product, target)


def scratch_bytes(contraction: Contraction, target: Target, kept: bool, finish: bool, blocks: int = 0) -> int:
    """Bytes of scratch memory that each thread needs."""
    if not contraction.node.size:
        return 0
    product, unit = _product_and_unit(contraction, target, blocks)
    if unit:
        return sum(unit.sizes(kept=kept or not finish))
    return Scratch.of(product, Plan.of(product, target), kept or not finish).size


def write_contraction(
    code: Code,
    contraction: Contraction,
    arrays: dict[Node, str],
    target: Target,
    finish: Finish | None,
    kept: bool,
    ahead: Ahead | None = None,
    *,
    claimed: bool = False,
    scattered: bool = False,
    asks: bool = False,
    blocks: int = 0,
) -> None:
    """Write a thread's share of a product, and what `finish` writes for each tile once it is in memory.

    Where `finish` is for bands of tiles, `ahead` tells for each tile what is good to do long before.

    The function has parameters `%thread` and `%threads` (i64) and `%scratch` (aligned to 64 bytes, `scratch_bytes`
    long, used by this thread alone, as are the `KEPT` bytes before it where there is a matrix unit). Where threads
    claim their parts (`claimed`), also `%claims` and `%apart` (see `shares.parts`), with `SITES` words for each thread
    that are 0 before. Where the rows of the left operand's array lie anywhere (`scattered`), also `%rows` and `%soon`:
    their numbers, and those of rows that are read soon, and are asked for if it `asks`. The product goes to its array
    if it is `kept`, else only to `finish`. Where it is done in `blocks`, part b of so many is the b-th of equal runs of
    its rows, or of its batch if it has one.
    """
    if not contraction.node.size or not (kept or finish):
        return
    product, unit = _product_and_unit(contraction, target, blocks)
    left, right = (arrays[access.array] for access in (contraction.left, contraction.right))
    if product.turned:
        left, right = right, left
    result = arrays[contraction.node] if kept else None
    if finish and blocks and len(contraction.node.shape) == 2:
        finish = partial(_finish_block, finish, contraction.node.shape[-2] // blocks)
    task = Task(left, right, result, finish, ahead, claimed, blocks > 0)
    if unit:
        lines = replace(unit.left, scattered=scattered, asks=asks)
        UnitWriter(code, product, replace(unit, left=lines), task).write()
        return
    plan = Plan.of(product, target)
    writer = Writer(code, product, plan, Scratch.of(product, plan, kept), task)
    for strip in plan.strips:
        if plan.blocks:
            write_blocks(writer, strip, plan.blocks)
        else:
            writer.strip(strip)


def _finish_block(finish: Finish, rows: int, code: Code, tile: Tile) -> None:
    """Finish a tile of a block of so many rows: its place in the whole product."""
    *batch, block = tile.batch
    finish(code, replace(tile, batch=tuple(batch), row=plus(code, times(code, block, rows), tile.row)))
