"""Epochs at native speed: slices of many steps in one call, and what to do when one of them goes wrong.

The compiled step looks for nothing on its way. A loss or a parameter that is not finite is found after a slice; then
the run goes back to the states it last kept, makes the steps again one by one, and has the first bad one named, node by
node on the reference executor. It ends there, or goes on without that step.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.engine.gathering import can_gather
from chainrule.engine.state import Parameter, State
from chainrule.errors import TraceError
from chainrule.train.inputs import ShuffledRows
from chainrule.train.steps import as_input, compiled_step, net_dtype

if TYPE_CHECKING:
    from chainrule.engine.program import Program
    from chainrule.train.trainer import Trainer

Array = np.ndarray[Any, Any]
SLICE = 0.05  # seconds of steps in one native call
_GROWTH = 8  # a slice has at most so many times the steps of the one before
_SHARE = 0.003  # of the time may go into keeping states, and into looking at all of them
BAD = "the loss or a parameter became infinite or NaN"
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
        of = trainer.net, trainer.loss, trainer.optimizer, bool(trainer.metrics)
        self.step = compiled_step(*of, expectation=trainer.trial)
        self.watched = None  # the same step with what is measured in it
        if trainer.probe is not None:
            look = functools.partial(trainer.probe.measurement, trainer)
            self.watched = compiled_step(*of, look, trainer.trial)
        self.kept = _Kept()
        self.learned: dict[Program, list[State]] = {}
        self.last_batch: tuple[tuple[Array, ...], Array] | None = None  # the arrays, and the rows of the last step
        self.seconds = 0.0  # a step takes
        self.last = 0  # steps in the longest slice

    def prepare(self, source: ShuffledRows) -> None:
        """Make the program of the first step."""
        arrays = source.rows.arrays
        self._program(arrays, np.arange(min(source.batch_size, len(source.rows)))[None])

    def epoch(self, source: ShuffledRows) -> Iterator[None]:
        """Learn from the batches of the epoch under way that are left; stops after each slice."""
        if hasattr(self.trainer.optimizer.learning_rate, "observe"):
            self.kept.forget()  # the schedule may have changed since, so that older steps could not be made again
        arrays = self._gatherable(source.rows.arrays)
        waiting: list[Array] = []
        due: list[bool] = []  # whether each is watched
        last = None
        for step, numbers in enumerate(
            source.numbers(self.trainer.epoch, skip=self.trainer.part.batches), self.trainer.steps + 1
        ):
            if waiting and (len(numbers) != len(waiting[0]) or len(waiting) >= self._length()):
                self._slice(arrays, np.stack(waiting), np.array(due))
                yield
                waiting, due = [], []
            waiting.append(numbers)
            due.append(self._is_due(step))
            last = numbers
            if any(callback.pauses_after(step) for callback in self.trainer.callbacks):
                self._slice(arrays, np.stack(waiting), np.array(due))
                yield
                waiting, due = [], []
        if waiting:
            self._slice(arrays, np.stack(waiting), np.array(due))
        if last is not None:
            self.last_batch = arrays, last
            self._require_finite(arrays, last, everything=self.trainer.epoch + 1 >= self.trainer.epochs)
        if waiting:
            yield

    def again(self, source: ShuffledRows, epoch: int, batch: int, wanted: Sequence[bool]) -> Iterator[float]:
        """See `Trainer.again`."""
        arrays = self._gatherable(source.rows.arrays)
        for chosen, is_wanted in zip(source.numbers(epoch, skip=batch), wanted, strict=False):
            if is_wanted and (len(arrays) < 3 or arrays[2][chosen].any()):
                yield float(self._program(arrays, chosen[None]).loop(arrays, chosen[None])[0][0])
            else:
                yield float("nan")

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

    def _slice(self, arrays: tuple[Array, ...], rows: Array, due: Array) -> None:
        """Make the steps of one slice and count them; rows that weigh nothing teach nothing, and are only counted."""
        teaches = np.asarray(arrays[2][rows].any(axis=1) if len(arrays) > 2 else np.ones(len(rows), bool))
        batches = self.trainer.part.batches + np.flatnonzero(teaches)
        made, watched = rows[teaches], due[teaches]
        results: list[Array] = []
        if len(made):
            program = self._program(arrays, made, bool(watched.all()))
            if not self.kept.before(program):
                self._go_back(arrays)
                self.kept.take(program)
            self.kept.note(self.trainer.epoch, batches, made)
            began = time.perf_counter()
            results = self._loop(program, arrays, made, watched)
            self.kept.remember(program)
            self.seconds, self.last = (time.perf_counter() - began) / len(made), max(self.last, len(made))
            if not np.isfinite(results[0]).all():
                self._go_back(arrays, uncounted=len(made))
        is_bad = bool(len(made)) and not np.isfinite(results[0]).all()
        each = self._each(results, watched)
        for chosen, counts, is_watched in zip(rows, teaches, due, strict=True):
            if not counts:
                self.trainer.count(float("nan"), 0.0, len(chosen), None, ())
                continue
            found = self._carefully(arrays, chosen, bool(is_watched)) if is_bad else next(each)
            if found is None:
                self._went_wrong(arrays, chosen)
            else:
                self._count(arrays, chosen, found, bool(is_watched))
        if is_bad:
            self.kept.take(program)
            self.kept.remember(program)

    def _loop(self, program: Program, arrays: tuple[Array, ...], rows: Array, watched: Array) -> list[Array]:
        """The steps in one native call, the watched among them made by the program that looks into itself."""
        if watched.all() or not watched.any():
            return program.loop(arrays, rows)
        return program.loop(arrays, rows, variant=self._program(arrays, rows, watched=True), at=watched)

    def _each(self, results: Sequence[Array], watched: Array) -> Iterator[list[Array]]:
        """The results of each step; what was measured is there for the watched ones alone."""
        plain = 2 if self.trainer.metrics else 1
        measured = zip(*results[plain:], strict=True)
        for *found, is_watched in zip(*results[:plain], watched, strict=True):
            yield [*found, *(next(measured) if is_watched else ())]

    def _count(self, arrays: tuple[Array, ...], chosen: Array, results: Sequence[Array], watched: bool) -> None:
        """Tell the trainer of a step that was made, and of what was measured in it."""
        loss, *others = results
        guesses = others.pop(0) if self.trainer.metrics else None
        rest = tuple(array[chosen] for array in arrays[1:]) if guesses is not None or len(arrays) > 2 else ()
        weight = float(np.sum(rest[1], dtype=np.float64)) if len(arrays) > 2 else float(len(chosen))
        self.trainer.count(float(loss), weight, len(chosen), guesses, rest)
        if watched and self.trainer.probe is not None:
            self.trainer.probe.note(self.trainer, self.trainer.steps, float(loss), others)

    def _program(self, arrays: tuple[Array, ...], rows: Array, watched: bool = False) -> Program:
        dtype = net_dtype(self.trainer.net)
        batch = [as_input(array[rows[0]], dtype) for array in arrays]
        try:
            return (self.watched if watched and self.watched else self.step).program(*batch)
        except TraceError as error:
            raise TraceError(f"{error} Or train with compile=False, which runs every step on NumPy.") from error

    # --- When something is not finite ---

    def _learned_by(self, program: Program) -> list[State]:
        """What an update writes: parameters, and what the optimizer remembers. An infinite moment stays unseen else."""
        if program not in self.learned:
            own = {state for _, state in self.trainer.net.named_states()}
            self.learned[program] = [state for state in program.traced.writes if state not in own]
        return self.learned[program]

    def finish(self) -> None:
        """After the last step of a run, that may have come early: is everything a number?"""
        if self.last_batch is not None:
            self._require_finite(*self.last_batch, everything=True)

    def _require_finite(self, arrays: tuple[Array, ...], chosen: Array, *, everything: bool) -> None:
        """At the end of an epoch, before anybody uses the parameters: are they numbers?

        `everything`: also what the optimizer remembers, at which else is looked before the states are kept anew.
        """
        learned = self._learned_by(self._program(arrays, chosen[None]))
        everything = everything or self.kept.is_due
        if not _is_sound(state for state in learned if everything or isinstance(state, Parameter)):
            self._go_back(arrays)

    def _go_back(self, arrays: tuple[Array, ...], uncounted: int = 0) -> None:
        """Go back to the states that were kept, and make the steps since then again, each looked at.

        The last `uncounted` of them are left to be made. A bad one ends the run, or is left out.
        """
        trainer, now = self.trainer, (self.trainer.epoch, self.trainer.part.batches)
        if not self.kept.restore():
            raise trainer.failure(BAD)
        since = [(epoch, *step) for epoch, *slice_ in self.kept.since for step in zip(*slice_, strict=True)]
        for epoch, batch, chosen in since[: len(since) - uncounted]:
            if self._carefully(arrays, chosen, False) is None:
                trainer.epoch, trainer.part.batches = epoch, int(batch)
                self._went_wrong(arrays, chosen)
                trainer.epoch, trainer.part.batches = now

    def _carefully(self, arrays: tuple[Array, ...], chosen: Array, watched: bool) -> list[Array] | None:
        """One step alone: its results, or None, and nothing changed, if something became infinite or NaN."""
        program = self._program(arrays, chosen[None], watched)
        before = _Kept()
        before.take(program)
        results = program.loop(arrays, chosen[None])
        if np.isfinite(results[0]).all() and _is_sound(self._learned_by(program)):
            return [result[0] for result in results]
        before.restore()
        return None

    def _went_wrong(self, arrays: tuple[Array, ...], chosen: Array) -> None:
        self.trainer.went_wrong(BAD, tuple(array[chosen] for array in arrays), chosen)


def _is_sound(states: Iterable[State]) -> bool:
    with np.errstate(all="ignore"):
        return all(_is_finite(state.look()) for state in states if state.dtype.kind == "f")


def _is_finite(array: Array) -> bool:
    """Whether all elements are. Their sum tells it in one quick pass, unless it overflows itself."""
    return math.isfinite(np.add.reduce(array, axis=None)) or bool(np.isfinite(array).all())


class _Kept:
    """The states as they were, and the steps made since, by slices: their epoch, their numbers in it, their rows."""

    def __init__(self) -> None:
        self.states: list[tuple[State, Array]] = []
        self.rooms: dict[State, Array] = {}  # arrays of its own, into which it copies
        self.since: list[tuple[int, Array, Array]] = []
        self.left: list[tuple[State, Array]] = []  # the array of each state after the last slice
        self.cost = 0.0  # seconds that keeping them took
        self.at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the steps since the states were last kept took so long that keeping them again costs little."""
        return time.perf_counter() - self.at > self.cost / _SHARE

    def before(self, program: Program) -> bool:
        """Keep the states anew where that costs little beside the steps, and where somebody else has assigned one.

        Returns False if they became infinite or NaN in the steps since they were last kept.
        """
        moved = any(state.look() is not array for state, array in self.left)
        if not self.states or moved or self.is_due:
            return self.take(program) or moved or not self.states or not self.since
        return True

    def note(self, epoch: int, batches: Array, rows: Array) -> None:
        """A slice is about to be made."""
        self.since.append((epoch, batches, rows))

    def remember(self, program: Program) -> None:
        """A slice was made: which arrays hold the states now."""
        self.left = [(state, state.look()) for state in program.traced.writes]

    def forget(self) -> None:
        """Keep nothing."""
        self.states, self.since, self.rooms = [], [], {}

    def take(self, program: Program) -> bool:
        """Keep the states that the program assigns, unless they are too large, or not sound any more (False then)."""
        began = time.perf_counter()
        written = program.traced.writes
        is_sound = _is_sound(written)
        if sum(state.look().nbytes for state in written) <= _LARGEST and is_sound:
            self.states = [(state, self._value(state)) for state in written]
            self.since = []
        self.at = time.perf_counter()
        self.cost = self.at - began
        return is_sound

    def _value(self, state: State) -> Array:
        """The value of a state as it is now: itself where no program writes to it, else a copy, in an array that is
        there already if there is one, as fresh memory costs more than what is written to it."""
        array = state.look()
        if not state.is_lent:
            return array
        room = self.rooms.get(state)
        if room is None:
            room = self.rooms[state] = array.copy()
        else:
            np.copyto(room, array)
        return room

    def restore(self) -> bool:
        """Put the kept states back; False if there are none."""
        for state, value in self.states:
            state.assign(value.copy())  # `take` may write into the arrays that are kept
        return bool(self.states)
