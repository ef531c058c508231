"""Epochs at native speed: slices of many steps in one call, and what to do when one of them goes wrong.

The compiled step looks for nothing on its way. A loss or a parameter that is not finite is found after a slice; then
the run goes back to the states it last kept, makes the steps again one by one, and lets the reference executor name
what went wrong in the first bad one.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.engine.loop import can_gather
from chainrule.engine.state import State
from chainrule.errors import TraceError
from chainrule.train.inputs import ShuffledRows
from chainrule.train.steps import as_input, compiled_step, net_dtype

if TYPE_CHECKING:
    from chainrule.engine.program import Program
    from chainrule.train.trainer import Trainer

Array = np.ndarray[Any, Any]
SLICE = 0.05  # seconds of steps in one native call
_GROWTH = 8  # a slice has at most so many times the steps of the one before
_SHARE = 0.02  # of the time may go into keeping states
_LARGEST = 2**28  # bytes of states that are kept; above that a failed run cannot go back


class NativeSteps:
    """The compiled step of a trainer, and the slices in which it is made.

    Parameters
    ----------
    trainer
        Whose network learns.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.step = compiled_step(trainer.net, trainer.loss, trainer.optimizer, bool(trainer.metrics))
        self.watched = None  # the same step with what is measured in it
        if trainer.probe is not None:
            look = functools.partial(trainer.probe.measurement, trainer)
            self.watched = compiled_step(trainer.net, trainer.loss, trainer.optimizer, bool(trainer.metrics), look)
        self.kept = _Kept()
        self.seconds = 0.0  # a step takes
        self.last = 0  # steps in the longest slice

    def epoch(self, source: ShuffledRows) -> Iterator[None]:
        """Learn from the batches of the epoch under way that are left; stops after each slice."""
        arrays = self._gatherable(source.rows.arrays)
        waiting: list[Array] = []
        is_due = False
        for step, numbers in enumerate(
            source.numbers(self.trainer.epoch, skip=self.trainer.part.batches), self.trainer.steps + 1
        ):
            due = self._is_due(step)
            alike = waiting and len(numbers) == len(waiting[0]) and due == is_due
            if waiting and (not alike or len(waiting) >= self._length()):
                self._slice(arrays, np.stack(waiting), is_due)
                yield
                waiting = []
            waiting.append(numbers)
            is_due = due
        if waiting:
            self._slice(arrays, np.stack(waiting), is_due)
            self._require_finite(arrays)
            yield

    def _length(self) -> int:
        """Steps of the next slice."""
        if self.trainer.wants_each_batch or not self.seconds:
            return 1
        return max(1, min(round(SLICE / self.seconds), _GROWTH * self.last))

    def _gatherable(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        """The arrays in types and without gaps, so that batches can be gathered from them natively."""
        dtype = net_dtype(self.trainer.net)
        found = []
        for array in arrays:
            wanted = as_input(array[:1], dtype).dtype
            fits = can_gather(array.dtype, wanted)
            found.append(np.ascontiguousarray(array if fits else array.astype(wanted)))
        return tuple(found)

    def _is_due(self, step: int) -> bool:
        return self.trainer.probe is not None and self.trainer.probe.is_due(step)

    def _slice(self, arrays: tuple[Array, ...], rows: Array, watched: bool) -> None:
        """Make the steps of one slice and count them."""
        rows = self._without_weightless(arrays, rows)
        if not len(rows):
            return
        program = self._program(arrays, rows, watched)
        self.kept.before(program, rows)
        began = time.perf_counter()
        losses, *rest_of_results = program.loop(arrays, rows)
        self.seconds, self.last = (time.perf_counter() - began) / len(rows), max(self.last, len(rows))
        if not np.isfinite(losses).all():
            self._explain_failure(arrays, uncounted=len(rows))
        count = 1 if self.trainer.metrics else 0
        guesses, figures = rest_of_results[:count], rest_of_results[count:]
        for number, chosen in enumerate(rows):
            rest = tuple(array[chosen] for array in arrays[1:]) if guesses or len(arrays) > 2 else ()
            weight = float(np.sum(rest[1], dtype=np.float64)) if len(arrays) > 2 else float(len(chosen))
            answers = guesses[0][number] if guesses else None
            self.trainer.count(float(losses[number]), weight, len(chosen), answers, rest)
            if watched and self.trainer.probe is not None:
                measured = [figure[number] for figure in figures]
                self.trainer.probe.note(self.trainer, self.trainer.steps, float(losses[number]), measured)

    def _program(self, arrays: tuple[Array, ...], rows: Array, watched: bool = False) -> Program:
        dtype = net_dtype(self.trainer.net)
        batch = [as_input(array[rows[0]], dtype) for array in arrays]
        try:
            return (self.watched if watched and self.watched else self.step).program(*batch)
        except TraceError as error:
            raise TraceError(f"{error} Or train with compile=False, which runs every step on NumPy.") from error

    def _without_weightless(self, arrays: tuple[Array, ...], rows: Array) -> Array:
        """Rows that weigh nothing teach nothing: such batches are only counted."""
        if len(arrays) < 3:
            return rows
        teaches = arrays[2][rows].any(axis=1)
        for _ in range(int((~teaches).sum())):
            self.trainer.count(float("nan"), 0.0, rows.shape[1], None, ())
        return rows[teaches]

    # --- When something is not finite ---

    def _require_finite(self, arrays: tuple[Array, ...]) -> None:
        """At the end of an epoch, before anybody uses the parameters: are they numbers?"""
        if not _is_sound(self.trainer.net.parameters()):
            self._explain_failure(arrays)

    def _explain_failure(self, arrays: tuple[Array, ...], uncounted: int = 0) -> None:
        """Go back, make the steps again one by one up to the first bad one, and let the reference executor name it."""
        trainer = self.trainer
        trainer.part.batches += uncounted - sum(map(len, self.kept.since))  # the steps of the epoch until the states
        if not self.kept.restore():
            raise trainer.failure("the loss or a parameter became infinite or NaN")
        for row in np.concatenate(self.kept.since):
            program = self._program(arrays, row[None])
            before = _Kept()
            before.take(program)
            (loss, *_) = program.loop(arrays, row[None])
            if not np.isfinite(loss).all() or not _is_sound(trainer.net.parameters()):
                before.restore()
                trainer.one_step(tuple(array[row] for array in arrays))
                before.restore()
                break
            trainer.part.batches += 1
        raise trainer.failure("the loss or a parameter became infinite or NaN")


def _is_sound(states: Iterable[State]) -> bool:
    return all(np.isfinite(state.look()).all() for state in states if state.dtype.kind == "f")


class _Kept:
    """The states as they were, and the rows of the steps made since."""

    def __init__(self) -> None:
        self.states: list[tuple[State, Array]] = []
        self.since: list[Array] = []
        self.cost = 0.0  # seconds that keeping them took
        self.at = 0.0

    def before(self, program: Program, rows: Array) -> None:
        """Note that a slice is about to be made; keep the states anew where that costs little beside the steps."""
        if not self.states or time.perf_counter() - self.at > self.cost / _SHARE:
            self.take(program)
        self.since.append(rows)

    def take(self, program: Program) -> None:
        """Keep the states that the program assigns, unless they are not sound any more or too large."""
        began = time.perf_counter()
        written = program.traced.writes
        if sum(state.look().nbytes for state in written) <= _LARGEST and _is_sound(written):
            self.states = [(state, state.look().copy()) for state in written]
            self.since = []
        self.at = time.perf_counter()
        self.cost = self.at - began

    def restore(self) -> bool:
        """Put the kept states back; False if there are none."""
        for state, value in self.states:
            state.assign(value)
        return bool(self.states)
