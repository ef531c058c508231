"""Bands that threads share: products and what is between them, each thread with rows of its own, no other bits."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine import bands, schedule
from chainrule.engine.kernel import Contraction, Loop, Reduction
from chainrule.engine.kernels import contraction
from chainrule.engine.program import Program
from chainrule.engine.schedule import Turn
from chainrule.engine.target import named, runnable
from chainrule.engine.trace import trace
from engine.fuzzing import search
from engine.guarded import run_guarded

RUNNABLE = pytest.mark.parametrize("target", runnable())


def bands_from(smallest: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads share what they can, and bands of so much work."""
    monkeypatch.setattr(bands, "SMALL", smallest)
    monkeypatch.setattr(contraction, "_SHORTEST", 2)
    monkeypatch.setattr(
        schedule,
        "done_alone",
        lambda kernels, target: [not isinstance(kernel, Loop | Reduction | Contraction) for kernel in kernels],
    )


@pytest.fixture(autouse=True)
def as_many_threads_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CHAINRULE_CACHE", "off")  # which does not know what else is changed here
    before = cr.threads()
    yield
    cr.threads(before)


def shared(program: Program) -> list[Turn]:
    """The bands that threads share, in a schedule that is right."""
    program.schedule.verify(program.plan)
    program.plan.verify(program.kernels)
    return [turn for turn in program.schedule.turns if turn.is_shared]


def network(layers: list[nn.Module], kind: str) -> nn.Sequential:
    """With parameters of a data type."""
    for layer in layers:
        for name in ("weight", "bias") if layer.parameters() else ():
            setattr(layer, name, cr.Parameter(np.asarray(getattr(layer, name)).astype(kind)))
    return nn.Sequential(*layers)


NETWORKS: dict[str, tuple[int, str, Callable[[], list[nn.Module]]]] = {
    "one hidden layer": (64, "f", lambda: [nn.Dense(30, 96), nn.ReLU(), nn.Dense(96, 5)]),
    "double precision": (256, "d", lambda: [nn.Dense(13, 64), nn.Tanh(), nn.Dense(64, 64), nn.Tanh(), nn.Dense(64, 5)]),
    "many kinds": (
        96,
        "f",
        lambda: [
            nn.Dense(20, 70),
            nn.LayerNorm(70),
            nn.GELU(),
            nn.Dropout(0.3),
            nn.Dense(70, 33),
            nn.Tanh(),
            nn.Dense(33, 5),
        ],
    ),
}


@RUNNABLE
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_learns_the_same_bits(name: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, kind, layers = NETWORKS[name]
    rng = np.random.default_rng(0)

    def made(smallest: float) -> tuple[Program, Callable[[], list[np.ndarray]]]:
        bands_from(smallest, monkeypatch)
        cr.random.seed(0)
        net = network(layers(), kind)
        optimizer = cr.optim.Adam(0.01)

        def step(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
            loss = cr.losses.cross_entropy(net(x), y)
            optimizer.update(cr.backpropagate(loss))
            return loss

        width = net[0].weight.shape[0]
        program = Program(trace(step, np.zeros((batch, width), kind), np.zeros(batch, np.int64)), named(target))
        return program, lambda: [np.asarray(p).copy() for p in net.parameters()]

    width = layers()[0].weight.shape[0]
    steps = [(rng.standard_normal((batch, width)).astype(kind), rng.integers(0, 5, batch)) for _ in range(4)]
    found = []
    for smallest, threads in ((math.inf, 1), (0, 1), (0, 2), (0, 3), (0, 4)):
        cr.threads(threads)
        program, learnt = made(smallest)
        turns = shared(program)
        assert any(isinstance(k, Contraction) for turn in turns for k in turn.kernels) == (smallest == 0)
        found.append([*(program(*arrays)[0] for arrays in steps), *learnt()])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_whole_small_network_is_one_band() -> None:
    """From the first layer to the gradients of each block of rows; then the threads meet, and the sums are added up."""
    rng = np.random.default_rng(0)
    net = network([nn.Dense(13, 64), nn.Tanh(), nn.Dense(64, 64), nn.Tanh(), nn.Dense(64, 1)], "d")
    optimizer = cr.optim.Adam()

    def step(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
        loss = cr.losses.mean_squared_error(net(x), y)
        optimizer.update(cr.backpropagate(loss))
        return loss

    program = Program(trace(step, rng.standard_normal((256, 13)), rng.standard_normal((256, 1))), named("amx"))
    (band,) = shared(program)
    kernels = program.schedule.kernels
    assert {k for k in kernels if isinstance(k, Contraction)} == {k for k in band.kernels if isinstance(k, Contraction)}
    assert sum(turn.waits for turn in program.schedule.turns) == 1


def test_rows_that_do_not_stay_near_go_block_by_block_as_before() -> None:
    """A softmax over megabytes is not kept from the first cache by a small product before it."""
    x, w = np.zeros((8192, 4), "f"), np.zeros((4, 64), "f")
    program = Program(trace(lambda x: nn.Softmax()(x @ cr.asarray(w)), x), named("amx"))
    assert not shared(program)
    assert [turn.blocks > 16 for turn in program.schedule.turns if turn.blocks] == [True]


def test_a_long_sequence_makes_bands_of_some_kernels() -> None:
    x, w = np.zeros((512, 64), "f"), np.zeros((64, 64), "f")

    def run(x: cr.Tensor) -> cr.Tensor:
        h = x
        for _ in range(100):
            h = cr.tanh(h @ cr.asarray(w) + x)
        return h

    made = shared(Program(trace(run, x), named("avx512")))
    assert len(made) > 1
    assert sum(len(turn.kernels) for turn in made) >= 100


def random_chain(seed: int) -> tuple[Callable[..., object], list[np.ndarray]]:
    """A program of values of some rows: products by weights and by each other, elementwise, reduced, turned."""
    rng = np.random.default_rng(seed)
    rows = int(rng.choice([16, 32, 48, 60]))
    width = int(rng.choice([8, 17, 32]))
    kind = str(rng.choice(["f", "d"]))
    picks = rng.integers(0, 2**31, (10, 3)).tolist()
    arrays = [(rng.standard_normal(shape) / 3).astype(kind) for shape in [(rows, width)] * 2 + [(width, width)] * 2]

    def program(x: cr.Tensor, y: cr.Tensor, *weights: cr.Tensor) -> tuple[cr.Tensor, ...]:
        values = [x, y]
        for way, one, two in picks:
            a, b, w = values[one % len(values)], values[two % len(values)], weights[two % 2]
            values.append(
                [
                    lambda a, b, w: a @ w,
                    lambda a, b, w: cr.tanh(a @ w.T + b),
                    lambda a, b, w: a * b,
                    lambda a, b, w: a - cr.max(b, axis=1, keepdims=True),
                    lambda a, b, w: a @ (cr.tanh(b.T @ a) @ w),  # all rows are needed
                    lambda a, b, w: cr.tanh(a @ b.T) @ b,
                    lambda a, b, w: a + cr.tanh(a @ w)[:, :1],
                    lambda a, b, w: a + cr.sum(b, axis=0),
                ][way % 8](a, b, w)
            )
        return values[-1], cr.sum(values[-2], axis=1), values[-3].T @ values[-4]

    return program, arrays


@RUNNABLE
@pytest.mark.parametrize("part", range(3))
def test_random_programs_have_the_same_bits(part: int, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    several = 0
    for number in range(12):
        f, arrays = random_chain(12 * part + number)
        bands_from(math.inf, monkeypatch)
        expected = Program(trace(f, *arrays), named(target))(*arrays)
        bands_from(0, monkeypatch)
        program = Program(trace(f, *arrays), named(target))
        several += any(isinstance(kernel, Contraction) for turn in shared(program) for kernel in turn.kernels)
        for threads, at_end in ((1, True), (2, False), (3, True)):
            for found, wanted in zip(
                run_guarded(program, arrays, threads=threads, at_end=at_end), expected, strict=True
            ):
                np.testing.assert_array_equal(found, wanted, err_msg=f"program {number}")
    assert several >= 6


@pytest.mark.parametrize("part", range(2))
def test_random_graphs_agree_with_the_reference(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bands_from(0, monkeypatch)
    search(40, 200 + part)
