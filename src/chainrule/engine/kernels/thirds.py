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

from collections.abc import Sequence
from dataclasses import replace

from chainrule.engine.code import Code, Function, Kind, shared
from chainrule.engine.dtypes import float32
from chainrule.engine.kernels.packing import transpose
from chainrule.engine.kernels.shares import larger, minus, plus, smaller, times
from chainrule.engine.kernels.vector import read_masked, write_masked
from chainrule.engine.record import record

SIDE = 16  # rows of a tile, or columns
STEPS = 32  # steps along the depth in a tile
THIRDS = 3
TILE = 1024  # bytes
_TURNED = 2 * TILE  # bytes in which vectors are transposed
_COPIED = TILE  # bytes of copies of vectors of which a part is there
ASIDE = _TURNED + _COPIED  # bytes of scratch memory

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
        (`ASIDE` bytes); the numbers of the first tile and of its first step of the depth; and the number of the job.
        Jobs go from step to step; the thirds of the second tile begin `steps` tiles after the first.

        Of a scattered operand two more are the addresses `%rows` and `%soon`; nothing is asked for if they are equal.

        It has no loop over the jobs: LLVM takes over long to choose the addresses in one.
        """
        side = "left" if self.is_left else "right"
        how = "_far" * self.far + "_scattered" * self.scattered + "_asks" * self.asks
        name = f"thirds_{side}_{self.count}_{self.depth}_{self.across}_{self.along}_{steps}{how}"
        code = self._code(name)
        tile, step, goal, number = self._place(code, steps)
        with code.when(code.let(f"icmp slt i64 {tile}, {self.tiles}")):
            if self._is_ragged:
                is_here = [code.let(f"icmp slt i64 {place}, {whole}") for place, whole in
                           ((tile, self.count // SIDE), (step, self.depth // STEPS))]  # fmt: skip
                is_whole = code.let(f"and i1 {is_here[0]}, {is_here[1]}")
                with code.when(code.let(f"xor i1 {is_whole}, true")):
                    arguments = ", ".join(f"{kind.split()[0]} %{each}" for kind, each in code.parameters)
                    self._ragged(f"{name}_part", steps).call(code, arguments, is_last=True)
                    code.do("ret void")
            self._part_of_tile(code, self._start(code, tile, step), goal, number, None)
        return Function.of(code)

    def _ragged(self, name: str, steps: int) -> Function:
        """The same for a tile of which only a part is there."""
        code = self._code(name)
        tile, step, goal, number = self._place(code, steps)
        lines = smaller(code, minus(code, str(self.count), times(code, tile, SIDE)), str(SIDE))
        there = smaller(code, minus(code, str(self.depth), times(code, step, STEPS)), str(STEPS))
        halves = smaller(code, there, str(SIDE)), larger(code, minus(code, there, str(SIDE)), "0")
        vectors, lanes = ((lines, lines), halves) if self.along == 1 else (halves, (lines, lines))
        part = _Part(vectors, (mask_of(code, lanes[0]), mask_of(code, lanes[1])))
        self._part_of_tile(code, self._start(code, tile, step), goal, number, part)
        return Function.of(code)

    def _code(self, name: str) -> Code:
        pointers = [("ptr noalias", pointer) for pointer in ("source", "goal", "turned")]
        numbers = [("i64", number) for number in ("tile", "step", "job")]
        others = [("ptr", pointer) for pointer in ("rows", "soon") if self.scattered]
        return Code(name, [*pointers, *numbers, *others], internal=True)

    def _place(self, code: Code, steps: int) -> tuple[str, str, str, str]:
        """Of a job: its tile, its step of the depth, where the thirds of the tile go, and its number among those."""
        pair, number = code.let(f"udiv i64 %job, {self.jobs}"), code.let(f"urem i64 %job, {self.jobs}")
        second, step = code.let(f"and i64 {pair}, 1"), code.let(f"lshr i64 {pair}, 1")
        place = plus(code, times(code, second, steps), step)
        goal = code.element("i8", "%goal", times(code, place, THIRDS * TILE))
        return plus(code, "%tile", second), plus(code, "%step", step), goal, number

    def _start(self, code: Code, tile: str, step: str) -> _Vectors:
        """Where a tile begins."""
        line, first = times(code, tile, SIDE), times(code, step, STEPS)
        return _Vectors(self, "%source").moved(code, *((line, first) if self.along == 1 else (first, line)))

    def _part_of_tile(self, code: Code, start: _Vectors, goal: str, number: str, part: _Part | None) -> None:
        """A job: some rows of a tile; where vectors have to be transposed for it, that is done half by half before."""
        if not self.is_turned:
            row = times(code, number, _ROWS)
            here = start.moved(code, row, "0")
            self._ask(code, here, _ROWS)
            self._ask(code, self._half(code, here, "1"), _ROWS)
            if part:
                self._copy_rows(code, here, row, part)
                here = _Vectors(_BESIDE, code.element("i8", "%turned", str(_TURNED)))
            apart = SIDE if part or self.along == 1 else SIDE * self.along
            _rows(code, here, apart, code.element("i32", goal, times(code, row, SIDE)))
            return
        with code.when(code.let(f"icmp slt i64 {number}, 2")):
            self._turn(code, self._half(code, start, number), number, part)
            code.do("ret void")
        quarter = minus(code, number, "2")
        row = times(code, quarter, _ROWS)
        if self.asks:  # not by the job that reads, as too many at once hold up what else is read
            self._ask(code, start.moved(code, times(code, quarter, STEPS // _QUARTERS), "0"), STEPS // _QUARTERS)
        turned = _Vectors(_BESIDE, "%turned").moved(code, row, "0")
        _rows(code, turned, SIDE, code.element("i32", goal, times(code, row, SIDE)))

    def _half(self, code: Code, start: _Vectors, half: str) -> _Vectors:
        """Where one half of a tile's steps begins."""
        steps = times(code, half, SIDE)
        return start.moved(code, *(("0", steps) if self.along == 1 else (steps, "0")))

    def _turn(self, code: Code, start: _Vectors, half: str, part: _Part | None) -> None:
        """The vectors of one half of a tile, transposed."""
        if not self.scattered:
            self._ask(code, start, SIDE)
        goal = code.element("float", "%turned", times(code, half, SIDE))
        if part:
            copies = code.element("i8", "%turned", str(_TURNED))
            with code.loop("0", str(SIDE)) as number:
                copy = code.element("float", copies, times(code, number, SIDE))
                _copy(code, start.at(code, number), copy, *part.of(code, half, number))
            shared(turned).call(code, f"ptr {copies}, i64 {SIDE}, ptr {goal}", is_last=True)
        elif self.scattered:
            numbers = code.element("i64", "%rows", start.first)
            arguments = f"ptr {start.address}, ptr {numbers}, i64 {self.between}, ptr {goal}"
            shared(turned_anywhere).call(code, arguments, is_last=True)
        else:
            shared(turned).call(code, f"ptr {start.address}, i64 {self.between}, ptr {goal}", is_last=True)

    def _copy_rows(self, code: Code, start: _Vectors, row: str, part: _Part) -> None:
        """The pairs of vectors of a quarter, of which not all is there, side by side."""
        with code.loop("0", str(2 * _ROWS)) as number:
            half, line = code.let(f"and i64 {number}, 1"), code.let(f"lshr i64 {number}, 1")
            place = self._half(code, start, half).at(code, line)
            copy = code.element("i8", "%turned", plus(code, times(code, number, 4 * SIDE), _TURNED))
            _copy(code, place, copy, *part.of(code, half, plus(code, row, line)))

    def _ask(self, code: Code, start: _Vectors, count: int) -> None:
        """Ask for what will be split later, beside some vectors."""
        if self.asks:
            with code.when(code.let("icmp ne ptr %rows, %soon")), code.loop("0", str(count)) as number:
                code.fetch(start.at(code, number, "%soon"), cache=2)
        elif self.far and not self.scattered:  # the next step of the depth
            for each in range(count):
                code.fetch(code.element("float", start.at(code, each), str(STEPS * self.along)), cache=2)


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
    lanes: tuple[str, str]

    def of(self, code: Code, half: str, number: str) -> tuple[str, str]:
        """Of a vector of a half, whether it is there, and which of its lanes are."""
        is_first = code.let(f"icmp eq i64 {half}, 0")
        count = code.let(f"select i1 {is_first}, i64 {self.vectors[0]}, i64 {self.vectors[1]}")
        lanes = code.let(f"select i1 {is_first}, i{SIDE} {self.lanes[0]}, i{SIDE} {self.lanes[1]}")
        return code.let(f"icmp slt i64 {number}, {count}"), lanes


def _rows(code: Code, start: _Vectors, apart: int, goal: str) -> None:
    """A quarter of the rows of a tile, each from a pair of vectors, the second so many elements after the first."""
    places = ", ".join(f"ptr {start.at(code, row)}" for row in range(_ROWS))
    shared(split).call(code, f"{places}, i64 {apart}, ptr {goal}", is_last=True)


def split() -> Code:
    """A function that writes thirds of some rows, each from a pair of vectors.

    Its parameters are the addresses of the first vectors, elements from a first one to the second, and that of the
    first of the thirds.
    """
    starts = [f"row{number}" for number in range(_ROWS)]
    code = Code("thirds", [*(("ptr", start) for start in starts), ("i64", "apart"), ("ptr", "goal")], internal=True)
    for number, start in enumerate(starts):
        places = f"%{start}", code.element("float", f"%{start}", "%apart")
        pair = [code.let(f"load {VECTOR.type}, ptr {place}, align 4") for place in places]
        for third, words in enumerate(thirds(code, *pair)):
            there = code.element("i8", "%goal", str(third * TILE + number * 4 * SIDE))
            code.do(f"store <{SIDE} x i32> {words}, ptr {there}, align 64")
    return code


def turned() -> Code:
    """A function that transposes vectors.

    Its parameters are the address of the first, elements from one to the next, and where the first is to go; the next
    goes two vectors further.
    """
    code = Code("turned", [("ptr", "start"), ("i64", "apart"), ("ptr", "goal")], internal=True)
    _transpose(code, [str(number) for number in range(SIDE)])
    return code


def turned_anywhere() -> Code:
    """The same for vectors that lie anywhere: the second parameter is the address of their numbers."""
    numbers = [("ptr", "numbers"), ("i64", "apart")]
    code = Code("turned_anywhere", [("ptr", "start"), *numbers, ("ptr", "goal")], internal=True)
    _transpose(code, [code.get("i64", code.element("i64", "%numbers", str(number))) for number in range(SIDE)])
    return code


def _transpose(code: Code, numbers: Sequence[str]) -> None:
    places = [code.element("float", "%start", code.let(f"mul i64 {number}, %apart")) for number in numbers]
    vectors = [code.let(f"load {VECTOR.type}, ptr {place}, align 4") for place in places]
    for number, vector in enumerate(transpose(code, VECTOR, vectors)):
        there = code.element("float", "%goal", str(number * STEPS))
        code.do(f"store {VECTOR.type} {vector}, ptr {there}, align 64")


def _copy(code: Code, place: str, goal: str, is_there: str, lanes: str) -> None:
    """A vector, of which only what is there is read; the rest is zero."""
    vector = load_some(code, place, code.let(f"select i1 {is_there}, i{SIDE} {lanes}, i{SIDE} 0"))
    code.do(f"store {VECTOR.type} {vector}, ptr {goal}, align 64")


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


_BESIDE = Lines(SIDE, STEPS, STEPS, 1, is_left=True)  # pairs of vectors side by side, as they are in scratch memory
