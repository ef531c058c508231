"""The inside of a kernel: the expressions of one point of the domain, or of a vector of neighbours, as LLVM code.

Each expression is written once for a point, however often it is used. What is the same for all lanes of a vector is
computed once, as a single value, and spread out where it meets what is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from chainrule.engine.code import MEMORY, Code, Kind
from chainrule.engine.dtypes import int32, int64
from chainrule.engine.graph import Node, Shape
from chainrule.engine.instructions import instruction
from chainrule.engine.kernel import Access, Apply, Expression, Gather, Load, Number, Words, inside_out, parts
from chainrule.engine.kernels.philox import random_words
from chainrule.engine.kernels.vector import Vector, read, read_apart, spread, write, write_apart
from chainrule.engine.philox import WORDS
from chainrule.engine.record import record


@record(frozen=True, slots=True)
class View:
    """An array that a kernel sees in part: where element 0 of its points stands, and the strides of the domain."""

    pointer: str
    strides: Shape


Arrays = Mapping[Node, View | str]


class Body:
    """The code of one point, or of a vector of them.

    Parameters
    ----------
    code
        The function.
    arrays
        Where each array is: the name of a pointer, or a view.
    indices
        The index of each axis of the domain that has one, by number.
    vector
        Neighbours along one axis that are computed together; None: a single point.
    """

    def __init__(self, code: Code, arrays: Arrays, indices: Mapping[int, str], vector: Vector | None = None) -> None:
        self.code, self.arrays, self.indices, self.vector = code, arrays, indices, vector
        self._values: dict[tuple[int, bool], str] = {}
        self._uniform: dict[int, bool] = {}

    # --- Addresses ---

    def place(self, offset: int, strides: Shape) -> str:
        """`offset + sum(index * stride)` as an i64."""
        total = str(offset)
        for axis, index in self.indices.items():
            if axis >= 0 and strides[axis]:
                term = index if strides[axis] == 1 else self.code.let(f"mul nsw i64 {index}, {strides[axis]}")
                total = term if total == "0" else self.code.let(f"add nsw i64 {total}, {term}")
        return total

    def address(self, access: Access) -> str:
        """The address of the (first) element."""
        where = self.arrays[access.array]
        kind = MEMORY[access.array.dtype]
        if isinstance(where, View):
            return self.code.element(kind, where.pointer, self.place(0, where.strides))
        return self.code.element(kind, where, self.place(access.offset, access.strides))

    def _step(self, access: Access) -> int:
        """The stride from lane to lane."""
        where = self.arrays[access.array]
        assert self.vector is not None
        return (where.strides if isinstance(where, View) else access.strides)[self.vector.axis]

    # --- Values ---

    def kind(self, expression: Expression) -> Kind:
        """The kind of the value of an expression here."""
        return Kind(expression.dtype, self.vector.count if self.vector else 0)

    def value(self, expression: Expression) -> str:
        """The value of an expression, in as many lanes as the body has."""
        if self.vector is None or not self._is_uniform(expression):
            return self._value(expression, False)
        if isinstance(expression, Number):
            return self.kind(expression).constant(expression.value)
        key = (id(expression), True)
        if key not in self._values:
            self._values[key] = spread(self.code, self.kind(expression), self._value(expression, False))
        return self._values[key]

    def single(self, expression: Expression) -> str:
        """The value of an expression that is the same in every lane."""
        assert self.vector is None or self._is_uniform(expression)
        return self._value(expression, False)

    def store(self, access: Access, value: str) -> None:
        """Put a value (of the array's kind) into an array."""
        kind, address = Kind(access.array.dtype), self.address(access)
        if self.vector is None or self._step(access) == 1:
            write(self.code, kind, value, address, self.vector)
        else:
            write_apart(self.code, kind, value, address, self._step(access), self.vector)

    def _is_uniform(self, expression: Expression) -> bool:
        if id(expression) not in self._uniform:
            assert self.vector is not None
            axis = self.vector.axis
            self._uniform[id(expression)] = not any(strides[axis] for strides in self._strides([expression]))
        return self._uniform[id(expression)]

    def _strides(self, expressions: Iterable[Expression]) -> Iterable[Shape]:
        for access, strides in strides_by_access(expressions):
            where = self.arrays[access.array] if access else None
            yield where.strides if isinstance(where, View) else strides

    def _value(self, expression: Expression, wide: bool) -> str:
        if id(expression) in self.code.known:
            return self.code.known[id(expression)]
        key = (id(expression), wide)
        if key not in self._values:
            self._values[key] = self._write(expression)
        return self._values[key]

    def _write(self, expression: Expression) -> str:
        uniform = self.vector is None or self._is_uniform(expression)
        lanes = None if uniform else self.vector
        kind = Kind(expression.dtype, lanes.count if lanes else 0)
        match expression:
            case Number():
                return kind.constant(expression.value)
            case Load(access=access):
                address = self.address(access)
                if lanes is None or self._step(access) == 1:
                    return read(self.code, Kind(expression.dtype), address, lanes)
                return read_apart(self.code, Kind(expression.dtype), address, self._step(access), lanes)
            case Gather():
                return self._gather(expression, lanes)
            case Words():
                counted = self.place(expression.offset, expression.strides)
                step = expression.strides[lanes.axis] if lanes else 0
                key, counter = self.single(expression.key), self.single(expression.counter)
                # The index along the vector is a multiple of its lanes; the other terms are checked here.
                apart = [stride for axis, stride in enumerate(expression.strides) if not lanes or axis != lanes.axis]
                aligned = all(each % WORDS == 0 for each in (expression.offset, *apart))
                count = lanes.count if lanes else 0
                return random_words(self.code, key, counter, counted, step, count, aligned=aligned)
            case Apply():
                read_value = self.single if uniform else self.value
                inputs = tuple([read_value(source) for source in expression.inputs])
                kind = Kind(expression.inputs[-1].dtype, lanes.count if lanes else 0)
                return instruction(expression.op, self.code, kind, inputs, expression.attributes)

    def _gather(self, gather: Gather, lanes: Vector | None) -> str:
        """An element at a computed place: one index for all lanes, or an index for each."""
        kind = Kind(gather.dtype)
        if not gather.size:
            return Kind(gather.dtype, lanes.count if lanes else 0).constant(0)
        one_index = lanes is None or self._is_uniform(gather.index)
        number = self.single(gather.index) if one_index else self.value(gather.index)
        wide = Kind(int64, 0 if one_index or lanes is None else lanes.count)
        number = _as_int64(self.code, wide, gather.index, number)
        index, _ = checked_index(self.code, number, gather.size, gather.node, wide, lanes)
        start = self.place(gather.access.offset, gather.access.strides)
        stride = wide.integer(gather.stride)
        far = self.code.let(f"mul nsw {wide.type} {index}, {stride}")
        base = self.arrays[gather.access.array]
        assert isinstance(base, str), "what is gathered from is seen whole"
        base = self.code.element(MEMORY[gather.dtype], base, start)
        if lanes is None or (one_index and gather.access.strides[lanes.axis] == 1):
            return read(self.code, kind, self.code.element(MEMORY[gather.dtype], base, far), lanes)
        if one_index:
            address = self.code.element(MEMORY[gather.dtype], base, far)
            return read_apart(self.code, kind, address, gather.access.strides[lanes.axis], lanes)
        step = gather.access.strides[lanes.axis]
        return read_apart(self.code, kind, base, step, lanes, far)


def _as_int64(code: Code, wide: Kind, expression: Expression, name: str) -> str:
    if expression.dtype == int64:
        return name
    return code.let(f"sext {Kind(int32, wide.lanes).type} {name} to {wide.type}")


def checked_index(
    code: Code, index: str, size: int, node: Node, kind: Kind, vector: Vector | None = None
) -> tuple[str, str]:
    """An index from `-size` on, made to count from 0; any other becomes 0 and is told to the program's status.

    Gives the index, and whether it was right.
    """
    below = code.let(f"icmp slt {kind.type} {index}, {kind.integer(0)}")
    moved = code.let(f"add {kind.type} {index}, {kind.integer(size)}")
    counted = code.let(f"select {kind.mask} {below}, {kind.type} {moved}, {kind.type} {index}")
    right = code.let(f"icmp ult {kind.type} {counted}, {kind.integer(size)}")
    code.fail_unless(node, kind, right, vector.used if vector and kind.lanes else None)
    safe = code.let(f"select {kind.mask} {right}, {kind.type} {counted}, {kind.type} {kind.integer(0)}")
    return safe, right


def strides_by_access(expressions: Iterable[Expression]) -> list[tuple[Access | None, Shape]]:
    """Everything that the expressions read, with its strides; random words stand without an array."""
    found: list[tuple[Access | None, Shape]] = []
    for part in parts(*expressions):
        if isinstance(part, Load | Gather):
            found.append((part.access, part.access.strides))
        elif isinstance(part, Words):
            found.append((None, part.strides))
    return found


def write_fixed(code: Code, expressions: Iterable[Expression], arrays: Arrays) -> None:
    """Write what is the same at every point once, at the beginning of a function, where all bodies find it."""
    _write_once(code, expressions, arrays, {}, lambda access: not any(access.strides))


@contextmanager
def fixed_along(
    code: Code, axis: int, expressions: Iterable[Expression], arrays: Arrays, indices: Mapping[int, str]
) -> Iterator[None]:
    """Write what is the same along an axis once, before a loop along it in which all bodies find it."""
    before = dict(code.known)
    _write_once(code, expressions, arrays, indices, lambda access: access.strides[axis : axis + 1] == (0,))
    yield
    code.known.clear()
    code.known.update(before)


def _write_once(
    code: Code,
    expressions: Iterable[Expression],
    arrays: Arrays,
    indices: Mapping[int, str],
    is_same: Callable[[Access], bool],
) -> None:
    """Write those of the expressions that are made of numbers and of elements that are the same."""
    body = Body(code, arrays, indices)
    for expression in expressions:
        needed = parts(expression)
        reads = [part for part in needed if isinstance(part, Load)]
        is_fixed = len(reads) + sum(isinstance(part, Apply | Number) for part in needed) == len(needed)
        if is_fixed and reads and all(is_same(part.access) and part.access.array in arrays for part in reads):
            *inside, _ = inside_out(expression)
            for part in inside:  # one by one, because a chain of them may be long
                body.value(part)
            code.known[id(expression)] = body.value(expression)


def index_of(body: Body, expression: Expression) -> str:
    """An integer expression as an i64."""
    return _as_int64(body.code, Kind(int64), expression, body.single(expression))


def strides_of(expressions: Iterable[Expression]) -> list[Shape]:
    """The strides of everything that the expressions read."""
    return [strides for _, strides in strides_by_access(expressions)]
