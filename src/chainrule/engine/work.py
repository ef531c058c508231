"""How much work a kernel is: a rough count of cycles, from which follows whether threads share it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chainrule.engine.graph import Shape
from chainrule.engine.kernel import Apply, Contraction, Expression, Gather, Kernel, Loop, Reduction, Sorting, Words
from chainrule.engine.kernel import parts as parts_of
from chainrule.engine.op import Op
from chainrule.engine.target import Target

_SMALL = 8000  # cycles of a kernel below which a second thread costs more than it saves: the threads meet twice
_WORTH = 30000  # cycles that the kernels which are shared must have on average: threads send each other what they read

_STREAM = 24  # bytes that come from the second cache in a cycle

_CYCLES = dict.fromkeys([Op.DIV, Op.SQRT], 8) | dict.fromkeys([Op.FLOOR_DIVIDE, Op.REMAINDER], 20)
_CYCLES |= dict.fromkeys([Op.EXP, Op.LOG, Op.TANH, Op.SIGMOID, Op.ERF, Op.EXPM1, Op.LOG1P, Op.SIN, Op.COS], 12)
_CYCLES |= dict.fromkeys([Op.POW, Op.TAN, Op.ATAN2, Op.NEXTAFTER, Op.ASIN, Op.ACOS, Op.ATAN, Op.SINH, Op.COSH], 40)


def done_alone(kernels: Sequence[Kernel], target: Target) -> list[bool]:
    """For each kernel of a step whether one thread does it best: it is little work, or goes from element to element.

    It does all of them where what is left to share is in so small pieces that threads would mostly wait.
    """
    work = [cycles(kernel, target) if isinstance(kernel, Loop | Reduction | Contraction) else 0.0 for kernel in kernels]
    shared = [each for each in work if each >= _SMALL]
    return [each < _SMALL or sum(shared) < _WORTH * len(shared) for each in work]


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
