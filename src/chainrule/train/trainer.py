"""The trainer: walks epochs and batches, calls `steps.train_step`, and tells the callbacks what happened.

All that a run consists of hangs on it, so that a checkpoint can write it down between any two steps.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from chainrule.engine import random
from chainrule.errors import ArgumentError, DataError, NonFiniteError
from chainrule.nn.module import Module
from chainrule.nn.optimizers import Optimizer
from chainrule.train.evaluation import measure, scores
from chainrule.train.history import History, Row, Skipped
from chainrule.train.inputs import BatchSource, Rows, ShuffledRows
from chainrule.train.metrics import Metric
from chainrule.train.native import NativeSteps
from chainrule.train.nonfinite import Culprit, culprit_of
from chainrule.train.steps import LossFunction, Measurement, as_input, modes_kept, net_dtype, train_step
from chainrule.train.trial import Trial

Array = np.ndarray[Any, Any]
_MOST_SKIPPED = 20  # bad steps in a row that are left out; more of them are no accident


class Probe(Protocol):
    """Looks into some steps of a run, such as `cr.look.Watch`."""

    def is_due(self, step: int) -> bool:
        """Whether to look into a step, counted from 1."""

    def measurement(self, trainer: Trainer) -> Measurement:
        """What looks into one step while it is made or traced."""

    def note(self, trainer: Trainer, step: int, loss: float, measured: Sequence[Array]) -> None:
        """Write down what was measured in a step."""


class Callback:
    """Hooks into a run; each gets the `Trainer`. Subclass and write the ones you need.

    Attributes
    ----------
    each_batch
        Whether `on_batch_end` has to be called after each update. Where nobody needs that, a compiled run makes many
        steps at once, about 50 ms of them, and calls it after those. Default yes.
    probe
        What looks into the steps themselves; default nothing. A run has one at most.
    """

    each_batch = True
    probe: Probe | None = None

    def on_train_begin(self, trainer: Trainer) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Before the first batch of an epoch; `trainer.epoch` epochs are done."""

    def on_batch_end(self, trainer: Trainer) -> None:
        """After each update; `trainer.batch_loss` is the loss before it."""

    def pauses_after(self, step: int) -> bool:
        """Whether `on_batch_end` has to be called right after a step, counted from 1, although others need not."""
        return False

    def shows_progress(self) -> bool:
        """Whether it shows the run on standard error itself; `fit` then shows nothing beside it."""
        return False

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After a whole epoch and its validation; it is the last row of `trainer.history`."""

    def on_last_step(self, trainer: Trainer) -> None:
        """When no step follows any more, unless the run failed: the moment to write it down as it is."""

    def on_train_end(self, trainer: Trainer) -> None:
        """At the very end, also when the run failed: the moment to restore the best parameters."""

    def arrays(self) -> dict[str, Array]:
        """What a checkpoint must keep of this callback."""
        return {}

    def load_arrays(self, arrays: dict[str, Array]) -> None:
        """Take back what `arrays` gave."""


@dataclass
class Part:
    """The epoch under way, as far as it has come."""

    learning_rate: float = math.nan
    batches: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    seconds: float = 0.0
    seen: list[tuple[Array, ...]] = field(default_factory=list)  # answers, targets, weights; for the metrics

    @property
    def loss(self) -> float:
        """The mean loss so far, by the weights of the rows."""
        return self.loss_sum / self.weight_sum if self.weight_sum else math.nan


class Trainer:
    """A run under way; callbacks get it.

    Attributes
    ----------
    net, optimizer, loss, metrics
        What learns, how it is corrected, and what measures it.
    source, validation
        Where batches come from, and the rows held out (or None).
    history
        The rows of the epochs so far.
    epoch, epochs
        Epochs done, and how many there shall be.
    part
        The epoch under way: its batches so far, its loss so far.
    batch_loss, rows_seen
        The loss of the last step, and the rows learned from since the start.
    skips_bad_steps
        Whether a step that makes something infinite or NaN is left out, rather than ending the run.
    losses
        Where the loss of every step is noted, if anybody wants it: NaN for one that was left out.
    trial
        What network, loss and data are expected to be to each other, where that is not known yet.
    interrupted
        Set it to end the run after the step under way, as Ctrl-C does.
    """

    def __init__(
        self,
        net: Module,
        optimizer: Optimizer,
        loss: LossFunction,
        metrics: Sequence[Metric],
        callbacks: Sequence[Callback],
        source: BatchSource,
        validation: Rows | None,
        epochs: int,
        seed: int,
        compile: bool = True,
        skips_bad_steps: bool = False,
        trial: Trial | None = None,
    ) -> None:
        self.net, self.optimizer, self.loss = net, optimizer, loss
        self.metrics, self.callbacks = tuple(metrics), tuple(callbacks)
        self.source, self.validation = source, validation
        self.epochs, self.seed = epochs, seed
        self.history = History()
        self.epoch = 0
        self.part = Part()
        self.batch_loss = math.nan
        self.rows_seen = 0
        self.interrupted = False
        self.skips_bad_steps = skips_bad_steps
        self.trial = trial
        self._skipped_in_a_row = 0
        self.losses: array[float] | None = None
        self._reason = ""
        self.probe = _the_probe(self.callbacks)
        self._native = NativeSteps(self) if compile else None

    @property
    def part_of_epoch(self) -> float:
        """How much of the epoch under way is done, from 0 to 1; 0 where its length is unknown."""
        return min(1.0, self.part.batches / self.source.batches) if self.source.batches else 0.0

    @property
    def steps(self) -> int:
        """How many steps were made since the start, over all epochs."""
        return int(sum(row["steps"] for row in self.history.epochs[: self.epoch])) + self.part.batches

    @property
    def wants_each_batch(self) -> bool:
        """Whether a callback has to be called after each update."""
        return any(
            callback.each_batch and type(callback).on_batch_end is not Callback.on_batch_end
            for callback in self.callbacks
        )

    def stop(self, reason: str) -> None:
        """End the run after this epoch."""
        self._reason = reason

    def prepare(self) -> None:
        """See whether network, loss and data fit, before anybody is told that the run begins."""
        if self.trial is None:
            return
        native = self._native if self.probe is None and self.epoch < self.epochs else None
        if native is None or not isinstance(self.source, ShuffledRows):
            self.trial.try_out()
            return
        with modes_kept(self.net):
            self.net.train()
            native.prepare(self.source)

    def run(self) -> None:
        """Walk the epochs that are left."""
        with modes_kept(self.net):
            try:
                self.tell("on_train_begin")
                while self.epoch < self.epochs and not self._reason and not self.interrupted:
                    self._one_epoch()
                if self._native is not None:
                    self._native.finish()
                self.history.stopped = "interrupted" if self.interrupted else self._reason or "epochs"
                self.tell("on_last_step")
            except BaseException:
                self.history.stopped = "failed"
                raise
            finally:
                self.tell("on_train_end")

    def _one_epoch(self) -> None:
        """One pass over the data, or what an interrupted run had left of it."""
        began = time.perf_counter() - self.part.seconds
        if not self.part.batches:
            self.part.learning_rate = self.optimizer.current_learning_rate()
        self.tell("on_epoch_begin")
        self.net.train()
        for _ in self._steps():
            self.tell("on_batch_end")
            if self.interrupted:
                break
        if self.interrupted and self.part_of_epoch < 1:
            self._close(began)
            return
        if not self.part.batches:
            raise DataError("the data gave no batch in this epoch; an iterator can be walked only once: give a list.")
        row = self._row()
        if self.validation is not None:
            row |= measure(self.net, self.validation, self.loss, self.metrics, prefix="validation_")
        row |= {"learning_rate": self.part.learning_rate, "steps": self.part.batches}
        row["seconds"] = time.perf_counter() - began
        self.history.epochs.append(row)
        self.epoch, self.part = self.epoch + 1, Part()
        self.observe(row)
        self.tell("on_epoch_end")

    def observe(self, row: Row) -> None:
        """Tell a schedule that follows the loss how the epoch of a row ended."""
        observe = getattr(self.optimizer.learning_rate, "observe", None)
        if observe is not None:
            observe(row[self.history.monitored])

    def again(self, epoch: int, batch: int, wanted: Sequence[bool]) -> Iterator[float]:
        """Make steps of the run anew, from a batch (from 0) of an epoch on, without counting them; gives their losses.

        `wanted` tells which of them: the others were left out, and have no loss.
        """
        if self._native is not None and isinstance(self.source, ShuffledRows):
            yield from self._native.again(self.source, epoch, batch, wanted)
            return
        dtype = net_dtype(self.net)
        for arrays, is_wanted in zip(self.source.epoch(epoch, skip=batch), wanted, strict=False):
            if is_wanted and (len(arrays) < 3 or np.any(arrays[2])):
                x, y, *weights = (as_input(array, dtype) for array in arrays)
                step = train_step(self.net, self.loss, self.optimizer, x, y, weights[0] if weights else None)
                yield step[1].item()
            else:
                yield math.nan

    def _row(self) -> Row:
        """Loss and metrics of the epoch under way, over the batches so far."""
        row: Row = {"epoch": self.epoch + 1, "loss": self.part.loss}
        return row | scores(self.metrics, self.part.seen)

    def _close(self, began: float) -> None:
        """Note how far an interrupted epoch came; it is not validated, and not counted as done."""
        self.part.seconds = time.perf_counter() - began
        if self.part.batches:
            row = self._row()
            if self.validation is not None:
                row |= {"validation_loss": math.nan} | {f"validation_{m.name}": math.nan for m in self.metrics}
            row |= {"learning_rate": self.part.learning_rate, "steps": self.part.batches}
            self.history.epochs.append(row | {"seconds": self.part.seconds})

    def _steps(self) -> Iterator[None]:
        """Learn from the batches that this epoch has left; stops between steps, one or many at a time."""
        if self._native is not None and isinstance(self.source, ShuffledRows):
            yield from self._native.epoch(self.source)
        else:
            for batch in self.source.epoch(self.epoch, skip=self.part.batches):
                self.one_step(batch)
                yield

    def count(self, error: float, weight: float, rows: int, answers: Array | None, rest: tuple[Array, ...]) -> None:
        """Note a step that was made: its loss, the weight and number of its rows, and for the metrics its answers."""
        self.part.batches += 1
        self.rows_seen += rows
        self._skipped_in_a_row = 0
        if self.losses is not None:
            self.losses.append(error)
        if weight:
            self.batch_loss = error
            self.part.loss_sum += error * weight
            self.part.weight_sum += weight
            if answers is not None:
                self.part.seen.append((answers, *rest))

    def one_step(self, batch: tuple[Array, ...]) -> None:
        """Learn from one batch on the reference executor."""
        dtype = net_dtype(self.net)
        x, y = as_input(batch[0], dtype), as_input(batch[1], dtype)
        weights = as_input(batch[2], dtype) if len(batch) > 2 else None
        weight = float(np.sum(batch[2], dtype=np.float64)) if weights is not None else float(len(batch[0]))
        if not weight:
            self.count(math.nan, 0.0, len(batch[0]), None, ())
            return  # rows that weigh nothing teach nothing
        probe = self.probe if self.probe is not None and self.probe.is_due(self.steps + 1) else None
        look = None if probe is None else probe.measurement(self)
        before = _Before(self.net, self.optimizer)
        try:
            answers, error, figures = train_step(self.net, self.loss, self.optimizer, x, y, weights, look)
        except NonFiniteError as cause:
            before.restore()  # a batch norm has seen the bad batch by now
            self.went_wrong(str(cause), batch, self._rows_of_next())
            return
        self.count(error.item(), weight, len(batch[0]), np.asarray(answers) if self.metrics else None, batch[1:])
        if probe is not None:
            probe.note(self, self.steps, error.item(), [np.asarray(figure) for figure in figures])

    def _rows_of_next(self) -> Array | None:
        """The numbers of the rows of the step that is about to be counted, where they have numbers."""
        if not isinstance(self.source, ShuffledRows):
            return None
        return next(self.source.numbers(self.epoch, skip=self.part.batches), None)

    def went_wrong(self, cause: str, batch: tuple[Array, ...], rows: Array | None) -> None:
        """The step after those that were counted made something infinite or NaN; all states are as before it.

        Raises
        ------
        NonFiniteError
            Unless such steps are to be left out; then it is noted in the history and counted without a loss.
        """
        dtype = net_dtype(self.net)
        tensors = [as_input(array, dtype) for array in batch]
        found = culprit_of(self.net, self.loss, self.optimizer, tensors, rows)
        cause = cause if found is None else found.result
        failure = self.failure(cause, found)
        self._skipped_in_a_row += 1
        if not self.skips_bad_steps:
            raise failure
        if self._skipped_in_a_row > _MOST_SKIPPED:
            raise NonFiniteError(
                f"{_MOST_SKIPPED} steps in a row were left out; this cannot go on. {failure}", found, *self._now()
            )
        step, epoch = self._now()
        self.history.skipped.append(Skipped(step, epoch, cause if found is None else f"{cause}. {found}"))
        self.part.batches += 1
        self.rows_seen += len(batch[0])
        if self.losses is not None:
            self.losses.append(math.nan)

    def _now(self) -> tuple[int, int]:
        """The numbers of the step after those that were counted, and of its epoch, from 1."""
        return self.steps + 1, self.epoch + 1

    def failure(self, cause: str, found: Culprit | None = None) -> NonFiniteError:
        """What to raise when the step after those that were counted went wrong."""
        what = (
            "Try a smaller learning rate or clip_global_norm=1.0 in the optimizer, and look for extreme values in the "
            "data."
        )
        message = (
            f"{cause} in epoch {self.epoch + 1}, step {self.part.batches + 1}, so training stopped there; the network "
            f"is as it was before this step. {what if found is None else found}"
        )
        return NonFiniteError(message, found, *self._now())

    def tell(self, moment: str) -> None:
        """Call a hook of every callback."""
        for callback in self.callbacks:
            getattr(callback, moment)(self)


def _the_probe(callbacks: Sequence[Callback]) -> Probe | None:
    """The one that looks into steps, if any."""
    probes = [callback.probe for callback in callbacks if callback.probe is not None]
    if len(probes) > 1:
        names = " and ".join(type(probe).__name__ for probe in probes)
        raise ArgumentError(f"callbacks: only one may look into the steps of a run, but {names} would; keep one.")
    return probes[0] if probes else None


class _Before:
    """Everything that an eager step may change, as it was."""

    def __init__(self, net: Module, optimizer: Optimizer) -> None:
        states = [*net.parameters(), *(state for _, state in net.named_states()), random.default().counter]
        self.values = [(state, state.value) for state in states]
        self.net, self.optimizer, self.remembered = net, optimizer, optimizer.arrays()

    def restore(self) -> None:
        """Put it back."""
        for state, value in self.values:
            state.assign(value)
        self.optimizer.load_arrays(self.remembered, self.net.parameters())
