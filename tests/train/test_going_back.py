"""A compiled run that goes back after something became infinite: it blames the step that eager training blames."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.train.native import _Kept

STEPS = 16  # in an epoch


class Once(nn.Module):
    """A dense layer whose output is huge at one step of the run."""

    def __init__(self, at: int, factor: float) -> None:
        self.dense = nn.Dense(3, 1)
        self.count = cr.State(np.zeros((), "f"))
        self.at, self.factor = at, factor

    def __call__(self, x):
        self.count.assign(self.count + 1)
        return self.dense(x) * cr.where(self.count == self.at, self.factor, 1.0)


def failed(net: nn.Module, optimizer, epochs: int, *, compile: bool, **more) -> tuple[str, np.ndarray]:
    """The error of a run, and the weight that it leaves."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16 * STEPS, 3)).astype("f")
    y = (x @ np.ones((3, 1), "f")).astype("f")
    with pytest.raises(cr.NonFiniteError) as caught:
        cr.fit(net, (x, y), loss="mean_squared_error", optimizer=optimizer, epochs=epochs, batch_size=16, seed=0,
               progress=False, compile=compile, **more)  # fmt: skip
    return str(caught.value), np.asarray(net.dense.weight)


def both(run) -> tuple[tuple[str, np.ndarray], tuple[str, np.ndarray]]:
    """What happens eager and compiled, from the same beginning."""
    found = []
    for compile in (False, True):
        cr.random.seed(0)
        found.append(run(compile))
    return found[0], found[1]


@pytest.mark.parametrize("at", [35, 200, 333])
def test_a_moment_that_becomes_infinite_is_blamed_on_its_epoch_and_step(at: int) -> None:
    """The loss and the weights stay finite, so that it may be found epochs later."""
    eager, compiled = both(lambda compile: failed(Once(at, 1e10), cr.optim.Adam(1e-3), 30, compile=compile))
    assert f"epoch {(at - 1) // STEPS + 1}, step {(at - 1) % STEPS + 1}," in eager[0]
    assert compiled[0] == eager[0]
    np.testing.assert_allclose(compiled[1], eager[1], rtol=1e-5)


def test_a_run_that_stops_early_looks_at_everything_once_more() -> None:
    class Enough(cr.Callback):
        def on_epoch_end(self, trainer) -> None:
            if trainer.epoch == 4:
                trainer.stop("enough")

    at = 3 * STEPS + 5
    eager, compiled = both(
        lambda compile: failed(Once(at, 1e10), cr.optim.Adam(1e-3), 30, compile=compile, callbacks=[Enough()])
    )
    assert "epoch 4, step 5," in compiled[0]
    assert compiled[0] == eager[0]


def test_what_a_callback_assigned_is_not_undone() -> None:
    """The states are kept anew after somebody else has set one, so going back does not lead before that."""

    class Set(cr.Callback):
        def __init__(self, net: Once) -> None:
            self.net = net

        def on_epoch_end(self, trainer) -> None:
            self.net.dense.weight.assign(np.full((3, 1), float(trainer.epoch + 1), "f"))

    def run(compile: bool) -> tuple[str, np.ndarray]:
        net = Once(6 * STEPS + 2, 1e30)
        return failed(net, cr.optim.SGD(1e-6), 8, compile=compile, callbacks=[Set(net)])

    eager, compiled = both(run)
    assert "epoch 7, step 2," in eager[0]
    assert compiled[0] == eager[0]
    np.testing.assert_allclose(compiled[1], 7.0, atol=0.01)
    np.testing.assert_allclose(eager[1], 7.0, atol=0.01)


def test_what_no_program_writes_to_yet_is_kept_without_a_copy() -> None:
    state = cr.State(np.arange(3, dtype="f"))

    @cr.compile
    def step() -> None:
        state.assign(state + 1)

    program, kept = step.program(), _Kept()
    kept.take(program)
    first = kept.states[0][1]
    assert np.shares_memory(first, state.look())
    program()
    assert not np.shares_memory(first, state.look())
    np.testing.assert_array_equal(first, [0, 1, 2])

    kept.take(program)
    second = kept.states[0][1]
    assert not np.shares_memory(second, first)  # nobody knows who else holds it
    program()
    np.testing.assert_array_equal(second, [1, 2, 3])
    kept.take(program)
    assert kept.states[0][1] is second
    np.testing.assert_array_equal(second, [2, 3, 4])
    program()
    assert kept.restore()
    np.testing.assert_array_equal(state, [2, 3, 4])
    program()
    np.testing.assert_array_equal(state, [3, 4, 5])
    np.testing.assert_array_equal(second, [2, 3, 4])


def test_a_value_that_is_kept_is_not_written_to_even_where_it_could_be() -> None:
    """NumPy's copies and pickles can be written to, also those of a state's value, which somebody else may hold."""
    state = copy.deepcopy(cr.State(np.zeros(3, "f")))

    @cr.compile
    def step() -> None:
        state.assign(state + 1)

    held, kept, program = state.look(), _Kept(), step.program()
    assert held.flags.writeable
    for _ in range(3):
        kept.take(program)
        program()
    np.testing.assert_array_equal(held, [0, 0, 0])
    assert kept.restore()
    np.testing.assert_array_equal(state, [2, 2, 2])


def test_training_a_copy_of_a_network_leaves_what_shares_its_values_alone() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 4)).astype("f")
    online, target = copy.deepcopy(nn.Dense(4, 1)), nn.Dense(4, 1)
    for own, other in zip(target.parameters(), online.parameters(), strict=True):
        own.assign(other)
    before = [np.array(parameter) for parameter in target.parameters()]
    for _ in range(3):  # slices, so that the states are kept again and again
        cr.fit(online, (x, x[:, :1]), loss="mean_squared_error", epochs=20, progress=False)
    for parameter, value in zip(target.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter, value)
