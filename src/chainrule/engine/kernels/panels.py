"""Copies of the panels of a right operand, one by one: while tiles of a panel are computed, the next one is copied.

A copy by itself waits for memory most of the time. Between multiply-adds it costs next to nothing: every few steps
along the depth a tile copies a row of the next panel, and asks for one that comes later. The first tiles of a panel
copy a piece each. What a thread does not do from the first tile on, as others have claimed it, is copied at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chainrule.engine.code import Code, Kind
from chainrule.engine.kernels.packing import Copy
from chainrule.engine.kernels.shares import plus, smaller, times
from chainrule.engine.kernels.sums import Beside, Right
from chainrule.engine.record import record

_SOON = 4  # rows that are asked for before they are copied


@record(frozen=True, slots=True)
class Wanted:
    """A panel: where its first element lies, and a number that no other panel has."""

    start: str
    key: str


class Panels:
    """The two places of a thread's scratch memory that hold a panel and the next one.

    Parameters
    ----------
    code
        The function that is written.
    copy, strides
        How panels are copied, and how they lie in memory (along the depth, along the panel).
    places
        The address of two places beside each other, each as large as a copied panel.
    pieces
        How many tiles copy a piece of the next panel; 0: none does.
    """

    def __init__(self, code: Code, copy: Copy, strides: tuple[int, int], places: str, pieces: int) -> None:
        self.code, self.copy, self.strides, self.places, self.pieces = code, copy, strides, places, pieces
        self._held, self._next = (code.variable("i64", "-1") for _ in range(2))  # the panels that are there
        self._place, self._done = (code.variable("i64", "0") for _ in range(2))  # which place is which; pieces copied

    @property
    def right(self) -> Right:
        """The panel that `need` asked for, as sums read it."""
        copy = self.copy
        return Right(self._here(), copy.row, copy.places, (copy.panel.lanes,) * len(copy.places))

    def need(self, wanted: Wanted) -> None:
        """A panel is copied unless it is there."""
        code = self.code
        with code.when(code.let(f"icmp ne i64 {code.get('i64', self._held)}, {wanted.key}")):
            is_next = code.let(f"icmp eq i64 {code.get('i64', self._next)}, {wanted.key}")
            if self.pieces:
                with code.when(is_next):
                    code.set("i64", self._place, self._other())
                is_new = code.let(f"xor i1 {is_next}, true")
                with code.when(is_new):
                    self.copy.write(code, wanted.start, self.strides, self._here())
            else:
                self.copy.write(code, wanted.start, self.strides, self._here())
            code.set("i64", self._held, wanted.key)
            code.set("i64", self._next, "-1")
            code.set("i64", self._done, "0")

    @contextmanager
    def beside(self, following: Wanted, tile: str) -> Iterator[Beside | None]:
        """What is done for the following panel beside the sums of tile number `tile`; and when the sums are stored,
        what is left to do."""
        if not self.pieces:
            yield None
            return
        code = self.code
        piece = smaller(code, tile, str(self.pieces - 1))
        if self.strides[1] == 1:
            yield self._rows(following, piece)
        else:
            first = times(code, piece, self._squares)
            yield self._lines(following, first)
            self._transposed(following, first)
        done = code.get("i64", self._done)
        in_order = code.let(f"icmp eq i64 {done}, {tile}")
        counted = code.let(f"add i64 {done}, {code.let(f'zext i1 {in_order} to i64')}")
        code.set("i64", self._done, counted)
        with code.when(code.let(f"icmp eq i64 {counted}, {self.pieces}")):
            code.set("i64", self._next, following.key)

    # --- Rows that lie without gaps ---

    def _rows(self, following: Wanted, piece: str) -> Beside:
        """Every so many steps a row is copied."""
        code, copy, (down, _) = self.code, self.copy, self.strides
        first = times(code, piece, copy.depth // self.pieces)
        start = self._element(following.start, times(code, first, down))
        goal = self._element(self._at(self._other()), times(code, first, copy.row))

        def write(here: str, there: str) -> None:
            for line in range(len(copy.panel.offsets)):
                code.fetch(self._element(here, str(_SOON * down + line * copy.panel.lanes)), cache=2)
            copy.vectors(code, here, there)

        return Beside(self.pieces, (start, goal), (down, copy.row), write)

    # --- Columns that lie without gaps: squares are transposed when their lines have come ---

    @property
    def _squares(self) -> int:
        """Squares in a piece, one after the other along the depth."""
        return len(self.copy.places) * (self.copy.depth // self.copy.panel.lanes) // self.pieces

    def _lines(self, following: Wanted, first: str) -> Beside:
        """Every so many steps a line of each square is asked for."""
        lanes, (_, across) = self.copy.panel.lanes, self.strides
        start, _ = self._square(following, first)

        def write(here: str) -> None:
            for number in range(self._squares):
                self.code.fetch(self._element(here, str(number * lanes)), cache=2)

        return Beside(self.copy.depth // lanes, (start,), (across,), write)

    def _transposed(self, following: Wanted, first: str) -> None:
        """The squares of a piece."""
        with self.code.loop("0", str(self._squares)) as number:
            here, there = self._square(following, plus(self.code, first, number))
            lanes = self.copy.panel.lanes
            self.copy.square(self.code, lanes, here, self.strides[1], there, lanes)

    def _square(self, following: Wanted, number: str) -> tuple[str, str]:
        """Where a square begins, and where its copy does: counted along the depth first."""
        code, copy, lanes = self.code, self.copy, self.copy.panel.lanes
        each = copy.depth // lanes
        vector, step = code.let(f"udiv i64 {number}, {each}"), code.let(f"urem i64 {number}, {each}")
        column, row = times(code, vector, lanes), times(code, step, lanes)
        here = self._element(following.start, plus(code, times(code, column, self.strides[1]), row))
        there = self._element(self._at(self._other()), plus(code, times(code, row, copy.row), column))
        return here, there

    # --- Places ---

    def _here(self) -> str:
        return self._at(self.code.get("i64", self._place))

    def _other(self) -> str:
        return self.code.let(f"sub i64 {self.copy.depth * self.copy.row}, {self.code.get('i64', self._place)}")

    def _at(self, place: str) -> str:
        return self._element(self.places, place)

    def _element(self, pointer: str, index: str) -> str:
        return self.code.element(Kind(self.copy.dtype).type, pointer, index)
