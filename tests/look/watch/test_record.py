"""Going back: the network after any step of a recorded run, bit for bit as a run that stopped there left it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from look.watch.runs import NETS, OPTIMIZERS, STEPS, bits, data, plain, trained


class StopAfter(cr.Callback):
    """End a run after a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_batch_end(self, trainer: Any) -> None:
        trainer.interrupted = trainer.interrupted or trainer.steps >= self.step


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "eager"])
@pytest.mark.parametrize(("net", "optimizer"), [*itertools.product(NETS, ["sgd", "adam"])])
def test_the_past_has_the_bits_of_a_run_that_stopped_there(net: str, optimizer: str, compile: bool) -> None:
    make, rule = NETS[net], OPTIMIZERS[optimizer]
    now, used, history = trained(make, rule, cr.look.Record(every=4), compile=compile)
    last = bits(now), bits(used)
    for step in (1, 3, 4, 5, 9, 10, 15):
        stopped, by, _ = trained(make, rule, StopAfter(step), compile=compile)
        then = history.moment(step)
        assert bits(then.net) == bits(stopped), step
        assert bits(then.optimizer) == bits(by), step
    assert (bits(now), bits(used)) == last


def test_before_the_first_step_it_is_as_it_was_made() -> None:
    cr.random.seed(1)
    fresh = plain()
    _, _, history = trained(plain, OPTIMIZERS["adam"], cr.look.Record(every=100))
    assert bits(history.at(0)) == bits(fresh)


def test_recording_and_watching_leave_the_run_as_it_is() -> None:
    alone = trained(NETS["busy"], OPTIMIZERS["adam"])
    both = trained(NETS["busy"], OPTIMIZERS["adam"], cr.look.Record(every=3), cr.look.Watch(every=2))
    assert bits(alone[0]) == bits(both[0])
    assert alone[2]["loss"] == both[2]["loss"]
    assert both[2].watched.steps == list(range(1, 16, 2))


def test_a_moment_can_be_explained_and_goes_on_as_the_run_did() -> None:
    _, _, history = trained(plain, OPTIMIZERS["adam"], cr.look.Record(every=4), cr.look.Watch(every=1))
    then = history.moment(6)
    step = cr.look.explain(then.net, *then.batch, loss="cross_entropy", optimizer=then.optimizer)
    assert step.loss.value == pytest.approx(history.watched.column("loss")[6], rel=1e-5)
    found = np.sqrt(sum(float(np.sum(step.gradient_of(name) ** 2)) for name in ("2.weight", "2.bias")))
    assert found == pytest.approx(history.watched.column("gradient_norm", "2")[6], rel=1e-4)


def test_a_schedule_that_follows_the_loss_is_followed() -> None:
    def rule() -> Any:
        return cr.optim.SGD(cr.schedules.Plateau(5.0, patience=0, factor=0.5))

    _, used, history = trained(plain, rule, cr.look.Record(every=1000), epochs=6)
    for step in (5, 12, 23, 30):
        stopped, by, _ = trained(plain, rule, StopAfter(step), epochs=6)
        then = history.moment(step)
        assert bits(then.net) == bits(stopped), step
        if step % STEPS:  # after the last step of an epoch the schedule is told of it
            assert bits(then.optimizer) == bits(by), step
    assert used.current_learning_rate() < 5.0


def test_steps_that_were_left_out_are_left_out_again() -> None:
    def logs() -> nn.Module:
        return nn.Sequential(Log(), nn.Dense(8, 3))

    class Log(nn.Module):
        def __call__(self, x: Any) -> Any:
            return cr.log(x)

    X, y = data()
    X = np.abs(X) + 0.1
    X[33, 3] = -1.0
    settings = {"data": (X, y), "on_nan": "skip"}
    _, _, history = trained(logs, OPTIMIZERS["adam"], cr.look.Record(every=100), **settings)
    assert len(history.skipped) == 3
    for step in (7, 15):
        stopped, _, _ = trained(logs, OPTIMIZERS["adam"], StopAfter(step), **settings)
        assert bits(history.at(step)) == bits(stopped)


def test_weights_and_a_list_of_batches() -> None:
    X, y = data()
    weights = np.arange(len(X)) % 3 / 2.0
    _, _, history = trained(plain, OPTIMIZERS["adam"], cr.look.Record(every=4), data=(X, y, weights))
    stopped, _, _ = trained(plain, OPTIMIZERS["adam"], StopAfter(7), data=(X, y, weights))
    assert bits(history.at(7)) == bits(stopped)
    batches = [(X[:30], y[:30]), (X[30:], y[30:])]
    _, _, history = trained(plain, OPTIMIZERS["adam"], cr.look.Record(every=4), data=batches)
    stopped, _, _ = trained(plain, OPTIMIZERS["adam"], StopAfter(3), data=batches)
    assert bits(history.at(3)) == bits(stopped)


def test_memory_is_bounded_and_checkpoints_stand_about_evenly() -> None:
    one = sum(array.nbytes for array in plain().arrays().values())
    record = cr.look.Record(every=1, memory=8 * 3 * one)
    _, _, history = trained(plain, OPTIMIZERS["adam"], record, epochs=20)
    kept = history.recording.checkpoints
    assert kept[0] == 0
    assert kept[-1] == 100
    assert 5 <= len(kept) <= 9
    assert max(np.diff(kept)) <= 4 * 100 / len(kept)
    stopped, _, _ = trained(plain, OPTIMIZERS["adam"], StopAfter(37), epochs=20)
    assert bits(history.at(37)) == bits(stopped)


def test_what_cannot_be_had_is_said() -> None:
    X, y = data()
    _, _, history = trained(plain, OPTIMIZERS["adam"], cr.look.Record(every=100), data=(X, y))
    with pytest.raises(cr.ArgumentError, match="recorded from step 0 to 15, but step is 16"):
        history.at(16)
    with pytest.raises(cr.ArgumentError, match="every must be a whole number from 1"):
        cr.look.Record(every=0)
    X += 1.0
    with pytest.raises(cr.DataError, match=r"step 1 of the run had the loss .* were changed since"):
        history.at(3)
    _, _, other = trained(plain, OPTIMIZERS["adam"])
    with pytest.raises(cr.ArgumentError, match=r"not recorded: train with fit\(.*cr.look.Record"):
        other.at(3)


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "eager"])
def test_after_the_last_step_there_is_no_batch(compile: bool) -> None:
    net, _, history = trained(plain, OPTIMIZERS["adam"], cr.look.Record(every=4), compile=compile)
    then = history.moment(15)
    assert bits(then.net) == bits(net)
    with pytest.raises(cr.ArgumentError, match=r"no step came after step 15, .*history.moment\(14\).batch"):
        then.batch  # noqa: B018
    assert len(history.moment(14).batch) == 2


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "eager"])
def test_a_moment_on_a_checkpoint_sees_that_the_data_was_changed(compile: bool) -> None:
    X, y = data()
    net, used, history = trained(
        plain, OPTIMIZERS["adam"], cr.look.Record(every=5), data=(X, y), epochs=3, compile=compile
    )
    at_ten, last = bits(history.at(10)), (bits(net), bits(used))
    assert bits(history.moment(10).net) == at_ten
    X *= 2
    with pytest.raises(cr.DataError, match=r"step 11 of the run had the loss .* were changed since"):
        history.moment(10)
    assert bits(history.at(10)) == at_ten  # kept whole, so the data has no part in it
    assert (bits(net), bits(used)) == last
