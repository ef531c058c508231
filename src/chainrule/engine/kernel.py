"""What is between a graph and machine code: loops over stored arrays, in the order in which they run.

    Schedule   ::= Kernel*
    Kernel     ::= Loop | Reduction | Contraction | Scatter | Running | Sorting
    Loop       ::= domain, Store*                every element on its own
    Reduction  ::= domain, reduced, op, value    the last `reduced` axes of the domain disappear
    Expression ::= Load | Gather | Number | Apply | Words

Expressions are made for one point of the domain. An access is affine: element `offset + sum(index * stride)` of a
stored array. Nothing here changes once it is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from chainrule.engine.dtypes import DType
from chainrule.engine.graph import Node, Shape
from chainrule.engine.op import Op
from chainrule.engine.record import record

SHALLOW = 256  # the depth of a product up to which its epilogue may wait until some panels are there


@record(frozen=True, slots=True)
class Access:
    """Where in a stored array the element for a point of the domain stands, in elements."""

    array: Node
    offset: int
    strides: Shape


@record(frozen=True, slots=True, eq=False)
class Load:
    """The element of an array."""

    access: Access
    dtype: DType

    sources: ClassVar[tuple[Expression, ...]] = ()


@record(frozen=True, slots=True, eq=False)
class Gather:
    """The element of an array at a place that is computed: `stride * index` further than `access` says.

    An index from `-size` to `size - 1` is right; any other sets the program's status to `node` and reads element 0.
    """

    access: Access
    index: Expression
    stride: int
    size: int
    dtype: DType
    node: Node

    @property
    def sources(self) -> tuple[Expression, ...]:
        """What it is made of."""
        return (self.index,)


@record(frozen=True, slots=True, eq=False)
class Number:
    """A number known when the program is made."""

    value: bool | int | float
    dtype: DType

    sources: ClassVar[tuple[Expression, ...]] = ()


@record(frozen=True, slots=True, eq=False)
class Apply:
    """An elementwise op of expressions."""

    op: Op
    inputs: tuple[Expression, ...]
    attributes: Mapping[str, Any]
    dtype: DType
    node: Node

    @property
    def sources(self) -> tuple[Expression, ...]:
        """What it is made of."""
        return self.inputs


@record(frozen=True, slots=True, eq=False)
class Words:
    """Random word number `offset + sum(index * stride)` under a key, from a counter on."""

    key: Expression
    counter: Expression
    offset: int
    strides: Shape
    dtype: DType

    @property
    def sources(self) -> tuple[Expression, ...]:
        """What it is made of."""
        return self.key, self.counter


Expression = Load | Gather | Number | Apply | Words


@record(frozen=True, slots=True)
class Store:
    """The value of `node` goes to a place in a stored array."""

    node: Node
    access: Access
    value: Expression


@record(frozen=True, slots=True)
class Loop:
    """Every point of the domain on its own; several values at each point share what they have in common."""

    domain: Shape
    stores: tuple[Store, ...]


@record(frozen=True, slots=True)
class Reduction:
    """`op` over the last `reduced` axes of the domain; `node` is stored contiguously in the shape of the others."""

    domain: Shape
    reduced: int
    node: Node
    value: Expression


@record(frozen=True, slots=True)
class Contraction:
    """A matrix product for each index of the batch axes: `left` is over (batch, i, k), `right` over (batch, k, j).

    `stores` is its epilogue: values at each point that are computed from the product while a part of it is at hand.
    The product itself is `kept` in its array only where something else needs it.
    """

    node: Node
    left: Access
    right: Access
    stores: tuple[Store, ...] = ()
    kept: bool = True


@record(frozen=True, slots=True)
class Scatter:
    """Zeros, to which `value` is added at `index` along one axis; the domain is (before, indices, after)."""

    domain: Shape
    node: Node
    index: Expression
    value: Expression


@record(frozen=True, slots=True)
class Running:
    """The sum of all values up to each place along the last axis of the domain; `access` says where it goes."""

    domain: Shape
    node: Node
    access: Access
    value: Expression


@record(frozen=True, slots=True)
class Sorting:
    """For each row along the last axis of the domain the order of its values: ascending, stable, NaN last."""

    domain: Shape
    node: Node
    values: Access
    access: Access


Kernel = Loop | Reduction | Contraction | Scatter | Running | Sorting


def contiguous(shape: Shape) -> Shape:
    """The strides of an array without gaps, last axis fastest.

    >>> contiguous((2, 3, 4))
    (12, 4, 1)
    """
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def nodes_made(kernel: Kernel) -> tuple[Node, ...]:
    """The nodes whose arrays a kernel writes."""
    if isinstance(kernel, Loop):
        return tuple(store.access.array for store in kernel.stores)
    if isinstance(kernel, Contraction):
        own = (kernel.node,) if kernel.kept else ()
        return (*own, *(store.access.array for store in kernel.stores))
    return (kernel.node,)


def accesses(kernel: Kernel) -> Iterator[Access]:
    """Every access that reads; of a product its left operand is the first, and its right one the second."""
    match kernel:
        case Contraction():
            yield kernel.left
            yield kernel.right
            inside = None if kernel.kept else kernel.node  # a product that is not kept has no array
            yield from (read for read in _reads(*_values(kernel.stores)) if read.array is not inside)
        case Sorting():
            yield kernel.values
        case Loop():
            yield from _reads(*_values(kernel.stores))
        case Scatter():
            yield from _reads(kernel.value, kernel.index)
        case _:
            yield from _reads(kernel.value)


def dtypes_of(expressions: Iterable[Expression]) -> set[DType]:
    """The data types of all values in expressions."""
    return {expression.dtype for expression in parts(*expressions)}


def parts(*expressions: Expression) -> list[Expression]:
    """Expressions and all that they are made of, each once."""
    found: dict[int, Expression] = {}
    stack = list(expressions)
    while stack:
        expression = stack.pop()
        if id(expression) not in found:
            found[id(expression)] = expression
            stack += expression.sources
    return [*found.values()]


def inside_out(expression: Expression) -> Iterator[Expression]:
    """An expression and all that it is made of, each once and after what it is made of itself."""
    done: set[int] = set()
    stack = [(expression, False)]
    while stack:
        part, is_open = stack.pop()
        if id(part) in done:
            continue
        if is_open:
            done.add(id(part))
            yield part
            continue
        stack.append((part, True))
        stack.extend([(source, False) for source in part.sources])


def expressions(kernel: Kernel) -> Iterator[Expression]:
    """Every expression in a kernel, each once."""
    match kernel:
        case Loop() | Contraction():
            yield from parts(*_values(kernel.stores))
        case Scatter():
            yield from parts(kernel.value, kernel.index)
        case Reduction() | Running():
            yield from parts(kernel.value)


def _values(stores: Iterable[Store]) -> list[Expression]:
    return [store.value for store in stores]


def _reads(*expressions: Expression) -> Iterator[Access]:
    return (part.access for part in parts(*expressions) if isinstance(part, Load | Gather))
