"""Tile registers of a matrix unit: set up, cleared, filled, multiplied and stored.

Four of the eight hold the sums of two by two tiles, two of them tiles of the left operand, two of the right. Those of
an operand are cleared as soon as what they hold is multiplied no more: while the other half of the core is at work,
registers that hold something are scarce. An instruction that writes one takes another until it is done, and there is
about one more then than can be named. The sums of a single tile need few, and are quicker in such moments (`spare`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from chainrule.engine.code import Code, shared
from chainrule.engine.kernels.thirds import SIDE, TILE

PRODUCTS = ((0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0))  # of thirds: neighbours share one, the largest is the last

_LEFT, _RIGHT = 4, 6  # the first registers of the operands
_ASKED = 12  # products to find out whether there are registers to spare
_OFTEN = 2**21  # cycles of the clock after which that is found out again
_SLOWER = 1.25  # times as long as with few registers, from which on there are none
_SETTINGS = (1, 0, *[0x0040_0040_0040_0040] * 2, 0, 0, 0x1010_1010_1010_1010, 0)  # eight tiles of 16 rows of 64 bytes

Tiles = tuple[int, int]  # of how many rows and columns of tiles sums are formed together: (2, 2) or (1, 1)
_Third = tuple[int, int]  # of which tile of an operand's two, and which
Between = Sequence[tuple[int, Callable[[], None]]]  # what stands between products: after which, and what writes it


def set_up(code: Code, address: str) -> None:
    """The registers can be used; `address` is that of 64 bytes for their settings."""
    for number, word in enumerate(_SETTINGS):
        code.do(f"store i64 {word}, ptr {code.element('i64', address, str(number))}")
    _do(code, "ldtilecfg", f"ptr {address}")


def release(code: Code) -> None:
    """The registers are empty, so that the system need not save them."""
    _do(code, "tilerelease")


def spare(code: Code, address: str, kept: str) -> str:
    """Whether registers are to spare, an i1. Before, they hold nothing.

    `address` is that of a tile of any numbers, and `kept` that of two words that nobody else writes.
    """
    shared(_find_out).call(code, f"ptr {address}, ptr {kept}")
    return code.let(f"icmp eq i64 {code.get('i64', code.element('i64', kept, '1'))}, 0")


def _find_out() -> Code:
    """A function that compares products while all registers hold something with such where few do.

    It writes the time to the first of the words at `%kept`, and to the second 0 if there was no difference; nothing if
    what stands there is not old.
    """
    code = Code("registers_to_spare", [("ptr", "tile"), ("ptr", "kept")], internal=True)
    code.declare("declare i64 @llvm.readcyclecounter()")
    code.declare("declare void @llvm.x86.sse2.lfence()")
    sums, operands = range(_LEFT), range(_LEFT, 8)

    def products() -> str:
        for number in range(_ASKED):
            left, right = _LEFT + number % 2, _RIGHT + number % 2
            _do(code, "tdpbf16ps", f"i8 {number % len(sums)}, i8 {left}, i8 {right}")
        code.do("call void @llvm.x86.sse2.lfence()")
        return code.let("call i64 @llvm.readcyclecounter()")

    now = code.let("call i64 @llvm.readcyclecounter()")
    passed = code.let(f"sub i64 {now}, {code.get('i64', '%kept')}")
    with code.when(code.let(f"icmp ugt i64 {passed}, {_OFTEN}")):
        code.set("i64", "%kept", now)
        for register in (*sums, *operands):
            _do(code, "tileloadd64", f"i8 {register}, ptr %tile, i64 64")
        times = [products(), products()]  # the unit wakes up beside the first
        for register in operands:
            _do(code, "tilezero", f"i8 {register}")
        times.append(products())
        for register in sums:
            _do(code, "tilezero", f"i8 {register}")
        many, few = (code.let(f"sub i64 {end}, {begin}") for begin, end in pairwise(times))
        code.set("i64", code.element("i64", "%kept", "1"), code.let(f"zext i1 {_is_slower(code, many, few)} to i64"))
    return code


def _is_slower(code: Code, many: str, few: str) -> str:
    """Whether products took clearly longer with many registers in use than with few, an i1."""
    limit = code.let(f"udiv i64 {code.let(f'mul i64 {few}, {int(100 * _SLOWER)}')}, 100")
    return code.let(f"icmp ugt i64 {many}, {limit}")


def clear(code: Code, tiles: Tiles) -> None:
    """The sums are zero."""
    for register, _ in _sums(tiles):
        _do(code, "tilezero", f"i8 {register}")


def load(code: Code, tiles: Tiles, address: str, across: int) -> None:
    """The sums from memory, of which rows are `across` elements apart."""
    _move(code, "tileloadd64", tiles, address, across)


def store(code: Code, tiles: Tiles, address: str, across: int) -> None:
    """The sums to memory."""
    _move(code, "tilestored64", tiles, address, across)


def multiply(code: Code, tiles: Tiles, starts: tuple[str, str], apart: int, between: Between) -> None:
    """Six products of thirds are added to the sums.

    `starts` are the addresses of the thirds of each operand; those of its second tile are `apart` bytes further.
    """
    loaded: dict[int, _Third] = {}

    def fill(register: int, third: _Third, start: str) -> None:
        if loaded.get(register) != third:
            place = code.element("i8", start, str(third[0] * apart + third[1] * TILE))
            _do(code, "tileloadd64", f"i8 {register}, ptr {place}, i64 64")
            loaded[register] = third

    operands = [((_LEFT + left[0], left), (_RIGHT + right[0], right)) for left, right in _order(tiles)]
    for done, pair in enumerate(operands):
        for (register, third), start in zip(pair, starts, strict=True):
            fill(register, third, start)
        (left, (down, _)), (right, (across, _)) = pair
        _do(code, "tdpbf16ps", f"i8 {2 * down + across}, i8 {left}, i8 {right}")
        for register, third in pair:
            if _is_done(operands[done + 1 :], register, third):
                _do(code, "tilezero", f"i8 {register}")
        for when, write in between:
            if when == done:
                write()


def _order(tiles: Tiles) -> list[tuple[_Third, _Third]]:
    """The thirds that are multiplied, one pair after the other."""
    found = []
    for (left, right), after in zip(PRODUCTS, (*PRODUCTS[1:], PRODUCTS[-1]), strict=True):
        block = [(down, across) for down in range(tiles[0]) for across in range(tiles[1])]
        if left == after[0]:  # the registers of the right operand are free early for what comes next
            block.sort(key=lambda place: place[1])
        found += [((down, left), (across, right)) for down, across in block]
    return found


def _is_done(later: Sequence[Sequence[tuple[int, _Third]]], register: int, third: _Third) -> bool:
    """Whether what a register holds is multiplied no more."""
    return next((held != third for pair in later for number, held in pair if number == register), True)


def _move(code: Code, how: str, tiles: Tiles, address: str, across: int) -> None:
    for register, (row, column) in _sums(tiles):
        place = code.element("float", address, str(row * across + column))
        _do(code, how, f"i8 {register}, ptr {place}, i64 {4 * across}")


def _sums(tiles: Tiles) -> list[tuple[int, tuple[int, int]]]:
    """The registers of the sums, and the first row and column of each."""
    return [(2 * down + across, (SIDE * down, SIDE * across)) for down in range(tiles[0]) for across in range(tiles[1])]


def _do(code: Code, name: str, operands: str = "") -> None:
    kinds = ", ".join(operand.split()[0] for operand in operands.split(", ") if operand)
    code.declare(f"declare void @llvm.x86.{name}({kinds})")
    code.do(f"call void @llvm.x86.{name}({operands})")
