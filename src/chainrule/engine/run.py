"""What a program holds while it can be called: the table of pointers, the arena, the states it works on.

A run binds arrays to the slots of the table, starts the native step with the team, and raises what native code could
only note down. Many steps are made in slices, so that Ctrl-C is answered between them.

A call should cost little more than the native code. To ask an array where it begins takes longer than to copy a few
kilobytes, so small arguments and results have a place of their own and are copied there and from there; and states are
asked where their values are only after some state in the process has got another array.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.budget import require_room_for_results
from chainrule.engine.context import places
from chainrule.engine.dtypes import DType
from chainrule.engine.gathering import (
    APART,
    DONE,
    FIRST,
    GUARDS,
    JOB,
    LOOP,
    PLACES,
    ROWS,
    ROWS_AT,
    SITES,
    SOON_AT,
    STEP_AT,
    STEPS,
    STOP,
    TURNS,
    VARIANT_AT,
    VARIANT_JOB,
    WRONG,
    Results,
)
from chainrule.engine.graph import Shape
from chainrule.engine.looping import Signature, checked_rows, loop_module, sizes_of, turns_of
from chainrule.engine.native import Native
from chainrule.engine.pace import Pace
from chainrule.engine.recipe import STEP, Recipe
from chainrule.engine.room import aligned
from chainrule.engine.target import Target
from chainrule.engine.team import Team, team
from chainrule.engine.trace import Traced
from chainrule.errors import ArgumentError, ChainruleError, DTypeError, ShapeError

Array = np.ndarray[Any, Any]
SLICE = 0.05  # seconds of steps in one native call of a loop
_TELLING = 0.005  # seconds of a slice from which it says something about the pace: waking a worker takes a little
_GROWTH = 8  # a slice has at most so many times the steps of the one before
_PATIENT = 1 << 18  # looks for workers: a loop is long, and a busy system may take some milliseconds to wake them
_COPIED = 2**14  # bytes of an argument or a result up to which it is copied
_BYTE = ctypes.c_char
_ENTRY = functools.cache(ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64))


class Stop:
    """A flag that ends a native loop before its next step."""

    def __init__(self) -> None:
        self.word = np.zeros(1, np.int64)

    def set(self) -> None:
        """Raise the flag."""
        self.word[0] = 1


def _enter_once(run: Run) -> threading.RLock:
    """The lock of a run, to go through; a thread that is inside already, in a signal handler, is refused.

    Only the lock itself knows who is inside: an interrupt can come between any two calls of Python code, so a flag
    beside it would stay up.
    """
    if run.lock._is_owned():  # type: ignore[attr-defined]  # as the standard library's own Condition asks
        raise ChainruleError(
            "a compiled function was called while the same thread is running it, as from a signal handler: set a flag "
            "there, and call the function afterwards."
        )
    return run.lock


class Run:
    """What a program holds in memory while it can be called: table of pointers, arena, scratch, states.

    `guard` is the run of what looks at the arguments before a step: it reads them where this one does.
    """

    def __init__(
        self,
        recipe: Recipe,
        native: Native,
        target: Target,
        arguments: Signature,
        results: Signature,
        traced: Traced,
        guard: Run | None = None,
    ) -> None:
        self.recipe, self.native, self.target, self.traced, self.guard = recipe, native, target, traced, guard
        self.arguments, self.results = arguments, results
        self.guarded = _guarded(traced)
        self.states = states = traced.reads
        written = set(traced.writes)
        self.written = [state in written for state in states]
        self.held: list[Array | None] = [None] * len(states)
        self.places: object = None  # of the states, when they were last asked for
        self.first_state = 1 + len(arguments)
        self.first_result = self.first_state + len(states)
        self.inputs, self.outputs = _places(arguments), _places(results)
        self.large = [number for number, place in enumerate(self.outputs) if place is None]
        self.is_bound = False  # whether the table points at the places of small results
        self.constants = [aligned(value) for value in recipe.arrays(traced)]
        self.table = np.zeros(self.first_result + len(results) + len(self.constants), np.int64)
        self.table[self.first_result + len(results) :] = [address_of(each) for each in self.constants]
        self.arena = aligned(np.zeros(max(1, recipe.arena), np.uint8))
        self.table[0] = address_of(self.arena)
        self.status = np.zeros(max(1, len(recipe.sites)), np.int64)
        self.job = np.zeros(JOB, np.int64)
        self.job[0], self.job[2] = address_of(self.table), address_of(self.status)
        self.job[SITES] = len(recipe.sites)
        self.in_order = np.arange(max([1, *(arguments[number][0][0] for number in recipe.in_place)]), dtype=np.int64)
        self.scratch = np.zeros(0, np.uint8)
        self._make_room(1)
        self.team: Team | None = None
        self.pace = Pace()
        self.paced = True  # False: always the whole team
        self.steps = 1  # of the next slice of a loop
        self.address = native.address(STEP)
        self.job_at = address_of(self.job)
        alone = ctypes.c_void_p(self.job_at), ctypes.c_int64(0), ctypes.c_int64(1)
        self.alone = functools.partial(_ENTRY(self.address), *alone)  # the step by one thread
        self.loops: dict[tuple[tuple[np.dtype[Any], ...], Results | None, bool], tuple[Native, int]] = {}
        self.batches: dict[int, Array] = {}  # into which a loop gathers, by the number of the argument
        self.lock = threading.RLock()
        if guard is not None:
            guard._bind_places()
        counted = None if guard is None else guard.outputs[0]
        self.found = np.zeros((), np.int64) if counted is None else counted  # how many wrong numbers
        _runs.add(self)

    def __call__(self, arguments: Sequence[Any]) -> list[Array]:
        """One step: returns its results and assigns the states."""
        if len(arguments) != len(self.arguments):
            raise ArgumentError(f"the program takes {len(self.arguments)} arguments, but got {len(arguments)}.")
        return self.on([
            fitting(argument, shape, dtype, number)
            for number, (argument, (shape, dtype)) in enumerate(zip(arguments, self.arguments, strict=True))
        ])  # fmt: skip

    def on(self, arguments: Sequence[Array]) -> list[Array]:
        """One step on arrays that are known to have the right shapes and data types."""
        with _enter_once(self):
            if not self.is_bound:
                self._bind_places()
            if self.places is not places.latest:
                self.bind_states()
            large = []
            for number, array in enumerate(arguments):
                place = self.inputs[number]
                if place is not None:
                    place[...] = array
                else:
                    large.append(self._bind(1 + number, contiguous(array)))
            fresh = self._bind_results() if self.large else {}
            if self.guard is not None:
                self.guard.alone()
                if self.found:
                    self.refuse(arguments)
            if self.recipe.sites:
                self.status[:] = 0  # an interrupt may have kept it from being looked at
            self.step()
            if self.recipe.sites:
                self.check()
            return [place.copy() if place is not None else fresh[number] for number, place in enumerate(self.outputs)]

    def _bind_results(self) -> dict[int, Array]:
        """Point at new arrays for the results that are not copied."""
        first = self.first_result
        return {number: self._bind(first + number, np.empty(*self.results[number])) for number in self.large}

    def _bind_places(self) -> None:
        """Point at the places of what is copied: a loop leaves the table pointing elsewhere."""
        self._forget_loop()
        for first, found in ((1, self.inputs), (self.first_result, self.outputs)):
            for slot, place in enumerate(found, first):
                if place is not None:
                    self._bind(slot, place)
        self.is_bound = True

    def _forget_loop(self) -> None:
        """Work in room of its own, on rows in their order: done before a run, as a loop may end at any moment."""
        self.table[0], self.job[3] = address_of(self.arena), address_of(self.scratch)
        self.job[ROWS_AT] = self.job[SOON_AT] = address_of(self.in_order)

    def _bind(self, slot: int, array: Array) -> Array:
        self.table[slot] = address = address_of(array)
        if self.guard is not None and slot < self.first_state:
            self.guard.table[slot] = address
        return array

    def bind_states(self) -> None:
        """Point at the states' arrays as they are now."""
        if self.places is places.latest:
            return
        latest = places.latest  # before looking: what another thread changes meanwhile is looked at next time
        held = self.held
        for number, state in enumerate(self.states):
            array = state.lend() if self.written[number] else state.look()
            if array is not held[number]:
                array = contiguous(array)
                self.table[self.first_state + number] = address_of(array)
                held[number] = array
        self.places = latest  # afterwards: what an interrupt or want of memory left undone is done next time

    def launch(self, address: int, *, alone: bool = False, patience: int | None = None) -> None:
        """Run a native function on the job, with the team unless one thread does everything."""
        if alone or self.recipe.is_alone:
            _ENTRY(address)(self.job_at, 0, 1)
            return
        crew = team()
        self.join(crew)
        crew.run(address, self.job_at, **({} if patience is None else {"patience": patience}))

    def join(self, crew: Team) -> None:
        """Be run by a team from now on."""
        if crew is not self.team:
            self._make_room(crew.size)
            self.job[1] = crew.memory
            self.team, self.pace = crew, Pace()

    def step(self) -> None:
        """One step at the pace that suits the machine."""
        if self.recipe.is_alone or (crew := team()).size == 1:
            self.alone()
            return
        if crew is not self.team:
            self.join(crew)
        alone = self.pace.alone and self.paced
        began = time.perf_counter()
        if alone:
            self.alone()
        else:
            crew.run(self.address, self.job_at)
        if self.paced:
            self.pace.note(alone, time.perf_counter() - began)

    def _make_room(self, threads: int) -> None:
        needed = threads * self.recipe.scratch
        if self.scratch.nbytes < needed:
            self.scratch = aligned(np.zeros(needed, np.uint8))
        self.job[3] = self.scratch.ctypes.data

    # --- Many steps ---

    def loop(self, data: list[Array], rows: Array, stop: Stop, variant: Run | None, at: Array | None) -> list[Array]:
        """See `Program.loop`."""
        rows = checked_rows(self.arguments, data, rows)
        turns = turns_of(at, len(rows), variant is not None)
        looks = 0 if turns is None else int(np.count_nonzero(turns >= 0))
        sizes, more_sizes = (run.table_of_results()[1] if run else () for run in (self, variant))
        needed = len(rows) * sum(sizes) + looks * sum(more_sizes[len(sizes) :])
        require_room_for_results(needed, len(rows))
        kept = [contiguous(array) for array in data]
        results = [np.empty((len(rows), *shape), dtype) for shape, dtype in self.results]
        more = [] if variant is None else variant.results[self._shared_with(variant) :]
        figures = [np.empty((looks, *shape), dtype) for shape, dtype in more]
        runs = [self] if variant is None else [self, variant]
        words = np.zeros(FIRST + len(data) + len(results) + len(figures), np.int64)
        words[STEP_AT], words[STOP] = self.address, address_of(stop.word)
        words[FIRST:] = [address_of(array) for array in (*kept, *results, *figures)]
        in_place = self._in_place(data, variant)
        words[PLACES], words[APART] = address_of(rows), rows.shape[1] * bool(in_place)
        if variant is not None:
            words[VARIANT_AT], words[VARIANT_JOB] = variant.address, variant.job_at
        # In one order, so that two loops never wait for each other; of one run the lock is taken twice.
        first, last_run = min(runs, key=id), max(runs, key=id)
        with _enter_once(first), last_run.lock if last_run is first else _enter_once(last_run):
            address = self._loop_for([array.dtype for array in data], variant)
            for number, argument in enumerate(self.arguments):
                if number not in in_place and number not in self.batches:
                    self.batches[number] = _place(*argument)
            for run in runs:
                run.bind_batches([kept[n] if n in in_place else self.batches[n] for n in range(len(kept))])
            moving = [(ROWS, rows), (PLACES, rows), *enumerate(results, FIRST + len(data))]
            moving += [] if turns is None else [(TURNS, turns)]
            done, last, guards, is_mistaken = 0, self.steps, _guards(runs), False
            while done < len(rows) and not stop.word[0]:
                alone = self.pace.alone
                most = 1 if is_mistaken else max(1, last // 4) if self.pace.is_trial else last
                words[STEPS] = min(most, len(rows) - done)
                words[GUARDS : GUARDS + len(guards)] = 0 if is_mistaken else guards
                for slot, array in moving:
                    words[slot] = address_of(array) + done * array.strides[0]
                began = time.perf_counter()
                self._slice(address, words, runs, alone=alone)
                passed = time.perf_counter() - began
                made = int(words[DONE])
                is_mistaken = any(run.found for run in runs)  # a guard, unless the reference refuses the batch too
                if is_mistaken:
                    batch = rows[done + made]
                    for run in runs:
                        run.refuse([a[batch].astype(t) for a, (_, t) in zip(kept, self.arguments, strict=True)])
                seconds = passed / max(1, made)
                if passed >= _TELLING:
                    self.pace.note(alone, seconds, made)
                done += made
                last = max(1, min(round(SLICE / max(seconds, 1e-9)), _GROWTH * last))
            self.steps = last
        looked_into = 0 if turns is None else np.count_nonzero(turns[:done] >= 0)
        return [*(result[:done] for result in results), *(figure[:looked_into] for figure in figures)]

    def bind_batches(self, batches: Sequence[Array]) -> None:
        """Point at the arrays into which a loop gathers, or at what it would gather from."""
        self.is_bound = False
        self._forget_loop()
        for slot, batch in enumerate(batches, 1):
            self._bind(slot, batch)

    def _slice(self, address: int, words: Array, runs: list[Run], *, alone: bool) -> None:
        """Some steps in one native call."""
        self.job[5], words[DONE], words[WRONG] = address_of(words), 0, 0
        for run in (*runs, self):  # this one again: where a variant assigns what it only reads, it has moved
            run.bind_states()
            run.status[:] = 0
            if not alone:
                run.join(team())
        _share_room(runs)
        self.launch(address, alone=alone, patience=_PATIENT)
        for run in runs:
            run.check()

    def _in_place(self, data: Sequence[Array], variant: Run | None) -> tuple[int, ...]:
        """The arguments whose rows a loop need not gather: all that the step reads where they lie, or none."""
        found = self.recipe.in_place
        guarded = self.guarded | (variant.guarded if variant else frozenset())
        fits = all(data[number].dtype == self.arguments[number][1] and number not in guarded for number in found)
        return found if fits and (variant is None or variant.recipe.in_place == found) else ()

    def _loop_for(self, sources: list[np.dtype[Any]], variant: Run | None) -> int:
        """The address of the loop that gathers from arrays of these types."""
        guarded = bool(self.guard or (variant and variant.guard))
        key = tuple(sources), None if variant is None else variant.table_of_results(), guarded
        if key not in self.loops:
            tables = self.table_of_results(), key[1]
            native = Native(*loop_module(self.arguments, sources, *tables, self.target, guarded=guarded))
            self.loops[key] = native, native.address(LOOP)
        return self.loops[key][1]

    def table_of_results(self) -> Results:
        """Where results stand in the table, and how large they are."""
        return self.first_result, sizes_of(self.results)

    def _shared_with(self, variant: Run) -> int:
        """The number of results that this step and a variant of it have in common: all of its own."""
        count = len(self.results)
        if variant is self or variant.arguments != self.arguments or variant.results[:count] != self.results:
            raise ArgumentError(
                "loop: a variant must be another program, that takes the same arguments as the step and gives its "
                "results first."
            )
        return count

    def refuse(self, arguments: Sequence[Array]) -> None:
        """Raise why a step cannot be made on arguments in which the guard found something, unless it was mistaken."""
        if self.found:
            self.found[...] = 0
            error = self.traced.refused(arguments)
            if error is not None:
                raise error

    def check(self) -> None:
        """Raise what the native code could not."""
        if self.recipe.sites and np.count_nonzero(self.status):  # quicker than `any` where nothing is in the caches
            wrong = [site for site, word in zip(self.recipe.sites, self.status, strict=False) if word]
            site = min(wrong, key=lambda each: each.node)  # what the function did first
            self.status[:] = 0
            place = self.traced.graph.nodes[site.node].provenance
            raise ArgumentError(f"{place}: an index is out of bounds for axis {site.axis} of length {site.length}.")


def _guarded(traced: Traced) -> frozenset[int]:
    """The numbers of the arguments that its guard reads."""
    if traced.guard is None:
        return frozenset()
    graph = traced.guard.graph
    read = {source for node in graph.nodes for source in node.inputs}
    return frozenset([number for number, node in enumerate(graph.inputs) if node in read])


def _guards(runs: Sequence[Run]) -> list[int]:
    """For each run the address of its guard, its job, and where it counts what it finds; zeros where there is none."""
    found: list[int] = []
    for run in runs:
        run.found[...] = 0
        found += [0, 0, 0] if run.guard is None else [run.guard.address, run.guard.job_at, address_of(run.found)]
    return found


def _share_room(runs: Sequence[Run]) -> None:
    """Let them all work in the largest arena and scratch, so that each finds it in the caches."""
    arena = max((run.arena for run in runs), key=lambda array: array.nbytes)
    scratch = max((run.scratch for run in runs), key=lambda array: array.nbytes)
    for run in runs:
        run.table[0], run.job[3] = address_of(arena), address_of(scratch)


_runs: weakref.WeakSet[Run] = weakref.WeakSet()


def _free_locks() -> None:
    """In a child that was forked nobody is left who would release what another thread held."""
    for run in _runs:
        run.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_locks)


def _place(shape: Shape, dtype: DType) -> Array:
    """Room for an array."""
    return aligned(np.zeros(shape, dtype))


def _places(signature: Signature) -> list[Array | None]:
    """A place for each array that is small enough to be copied."""
    small = [math.prod(shape) * dtype.itemsize <= _COPIED for shape, dtype in signature]
    return [_place(*each) if is_small else None for each, is_small in zip(signature, small, strict=True)]


def fitting(argument: Any, shape: Shape, dtype: DType, number: int) -> Array:
    """An argument as an array."""
    array = argument if isinstance(argument, np.ndarray) else np.asarray(argument)
    if array.shape != shape:
        raise ShapeError(f"argument {number} has the shape {array.shape}, but the program was made for {shape}.")
    if array.dtype != dtype:
        raise DTypeError(f"argument {number} is {array.dtype.name}, but the program was made for {dtype.name}.")
    return array


def contiguous(array: Array) -> Array:
    """The array itself if it has no gaps, else a copy."""
    return array if array.flags.c_contiguous else np.ascontiguousarray(array).reshape(array.shape)


def address_of(array: Array | None) -> int:
    """Where an array without gaps begins; of what can be written to, its buffer tells that much sooner."""
    assert array is not None
    if array.flags.writeable and array.nbytes:
        return ctypes.addressof(_BYTE.from_buffer(array.data))
    return int(array.__array_interface__["data"][0])
