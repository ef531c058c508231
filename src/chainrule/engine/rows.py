"""Arguments of which a step reads rows where they lie, so that a loop need not copy them into a batch first.

An argument is one of them where nothing reads it but products on a matrix unit, as their left operand: these split it
into thirds row by row, and are told where each row is. So the rows of a batch may be anywhere in the data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from chainrule.engine.graph import Node
from chainrule.engine.kernel import Contraction, Kernel, accesses
from chainrule.engine.kernels.plan import Product
from chainrule.engine.kernels.unit import Unit
from chainrule.engine.memory import Plan
from chainrule.engine.target import Target


def in_place(kernels: Iterable[Kernel], plan: Plan, arguments: int, target: Target) -> frozenset[Node]:
    """The arguments, the inputs with slots 1 to `arguments`, of which all kernels can read the rows where they lie."""
    found = {node for node, home in plan.homes.items() if 1 <= home.slot <= arguments}
    read = set[Node]()
    found -= {node for node, _ in plan.copies}
    for kernel in kernels if found else ():
        by_rows = isinstance(kernel, Contraction) and _is_by_rows(kernel, target)
        for number, access in enumerate(accesses(kernel)):
            read.add(access.array)
            if number or not by_rows:  # the left operand of a product comes first
                found.discard(access.array)
    return frozenset(found & read)


def _is_by_rows(contraction: Contraction, target: Target) -> bool:
    """Whether a product on a matrix unit reads its left operand as whole vectors of single rows of an array."""
    access, product = contraction.left, Product.of(contraction)
    rows, *rest = access.array.shape or (1,)
    length, left = math.prod(rest), product.left
    if rows < 2 or length < 2 or product.turned or not Unit.of(product, target):
        return False
    if (left.down, left.across) == (length, 1):
        count, inside = product.rows, product.depth
    elif (left.across, left.down) == (length, 1):
        count, inside = product.depth, product.rows
    else:
        return False
    reach = sum((n - 1) * stride for n, stride in zip(product.batch, left.batch, strict=True)) + inside - 1
    return count == rows and all(step >= 0 for step in (access.offset, *left.batch)) and access.offset + reach < length
