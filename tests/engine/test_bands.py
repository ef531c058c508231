"""Bands: kernels along the same rows, block by block of rows, with the bits that they have one after the other."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine import bands
from chainrule.engine.memory import ARENA
from chainrule.engine.program import Program
from chainrule.engine.target import Target, host
from chainrule.engine.trace import trace
from engine.fuzzing import search
from engine.guarded import run_guarded

NEAR, FAR = replace(host(), first_cache=4096), replace(host(), first_cache=2**40)  # with the latter there are no bands


@pytest.fixture(autouse=True)
def only_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bands that are there for threads to share only."""
    monkeypatch.setattr(bands, "SMALL", math.inf)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few blocks are enough, however small."""
    monkeypatch.setattr(bands, "_LEAST", 2)
    monkeypatch.setattr(bands, "_SMALLEST", 64)


def blocks(program: Program) -> list[int]:
    """In how many blocks the turns with several kernels are run."""
    program.schedule.verify(program.plan)
    program.plan.verify(program.kernels)
    assert all(bool(turn.blocks) == (len(turn.kernels) > 1) for turn in program.schedule.turns)
    return [turn.blocks for turn in program.schedule.turns if turn.blocks]


def compiled(f: Callable[..., object], arrays: list[np.ndarray], target: Target) -> Program:
    return Program(trace(f, *arrays), target)


def softmax(x: cr.Tensor) -> cr.Tensor:
    return nn.Softmax()(x)


def normalised(x: cr.Tensor) -> cr.Tensor:
    return nn.LayerNorm(x.shape[-1])(x)


def gradient_of(f: Callable[[cr.Tensor], cr.Tensor]) -> Callable[[cr.Tensor], cr.Tensor]:
    return lambda x: cr.grad(lambda x: cr.sum(f(x) * cr.sin(x)))(x)


def entropy(x: cr.Tensor) -> cr.Tensor:
    return cr.grad(lambda x: cr.losses.cross_entropy(x, cr.argmax(x, axis=1)))(x)


CASES = {
    "softmax": softmax,
    "layer norm": normalised,
    "gradient of softmax": gradient_of(softmax),
    "gradient of layer norm": gradient_of(normalised),
}


@pytest.mark.parametrize("shape", [(96, 64), (4, 6, 16, 40), (2000, 30), (48, 1000), (32, 1, 5, 33)], ids=str)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_are_those_of_one_kernel_after_the_other(
    name: str, shape: tuple[int, ...], dtype: str, small: None
) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    near, far = (compiled(CASES[name], [x], target) for target in (NEAR, FAR))
    assert blocks(near)
    assert not blocks(far)
    (expected,) = far(x)
    np.testing.assert_allclose(expected, CASES[name](cr.asarray(x)), rtol=1e-4, atol=1e-5)
    for threads, at_end in ((1, True), (2, False), (3, True)):
        (found,) = run_guarded(near, [x], threads=threads, at_end=at_end)
        assert found.tobytes() == expected.tobytes()


def test_a_softmax_is_one_band_whose_exponentials_never_leave_it() -> None:
    x = np.zeros((512, 64), "f")
    program = compiled(softmax, [x], NEAR)
    (turn,) = program.schedule.turns
    assert [type(kernel).__name__ for kernel in turn.kernels] == ["Reduction", "Loop", "Reduction", "Loop"]
    assert not any(turn.waits for turn in program.schedule.turns)
    assert {home.slot for home, _ in turn.inside} == {ARENA}
    assert sum(size for _, size in turn.inside) >= x.nbytes
    assert program.module.scratch < x.nbytes  # a block of them for each thread


def test_the_loss_of_many_rows_is_a_band() -> None:
    x = np.random.default_rng(1).standard_normal((4096, 32)).astype("f")
    near, far = (compiled(entropy, [x], target) for target in (NEAR, FAR))
    assert blocks(near)
    np.testing.assert_array_equal(near(x)[0], far(x)[0])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: cr.sum(x, axis=0) + x,  # a column needs all rows
        lambda x: cr.exp(x).T - cr.max(x, axis=1),  # rows that meet columns
        lambda x: cr.exp(x)[::-1] - cr.max(x, axis=1)[:, None],  # rows in another order
        lambda x: cr.concat([cr.exp(x)[64:], cr.exp(x)[:64]]) * cr.sum(x, axis=1)[:, None],  # rows of another block
        lambda x: cr.cumulative_sum(cr.exp(x), axis=0) / cr.sum(x, axis=1)[:, None],  # rows one after the other
        lambda x: cr.take(cr.exp(x), cr.argsort(x[:, 0]), axis=0) + cr.sum(x, axis=1)[:, None],  # rows by numbers
    ],
    ids=["across", "transposed", "reversed", "moved", "running", "gathered"],
)
def test_what_needs_other_rows_waits_for_all_of_them(f: Callable[[cr.Tensor], cr.Tensor], small: None) -> None:
    x = np.random.default_rng(2).standard_normal((128, 128)).astype("f")
    near, far = (compiled(f, [x], target) for target in (NEAR, FAR))
    near.schedule.verify(near.plan)
    np.testing.assert_array_equal(run_guarded(near, [x], threads=3, at_end=True)[0], far(x)[0])


def test_rows_that_make_no_equal_blocks_are_no_band() -> None:
    assert not blocks(compiled(softmax, [np.zeros((509, 64), "f")], NEAR))


def test_a_training_step_with_bands_learns_the_same_bits(small: None) -> None:
    x = np.random.default_rng(3).standard_normal((256, 48)).astype("f")

    def trained(target: Target) -> list[np.ndarray]:
        cr.random.seed(0)
        net = nn.Sequential(nn.Dense(48, 96), nn.LayerNorm(96), nn.GELU(), nn.Dropout(0.3), nn.Dense(96, 8))
        optimizer = cr.optim.Adam(0.01)

        def step(x: cr.Tensor) -> cr.Tensor:
            loss = cr.losses.cross_entropy(net(x), cr.argmax(x[:, :8], axis=1))
            optimizer.update(cr.backpropagate(loss))
            return loss

        program = Program(trace(step, x), target)
        assert bool(blocks(program)) == (target is NEAR)
        return [*(program(x)[0] for _ in range(5)), *(np.asarray(p) for p in net.parameters())]

    for near, far in zip(trained(NEAR), trained(FAR), strict=True):
        np.testing.assert_array_equal(near, far)


def random_rows(seed: int) -> tuple[Callable[..., object], list[np.ndarray]]:
    """A program of values of some rows: made of each other, reduced, spread out, taken across, turned and moved."""
    rng = np.random.default_rng(seed)
    rows, columns = int(rng.choice([32, 48, 60, 64])), int(rng.choice([1, 7, 16, 48, 64]))
    picks = rng.integers(0, 2**31, (12, 3)).tolist()
    arrays = [rng.standard_normal((rows, columns)).astype(rng.choice(["f", "d"])) for _ in range(2)]

    def program(*inputs: cr.Tensor) -> tuple[cr.Tensor, ...]:
        values = list(inputs)
        for kind, one, two in picks:
            a, b = values[one % len(values)], values[two % len(values)]
            values.append(
                [
                    lambda a, b: cr.exp(-cr.abs(a)) + b,
                    lambda a, b: a * b,
                    lambda a, b: a - cr.max(b, axis=1, keepdims=True),
                    lambda a, b: a / (1 + cr.sum(b * b, axis=1, keepdims=True)),
                    lambda a, b: cr.where(a > cr.mean(a, axis=1, keepdims=True), a, b),
                    lambda a, b: a + cr.sum(b, axis=0, keepdims=True),
                    lambda a, b: a - b[::-1],
                    lambda a, b: cr.concat([b[rows // 2 :], a[: rows // 2]]),
                ][kind % 8](a, b)
            )
        return values[-1], cr.sum(values[-2], axis=1), values[-4]

    return program, arrays


@pytest.mark.parametrize("part", range(4))
def test_random_programs_have_the_same_bits(part: int, small: None) -> None:
    several = 0
    for number in range(25):
        f, arrays = random_rows(25 * part + number)
        near, far = (compiled(f, arrays, target) for target in (NEAR, FAR))
        several += bool(blocks(near))
        expected = far(*arrays)
        for threads, at_end in ((1, True), (3, False)):
            for found, wanted in zip(run_guarded(near, arrays, threads=threads, at_end=at_end), expected, strict=True):
                assert found.tobytes() == wanted.tobytes(), number
    assert several >= 12


@pytest.mark.parametrize("part", range(2))
def test_random_graphs_agree_with_the_reference(part: int, small: None) -> None:
    search(40, 100 + part, target=NEAR)
