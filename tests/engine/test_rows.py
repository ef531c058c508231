"""Rows that a matrix unit reads where they lie in the data: the same bits as of a batch that was gathered before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.kernels import unit
from chainrule.engine.program import Program
from chainrule.engine.recipe import Recipe
from chainrule.engine.run import Run
from chainrule.engine.target import Target, named, runnable
from chainrule.engine.trace import trace
from engine.guarded import loop_guarded

pytestmark = pytest.mark.skipif("amx" not in runnable(), reason="this processor has no matrix unit")

SIZES = [(33, 70, 40), (64, 96, 128), (48, 200, 65), (64, 784, 128)]  # of batch, features and outputs


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The unit is used for products of any size; as many threads afterwards as before."""
    monkeypatch.setattr(unit, "_cycles", lambda left, right: 0)
    before = cr.threads()
    yield
    cr.threads(before)


def amx() -> Target:
    return named("amx")


def rows_in_place(program: Program) -> tuple[int, ...]:
    return Recipe.of(program.module, program.traced).in_place


def learner(batch: int, features: int, outputs: int) -> tuple[Program, Callable[[], list[np.ndarray]]]:
    """A step of Adam, and what it has learnt."""
    rng = np.random.default_rng(1)
    weight = cr.Parameter((rng.standard_normal((features, outputs)) / features**0.5).astype("f"))
    bias = cr.Parameter(np.zeros(outputs, "f"))
    optimizer = cr.optim.Adam(0.01)

    def step(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
        loss = cr.mean((cr.tanh(x @ weight + bias)[:, 0] - y) ** 2)
        optimizer.update(cr.backpropagate(loss))
        return loss

    program = Program(trace(step, np.zeros((batch, features), "f"), np.zeros(batch, "f")), amx())
    return program, lambda: [np.asarray(weight).copy(), np.asarray(bias).copy()]


def data(features: int, rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.standard_normal((rows, features), np.float32), rng.standard_normal(rows, np.float32)


def order(steps: int, batch: int, rows: int = 200) -> np.ndarray:
    return np.random.default_rng(3).integers(0, rows, (steps, batch))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_a_loop_has_the_bits_of_steps_on_batches(size: tuple[int, int, int], threads: int) -> None:
    batch, features, _ = size
    (x, y), rows = data(features), order(9, batch)
    program, learnt = learner(*size)
    expected = [program(np.ascontiguousarray(x[chosen]), y[chosen])[0].tobytes() for chosen in rows], learnt()
    cr.threads(threads)
    program, learnt = learner(*size)
    assert rows_in_place(program) == (0,)
    losses = program.loop([x, y], rows[:5])[0].tolist()
    losses += [program(x[chosen], y[chosen])[0].item() for chosen in rows[5:7]]  # rows in their order again
    losses += program.loop([x, y], rows[7:])[0].tolist()
    assert [np.float32(loss).tobytes() for loss in losses] == expected[0]
    for found, wanted in zip(learnt(), expected[1], strict=True):
        assert found.tobytes() == wanted.tobytes()
    assert set(program.ready().batches) == {1}, "only the targets are gathered"


@pytest.mark.parametrize("kind", ["float64", "uint8", "float16"])
def test_rows_of_another_type_are_gathered_and_converted(kind: str) -> None:
    (_, y), rows = data(70), order(5, 33)
    x = np.random.default_rng(4).integers(0, 200, (200, 70)).astype(kind)
    program, learnt = learner(33, 70, 40)
    expected = [program(x[chosen].astype("f"), y[chosen])[0].item() for chosen in rows], learnt()
    program, learnt = learner(33, 70, 40)
    assert program.loop([x, y], rows)[0].tolist() == expected[0]
    for found, wanted in zip(learnt(), expected[1], strict=True):
        assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_not_finite_is_in_the_sums_of_its_own_row(turned: bool) -> None:
    """Those sums are formed anew by vectors, which find the rows by their numbers too."""
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal((90, 70), np.float32), rng.standard_normal((70, 50), np.float32)
    x[3, 4], x[7, 69], x[70, 0] = np.nan, np.inf, -np.inf
    d = rng.standard_normal((40, 50), np.float32)
    product = (lambda x: x.T @ cr.asarray(d)) if turned else (lambda x: x @ cr.asarray(w))
    program = Program(trace(product, x[:40]), amx())
    assert rows_in_place(program) == (0,)
    rows = order(6, 40, 90)
    for chosen, found in zip(rows, program.loop([x], rows)[0], strict=True):
        given = x[chosen].astype(np.float64)
        with np.errstate(invalid="ignore"):
            exact = given.T @ d if turned else given @ w
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("size", SIZES[:3])
def test_a_loop_stays_inside_its_memory(size: tuple[int, int, int], at_end: bool) -> None:
    batch, features, _ = size
    (x, y), rows = data(features), order(4, batch)
    program, _ = learner(*size)
    (expected,) = program.loop([x, y], rows)
    program, _ = learner(*size)
    np.testing.assert_array_equal(loop_guarded(program, [x, y], rows, at_end=at_end)[0], expected)


def test_parts_of_rows_and_axes_between() -> None:
    rng = np.random.default_rng(6)
    x, w, each = (rng.standard_normal(s, np.float32) for s in ((90, 6, 40), (40, 50), (6, 40, 50)))
    batch, rows = x[:36], order(3, 36, 90)

    def step(x: cr.Tensor) -> tuple[cr.Tensor, ...]:
        return x[:, 2] @ cr.asarray(w), x.transpose(1, 0, 2) @ cr.asarray(each)

    program = Program(trace(step, batch), amx())
    assert rows_in_place(program) == (0,)
    one, six = program.loop([x], rows)
    np.testing.assert_allclose(one, x[rows][:, :, 2] @ w, rtol=0, atol=1e-4)
    np.testing.assert_allclose(six, x[rows].transpose(0, 2, 1, 3) @ each, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "step",
    [
        lambda x, w: (x @ w, x * 2),  # the rows are read in their order too
        lambda x, w: (x @ w, x),
        lambda x, w: (x @ w, cr.sum(x)),
        lambda x, w: cr.reshape(x, (80, 35)) @ w[:35],  # two rows of the product are one of the argument
        lambda x, w: cr.reshape(x, (20, 140)) @ cr.concat([w, w]),
        lambda x, w: x[::2] @ w,
        lambda x, w: x[1:] @ w,
        lambda x, w: w.T @ x.T,  # on the right
        lambda x, w: x[:, ::2] @ w[::2],  # no whole vectors
    ],
)
def test_other_uses_of_an_argument_have_it_gathered(step: Callable[..., object]) -> None:
    rng = np.random.default_rng(7)
    x, w = rng.standard_normal((90, 70), np.float32), rng.standard_normal((70, 50), np.float32)
    program = Program(trace(lambda x: step(x, cr.asarray(w)), x[:40]), amx())
    assert rows_in_place(program) == ()
    rows = order(3, 40, 90)
    found = program.loop([x], rows)
    for number, chosen in enumerate(rows):
        for result, expected in zip(found, program(x[chosen]), strict=True):
            np.testing.assert_array_equal(result[number], expected)


def test_without_a_matrix_unit_everything_is_gathered() -> None:
    rng = np.random.default_rng(8)
    x, w = rng.standard_normal((64, 96), np.float32), rng.standard_normal((96, 128), np.float32)
    assert rows_in_place(Program(trace(lambda x: x @ cr.asarray(w), x), named("avx512"))) == ()


@pytest.mark.parametrize(("one_needs_a_batch", "other_needs_a_batch"), [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_variant_may_read_the_same_rows_or_a_batch(
    threads: int, one_needs_a_batch: bool, other_needs_a_batch: bool
) -> None:
    cr.threads(threads)
    rng = np.random.default_rng(9)
    x, first = rng.standard_normal((90, 70), np.float32), rng.standard_normal((70, 50)).astype("f")
    rows, at = order(8, 40, 90), np.arange(8) % 3 == 1

    def made() -> tuple[Program, Program, cr.State]:
        weight = cr.State(first.copy(), "weight")

        def step(x: cr.Tensor) -> cr.Tensor:
            answer = cr.tanh(x @ weight)
            weight.assign(weight + 0.01 * (x.T @ answer))
            return cr.mean(answer)

        def plain(x: cr.Tensor) -> cr.Tensor:
            return step(x * 0.9 if one_needs_a_batch else x)

        def looking(x: cr.Tensor) -> tuple[cr.Tensor, cr.Tensor]:
            return plain(x) if other_needs_a_batch else step(x), cr.max(x if other_needs_a_batch else weight)

        return *(Program(trace(each, x[:40]), amx()) for each in (plain, looking)), weight

    plain, looking, weight = made()
    wanted = [(looking if is_due else plain)(x[chosen]) for chosen, is_due in zip(rows, at, strict=True)]
    expected = np.asarray(weight).copy()
    plain, looking, weight = made()
    in_place = [() if needs else (0,) for needs in (one_needs_a_batch, other_needs_a_batch)]
    assert [rows_in_place(program) for program in (plain, looking)] == in_place
    means, most = plain.loop([x], rows, variant=looking, at=at)
    np.testing.assert_array_equal(means, [each[0] for each in wanted])
    np.testing.assert_array_equal(most, [each[1] for each, is_due in zip(wanted, at, strict=True) if is_due])
    assert np.asarray(weight).tobytes() == expected.tobytes()


def test_an_interrupt_leaves_no_row_numbers_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for the next step nor for a loop that gathers: the numbers of the loop that was interrupted are gone."""
    (x, _), batch = data(70), 33
    w = np.random.default_rng(10).standard_normal((70, 40), np.float32)
    program = Program(trace(lambda x: x @ cr.asarray(w), x[:batch]), amx())
    (expected,) = program(x[:batch])
    rows = order(4, batch)
    launch = Run.launch

    def interrupted(self: Run, *arguments: Any, **named: Any) -> None:
        launch(self, *arguments, **named)
        raise KeyboardInterrupt

    for after in ("step", "loop"):
        with monkeypatch.context() as patch:
            patch.setattr(Run, "launch", interrupted)
            numbers = rows.copy()
            with pytest.raises(KeyboardInterrupt):
                program.loop([x], numbers)
            numbers[:] = 2**40  # what comes to be in their place
        if after == "step":
            np.testing.assert_array_equal(program(x[:batch])[0], expected)
        else:
            gathered = program.loop([x.astype(np.float64)], rows)[0]
            np.testing.assert_array_equal(gathered, program.loop([x], rows)[0])
