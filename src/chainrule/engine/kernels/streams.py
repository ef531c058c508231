"""A product on a matrix unit as native code: pieces of one operand stream past the other, which stays near.

The unit multiplies beside the vectors. So between its instructions stand jobs for these (`aside`), a few at a time: to
split the next piece into thirds, and to finish the rows of the block before the last; of the last one, once the first
sums of the next are complete and before they are stored. So sums have two places.

Where a number is no finite one, or a third or a product of thirds leaves the range, the sums are not finite: those of
such a block are formed anew (`anew`), which is found out beside the next block. Thirds and products below the normal
range count as zero here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from chainrule.engine.code import Code
from chainrule.engine.kernels import registers
from chainrule.engine.kernels.aside import ROWS, Aside
from chainrule.engine.kernels.plan import CLAIM, KEPT, Product
from chainrule.engine.kernels.registers import PRODUCTS, Tiles
from chainrule.engine.kernels.shares import minus, parts, plus, smaller, times, unravelled
from chainrule.engine.kernels.strips import Task
from chainrule.engine.kernels.sums import Beside
from chainrule.engine.kernels.thirds import SIDE, THIRDS, TILE, Lines
from chainrule.engine.kernels.tile import Tile
from chainrule.engine.kernels.unit import BLOCK, PIECE, Unit
from chainrule.engine.record import record

_SHARES = 8  # an eighth of all pieces is claimed at least, as the first piece of each is not split beside another
_LEAST = 2  # pieces that are claimed together, for the same reason; more, and a slow core holds up the others


@record(frozen=True, slots=True)
class _Part:
    """Where the code is: in which batch, from which streamed piece on, at which resident pieces, and at which steps."""

    batch: str
    first: str
    begin: str
    end: str
    done: str
    count: str
    is_last: str | None  # whether the sums are complete then; None: they are


@record(frozen=True, slots=True)
class _Block:
    """Two by two tiles of sums, or less: of which part, from which thirds, where in memory, and what is asked for."""

    part: _Part
    thirds: tuple[str, str]
    sums: str
    fetched: Beside | None


class UnitWriter:
    """Writes one product on a matrix unit into the text of a function."""

    def __init__(
        self,
        code: Code,
        product: Product,
        unit: Unit,
        task: Task,
    ) -> None:
        self.code, self.product, self.unit, self.task = code, product, unit, task
        self.aside = Aside(code, product, unit, task)
        self.resident, self.streamed = (self.aside.part(code, name) for name in ("resident", "streamed"))
        self.held = code.variable("i64", "-1")  # of which part the resident thirds are
        self.side = code.variable("i64", "0")  # which of two places are those of this piece
        self.turn = code.variable("i64", "0")  # which of two places are those of a block's sums

    # --- Loops ---

    def write(self) -> None:
        """A thread's share of the product."""
        code, unit = self.code, self.unit
        registers.set_up(code, self.aside.part(code, "settings"))
        spare = registers.spare(code, self.resident, code.element("i8", "%scratch", str(-KEPT)))
        pieces, batches = unit.streamed.pieces, math.prod(self.product.batch)
        cycles = unit.chunk * unit.steps * 4 * len(PRODUCTS) * BLOCK
        least = -(-batches * pieces // (_SHARES if unit.is_whole else 2))  # who claims, splits all that is resident
        claim = unit.group if unit.waits else max(int(CLAIM / cycles), least, _LEAST)
        with ExitStack() as stack:
            share = stack.enter_context(parts(code, [batches, pieces], 0 if self.task.claimed else None, claim))
            batch = stack.enter_context(share.level(0))
            low, high = share.bounds
            first = stack.enter_context(code.loop(low, high, unit.group))
            last = smaller(code, plus(code, first, unit.group), high)
            begin = stack.enter_context(code.loop("0", str(unit.resident.pieces), unit.chunk))
            end = smaller(code, plus(code, begin, unit.chunk), str(unit.resident.pieces))
            part = _Part(batch, first, begin, end, "0", str(unit.steps), None)
            if unit.waits:
                done = stack.enter_context(code.loop("0", str(unit.left.steps), unit.steps))
                rest = minus(code, str(unit.left.steps), done)
                is_last = code.let(f"icmp sle i64 {rest}, {unit.steps}")
                part = _Part(batch, first, begin, end, done, smaller(code, rest, str(unit.steps)), is_last)
            self._pack_resident(part)
            self._begin(part, first)
            self.aside.split_all()
            with code.loop(first, last) as piece:
                code.set("i64", self.side, code.let(f"xor i64 {code.get('i64', self.side)}, 1"))
                after = plus(code, piece, 1)
                self._begin(part, after, code.let(f"icmp slt i64 {after}, {last}"))
                with code.loop(begin, end) as other:
                    row, column = (piece, other) if unit.by_rows else (other, piece)
                    self._block(part, (row, column), spare)
                self.aside.split_all()
        self.aside.end()
        registers.release(code)

    def _pack_resident(self, part: _Part) -> None:
        """The resident thirds of a chunk, unless they are there."""
        code, unit = self.code, self.unit
        operand = self.product.right if unit.by_rows else self.product.left
        batch = part.batch if any(operand.batch) else "0"
        key = plus(code, times(code, batch, unit.resident.pieces), part.begin)
        key = plus(code, times(code, key, unit.left.steps), part.done)
        with code.when(code.let(f"icmp ne i64 {code.get('i64', self.held)}, {key}")):
            code.set("i64", self.held, key)
            with code.loop(part.begin, part.end) as piece:
                place = times(code, minus(code, piece, part.begin), unit.piece_bytes)
                goal = code.element("i8", self.resident, place)
                jobs = times(code, part.count, 2 * unit.resident.jobs)
                source = self.aside.source(unit.resident, part.batch)
                with code.loop("0", jobs) as job:
                    numbers = (times(code, piece, 2), part.done, job)
                    self.aside.pack(code, unit.resident, (source, goal), numbers)

    def _begin(self, part: _Part, piece: str, is_there: str | None = None) -> None:
        """A streamed piece is split from now on, if there is one, into the place that is not this one's."""
        code = self.code
        jobs = times(code, part.count, 2 * self.unit.streamed.jobs)
        if is_there:
            jobs = code.let(f"select i1 {is_there}, i64 {jobs}, i64 0")
        other = code.let(f"xor i64 {code.get('i64', self.side)}, 1")
        self.aside.begin(part.batch, self._place_of(other), (piece, part.done), jobs)

    def _place_of(self, side: str) -> str:
        """Where the thirds of a streamed piece are."""
        return self.code.element("i8", self.streamed, times(self.code, side, self.unit.piece_bytes))

    # --- Blocks ---

    def _block(self, part: _Part, pieces: tuple[str, str], spare: str) -> None:
        """The sums of a block over a part of the depth, checked if it is the last.

        They are formed together where all two by two tiles are there, and registers are to `spare` (an i1).
        """
        code, operands = self.code, (self.unit.left, self.unit.right)
        sums = self._sums(part, pieces)
        left, right = (self._thirds(part, *each) for each in zip(operands, pieces, strict=True))
        tiles = [self._tiles(*each) for each in zip(operands, pieces, strict=True)]
        block = _Block(part, (left, right), sums, self._ahead(part, pieces))
        together = spare
        for count in tiles:
            together = code.let(f"and i1 {together}, {code.let(f'icmp eq i64 {count}, 2')}")
        with code.when(together):
            self._add_up(block, (2, 2), ("0", "0"))
        apart = code.let(f"xor i1 {together}, true")
        with code.when(apart), code.loop("0", tiles[0]) as row, code.loop("0", tiles[1]) as column:
            self._add_up(block, (1, 1), (row, column))
        with self._if_last(part):
            self.aside.stored((part.batch, *pieces), tiles, sums)

    def _add_up(self, block: _Block, form: Tiles, tile: tuple[str, str]) -> None:
        """The sums of one tile of a block, of which row and column are given, or of so many from the first on."""
        code, unit, part, (row, column) = self.code, self.unit, block.part, tile
        number = plus(code, times(code, row, min(2, unit.right.tiles)), column)  # of the tile in its block
        moved = plus(code, times(code, row, self.aside.across), column)
        sums = code.element("float", block.sums, times(code, moved, SIDE))
        apart = unit.steps * THIRDS * TILE
        left, right = (
            code.element("i8", start, times(code, line, apart)) for start, line in zip(block.thirds, tile, strict=True)
        )
        if unit.waits:
            is_first = code.let(f"icmp eq i64 {part.done}, 0")
            with code.when(is_first):
                registers.clear(code, form)
            with code.when(code.let(f"xor i1 {is_first}, true")):
                registers.load(code, form, sums, self.aside.across)
        else:
            registers.clear(code, form)
        with code.loop("0", part.count) as step:
            moves = times(code, step, THIRDS * TILE)
            thirds = code.element("i8", left, moves), code.element("i8", right, moves)
            registers.multiply(code, form, thirds, apart, self._beside(block, form, number, step))
        with code.when(code.let(f"icmp eq i64 {number}, 0")):  # what lay in the place of this block's sums is done then
            self.aside.pass_on()
        registers.store(code, form, sums, self.aside.across)

    @contextmanager
    def _if_last(self, part: _Part) -> Iterator[None]:
        """A block that runs where sums are complete."""
        if part.is_last is None:
            yield
            return
        with self.code.when(part.is_last):
            yield

    def _beside(self, block: _Block, form: Tiles, number: str, step: str) -> list[tuple[int, Callable[[], None]]]:
        """What is done beside the products of a step: after which of them, and how.

        The jobs of a block are dealt out evenly to the tiles whose sums are formed one after the other, and to the
        first steps of each.
        """
        unit, tiles = self.unit, math.prod(form)
        products, parts = len(PRODUCTS) * tiles, max(1, min(2, unit.left.tiles) * min(2, unit.right.tiles) // tiles)
        found: list[tuple[int, Callable[[], None]]] = []
        kinds = [(self.aside.split, 2 * unit.streamed.jobs * unit.steps / unit.chunk)]
        if not unit.waits:
            kinds.append((self.aside.complete, PIECE / ROWS))
        for do, count in kinds:
            jobs = math.ceil(count / parts)
            each = min(-(-jobs // unit.steps), products)
            job = partial(self._in_some, step, -(-jobs // each), do)
            found += [(place * products // each, job) for place in range(each)]
        if block.fetched:
            found.append((0, partial(self._fetch, block.fetched, parts, number, step)))
        return found

    def _in_some(self, step: str, steps: int, do: Callable[[], None]) -> None:
        """What is done in the first steps only."""
        if steps >= self.unit.steps:
            do()
            return
        with self.code.when(self.code.let(f"icmp slt i64 {step}, {steps}")):
            do()

    def _tiles(self, lines: Lines, piece: str) -> str:
        """How many tiles a piece has."""
        if lines.tiles % 2 == 0:
            return "2"
        return smaller(self.code, minus(self.code, str(lines.tiles), times(self.code, piece, 2)), "2")

    def _thirds(self, part: _Part, lines: Lines, piece: str) -> str:
        """Where the thirds of a piece begin."""
        if lines is self.unit.streamed:
            return self._place_of(self.code.get("i64", self.side))
        place = times(self.code, minus(self.code, piece, part.begin), self.unit.piece_bytes)
        return self.code.element("i8", self.resident, place)

    def _sums(self, part: _Part, pieces: tuple[str, str]) -> str:
        """Where the sums of a block are: in the product's array, or in the scratch memory."""
        code, unit = self.code, self.unit
        sums = self.aside.part(code, "sums")
        if self.aside.is_direct:
            return self.aside.goal(code, part.batch, *(times(code, piece, PIECE) for piece in pieces))
        if not unit.waits:
            code.set("i64", self.turn, code.let(f"xor i64 {code.get('i64', self.turn)}, 1"))
            return code.element("i8", sums, times(code, code.get("i64", self.turn), unit.sums_bytes))
        firsts = (part.first, part.begin) if unit.by_rows else (part.begin, part.first)
        row, column = (times(code, minus(code, *pair), PIECE) for pair in zip(pieces, firsts, strict=True))
        return code.element("float", sums, plus(code, times(code, row, unit.across), column))

    def _ahead(self, part: _Part, pieces: tuple[str, str]) -> Beside | None:
        """What is asked for beside a block: the rows that its epilogue will meet."""
        if not (self.task.ahead and self.unit.far):
            return None
        code = self.code
        row, column = (times(code, piece, PIECE) for piece in pieces)
        indices = tuple(unravelled(code, part.batch, self.product.batch))
        tile = Tile(indices, row, column, str(PIECE), "1", PIECE, self.aside.part(code, "sums"), self.unit.across)
        return self.task.ahead(code, tile, 1)

    def _fetch(self, beside: Beside, parts: int, number: str, step: str) -> None:
        """Some rows for each step of the depth, in each part of a block."""
        code, steps = self.code, self.unit.steps
        each = -(-PIECE // (parts * steps))
        first = times(code, plus(code, times(code, number, steps), step), each)
        with code.when(code.let(f"icmp slt i64 {first}, {PIECE}")):
            for more in range(each):
                row = plus(code, first, more)
                starts = zip(beside.starts, beside.strides, strict=True)
                beside.write(*(code.element("float", start, times(code, row, stride)) for start, stride in starts))
