"""Reductions over some axes of a domain, each in one fixed order that no number of threads changes.

Where the reduced elements are neighbours in memory, a row is taken in vectors and the lanes meet at its end; where the
results are neighbours, vectors of results take one element after the other. Long sums are formed in parts, which keeps
their rounding errors small.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.code import MEMORY, Code, Kind
from chainrule.engine.dtypes import DType, int64
from chainrule.engine.instructions import INSTRUCTIONS
from chainrule.engine.kernel import Gather, Reduction, contiguous, parts
from chainrule.engine.kernels.body import Arrays, Body, fixed_along, strides_of
from chainrule.engine.kernels.loops import lanes_of
from chainrule.engine.kernels.vector import Vector, across, only_used, write
from chainrule.engine.kernels.walk import Axis, Spot, along, joined, loops, shared_axis
from chainrule.engine.op import Op
from chainrule.engine.target import Target

_SEARCHES = (Op.ARGMAX, Op.ARGMIN)
_PART = 4096  # elements that are summed on their own before they join the rest
_COLUMNS = 8  # vectors of results side by side: every row then gives a few whole cache lines
_TOGETHER = 4  # vectors in flight: an addition takes about as many cycles


def write_reduction(code: Code, reduction: Reduction, arrays: Arrays, target: Target) -> None:
    """Reduce along rows or across them, whichever reads neighbours."""
    border = len(reduction.domain) - reduction.reduced
    kept, gone = kept_axes(reduction), joined(reduction.domain, strides_of([reduction.value]), border)
    if reduction.node.op in _SEARCHES:
        _write_search(code, reduction, arrays, kept, gone)
    elif kept[-1].extent > 1 and _is_across(reduction, kept[-1], gone[-1]):
        _write_columns(code, reduction, arrays, kept, gone, target)
    else:
        _write_rows(code, reduction, arrays, kept, gone, target)


def kept_axes(reduction: Reduction) -> list[Axis]:
    """The axes along which the results lie."""
    border = len(reduction.domain) - reduction.reduced
    goal = (*contiguous(reduction.domain[:border]), *[0] * reduction.reduced)
    return joined(reduction.domain, [goal, *strides_of([reduction.value])], 0, border)


def reduction_splits(reduction: Reduction, parts: int) -> bool:
    """Whether the part of each of so many threads is as long as any other, and follows the one before."""
    border = len(reduction.domain) - reduction.reduced
    kept, gone = kept_axes(reduction), joined(reduction.domain, strides_of([reduction.value]), border)
    is_across = reduction.node.op not in _SEARCHES and kept[-1].extent > 1 and _is_across(reduction, kept[-1], gone[-1])
    return not shared_axis(kept) and not (is_across and len(kept) == 1) and kept[0].extent % parts == 0


def _is_across(reduction: Reduction, kept: Axis, gone: Axis) -> bool:
    """Whether the neighbours in memory are results rather than what is reduced."""
    strides = strides_of([reduction.value])
    return sum(each[kept.last] == 1 for each in strides) > sum(each[gone.last] == 1 for each in strides)


def _write_rows(
    code: Code, reduction: Reduction, arrays: Arrays, kept: list[Axis], gone: list[Axis], target: Target
) -> None:
    """One result after the other, its elements in vectors."""
    node = reduction.node
    single = Kind(node.dtype)
    looks_up = any(isinstance(part, Gather) for part in parts(reduction.value))
    together = 1 if looks_up else _TOGETHER  # to look up a vector takes longer than to add it
    with loops(code, kept, shared_axis(kept)) as outer:
        *slow, fast = gone
        lanes = lanes_of([reduction.value], {node.dtype}, fast, target)
        if fast.extent < lanes:
            lanes = 1 << (fast.extent - 1).bit_length()
        sums = _Sums(code, Kind(node.dtype, lanes), node.op, min(together, max(1, fast.extent // max(1, lanes))))
        with loops(code, slow) as middle:
            indices = {**outer, **middle}
            with fixed_along(code, fast.last, parts(reduction.value), arrays, indices):
                _write_row(code, reduction, arrays, indices, fast, sums)
        total = across(code, sums.kind, sums.total(), sums.combine)
        write(code, single, total, _goal(Body(code, arrays, outer), reduction))


def _write_row(
    code: Code, reduction: Reduction, arrays: Arrays, outer: dict[int, str], fast: Axis, sums: _Sums
) -> None:
    """The elements along the fast axis, in parts; within a part in as many vectors at a time as there are sums."""
    lanes, count = max(1, sums.kind.lanes), len(sums.part)
    step = lanes * count
    vector = Vector(fast.last, lanes, lanes) if sums.kind.lanes else None

    def add(index: str, number: int, vector: Vector | None) -> None:
        value = Body(code, arrays, {**outer, fast.last: index}, vector).value(reduction.value)
        value = only_used(code, sums.kind, value, sums.identity, vector)
        sums.add(number, value)

    whole, length = fast.extent // step * step, _PART // step * step
    with code.loop("0", str(whole), length) as begin:
        sums.begin_part()
        end = code.let(f"add i64 {begin}, {length}")
        short = code.let(f"icmp slt i64 {end}, {whole}")
        stop = code.let(f"select i1 {short}, i64 {end}, i64 {whole}")
        with code.loop(begin, stop, step) as start:
            for number in range(count):
                add(code.let(f"add i64 {start}, {number * lanes}"), number, vector)
        sums.end_part()
    if whole < fast.extent:
        sums.begin_part()
        for number, place in enumerate(range(whole, fast.extent, lanes)):
            used = min(lanes, fast.extent - place)
            add(str(place), number, Vector(fast.last, lanes, used) if vector else None)
        sums.end_part()


def _write_columns(
    code: Code, reduction: Reduction, arrays: Arrays, kept: list[Axis], gone: list[Axis], target: Target
) -> None:
    """Vectors of neighbouring results, to each of which all its elements are added one after the other."""
    node = reduction.node
    *slow, fast = kept
    lanes = lanes_of([reduction.value], {node.dtype}, fast, target)
    shared = shared_axis(kept)
    rows, last = gone[:-1], gone[-1]
    with loops(code, slow, None if shared == len(slow) else shared) as outer:

        def columns(spots: list[Spot]) -> None:
            sums = _Sums(code, Kind(node.dtype, spots[0][1].count if spots[0][1] else 0), node.op, len(spots))
            with loops(code, rows) as middle, code.loop("0", str(last.extent), _PART) as begin:
                sums.begin_part()
                end = code.let(f"add i64 {begin}, {_PART}")
                short = code.let(f"icmp slt i64 {end}, {last.extent}")
                stop = code.let(f"select i1 {short}, i64 {end}, i64 {last.extent}")
                with code.loop(begin, stop) as row:
                    for number, (index, vector) in enumerate(spots):
                        here = {**outer, fast.last: index, **middle, last.last: row}
                        sums.add(number, Body(code, arrays, here, vector).value(reduction.value))
                sums.end_part()
            for slot, (index, vector) in zip(sums.whole, spots, strict=True):
                goal = _goal(Body(code, arrays, {**outer, fast.last: index}), reduction)
                write(code, Kind(node.dtype), code.get(sums.kind.type, slot), goal, vector)

        along(code, fast, lanes, columns, shared=shared == len(slow), together=_COLUMNS)


class _Sums:
    """Running results of one reduction in variables: a few side by side for the part under way, and for the whole."""

    def __init__(self, code: Code, kind: Kind, op: Op, count: int) -> None:
        self.code, self.kind, self.op = code, kind, op
        self.identity = kind.constant(_identity(op, kind.dtype))
        self.part = [code.variable(kind.type, self.identity) for _ in range(count)]
        # A sum begins with 0.0, as NumPy and PyTorch have it: that of nothing, or of -0.0, is 0.0.
        begin = kind.constant(0) if op is Op.SUM else self.identity
        self.whole = [code.variable(kind.type, begin) for _ in range(count)]

    def begin_part(self) -> None:
        for slot in self.part:
            self.code.set(self.kind.type, slot, self.identity)

    def add(self, number: int, value: str) -> None:
        slot = self.part[number]
        before = self.code.get(self.kind.type, slot)
        self.code.set(self.kind.type, slot, self.combine(self.code, self.kind, before, value))

    def end_part(self) -> None:
        for whole, part in zip(self.whole, self.part, strict=True):
            values = [self.code.get(self.kind.type, slot) for slot in (whole, part)]
            self.code.set(self.kind.type, whole, self.combine(self.code, self.kind, *values))

    def total(self) -> str:
        values = [self.code.get(self.kind.type, slot) for slot in self.whole]
        while len(values) > 1:
            values = [
                self.combine(self.code, self.kind, *values[place : place + 2])
                if place + 1 < len(values)
                else values[place]
                for place in range(0, len(values), 2)
            ]
        return values[0]

    def combine(self, code: Code, kind: Kind, a: str, b: str) -> str:
        """How two become one."""
        same = {Op.SUM: Op.ADD, Op.PROD: Op.MUL, Op.MAX: Op.MAXIMUM, Op.MIN: Op.MINIMUM}[self.op]
        return INSTRUCTIONS[same](code, kind, a, b)


def _write_search(code: Code, reduction: Reduction, arrays: Arrays, kept: list[Axis], gone: list[Axis]) -> None:
    """The first place of the largest or smallest; NaN counts as both."""
    kind = Kind(reduction.value.dtype)
    (along_axis,) = gone
    with loops(code, kept, shared_axis(kept)) as outer:
        best = code.variable(kind.type, kind.constant(0))
        where = code.variable("i64", "0")
        with code.loop("0", str(along_axis.extent)) as index:
            value = Body(code, arrays, {**outer, along_axis.last: index}).value(reduction.value)
            record = code.get(kind.type, best)
            better = _wins(code, kind, reduction.node.op, value, record)
            first = code.let(f"icmp eq i64 {index}, 0")
            chosen = code.let(f"or i1 {first}, {better}")
            code.set(kind.type, best, code.let(f"select i1 {chosen}, {kind.type} {value}, {kind.type} {record}"))
            place = code.get("i64", where)
            code.set("i64", where, code.let(f"select i1 {chosen}, i64 {index}, i64 {place}"))
        write(code, Kind(int64), code.get("i64", where), _goal(Body(code, arrays, outer), reduction))


def _wins(code: Code, kind: Kind, op: Op, value: str, record: str) -> str:
    greater = op is Op.ARGMAX
    if kind.dtype.kind != "f":
        sign = "u" if kind.dtype.kind == "b" else "s"
        return code.let(f"icmp {sign}{'gt' if greater else 'lt'} {kind.type} {value}, {record}")
    beyond = code.let(f"fcmp {'ogt' if greater else 'olt'} {kind.type} {value}, {record}")
    none = code.let(f"fcmp uno {kind.type} {value}, {value}")
    known = code.let(f"fcmp ord {kind.type} {record}, {record}")
    return code.let(f"or i1 {beyond}, {code.let(f'and i1 {none}, {known}')}")


def _goal(body: Body, reduction: Reduction) -> str:
    """The address of the (first) result."""
    border = len(reduction.domain) - reduction.reduced
    strides = (*contiguous(reduction.domain[:border]), *[0] * reduction.reduced)
    array: Any = body.arrays[reduction.node]
    return body.code.element(MEMORY[reduction.node.dtype], array, body.place(0, strides))


def _identity(op: Op, dtype: DType) -> Any:
    """The value that changes nothing."""
    if op is Op.SUM:
        # Not 0.0: LLVM 22 takes 0/0 for 0 in lanes that are replaced by 0.0, and then does not replace them.
        return -0.0 if dtype.kind == "f" else 0
    if op is Op.PROD:
        return 1
    if dtype.kind == "b":
        return op is Op.MIN
    if dtype.kind == "f":
        return -np.inf if op is Op.MAX else np.inf
    limits = np.iinfo(dtype)
    return limits.min if op is Op.MAX else limits.max
