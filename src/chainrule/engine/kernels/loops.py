"""Loops in which every point stands for itself, and reductions over some axes, as native code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.engine.code import REGISTER, Code, Kind
from chainrule.engine.dtypes import DType, int64
from chainrule.engine.graph import Node
from chainrule.engine.instructions import INSTRUCTIONS
from chainrule.engine.kernel import Loop, Reduction, contiguous
from chainrule.engine.kernels.body import Axis, Body, joined, loops, read, share, strides_of, write
from chainrule.engine.op import Op

Arrays = dict[Node, str]

_CHUNK = 4096  # elements that are summed on their own before they join the rest, which keeps long sums exact
_BLOCK = 512  # neighbouring results that are reduced together while they stay in cache


def write_loop(code: Code, loop: Loop, arrays: Arrays) -> None:
    """Compute every value at a point, then store them all."""
    strides = [store.access.strides for store in loop.stores] + strides_of(store.value for store in loop.stores)
    axes = joined(loop.domain, strides)
    with loops(code, axes, share(code, axes[0].extent)) as indices:
        body = Body(code, arrays, indices)
        values = [body.value(store.value) for store in loop.stores]
        for store, value in zip(loop.stores, values, strict=True):
            body.store(store.access, value)


def write_reduction(code: Code, reduction: Reduction, arrays: Arrays) -> None:
    """Reduce in registers where the reduced elements are neighbours in memory, in blocks of results elsewhere."""
    border = len(reduction.domain) - reduction.reduced
    goal = (*contiguous(reduction.domain[:border]), *[0] * reduction.reduced)
    strides = strides_of([reduction.value])
    kept = joined(reduction.domain, [goal, *strides], 0, border)
    gone = joined(reduction.domain, strides, border)
    if reduction.node.op in (Op.ARGMAX, Op.ARGMIN):
        _write_search(code, reduction, arrays, kept, gone)
    elif kept[-1].extent > 1 and _is_across(reduction, kept[-1], gone[-1]):
        _write_blocks(code, reduction, arrays, kept, gone)
    else:
        _write_rows(code, reduction, arrays, kept, gone)


def _is_across(reduction: Reduction, kept: Axis, gone: Axis) -> bool:
    """Whether the neighbours in memory are results rather than what is reduced."""
    strides = strides_of([reduction.value])
    return sum(each[kept.last] == 1 for each in strides) > sum(each[gone.last] == 1 for each in strides)


def _write_rows(code: Code, reduction: Reduction, arrays: Arrays, kept: list[Axis], gone: list[Axis]) -> None:
    """One result after the other."""
    node = reduction.node
    kind = Kind(node.dtype)
    combine = _combination(node.op, kind, vector=True)
    with loops(code, kept, share(code, kept[0].extent)) as outer:
        total = code.variable(kind.type, kind.constant(_identity(node.op, node.dtype)))
        *slow, fast = gone
        with loops(code, slow) as middle, code.loop("0", str(fast.extent), _CHUNK) as start:
            reached = code.let(f"add i64 {start}, {min(_CHUNK, fast.extent)}")
            past = code.let(f"icmp slt i64 {reached}, {fast.extent}")
            stop = code.let(f"select i1 {past}, i64 {reached}, i64 {fast.extent}")
            part = code.variable(kind.type, kind.constant(_identity(node.op, node.dtype)))
            with code.loop(start, stop) as inner:
                body = Body(code, arrays, {**outer, **middle, fast.last: inner})
                value = body.value(reduction.value)
                code.set(kind.type, part, combine(code, code.get(kind.type, part), value))
            whole = combine(code, code.get(kind.type, total), code.get(kind.type, part))
            code.set(kind.type, total, whole)
        result = Body(code, arrays, outer)
        write(code, kind, code.get(kind.type, total), _goal(result, reduction))


def _write_blocks(code: Code, reduction: Reduction, arrays: Arrays, kept: list[Axis], gone: list[Axis]) -> None:
    """A block of neighbouring results at a time, all reduced elements added to it one after the other."""
    node = reduction.node
    kind = Kind(node.dtype)
    combine = _combination(node.op, kind, vector=False)
    *slow, fast = kept
    blocks = -(-fast.extent // _BLOCK)
    outer_axes = [*(axis for axis in slow), Axis(blocks, -2)]
    with loops(code, outer_axes, share(code, outer_axes[0].extent)) as outer:
        start = code.let(f"mul i64 {outer.pop(-2)}, {_BLOCK}")
        reached = code.let(f"add i64 {start}, {_BLOCK}")
        past = code.let(f"icmp slt i64 {reached}, {fast.extent}")
        stop = code.let(f"select i1 {past}, i64 {reached}, i64 {fast.extent}")
        with code.loop(start, stop) as column:
            body = Body(code, arrays, {**outer, fast.last: column})
            write(code, kind, kind.constant(_identity(node.op, node.dtype)), _goal(body, reduction))
        with loops(code, gone) as inner, code.loop(start, stop) as column:
            body = Body(code, arrays, {**outer, **inner, fast.last: column})
            value = body.value(reduction.value)
            goal = _goal(body, reduction)
            write(code, kind, combine(code, read(code, kind, goal), value), goal)


def _write_search(code: Code, reduction: Reduction, arrays: Arrays, kept: list[Axis], gone: list[Axis]) -> None:
    """The first place of the largest or smallest; NaN counts as both."""
    kind = Kind(reduction.value.dtype)
    (along,) = gone
    with loops(code, kept, share(code, kept[0].extent)) as outer:
        best = code.variable(kind.type, kind.constant(0))
        where = code.variable("i64", "0")
        with code.loop("0", str(along.extent)) as index:
            value = Body(code, arrays, {**outer, along.last: index}).value(reduction.value)
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
    """The address of the result."""
    border = len(reduction.domain) - reduction.reduced
    strides = (*contiguous(reduction.domain[:border]), *[0] * reduction.reduced)
    kind = REGISTER[reduction.node.dtype] if reduction.node.dtype.kind != "b" else "i8"
    return body.code.element(kind, body.arrays[reduction.node], body.place(0, strides))


def _identity(op: Op, dtype: DType) -> Any:
    """The value with which a reduction begins."""
    if op is Op.SUM:
        return -0.0 if dtype.kind == "f" else 0
    if op is Op.PROD:
        return 1
    if dtype.kind == "b":
        return op is Op.MIN
    if dtype.kind == "f":
        return -np.inf if op is Op.MAX else np.inf
    limits = np.iinfo(dtype)
    return limits.min if op is Op.MAX else limits.max


def _combination(op: Op, kind: Kind, vector: bool) -> Callable[[Code, str, str], str]:
    """How two values become one; `vector` lets LLVM take a row's elements in several lanes."""
    word = {Op.SUM: "fadd", Op.PROD: "fmul"}.get(op)
    if word and kind.dtype.kind == "f":
        flag = " reassoc" if vector else ""
        return lambda code, a, b: code.let(f"{word}{flag} {kind.type} {a}, {b}")
    same = {Op.SUM: Op.ADD, Op.PROD: Op.MUL, Op.MAX: Op.MAXIMUM, Op.MIN: Op.MINIMUM}[op]
    return lambda code, a, b: INSTRUCTIONS[same](code, kind, a, b)
