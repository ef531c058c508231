"""Copies of the panels of a right operand, one by one: while tiles of a panel are computed, the next one is copied.

A copy by itself waits for memory most of the time. Between multiply-adds it costs next to nothing: every few steps
along the depth a tile copies a row of the next panel, and asks for one that comes later. The first tiles of a panel
copy a piece each. What a thread does not do from the first tile on, as others have claimed it, is copied at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chainrule.engine.code import Code, Kind
from chainrule.engine.kernels.packing import Copy
from chainrule.engine.kernels.plan import Matrix
from chainrule.engine.kernels.shares import plus, smaller, times
from chainrule.engine.kernels.sums import Beside
from chainrule.engine.kernels.tile import Strip

_SOON = 4  # rows that are asked for before they are copied


@dataclass(frozen=True, slots=True)
class Source:
    """The right operand of a batch: where it begins, and a number that differs for each batch that has its own."""

    start: str
    key: str


class Panels:
    """The two places of a thread's scratch memory that hold a panel and the next one.

    Parameters
    ----------
    code
        The function that is written.
    strip, matrix, copy
        Whose panels, how they lie in memory, and how they are copied.
    places
        The address of two places beside each other, each as large as a copied panel.
    pieces
        How many tiles copy a piece of the next panel; 0: none does.
    """

    def __init__(self, code: Code, strip: Strip, matrix: Matrix, copy: Copy, places: str, pieces: int) -> None:
        self.code, self.strip, self.matrix = code, strip, matrix
        self.copy, self.places, self.pieces = copy, places, pieces
        self._held, self._next = (code.variable("i64", "-1") for _ in range(2))  # the panels that are there
        self._place, self._done = (code.variable("i64", "0") for _ in range(2))  # which place is which; pieces copied

    @property
    def _size(self) -> int:
        return self.copy.depth * self.copy.row

    def here(self) -> str:
        """Where the panel is that `need` asked for."""
        return self._at(self.code.get("i64", self._place))

    def need(self, source: Source, number: str) -> None:
        """Panel `number` of a matrix is copied unless it is there."""
        code = self.code
        key = self._key(source, number)
        with code.when(code.let(f"icmp ne i64 {code.get('i64', self._held)}, {key}")):
            is_next = code.let(f"icmp eq i64 {code.get('i64', self._next)}, {key}")
            if self.pieces:
                with code.when(is_next):
                    code.set("i64", self._place, self._other())
                is_new = code.let(f"xor i1 {is_next}, true")
                with code.when(is_new):
                    self._copy(source, number)
            else:
                self._copy(source, number)
            code.set("i64", self._held, key)
            code.set("i64", self._next, "-1")
            code.set("i64", self._done, "0")

    @contextmanager
    def beside(self, source: Source, number: str, tile: str) -> Iterator[Beside | None]:
        """What is done beside the sums of tile number `tile` of a panel."""
        if not self.pieces:
            yield None
            return
        code, element, copy = self.code, Kind(self.copy.dtype).type, self.copy
        following = self._following(number)
        rows = copy.depth // self.pieces
        piece = smaller(code, tile, str(self.pieces - 1))
        first = times(code, piece, rows)
        place = plus(code, self._column(following), times(code, first, self.matrix.down))
        start = code.element(element, source.start, place)
        goal = code.element(element, self._at(self._other()), times(code, first, copy.row))

        def write(here: str, there: str) -> None:
            for line in range(len(copy.panel.offsets)):
                ahead = _SOON * self.matrix.down + line * copy.panel.lanes
                code.fetch(code.element(element, here, str(ahead)), cache=2)
            copy.vectors(code, here, there)

        yield Beside(self.pieces, (start, goal), (self.matrix.down, copy.row), write)
        done = code.get("i64", self._done)
        in_order = code.let(f"icmp eq i64 {done}, {tile}")
        counted = code.let(f"add i64 {done}, {code.let(f'zext i1 {in_order} to i64')}")
        code.set("i64", self._done, counted)
        with code.when(code.let(f"icmp eq i64 {counted}, {self.pieces}")):
            code.set("i64", self._next, self._key(source, following))

    def _following(self, number: str) -> str:
        code, after = self.code, plus(self.code, number, 1)
        is_last = code.let(f"icmp eq i64 {after}, {self.strip.count}")
        return code.let(f"select i1 {is_last}, i64 0, i64 {after}")

    def _column(self, number: str) -> str:
        return plus(self.code, times(self.code, number, self.strip.panel.width), self.strip.column)

    def _key(self, source: Source, number: str) -> str:
        return plus(self.code, times(self.code, source.key, self.strip.count), number)

    def _other(self) -> str:
        return self.code.let(f"sub i64 {self._size}, {self.code.get('i64', self._place)}")

    def _at(self, place: str) -> str:
        return self.code.element(Kind(self.copy.dtype).type, self.places, place)

    def _copy(self, source: Source, number: str) -> None:
        """All of a panel at once."""
        code, matrix = self.code, self.matrix
        place = times(code, self._column(number), matrix.across)
        start = code.element(Kind(self.copy.dtype).type, source.start, place)
        self.copy.write(code, start, (matrix.down, matrix.across), self.here())
