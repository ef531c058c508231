"""Copies of parts of a matrix in the order in which the tiles of a product read them.

A panel of the right operand becomes `depth` rows of whole vectors without gaps, whatever its strides were: rows are
copied, columns are transposed in registers, anything else goes element by element. Rows of the left operand that lie
beside each other become `depth` short rows for each tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chainrule.engine.code import Code, Kind
from chainrule.engine.dtypes import DType
from chainrule.engine.kernels.tile import Panel
from chainrule.engine.kernels.vector import Vector, read, write

_TOGETHER = 4  # rows of a panel that are copied in one turn of a loop


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


def pack_right(
    code: Code, dtype: DType, panel: Panel, depth: int, source: str, strides: tuple[int, int], goal: str
) -> None:
    """Copy a panel, which begins at `source` and has strides (depth, column), to `goal`: vector after vector."""
    along_depth, across = strides
    row = len(panel.offsets) * panel.lanes
    kind = kind_of(dtype, panel.lanes)
    if across == 1:

        def copy(here: str, there: str) -> None:
            for number, offset in enumerate(panel.offsets):
                value = load(code, kind, moved(code, kind, here, offset), panel.used_in(number))
                store(code, kind, value, moved(code, kind, there, number * panel.lanes))

        _walk(code, kind, depth, (source, along_depth), (goal, row), copy)
    elif along_depth == 1 and min(depth, panel.lanes) > 1:
        _transposed(code, dtype, panel, depth, source, across, goal)
    else:
        single = kind_of(dtype, 1)

        def gather(here: str, there: str) -> None:
            for number, offset in enumerate(panel.offsets):
                for lane in range(panel.lanes):
                    value = single.constant(0)
                    if lane < panel.used_in(number):
                        value = load(code, single, moved(code, single, here, (offset + lane) * across))
                    store(code, single, value, moved(code, single, there, number * panel.lanes + lane))

        _walk(code, single, depth, (source, along_depth), (goal, row), gather, together=1)


def pack_left(code: Code, dtype: DType, rows: int, depth: int, source: str, along_depth: int, goal: str) -> None:
    """Copy a tile's rows, which lie beside each other from `source` on, to `goal`: `depth` times `rows` elements."""
    pieces = []
    while sum(pieces) < rows:
        pieces.append(1 << ((rows - sum(pieces)).bit_length() - 1))

    def copy(here: str, there: str) -> None:
        for number, piece in enumerate(pieces):
            kind, done = kind_of(dtype, piece), sum(pieces[:number])
            store(code, kind, load(code, kind, moved(code, kind, here, done)), moved(code, kind, there, done))

    _walk(code, Kind(dtype), depth, (source, along_depth), (goal, rows), copy)


def _walk(
    code: Code,
    kind: Kind,
    count: int,
    source: tuple[str, int],
    goal: tuple[str, int],
    copy: Callable[[str, str], None],
    together: int = _TOGETHER,
) -> None:
    """`copy(from, to)` for `count` places, each a stride (in elements) further than the one before."""
    with _steps(code, count, together) as (start, number):
        element = Kind(kind.dtype).type
        for each in range(number):
            here, there = (
                moved(code, kind, code.element(element, base, _scaled(code, start, stride)), each * stride)
                for base, stride in (source, goal)
            )
            copy(here, there)
    done = count - count % together
    for each in range(done, count):
        copy(*(moved(code, kind, base, each * stride) for base, stride in (source, goal)))


@contextmanager
def _steps(code: Code, count: int, together: int) -> Iterator[tuple[str, int]]:
    """A loop over the multiples of `together` up to `count`, without what is left; nothing at all if none fit."""
    whole = count - count % together
    if whole == together:
        yield "0", together
    elif whole:
        with code.loop("0", str(whole), together) as start:
            yield start, together
    else:
        yield "0", 0


def _scaled(code: Code, index: str, stride: int) -> str:
    return index if index == "0" or stride == 1 else code.let(f"mul nsw i64 {index}, {stride}")


def _transposed(code: Code, dtype: DType, panel: Panel, depth: int, source: str, across: int, goal: str) -> None:
    """Pack a panel whose columns lie without gaps: square blocks, transposed in registers.

    The last block along the depth overlaps the one before rather than going past the end.
    """
    size = min(panel.lanes, 1 << (depth.bit_length() - 1))
    kind, row = kind_of(dtype, size), len(panel.offsets) * panel.lanes

    def block(start: str) -> None:
        here = code.element(Kind(dtype).type, source, start)
        there = code.element(Kind(dtype).type, goal, _scaled(code, start, row))
        for number, offset in enumerate(panel.offsets):
            for part in range(0, panel.lanes, size):
                used = max(0, min(size, panel.used_in(number) - part))
                lines = [load(code, kind, moved(code, kind, here, (offset + part + q) * across)) for q in range(used)]
                lines += ["zeroinitializer"] * (size - used)
                for step, line in enumerate(_transpose(code, kind, lines)):
                    store(code, kind, line, moved(code, kind, there, step * row + number * panel.lanes + part))

    whole = depth - depth % size
    if whole == size:
        block("0")
    else:
        with code.loop("0", str(whole), size) as start:
            block(start)
    if depth % size:
        block(str(depth - size))


def _transpose(code: Code, kind: Kind, lines: list[str]) -> list[str]:
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
