"""A nest of loops of which each thread does a contiguous part, and the index arithmetic that goes with it.

Numbers that are known while the code is written are folded at once, so that the text stays short.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chainrule.engine.code import Code
from chainrule.engine.graph import Shape


class Share:
    """This thread's part of all points of a nest of loops, counted with the last loop fastest.

    Open the levels one inside the other; `bounds` are the part of what is inside the open ones. Each part is as long as
    any other, give or take one point, and the first threads have the longer ones.
    """

    def __init__(self, code: Code, sizes: Sequence[int]) -> None:
        self._code, self._sizes = code, tuple(sizes)
        total = math.prod(sizes)
        if code.alone:
            self.bounds = ("0", str(total))
            return
        before = code.let(f"mul i64 %thread, {total}")
        ends = [before, code.let(f"add i64 {before}, {total}")]
        least = code.let("add i64 %threads, -1")
        low, high = (_divided(code, code.let(f"add i64 {end}, {least}"), total) for end in ends)
        self.bounds = (low, high)

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
