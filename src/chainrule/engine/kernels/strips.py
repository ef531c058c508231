"""Products of moderate size: strips of panels of tiles, each tile summed over the whole depth at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace

from chainrule.engine.code import Code, Kind
from chainrule.engine.kernel import contiguous
from chainrule.engine.kernels.dots import dot_products
from chainrule.engine.kernels.packing import Copy, kind_of, moved, store
from chainrule.engine.kernels.panels import Panels, Wanted
from chainrule.engine.kernels.plan import Matrix, Plan, Product, Scratch
from chainrule.engine.kernels.shares import Share, larger, parts, plus, smaller, times, unless_done, unravelled
from chainrule.engine.kernels.sums import Ahead, Beside, Left, Right, Sums
from chainrule.engine.kernels.tile import Finish, Panel, Strip, Tile
from chainrule.engine.record import record


@record(frozen=True, slots=True)
class Here:
    """Where the code is: panel `number`, from `column` on, of a batch; `first` is the first tile of the group."""

    strip: Strip
    batch: str
    column: str
    first: str
    number: str

    @property
    def panel(self) -> Panel:
        return self.strip.panel


@record(frozen=True, slots=True)
class Spot:
    """A tile of a panel: its number, its first row and how many rows it has."""

    tile: str
    row: str
    rows: int


@record(frozen=True, slots=True)
class Task:
    """What is asked of the code of a product: the names of its arrays, and what is done with what is finished.

    Attributes
    ----------
    left, right
        The operands.
    result
        Where the product goes; None: only to `finish`.
    finish, ahead
        What follows a finished part, and what is good to do long before.
    claimed
        Whether threads claim their parts.
    by_batch
        Whether a part is some whole products of the batch: their number is a multiple of that of the parts.
    """

    left: str
    right: str
    result: str | None
    finish: Finish | None
    ahead: Ahead | None
    claimed: bool
    by_batch: bool = False


class Writer:
    """Writes the loops and tiles of one product into the text of a function."""

    def __init__(
        self,
        code: Code,
        product: Product,
        plan: Plan,
        scratch: Scratch,
        task: Task,
    ) -> None:
        self.code, self.product, self.plan, self.scratch, self.task = code, product, plan, scratch, task
        self.panels: Panels | None = None  # of the strip that is written
        self.element = Kind(product.dtype).type

    # --- Loops ---

    def strip(self, strip: Strip) -> None:
        """A thread's share of a strip: panels, batches and tiles where all batches share copied panels, else batches,
        groups of tiles, panels and tiles."""
        code, plan, product, batches = self.code, self.plan, self.product, math.prod(self.product.batch)
        together = plan.tiles_together(strip)
        groups = -(-strip.heights.tiles // together)
        shared = plan.pack_right and groups == 1 and not plan.packs_left(strip) and not any(product.right.batch)
        sizes = [strip.count, batches] if shared else [batches, groups, strip.count]
        if shared and self.task.by_batch:
            self._whole_batches(strip, batches)
            return
        site = self.site_of(strip)
        rows = code.variable("i64", "-1") if site is not None else ""  # whose copy is there
        panels = self.panels = self._panels_of(strip) if plan.pack_right else None
        with ExitStack() as stack:
            share = stack.enter_context(parts(code, [*sizes, together], site, plan.tiles_in_claim(product, strip)))
            indices: list[str] = []
            for level in range(len(sizes)):
                indices.append(stack.enter_context(share.level(level)))
                if level == 1 and plan.packs_left(strip):
                    with unless_done(code, site, rows, plus(code, times(code, indices[0], groups), indices[1])):
                        self._pack_left(strip, indices[0], times(code, indices[1], together))
                if level == (0 if shared else 2) and panels:
                    panels.need(self._wanted(strip, "0" if shared else indices[0], indices[level]))
            number, batch = indices if shared else (indices[2], indices[0])
            first = "0" if shared else times(code, indices[1], together)
            here = Here(strip, batch, self.column(strip, number), first, number)
            low, high = (plus(code, bound, first) for bound in share.bounds)
            if groups > 1:
                high = smaller(code, high, str(strip.heights.tiles))
            self.tiles(strip, low, high, lambda spot: self._whole(here, spot))

    def _whole_batches(self, strip: Strip, batches: int) -> None:
        """This thread's part of the batch: panel after panel, which all of it shares."""
        code = self.code
        low, high = Share(code, [batches]).bounds
        panels = self.panels = self._panels_of(strip)
        with code.loop("0", str(strip.count)) as number:
            panels.need(self._wanted(strip, "0", number))
            with code.loop(low, high) as batch:
                here = Here(strip, batch, self.column(strip, number), "0", number)
                self.tiles(strip, "0", str(strip.heights.tiles), lambda spot: self._whole(here, spot))

    def site_of(self, strip: Strip) -> int | None:
        """Where it is counted what threads have claimed of a strip; None where they do not claim."""
        return self.plan.strips.index(strip) if self.task.claimed else None

    def column(self, strip: Strip, number: str) -> str:
        return plus(self.code, times(self.code, number, strip.panel.width), strip.column)

    def tiles(self, strip: Strip, low: str, high: str, write: Callable[[Spot], None]) -> None:
        """`write` the code of a tile, for all from `low` to `high`: once for the tall and once for the short ones."""
        code, heights = self.code, strip.heights
        for rows, begin, end in ((heights.rows, 0, heights.tall), (heights.rows - 1, heights.tall, heights.tiles)):
            if begin == end:
                continue
            start = low if begin == 0 else larger(code, low, str(begin))
            stop = high if end == heights.tiles else smaller(code, high, str(end))
            with code.loop(start, stop) as tile:
                row = plus(code, times(code, tile, rows), begin)  # the tall tiles above have one row more each
                write(Spot(tile, row, rows))

    # --- Operands ---

    def base(self, name: str, matrix: Matrix, batch: str) -> str:
        """The address of a matrix's first element for a batch."""
        return start_of(self.code, self.product, name, matrix, batch)

    def part(self, begin: int) -> str:
        """The address of a part of the scratch memory."""
        return self.code.element("i8", "%scratch", str(begin))

    def _pack_left(self, strip: Strip, batch: str, first: str) -> None:
        """Copy the rows of a group of tiles."""
        code, product = self.code, self.product
        base = self.base(self.task.left, product.left, batch)
        last = smaller(code, plus(code, first, self.plan.tiles_together(strip)), str(strip.heights.tiles))

        def pack(spot: Spot) -> None:
            copy = Copy.of_numbers(product.dtype, spot.rows, self.plan.lanes, product.depth)
            source = code.element(self.element, base, times(code, spot.row, product.left.down))
            copy.write(code, source, (product.left.across, product.left.down), self._packed_left(strip, spot, first))

        self.tiles(strip, first, last, pack)

    def _panels_of(self, strip: Strip) -> Panels:
        """What copies the panels of a strip."""
        copy, matrix = Copy.of_vectors(self.product.dtype, strip.panel, self.product.depth), self.product.right
        places, pieces = self.part(self.scratch.right), self.plan.pieces(self.product, strip)
        return Panels(self.code, copy, (matrix.down, matrix.across), places, pieces)

    def _wanted(self, strip: Strip, batch: str, number: str) -> Wanted:
        """Panel `number` of the right operand of a batch."""
        code, matrix = self.code, self.product.right
        base = self.base(self.task.right, matrix, batch)
        start = code.element(self.element, base, times(code, self.column(strip, number), matrix.across))
        return Wanted(start, plus(code, times(code, batch if any(matrix.batch) else "0", strip.count), number))

    def _packed_left(self, strip: Strip, spot: Spot, first: str) -> str:
        """Where the copy of a tile's rows is."""
        place = times(self.code, self._within(spot, first), strip.heights.rows * self.product.depth)
        return self.code.element(self.element, self.part(self.scratch.left), place)

    def _within(self, spot: Spot, first: str) -> str:
        """The number of a tile in its group."""
        return spot.tile if first == "0" else self.code.let(f"sub nsw i64 {spot.tile}, {first}")

    def left_of(self, here: Here, spot: Spot) -> Left:
        if self.plan.packs_left(here.strip):
            return Left(self._packed_left(here.strip, spot, here.first), 1, spot.rows)
        matrix = self.product.left
        base = self.base(self.task.left, matrix, here.batch)
        start = self.code.element(self.element, base, times(self.code, spot.row, matrix.down))
        return Left(start, matrix.down, matrix.across)

    def right_of(self, here: Here) -> Right:
        panel, matrix, count = here.panel, self.product.right, len(here.panel.offsets)
        if self.panels:
            return self.panels.right
        base = self.base(self.task.right, matrix, here.batch)
        start = self.code.element(self.element, base, times(self.code, here.column, matrix.across))
        return Right(start, matrix.down, panel.offsets, tuple(panel.used_in(number) for number in range(count)))

    # --- Tiles ---

    def _sums(self, here: Here, spot: Spot) -> Sums:
        kind = kind_of(self.product.dtype, here.panel.lanes)
        return Sums(self.code, kind, spot.rows, self.left_of(here, spot), self.right_of(here))

    def _beside(self, here: Here, spot: Spot) -> AbstractContextManager[Beside | None]:
        """What a tile does for the next panel."""
        if not self.panels:
            return nullcontext()
        code, after = self.code, plus(self.code, here.number, 1)
        is_last = code.let(f"icmp eq i64 {after}, {here.strip.count}")
        following = code.let(f"select i1 {is_last}, i64 0, i64 {after}")
        return self.panels.beside(self._wanted(here.strip, here.batch, following), self._within(spot, here.first))

    def _whole(self, here: Here, spot: Spot) -> None:
        """A tile over the whole depth."""
        if not self.plan.dots:
            with self._beside(here, spot) as beside:
                self.end(here, spot, self._sums(here, spot).over(self.product.depth, beside))
            return
        left, right, across = self.left_of(here, spot), self.right_of(here), self.product.right.across
        sums = dot_products(
            self.code, self.product.dtype, here.panel, self.product.depth, left.start, (right.start, across)
        )
        self.end(here, spot, sums)

    def end(self, here: Here, spot: Spot, sums: list[str]) -> None:
        """A tile's sums stored, and finished."""
        address, stride = self.goal(here.batch, spot.row, here.column)
        self.store(here, spot, sums, address, stride)
        if self.task.finish:
            tile = Tile(
                self.indices(here.batch), spot.row, here.column, str(spot.rows), "1", here.panel.width, address, stride
            )
            if self.product.turned:
                tile = replace(tile, row=here.column, column="0", rows=str(here.panel.width), width=1, stride=1)
            self.task.finish(self.code, tile)

    def store(self, here: Here, spot: Spot, sums: list[str], address: str, stride: int) -> None:
        """A tile's sums to memory."""
        code, panel, values = self.code, here.panel, iter(sums)
        kind = kind_of(self.product.dtype, panel.lanes)
        for line in range(spot.rows):
            for number, offset in enumerate(panel.offsets):
                where = moved(code, kind, address, line * stride + offset)
                store(code, kind, next(values), where, panel.used_in(number) if self.task.result else None)

    def indices(self, batch: str) -> tuple[str, ...]:
        """The index of each batch axis."""
        return tuple(unravelled(self.code, batch, self.product.batch))

    def goal(self, batch: str, row: str, column: str) -> tuple[str, int]:
        """Where a finished tile goes whose first element is at a row and a column, and the stride of its rows."""
        if self.task.result is None:
            return "%scratch", self.scratch.across
        return goal_of(self.code, self.product, self.task.result, batch, row, column), self.product.columns


def start_of(code: Code, product: Product, name: str, matrix: Matrix, batch: str) -> str:
    """The address of a matrix's first element for a batch, in the array of that name."""
    place = str(matrix.offset)
    for index, stride in zip(unravelled(code, batch, product.batch), matrix.batch, strict=True):
        if stride:
            place = plus(code, place, times(code, index, stride))
    return code.element(Kind(product.dtype).type, name, place)


def goal_of(code: Code, product: Product, result: str, batch: str, row: str, column: str) -> str:
    """The address of an element of a product's array."""
    strides = contiguous((*product.batch, product.rows, product.columns))[:-2]
    base = start_of(code, product, result, Matrix(0, strides, product.columns, 1), batch)
    return code.element(Kind(product.dtype).type, base, plus(code, times(code, row, product.columns), column))
