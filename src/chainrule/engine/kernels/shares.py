"""A nest of loops whose points threads share out, or claim piece by piece, and the index arithmetic that goes with it.

Numbers that are known while the code is written are folded at once, so that the text stays short.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chainrule.engine.code import Code
from chainrule.engine.graph import Shape


class Share:
    """A part of all points of a nest of loops, counted with the last loop fastest: by default this thread's.

    Open the levels one inside the other; `bounds` are the part of what is inside the open ones. Each thread's part is
    as long as any other, give or take one point; the last threads have the longer ones, as the first has work alone.
    """

    def __init__(self, code: Code, sizes: Sequence[int], bounds: tuple[str, str] | None = None) -> None:
        self._code, self._sizes = code, tuple(sizes)
        total = math.prod(sizes)
        self.bounds = bounds or (("0", str(total)) if code.alone else _bounds(code, total, "%thread"))

    @contextmanager
    def any(self) -> Iterator[None]:
        """A block that runs only if the part is not empty."""
        if self._code.alone:
            yield
            return
        with self._code.when(self._code.let(f"icmp slt i64 {self.bounds[0]}, {self.bounds[1]}")):
            yield

    @contextmanager
    def level(self, number: int) -> Iterator[str]:
        """The loop of one level; gives its index."""
        if self._sizes[number] == 1:
            yield "0"
            return
        code, inner, (low, high) = self._code, math.prod(self._sizes[number + 1 :]), self.bounds
        if (low, high) == ("0", str(inner * self._sizes[number])):
            with code.loop("0", str(self._sizes[number])) as index:
                self.bounds = ("0", str(inner))
                yield index
            self.bounds = (low, high)
            return
        first, last = low, high
        if inner > 1:
            first = code.let(f"udiv i64 {low}, {inner}")
            last = code.let(f"udiv i64 {plus(code, high, inner - 1)}, {inner}")
        with code.loop(first, last) as index:
            base = times(code, index, inner)
            relative = [code.let(f"sub nsw i64 {bound}, {base}") for bound in (low, high)]
            self.bounds = (larger(code, relative[0], "0"), smaller(code, relative[1], str(inner)))
            yield index
        self.bounds = (low, high)


@contextmanager
def parts(code: Code, sizes: Sequence[int], site: int | None, grain: int) -> Iterator[Share]:
    """Parts of all points of a nest of loops, one after the other, until every point has been some thread's.

    A thread claims `grain` points of its own part at a time, and when there are no more, of the other threads' parts:
    so nobody waits for a thread whose core is slow or busy. Which thread does a point never changes its bits. Word
    number `site` at `%claims` counts what has been claimed of the first thread's part; that of the next thread is
    `%apart` bytes further. Where `site` is None, each thread does its own part, all at once.
    """
    if site is None or code.alone:
        share = Share(code, sizes)
        with share.any():
            yield share
        return
    own = code.element("i64", "%claims", str(site))
    with code.loop("0", "%threads") as turn:
        after = code.let(f"add i64 %thread, {turn}")
        is_past = code.let(f"icmp sge i64 {after}, %threads")
        thread = code.let(f"select i1 {is_past}, i64 {code.let(f'sub i64 {after}, %threads')}, i64 {after}")
        low, high = _bounds(code, math.prod(sizes), thread)
        word = code.element("i8", own, code.let(f"mul i64 {thread}, %apart"))

        def claim() -> str:
            return code.let(f"add i64 {low}, {code.let(f'atomicrmw add ptr {word}, i64 {grain} monotonic')}")

        with code.drawing(claim, high) as begin:
            yield Share(code, sizes, (begin, smaller(code, plus(code, begin, grain), high)))


@contextmanager
def unless_done(code: Code, site: int | None, slot: str, key: str) -> Iterator[None]:
    """A block that runs only where `key` is not what the i64 `slot` holds from last time; always where `site` is None,
    because then nothing comes twice."""
    if site is None or code.alone:
        yield
        return
    with code.when(code.let(f"icmp ne i64 {code.get('i64', slot)}, {key}")):
        code.set("i64", slot, key)
        yield


def _bounds(code: Code, total: int, thread: str) -> tuple[str, str]:
    """The part of `total` points that belongs to a thread."""
    before = code.let(f"mul i64 {thread}, {total}")
    low, high = (_divided(code, end, total) for end in (before, code.let(f"add i64 {before}, {total}")))
    return low, high


def _divided(code: Code, number: str, total: int) -> str:
    """`number / %threads`, in 32 bits where that is wide enough, because it is faster."""
    if total >= 2**20:
        return code.let(f"udiv i64 {number}, %threads")
    narrow = [code.let(f"trunc i64 {value} to i32") for value in (number, "%threads")]
    return code.let(f"zext i32 {code.let(f'udiv i32 {narrow[0]}, {narrow[1]}')} to i64")


def plus(code: Code, a: str, b: str | int) -> str:
    """a + b."""
    left, right = str(a), str(b)
    if left == "0" or right == "0":
        return right if left == "0" else left
    if is_number(left) and is_number(right):
        return str(int(left) + int(right))
    return code.let(f"add nsw i64 {left}, {right}")


def minus(code: Code, a: str, b: str) -> str:
    """a - b."""
    if b == "0":
        return a
    return str(int(a) - int(b)) if is_number(a) and is_number(b) else code.let(f"sub nsw i64 {a}, {b}")


def times(code: Code, a: str, b: int) -> str:
    """a * b."""
    if is_number(a):
        return str(int(a) * b)
    if b in (0, 1):
        return a if b else "0"
    return code.let(f"mul nsw i64 {a}, {b}")


def larger(code: Code, a: str, b: str) -> str:
    """The larger of the two."""
    if is_number(a) and is_number(b):
        return str(max(int(a), int(b)))
    return _chosen(code, "smax", a, b)


def smaller(code: Code, a: str, b: str) -> str:
    """The smaller of the two."""
    if is_number(a) and is_number(b):
        return str(min(int(a), int(b)))
    return _chosen(code, "smin", a, b)


def is_number(name: str) -> bool:
    """Whether a value is known while the code is written."""
    return not name.startswith("%")


def unravelled(code: Code, index: str, shape: Shape) -> list[str]:
    """The index of each axis, from the index of the point counted with the last axis fastest."""
    indices = ["0"] * len(shape)
    for axis in range(len(shape) - 1, -1, -1):
        rest = math.prod(shape[:axis])
        if shape[axis] == 1:
            continue
        if rest == 1:
            indices[axis] = index
            break
        indices[axis] = code.let(f"urem i64 {index}, {shape[axis]}")
        index = code.let(f"udiv i64 {index}, {shape[axis]}")
    return indices


def _chosen(code: Code, how: str, a: str, b: str) -> str:
    code.declare(f"declare i64 @llvm.{how}.i64(i64, i64)")
    return code.let(f"call i64 @llvm.{how}.i64(i64 {a}, i64 {b})")
