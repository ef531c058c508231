"""How products are planned for a matrix unit, and who may use one: on any machine, without running code for it."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import replace

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import native, target
from chainrule.engine.kernels.plan import Matrix, Product
from chainrule.engine.kernels.thirds import Lines
from chainrule.engine.kernels.unit import Unit
from chainrule.engine.program import Program
from chainrule.engine.target import _detected, named, require_runnable
from chainrule.engine.trace import trace

AMX = named("amx")


def product(rows: int, depth: int, columns: int, dtype: str = "float32", beside: int = 0) -> Product:
    """A product of two matrices that lie row after row."""
    left, right = Matrix(0, (), depth, 1), Matrix(0, (), columns, 1)
    return Product(np.dtype(dtype), (), rows, columns, depth, left, right, False, beside)


def test_large_products_of_float32_go_to_the_unit_and_others_do_not() -> None:
    assert Unit.of(product(256, 256, 256), AMX)
    assert not Unit.of(product(256, 256, 256), named("avx512"))
    assert not Unit.of(product(256, 256, 256, "float64"), AMX)
    assert not Unit.of(product(256, 31, 256), AMX)  # its errors would be larger
    assert not Unit.of(product(1, 256, 256), AMX)
    assert not Unit.of(product(64, 128, 10), AMX)  # as quick by vectors
    apart = replace(product(256, 256, 256), right=Matrix(0, (), 512, 2))
    assert not Unit.of(apart, AMX)  # no vector can be read


def test_the_operand_with_more_lines_is_streamed_unless_an_optimizer_follows() -> None:
    for rows, columns, by_rows in ((512, 64, True), (64, 512, False)):
        plan = Unit.of(product(rows, 256, columns), AMX)
        assert plan
        assert plan.by_rows == by_rows
        assert plan.streamed.count == 512
        assert plan.resident.count == 64
    plan = Unit.of(product(256, 128, 512, beside=2**21), AMX)
    assert plan
    assert plan.by_rows


def test_a_deep_product_is_taken_in_parts_that_fit_the_caches() -> None:
    plan = Unit.of(product(512, 2048, 2048), AMX)
    assert plan
    assert plan.waits
    assert plan.steps == 16
    assert plan.chunk * plan.piece_bytes <= AMX.second_cache
    assert sum(plan.sizes(kept=False)) < 4 * AMX.second_cache
    tall = Unit.of(product(2**20, 64, 64), AMX)
    assert tall
    assert sum(tall.sizes(kept=True)) < AMX.second_cache  # it does not grow with the rows


def test_lines_are_cut_into_pieces_of_two_tiles() -> None:
    assert [Lines(count, 64, 64, 1, True).tiles for count in (16, 32, 40, 64)] == [1, 2, 3, 4]
    assert [Lines(count, 64, 64, 1, True).pieces for count in (16, 32, 40, 64)] == [1, 1, 2, 2]


def test_tile_registers_are_used_only_where_linux_allows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class System:
        def syscall(self, *numbers: int) -> int:
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: System())
    assert not target._tiles_allowed()
    monkeypatch.setattr(target, "_names", lambda: ("amx", AMX.triple, AMX.cpu, AMX.features))
    found = target._detected.__wrapped__()
    assert (found.name, found.matrix, found.parts) == ("avx512", False, 4)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", None)  # would not be callable
    assert not target._tiles_allowed()


def test_code_with_tile_registers_is_refused_where_they_may_not_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    own = replace(_detected(), name="avx512", matrix=False)
    monkeypatch.setattr(target, "_detected", lambda: own)
    require_runnable(own)
    with pytest.raises(cr.ArgumentError, match="code for amx cannot run on this machine"):
        require_runnable(replace(own, name="amx", matrix=True))


def test_a_module_of_any_length_gives_the_same_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long ones are compiled without a pass of LLVM, and the next one has it again."""
    x = np.random.default_rng(0).standard_normal((50, 70)).astype("f")

    def f(x: cr.Tensor) -> cr.Tensor:
        return cr.softmax(cr.tanh(x @ x.T) * 2, axis=1)

    found = []
    for longest in (0, 10**9):
        monkeypatch.setattr(native, "_LONG", longest)
        monkeypatch.setattr(native, "_known", lambda key, target: None)
        found.append(Program(trace(f, x))(x)[0])
    np.testing.assert_array_equal(*found)
