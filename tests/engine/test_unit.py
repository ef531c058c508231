"""Products on a matrix unit against float64: layouts, ragged sizes, depths in parts, threads, the ends of the range."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.kernels import unit
from chainrule.engine.kernels.plan import Product
from chainrule.engine.kernels.unit import Unit
from chainrule.engine.native import assembly
from chainrule.engine.program import Program
from chainrule.engine.target import Target, _detected, named, runnable
from chainrule.engine.trace import trace
from engine.products import UNTOUCHED, Compiled, Guarded, compiled

pytestmark = pytest.mark.skipif("amx" not in runnable(), reason="this processor has no matrix unit")

SMALL = (
    (17, 33, 18),
    (16, 32, 16),
    (48, 17, 33),
    (33, 70, 65),
    (2, 16, 2),
    (70, 64, 10),
    (31, 196, 128),
    (96, 40, 160),
)


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit is used for products of any size, also where vectors would be faster."""
    monkeypatch.setattr(unit, "_cycles", lambda left, right: 0)


def on_this_machine() -> Target:
    """The kind with a matrix unit, made for this machine."""
    here = _detected()
    return replace(named("amx"), triple=here.triple, cpu=here.cpu, features=here.features)


TARGETS = {
    "amx": on_this_machine(),
    "small caches": replace(on_this_machine(), second_cache=65536),  # operands are kept in parts
}


def operand(rng: np.random.Generator, shape: Sequence[int], turned: bool) -> Guarded:
    """Normal numbers, row after row or (`turned`) column after column, with gaps."""
    *batch, rows, columns = shape
    strides = [1, rows + 3] if turned else [columns + 5, 1]
    span = (rows + 3) * columns if turned else (columns + 5) * rows
    for length in reversed(batch):
        strides, span = [span, *strides], span * length
    found = Guarded(shape, strides, np.dtype(np.float32))
    found.view[...] = rng.standard_normal(shape)
    return found


def product(
    shape: tuple[int, int, int],
    target: Target,
    *,
    batch: tuple[int, ...] = (),
    turned: tuple[bool, bool] = (False, False),
    seed: int = 0,
    **how: bool,
) -> Compiled:
    """A compiled product of (rows, depth, columns), which is known to run on the unit."""
    rng, (rows, depth, columns) = np.random.default_rng(seed), shape
    left = operand(rng, (*batch, rows, depth), turned[0])
    made = compiled(left, operand(rng, (*batch, depth, columns), turned[1]), target, **how)
    assert Unit.of(Product.of(made.contraction), target)
    return made


def run(made: Compiled, threads: int, *, kept: bool, finished: bool) -> list[np.ndarray]:
    """What was written: the product, and the product plus the bias; nothing else was touched."""
    for array in (made.result, made.other):
        array.view[...] = UNTOUCHED
    made.run(threads)
    for array in (made.left, made.right, made.result, made.other):
        assert (array.guards() == UNTOUCHED).all()
    return [array.view.copy() for array, there in ((made.result, kept), (made.other, finished)) if there]


def exact(made: Compiled) -> tuple[np.ndarray, np.ndarray]:
    """The product in float64, and that of the absolute values, of which rounding is a fraction."""
    left, right = (array.view.astype(np.float64) for array in (made.left, made.right))
    return left @ right, np.abs(left) @ np.abs(right)


@pytest.mark.parametrize("name", list(TARGETS))
@pytest.mark.parametrize("turned", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("shape", SMALL)
@pytest.mark.parametrize(
    ("kept", "finished", "claimed"), [(True, False, False), (False, True, True), (True, True, False)]
)
def test_products_are_as_exact_as_float32_for_any_number_of_threads(
    shape: tuple[int, int, int], turned: tuple[bool, bool], name: str, kept: bool, finished: bool, claimed: bool
) -> None:
    made = product(shape, TARGETS[name], turned=turned, kept=kept, finished=finished, claimed=claimed)
    wanted, size = exact(made)
    found = [run(made, threads, kept=kept, finished=finished) for threads in (1, 2, 3)]
    if kept:
        assert (np.abs(found[0][0] - wanted) <= 2**-22 * size).all()
    if finished:  # a bias of up to 160 is added in float32
        np.testing.assert_allclose(found[0][-1], wanted + made.bias.view, rtol=0, atol=160 * 2**-23)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(64, 1100, 96), (300, 700, 40), (40, 600, 300)])
def test_a_depth_in_parts_and_a_batch(shape: tuple[int, int, int]) -> None:
    made = product(shape, TARGETS["small caches"], batch=(2,))
    assert Unit.of(Product.of(made.contraction), TARGETS["small caches"]).waits
    wanted, size = exact(made)
    one, two = (run(made, threads, kept=True, finished=False)[0] for threads in (1, 2))
    assert (np.abs(one - wanted) <= 2**-22 * size).all()
    np.testing.assert_array_equal(one, two)


def test_errors_are_no_larger_than_those_of_fused_multiplications() -> None:
    """On average and at worst, from the shortest depth on, against the vectors of the same processor."""
    vectors = replace(on_this_machine(), name="avx512", matrix=False)
    for depth in (16, 32, 100, 1000):
        worst, mean = [], []
        for target in (on_this_machine(), vectors):
            rng = np.random.default_rng(depth)
            left, right = operand(rng, (96, depth), False), operand(rng, (depth, 96), False)
            made = compiled(left, right, target)
            wanted, size = exact(made)
            error = np.abs(run(made, 1, kept=True, finished=False)[0] - wanted) / size
            worst.append(error.max())
            mean.append(error.mean())
        assert worst[0] <= worst[1], depth
        assert mean[0] <= mean[1], depth


def test_numbers_that_bfloat16_has_give_exact_products() -> None:
    made = product((40, 90, 50), on_this_machine())
    rng = np.random.default_rng(1)
    for array in (made.left, made.right):
        array.view[...] = rng.integers(-128, 128, array.view.shape)
    np.testing.assert_array_equal(run(made, 2, kept=True, finished=False)[0], exact(made)[0])


@pytest.mark.parametrize("name", list(TARGETS))
@pytest.mark.parametrize("turned", [(False, False), (True, True)])
@pytest.mark.parametrize("shape", [(70, 100, 65), (40, 1100, 96), (20, 33, 18)])
@pytest.mark.parametrize(("kept", "finished"), [(True, False), (False, True)])
def test_infinities_nan_and_the_largest_numbers_are_as_ieee_754_says(
    shape: tuple[int, int, int], turned: tuple[bool, bool], name: str, kept: bool, finished: bool
) -> None:
    made = product(shape, TARGETS[name], turned=turned, kept=kept, finished=finished)
    made.left.view[0, 0], made.left.view[3, 2] = np.inf, -np.inf
    made.right.view[shape[1] // 2, -1] = np.nan
    made.right.view[0, 1] = 0
    made.left.view[-1] *= np.float32(2.0**-64)
    made.left.view[-1, -1] = np.finfo("f").max  # it rounds to a third that is infinite
    found = run(made, 2, kept=kept, finished=finished)[0]
    with np.errstate(invalid="ignore", over="ignore"):
        sums, size = exact(made)
        wanted = sums.astype(np.float32)
    for what in (np.isnan, np.isposinf, np.isneginf):
        assert what(wanted).any()
        np.testing.assert_array_equal(what(found), what(wanted))
    finite = np.isfinite(wanted)
    expected = np.where(finite, sums, 0) + (made.bias.view if finished else 0)
    assert (np.abs(found - expected)[finite] <= (2**-22 * size + 160 * 2**-23)[finite]).all()


def test_small_numbers_lose_nothing_until_their_thirds_leave_the_normal_range() -> None:
    made = product((32, 64, 32), on_this_machine())
    made.left.view[...] *= np.float32(2.0**-100)
    wanted, size = exact(made)
    found = run(made, 1, kept=True, finished=False)[0]
    assert (np.abs(found - wanted) <= 2**-22 * size).all()
    made.left.view[...] *= np.float32(2.0**-40)  # below the normal range
    np.testing.assert_array_equal(run(made, 1, kept=True, finished=False)[0], 0)


def test_the_epilogue_of_an_optimizer_runs_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of Adam on the unit follow those on vectors."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((96, 200), np.float32), rng.standard_normal((96, 136), np.float32)
    first = (rng.standard_normal((200, 136)) / 14).astype(np.float32)

    def trained(target: Target) -> list[np.ndarray]:
        w = cr.Parameter(first)
        optimizer = cr.optim.Adam(0.01)

        def step(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
            loss = cr.mean((cr.tanh(x @ w) - y) ** 2)
            optimizer.update(cr.backpropagate(loss))
            return loss

        program = Program(trace(step, x, y), target)
        return [*(float(program(x, y)[0]) for _ in range(20)), np.asarray(w)]

    *losses, weights = trained(on_this_machine())
    *expected, others = trained(replace(on_this_machine(), name="avx512", matrix=False))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_allclose(weights, others, atol=1e-4)


def test_instructions_of_the_unit_are_there() -> None:
    text = assembly(product((64, 64, 64), on_this_machine(), run=False).text, on_this_machine())
    for instruction in ("ldtilecfg", "tdpbf16ps", "tilerelease"):
        assert re.search(rf"\b{instruction}\b", text)
