"""Tile registers of a matrix unit: set up, cleared, filled, multiplied and stored.

Four of the eight hold the sums of a block of two by two tiles, two of them tiles of the left operand, two of the right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chainrule.engine.code import Code
from chainrule.engine.kernels.thirds import SIDE, TILE

PRODUCTS = ((0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0))  # of thirds: neighbours share one, the largest is the last

_LEFT, _RIGHT = 4, 6  # the first registers of the operands
_SETTINGS = (1, 0, *[0x0040_0040_0040_0040] * 2, 0, 0, 0x1010_1010_1010_1010, 0)  # eight tiles of 16 rows of 64 bytes

Tiles = tuple[int, int]  # how many tiles of rows and of columns a block has
Between = Sequence[tuple[int, Callable[[], None]]]  # what stands between products: after which, and what writes it


def set_up(code: Code, address: str) -> None:
    """The registers can be used; `address` is that of 64 bytes for their settings."""
    for number, word in enumerate(_SETTINGS):
        code.do(f"store i64 {word}, ptr {code.element('i64', address, str(number))}")
    _do(code, "ldtilecfg", f"ptr {address}")


def release(code: Code) -> None:
    """The registers are empty, so that the system need not save them."""
    _do(code, "tilerelease")


def clear(code: Code, tiles: Tiles) -> None:
    """The sums of a block are zero."""
    for register, _ in _sums(tiles):
        _do(code, "tilezero", f"i8 {register}")


def load(code: Code, tiles: Tiles, address: str, across: int) -> None:
    """The sums of a block from memory, of which rows are `across` elements apart."""
    _move(code, "tileloadd64", tiles, address, across)


def store(code: Code, tiles: Tiles, address: str, across: int) -> None:
    """The sums of a block to memory."""
    _move(code, "tilestored64", tiles, address, across)


def multiply(code: Code, tiles: Tiles, starts: tuple[str, str], apart: int, between: Between) -> None:
    """Six products of thirds are added to the sums of a block.

    `starts` are the addresses of the thirds of each operand; those of its second tile are `apart` bytes further.
    """
    loaded: dict[int, tuple[int, int]] = {}

    def fill(register: int, side: int, tile: int, third: int) -> None:
        if loaded.get(register) != (tile, third):
            place = code.element("i8", starts[side], str(tile * apart + third * TILE))
            _do(code, "tileloadd64", f"i8 {register}, ptr {place}, i64 64")
            loaded[register] = tile, third

    done = 0
    for (left, right), after in zip(PRODUCTS, (*PRODUCTS[1:], PRODUCTS[-1]), strict=True):
        block = [(down, across) for down in range(tiles[0]) for across in range(tiles[1])]
        if left == after[0]:  # the registers of the right operand are free early for what comes next
            block.sort(key=lambda place: place[1])
        for down, across in block:
            fill(_LEFT + down, 0, down, left)
            fill(_RIGHT + across, 1, across, right)
            _do(code, "tdpbf16ps", f"i8 {2 * down + across}, i8 {_LEFT + down}, i8 {_RIGHT + across}")
            for when, write in between:
                if when == done:
                    write()
            done += 1


def _move(code: Code, how: str, tiles: Tiles, address: str, across: int) -> None:
    for register, (row, column) in _sums(tiles):
        place = code.element("float", address, str(row * across + column))
        _do(code, how, f"i8 {register}, ptr {place}, i64 {4 * across}")


def _sums(tiles: Tiles) -> list[tuple[int, tuple[int, int]]]:
    """The registers of a block's sums, and the first row and column of each."""
    return [(2 * down + across, (SIDE * down, SIDE * across)) for down in range(tiles[0]) for across in range(tiles[1])]


def _do(code: Code, name: str, operands: str = "") -> None:
    kinds = ", ".join(operand.split()[0] for operand in operands.split(", ") if operand)
    code.declare(f"declare void @llvm.x86.{name}({kinds})")
    code.do(f"call void @llvm.x86.{name}({operands})")
