"""From a graph to an equal graph that is cheaper: nothing twice, nothing for nothing, nothing that is known already.

Only what a checkpoint computes again stays twice, for it saves memory.
Every rule is exact: the simplified graph has the bits of the other, but for the sign of a zero.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.engine.graph import Graph, Node
from chainrule.engine.op import Op
from chainrule.engine.reference import evaluate

FOLDED = 1024  # results of at most so many elements are computed when the program is made
_NEVER = {Op.INPUT, Op.CONSTANT, Op.BROADCAST}


def simplify(graph: Graph) -> Graph:
    """An equal graph: the same inputs, the same outputs, fewer nodes between them."""
    replaced: dict[Node, Node] = {}
    known: dict[Hashable, Node] = {}
    kept: dict[Node, Node] = {}  # where a number is not above 0 -> the number there as 0, and as it is elsewhere
    for node in graph.nodes:
        inputs = tuple([replaced[source] for source in node.inputs])
        if node.op is Op.WHERE and inputs[0] in kept and inputs[2] is not kept[inputs[0]].inputs[2]:
            rectified = kept[inputs[0]]  # asked of the result, the same: so what it was made from need not be kept
            asked = replace(inputs[0], inputs=(rectified, inputs[0].inputs[1]))
            inputs = known.setdefault(_key(asked), asked), *inputs[1:]
        fresh = node if inputs == node.inputs else replace(node, inputs=inputs)
        if node.op is Op.INPUT and node.value is not None:  # an array that the function brought along
            fresh = replace(node, op=Op.CONSTANT, attributes={}, tracked=False)
        fresh = _folded(_rewritten(fresh))
        replaced[node] = fresh if fresh.op is Op.INPUT else known.setdefault(_key(fresh), fresh)
        if _rectifies(fresh):
            kept[fresh.inputs[0]] = replaced[node]
    return Graph.of([replaced[node] for node in graph.outputs], graph.inputs)


def _key(node: Node) -> Hashable:
    if node.op is Op.CONSTANT:
        assert node.value is not None
        return Op.CONSTANT, node.shape, node.dtype, node.value.tobytes() if node.size <= FOLDED else id(node.value)
    return node.op, node.inputs, tuple(sorted(node.attributes.items())), node.dtype


def _folded(node: Node) -> Node:
    """A small node of constants is a constant."""
    if node.op in _NEVER or node.size > FOLDED or not all(source.op is Op.CONSTANT for source in node.inputs):
        return node
    value = evaluate(node.op, [_value(source) for source in node.inputs], node.attributes)
    return replace(node, op=Op.CONSTANT, inputs=(), attributes={}, value=value, tracked=False)


def _rewritten(node: Node) -> Node:
    """A node of which nothing remains but one of its inputs, or one input of an input."""
    if node.op in (Op.STOP_GRADIENT, Op.CUSTOM):
        return node.inputs[0]
    if _is_again(node):
        return node  # the wall of a checkpoint: what is computed again must not find what is there
    if node.op in (Op.RESHAPE, Op.BROADCAST, Op.SLICE) and node.shape == node.inputs[0].shape and _whole(node):
        return node.inputs[0]
    if node.op is Op.CAST and node.dtype == node.inputs[0].dtype:
        return node.inputs[0]
    if node.op in (Op.RESHAPE, Op.BROADCAST, Op.TRANSPOSE, Op.NEG) and node.inputs[0].op is node.op:
        return node if _is_again(node.inputs[0]) else _joined(node)
    if node.op is Op.TRANSPOSE and node.attributes["axes"] == tuple(range(len(node.shape))):
        return node.inputs[0]
    if node.op in (Op.SUM, Op.PROD, Op.MAX, Op.MIN) and not node.attributes["axes"]:
        return node.inputs[0]
    if node.op is Op.MATMUL and node.inputs[0].shape[-1] == 1:  # one product an element: no sum
        return replace(node, op=Op.MUL)
    if node.op in _NEUTRAL:
        return _without_neutral(node)
    return node


def _rectifies(node: Node) -> bool:
    """Whether it is a number where that is above 0 or not a number, and 0 elsewhere."""
    if node.op is not Op.WHERE or node.inputs[0].op is not Op.LESS_EQUAL or _is_again(node):
        return False
    asked, zero, number = node.inputs
    is_same = asked.inputs[0] is number and node.shape == asked.shape  # zeros may have stretched it
    return is_same and _is_all(zero, 0) and _is_all(asked.inputs[1], 0)


def _is_again(node: Node) -> bool:
    return bool(node.attributes.get("again"))


def _whole(node: Node) -> bool:
    return node.op is not Op.SLICE or all(step == 1 for step in node.attributes["steps"])


def _joined(node: Node) -> Node:
    """Two of a kind, one after the other, as one or none."""
    inner = node.inputs[0]
    if node.op is Op.NEG:
        return inner.inputs[0]
    if node.op is Op.TRANSPOSE:
        first, second = inner.attributes["axes"], node.attributes["axes"]
        axes = tuple(first[axis] for axis in second)
        joined = replace(node, inputs=inner.inputs, attributes={"axes": axes})
        return inner.inputs[0] if axes == tuple(range(len(axes))) else joined
    joined = replace(node, inputs=inner.inputs)
    return inner.inputs[0] if inner.inputs[0].shape == node.shape else joined


# Which number changes nothing as the second input, and whether it may be the first as well.
_NEUTRAL: dict[Op, tuple[float, bool]] = {
    Op.ADD: (0, True),
    Op.SUB: (0, False),
    Op.MUL: (1, True),
    Op.DIV: (1, False),
    Op.POW: (1, False),
}


def _without_neutral(node: Node) -> Node:
    number, either = _NEUTRAL[node.op]
    if node.dtype.kind == "b":
        return node
    first, second = node.inputs
    if _is_all(second, number) and first.shape == node.shape:
        return first
    if either and _is_all(first, number) and second.shape == node.shape:
        return second
    return node


def _is_all(node: Node, number: float) -> bool:
    while node.op in (Op.BROADCAST, Op.RESHAPE):
        node = node.inputs[0]
    return node.op is Op.CONSTANT and 0 < node.size <= FOLDED and bool((_value(node) == number).all())


def _value(node: Node) -> np.ndarray[Any, Any]:
    assert node.value is not None
    return node.value
