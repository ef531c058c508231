"""The schedule: threads meet only where one needs what another made, and what is little runs beside what is much."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine.program import Program
from chainrule.engine.schedule import Schedule, _second
from chainrule.engine.target import named
from chainrule.engine.trace import trace


def schedule(f, *arrays: np.ndarray, target: str = "avx512") -> Schedule:
    """The schedule of a function, which is right."""
    program = Program(trace(f, *arrays), named(target))
    program.schedule.verify(program.plan)
    return program.schedule


def step(widths: list[int], batch: int, *layers: nn.Module, target: str = "avx512") -> Schedule:
    """The schedule of a training step of dense layers with what follows each of them but the last."""
    net = nn.Sequential()
    for inputs, outputs in pairwise(widths):
        net = nn.Sequential(*net, nn.Dense(inputs, outputs), *(layers if outputs != widths[-1] else ()))
    optimizer = cr.optim.Adam()

    def learn(x: cr.Tensor, labels: cr.Tensor) -> cr.Tensor:
        loss = cr.losses.cross_entropy(net(x), labels)
        optimizer.update(cr.backpropagate(loss))
        return loss

    x, labels = np.zeros((batch, widths[0]), "f"), np.zeros(batch, np.int64)
    return schedule(learn, x, labels, target=target)


def phases(made: Schedule) -> list[list[bool]]:
    """Of the kernels of each phase, whether one thread does them alone."""
    found: list[list[bool]] = [[]]
    for turn in made.turns:
        if turn.waits:
            found.append([])
        found[-1].append(turn.alone)
    return found


def test_one_thread_never_waits_for_itself() -> None:
    made = step([2, 16, 16, 3], 32, nn.Tanh())
    assert len(made.turns) > 10
    assert phases(made) == [[True] * len(made.turns)]


def test_little_work_between_products_is_shared_by_rows_and_the_rest_of_it_runs_beside_a_product() -> None:
    """From the first layer's sums to the gradients of each block of rows the threads do not meet."""
    made = step([784, 128, 10], 64, nn.ReLU())
    first, between, last = phases(made)
    assert not first[-1]
    assert between == [False]
    (band,) = [turn for turn in made.turns if turn.blocks]
    assert band.is_shared
    assert len(band.kernels) >= 8
    assert not last[-1]
    assert last.count(True) > 1  # the loss goes to its place and the other parameters move while the product begins


def test_what_hangs_together_in_a_phase_is_for_one_thread_and_the_largest_goes_first() -> None:
    # Phase 0: 0 and 2 hang together (5), 1 stands by itself (4), as does 3 (2); 4 is shared. Phase 1: 5 (1) needs 4.
    phases, alone, work = [0, 0, 0, 0, 0, 1], [True, True, True, True, False, True], [3.0, 4.0, 2.0, 2.0, 99.0, 1.0]
    before: list[set[int]] = [set(), set(), {0}, set(), set(), {4}]
    assert _second(phases, alone, before, work) == {1, 3}  # 5 and 4 + 2
    assert _second(phases, alone, [set(), {0}, {1}, {2}, set(), {4}], work) == set()  # a chain is the first one's
    assert _second([0, 0, 1, 1], [True] * 4, [set(), set(), {0, 1}, set()], [1.0, 2.0, 3.0, 4.0]) == {0, 2}


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_two_threads_do_alone_what_one_did(threads: int) -> None:
    """The same numbers as NumPy, for any number of threads, where the second one does a part of what is done alone."""
    cr.random.seed(0)
    net = nn.Sequential(nn.Dense(300, 256), nn.Tanh(), nn.Dense(256, 5))
    optimizer = cr.optim.Adam(0.01)
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((200, 300)).astype("f"), rng.integers(0, 5, 200)

    def learn(x: cr.Tensor, labels: cr.Tensor) -> cr.Tensor:
        loss = cr.losses.cross_entropy(net(x), labels)
        optimizer.update(cr.backpropagate(loss))
        return loss

    first, before = net.arrays(), cr.threads()
    first = {name: array.copy() for name, array in first.items()}
    wanted = [learn(cr.asarray(x), cr.asarray(labels)).item() for _ in range(5)]
    net.load_arrays(first)
    optimizer.load_arrays({"step_count": 0}, net.parameters())
    program = Program(trace(learn, x, labels))
    assert {turn.who for turn in program.schedule.turns} == {"first", "second", "all"}
    try:
        cr.threads(threads)
        found = [float(program(x, labels)[0]) for _ in range(5)]
    finally:
        cr.threads(before)
    np.testing.assert_allclose(found, wanted, rtol=2e-5)


@pytest.mark.parametrize("target", ["avx512", "avx2", "sse2", "amx"])
@pytest.mark.parametrize("layers", [[nn.LayerNorm(96), nn.GELU()], [nn.BatchNorm(96), nn.ReLU(), nn.Dropout(0.5)]])
def test_what_touches_the_same_bytes_keeps_its_order(layers: list[nn.Module], target: str) -> None:
    made = step([40, 96, 96, 96, 7], 200, *layers, target=target)
    assert any(turn.waits for turn in made.turns)
    assert {id(kernel) for kernel in made.kernels} == {id(kernel) for turn in made.turns for kernel in turn.kernels}


def test_a_wrong_schedule_is_found_out() -> None:
    x = np.zeros((256, 256), "f")
    program = Program(trace(lambda x: cr.tanh(cr.sum(x @ x, axis=1)) @ x, x), named("avx512"))
    right, (first, *others) = program.schedule, program.schedule.turns
    with pytest.raises(AssertionError):
        Schedule((*others, first), right.kernels).verify(program.plan)
    together = tuple([replace(turn, waits=False) for turn in right.turns])
    with pytest.raises(AssertionError):
        Schedule(together, right.kernels).verify(program.plan)


def test_it_is_written_out_phase_by_phase() -> None:
    x, w = np.zeros((256, 300), "f"), np.zeros((300, 256), "f")
    text = str(schedule(lambda x, w: cr.sum(x @ w, axis=0) + 1.0, x, w))
    assert text.split("\n") == [
        "  all     contraction float32[256, 256]",
        "all meet",
        "  all     reduction float32[256]",
        "all meet",
        "  first   loop float32[256]",
    ]
