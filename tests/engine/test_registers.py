"""Tile registers of a matrix unit: whether there are enough for four sums at once, and sums of either form."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from chainrule.engine.code import Code
from chainrule.engine.kernels import registers
from chainrule.engine.native import Native
from chainrule.engine.target import runnable
from engine.unit_products import TARGETS, always_on_the_unit, exact, on_this_machine, product, run

pytestmark = pytest.mark.skipif("amx" not in runnable(), reason="this processor has no matrix unit")

TOLD = {
    "together": lambda code, address, kept: "true",
    "tile by tile": lambda code, address, kept: "false",
    "each thread another": lambda code, address, kept: code.let(f"trunc i64 {code.let('add i64 %thread, 1')} to i1"),
    "as it is": registers.spare,
}


def native(code: Code) -> Native:
    return Native("\n".join([*code.declarations, code.text()]), on_this_machine())


class Asked:
    """`registers.spare` alone, with memory that it may use."""

    def __init__(self) -> None:
        code = Code("asked", [("ptr", name) for name in ("settings", "tile", "kept", "answer")])
        registers.set_up(code, "%settings")
        answer = registers.spare(code, "%tile", "%kept")
        code.set("i64", "%answer", code.let(f"zext i1 {answer} to i64"))
        registers.release(code)
        self._made = native(code)
        self._room = np.zeros(256, np.int64)
        self._room = self._room[-(self._room.ctypes.data // 8) % 8 :][:248]
        self.settings, self.kept, self.answer, self.tile = np.split(self._room, [16, 32, 48])

    def __call__(self, when: int, slower: int) -> tuple[int, int, bool]:
        """When was asked last then, what was found, and whether registers are to spare."""
        self.kept[:] = -1
        self.kept[:2] = when, slower
        function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(self._made.address("asked"))
        function(*(part.ctypes.data for part in (self.settings, self.tile, self.kept, self.answer)))
        assert (self.kept[2:] == -1).all()
        return int(self.kept[0]), int(self.kept[1]), bool(self.answer[0])


@pytest.mark.parametrize("name", list(TARGETS))
@pytest.mark.parametrize("shape", [(70, 100, 65), (64, 1100, 96), (33, 64, 128)])
def test_sums_tile_by_tile_have_the_bits_of_sums_together(
    shape: tuple[int, int, int], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    always_on_the_unit(monkeypatch)
    found = []
    for spare in TOLD.values():
        monkeypatch.setattr(registers, "spare", spare)
        made = product(shape, TARGETS[name], kept=True, finished=True, claimed=True)
        wanted, size = exact(made)
        for threads in (1, 2, 3):
            found.append(run(made, threads, kept=True, finished=True))
            assert (np.abs(found[-1][0] - wanted) <= 2**-22 * size).all()
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_program_chooses_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both forms are in the code of a product whose answer is not known."""
    always_on_the_unit(monkeypatch)
    text = product((64, 64, 64), on_this_machine()).text
    assert text.count("tdpbf16ps(i8") - text.count("declare void @llvm.x86.tdpbf16ps") >= 3 * registers._ASKED + 24 + 6
    assert "call void @registers_to_spare" in text


def test_whether_registers_are_to_spare_is_asked_only_now_and_then() -> None:
    ask = Asked()
    asked, slower, spare = ask(0, 7)
    assert asked != 0
    assert slower in (0, 1)
    assert spare == (slower == 0)
    again, slower, _ = ask(2**62, 7)  # a time that the clock has not reached tells nothing
    assert 0 <= again - asked < 2**40
    assert slower in (0, 1)
    soon = []
    for _ in range(50):
        now, _, _ = ask(0, 7)
        soon += [ask(now, slower) == (now, slower, slower == 0) for slower in (0, 1)]
    assert sum(soon) > 80  # of 100: another program may come between


@pytest.mark.parametrize(("many", "few", "expected"), [(100, 100, 0), (90, 100, 0), (120, 100, 0), (130, 100, 1)])
def test_a_difference_counts_from_a_quarter_on(many: int, few: int, expected: int) -> None:
    code = Code("compared", [("ptr", "answer"), ("i64", "many"), ("i64", "few")])
    code.set("i64", "%answer", code.let(f"zext i1 {registers._is_slower(code, '%many', '%few')} to i64"))
    made, answer = native(code), np.zeros(1, np.int64)
    compared: Callable[..., None] = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(
        made.address("compared")
    )
    compared(answer.ctypes.data, many, few)
    assert answer[0] == expected
