"""Random programs of all primitives, with the values of every node and how far each may be off.

A program is made node by node: an op is drawn, then inputs that fit it from what is there already, so that nodes are
shared; where nothing fits, a new argument, state or constant is made. What comes out of functions and long sums is
uncertain in its last digits (`bounds`), and is given only to ops for which a small change makes a small difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import chainrule as cr
from chainrule.engine.dtypes import DTYPES, bool_, float32, float64, int32, int64
from chainrule.engine.graph import RULES, Graph, Node, infer, toposort
from chainrule.engine.op import Op
from chainrule.engine.provenance import Provenance
from chainrule.engine.reference import evaluate
from chainrule.engine.show import graph_text
from chainrule.engine.state import State
from chainrule.engine.tensor import Tensor, constant
from chainrule.engine.trace import Traced
from engine.bounds import FUNCTIONS, GRID, ROUGH, Spread, spread

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
LONGEST = 70
LARGEST = 30_000  # elements of a node
NOWHERE = Provenance("", "", 0)

_UNARY = [op for op in Op if op in FUNCTIONS and op not in (Op.POW, Op.ATAN2)]
_KINDS = {
    **dict.fromkeys([*_UNARY, Op.SQRT], "f"),
    **dict.fromkeys([Op.NEG, Op.ABS, Op.SIGN, Op.FLOOR, Op.CEIL, Op.ROUND, Op.TRUNC], "if"),
    **dict.fromkeys([Op.ADD, Op.MUL, Op.MAXIMUM, Op.MINIMUM], "bif"),
    **dict.fromkeys([Op.SUB, Op.FLOOR_DIVIDE, Op.REMAINDER], "if"),
    **dict.fromkeys([Op.DIV, Op.ATAN2, Op.COPYSIGN, Op.NEXTAFTER, Op.POW], "f"),
    **dict.fromkeys([Op.EQUAL, Op.NOT_EQUAL, Op.LESS, Op.LESS_EQUAL], "bif"),
    **dict.fromkeys([Op.NOT, Op.AND, Op.OR, Op.XOR], "bi"),
    **dict.fromkeys([Op.SHIFT_LEFT, Op.SHIFT_RIGHT], "i"),
}
_ONE = [op for op in _KINDS if op in {*_UNARY, Op.SQRT, Op.NEG, Op.ABS, Op.SIGN, Op.NOT} | {
    Op.FLOOR, Op.CEIL, Op.ROUND, Op.TRUNC}]  # fmt: skip
_TWO = [op for op in _KINDS if op not in _ONE]


@dataclass(frozen=True, eq=False)
class Value:
    """A node, what it is on the reference executor, and by how much another right result may differ."""

    node: Node
    array: Array
    spread: Spread = None

    @property
    def shape(self) -> Shape:
        return self.node.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.node.dtype


@dataclass(frozen=True, eq=False)
class Case:
    """A program, arguments for it, and what its outputs (results, then new values of states) should be."""

    traced: Traced
    arguments: list[Array]
    expected: list[Array]
    spreads: list[Spread]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What hypothesis shows of a program that fails."""
        states = ", ".join(state.name for state in self.traced.writes)
        printer.text(f"\n{graph_text(self.traced.graph)}\nthe last outputs are assigned to: {states or 'nothing'}\n")


class Builder:
    """Makes one program; `draw` takes the choices from hypothesis, simplest first."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw
        self.random = np.random.default_rng(self.number(0, 2**16))
        # Hypothesis prefers some numbers to others: each program has its own order, so that every op gets its turn.
        self.ones, self.twos = ([ops[i] for i in self.random.permutation(len(ops))] for ops in (_ONE, _TWO))
        self.lengths = [1, *(self.number(0, LONGEST) for _ in range(3))]
        self.values: list[Value] = []
        self.arguments: list[Value] = []
        self.states: list[tuple[State, Value]] = []

    def number(self, least: int, most: int) -> int:
        return int(self._draw(st.integers(least, most)))

    def one_of(self, choices: Sequence[Any]) -> Any:
        return choices[self.number(0, len(choices) - 1)]

    # --- What goes in ---

    def shape(self, least: int = 0, most: int = 4) -> Shape:
        shape = [self.one_of(self.lengths) for _ in range(self.number(least, most))]
        while math.prod(shape) > LARGEST:
            shape[shape.index(max(shape))] = 1
        return tuple(shape)

    def numbers(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        if dtype == bool_:
            return self.random.random(shape) < 0.5
        if dtype.kind == "i":
            return self.random.integers(-9, 10, shape).astype(dtype)
        if self.number(0, 2):
            return self.random.standard_normal(shape).astype(dtype)
        return (self.random.integers(-3 / GRID, 3 / GRID, shape) * GRID).astype(dtype)  # with ties, and exact sums

    def leaf(self, shape: Shape, dtype: np.dtype[Any], array: Array | None = None) -> Value:
        """A new argument, state or constant."""
        array = self.numbers(shape, dtype) if array is None else array
        kind = self.number(0, 5)
        if kind == 0:
            return self.keep(Value(Node(Op.CONSTANT, (), {}, shape, dtype, NOWHERE, array), array))
        name = f"v{len(self.values)}"
        state = State(array, name) if kind <= 2 else None
        value = Value(Node(Op.INPUT, (), {"name": name}, shape, dtype, NOWHERE, None, dtype.kind == "f", state), array)
        if state is None:
            self.arguments.append(value)
        else:
            self.states.append((state, value))
        return self.keep(value)

    def keep(self, value: Value) -> Value:
        self.values.append(value)
        return value

    def find(self, fits: Callable[[Value], bool], make: Callable[[], Value], *, exact: bool) -> Value:
        """One of the values that fit, later ones more often; or a new one."""
        found = [each for each in self.values if (not exact or each.spread is None) and fits(each)]
        if found and self.number(0, 5):
            return found[-1 - self.number(0, len(found) - 1)]
        return make()

    def any_of(self, kinds: str, *, exact: bool, least: int = 0) -> Value:
        dtypes = [dtype for dtype in DTYPES if dtype.kind in kinds]

        def fits(value: Value) -> bool:
            return value.dtype.kind in kinds and len(value.shape) >= least

        return self.find(fits, lambda: self.leaf(self.shape(least), self.one_of(dtypes[::-1])), exact=exact)

    def beside(self, other: Value, dtype: np.dtype[Any], *, exact: bool) -> Value:
        """A value that broadcasts with another."""

        def fits(value: Value) -> bool:
            pairs = zip(value.shape[::-1], other.shape[::-1], strict=False)
            together = all(a == b or 1 in (a, b) for a, b in pairs)
            return value.dtype == dtype and together and _product_of(value.shape, other.shape) <= LARGEST

        def make() -> Value:
            shape = [length if self.number(0, 3) else 1 for length in other.shape]
            return self.leaf(tuple(shape[self.number(0, len(shape)) :]), dtype)

        return self.find(fits, make, exact=exact)

    # --- Ops ---

    def apply(self, op: Op, *inputs: Value, **settings: Any) -> Value | None:
        """The value of an op; None if it would be too large."""
        shape, dtype = infer(op, [value.node for value in inputs], settings)
        if math.prod(shape) > LARGEST:
            return None
        tracked = dtype.kind == "f" and op is not Op.STOP_GRADIENT and any(value.node.tracked for value in inputs)
        node = Node(op, tuple(value.node for value in inputs), settings, shape, dtype, NOWHERE, None, tracked)
        return self.keep(_value_of(node, inputs))

    def step(self) -> None:
        """One more op of any sort."""
        _STEPS[self.number(0, len(_STEPS) - 1)](self)

    def one(self) -> None:
        op = self.one_of(self.ones)
        self.apply(op, self.any_of(_KINDS[op], exact=op not in ROUGH))

    def two(self) -> None:
        op = self.one_of(self.twos)
        first = self.any_of(_KINDS[op], exact=op not in ROUGH)
        second = self.beside(first, first.dtype, exact=op not in ROUGH)
        if self.number(0, 1):
            first, second = second, first
        self.apply(op, first, second)

    def where(self) -> None:
        first = self.any_of("bif", exact=False)
        second = self.beside(first, first.dtype, exact=False)
        chosen = first if len(first.shape) >= len(second.shape) else second
        condition = self.beside(chosen, bool_, exact=True)
        together = _broadcast(condition.shape, first.shape, second.shape)
        if together is not None and math.prod(together) <= LARGEST:
            self.apply(Op.WHERE, condition, first, second)

    def cast(self) -> None:
        dtype = self.one_of(DTYPES[::-1])
        value = self.any_of("bif", exact=dtype.kind != "f")
        if dtype.kind == "i" and not (np.isfinite(value.array).all() and (np.abs(value.array) < 2**31).all()):
            return  # C leaves open what becomes of such numbers
        self.apply(Op.CAST, value, dtype=dtype)

    def unchanged(self) -> None:
        """What differs from its input only where a gradient is wanted, or when programs are simplified."""
        value = self.any_of("bif", exact=False)
        match self.number(0, 2):
            case 0:
                self.apply(Op.STOP_GRADIENT, value)
            case 1:
                self.apply(Op.CUSTOM, value, self.any_of("bif", exact=True), backward=_of_the_first)
            case _:
                self.apply(Op.RESHAPE, value, shape=value.shape, again=True)  # the wall of a checkpoint

    def reduce(self) -> None:
        op = self.one_of([Op.SUM, Op.MAX, Op.MIN, Op.PROD])
        value = self.any_of("if" if op in (Op.SUM, Op.PROD) else "bif", exact=op is Op.PROD)
        axes = tuple(axis for axis in range(len(value.shape)) if self.number(0, 1))
        if op in (Op.SUM, Op.PROD) or all(value.shape[axis] for axis in axes):
            self.apply(op, value, axes=axes)

    def along(self) -> None:
        op = self.one_of([Op.CUMSUM, Op.ARGMAX, Op.ARGMIN, Op.ARGSORT])
        value = self.any_of("if" if op is Op.CUMSUM else "bif", exact=op is not Op.CUMSUM, least=1)
        axis = self.number(0, len(value.shape) - 1)
        if value.shape[axis] or op in (Op.CUMSUM, Op.ARGSORT):
            self.apply(op, value, axis=axis)

    def reshape(self) -> None:
        value = self.any_of("bif", exact=False)
        shape = list(value.shape)
        if len(shape) > 1 and self.number(0, 1):
            axis = self.number(0, len(shape) - 2)
            shape[axis : axis + 2] = [shape[axis] * shape[axis + 1]]
        else:
            axis = self.number(0, len(shape))
            shape[axis:axis] = [1]
            if axis + 1 < len(shape) and shape[axis + 1] and shape[axis + 1] % 2 == 0:
                shape[axis : axis + 2] = [2, shape[axis + 1] // 2]
        self.apply(Op.RESHAPE, value, shape=tuple(shape))

    def transpose(self) -> None:
        value = self.any_of("bif", exact=False, least=2)
        self.apply(Op.TRANSPOSE, value, axes=tuple(self._draw(st.permutations(range(len(value.shape))))))

    def broadcast(self) -> None:
        value = self.any_of("bif", exact=False)
        shape = [self.one_of(self.lengths) if length == 1 else length for length in value.shape]
        shape = [self.one_of(self.lengths) for _ in range(self.number(0, 4 - min(4, len(shape))))] + shape
        self.apply(Op.BROADCAST, value, shape=tuple(shape))

    def slice(self) -> None:
        value = self.any_of("bif", exact=False, least=1)
        starts = [self.number(0, length) for length in value.shape]
        stops = [self.number(start, length) for start, length in zip(starts, value.shape, strict=True)]
        if self.number(0, 3):  # mostly something
            starts = [min(start, max(0, length - 1)) for start, length in zip(starts, value.shape, strict=True)]
            stops = [
                max(stop, min(1 + start, length))
                for start, stop, length in zip(starts, stops, value.shape, strict=True)
            ]
        steps = [self.number(1, 3) for _ in value.shape]
        self.apply(Op.SLICE, value, starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))

    def pad(self) -> None:
        value = self.any_of("bif", exact=False, least=1)
        interior = tuple(self.number(0, 2) for _ in value.shape)
        low, high = [], []
        for length, gap in zip(value.shape, interior, strict=True):
            inside = length + (length - 1) * gap if length else 0
            low.append(self.number(-min(2, inside), 3))
            high.append(self.number(-min(2, inside + min(0, low[-1])), 3))
        self.apply(Op.PAD, value, low=tuple(low), high=tuple(high), interior=interior, value=self.number(0, 1))

    def concat(self) -> None:
        first = self.any_of("bif", exact=False, least=1)
        axis = self.number(0, len(first.shape) - 1)

        def fits(value: Value) -> bool:
            return value.dtype == first.dtype and _without(value.shape, axis) == _without(first.shape, axis)

        parts = [first]
        for _ in range(self.number(0, 2)):
            shape = (*first.shape[:axis], self.one_of(self.lengths), *first.shape[axis + 1 :])
            if math.prod(shape) <= LARGEST:
                parts.append(self.find(fits, lambda shape=shape: self.leaf(shape, first.dtype), exact=False))
        self.apply(Op.CONCAT, *parts, axis=axis)

    def flip(self) -> None:
        value = self.any_of("bif", exact=False, least=1)
        axes = tuple(axis for axis in range(len(value.shape)) if self.number(0, 1))
        self.apply(Op.FLIP, value, axes=axes)

    def matmul(self) -> None:
        """Products in every layout: operands may be seen transposed, and batches stretched."""
        left = self.any_of("if", exact=False, least=2)
        dtype, depth = left.dtype, left.shape[-1]

        def fits(value: Value) -> bool:
            if value.dtype != dtype or len(value.shape) < 2 or value.shape[-2] != depth:
                return False
            return _broadcast(left.shape[:-2], value.shape[:-2]) is not None

        def make() -> Value:
            batch = [length if self.number(0, 1) else 1 for length in left.shape[:-2]]
            batch = batch[self.number(0, len(batch)) :]
            columns = self.one_of(self.lengths)
            if math.prod(batch) * depth * columns > LARGEST:
                batch, columns = [], 1
            if self.number(0, 1):
                return self.leaf((*batch, depth, columns), dtype)
            turned = self.leaf((*batch, columns, depth), dtype)
            rank = len(turned.shape)
            found = self.apply(Op.TRANSPOSE, turned, axes=(*range(rank - 2), rank - 1, rank - 2))
            assert found is not None
            return found

        if left.array.size <= LARGEST // 2:
            self.apply(Op.MATMUL, left, self.find(fits, make, exact=False))

    def indices(self, length: int, shape: Shape) -> Value:
        dtype = self.one_of([int64, int32])

        def fits(value: Value) -> bool:
            within = value.dtype == dtype and (value.array >= -length).all() and (value.array < length).all()
            constant = value.node.op in (Op.INPUT, Op.CONSTANT) or value.node.op is Op.ARGSORT
            return bool(within and constant and value.shape == shape)

        numbers = self.random.integers(-length, length, shape) if length else np.zeros(shape)
        return self.find(fits, lambda: self.leaf(shape, dtype, numbers.astype(dtype)), exact=True)

    def take(self) -> None:
        value = self.any_of("bif", exact=False, least=1)
        axis = self.number(0, len(value.shape) - 1)
        shape = self.shape(0, 2) if value.shape[axis] else (0,)
        self.apply(Op.TAKE, value, self.indices(value.shape[axis], shape), axis=axis)

    def scatter(self) -> None:
        updates = self.any_of("if", exact=False, least=1)
        axis = self.number(0, len(updates.shape) - 1)
        rank = self.number(1, min(2, len(updates.shape) - axis))
        size = self.one_of([length for length in self.lengths if length])
        indices = self.indices(size, updates.shape[axis : axis + rank])
        self.apply(Op.SCATTER_ADD, updates, indices, axis=axis, size=size)

    def bits(self) -> None:
        key, counter = (self.leaf((), int64, np.array(self.number(0, 2**40))) for _ in range(2))
        self.apply(Op.RANDOM_BITS, key, counter, shape=self.shape())

    def differentiate(self) -> None:
        """The gradients of a weighted sum of all floating values that nothing uses, for every floating leaf."""
        used = {source for value in self.values for source in value.node.inputs}
        ends = [value for value in self.values if value.node not in used and value.node.tracked and value.node.inputs]
        leaves = [value for value in self.values if value.node.op is Op.INPUT and value.node.tracked]
        if not ends or not leaves:
            return
        weights = [constant(self.random.standard_normal(value.shape), value.dtype) for value in ends]
        terms = [cr.sum(Tensor(v.node) * weight, dtype=float64) for v, weight in zip(ends, weights, strict=True)]
        gradients = cr.backpropagate(sum(terms[1:], terms[0]), wrt=[Tensor(value.node) for value in leaves])
        known = {value.node: value for value in self.values}
        nodes = [gradient.node for gradient in gradients]
        for node in toposort(nodes):
            if node not in known:
                own = node.value is not None
                known[node] = Value(node, node.value) if own else _value_of(node, [known[n] for n in node.inputs])
        self.values += [known[node] for node in dict.fromkeys(nodes) if known[node] not in self.values]

    # --- What comes out ---

    def case(self) -> Case:
        """The program of all values that nothing uses, and some others."""
        used = {source for value in self.values for source in value.node.inputs}
        made = [value for value in self.values if value.node.inputs] or self.values
        results = [value for value in made if value.node not in used or not self.number(0, 5)]
        writes = []
        for state, value in self.states:
            fitting = [each for each in self.values if (each.shape, each.dtype) == (value.shape, value.dtype)]
            chosen = fitting[-1 - self.number(0, len(fitting) - 1)]
            if chosen is not value:
                writes.append((state, chosen))
        outputs = [*results, *(value for _, value in writes)]
        inputs = [*(value.node for value in self.arguments), *(value.node for _, value in self.states)]
        graph = Graph.of([value.node for value in outputs], inputs)
        reads, written = tuple(state for state, _ in self.states), tuple(state for state, _ in writes)
        traced = Traced(graph, len(self.arguments), reads, written)
        arguments = [value.array for value in self.arguments]
        return Case(traced, arguments, [value.array for value in outputs], [value.spread for value in outputs])


_STEPS: list[Callable[[Builder], None]] = [
    *[Builder.one] * 4,
    *[Builder.two] * 5,
    *[Builder.matmul, Builder.reduce] * 3,
    *[Builder.slice, Builder.transpose, Builder.along] * 2,
    *[Builder.where, Builder.cast, Builder.unchanged, Builder.reshape, Builder.broadcast, Builder.pad, Builder.concat],
    *[Builder.flip, Builder.take, Builder.scatter, Builder.bits],
]


@st.composite
def cases(draw: Callable[[st.SearchStrategy[Any]], Any], most: int = 14) -> Case:
    """Programs of up to `most` ops."""
    builder = Builder(draw)
    builder.leaf(builder.shape(), builder.one_of([float32, float64]))
    for _ in range(builder.number(1, most)):
        builder.step()
    if builder.random.random() < 0.5:
        builder.differentiate()
    return builder.case()


def _value_of(node: Node, inputs: Sequence[Value]) -> Value:
    """What the reference executor makes of a node, and how far another right result may be off.

    A gradient asks questions, such as which element is the largest, of which the answer may turn where numbers are
    uncertain: then anything is right.
    """
    arrays, spreads = [value.array for value in inputs], [value.spread for value in inputs]
    array = evaluate(node.op, arrays, node.attributes)
    rough = [value for value in inputs if value.spread is not None]
    if rough and (node.op not in ROUGH or any(value.dtype.kind != "f" for value in rough)):
        return Value(node, array, np.full(array.shape, np.inf))
    return Value(node, array, spread(node.op, arrays, spreads, array, node.attributes))


def _of_the_first(upstream: Tensor, position: int, inputs: Sequence[Tensor]) -> Tensor | None:
    """The gradient of an op that passes on its first input."""
    return None if position else upstream


def ops_of(case: Case) -> set[Op]:
    return {node.op for node in case.traced.graph.nodes} & set(RULES)


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], -1, *shape[axis + 1 :]) if axis < len(shape) else ()


def _broadcast(*shapes: Shape) -> Shape | None:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def _product_of(*shapes: Shape) -> int:
    return math.prod(_broadcast(*shapes) or ())
