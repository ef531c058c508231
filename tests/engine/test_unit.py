"""Products on a matrix unit against float64: layouts, ragged sizes, depths in parts, threads, the ends of the range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.kernel import Contraction
from chainrule.engine.kernels import registers
from chainrule.engine.kernels.plan import Product
from chainrule.engine.kernels.unit import Unit
from chainrule.engine.native import assembly
from chainrule.engine.program import Program
from chainrule.engine.target import Target, runnable
from chainrule.engine.trace import trace
from engine.products import compiled
from engine.unit_products import TARGETS, always_on_the_unit, exact, on_this_machine, operand, product, run

pytestmark = pytest.mark.skipif("amx" not in runnable(), reason="this processor has no matrix unit")

SMALL = (
    (17, 33, 18),
    (16, 32, 16),
    (48, 32, 33),
    (33, 70, 65),
    (2, 32, 2),
    (70, 64, 10),
    (31, 196, 128),
    (96, 40, 160),
)


@pytest.fixture(autouse=True, params=["together", "tile by tile"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums of two by two tiles are formed together, or one after the other: a program chooses while it runs."""
    answer = str(request.param == "together").lower()
    always_on_the_unit(monkeypatch)
    monkeypatch.setattr(registers, "spare", lambda code, address, kept: answer)


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


@pytest.mark.parametrize(("kept", "finished"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("columns", [528, 530])
def test_the_last_chunk_of_columns_is_completed_once_though_it_has_fewer(
    columns: int, kept: bool, finished: bool
) -> None:
    target = replace(on_this_machine(), second_cache=2**17)
    made = product((560, 64, columns), target, kept=kept, finished=finished)
    plan = Unit.of(Product.of(made.contraction), target)
    assert plan
    assert plan.by_rows
    assert plan.resident.pieces % plan.chunk not in (0, plan.chunk - 1)
    wanted, size = exact(made)
    for threads in (1, 2):
        found = run(made, threads, kept=kept, finished=finished)
        if kept:
            assert (np.abs(found[0] - wanted) <= 2**-21 * size).all()
        if finished:
            np.testing.assert_allclose(found[-1], wanted + made.bias.view, rtol=0, atol=530 * 2**-22)


@pytest.mark.parametrize("shape", [(64, 1100, 96), (300, 700, 40), (40, 600, 300)])
def test_a_depth_in_parts_and_a_batch(shape: tuple[int, int, int]) -> None:
    made = product(shape, TARGETS["small caches"], batch=(2,))
    assert Unit.of(Product.of(made.contraction), TARGETS["small caches"]).waits
    wanted, size = exact(made)
    one, two = (run(made, threads, kept=True, finished=False)[0] for threads in (1, 2))
    assert (np.abs(one - wanted) <= 2**-22 * size).all()
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("depth", [32, 100, 1000, 4000])
@pytest.mark.parametrize("numbers", ["normal", "uniform", "log-normal"])
def test_errors_are_smaller_than_those_of_fused_multiplications(numbers: str, depth: int) -> None:
    """At worst and on average, against the vectors of the same processor."""
    vectors = replace(on_this_machine(), name="avx512", matrix=False)
    worst, mean = [], []
    for target in (on_this_machine(), vectors):
        rng = np.random.default_rng(depth)
        left, right = operand(rng, (96, depth), False), operand(rng, (depth, 96), False)
        for array in (left, right):
            if numbers == "uniform":
                array.view[...] = rng.random(array.view.shape)
            elif numbers == "log-normal":
                array.view[...] = np.exp(3 * rng.standard_normal(array.view.shape))
        made = compiled(left, right, target)
        wanted, size = exact(made)
        error = np.abs(run(made, 1, kept=True, finished=False)[0] - wanted) / size
        worst.append(error.max())
        mean.append(error.mean())
    assert worst[0] < worst[1]
    assert mean[0] < 0.9 * mean[1]


@pytest.mark.parametrize("turned", [(False, False), (True, True)])
@pytest.mark.parametrize("exchanged", [False, True])
def test_all_bits_of_a_number_arrive(exchanged: bool, turned: tuple[bool, bool]) -> None:
    """Each sum is one number of 24 bits times a power of two: no third may be lost or take another's place."""
    made = product((50, 50, 50), on_this_machine(), turned=turned)
    rng = np.random.default_rng(1)
    long, powers = (made.right, made.left) if exchanged else (made.left, made.right)
    long.view[...] = rng.integers(2**23, 2**24, long.view.shape) * rng.choice([-1, 1], long.view.shape)
    powers.view[...] = np.eye(50)[rng.permutation(50)] * 2.0 ** rng.integers(-40, 40, 50)
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
    found, other = (run(made, threads, kept=kept, finished=finished)[0] for threads in (1, 3))
    assert found.tobytes() == other.tobytes()
    with np.errstate(invalid="ignore", over="ignore"):
        sums, size = exact(made)
        wanted = sums.astype(np.float32)
    for what in (np.isnan, np.isposinf, np.isneginf):
        assert what(wanted).any()
        np.testing.assert_array_equal(what(found), what(wanted))
    finite = np.isfinite(wanted)
    expected = np.where(finite, sums, 0) + (made.bias.view if finished else 0)
    limit = 2**-21 * size + 160 * 2**-23  # sums that are formed anew by vectors are rounded more often
    assert (np.abs(found - expected) <= limit)[finite].all()


X = np.float32(1.999 * 2.0**63)  # its first third is rounded up


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([X], [2.0**64]),
        ([X], [X]),
        ([X, X], [2.0**64, -(2.0**64)]),
        ([X, *[0] * 15, X], [2.0**64, *[0] * 15, -(2.0**64)]),
    ],
)
@pytest.mark.parametrize("name", list(TARGETS))
def test_products_of_thirds_that_leave_the_range_are_no_overflow(
    left: list[float], right: list[float], name: str
) -> None:
    made = product((32, 700, 32), TARGETS[name])
    for array in (made.left, made.right):
        array.view[...] = 0
    made.left.view[3, : len(left)], made.right.view[: len(right), 5] = left, right
    np.testing.assert_allclose(run(made, 1, kept=True, finished=False)[0], exact(made)[0], rtol=1e-7)


def test_small_numbers_are_off_by_so_much_at_most() -> None:
    """The bound that the documentation names, for terms of any two sizes."""
    made = product((32, 64, 32), on_this_machine())
    for low, high in ((-149, -126), (-126, -102), (-110, -90)):
        for partner in (-20, 0, 60, 120):
            rng = np.random.default_rng(0)
            small = rng.choice([-1, 1], made.left.view.shape) * 2.0 ** rng.uniform(low, high, made.left.view.shape)
            made.left.view[...] = small.astype(np.float32)
            made.right.view[...] = rng.uniform(1, 2, made.right.view.shape) * 2.0**partner
            wanted, size = exact(made)
            each = 2.0**-126 * np.maximum(1, np.abs(made.right.view.astype(np.float64))).sum(axis=0)
            found = run(made, 1, kept=True, finished=False)[0]
            assert (np.abs(found - wanted) <= 2**-22 * size + 2 * each).all(), (low, partner)


@pytest.mark.parametrize("batch", [(3,), (2, 2)])
@pytest.mark.parametrize("is_shared", [False, True])
def test_a_batch_of_which_an_operand_may_be_shared(batch: tuple[int, ...], is_shared: bool) -> None:
    rng = np.random.default_rng(0)
    for rows, columns in ((70, 40), (40, 70)):
        left = operand(rng, (*batch, rows, 50), False)
        right = operand(rng, (*[1] * len(batch), 50, columns) if is_shared else (*batch, 50, columns), True)
        made = compiled(left, right, TARGETS["amx"], finished=True, claimed=True)
        made.left.view[..., 5, 7] = np.inf
        results = [run(made, threads, kept=True, finished=True) for threads in (1, 2, 5)]
        with np.errstate(invalid="ignore"):
            wanted, size = exact(made)
        finite = np.isfinite(wanted)
        assert not finite.all()
        np.testing.assert_array_equal(np.isnan(results[0][0]), np.isnan(wanted))
        limit = 2**-21 * size  # sums that are formed anew by vectors are rounded more often
        assert (np.abs(results[0][0] - np.where(finite, wanted, 0)) <= limit)[finite].all()
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", list(TARGETS))
def test_threads_that_claim_at_the_same_time_have_the_same_bits(name: str) -> None:
    rng = np.random.default_rng(0)
    x, w, v = (rng.standard_normal(shape, np.float32) for shape in ((200, 300), (300, 260), (260, 200)))
    program = Program(trace(lambda x, w, v: cr.tanh(x @ w) @ v, x, w, v), TARGETS[name])
    assert any(call.turn.claimed for call in program.module.calls)
    found = []
    for threads in (1, 2, 3, 5):
        cr.threads(threads)
        found += [program(x, w, v)[0].tobytes() for _ in range(20)]
    cr.threads(2)
    assert len(set(found)) == 1


@pytest.mark.parametrize("name", list(TARGETS))
def test_an_optimizer_runs_beside(name: str) -> None:
    """Steps of Adam on the unit follow those on vectors; with small caches its moments are asked for ahead."""
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
        assert ("tdpbf16ps" in assembly(program.module.text, target)) == target.matrix
        products = [Product.of(kernel) for kernel in program.kernels if isinstance(kernel, Contraction)]
        far = [unit.far for each in products if (unit := Unit.of(each, target))]
        assert any(far) == (target.matrix and name == "small caches")
        return [*(float(program(x, y)[0]) for _ in range(20)), np.asarray(w)]

    *losses, weights = trained(TARGETS[name])
    *expected, others = trained(replace(on_this_machine(), name="avx512", matrix=False))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_allclose(weights, others, atol=1e-4)
