"""Large products: blocks of both operands are copied so that the part in use stays in the caches.

A panel's part of a block of the depth stays in the first cache while the tiles of a group go over it; the group's part
of the left operand stays in the second cache while all panels go over that. Sums under way wait in the scratch memory
between blocks of the depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from chainrule.engine.code import Code
from chainrule.engine.kernels.packing import TOGETHER, Copy, kind_of, load, moved, store
from chainrule.engine.kernels.panels import Panels, Wanted
from chainrule.engine.kernels.plan import Blocks
from chainrule.engine.kernels.shares import Share, parts, plus, smaller, times, unless_done
from chainrule.engine.kernels.strips import Here, Spot, Writer
from chainrule.engine.kernels.sums import LONGEST_TURN, Beside, Left, Right, Sums
from chainrule.engine.kernels.tile import Strip, Tile
from chainrule.engine.record import record


@record(frozen=True, slots=True)
class _Block:
    """Where the code is: panels `begin` to `end`, tiles `top` to `bottom`, and `count` steps from `done` on."""

    batch: str
    begin: str
    end: str
    top: str
    bottom: str
    done: str = "0"
    count: str = "0"
    padded: str = "0"  # the steps, rounded up to whole turns of any loop


def write_blocks(writer: Writer, strip: Strip, blocks: Blocks) -> None:
    """A thread's share of a strip: some panels of each band of rows."""
    large = _Large(writer, strip, blocks)
    if blocks.wide:
        _write_bands(large)
        return
    code, tiles = writer.code, strip.heights.tiles
    panels = large.panels() if blocks.pieces and strip.count > 1 else None
    with ExitStack() as stack:
        share = Share(code, [math.prod(writer.product.batch), -(-tiles // blocks.band), strip.count])
        stack.enter_context(share.any())
        batch, band = (stack.enter_context(share.level(level)) for level in range(2))
        low, high = share.bounds
        top = times(code, band, blocks.band)
        bottom = smaller(code, plus(code, top, blocks.band), str(tiles))
        begin = stack.enter_context(code.loop(low, high, blocks.panels))
        end = smaller(code, plus(code, begin, blocks.panels), high)
        block = _Block(batch, begin, end, top, bottom)
        if panels:
            large.one_by_one(block, panels)
        else:
            large.all_depth(block)


def _write_bands(large: _Large) -> None:
    """A thread's share of a strip: whole rows, group by group, some panels after the others, each band of them finished
    along the rows."""
    writer, strip, blocks, code = large.writer, large.strip, large.blocks, large.code
    site = writer.site_of(strip)
    copied = code.variable("i64", "-1") if site is not None else ""
    claim = -(-writer.plan.tiles_in_claim(writer.product, strip) // strip.count)
    claim = min(-(-claim // blocks.band) * blocks.band, blocks.tiles)
    with ExitStack() as stack:
        share = stack.enter_context(parts(code, [math.prod(writer.product.batch), strip.heights.tiles], site, claim))
        batch = stack.enter_context(share.level(0))
        low, high = share.bounds
        block = _Block(batch, "0", str(strip.count), low, high, "0", str(writer.product.depth), str(blocks.depth))
        with unless_done(code, site, copied, batch):
            large.copy_right(block)
        first = stack.enter_context(code.loop(low, high, blocks.tiles))
        last = smaller(code, plus(code, first, blocks.tiles), high)
        large.copy_left(block, first, last)
        begin = stack.enter_context(code.loop("0", str(strip.count), blocks.panels))
        end = smaller(code, plus(code, begin, blocks.panels), str(strip.count))
        top = stack.enter_context(code.loop(first, last, blocks.band))
        bottom = smaller(code, plus(code, top, blocks.band), last)
        band = large.band(block, top, bottom, begin, end)
        with code.loop(begin, end) as panel:
            writer.tiles(strip, top, bottom, lambda spot: large.tile_of_band(block, panel, first, spot, band, begin))
        if writer.task.finish:
            writer.task.finish(code, band)


@record(frozen=True, slots=True)
class _Large:
    """Writes the loops over the blocks of a strip."""

    writer: Writer
    strip: Strip
    blocks: Blocks

    @property
    def code(self) -> Code:
        return self.writer.code

    @property
    def right(self) -> Copy:
        """How a panel is copied."""
        return Copy.of_vectors(self.writer.product.dtype, self.strip.panel, self.blocks.depth)

    def left(self, rows: int) -> Copy:
        """How the rows of a tile are copied."""
        writer = self.writer
        return Copy.of_numbers(writer.product.dtype, rows, writer.plan.lanes, self.blocks.depth)

    @property
    def has_rounds(self) -> bool:
        """Whether the depth is more than one block, so that sums have to wait."""
        return self.blocks.depth < self.writer.product.depth

    # --- Loops ---

    def all_depth(self, block: _Block) -> None:
        """Some panels of a band of rows, block after block of the depth."""
        code, depth, blocks = self.code, self.writer.product.depth, self.blocks
        if self.has_rounds:
            self._clear_sums(block)
        with code.loop("0", str(depth), blocks.depth) as done:
            count = smaller(code, code.let(f"sub nsw i64 {depth}, {done}"), str(blocks.depth))
            padded = code.let(f"and i64 {plus(code, count, LONGEST_TURN - 1)}, {-LONGEST_TURN}")
            here = replace(block, done=done, count=count, padded=padded)
            self.copy_right(here)
            with code.loop(block.top, block.bottom, blocks.tiles) as first:
                last = smaller(code, plus(code, first, blocks.tiles), block.bottom)
                self.copy_left(here, first, last)
                with code.loop(block.begin, block.end) as panel:
                    self.writer.tiles(self.strip, first, last, lambda spot: self._tile(here, panel, first, spot))

    def one_by_one(self, block: _Block, panels: Panels) -> None:
        """The same where each panel's part is copied beside the one before it."""
        code, depth, deep = self.code, self.writer.product.depth, self.blocks.depth
        self._clear_sums(block)
        with code.loop("0", str(depth), deep) as done:
            here = replace(block, done=done, count=str(deep), padded=str(deep))
            self.copy_left(here, block.top, block.bottom)
            with code.loop(block.begin, block.end) as panel:
                panels.need(self._wanted(block.batch, panel, done))
                after = plus(code, panel, 1)
                is_last = code.let(f"icmp eq i64 {after}, {block.end}")
                column = code.let(f"select i1 {is_last}, i64 {block.begin}, i64 {after}")
                further = smaller(code, plus(code, done, deep), str(depth - deep))
                row = code.let(f"select i1 {is_last}, i64 {further}, i64 {done}")
                following = self._wanted(block.batch, column, row)

                def tile(spot: Spot) -> None:
                    number = code.let(f"sub nsw i64 {spot.tile}, {block.top}")
                    with panels.beside(following, number) as beside:
                        self._tile(here, panel, block.top, spot, panels.right, beside)

                self.writer.tiles(self.strip, block.top, block.bottom, tile)

    def panels(self) -> Panels:
        """What copies panels one by one."""
        writer, matrix = self.writer, self.writer.product.right
        place = writer.part(writer.scratch.right)
        return Panels(self.code, self.right, (matrix.down, matrix.across), place, self.blocks.pieces)

    def _wanted(self, batch: str, panel: str, row: str) -> Wanted:
        """A panel's part of the block of the depth that begins with a row."""
        code, writer, matrix = self.code, self.writer, self.writer.product.right
        place = plus(code, times(code, row, matrix.down), times(code, writer.column(self.strip, panel), matrix.across))
        start = code.element(writer.element, writer.base(writer.task.right, matrix, batch), place)
        block = plus(code, times(code, batch, writer.product.depth), row)
        return Wanted(start, plus(code, times(code, block, self.strip.count), panel))

    def _clear_sums(self, block: _Block) -> None:
        """Sums begin with zero."""
        code, kind = self.code, kind_of(self.writer.product.dtype, self.strip.panel.lanes)
        panels = code.let(f"sub nsw i64 {block.end}, {block.begin}")
        start = self.writer.part(self.writer.scratch.sums)
        zero = "zeroinitializer" if kind.lanes else kind.constant(0)
        size = times(code, panels, self.blocks.band * self._tile_elements)
        with code.loop("0", size, self.strip.panel.lanes) as place:
            store(code, kind, zero, code.element(self.writer.element, start, place))

    # --- Copies ---

    def copy_right(self, block: _Block) -> None:
        """The panels' part of a block of the depth: row by row where rows lie without gaps, else panel by panel."""
        code, writer, matrix, copy = self.code, self.writer, self.writer.product.right, self.right
        base = writer.base(writer.task.right, matrix, block.batch)
        base = code.element(writer.element, base, times(code, block.done, matrix.down))

        def places(panel: str) -> tuple[str, str]:
            column = writer.column(self.strip, panel)
            source = code.element(writer.element, base, times(code, column, matrix.across))
            return source, self._packed_right(block, panel)

        def rows(step: str, together: int) -> None:
            with code.loop(block.begin, block.end) as panel:
                source, goal = places(panel)
                copy.rows(code, source, matrix.down, goal, copy.vectors, step, range(together))

        if matrix.across == 1:
            self._in_rows(block, rows)
        with code.loop(block.begin, block.end) as panel:
            source, goal = places(panel)
            if matrix.across != 1:
                copy.write(code, source, (matrix.down, matrix.across), goal, block.count)
            copy.clear(code, goal, block.count, block.padded)

    def copy_left(self, block: _Block, first: str, last: str) -> None:
        """A group's part of a block of the depth: likewise."""
        code, writer, matrix = self.code, self.writer, self.writer.product.left
        base = writer.base(writer.task.left, matrix, block.batch)
        base = code.element(writer.element, base, times(code, block.done, matrix.across))

        def places(spot: Spot) -> tuple[str, str]:
            source = code.element(writer.element, base, times(code, spot.row, matrix.down))
            return source, self._packed_left(spot, first)

        def rows(step: str, together: int) -> None:
            def write(spot: Spot) -> None:
                copy = self.left(spot.rows)
                source, goal = places(spot)
                copy.rows(code, source, matrix.across, goal, copy.vectors, step, range(together))

            writer.tiles(self.strip, first, last, write)

        def rest(spot: Spot) -> None:
            copy = self.left(spot.rows)
            source, goal = places(spot)
            if matrix.down != 1:
                copy.write(code, source, (matrix.across, matrix.down), goal, block.count)
            copy.clear(code, goal, block.count, block.padded)

        if matrix.down == 1:
            self._in_rows(block, rows)
        writer.tiles(self.strip, first, last, rest)

    def _in_rows(self, block: _Block, write: Callable[[str, int], None]) -> None:
        """`write(step, together)` for all steps of a block: a few together, and then what is left one by one."""
        whole = self.code.let(f"and i64 {block.count}, {-TOGETHER}")
        for low, high, together in (("0", whole, TOGETHER), (whole, block.count, 1)):
            with self.code.loop(low, high, together) as step:
                write(step, together)

    # --- Places in the scratch memory ---

    @property
    def _tile_elements(self) -> int:
        return self.strip.heights.rows * self.right.row

    def _packed_right(self, block: _Block, panel: str) -> str:
        number = self.code.let(f"sub nsw i64 {panel}, {block.begin}")
        place = times(self.code, number, self.blocks.depth * self.writer.scratch.stride + self.writer.scratch.gap)
        return self.code.element(self.writer.element, self.writer.part(self.writer.scratch.right), place)

    def _packed_left(self, spot: Spot, first: str) -> str:
        number = self.code.let(f"sub nsw i64 {spot.tile}, {first}")
        place = times(self.code, number, self.blocks.depth * self.strip.heights.rows)
        return self.code.element(self.writer.element, self.writer.part(self.writer.scratch.left), place)

    def _sums_under_way(self, block: _Block, panel: str, spot: Spot) -> list[str]:
        """Where a tile's sums wait: vector after vector."""
        code, lanes = self.code, self.strip.panel.lanes
        number = times(code, code.let(f"sub nsw i64 {panel}, {block.begin}"), self.blocks.band)
        number = plus(code, number, code.let(f"sub nsw i64 {spot.tile}, {block.top}"))
        place = times(code, number, self._tile_elements)
        start = code.element(self.writer.element, self.writer.part(self.writer.scratch.sums), place)
        kind = kind_of(self.writer.product.dtype, lanes)
        return [moved(code, kind, start, k * lanes) for k in range(spot.rows * len(self.strip.panel.offsets))]

    # --- Tiles ---

    def _sums(self, block: _Block, panel: str, first: str, spot: Spot, right: Right | None = None) -> Sums:
        """What forms a tile's sums."""
        copy, lanes = self.right, self.strip.panel.lanes
        left = Left(self._packed_left(spot, first), 1, spot.rows)
        if right is None:
            right = Right(self._packed_right(block, panel), copy.row, copy.places, (lanes,) * len(copy.places))
        return Sums(self.code, kind_of(copy.dtype, lanes), spot.rows, left, right)

    def _here(self, block: _Block, panel: str, first: str) -> Here:
        return Here(self.strip, block.batch, self.writer.column(self.strip, panel), first, panel)

    def _tile(
        self,
        block: _Block,
        panel: str,
        first: str,
        spot: Spot,
        right: Right | None = None,
        beside: Beside | None = None,
    ) -> None:
        """A tile's sums go on over a block of the depth, and are finished if it is the last."""
        code, here = self.code, self._here(block, panel, first)
        sums = self._sums(block, panel, first, spot, right)
        turns = code.let(f"udiv i64 {block.padded}, {sums.turn}")
        if not self.has_rounds:
            self.writer.end(here, spot, sums.turns(turns, sums.zeros)[0])
            return
        waiting = self._sums_under_way(block, panel, spot)
        before = [load(code, sums.kind, place) for place in waiting]
        if beside:
            after = sums.over(self.blocks.depth, self._with_next_sums(beside, waiting), before)
        else:
            after, _ = sums.turns(turns, before)
        rest = code.let(f"sub nsw i64 {self.writer.product.depth}, {block.done}")
        with code.when(code.let(f"icmp sle i64 {rest}, {self.blocks.depth}")):
            self.writer.end(here, spot, after)
        with code.when(code.let(f"icmp sgt i64 {rest}, {self.blocks.depth}")):
            for place, value in zip(waiting, after, strict=True):
                store(code, sums.kind, value, place)

    def _with_next_sums(self, beside: Beside, waiting: list[str]) -> Beside:
        """Ask for the sums of the next tile too, which lie behind those of this one."""
        code, kind = self.code, kind_of(self.writer.product.dtype, self.strip.panel.lanes)
        each = -(-len(waiting) * beside.every // self.blocks.depth)

        def write(*addresses: str) -> None:
            beside.write(*addresses[:-1])
            for number in range(each):
                code.fetch(moved(code, kind, addresses[-1], number * kind.lanes))

        start = moved(code, kind, waiting[0], self._tile_elements)
        return Beside(beside.every, (*beside.starts, start), (*beside.strides, each * kind.lanes), write)

    # --- Bands ---

    def band(self, block: _Block, first: str, last: str, begin: str, end: str) -> Tile:
        """The tiles from `first` to `last` in the panels from `begin` to `end`."""
        code, writer, strip = self.code, self.writer, self.strip
        row, column = self._row_of(first), writer.column(strip, begin)
        rows = code.let(f"sub nsw i64 {self._row_of(last)}, {row}")
        panels = code.let(f"sub nsw i64 {end}, {begin}")
        address, stride = writer.goal(block.batch, row, column)
        return Tile(writer.indices(block.batch), row, column, rows, panels, strip.panel.width, address, stride)

    def tile_of_band(self, block: _Block, panel: str, first: str, spot: Spot, band: Tile, begin: str) -> None:
        """A tile's sums to their place in the band, which begins with panel `begin`."""
        code, here, writer = self.code, self._here(block, panel, first), self.writer
        sums = self._sums(block, panel, first, spot)
        down = code.let(f"sub nsw i64 {spot.row}, {band.row}")
        across = times(code, code.let(f"sub nsw i64 {panel}, {begin}"), band.width)
        place = code.element(writer.element, band.address, plus(code, times(code, down, band.stride), across))
        tile = replace(band, row=spot.row, column=here.column, rows=str(spot.rows), panels="1", address=place)
        every = Beside.often(self.blocks.depth, spot.rows, sums.turn)
        beside = writer.task.ahead(code, tile, every) if writer.task.ahead and every else None
        writer.store(here, spot, sums.over(self.blocks.depth, beside), place, band.stride)

    def _row_of(self, tile: str) -> str:
        """The first row of a tile: the tall ones have one row more."""
        heights = self.strip.heights
        if not heights.short:
            return times(self.code, tile, heights.rows)
        return plus(self.code, times(self.code, tile, heights.rows - 1), smaller(self.code, tile, str(heights.tall)))
