"""Runs that are cut short, and go on with the same bits: after an end, Ctrl-C, and a kill that nothing can catch."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from sklearn.datasets import load_iris

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ChainruleError, FileFormatError
from chainrule.nn.optimizers import SGD, Adam
from chainrule.nn.schedules import Plateau
from chainrule.train.callbacks import Callback, Checkpoint, EarlyStopping
from chainrule.train.fit import Trainer, fit
from chainrule.train.history import History

X, Y = load_iris(return_X_y=True)


def network() -> nn.Sequential:
    cr.random.seed(5)
    return nn.Sequential(nn.Dense(4, 8), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.3), nn.Dense(8, 3))


def run(net: nn.Module, *callbacks: Callback, epochs: int = 6, **settings) -> History:
    settings = {"optimizer": Adam(Plateau(0.01, patience=1)), "seed": 3, "metrics": ["accuracy"]} | settings
    settings |= {"loss": "cross_entropy", "validation": 0.2, "progress": False, "epochs": epochs}
    return fit(net, (X, Y), callbacks=callbacks, **settings)


def outcome(net: nn.Module, history: History) -> tuple[bytes, list[dict[str, float]], str, int]:
    """All that must be equal to the last bit: parameters and states, the history but for times, the random stream."""
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in history]
    drawn = cr.random.default().counter.item()
    return b"".join(a.tobytes() for a in net.arrays().values()), rows, history.stopped, drawn


@pytest.fixture
def uninterrupted() -> tuple:
    net = network()
    return outcome(net, run(net, EarlyStopping(50, restore_best=False)))


class At(Callback):
    """Does something after a certain step of a certain epoch (both from 1)."""

    def __init__(self, epoch: int, step: int, action) -> None:
        self.place, self.action = (epoch, step), action

    def on_batch_end(self, trainer: Trainer) -> None:
        if (trainer.epoch + 1, trainer.part.batches) == self.place:
            self.action(trainer)


def test_a_run_in_two_parts_has_the_bits_of_one(tmp_path, uninterrupted) -> None:
    path = tmp_path / "run.safetensors"
    for epochs in (3, 6):
        net = network()
        cr.random.seed(epochs)  # the stream is restored too
        history = run(net, EarlyStopping(50, restore_best=False), Checkpoint(path), epochs=epochs, resume=path)
        if epochs == 3:
            cr.random.seed(99)
    net_bits, rows, stopped, _ = outcome(net, history)
    assert (net_bits, rows, stopped) == uninterrupted[:3]


@pytest.mark.parametrize("step", [1, 3, 4])
def test_ctrl_c_within_an_epoch_loses_no_step(tmp_path, uninterrupted, step) -> None:
    path = tmp_path / "run.safetensors"
    stop = At(4, step, lambda trainer: os.kill(os.getpid(), signal.SIGINT))
    watch = EarlyStopping(50, restore_best=False)
    first = run(network(), watch, stop, Checkpoint(path, every=5))
    assert first.stopped == "interrupted"
    net = network()
    history = run(net, EarlyStopping(50, restore_best=False), At(0, 0, None), Checkpoint(path, every=5), resume=path)
    assert outcome(net, history) == uninterrupted


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from train.test_checkpoints import At, Checkpoint, EarlyStopping, network, run
from chainrule.train import storage

path = {path!r}
kill = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
if {moment!r} == "step":
    action = kill
else:
    action = lambda trainer: setattr(storage.os, {moment!r}, kill)
run(network(), EarlyStopping(50, restore_best=False), At(4, 2, action), Checkpoint(path))
"""


@pytest.mark.parametrize("moment", ["step", "fsync", "replace"])
def test_a_kill_at_any_moment_loses_no_more_than_the_epoch_under_way(tmp_path, uninterrupted, moment) -> None:
    path = tmp_path / "run.safetensors"
    program = KILLED.format(tests=os.path.dirname(os.path.dirname(__file__)), path=str(path), moment=moment)
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    net = network()
    epochs_seen = []

    class Seen(At):
        def on_epoch_begin(self, trainer: Trainer) -> None:
            epochs_seen.append(trainer.epoch)

    history = run(net, EarlyStopping(50, restore_best=False), Seen(0, 0, None), Checkpoint(path), resume=path)
    assert epochs_seen == [3, 4, 5]
    assert outcome(net, history) == uninterrupted


def test_early_stopping_goes_on_counting_and_keeps_its_best(tmp_path) -> None:
    path = tmp_path / "run.safetensors"
    wrong = {"validation": 0.2, "optimizer": SGD(0.3, momentum=0.9)}

    def watched(*more: Callback, **settings) -> tuple:
        net = network()
        history = run(net, EarlyStopping(3), *more, epochs=60, **(wrong | settings))
        return outcome(net, history)[:3]

    expected = watched()
    assert expected[2] == "early stopping"
    ended = len(expected[1])
    stop = At(ended - 1, 2, lambda trainer: setattr(trainer, "interrupted", True))
    wrong["optimizer"] = SGD(0.3, momentum=0.9)
    watched(stop, Checkpoint(path))
    for _ in range(2):  # the second time there is nothing left to do
        wrong["optimizer"] = SGD(0.3, momentum=0.9)
        assert watched(At(0, 0, None), Checkpoint(path), resume=path) == expected


def test_checkpoints_are_written_when_it_is_time_and_at_the_end(tmp_path) -> None:
    path = tmp_path / "run.safetensors"
    written = []

    class Watching(Checkpoint):
        def _write(self, trainer: Trainer) -> None:
            written.append(trainer.epoch)
            super()._write(trainer)

    run(network(), Watching(path, every=2), epochs=5)
    assert written == [2, 4, 5]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_missing_checkpoint_starts_anew(tmp_path) -> None:
    assert len(run(network(), epochs=1, resume=tmp_path / "none")) == 1


def test_a_checkpoint_of_another_run_is_refused(tmp_path) -> None:
    path = tmp_path / "run.safetensors"
    run(network(), Checkpoint(path), epochs=1)
    for settings in ({"seed": 4}, {"batch_size": 8}, {"optimizer": SGD(0.1)}):
        with pytest.raises(FileFormatError, match=r"run.safetensors is of a run with .* but this one has"):
            run(network(), resume=path, **settings)
    with pytest.raises(FileFormatError, match=r"does not go with this network.*\"0.weight\" has the shape \(4, 9\)"):
        run(nn.Sequential(nn.Dense(4, 9), nn.BatchNorm(9), nn.ReLU(), nn.Dropout(0.3), nn.Dense(9, 3)), resume=path)
    safetensors.numpy.save_file({"x": np.zeros(2)}, path)
    with pytest.raises(FileFormatError, match="is not a chainrule checkpoint"):
        run(network(), resume=path)


def test_a_damaged_checkpoint_is_refused(tmp_path) -> None:
    path = tmp_path / "run.safetensors"
    run(network(), Checkpoint(path), epochs=1)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match="not a whole safetensors file"):
            run(network(), resume=path)


def test_a_checkpoint_that_cannot_be_written_says_so(tmp_path) -> None:
    with pytest.raises(ChainruleError, match=r"cannot write .*the folder does not exist"):
        run(network(), Checkpoint(tmp_path / "nowhere" / "run.safetensors"))
    with pytest.raises(ArgumentError, match="every must be a whole number"):
        Checkpoint("run.safetensors", every=0)
