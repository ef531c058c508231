"""How much work a kernel is: a rough count of cycles, from which follows whether threads share it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chainrule.engine.graph import Node, Shape
from chainrule.engine.kernel import (
    Apply,
    Contraction,
    Expression,
    Gather,
    Kernel,
    Loop,
    Reduction,
    Sorting,
    Words,
    accesses,
    nodes_made,
)
from chainrule.engine.kernel import parts as parts_of
from chainrule.engine.op import Op
from chainrule.engine.target import Target

SMALL = 8000  # cycles of a kernel below which a second thread costs more than it saves: the threads meet twice
_WORTH = 30000  # cycles that the kernels which are shared must have on average: threads send each other what they read

CLAIMED = 100_000  # cycles of a product from which claims cost less than to wait for a thread that is late

_FETCHED = 0.1  # cycles for a byte of which each thread has made a part: half of the lines come from another core
_STREAM = 24  # bytes that come from the second cache in a cycle

_CYCLES = dict.fromkeys([Op.DIV, Op.SQRT], 8) | dict.fromkeys([Op.FLOOR_DIVIDE, Op.REMAINDER], 20)
_CYCLES |= dict.fromkeys([Op.EXP, Op.LOG, Op.TANH, Op.SIGMOID, Op.ERF, Op.EXPM1, Op.LOG1P, Op.SIN, Op.COS], 12)
_CYCLES |= dict.fromkeys([Op.POW, Op.TAN, Op.ATAN2, Op.NEXTAFTER, Op.ASIN, Op.ACOS, Op.ATAN, Op.SINH, Op.COSH], 40)


def done_alone(kernels: Sequence[Kernel], target: Target) -> list[bool]:
    """For each kernel of a step whether one thread does it best: it is little work, or goes from element to element.

    It does all of them where what is left to share is in so small pieces that threads would mostly wait. Where each of
    them would read the rows that it has made, one alone has to fetch the others', which is work as well.
    """
    can_share = [isinstance(kernel, Loop | Reduction | Contraction) for kernel in kernels]
    work = [cycles(kernel, target) if can else 0.0 for kernel, can in zip(kernels, can_share, strict=True)]
    shared = [each for each in work if each >= SMALL]
    if sum(shared) < _WORTH * len(shared) or not shared:
        return [True] * len(work)
    spread: set[Node] = set()  # what several threads have made
    found = []
    for kernel, each, can in zip(kernels, work, can_share, strict=True):
        own = _read_in_parts(kernel) & spread
        fetched = _FETCHED * sum(array.size * array.dtype.itemsize for array in own)
        found.append(not can or each + fetched < SMALL)
        if not found[-1]:
            spread |= {*nodes_made(kernel)}
    return found


def _read_in_parts(kernel: Kernel) -> set[Node]:
    """The arrays of which each thread reads some rows, when threads share a kernel."""
    whole = kernel.right if isinstance(kernel, Contraction) and len(kernel.node.shape) == 2 else None
    found = set()
    for access in accesses(kernel):
        array = access.array
        row = array.size // array.shape[0] if array.size and array.shape else 0
        if access is not whole and access.strides and row and access.strides[0] and access.strides[0] % row == 0:
            found.add(array)
    return found


def cycles(kernel: Kernel, target: Target) -> float:
    """About how many cycles one thread needs."""
    match kernel:
        case Loop():
            return math.prod(kernel.domain) * _of_point([store.value for store in kernel.stores], target)
        case Reduction():
            lanes = target.lanes(_widest([kernel.value]))
            return math.prod(kernel.domain) * (_of_point([kernel.value], target) + 1 / lanes)
        case Contraction():
            vectors = _vectors(kernel.node.shape, target.lanes(kernel.node.dtype.itemsize))
            products = vectors * kernel.node.inputs[0].shape[-1] / 2
            # Where there are few rows, what is read is the limit.
            read = sum(source.size * source.dtype.itemsize for source in kernel.node.inputs)
            epilogue = kernel.node.size * _of_point([store.value for store in kernel.stores], target)
            return max(products, read / _STREAM) + epilogue
        case Sorting():
            count = max(2, kernel.domain[-1])
            return math.prod(kernel.domain) * math.log2(count) * 10
        case _:
            return math.prod(kernel.domain) * 4.0


def _vectors(shape: Shape, lanes: int) -> int:
    """How many vectors hold a product: along its columns, or along its rows where it is one column."""
    along = shape[-1] if shape[-1] != 1 else shape[-2]
    return math.prod(shape) // max(1, along) * -(-along // lanes)


def _of_point(values: Sequence[Expression], target: Target) -> float:
    """Cycles for one point, when a vector of them is done at a time."""
    found = 0.0
    for part in parts_of(*values):
        match part:
            case Apply():
                found += _CYCLES.get(part.op, 0.5)
            case Gather() | Words():
                found += 8
            case _:
                found += 0.5
    return (found + len(values)) / target.lanes(_widest(values))


def _widest(values: Sequence[Expression]) -> int:
    """Bytes of the widest of some values; 4 at least, for narrower ones are widened when they are computed with."""
    return max([4, *(value.dtype.itemsize for value in values)])
