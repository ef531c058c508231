"""How a kernel walks over its points: axes joined into few long ones, shared out among threads, taken in vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from chainrule.engine.code import Code
from chainrule.engine.graph import Shape
from chainrule.engine.kernels.shares import Share
from chainrule.engine.kernels.vector import Vector
from chainrule.engine.record import record

SIGNATURE = [("i64", "thread"), ("i64", "threads")]


@record(frozen=True, slots=True)
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
    return Share(code, [extent]).bounds


def shared_axis(axes: Sequence[Axis]) -> int:
    """The axis that threads share: the outermost that is long enough for any team, else the longest."""
    for number, axis in enumerate(axes):
        if axis.extent >= 16:
            return number
    return max(range(len(axes)), key=lambda number: axes[number].extent)


Spot = tuple[str, Vector | None]  # where a vector begins, and the vector; None: a single point
Write = Callable[[list[Spot]], None]
_TEAM = 8  # groups of vectors that there should be for threads to share them out


def along(code: Code, axis: Axis, lanes: int, write: Write, *, shared: bool = False, together: int = 1) -> None:
    """Walk an axis in vectors of `lanes`, `together` of them at a time, or point by point where `lanes` is 0.

    `write` writes the code of some vectors side by side; the last one of the axis may be used in part.
    """
    if not lanes:
        start, stop = share(code, axis.extent) if shared else ("0", str(axis.extent))
        with code.loop(start, stop) as index:
            write([(index, None)])
        return
    whole, rest = divmod(axis.extent, lanes)
    vector = Vector(axis.last, lanes, lanes)
    together = max(1, min(together, whole // _TEAM if shared else whole))
    groups, single = divmod(whole, together)
    step = lanes * together
    if groups == 1 and not shared:
        write([(str(number * lanes), vector) for number in range(together)])
    elif groups:
        start, stop = _steps(code, groups, step, shared)
        with code.loop(start, stop, step) as index:
            places = [index, *(code.let(f"add i64 {index}, {number * lanes}") for number in range(1, together))]
            write([(place, vector) for place in places])
    with _last(code, shared and bool(single or rest)):
        for number in range(whole - single, whole):
            write([(str(number * lanes), vector)])
        if rest:
            write([(str(whole * lanes), _part(axis, rest))])


def _steps(code: Code, groups: int, step: int, shared: bool) -> tuple[str, str]:
    if not shared:
        return "0", str(groups * step)
    begin, finish = share(code, groups)
    if code.alone:
        return "0", str(groups * step)
    return code.let(f"mul i64 {begin}, {step}"), code.let(f"mul i64 {finish}, {step}")


@contextmanager
def _last(code: Code, shared: bool) -> Iterator[None]:
    """What is left at the end of a shared axis is for the last thread."""
    if not shared or code.alone:
        yield
        return
    is_last = code.let(f"icmp eq i64 {code.let('add i64 %thread, 1')}, %threads")
    with code.when(is_last):
        yield


def _part(axis: Axis, used: int) -> Vector | None:
    """The narrowest vector that holds so many; None for a single point."""
    return Vector(axis.last, 1 << (used - 1).bit_length(), used) if used > 1 else None
