"""The inside of a tile: its sums, kept in registers while products are added to them along the depth.

A step loads a row of the right operand as vectors, and one number of the left operand for each row of the tile, which
is spread over a vector; every product goes to a sum of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from chainrule.engine.code import Code, Kind
from chainrule.engine.kernels.packing import load, moved
from chainrule.engine.kernels.shares import times
from chainrule.engine.kernels.tile import Tile
from chainrule.engine.kernels.vector import spread
from chainrule.engine.record import record

_STRAIGHT = 64  # multiply-adds of a tile that are written without a loop
_APART = 2048  # bytes from one step's numbers to the next, from which on no processor fetches them ahead by itself
_AHEAD = 8  # steps that they are asked for ahead
_TURN = 48  # multiply-adds in one turn of a loop over the depth
LONGEST_TURN = 8  # steps along the depth in one turn at most; every turn divides this


@record(frozen=True, slots=True)
class Left:
    """Where a tile's rows of the left operand begin, and their strides (row, depth)."""

    start: str
    down: int
    across: int


@record(frozen=True, slots=True)
class Right:
    """Where a panel of the right operand begins, the stride of the depth, and where its vectors lie in a row: places,
    and how many lanes are used."""

    start: str
    down: int
    places: tuple[int, ...]
    used: tuple[int, ...]


@record(frozen=True, slots=True)
class Beside:
    """What is done beside the sums: `write(*addresses)` at every `every`-th step. The addresses begin with `starts` and
    are `strides` elements further the next time."""

    every: int
    starts: tuple[str, ...]
    strides: tuple[int, ...]
    write: Callable[..., None]

    @staticmethod
    def often(depth: int, times: int, turn: int) -> int:
        """Every how many steps so much can be done in that many turns of a loop at least; 0: the depth is too short."""
        return max((n for n in range(turn, depth + 1, turn) if depth % n == 0 and depth // n >= times), default=0)


Ahead = Callable[[Code, Tile, int], Beside]  # what is done beside a tile's sums every so many steps


@record(frozen=True, slots=True)
class Sums:
    """Writes the sums of `rows` rows of a panel whose vectors are of `kind`."""

    code: Code
    kind: Kind
    rows: int
    left: Left
    right: Right

    @property
    def zeros(self) -> list[str]:
        """What sums begin with."""
        zero = "zeroinitializer" if self.kind.lanes else self.kind.constant(0)
        return [zero] * (self.rows * len(self.right.places))

    @property
    def turn(self) -> int:
        """Steps along the depth in one turn of a loop."""
        return turn_of(self.rows, len(self.right.places))

    def over(self, depth: int, beside: Beside | None = None, before: list[str] | None = None) -> list[str]:
        """The sums over so many steps, row by row, added to those `before`; `beside.every` has to divide the steps, and
        a turn to divide that."""
        sums = self.zeros if before is None else before
        if beside:
            return self._beside(depth // beside.every, sums, beside)
        if depth * len(sums) <= _STRAIGHT or depth < 2 * self.turn:
            return self.steps(range(depth), sums)
        sums, rest = self.turns(str(depth // self.turn), sums)
        return rest.steps(range(depth % self.turn), sums)

    def turns(self, count: str, sums: Sequence[str]) -> tuple[list[str], Sums]:
        """`sums` after `count` (at least one) turns, and a writer for what comes after them."""
        code, element = self.code, Kind(self.kind.dtype).type
        with carried_loop(code, count, self.kind, sums, (self.left.start, self.right.start)) as (
            carried,
            places,
            names,
            moves,
        ):
            here = self._from(*places)
            last = here.steps(range(self.turn - 1), carried)
            here.steps([self.turn - 1], last, names)
            for name, base, stride in zip(moves, places, (self.left.across, self.right.down), strict=True):
                code.do(f"{name} = getelementptr {element}, ptr {base}, i64 {self.turn * stride}")
        return names, self._from(*moves)

    def _beside(self, count: int, sums: Sequence[str], beside: Beside) -> list[str]:
        """`sums` after `count` times `beside.every` steps."""
        code, kind, element = self.code, self.kind, Kind(self.kind.dtype).type
        pointers = (self.left.start, self.right.start, *beside.starts)
        with carried_loop(code, str(count), kind, sums, pointers) as (carried, places, names, moves):
            beside.write(*places[2:])
            inner, rest = self._from(*places[:2]).turns(str(beside.every // self.turn), carried)
            for name, value in zip(names, inner, strict=True):
                code.do(f"{name} = bitcast {kind.type} {value} to {kind.type}")
            bases = (rest.left.start, rest.right.start, *places[2:])
            for name, base, stride in zip(moves, bases, (0, 0, *beside.strides), strict=True):
                code.do(f"{name} = getelementptr {element}, ptr {base}, i64 {stride}")
        return names

    def further(self, steps: str) -> Sums:
        """The same so many steps further along the depth."""
        code, element = self.code, Kind(self.kind.dtype).type
        left, right = (
            code.element(element, operand.start, times(code, steps, stride))
            for operand, stride in ((self.left, self.left.across), (self.right, self.right.down))
        )
        return self._from(left, right)

    def _from(self, left: str, right: str) -> Sums:
        """The same from other places on."""
        return replace(self, left=replace(self.left, start=left), right=replace(self.right, start=right))

    def steps(self, steps: Sequence[int], sums: Sequence[str], names: Sequence[str] | None = None) -> list[str]:
        """`sums` after certain steps; after one step that has them, the results get `names`."""
        sums = list(sums)
        for step in steps:
            sums = self._step(step, sums, names)
        return sums

    def _step(self, step: int, sums: list[str], names: Sequence[str] | None) -> list[str]:
        code, kind, single = self.code, self.kind, Kind(self.kind.dtype)
        left, right = self.left, self.right
        if left.down == 1 and left.across * kind.dtype.itemsize >= _APART:
            for row in sorted({0, self.rows - 1}):
                code.fetch(moved(code, single, left.start, row + (step + _AHEAD) * left.across))
        vectors = [
            load(code, kind, moved(code, kind, right.start, step * right.down + place), used)
            for place, used in zip(right.places, right.used, strict=True)
        ]
        result: list[str] = []
        for row in range(self.rows):
            number = load(code, single, moved(code, single, left.start, row * left.down + step * left.across))
            factor = spread(code, kind, number) if kind.lanes else number
            for vector in vectors:
                place = len(result)
                name = names[place] if names else "%" + code.fresh()
                multiply_add(code, kind, name, factor, vector, sums[place])
                result.append(name)
        return result


def turn_of(rows: int, vectors: int) -> int:
    """Steps along the depth in one turn of a loop, for a tile of so many rows and vectors: a power of two."""
    if vectors == 1:  # with more, LLVM lets the sums wander until some are on the stack
        return 1
    most = max(1, _TURN // (rows * vectors))
    return min(LONGEST_TURN, 1 << (most.bit_length() - 1))


def multiply_add(code: Code, kind: Kind, name: str, a: str, b: str, c: str) -> None:
    """`name` = a * b + c, rounded once where the processor has an instruction for that."""
    if kind.dtype.kind == "i":
        code.do(f"{name} = add {kind.type} {code.let(f'mul {kind.type} {a}, {b}')}, {c}")
    elif code.fused:
        suffix = (f"v{kind.lanes}" if kind.lanes else "") + f"f{8 * kind.dtype.itemsize}"
        code.declare(f"declare {kind.type} @llvm.fma.{suffix}({kind.type}, {kind.type}, {kind.type})")
        code.do(f"{name} = call {kind.type} @llvm.fma.{suffix}({kind.type} {a}, {kind.type} {b}, {kind.type} {c})")
    else:
        code.do(f"{name} = fadd {kind.type} {code.let(f'fmul {kind.type} {a}, {b}')}, {c}")


@contextmanager
def carried_loop(
    code: Code, count: str, kind: Kind, sums: Sequence[str], pointers: Sequence[str]
) -> Iterator[tuple[list[str], list[str], list[str], list[str]]]:
    """A loop of `count` (at least one) turns that carries sums and pointers in registers.

    Gives the carried sums and pointers, and the names that the body must give to the next ones.
    """
    number = code.fresh("")
    before, body, latch = f"before{number}", f"turn{number}", f"latch{number}"
    carried, following = (["%" + code.fresh(hint) for _ in sums] for hint in ("sum", "next"))
    places, moves = (["%" + code.fresh(hint) for _ in pointers] for hint in ("place", "move"))
    counter, next_counter = f"%left{number}", f"%fewer{number}"
    code.label(before)
    code.label(body)
    code.do(f"{counter} = phi i64 [ {count}, %{before} ], [ {next_counter}, %{latch} ]")
    for kind_name, names, starts, nexts in (
        (kind.type, carried, sums, following),
        ("ptr", places, pointers, moves),
    ):
        for name, start, after in zip(names, starts, nexts, strict=True):
            code.do(f"{name} = phi {kind_name} [ {start}, %{before} ], [ {after}, %{latch} ]")
    yield carried, places, following, moves
    code.label(latch)
    code.do(f"{next_counter} = add nsw i64 {counter}, -1")
    more = code.let(f"icmp ne i64 {next_counter}, 0")
    code.do(f"br i1 {more}, label %{body}, label %after{number}")
    code.label(f"after{number}")
