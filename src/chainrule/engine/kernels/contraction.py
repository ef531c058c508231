"""Matrix products as native code: tiles whose sums stay in registers over the depth, shared out among threads.

Comes in: a contraction, whose shapes and strides are all known, and a plan made for it (`plan`). Goes out: code made
for exactly that product. Vectors run along the columns; each number of the left operand is spread over a vector.
Operands are read where they lie when that is friendly to the caches, and else copied first (`packing`). Every element
is the sum over ascending depth, whatever tile it is in and whichever thread computes it.
"""

from __future__ import annotations

from dataclasses import replace

from chainrule.engine.code import Code
from chainrule.engine.graph import Node
from chainrule.engine.kernel import Contraction
from chainrule.engine.kernels.blocks import write_blocks
from chainrule.engine.kernels.plan import Plan, Product, Scratch
from chainrule.engine.kernels.streams import UnitWriter
from chainrule.engine.kernels.strips import Task, Writer
from chainrule.engine.kernels.sums import Ahead
from chainrule.engine.kernels.tile import Finish
from chainrule.engine.kernels.unit import Unit
from chainrule.engine.target import Target

SITES = 2  # strips of a product at most


def scratch_bytes(contraction: Contraction, target: Target, kept: bool, finish: bool) -> int:
    """Bytes of scratch memory that each thread needs."""
    if not contraction.node.size:
        return 0
    product = Product.of(contraction)
    if unit := Unit.of(product, target):
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
) -> None:
    """Write a thread's share of a product, and what `finish` writes for each tile once it is in memory.

    Where `finish` is for bands of tiles, `ahead` tells for each tile what is good to do long before.

    The function has parameters `%thread` and `%threads` (i64) and `%scratch` (aligned to 64 bytes, `scratch_bytes`
    long, used by this thread alone). Where threads claim their parts (`claimed`), also `%claims` and `%apart` (see
    `shares.parts`), with `SITES` words for each thread that are 0 before. Where the rows of the left operand's array
    lie anywhere (`scattered`), also `%rows` and `%soon`: their numbers, and those of rows that are read soon. The
    product goes to its array if it is `kept`, else only to `finish`.
    """
    if not contraction.node.size or not (kept or finish):
        return
    product = Product.of(contraction)
    left, right = (arrays[access.array] for access in (contraction.left, contraction.right))
    if product.turned:
        left, right = right, left
    result = arrays[contraction.node] if kept else None
    task = Task(left, right, result, finish, ahead, claimed)
    if unit := Unit.of(product, target):
        UnitWriter(code, product, replace(unit, left=replace(unit.left, scattered=scattered)), task).write()
        return
    plan = Plan.of(product, target)
    writer = Writer(code, product, plan, Scratch.of(product, plan, kept), task)
    for strip in plan.strips:
        if plan.blocks:
            write_blocks(writer, strip, plan.blocks)
        else:
            writer.strip(strip)
