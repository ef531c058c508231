"""Nodes, the graphs that they form, and the shape and data type of every op.

    Graph  ::= inputs: Node*, outputs: Node*, nodes: Node*      nodes in topological order, outputs among them
    Node   ::= op, inputs: Node*, attributes, shape, dtype, provenance, value?, gradient_of?

A node never changes. In eager work it also holds its value; in a traced graph `value` is `None` except for constants.
`RULES` says for every op which shape and data type it makes, and refuses what does not fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.dtypes import DTYPES, DType, bool_, int32, int64
from chainrule.engine.op import Op
from chainrule.engine.provenance import Provenance
from chainrule.engine.record import record
from chainrule.errors import DTypeError, ShapeError

Shape = tuple[int, ...]
Attributes = Mapping[str, Any]


@record(frozen=True, slots=True, eq=False, repr=False)
class Node:
    """One value of a computation: the op that makes it, and from which nodes.

    `tracked` says that a gradient may flow through it; `owner` is the parameter or state that an input stands for, or
    what a constant of machine code has `Forgotten`; `gradient_of` is the forward node in whose backpropagation this
    node was made.
    """

    op: Op
    inputs: tuple[Node, ...]
    attributes: Attributes
    shape: Shape
    dtype: DType
    provenance: Provenance
    value: np.ndarray[Any, Any] | None = None
    tracked: bool = False
    owner: object | None = None
    gradient_of: Node | None = None

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __repr__(self) -> str:
        kind = f"{self.dtype.name}[{', '.join(map(str, self.shape))}]"
        return f"<{self.op.value}({', '.join(source.op.value for source in self.inputs)}) {kind} at {self.provenance}>"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a constant no longer remembers: the compiled functions and, in their graphs, the results it was made of."""

    results: frozenset[tuple[str, Node]]

    @staticmethod
    def of(nodes: Iterable[Node]) -> Forgotten | None:
        """What is forgotten by a constant that is made of these nodes."""
        found = {node.owner.results for node in nodes if type(node.owner) is Forgotten}
        return Forgotten(frozenset[tuple[str, Node]]().union(*found)) if found else None


@dataclass(frozen=True, slots=True, repr=False)
class Graph:
    """A computation as a value: what goes in, what comes out, and every node between in an order that works."""

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    nodes: tuple[Node, ...]

    @staticmethod
    def of(outputs: Sequence[Node], inputs: Sequence[Node] = ()) -> Graph:
        """The graph that computes `outputs`; `inputs` fixes the order of the arguments, other open inputs follow."""
        nodes = toposort(outputs)
        others = [node for node in nodes if node.op is Op.INPUT and node.value is None and node not in inputs]
        missing = [node for node in inputs if node not in nodes]
        return Graph((*inputs, *others), tuple(outputs), (*missing, *nodes))

    def __repr__(self) -> str:
        return f"<Graph: {len(self.inputs)} inputs, {len(self.nodes)} nodes, {len(self.outputs)} outputs>"

    def verify(self) -> None:
        """Assert the laws of a graph: topological order, known outputs, shapes and data types as `RULES` says."""
        seen: set[Node] = set()
        for node in self.nodes:
            assert all(source in seen for source in node.inputs), f"{node.op.value} comes before one of its inputs"
            assert node.dtype in DTYPES, f"{node.op.value} has the data type {node.dtype}"
            if node.op in RULES:
                expected = infer(node.op, node.inputs, node.attributes)
                assert (node.shape, node.dtype) == expected, f"{node.op.value} is {node.shape}, should be {expected}"
            if node.op is Op.CONSTANT:
                assert node.value is not None, "a constant has a value"
                assert node.value.shape == node.shape, "a constant's value has its shape"
            seen.add(node)
        assert set(self.outputs) <= seen, "every output is among the nodes"
        assert set(self.inputs) <= seen, "every input is among the nodes"


def toposort(outputs: Iterable[Node], through: Callable[[Node], bool] | None = None) -> list[Node]:
    """All nodes that `outputs` depend on, each after its inputs. Iterative, so depth has no limit.

    `through` tells whether to go on to a node's inputs (default: always).
    """
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(node, False) for node in reversed(list(outputs))]
    while stack:
        node, inputs_done = stack.pop()
        if inputs_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            if through is None or through(node):
                stack.extend((source, False) for source in reversed(node.inputs) if source not in seen)
    return order


def looked_up(node: Node) -> tuple[int, int]:
    """Along which axis a TAKE or SCATTER_ADD looks something up, and how long it is."""
    axis: int = node.attributes["axis"]
    return axis, node.shape[axis] if node.op is Op.SCATTER_ADD else node.inputs[0].shape[axis]


# --- Shapes and data types ---------------------------------------------------------------------------------------

Result = tuple[Shape, DType]


def infer(op: Op, inputs: Sequence[Node], attributes: Attributes) -> Result:
    """The shape and data type of `op` on `inputs`; raises `ShapeError` or `DTypeError` where they do not fit."""
    return RULES[op](*inputs, **attributes)


def broadcast_shapes(op_name: str, *shapes: Shape) -> Shape:
    """The shape to which `shapes` broadcast, by the standard's rule: aligned at the right, 1 stretches."""
    if shapes and shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    rank = max(map(len, shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        offset = rank - len(shape)
        for axis, length in enumerate(shape):
            if length != 1:
                if result[offset + axis] not in (1, length):
                    listed = " and ".join(map(str, shapes))
                    raise ShapeError(
                        f"{op_name}: shapes {listed} do not broadcast: axis {offset + axis - rank} has lengths "
                        f"{result[offset + axis]} and {length}. Lengths must be equal, or one of them 1."
                    )
                result[offset + axis] = length
    return tuple(result)


def _elementwise(name: str, kinds: str, result: DType | None = None) -> Callable[..., Result]:
    """Any number of inputs of one data type out of `kinds` ("b", "i", "f"), broadcast; gives `result` or theirs."""

    def rule(*inputs: Node) -> Result:
        dtype = inputs[0].dtype
        if any(other.dtype != dtype for other in inputs):
            raise DTypeError(f"{name}: inputs have different data types {[str(i.dtype) for i in inputs]}.")
        if dtype.kind not in kinds:
            wanted = " or ".join({"b": "bool", "i": "integer", "f": "floating"}[kind] for kind in kinds)
            raise DTypeError(f"{name}: expected {wanted} input but got {dtype.name}. Convert it with astype.")
        shape = inputs[0].shape if len(inputs) == 1 else broadcast_shapes(name, *(i.shape for i in inputs))
        return shape, result or dtype

    return rule


def _where(condition: Node, a: Node, b: Node) -> Result:
    if condition.dtype != bool_:
        raise DTypeError(f"where: the condition must be bool but is {condition.dtype.name}.")
    if a.dtype != b.dtype:
        raise DTypeError(f"where: the branches are {a.dtype.name} and {b.dtype.name}; convert one with astype.")
    return broadcast_shapes("where", condition.shape, a.shape, b.shape), a.dtype


def _same(x: Node, *_others: Node, **_attributes: Any) -> Result:
    return x.shape, x.dtype


def _without(shape: Shape, axes: Iterable[int]) -> Shape:
    gone = set(axes)
    return tuple(length for axis, length in enumerate(shape) if axis not in gone)


def _sum(x: Node, *, axes: Shape) -> Result:
    return _without(x.shape, axes), x.dtype


def _extreme(name: str) -> Callable[..., Result]:
    def rule(x: Node, *, axes: Shape) -> Result:
        if any(x.shape[axis] == 0 for axis in axes):
            raise ShapeError(f"{name}: no largest or smallest of nothing: shape {x.shape} is empty along {axes}.")
        return _without(x.shape, axes), x.dtype

    return rule


def _arg_extreme(x: Node, *, axis: int) -> Result:
    if x.shape[axis] == 0:
        raise ShapeError(f"argmax, argmin: shape {x.shape} is empty along axis {axis}.")
    return _without(x.shape, (axis,)), int64


def _reshape(x: Node, *, shape: Shape, again: bool = False) -> Result:
    if math.prod(shape) != x.size:
        raise ShapeError(f"reshape: {x.size} elements of shape {x.shape} cannot take the shape {shape}.")
    return shape, x.dtype


def _broadcast(x: Node, *, shape: Shape) -> Result:
    if broadcast_shapes("broadcast_to", x.shape, shape) != shape:
        raise ShapeError(f"broadcast_to: shape {x.shape} cannot be stretched to {shape}.")
    return shape, x.dtype


def _slice(x: Node, *, starts: Shape, stops: Shape, steps: Shape) -> Result:
    parts = zip(starts, stops, steps, strict=True)
    return tuple(max(0, -(-(stop - start) // step)) for start, stop, step in parts), x.dtype


def _pad(x: Node, *, low: Shape, high: Shape, interior: Shape, value: float) -> Result:
    shape = tuple(
        before + after + (length + (length - 1) * gap if length else 0)
        for length, before, after, gap in zip(x.shape, low, high, interior, strict=True)
    )
    return shape, x.dtype


def _concat(*inputs: Node, axis: int) -> Result:
    first = inputs[0]
    for other in inputs[1:]:
        same_rank = len(other.shape) == len(first.shape)
        if not same_rank or _without(other.shape, (axis,)) != _without(first.shape, (axis,)):
            raise ShapeError(f"concat: shapes {first.shape} and {other.shape} differ in another axis than {axis}.")
    along = sum(node.shape[axis] for node in inputs)
    return (*first.shape[:axis], along, *first.shape[axis + 1 :]), first.dtype


def _matmul(a: Node, b: Node) -> Result:
    if a.dtype != b.dtype or a.dtype == bool_:
        raise DTypeError(f"matmul: cannot multiply {a.dtype.name} with {b.dtype.name}.")
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"matmul: {a.shape} @ {b.shape}: the inner lengths {a.shape[-1]} and {b.shape[-2]} must be equal."
        )
    batch = broadcast_shapes("matmul", a.shape[:-2], b.shape[:-2])
    return (*batch, a.shape[-2], b.shape[-1]), a.dtype


def _take(x: Node, indices: Node, *, axis: int) -> Result:
    return (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype


def _scatter_add(updates: Node, indices: Node, *, axis: int, size: int) -> Result:
    rank = len(indices.shape)
    if updates.shape[axis : axis + rank] != indices.shape:
        raise ShapeError(f"scatter_add: updates {updates.shape} do not carry the indices {indices.shape} at {axis}.")
    return (*updates.shape[:axis], size, *updates.shape[axis + rank :]), updates.dtype


def _ops(names: str, kinds: str, result: DType | None = None) -> dict[Op, Callable[..., Result]]:
    return {Op[name]: _elementwise(Op[name].value, kinds, result) for name in names.split()}


RULES: dict[Op, Callable[..., Result]] = {
    **_ops("SQRT EXP EXPM1 LOG LOG1P SIN COS TAN ASIN ACOS ATAN SINH COSH TANH ASINH ACOSH ATANH SIGMOID ERF", "f"),
    **_ops("NEG ABS SIGN FLOOR CEIL ROUND TRUNC", "if"),
    **_ops("ADD MUL MAXIMUM MINIMUM", "bif"),
    **_ops("SUB FLOOR_DIVIDE REMAINDER POW", "if"),
    **_ops("DIV ATAN2 COPYSIGN NEXTAFTER", "f"),
    **_ops("EQUAL NOT_EQUAL LESS LESS_EQUAL", "bif", bool_),
    **_ops("NOT AND OR XOR", "bi"),
    **_ops("SHIFT_LEFT SHIFT_RIGHT", "i"),
    Op.WHERE: _where,
    Op.CAST: lambda x, *, dtype: (x.shape, dtype),
    Op.STOP_GRADIENT: _same,
    Op.CUSTOM: _same,
    Op.SUM: _sum,
    Op.PROD: _sum,
    Op.MAX: _extreme("max"),
    Op.MIN: _extreme("min"),
    Op.ARGMAX: _arg_extreme,
    Op.ARGMIN: _arg_extreme,
    Op.CUMSUM: _same,
    Op.ARGSORT: lambda x, *, axis: (x.shape, int64),
    Op.RESHAPE: _reshape,
    Op.TRANSPOSE: lambda x, *, axes: (tuple(x.shape[axis] for axis in axes), x.dtype),
    Op.BROADCAST: _broadcast,
    Op.SLICE: _slice,
    Op.PAD: _pad,
    Op.CONCAT: _concat,
    Op.FLIP: _same,
    Op.MATMUL: _matmul,
    Op.TAKE: _take,
    Op.SCATTER_ADD: _scatter_add,
    Op.RANDOM_BITS: lambda key, counter, *, shape: (shape, int32),
}
