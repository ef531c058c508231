"""Something becomes infinite or NaN in a compiled run: the op, layer, phase, step and row that made it are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.data.batches import Batches
from look.watch.nan_cases import BATCH, CASES, ROWS, Case

Array = np.ndarray[Any, Any]


def data(case: Case) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    X = rng.uniform(0.5, 1.5, (ROWS, 4)).astype(np.float32)
    y = rng.uniform(0.1, 0.9, (ROWS, 1)).astype(np.float32)
    case.spoil(X, y)
    return X, y


def expected_step(row: int) -> int:
    """The step of the first epoch in which a row is learned from."""
    (place,) = np.flatnonzero(Batches((np.arange(ROWS),), BATCH, True, 0).order(0) == row)
    return int(place) // BATCH + 1


def run(case: Case, **settings: Any) -> tuple[nn.Module, cr.NonFiniteError]:
    cr.random.seed(0)
    net = case.net()
    with pytest.raises(cr.NonFiniteError) as caught:
        cr.fit(net, data(case), loss=case.loss, optimizer=case.optimizer(), epochs=4, batch_size=BATCH, progress=False,
               **settings)  # fmt: skip
    return net, caught.value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_began_is_named_in_a_compiled_run(case: Case) -> None:
    net, error = run(case)
    found = error.culprit
    assert (found.op, found.layer, found.phase) == (case.op, case.layer, case.phase), error
    assert found.row == case.row or case.row is None, error
    assert case.advice in found.advice
    assert not np.isfinite(found.value)
    assert np.isfinite(found.inputs).all()
    assert all(text in str(error) for text in (found.op, found.phase, found.layer, found.advice))
    step = case.step or (None if case.row is None else expected_step(case.row))
    assert error.step == step or step is None
    assert all(np.isfinite(array).all() for array in net.arrays().values())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_same_is_named_without_compiling(case: Case) -> None:
    _, error = run(case, compile=False)
    found = error.culprit
    assert (found.op, found.layer, found.phase) == (case.op, case.layer, case.phase), error
    assert found.row == case.row or case.row is None


def bad_row() -> tuple[Array, Array]:
    (case,) = [case for case in CASES if case.name == "log of a negative input"]
    return data(case)


class LogFirst(nn.Module):
    """A log of the inputs, dropout, a dense layer."""

    def __init__(self) -> None:
        self.dropout = nn.Dropout(0.2)
        self.dense = nn.Dense(4, 1)

    def __call__(self, x: Any) -> Any:
        return self.dense(self.dropout(cr.log(x)))


def bits(net: nn.Module) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in net.arrays().items()}


def test_data_that_is_not_finite_is_refused_in_arrays_and_left_out_in_batches() -> None:
    X, y = np.ones((40, 4), np.float32), np.ones((40, 1), np.float32)
    X[21, 2] = np.nan
    with pytest.raises(cr.DataError, match="X holds nan in row 21, column 2"):
        cr.fit(nn.Dense(4, 1), (X, y), loss="mse", on_nan="skip", progress=False)
    batches = [(X[start : start + 10], y[start : start + 10]) for start in range(0, 40, 10)]
    history = cr.fit(nn.Dense(4, 1), batches, loss="mse", epochs=1, on_nan="skip", progress=False)
    assert [skipped.step for skipped in history.skipped] == [3]


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "eager"])
def test_a_bad_step_can_be_left_out_as_if_its_batch_had_not_been_there(compile: bool) -> None:
    X, y = bad_row()
    order = Batches((np.arange(ROWS),), BATCH, True, 0)
    steps = [[order.order(epoch)[start : start + BATCH] for start in range(0, ROWS, BATCH)] for epoch in range(2)]
    good = [(X[rows], y[rows]) for epoch in steps for rows in epoch if 21 not in rows]
    cr.random.seed(0)
    net, by_hand = LogFirst(), LogFirst()
    by_hand.load_arrays(net.arrays())
    history = cr.fit(net, (X, y), loss="mse", optimizer=cr.optim.Adam(0.01), epochs=2, batch_size=BATCH,
                     on_nan="skip", progress=False, compile=compile)  # fmt: skip
    optimizer = cr.optim.Adam(0.01)

    def step(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
        loss = cr.losses.mean_squared_error(by_hand(x), y)
        optimizer.update(cr.backpropagate(loss))
        return loss

    made = cr.compile(step) if compile else step
    losses = [made(cr.asarray(x), cr.asarray(t)).item() for x, t in good]
    assert bits(net) == bits(by_hand)
    assert [skipped.step for skipped in history.skipped] == [expected_step(21), 8 + 1 + next(
        number for number, rows in enumerate(steps[1]) if 21 in rows)]  # fmt: skip
    assert "log(-2)" in history.skipped[0].why
    assert history["loss"] == pytest.approx([np.mean(losses[:7]), np.mean(losses[7:])])
    assert history["steps"] == [8, 8]
    read = cr.History.from_jsonl(history.to_jsonl())
    assert read.skipped == history.skipped


def test_a_run_of_nothing_but_bad_steps_ends() -> None:
    X, y = bad_row()
    X[:, 0] = -1.0
    with pytest.raises(cr.NonFiniteError, match="20 steps in a row were left out"):
        cr.fit(LogFirst(), (X, y), loss="mse", epochs=9, batch_size=BATCH, on_nan="skip", progress=False)


def test_masks_of_infinities_are_not_to_blame() -> None:
    """An attention mask writes -inf down; what is named is the log behind it."""

    def loss(guesses: cr.Tensor, targets: cr.Tensor) -> cr.Tensor:
        seen = cr.where(targets > 0.5, guesses, -float("inf"))
        return cr.mean(cr.exp(seen) + cr.log(targets))

    X, y = bad_row()
    y[30] = 0.0
    with pytest.raises(cr.NonFiniteError) as caught:
        cr.fit(nn.Dense(4, 1), (X, y), loss=loss, epochs=1, batch_size=BATCH, progress=False)
    assert (caught.value.culprit.op, caught.value.culprit.row) == ("log", 30)


def test_a_moment_that_the_loss_does_not_feel_is_found_at_the_end_of_the_epoch() -> None:
    """Adam divides by an infinite moment: the parameter stands still, and every loss is finite."""
    X, y = bad_row()
    X = np.abs(X)
    X[9, 1] = 1e21
    cr.random.seed(0)
    net = nn.Dense(4, 1, init="zeros")
    with pytest.raises(cr.NonFiniteError, match=r'"weight\.v"') as caught:
        cr.fit(net, (X, y), loss=lambda g, t: cr.mean(g), epochs=1, batch_size=BATCH,
               optimizer="adam", progress=False)  # fmt: skip
    assert (caught.value.step, caught.value.culprit.phase) == (expected_step(9), "update")


def test_on_nan_is_one_of_two_words() -> None:
    with pytest.raises(cr.ArgumentError, match='on_nan must be "raise" or "skip"'):
        cr.fit(nn.Dense(4, 1), bad_row(), loss="mse", on_nan="ignore", progress=False)


def test_batches_of_ones_own_name_the_example_but_no_row() -> None:
    X, y = bad_row()
    batches = [(X[start : start + BATCH], y[start : start + BATCH]) for start in range(0, ROWS, BATCH)]
    with pytest.raises(cr.NonFiniteError) as caught:
        cr.fit(LogFirst(), batches, loss="mse", epochs=1, progress=False)
    assert (caught.value.culprit.example, caught.value.culprit.row, caught.value.step) == (5, None, 3)


def test_data_that_is_not_finite_itself_is_named() -> None:
    X, y = bad_row()
    X[17, 2] = np.nan
    with pytest.raises(cr.NonFiniteError, match=r"input = nan.*fill in or drop") as caught:
        cr.fit(nn.Dense(4, 1), [(X, y)], loss="mse", epochs=1, progress=False)
    assert (caught.value.culprit.op, caught.value.culprit.example) == ("input", 17)
