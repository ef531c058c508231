"""How a kernel walks over its points: axes joined into few long ones, shared out among threads, taken in vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from chainrule.engine.code import Code
from chainrule.engine.graph import Shape
from chainrule.engine.kernels.vector import Vector

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


@contextmanager
def loops(code: Code, axes: Sequence[Axis], shared: int | None = None) -> Iterator[dict[int, str]]:
    """Nested loops over `axes`, the one numbered `shared` over this thread's part; gives the indices by last axis."""
    ranges = {}
    if shared is not None:
        ranges[shared] = share(code, axes[shared].extent)
    with ExitStack() as stack:
        indices = {}
        for number, axis in enumerate(axes):
            start, stop = ranges.get(number, ("0", str(axis.extent)))
            indices[axis.last] = stack.enter_context(code.loop(start, stop))
        yield indices


def share(code: Code, extent: int) -> tuple[str, str]:
    """The part of `range(extent)` that this thread does."""
    begin = code.let(f"mul i64 %thread, {extent}")
    after = code.let("add i64 %thread, 1")
    finish = code.let(f"mul i64 {after}, {extent}")
    return code.let(f"sdiv i64 {begin}, %threads"), code.let(f"sdiv i64 {finish}, %threads")


def shared_axis(axes: Sequence[Axis]) -> int:
    """The axis that threads share: the outermost that is long enough for any team, else the longest."""
    for number, axis in enumerate(axes):
        if axis.extent >= 16:
            return number
    return max(range(len(axes)), key=lambda number: axes[number].extent)


Write = Callable[[str, Vector | None], None]


def along(code: Code, axis: Axis, lanes: int, write: Write, shared: bool = False) -> None:
    """Walk an axis in vectors of `lanes`, or point by point where `lanes` is 0.

    `write(index, vector)` writes the code of one vector that begins at `index`; the last one may be used in part.
    """
    if not lanes:
        start, stop = share(code, axis.extent) if shared else ("0", str(axis.extent))
        with code.loop(start, stop) as index:
            write(index, None)
        return
    whole, rest = divmod(axis.extent, lanes)
    vector = Vector(axis.last, lanes, lanes)
    if shared:
        _shared_vectors(code, axis, vector, write)
        return
    if whole == 1:
        write("0", vector)
    elif whole:
        with code.loop("0", str(whole * lanes), lanes) as index:
            write(index, vector)
    if rest:
        write(str(whole * lanes), _part(axis, rest))


def _shared_vectors(code: Code, axis: Axis, vector: Vector, write: Write) -> None:
    """The vectors of this thread's share; the part at the end belongs to the last thread."""
    whole, rest = divmod(axis.extent, vector.count)
    begin, finish = share(code, whole)
    start = code.let(f"mul i64 {begin}, {vector.count}")
    stop = code.let(f"mul i64 {finish}, {vector.count}")
    with code.loop(start, stop, vector.count) as index:
        write(index, vector)
    if rest:
        last = code.let("add i64 %thread, 1")
        is_last = code.let(f"icmp eq i64 {last}, %threads")
        with code.when(is_last):
            write(str(whole * vector.count), _part(axis, rest))


def _part(axis: Axis, used: int) -> Vector | None:
    """The narrowest vector that holds so many; None for a single point."""
    return Vector(axis.last, 1 << (used - 1).bit_length(), used) if used > 1 else None
