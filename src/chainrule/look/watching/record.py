"""Record: a callback that keeps a run, so that the network can be had as it was after any step of it.

All that a step depends on is kept every k steps; the steps between are made again, with the same programs and the same
rows, and so with the same bits. The loss of each is compared with what it was.
"""

from __future__ import annotations

import copy
import itertools
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine import random
from chainrule.errors import ArgumentError, DataError
from chainrule.look.watching.watch import whole
from chainrule.nn.module import Module
from chainrule.nn.optimizers import Optimizer
from chainrule.train.steps import modes_kept
from chainrule.train.trainer import Callback, Trainer

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Moment:
    """A run as it was after one of its steps.

    Attributes
    ----------
    step
        The number of steps that were made by then.
    net, optimizer
        Copies of the network and the optimizer as they were.
    following
        The arrays of `batch`; empty after the last step.
    """

    step: int
    net: Module
    optimizer: Optimizer
    following: tuple[Array, ...]

    @property
    def batch(self) -> tuple[Array, ...]:
        """What the next step learned from: inputs, targets and perhaps weights.

        Raises
        ------
        ArgumentError
            After the last step, as none came after it.
        """
        if not self.following:
            raise ArgumentError(
                f"no step came after step {self.step}, the last of the run, so there is no batch that it learned from; "
                f"history.moment({self.step - 1}).batch is that of the last step."
            )
        return self.following


class Record(Callback):
    """Keep a run, so that `history.at(step)` gives the network as it was, and `history.moment(step)` all of the step.

    The steps between two checkpoints are made again, so data and layers must be as they were in the run; the network
    itself is put back to where it is afterwards. What other callbacks change by hand is not made again.

    Parameters
    ----------
    every
        Steps between two checkpoints, from 1; default 100. `history.at` makes so many steps again at most.
    memory
        Bytes that the checkpoints may take together; default 2**28 (256 MiB). When it is full, checkpoints in between
        are given up, so that the rest stand about evenly: going back then takes longer. Two are always kept.

    Raises
    ------
    ArgumentError
        If `every` or `memory` is no whole number from 1.

    Examples
    --------
    >>> import chainrule as cr
    >>> from chainrule import nn
    >>> X = np.linspace(-1, 1, 64).reshape(64, 1)
    >>> net = nn.Dense(1, 1, init="zeros")
    >>> history = cr.fit(net, (X, 3 * X), loss="mse", epochs=5, callbacks=[cr.look.Record(every=4)], progress=False)
    >>> history.at(0).weight.tolist(), bool((history.at(10).weight == net.weight).all())
    ([[0.0]], True)
    """

    each_batch = False

    def __init__(self, every: int = 100, *, memory: int = 2**28) -> None:
        self.every, self.memory = whole("Record: every", every), whole("Record: memory", memory)
        self._recording: Recording | None = None

    def on_train_begin(self, trainer: Trainer) -> None:
        """Begin with the run as it is now."""
        self._recording = Recording(trainer, self.memory)
        trainer.history.recording = self._recording
        trainer.losses = self._recording.losses

    def pauses_after(self, step: int) -> bool:
        """Whether the run is to be seen right after a step."""
        return step % self.every == 0

    def on_batch_end(self, trainer: Trainer) -> None:
        """Keep a checkpoint where it is time."""
        if self._recording is not None and self.pauses_after(trainer.steps):
            self._recording.keep()

    def on_train_end(self, trainer: Trainer) -> None:
        """Nothing more is recorded."""
        trainer.losses = None


@dataclass(frozen=True, slots=True)
class _Kept:
    """All that the steps after one depend on."""

    step: int
    net: dict[str, Array]
    optimizer: dict[str, Array]
    key: int
    counter: Array

    @property
    def bytes(self) -> int:
        return sum(values.nbytes for values in (*self.net.values(), *self.optimizer.values()))


class Recording:
    """The checkpoints of one run, and the way from one to the next.

    Parameters
    ----------
    trainer
        Whose run it is; it holds the data and the programs.
    memory
        Bytes that the checkpoints may take together.
    """

    def __init__(self, trainer: Trainer, memory: int) -> None:
        self.trainer, self.memory = trainer, memory
        self.begin = trainer.steps
        self.losses = array("d")  # of each step since
        self._kept: list[_Kept] = []
        self.keep()

    @property
    def checkpoints(self) -> list[int]:
        """The steps after which all is kept."""
        return [kept.step for kept in self._kept]

    @property
    def end(self) -> int:
        """The number of steps that were made."""
        return self.begin + len(self.losses)

    def keep(self) -> None:
        """Keep the run as it is now, and give up what the memory has no room for."""
        if self._kept and self._kept[-1].step == self.trainer.steps:
            return
        self._kept.append(self._now(self.trainer.steps))
        while len(self._kept) > 2 and sum(kept.bytes for kept in self._kept) > self.memory:
            steps = self.checkpoints
            gaps = [after - before for before, after in zip(steps, steps[2:], strict=False)]
            del self._kept[1 + gaps.index(min(gaps))]

    def _now(self, step: int) -> _Kept:
        """Everything as it is. The arrays of states are handed out once and never written to afterwards."""
        trainer, stream = self.trainer, random.default()
        return _Kept(step, trainer.net.arrays(), trainer.optimizer.arrays(), stream.key, stream.counter.value)

    def _set(self, kept: _Kept) -> None:
        trainer, stream = self.trainer, random.default()
        trainer.net.load_arrays(kept.net)
        trainer.optimizer.load_arrays(kept.optimizer, trainer.net.parameters())
        stream.key = kept.key
        stream.counter.assign(kept.counter)

    def moment(self, step: int) -> Moment:
        """The run as it was after so many steps.

        Raises
        ------
        ArgumentError
            If the run has no such step, or its batches cannot be walked again.
        DataError
            If the steps, or the one after them, come to other losses than in the run: data, layers or loss were changed
            since.
        """
        net, optimizer, batch = self._then(step, is_next_made=True)
        return Moment(int(step), net, optimizer, batch)

    def at(self, step: int) -> Module:
        """The network as it was after so many steps; raises as `moment` does."""
        return self._then(step, is_next_made=False)[0]

    def _then(self, step: int, *, is_next_made: bool) -> tuple[Module, Optimizer, tuple[Array, ...]]:
        """Network, optimizer and the next batch; the step with that batch proves that it is still the same."""
        if isinstance(step, bool) or not isinstance(step, int | np.integer) or not self.begin <= step <= self.end:
            raise ArgumentError(f"the run was recorded from step {self.begin} to {self.end}, but step is {step!r}.")
        trainer = self.trainer
        start = max((kept for kept in self._kept if kept.step <= step), key=lambda kept: kept.step)
        with self._put_back(), modes_kept(trainer.net):
            self._set(start)
            trainer.net.train()
            self._walk(start.step, int(step))
            then = self._now(int(step))
            batch = self._batch_after(int(step))
            if is_next_made and batch:
                self._walk(int(step), int(step) + 1)
        net, optimizer = copy.deepcopy((trainer.net, trainer.optimizer))
        net.load_arrays(then.net)
        optimizer.load_arrays(then.optimizer, net.parameters())
        return net, optimizer, batch

    @contextmanager
    def _put_back(self) -> Iterator[None]:
        """Afterwards everything is as it is now."""
        now = self._now(self.end)
        try:
            yield
        finally:
            self._set(now)

    def _walk(self, start: int, stop: int) -> None:
        """Make the steps after `start` up to `stop` again."""
        if start == stop:
            return
        trainer, left_out = self.trainer, {skipped.step for skipped in self.trainer.history.skipped}
        length = self._steps_in_epoch()
        step = start
        while step < stop:
            epoch, batch = divmod(step, length)
            many = min(stop - step, length - batch)
            wanted = [step + 1 + number not in left_out for number in range(many)]
            for number, loss in zip(itertools.count(step), trainer.again(epoch, batch, wanted), strict=False):
                before = self.losses[number - self.begin]
                if loss != before and not (np.isnan(loss) and np.isnan(before)):
                    raise DataError(
                        f"step {number + 1} of the run had the loss {before!r}, but made again it comes to {loss!r}: "
                        "data, layers, loss or optimizer were changed since. Keep them as they were to go back."
                    )
            step += many
            if batch + many == length:
                trainer.observe(trainer.history.epochs[epoch])

    def _steps_in_epoch(self) -> int:
        if not self.trainer.source.batches:
            raise ArgumentError(
                "going back needs batches that can be counted and walked again: train on arrays, or a list of batches."
            )
        return self.trainer.source.batches

    def _batch_after(self, step: int) -> tuple[Array, ...]:
        if step == self.end:
            return ()
        epoch, batch = divmod(step, self._steps_in_epoch())
        return next(iter(self.trainer.source.epoch(epoch, skip=batch)))
