"""A product on a matrix unit as native code: pieces of one operand stream past the other, which stays near.

The unit multiplies beside the vectors. So between its instructions stand jobs for these, a few at a time: to split the
next piece into thirds, and to finish the rows of the block before.

Where a number is no finite one, or a third or a product of thirds leaves the range, the sums are not finite: those of
such a block are formed anew (`anew`), which is found out beside the next block. Thirds and products below the normal
range count as zero here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from chainrule.engine.code import Code, shared
from chainrule.engine.kernels import registers
from chainrule.engine.kernels.anew import anew, anew_by_rows, spoilt
from chainrule.engine.kernels.jobs import Jobs
from chainrule.engine.kernels.plan import CLAIM, Product
from chainrule.engine.kernels.registers import PRODUCTS, Tiles
from chainrule.engine.kernels.shares import minus, parts, plus, smaller, times, unravelled
from chainrule.engine.kernels.strips import Task, goal_of, start_of
from chainrule.engine.kernels.sums import Beside
from chainrule.engine.kernels.thirds import SIDE, THIRDS, TILE, VECTOR, Lines, store_some
from chainrule.engine.kernels.tile import Tile
from chainrule.engine.kernels.unit import BLOCK, PIECE, Unit
from chainrule.engine.record import record

_SHARES = 8  # an eighth of all pieces is claimed at least, as the first piece of each is not split beside another
_LEAST = 4  # pieces that are claimed together, for the same reason
_ROWS = 2  # rows of a block that are completed in one job


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
    """A block of sums, in variables of the function: its batch and pieces, how many rows of sums there are in memory,
    and where its second tile of columns begins."""

    numbers: dict[str, str]
    address: str

    @classmethod
    def of(cls, code: Code) -> _Block:
        """No block yet."""
        names = ("batch", "row", "column", "rows", "second")
        return cls({name: code.variable("i64", "0") for name in names}, code.variable("ptr", "null"))

    def get(self, code: Code, name: str) -> str:
        return code.get("i64", self.numbers[name])

    def at(self, code: Code) -> str:
        """Where its sums are."""
        return code.get("ptr", self.address)

    def set(self, code: Code, values: Sequence[str], address: str) -> None:
        for slot, value in zip(self.numbers.values(), values, strict=True):
            code.set("i64", slot, value)
        code.set("ptr", self.address, address)

    def copy(self, code: Code, other: _Block) -> None:
        self.set(code, [other.get(code, name) for name in self.numbers], other.at(code))

    def forget(self, code: Code) -> None:
        """It is no longer there."""
        code.set("i64", self.numbers["rows"], "0")


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
        sizes = unit.sizes(kept=task.result is not None)
        begins = [sum(sizes[:number]) for number in range(len(sizes))]
        places = [code.element("i8", "%scratch", str(begin)) for begin in begins]
        self.sums, self.resident, self.streamed, self.turned, self.settings = places
        self.held = code.variable("i64", "-1")  # of which part the resident thirds are
        self.side = code.variable("i64", "0")  # which of two places are those of this piece
        self.direct = unit.is_direct(kept=task.result is not None)
        self.packers = {lines: lines.packer(unit.steps) for lines in (unit.left, unit.right)}
        self.splitting = Jobs(code, self._split)
        self.coming: tuple[_Part, str] | None = None  # what the jobs of `splitting` split
        self.copies = task.result is not None and not self.direct
        self.completing = Jobs(code, self._complete) if task.finish or self.copies else None
        self.stored, self.ended = _Block.of(code), _Block.of(code)  # the last block, and the one that is completed
        self.turn = code.variable("i64", "0")  # which of two places are those of a block's sums

    # --- Loops ---

    def write(self) -> None:
        """A thread's share of the product."""
        code, unit = self.code, self.unit
        registers.set_up(code, self.settings)
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
            self.splitting.all()
            with code.loop(first, last) as piece:
                code.set("i64", self.side, code.let(f"xor i64 {code.get('i64', self.side)}, 1"))
                after = plus(code, piece, 1)
                self._begin(part, after, code.let(f"icmp slt i64 {after}, {last}"))
                with code.loop(begin, end) as other:
                    row, column = (piece, other) if unit.by_rows else (other, piece)
                    for tiles in self._forms(row, column):
                        self._block(part, (row, column), tiles)
                self.splitting.all()
        self._pass_on()
        if self.completing:
            self.completing.all()
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
                with code.loop("0", jobs) as job:
                    self._pack(unit.resident, part.batch, goal, (piece, part.done), job)

    def _pack(self, lines: Lines, batch: str, goal: str, place: tuple[str, str], job: str) -> None:
        """A job of splitting a piece of an operand, from a step of the depth on."""
        code = self.code
        name, matrix = (self.task.left, self.product.left) if lines.is_left else (self.task.right, self.product.right)
        source = start_of(code, self.product, name, matrix, batch)
        numbers = ", ".join(f"i64 {number}" for number in (times(code, place[0], 2), place[1], job))
        others = ", ptr %rows, ptr %soon" if lines.scattered else ""
        self.packers[lines].call(code, f"ptr {source}, ptr {goal}, ptr {self.turned}, {numbers}{others}")

    @contextmanager
    def _only(self, lines: Lines, piece: str, tiles: int) -> Iterator[None]:
        """A block that runs where a piece has so many tiles."""
        whole = lines.tiles // 2
        if lines.tiles % 2 == 0 or not whole:
            yield
            return
        sign = "slt" if tiles == 2 else "sge"
        with self.code.when(self.code.let(f"icmp {sign} i64 {piece}, {whole}")):
            yield

    def _forms(self, row: str, column: str) -> Iterator[Tiles]:
        """How many tiles of rows and of columns a block has: each form there is, in a branch of its own."""
        for down in self.unit.left.widths:
            with self._only(self.unit.left, row, down):
                for across in self.unit.right.widths:
                    with self._only(self.unit.right, column, across):
                        yield down, across

    # --- Jobs ---

    def _begin(self, part: _Part, piece: str, is_there: str | None = None) -> None:
        """A streamed piece is split from now on, if there is one."""
        code = self.code
        jobs = times(code, part.count, 2 * self.unit.streamed.jobs)
        if is_there:
            jobs = code.let(f"select i1 {is_there}, i64 {jobs}, i64 0")
        self.coming = part, piece
        self.splitting.begin(jobs)

    def _split(self, job: str) -> None:
        """A job for the piece that comes next."""
        assert self.coming
        part, piece = self.coming
        other = self.code.let(f"xor i64 {self.code.get('i64', self.side)}, 1")
        self._pack(self.unit.streamed, part.batch, self._place_of(other), (piece, part.done), job)

    def _place_of(self, side: str) -> str:
        """Where the thirds of a streamed piece are."""
        return self.code.element("i8", self.streamed, times(self.code, side, self.unit.piece_bytes))

    def _complete(self, job: str) -> None:
        """A job for the block before: a few of its rows."""
        code, product = self.code, self.product
        batch, piece, column = (self.ended.get(code, name) for name in ("batch", "row", "column"))
        first = times(code, job, _ROWS)
        row = plus(code, times(code, piece, PIECE), first)
        rows = smaller(code, minus(code, str(product.rows), row), str(_ROWS))
        sums = code.element("float", self.ended.at(code), times(code, first, self.across))
        if self.copies:
            self._copy(batch, (row, rows), column, sums)
        if self.task.finish:
            self._finish(batch, (row, rows), column, sums)

    # --- Blocks ---

    def _block(self, part: _Part, pieces: tuple[str, str], tiles: Tiles) -> None:
        """The sums of a block over a part of the depth, checked if it is the last."""
        code, unit = self.code, self.unit
        here = self._sums(part, pieces)
        starts = [self._thirds(part, unit.left, pieces[0]), self._thirds(part, unit.right, pieces[1])]
        if unit.waits:
            is_first = code.let(f"icmp eq i64 {part.done}, 0")
            with code.when(is_first):
                registers.clear(code, tiles)
            with code.when(code.let(f"xor i1 {is_first}, true")):
                registers.load(code, tiles, here, self.across)
        else:
            registers.clear(code, tiles)
        fetched = self._ahead(part, pieces)
        with code.loop("0", part.count) as step:
            moves = times(code, step, THIRDS * TILE)
            beside = self._beside(tiles)
            if fetched:
                beside.append((0, lambda: self._fetch(fetched, step)))
            here_left, here_right = (code.element("i8", start, moves) for start in starts)
            registers.multiply(code, tiles, (here_left, here_right), unit.steps * THIRDS * TILE, beside)
        self._pass_on()
        registers.store(code, tiles, here, self.across)
        with self._if_last(part):
            self.stored.set(code, (part.batch, *pieces, str(tiles[0] * SIDE), str((tiles[1] - 1) * SIDE)), here)

    @contextmanager
    def _if_last(self, part: _Part) -> Iterator[None]:
        """A block that runs where sums are complete."""
        if part.is_last is None:
            yield
            return
        with self.code.when(part.is_last):
            yield

    def _pass_on(self) -> None:
        """The block before is formed anew if its sums are not all finite; and completed from now on."""
        code, stored = self.code, self.stored
        sums, rows = stored.at(code), stored.get(code, "rows")
        numbers = ", ".join(f"i64 {number}" for number in (self.across, rows, stored.get(code, "second")))
        shared(spoilt).call(code, f"ptr {sums}, {numbers}, ptr {self.settings}")
        with code.when(code.let(f"icmp ne i16 {code.let(f'load i16, ptr {self.settings}')}, 0")):
            self._anew(sums)
        if self.completing:
            self.completing.all()
            self.ended.copy(code, stored)
            left = minus(code, str(self.product.rows), times(code, stored.get(code, "row"), PIECE))
            self.completing.begin(code.let(f"udiv i64 {plus(code, smaller(code, rows, left), _ROWS - 1)}, {_ROWS}"))
            if self.unit.waits:  # others may come to the same place soon
                self.completing.all()
        stored.forget(code)

    def _beside(self, tiles: Tiles) -> list[tuple[int, Callable[[], None]]]:
        """What is done beside the products of a step: after which of them, and how."""
        unit, total = self.unit, len(PRODUCTS) * tiles[0] * tiles[1]
        if tiles != (unit.left.widths[0], unit.right.widths[0]):
            return []  # the last piece: what is left is done after it
        found: list[tuple[int, Callable[[], None]]] = []
        kinds = [(self.splitting, 2 * unit.streamed.jobs / unit.chunk)]
        if self.completing and not unit.waits:
            kinds.append((self.completing, PIECE / _ROWS / unit.steps))
        for jobs, count in kinds:
            each = min(math.ceil(count), total)
            found += [(number * total // each, jobs.one) for number in range(each)]
        return found

    def _thirds(self, part: _Part, lines: Lines, piece: str) -> str:
        """Where the thirds of a piece begin."""
        if lines is self.unit.streamed:
            return self._place_of(self.code.get("i64", self.side))
        place = times(self.code, minus(self.code, piece, part.begin), self.unit.piece_bytes)
        return self.code.element("i8", self.resident, place)

    @property
    def across(self) -> int:
        """Elements from one row of sums to the next."""
        return self.product.columns if self.direct else self.unit.across

    def _sums(self, part: _Part, pieces: tuple[str, str]) -> str:
        """Where the sums of a block are: in the product's array, or in the scratch memory."""
        code, unit = self.code, self.unit
        if self.direct:
            return self._goal(part.batch, *(times(code, piece, PIECE) for piece in pieces))
        if not unit.waits:
            code.set("i64", self.turn, code.let(f"xor i64 {code.get('i64', self.turn)}, 1"))
            return code.element("i8", self.sums, times(code, code.get("i64", self.turn), unit.sums_bytes))
        firsts = (part.first, part.begin) if unit.by_rows else (part.begin, part.first)
        row, column = (times(code, minus(code, *pair), PIECE) for pair in zip(pieces, firsts, strict=True))
        return code.element("float", self.sums, plus(code, times(code, row, unit.across), column))

    def _goal(self, batch: str, row: str, column: str) -> str:
        assert self.task.result
        return goal_of(self.code, self.product, self.task.result, batch, row, column)

    def _ahead(self, part: _Part, pieces: tuple[str, str]) -> Beside | None:
        """What is asked for beside a block: the rows that its epilogue will meet."""
        if not (self.task.ahead and self.unit.far):
            return None
        code = self.code
        row, column = (times(code, piece, PIECE) for piece in pieces)
        tile = Tile(self._indices(part.batch), row, column, str(PIECE), "1", PIECE, self.sums, self.unit.across)
        return self.task.ahead(code, tile, 1)

    def _fetch(self, beside: Beside, step: str) -> None:
        """Some rows for each step of the depth."""
        code, each = self.code, -(-PIECE // self.unit.steps)
        for number in range(each):
            row = plus(code, times(code, step, each), number)
            starts = zip(beside.starts, beside.strides, strict=True)
            beside.write(*(code.element("float", start, times(code, row, stride)) for start, stride in starts))

    # --- What comes after ---

    def _anew(self, goal: str) -> None:
        """The sums of the block before by vectors."""
        code, product, stored = self.code, self.product, self.stored
        left, right = product.left, product.right
        starts, counts = [], []
        by_row, by_column = (self.unit.left.scattered and apart != 1 for apart in (left.down, left.across))
        rows = "%rows" if by_row or by_column else self.settings  # any that can be read
        for name, matrix, apart, lines, piece in (
            (self.task.left, left, left.down, product.rows, "row"),
            (self.task.right, right, right.across, product.columns, "column"),
        ):
            first = times(code, stored.get(code, piece), PIECE)
            start = start_of(code, product, name, matrix, stored.get(code, "batch"))
            if piece == "row" and by_row:
                rows = code.element("i64", rows, first)
            else:
                start = code.element("float", start, times(code, first, apart))
            starts.append(start)
            counts.append(smaller(code, minus(code, str(lines), first), str(PIECE)))
        numbers = (left.down, left.across, right.down, right.across, product.depth, *counts, self.across)
        listed = ", ".join([*(f"i64 {number}" for number in numbers), f"ptr {rows}"])
        listed += f", i64 {int(by_row)}, i64 {int(by_column)}"
        again = shared(anew_by_rows if right.across == 1 else anew)
        again.call(code, f"ptr {starts[0]}, ptr {starts[1]}, ptr {goal}, {listed}")

    def _copy(self, batch: str, rows: tuple[str, str], piece: str, sums: str) -> None:
        """Some rows (first, count) of sums in a piece of columns to the array of the product."""
        code, product = self.code, self.product
        first = times(code, piece, PIECE)
        goal, columns = self._goal(batch, rows[0], first), minus(code, str(product.columns), first)
        with code.loop("0", rows[1]) as line, code.loop("0", smaller(code, columns, str(PIECE)), SIDE) as column:
            here = code.element("float", sums, plus(code, times(code, line, self.across), column))
            there = code.element("float", goal, plus(code, times(code, line, product.columns), column))
            value = code.let(f"load {VECTOR.type}, ptr {here}, align 64")
            store_some(code, value, there, smaller(code, minus(code, columns, column), str(SIDE)))

    def _finish(self, batch: str, rows: tuple[str, str], piece: str, sums: str) -> None:
        """The epilogue of some rows (first, count) in a piece of columns."""
        code, product, finish = self.code, self.product, self.task.finish
        assert finish
        whole, rest = divmod(product.columns, PIECE)
        column = times(code, piece, PIECE)
        address, stride = sums, self.across
        if self.task.result:
            address, stride = self._goal(batch, rows[0], column), product.columns
        forms = [*([(PIECE, "slt")] if whole else []), *([(rest, "sge")] if rest else [])]
        for width, sign in forms:
            with code.when(code.let(f"icmp {sign} i64 {piece}, {whole}")):
                finish(code, Tile(self._indices(batch), rows[0], column, rows[1], "1", width, address, stride))

    def _indices(self, batch: str) -> tuple[str, ...]:
        return tuple(unravelled(self.code, batch, self.product.batch))
