"""The inside of a kernel: the expressions of one point of the domain, written as LLVM code.

Axes over which every array goes on without a gap are joined, so that loops are few and long. Each expression is
written once for a point, however often it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from chainrule.engine.code import MEMORY, REGISTER, Code, Kind
from chainrule.engine.dtypes import bool_
from chainrule.engine.graph import Node, Shape
from chainrule.engine.instructions import instruction
from chainrule.engine.kernel import Access, Apply, Expression, Gather, Load, Number, Words
from chainrule.engine.kernels.philox import random_word

SIGNATURE = [("i64", "thread"), ("i64", "threads")]


@dataclass(frozen=True, slots=True)
class Axis:
    """Neighbouring axes of a domain walked as one: how many points, and the last of them, whose stride is theirs."""

    extent: int
    last: int


def joined(domain: Shape, strides: Sequence[Shape], begin: int = 0, end: int | None = None) -> list[Axis]:
    """The axes from `begin` to `end` of a domain, joined where all `strides` allow it."""
    axes: list[Axis] = []
    for axis in range(begin, len(domain) if end is None else end):
        length = domain[axis]
        if length == 1:
            continue
        if axes and all(each[axes[-1].last] == each[axis] * length for each in strides):
            axes[-1] = Axis(axes[-1].extent * length, axis)
        else:
            axes.append(Axis(length, axis))
    return axes or [Axis(1, -1)]


def strides_of(expressions: Iterable[Expression]) -> list[Shape]:
    """The strides of everything that the expressions read."""
    found, seen, stack = [], set(), list(expressions)
    while stack:
        expression = stack.pop()
        if id(expression) in seen:
            continue
        seen.add(id(expression))
        match expression:
            case Load(access=access):
                found.append(access.strides)
            case Gather(access=access, index=index):
                found.append(access.strides)
                stack.append(index)
            case Apply(inputs=inputs):
                stack.extend(inputs)
            case Words(key=key, counter=counter, strides=strides):
                found.append(strides)
                stack.extend((key, counter))
    return found


@contextmanager
def loops(code: Code, axes: Sequence[Axis], first: tuple[str, str] | None = None) -> Iterator[dict[int, str]]:
    """Nested loops over `axes`, the first of them over the range `first`; gives the index of each by its last axis."""
    with ExitStack() as stack:
        indices = {}
        for number, axis in enumerate(axes):
            start, stop = first if first and number == 0 else ("0", str(axis.extent))
            indices[axis.last] = stack.enter_context(code.loop(start, stop))
        yield indices


def share(code: Code, extent: int) -> tuple[str, str]:
    """The part of `range(extent)` that this thread does."""
    begin = code.let(f"mul i64 %thread, {extent}")
    after = code.let("add i64 %thread, 1")
    finish = code.let(f"mul i64 {after}, {extent}")
    return code.let(f"sdiv i64 {begin}, %threads"), code.let(f"sdiv i64 {finish}, %threads")


class Body:
    """The code of one point.

    Parameters
    ----------
    code
        The function.
    arrays
        The parameter that points to each array.
    indices
        The index of each axis of the domain that has one, by number.
    """

    def __init__(self, code: Code, arrays: dict[Node, str], indices: dict[int, str]) -> None:
        self.code, self.arrays, self.indices = code, arrays, indices
        self._values: dict[int, str] = {}

    def place(self, offset: int, strides: Shape) -> str:
        """`offset + sum(index * stride)` as an i64."""
        total = str(offset)
        for axis, index in self.indices.items():
            if axis >= 0 and strides[axis]:
                term = index if strides[axis] == 1 else self.code.let(f"mul nsw i64 {index}, {strides[axis]}")
                total = term if total == "0" else self.code.let(f"add nsw i64 {total}, {term}")
        return total

    def address(self, access: Access) -> str:
        """The address of an element."""
        kind = MEMORY[access.array.dtype]
        return self.code.element(kind, self.arrays[access.array], self.place(access.offset, access.strides))

    def store(self, access: Access, value: str) -> None:
        """Put a value into an array."""
        write(self.code, Kind(access.array.dtype), value, self.address(access))

    def value(self, expression: Expression) -> str:
        """The value of an expression here."""
        if id(expression) not in self._values:
            self._values[id(expression)] = self._write(expression)
        return self._values[id(expression)]

    def _write(self, expression: Expression) -> str:
        match expression:
            case Number():
                return Kind(expression.dtype).constant(expression.value)
            case Load():
                return read(self.code, Kind(expression.dtype), self.address(expression.access))
            case Gather():
                return self._gather(expression)
            case Words():
                number = self.place(expression.offset, expression.strides)
                return random_word(self.code, self.value(expression.key), self.value(expression.counter), number)
            case Apply():
                inputs = tuple([self.value(source) for source in expression.inputs])
                kind = Kind(expression.inputs[-1].dtype)
                return instruction(expression.op, self.code, kind, inputs, expression.attributes)

    def _gather(self, gather: Gather) -> str:
        index, _ = checked_index(self.code, self.index(gather.index), gather.size, gather.node)
        start = self.place(gather.access.offset, gather.access.strides)
        far = self.code.let(f"mul nsw i64 {index}, {gather.stride}")
        element = self.code.let(f"add nsw i64 {start}, {far}")
        kind = Kind(gather.dtype)
        if gather.size:
            address = self.code.element(MEMORY[gather.dtype], self.arrays[gather.access.array], element)
            return read(self.code, kind, address)
        return kind.constant(0)

    def index(self, expression: Expression) -> str:
        """An integer expression as an i64."""
        value = self.value(expression)
        return value if expression.dtype.itemsize == 8 else self.code.let(f"sext i32 {value} to i64")


def checked_index(code: Code, index: str, size: int, node: Node) -> tuple[str, str]:
    """An index from `-size` on, made to count from 0; any other becomes 0 and is told to the program's status.

    Gives the index, and whether it was right.
    """
    below = code.let(f"icmp slt i64 {index}, 0")
    moved = code.let(f"add i64 {index}, {size}")
    counted = code.let(f"select i1 {below}, i64 {moved}, i64 {index}")
    right = code.let(f"icmp ult i64 {counted}, {size}")
    slot = code.failure_slot(node)
    before = code.get("i1", slot)
    wrong = code.let(f"xor i1 {right}, true")
    code.set("i1", slot, code.let(f"or i1 {before}, {wrong}"))
    return code.let(f"select i1 {right}, i64 {counted}, i64 0"), right


def read(code: Code, kind: Kind, address: str) -> str:
    """The value at an address."""
    if kind.dtype == bool_:
        return code.let(f"icmp ne i8 {code.let(f'load i8, ptr {address}')}, 0")
    return code.let(f"load {kind.type}, ptr {address}")


def write(code: Code, kind: Kind, value: str, address: str) -> None:
    """Put a value at an address."""
    if kind.dtype == bool_:
        code.do(f"store i8 {code.let(f'zext i1 {value} to i8')}, ptr {address}")
    else:
        code.do(f"store {REGISTER[kind.dtype]} {value}, ptr {address}")
