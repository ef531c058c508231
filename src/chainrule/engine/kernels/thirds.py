"""Operands for a matrix unit: each float32 as the sum of three bfloat16, laid out as tile registers read them.

A bfloat16 has the range of a float32 and 8 of its 24 bits. So a number is, exactly, a rounded third, plus the rounded
third of what is left, plus what is left then, unless it is so small (below 2^-102) or so large that a third leaves the
normal range. Of the nine products of two such sums the three smallest are below the rounding of a float32 and left out
(Henry, Tang and Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations",
2019).

A tile of the left operand is 16 rows, each 32 steps of the depth; a tile of the right operand is 16 pairs of steps of
16 columns each. A step is paired with the one 16 further, so both are made from pairs of whole vectors.
"""

from __future__ import annotations

from dataclasses import replace

from chainrule.engine.code import Code, Function, Kind
from chainrule.engine.dtypes import float32
from chainrule.engine.kernels.packing import transpose
from chainrule.engine.kernels.shares import larger, minus, plus, smaller, times
from chainrule.engine.kernels.vector import read_masked, write_masked
from chainrule.engine.record import record

SIDE = 16  # rows of a tile, or columns
STEPS = 32  # steps along the depth in a tile
THIRDS = 3
TILE = 1024  # bytes
TURNED = 2 * TILE  # bytes of scratch memory in which vectors are transposed

VECTOR = Kind(float32, SIDE)
_QUARTERS = 4  # of the rows of a tile, which are jobs of their own
_ROWS = SIDE // _QUARTERS


@record(frozen=True, slots=True)
class Lines:
    """How an operand lies in memory: rows of the left one or columns of the right one, over the depth.

    Attributes
    ----------
    count, depth
        How many lines there are, and how long each is.
    across, along
        Elements from one line to the next, and from one step of the depth to the next; one of them is 1.
    is_left
        Whether it is the left operand.
    far
        Whether it is so large that the next step of the depth is asked for while one is split, unless it is scattered.
    scattered
        Whether its vectors lie anywhere: vector `n` is number `%rows[n]` of them.
    asks
        Whether then the same part of others is asked for, which are those of numbers `%soon`.
    """

    count: int
    depth: int
    across: int
    along: int
    is_left: bool
    far: bool = False
    scattered: bool = False
    asks: bool = False

    @property
    def tiles(self) -> int:
        """Tiles side by side."""
        return -(-self.count // SIDE)

    @property
    def pieces(self) -> int:
        """Pairs of tiles."""
        return -(-self.tiles // 2)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many tiles pieces have: two, and the last maybe one."""
        return ((2,) if self.tiles > 1 else ()) + ((1,) if self.tiles % 2 else ())

    @property
    def steps(self) -> int:
        """Tiles along the depth."""
        return -(-self.depth // STEPS)

    @property
    def is_turned(self) -> bool:
        """Whether vectors in memory are columns of a tile."""
        return self.is_left != (self.along == 1)

    @property
    def between(self) -> int:
        """Elements from one vector to the next."""
        return self.across if self.along == 1 else self.along

    @property
    def vectors(self) -> int:
        """How many vectors in memory there are, each over all lines or over the whole depth."""
        return self.count if self.along == 1 else self.depth

    @property
    def _is_ragged(self) -> bool:
        return bool(self.count % SIDE or self.depth % STEPS)

    @property
    def jobs(self) -> int:
        """In how many jobs the thirds of a tile are made."""
        return _QUARTERS + (2 if self.is_turned else 0)

    def packer(self, steps: int) -> Function:
        """A function that does a job of making thirds of two neighbouring tiles.

        Its parameters are the address of the whole operand, that of the first thirds, and that of some scratch memory
        (`TURNED` bytes); the numbers of the first tile and of its first step of the depth; and the number of the job.
        Jobs go from step to step; the thirds of the second tile begin `steps` tiles after the first.

        Of a scattered operand two more are the addresses `%rows` and `%soon`; nothing is asked for if they are equal.

        It has no loop over the jobs: LLVM takes over long to choose the addresses in one.
        """
        side = "left" if self.is_left else "right"
        how = "_far" * self.far + "_scattered" * self.scattered + "_asks" * self.asks
        name = f"thirds_{side}_{self.count}_{self.depth}_{self.across}_{self.along}_{steps}{how}"
        numbers = [("i64", number) for number in ("tile", "step", "job")]
        pointers = [("ptr noalias", pointer) for pointer in ("source", "goal", "turned")]
        others = [("ptr", pointer) for pointer in ("rows", "soon") if self.scattered]
        code = Code(name, [*pointers, *numbers, *others], internal=True)
        pair, number = code.let(f"udiv i64 %job, {self.jobs}"), code.let(f"urem i64 %job, {self.jobs}")
        second, step = code.let(f"and i64 {pair}, 1"), code.let(f"lshr i64 {pair}, 1")
        tile, place = plus(code, "%tile", second), plus(code, times(code, second, steps), step)
        goal = code.element("i8", "%goal", times(code, place, THIRDS * TILE))
        with code.when(code.let(f"icmp slt i64 {tile}, {self.tiles}")):
            self._job(code, tile, plus(code, "%step", step), goal, number)
        return Function.of(code)

    def _job(self, code: Code, tile: str, step: str, goal: str, number: str) -> None:
        line, first = times(code, tile, SIDE), times(code, step, STEPS)
        vector, element = (line, first) if self.along == 1 else (first, line)
        start = _Vectors(self, "%source").moved(code, vector, element)
        if not self._is_ragged:
            self._part_of_tile(code, start, goal, number, None)
            return
        lines = smaller(code, minus(code, str(self.count), line), str(SIDE))
        steps = smaller(code, minus(code, str(self.depth), first), str(STEPS))
        is_whole = code.let(
            f"and i1 {code.let(f'icmp eq i64 {lines}, {SIDE}')}, {code.let(f'icmp eq i64 {steps}, {STEPS}')}"
        )
        with code.when(is_whole):
            self._part_of_tile(code, start, goal, number, None)
        with code.when(code.let(f"xor i1 {is_whole}, true")):
            halves = smaller(code, steps, str(SIDE)), larger(code, minus(code, steps, str(SIDE)), "0")
            vectors, lanes = ((lines, lines), halves) if self.along == 1 else (halves, (lines, lines))
            part = _Part(vectors, tuple(mask_of(code, count) for count in lanes))
            self._part_of_tile(code, start, goal, number, part)

    def _part_of_tile(self, code: Code, start: _Vectors, goal: str, number: str, part: _Part | None) -> None:
        """A job: some rows of a tile; where vectors have to be transposed for it, that is done half by half before."""
        if not self.is_turned:
            row = times(code, number, _ROWS)
            starts = (start, self._half(code, start, "1"))
            for here in starts:
                self._ask(code, here.moved(code, row, "0"), _ROWS)
            _rows(code, starts, goal, row, part)
            return
        with code.when(code.let(f"icmp slt i64 {number}, 2")):
            self._turn(code, self._half(code, start, number), number, part)
        with code.when(code.let(f"icmp sge i64 {number}, 2")):
            turned = _Vectors(Lines(SIDE, STEPS, STEPS, 1, self.is_left), "%turned")
            quarter = minus(code, number, "2")
            row = times(code, quarter, _ROWS)
            if self.asks:  # not by the job that reads, as too many at once hold up what else is read
                self._ask(code, start.moved(code, times(code, quarter, STEPS // _QUARTERS), "0"), STEPS // _QUARTERS)
            _rows(code, (turned, turned.moved(code, "0", str(SIDE))), goal, row, None)

    def _half(self, code: Code, start: _Vectors, half: str) -> _Vectors:
        """Where one half of a tile's steps begins."""
        steps = times(code, half, SIDE)
        return start.moved(code, *(("0", steps) if self.along == 1 else (steps, "0")))

    def _turn(self, code: Code, start: _Vectors, half: str, part: _Part | None) -> None:
        """The vectors of one half of a tile, transposed."""
        if part:
            is_first = code.let(f"icmp eq i64 {half}, 0")
            count = code.let(f"select i1 {is_first}, i64 {part.vectors[0]}, i64 {part.vectors[1]}")
            lanes = code.let(f"select i1 {is_first}, i{SIDE} {part.lanes[0]}, i{SIDE} {part.lanes[1]}")
            part = _Part((count, count), (lanes, lanes))
        places = [start.at(code, number) for number in range(SIDE)]
        if not self.scattered:
            self._ask(code, start, SIDE)
        vectors = [_line(code, place, part, 0, number) for number, place in enumerate(places)]
        goal = code.element("float", "%turned", times(code, half, SIDE))
        for number, vector in enumerate(transpose(code, VECTOR, vectors)):
            there = code.element("float", goal, str(number * STEPS))
            code.do(f"store {VECTOR.type} {vector}, ptr {there}, align 64")

    def _ask(self, code: Code, start: _Vectors, count: int) -> None:
        """Ask for what will be split later, beside some vectors."""
        if self.asks:
            with code.when(code.let("icmp ne ptr %rows, %soon")):
                for number in range(count):
                    code.fetch(start.at(code, number, "%soon"), cache=2)
        elif self.far and not self.scattered:  # the next step of the depth
            for number in range(count):
                code.fetch(code.element("float", start.at(code, number), str(STEPS * self.along)), cache=2)


@record(frozen=True, slots=True)
class _Vectors:
    """Vectors of an operand in memory, from one of them and from one of its elements on."""

    lines: Lines
    address: str
    first: str = "0"  # its number, if they are scattered

    def moved(self, code: Code, vectors: str, elements: str) -> _Vectors:
        """So many vectors, and so many elements further."""
        if self.lines.scattered:
            return replace(
                self, address=code.element("float", self.address, elements), first=plus(code, self.first, vectors)
            )
        place = plus(code, times(code, vectors, self.lines.between), elements)
        return replace(self, address=code.element("float", self.address, place))

    def at(self, code: Code, number: str | int, rows: str = "%rows") -> str:
        """The address of a vector."""
        place = str(number)
        if self.lines.scattered:
            place = plus(code, self.first, place)
            if self.lines.vectors % (SIDE if self.lines.along == 1 else STEPS):  # a tile may have less
                place = smaller(code, place, str(self.lines.vectors - 1))
            place = code.let(f"load i64, ptr {code.element('i64', rows, place)}")
        return code.element("float", self.address, times(code, place, self.lines.between))


@record(frozen=True, slots=True)
class _Part:
    """What of a tile is there, of its first and of its second half: how many vectors, and which lanes of them."""

    vectors: tuple[str, str]
    lanes: tuple[str, ...]


def _rows(code: Code, starts: tuple[_Vectors, _Vectors], goal: str, first: str, part: _Part | None) -> None:
    """A quarter of the rows of a tile, each from a pair of vectors."""
    for number in range(_ROWS):
        row = plus(code, first, number)
        pair = [_line(code, start.at(code, row), part, half, row) for half, start in enumerate(starts)]
        there = code.element("i32", goal, times(code, row, SIDE))
        for third, words in enumerate(thirds(code, *pair)):
            code.do(f"store <{SIDE} x i32> {words}, ptr {code.element('i8', there, str(third * TILE))}, align 64")


def _line(code: Code, address: str, part: _Part | None, half: int, number: str | int) -> str:
    """A vector, of which only what is there is read; the rest is zero."""
    if part is None:
        return code.let(f"load {VECTOR.type}, ptr {address}, align 4")
    is_there = code.let(f"icmp sgt i64 {part.vectors[half]}, {number}")
    return load_some(code, address, code.let(f"select i1 {is_there}, i{SIDE} {part.lanes[half]}, i{SIDE} 0"))


def load_some(code: Code, address: str, lanes: str) -> str:
    """A vector of which some lanes are read, by the bits of an integer; the others are zero."""
    return read_masked(code, "float", SIDE, address, code.let(f"bitcast i{SIDE} {lanes} to {VECTOR.mask}"))


def store_some(code: Code, value: str, place: str, count: str) -> None:
    """The first `count` elements of a vector to memory."""
    mask = code.let(f"bitcast i{SIDE} {mask_of(code, count)} to {VECTOR.mask}")
    write_masked(code, "float", SIDE, value, place, mask)


def mask_of(code: Code, count: str) -> str:
    """An integer whose lowest `count` bits (at most `SIDE`) are set."""
    power = code.let(f"shl i64 1, {count}")
    return code.let(f"trunc i64 {code.let(f'add i64 {power}, -1')} to i{SIDE}")


def thirds(code: Code, first: str, second: str) -> list[str]:
    """Two vectors of float32 as three of pairs of bfloat16, of which the sum is exact.

    Each third but the last is rounded to nearest, so what is left out of a product has either sign.
    """
    bits, high = VECTOR.bits, VECTOR.integer(-0x10000)
    found, rest = [], [first, second]
    for third in range(THIRDS):
        words = [code.let(f"bitcast {VECTOR.type} {value} to {bits}") for value in rest]
        if third < THIRDS - 1:  # what is left for the last has 8 bits already
            words = [code.let(f"add {bits} {word}, {VECTOR.integer(0x8000)}") for word in words]
        upper = [code.let(f"and {bits} {word}, {high}") for word in words]
        low = code.let(f"lshr {bits} {words[0]}, {VECTOR.integer(16)}")
        found.append(code.let(f"or {bits} {low}, {upper[1]}"))
        if third == THIRDS - 1:
            break
        rounded = [code.let(f"bitcast {bits} {word} to {VECTOR.type}") for word in upper]
        rest = [code.let(f"fsub {VECTOR.type} {a}, {b}") for a, b in zip(rest, rounded, strict=True)]
    return found
