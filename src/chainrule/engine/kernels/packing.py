"""Copies of parts of a matrix in the order in which the tiles of a product read them.

A panel of the right operand becomes `depth` rows of whole vectors without gaps, whatever its strides were: rows are
copied, columns are transposed in registers, anything else goes element by element. Rows of the left operand that lie
beside each other become `depth` short rows for each tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from chainrule.engine.code import Code, Kind
from chainrule.engine.dtypes import DType
from chainrule.engine.kernels.shares import times
from chainrule.engine.kernels.tile import Panel
from chainrule.engine.kernels.vector import Vector, read, write
from chainrule.engine.record import record

TOGETHER = 4  # rows of a panel that are copied in one turn of a loop


def kind_of(dtype: DType, lanes: int) -> Kind:
    """A vector of so many lanes; of one: a single element."""
    return Kind(dtype, lanes if lanes > 1 else 0)


def load(code: Code, kind: Kind, address: str, used: int | None = None) -> str:
    """Elements from memory; lanes from `used` on are zero, and their places are not touched."""
    return read(code, Kind(kind.dtype), address, _lanes(kind, used))


def store(code: Code, kind: Kind, value: str, address: str, used: int | None = None) -> None:
    """The lanes below `used` (without it all) to memory."""
    write(code, Kind(kind.dtype), value, address, _lanes(kind, used))


def _lanes(kind: Kind, used: int | None) -> Vector | None:
    return Vector(-1, kind.lanes, kind.lanes if used is None else used) if kind.lanes else None


def moved(code: Code, kind: Kind, address: str, elements: int) -> str:
    """An address so many elements on."""
    return code.element(Kind(kind.dtype).type, address, str(elements))


_CopyRow = Callable[[Code, str, str], None]


@record(frozen=True, slots=True)
class Copy:
    """A panel as it is packed: `depth` rows of `row` elements each, in which the panel's vectors lie at `places`."""

    dtype: DType
    panel: Panel
    depth: int
    places: tuple[int, ...]
    row: int

    @classmethod
    def of_vectors(cls, dtype: DType, panel: Panel, depth: int) -> Copy:
        """Whole vectors one after the other, as the right operand is read."""
        places = tuple(number * panel.lanes for number in range(len(panel.offsets)))
        return cls(dtype, panel, depth, places, len(places) * panel.lanes)

    @classmethod
    def of_numbers(cls, dtype: DType, count: int, lanes: int, depth: int) -> Copy:
        """`count` numbers after each other, as the left operand is read."""
        panel = Panel.of(count, lanes, masked=False)
        return cls(dtype, panel, depth, panel.offsets, count)

    def write(self, code: Code, source: str, strides: tuple[int, int], goal: str, depth: str = "") -> None:
        """Copy from `source` on, with strides (along the depth, along the panel), to `goal`.

        `depth` names the number of rows if it is known only when the program runs; then `self.depth` is the most.
        """
        along_depth, across = strides
        rows: _CopyRow
        rows, together = partial(self._elements, across), 1
        if across == 1 and self.panel.lanes > 1:
            rows, together = self.vectors, TOGETHER
        elif along_depth == 1 and min(self.depth, self.panel.lanes) > 1:
            size = min(self.panel.lanes, 1 << (self.depth.bit_length() - 1))
            if not depth:
                self._transposed(code, source, across, goal, size)
                return
            whole = code.let(f"and i64 {depth}, {-size}")
            with code.loop("0", whole, size) as start:
                self._squares(code, source, across, goal, size, start)
            self._walk_from(code, source, along_depth, goal, rows, whole, depth)
            return
        if not depth:
            self._walk(code, source, along_depth, goal, rows, together)
            return
        whole = code.let(f"and i64 {depth}, {-together}")
        with code.loop("0", whole, together) as start:
            self.rows(code, source, along_depth, goal, rows, start, range(together))
        self._walk_from(code, source, along_depth, goal, rows, whole, depth)

    def clear(self, code: Code, goal: str, low: str, high: str) -> None:
        """Zeros in the rows from `low` to `high`."""
        kind = kind_of(self.dtype, self.panel.lanes)
        zero = "zeroinitializer" if kind.lanes else kind.constant(0)
        with code.loop(low, high) as step:
            there = code.element(Kind(self.dtype).type, goal, times(code, step, self.row))
            for place in self.places:
                store(code, kind, zero, moved(code, kind, there, place))

    def vectors(self, code: Code, here: str, there: str) -> None:
        """Copy one row that lies without gaps from `here` to `there`."""
        kind = kind_of(self.dtype, self.panel.lanes)
        for number, (offset, place) in enumerate(zip(self.panel.offsets, self.places, strict=True)):
            value = load(code, kind, moved(code, kind, here, offset), self.panel.used_in(number))
            store(code, kind, value, moved(code, kind, there, place))

    def _elements(self, across: int, code: Code, here: str, there: str) -> None:
        kind = Kind(self.dtype)
        for number, (offset, place) in enumerate(zip(self.panel.offsets, self.places, strict=True)):
            for lane in range(self.panel.lanes):
                value = kind.constant(0)
                if lane < self.panel.used_in(number):
                    value = load(code, kind, moved(code, kind, here, (offset + lane) * across))
                store(code, kind, value, moved(code, kind, there, place + lane))

    def rows(
        self, code: Code, source: str, stride: int, goal: str, copy: _CopyRow, start: str, steps: Iterable[int]
    ) -> None:
        """The rows `start + step` for each of the steps."""
        kind = Kind(self.dtype)
        here = code.element(kind.type, source, times(code, start, stride))
        there = code.element(kind.type, goal, times(code, start, self.row))
        for step in steps:
            copy(code, moved(code, kind, here, step * stride), moved(code, kind, there, step * self.row))

    def _walk(self, code: Code, source: str, stride: int, goal: str, copy: _CopyRow, together: int) -> None:
        """All rows, `together` of them in a turn of a loop."""
        whole = self.depth - self.depth % together
        if whole > together:
            with code.loop("0", str(whole), together) as start:
                self.rows(code, source, stride, goal, copy, start, range(together))
        else:
            self.rows(code, source, stride, goal, copy, "0", range(whole))
        self.rows(code, source, stride, goal, copy, "0", range(whole, self.depth))

    def _walk_from(self, code: Code, source: str, stride: int, goal: str, copy: _CopyRow, low: str, high: str) -> None:
        """The rows from `low` to `high` one by one."""
        with code.loop(low, high) as start:
            self.rows(code, source, stride, goal, copy, start, [0])

    def _transposed(self, code: Code, source: str, across: int, goal: str, size: int) -> None:
        """Square blocks, of which the last overlaps the one before rather than going past the end."""
        whole = self.depth - self.depth % size
        if whole > size:
            with code.loop("0", str(whole), size) as start:
                self._squares(code, source, across, goal, size, start)
        else:
            self._squares(code, source, across, goal, size, "0")
        if self.depth % size:
            self._squares(code, source, across, goal, size, str(self.depth - size))

    def square(self, code: Code, size: int, here: str, across: int, there: str, used: int) -> None:
        """One square, read along the depth and transposed in registers; zeros after `used` of its columns."""
        kind = kind_of(self.dtype, size)
        lines = [load(code, kind, moved(code, kind, here, line * across)) for line in range(used)]
        for step, line in enumerate(transpose(code, kind, lines + ["zeroinitializer"] * (size - used))):
            store(code, kind, line, moved(code, kind, there, step * self.row))

    def _squares(self, code: Code, source: str, across: int, goal: str, size: int, start: str) -> None:
        """Squares of `size` rows from `start` on, side by side."""
        kind, single = kind_of(self.dtype, size), Kind(self.dtype).type
        here = code.element(single, source, start)
        there = code.element(single, goal, times(code, start, self.row))
        if self.panel.width == self.row and self.row % size == 0:  # all are whole: a loop is sooner compiled
            with code.loop("0", str(self.row), size) as column:
                begin = code.element(single, here, times(code, column, across))
                self.square(code, size, begin, across, code.element(single, there, column), size)
            return
        for number, (offset, place) in enumerate(zip(self.panel.offsets, self.places, strict=True)):
            for part in range(0, self.panel.lanes, size):
                used = max(0, min(size, self.panel.used_in(number) - part))
                begin = moved(code, kind, here, (offset + part) * across)
                self.square(code, size, begin, across, moved(code, kind, there, place + part), used)


def transpose(code: Code, kind: Kind, lines: list[str]) -> list[str]:
    """A square of registers, transposed: first within groups of 16 bytes, which is cheap, then whole groups."""
    size = kind.lanes
    group = min(size, 16 // kind.dtype.itemsize)
    step = 1
    while step < group:  # blocks of `step` elements of two lines are interleaved within each group
        lines = [
            line
            for low in range(0, size, group)
            for line in _interleaved(code, kind, lines[low : low + group], step, group)
        ]
        step *= 2
    while step < size:  # blocks of `step` elements change places between two lines
        upper = [lane if not lane & step else size + lane - step for lane in range(size)]
        lower = [lane + step if not lane & step else size + lane for lane in range(size)]
        for low in range(size):
            if not low & step:
                first, second = lines[low], lines[low + step]
                lines[low] = _shuffled(code, kind, first, second, upper)
                lines[low + step] = _shuffled(code, kind, first, second, lower)
        step *= 2
    return lines


def _interleaved(code: Code, kind: Kind, lines: list[str], step: int, group: int) -> list[str]:
    """One stage of the transposition within groups: from pairs of lines, blocks taken in turn from the low and from
    the high half of each group."""
    size, half = kind.lanes, group // 2
    result = [""] * group
    blocks = half // step
    for pair in range(group // 2):
        # After the stages before, line `number` holds row block `number // step`, column `number % step` of a group.
        base = pair // step * 2 * step + pair % step
        first, second = lines[base], lines[base + step]
        for side in range(2):
            indices = []
            for low in range(0, size, group):
                for number in range(blocks):
                    start = low + side * half + number * step
                    indices += [start + lane for lane in range(step)] + [size + start + lane for lane in range(step)]
            result[pair // step * 2 * step + 2 * (pair % step) + side] = _shuffled(code, kind, first, second, indices)
    return result


def _shuffled(code: Code, kind: Kind, first: str, second: str, lanes: list[int]) -> str:
    listed = ", ".join(f"i32 {lane}" for lane in lanes)
    operands = f"{kind.type} {first}, {kind.type} {second}, <{kind.lanes} x i32> <{listed}>"
    return code.let(f"shufflevector {operands}")
