"""What vectors do beside a matrix unit: jobs that stand between the unit's instructions.

They split the next piece into thirds and finish the block before. What they need to know is in words that the product's
function shares with functions of its own, which do all jobs that are left, and what comes at the end of each block: so
this is there once, while a single job stands at many places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

from chainrule.engine.code import Code, Function, shared
from chainrule.engine.kernels.anew import anew, spoilt
from chainrule.engine.kernels.plan import Product
from chainrule.engine.kernels.shares import minus, plus, smaller, times, unravelled
from chainrule.engine.kernels.strips import Task, goal_of, start_of
from chainrule.engine.kernels.thirds import SIDE, VECTOR, Lines, store_some
from chainrule.engine.kernels.tile import Tile
from chainrule.engine.kernels.unit import PIECE, Unit

ROWS = 2  # rows of a block that are completed in one job
_BLOCK = ("batch", "row", "column")  # of which batch, and at which pieces


class Words:
    """Words at `%words`, which a function shares with those that it calls: numbers and addresses, by name."""

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self._kinds, self._places = kinds, {name: str(number) for number, name in enumerate(kinds)}

    def begin(self, code: Code) -> None:
        """They are in this function."""
        code.reserve("%words", f"[{len(self._kinds)} x i64], align 64")

    def place(self, code: Code, name: str) -> str:
        """The address of a word."""
        return code.element("i64", "%words", self._places[name])

    def get(self, code: Code, name: str) -> str:
        """What a word holds."""
        return code.get(self._kinds[name], self.place(code, name))

    def set(self, code: Code, **values: str) -> None:
        """Put values into words."""
        for name, value in values.items():
            code.set(self._kinds[name], self.place(code, name), value)


class Aside:
    """Writes those functions, and the calls of them in the function of a product."""

    def __init__(self, code: Code, product: Product, unit: Unit, task: Task) -> None:
        self.code, self.product, self.unit, self.task = code, product, unit, task
        self.is_direct = unit.is_direct(kept=task.result is not None)
        self.copies = task.result is not None and not self.is_direct
        self.packers = {lines: lines.packer(unit.steps) for lines in (unit.left, unit.right)}
        sizes = unit.sizes(kept=task.result is not None)
        names = ("sums", "resident", "streamed", "turned", "settings")
        self._begins = {name: sum(sizes[:number]) for number, name in enumerate(names)}
        self._pointers = [name for kind, name in code.parameters if kind.startswith("ptr")]
        numbers = ["split_done", "split_total", "tile", "step", "complete_done", "complete_total"]
        numbers += [*(f"stored_{name}" for name in (*_BLOCK, "rows", "second")), *(f"ended_{name}" for name in _BLOCK)]
        pointers = [*self._pointers, "source", "goal", "stored", "ended"]
        self.words = Words({**dict.fromkeys(pointers, "ptr"), **dict.fromkeys(numbers, "i64")})
        self.words.begin(code)
        self.words.set(code, **{name: f"%{name}" for name in self._pointers}, stored="%scratch")
        jobs = [f"{name}_{word}" for name in ("split", "complete") for word in ("done", "total")]
        self.words.set(code, **dict.fromkeys([*jobs, *(f"stored_{name}" for name in (*_BLOCK, "rows", "second"))], "0"))
        self._splits = self._all("split", self._split)
        self._finishes = self._all("complete", self._complete) if self.copies or task.finish else None
        self._passes_on = self._pass_on()

    # --- In the product's function ---

    def part(self, code: Code, name: str) -> str:
        """The address of a part of the scratch memory."""
        return code.element("i8", "%scratch", str(self._begins[name]))

    def begin(self, batch: str, goal: str, place: tuple[str, str], jobs: str) -> None:
        """A streamed piece, from a step of the depth on, is split from now on, by so many jobs."""
        source = self.source(self.unit.streamed, batch)
        self.words.set(
            self.code, split_done="0", split_total=jobs, source=source, goal=goal,
            tile=times(self.code, place[0], 2), step=place[1],
        )  # fmt: skip

    def split(self) -> None:
        """The next job of the splitting, if there is one."""
        self._one("split", self._split)

    def split_all(self) -> None:
        """All that are left."""
        self._splits.call(self.code, "ptr %words")

    def complete(self) -> None:
        """The next job for the block before, if there is one."""
        if self._finishes:
            self._one("complete", self._complete)

    def _one(self, name: str, write: Callable[[Code, str], None]) -> None:
        code, words = self.code, self.words
        done = words.get(code, f"{name}_done")
        with code.when(code.let(f"icmp slt i64 {done}, {words.get(code, f'{name}_total')}")):
            write(code, done)
            words.set(code, **{f"{name}_done": plus(code, done, 1)})

    def stored(self, place: Sequence[str], tiles: Sequence[str], address: str) -> None:
        """The sums of the block at a place (batch, row, column) are in memory now."""
        values = dict(zip([f"stored_{name}" for name in _BLOCK], place, strict=True))
        rows = times(self.code, tiles[0], SIDE)
        second = times(self.code, minus(self.code, tiles[1], "1"), SIDE)
        self.words.set(self.code, **values, stored_rows=rows, stored_second=second, stored=address)

    def pass_on(self) -> None:
        """The block that was stored is formed anew if its sums are not all finite; and completed from now on."""
        self._passes_on.call(self.code, "ptr %words")

    def end(self) -> None:
        """Everything that is left of the last block."""
        self.pass_on()
        if self._finishes:
            self._finishes.call(self.code, "ptr %words")

    def source(self, lines: Lines, batch: str) -> str:
        """Where an operand begins, for a batch."""
        name, matrix = (self.task.left, self.product.left) if lines.is_left else (self.task.right, self.product.right)
        return start_of(self.code, self.product, name, matrix, batch)

    def pack(self, code: Code, lines: Lines, places: tuple[str, str], numbers: Sequence[str]) -> None:
        """A job of splitting a piece of an operand: from which address to which, at which tile, step and job."""
        listed = ", ".join(f"i64 {number}" for number in numbers)
        others = ", ptr %rows, ptr %soon" if lines.scattered else ""
        arguments = f"ptr {places[0]}, ptr {places[1]}, ptr {self.part(code, 'turned')}, {listed}{others}"
        self.packers[lines].call(code, arguments)

    @property
    def across(self) -> int:
        """Elements from one row of sums to the next."""
        return self.product.columns if self.is_direct else self.unit.across

    def goal(self, code: Code, batch: str, row: str, column: str) -> str:
        """Where a sum belongs in the array of the product."""
        assert self.task.result
        return goal_of(code, self.product, self.task.result, batch, row, column)

    # --- The functions ---

    def _function(self, name: str) -> Code:
        """A function that knows all addresses that the product's knows."""
        own = self.code
        options = {"fused": own.fused, "masked": own.masked, "estimated": own.estimated}
        code = Code(f"{own.name}_{name}", [("ptr", "words")], internal=True, **options)
        for pointer in self._pointers:
            code.do(f"%{pointer} = load ptr, ptr {self.words.place(code, pointer)}")
        return code

    def _all(self, name: str, write: Callable[[Code, str], None]) -> Function:
        """A function that does all jobs of a kind that are left."""
        code, words = self._function(name), self.words
        total = words.get(code, f"{name}_total")
        with code.loop(words.get(code, f"{name}_done"), total) as number:
            write(code, number)
        words.set(code, **{f"{name}_done": total})
        return Function.of(code)

    def _split(self, code: Code, job: str) -> None:
        """A job for the piece that comes next."""
        get = self.words.get
        places = get(code, "source"), get(code, "goal")
        self.pack(code, self.unit.streamed, places, (get(code, "tile"), get(code, "step"), job))

    def _complete(self, code: Code, job: str) -> None:
        """A job for the block before: a few of its rows."""
        product = self.product
        batch, top, column = (self.words.get(code, f"ended_{name}") for name in _BLOCK)
        first = times(code, job, ROWS)
        row, rows = plus(code, top, first), str(ROWS)
        if product.rows % ROWS:
            rows = smaller(code, minus(code, str(product.rows), row), rows)
        sums = code.element("float", self.words.get(code, "ended"), times(code, first, self.across))
        if self.copies:
            self._copy(code, batch, (row, rows), column, sums)
        if self.task.finish:
            self._finish(code, batch, (row, rows), column, sums)

    def _pass_on(self) -> Function:
        code, words = self._function("pass_on"), self.words
        sums, rows = words.get(code, "stored"), words.get(code, "stored_rows")
        settings = self.part(code, "settings")
        numbers = ", ".join(f"i64 {number}" for number in (self.across, rows, words.get(code, "stored_second")))
        shared(spoilt).call(code, f"ptr {sums}, {numbers}, ptr {settings}")
        with code.when(code.let(f"icmp ne i16 {code.let(f'load i16, ptr {settings}')}, 0")):
            self._anew(code, sums)
        if self._finishes:
            self._finishes.call(code, "ptr %words")
            batch = words.get(code, "stored_batch")
            row, column = (times(code, words.get(code, f"stored_{name}"), PIECE) for name in ("row", "column"))
            left = minus(code, str(self.product.rows), row)
            jobs = code.let(f"udiv i64 {plus(code, smaller(code, rows, left), ROWS - 1)}, {ROWS}")
            words.set(code, ended_batch=batch, ended_row=row, ended_column=column, ended=sums)
            words.set(code, complete_done="0", complete_total=jobs)
            if self.unit.waits:  # others may come to the same place soon
                self._finishes.call(code, "ptr %words")
        words.set(code, stored_rows="0")
        return Function.of(code)

    def _anew(self, code: Code, goal: str) -> None:
        """The sums of the block before by vectors."""
        product, words = self.product, self.words
        left, right = product.left, product.right
        starts, counts = [], []
        by_row, by_column = (self.unit.left.scattered and apart != 1 for apart in (left.down, left.across))
        rows = "%rows" if by_row or by_column else self.part(code, "settings")  # any that can be read
        for name, matrix, apart, lines, piece in (
            (self.task.left, left, left.down, product.rows, "row"),
            (self.task.right, right, right.across, product.columns, "column"),
        ):
            first = times(code, words.get(code, f"stored_{piece}"), PIECE)
            start = start_of(code, product, name, matrix, words.get(code, "stored_batch"))
            if piece == "row" and by_row:
                rows = code.element("i64", rows, first)
            else:
                start = code.element("float", start, times(code, first, apart))
            starts.append(start)
            counts.append(smaller(code, minus(code, str(lines), first), str(PIECE)))
        numbers = (left.down, left.across, right.down, right.across, product.depth, *counts, self.across)
        listed = ", ".join([*(f"i64 {number}" for number in numbers), f"ptr {rows}"])
        listed += f", i64 {int(by_row)}, i64 {int(by_column)}"
        shared(anew).call(code, f"ptr {starts[0]}, ptr {starts[1]}, ptr {goal}, {listed}")

    def _copy(self, code: Code, batch: str, rows: tuple[str, str], first: str, sums: str) -> None:
        """Some rows (first, count) of sums in a piece of columns from one on to the array of the product."""
        product = self.product
        goal, columns = self.goal(code, batch, rows[0], first), minus(code, str(product.columns), first)
        with code.loop("0", rows[1]) as line, code.loop("0", smaller(code, columns, str(PIECE)), SIDE) as column:
            here = code.element("float", sums, plus(code, times(code, line, self.across), column))
            there = code.element("float", goal, plus(code, times(code, line, product.columns), column))
            value = code.let(f"load {VECTOR.type}, ptr {here}, align 64")
            store_some(code, value, there, smaller(code, minus(code, columns, column), str(SIDE)))

    def _finish(self, code: Code, batch: str, rows: tuple[str, str], column: str, sums: str) -> None:
        """The epilogue of some rows (first, count) in a piece of columns from one on."""
        product, finish = self.product, self.task.finish
        assert finish
        whole, rest = divmod(product.columns, PIECE)
        address, stride = sums, self.across
        if self.task.result:
            address, stride = self.goal(code, batch, rows[0], column), product.columns
        indices = tuple(unravelled(code, batch, product.batch))
        forms = [*([(PIECE, "slt")] if whole else []), *([(rest, "sge")] if rest else [])]
        for width, sign in forms:
            is_it = f"icmp {sign} i64 {column}, {whole * PIECE}"
            with code.when(code.let(is_it)) if len(forms) > 1 else nullcontext():
                finish(code, Tile(indices, rows[0], column, rows[1], "1", width, address, stride))
