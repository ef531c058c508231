"""A compiled program: the traced graph, its kernels, its memory, and the native step that runs them.

Comes in: a traced function. Goes out: something that can be called with arrays, that reads and assigns states in place,
and that shows every stage it went through.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.engine.dtypes import DType
from chainrule.engine.fuse import fuse, owned
from chainrule.engine.graph import Graph, Node, Shape
from chainrule.engine.kernel import Kernel
from chainrule.engine.loop import DONE, FIRST, LOOP, ROWS, STEP_AT, STEPS, STOP, can_gather, loop_text
from chainrule.engine.memory import Plan, ordered, plan
from chainrule.engine.native import Native, optimised_text
from chainrule.engine.simplify import simplify
from chainrule.engine.state import aligned
from chainrule.engine.target import Target, host
from chainrule.engine.team import Team, team
from chainrule.engine.trace import Traced
from chainrule.errors import ArgumentError, DTypeError, ShapeError

if TYPE_CHECKING:
    from chainrule.engine.emit import STEP, Module

Array = np.ndarray[Any, Any]
JOB = 6  # words: table, team, status, scratch, times (of a timed step), loop
_PATIENT = 1 << 17  # looks for workers that come: a loop is long, so it is worth waiting a little for them
_ENTRY = functools.cache(ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64))


class Program:
    """A traced function as machine code.

    Parameters
    ----------
    traced
        What to compile.
    target
        For which processor; by default this one.

    Attributes
    ----------
    graph
        The simplified graph.
    kernels
        What is computed together, in the order of the step.
    plan
        Where every array lives.
    module
        The LLVM module, before LLVM's own passes.
    """

    def __init__(self, traced: Traced, target: Target | None = None) -> None:
        self.traced, self.target = traced, target or host()
        self.graph: Graph = owned(simplify(traced.graph))
        inputs = dict(zip(traced.reads, self.graph.inputs[traced.arguments :], strict=True))
        results = len(self.graph.outputs) - len(traced.writes)
        states = [inputs[state] for state in traced.writes]
        self.kernels: tuple[Kernel, ...] = ordered(fuse(self.graph), self.graph, results, states)
        self.plan: Plan = plan(self.kernels, self.graph, results, states)
        # Emission is the largest part of the engine: it is read when the first program is made, not on import.
        from chainrule.engine.emit import STEP, Module

        self.entry = STEP
        self.module = Module(self.kernels, self.plan, self.target)
        self._results = tuple((node.shape, node.dtype) for node in self.graph.outputs[:results])
        self._arguments = tuple((node.shape, node.dtype) for node in self.graph.inputs[: traced.arguments])
        self._run = _Run(self)

    @functools.cached_property
    def native(self) -> Native:
        """The machine code."""
        return Native(lambda: self.module.text, self.target, self.module.signature)

    @property
    def llvm_ir(self) -> str:
        """The module after LLVM's passes, as text."""
        return optimised_text(self.module.text, self.target)

    def holds(self) -> bool:
        """Whether all settings are still as they were when the function was traced."""
        return all(getattr(owner, name) == value for owner, name, value in self.traced.modes)

    def __call__(self, *arguments: Any) -> list[Array]:
        """Run the step on arrays of the traced shapes and data types: returns the results and assigns the states."""
        return self._run(arguments)

    def loop(self, data: Sequence[Any], rows: Any, *, stop: Stop | None = None) -> list[Array]:
        """Run the step many times in one native call, on batches that are gathered from arrays.

        Parameters
        ----------
        data
            For each argument of the step an array, or memory map, of rows without gaps: what is gathered from. Its type
            may be any numeric one where the argument is floating.
        rows
            The numbers of the rows of each batch, of shape (steps, batch).
        stop
            A flag that another thread or a signal handler raises to end the loop before its next step.

        Returns
        -------
        list of ndarray
            Each result of the step, stacked along a new first axis: one for each step that was made.

        Raises
        ------
        ShapeError, DTypeError, ArgumentError
            If an array does not fit the step, or a number is not that of a row.
        """
        return self._run.loop([np.asarray(array) for array in data], np.asarray(rows), stop or Stop())


class Stop:
    """A flag that ends a native loop before its next step."""

    def __init__(self) -> None:
        self.word = np.zeros(1, np.int64)

    def set(self) -> None:
        """Raise the flag."""
        self.word[0] = 1


class _Run:
    """What a program holds in memory while it can be called: table of pointers, arena, scratch, states."""

    def __init__(self, program: Program) -> None:
        self.program = program
        traced, plan_ = program.traced, program.plan
        self.states = traced.reads
        self.written = [state in set(traced.writes) for state in traced.reads]
        self.held: list[Array | None] = [None] * len(traced.reads)
        first_result = 1 + len(program.graph.inputs)
        self.first_state, self.first_result = 1 + traced.arguments, first_result
        self.constants = [aligned(_value(node)) for node in plan_.constants]
        self.table = np.zeros(first_result + len(program._results) + len(self.constants), np.int64)
        self.table[first_result + len(program._results) :] = [each.ctypes.data for each in self.constants]
        self.arena = aligned(np.zeros(max(1, plan_.arena), np.uint8))
        self.table[0] = self.arena.ctypes.data
        self.status = np.zeros(max(1, len(program.module.sites)), np.int64)
        self.job = np.zeros(JOB, np.int64)
        self.job[0], self.job[2] = self.table.ctypes.data, self.status.ctypes.data
        self.scratch = np.zeros(0, np.uint8)
        self.team: Team | None = None
        self.address = 0
        self.loops: dict[tuple[str, ...], tuple[Native, int]] = {}
        self.batches: list[Array] = []

    def __call__(self, arguments: Sequence[Any]) -> list[Array]:
        kept = [
            fitting(argument, shape, dtype, number)
            for number, (argument, (shape, dtype)) in enumerate(zip(arguments, self.program._arguments, strict=True))
        ]
        table = self.table
        for slot, array in enumerate(kept, 1):
            table[slot] = address_of(array)
        results = [np.empty(shape, dtype) for shape, dtype in self.program._results]
        for slot, array in enumerate(results, self.first_result):
            table[slot] = address_of(array)
        self.bind_states()
        self.start()
        self.check()
        return results

    def bind_states(self) -> None:
        """Point at the states' arrays as they are now."""
        held = self.held
        for number, state in enumerate(self.states):
            if self.written[number]:
                if state._lent is None or state._lent is not held[number]:
                    held[number] = state.lend()
                    self.table[self.first_state + number] = address_of(held[number])
            else:
                value = state.look()
                if value is not held[number]:
                    held[number] = contiguous(value)
                    self.table[self.first_state + number] = address_of(held[number])

    def start(self) -> None:
        """Run the native step."""
        if not self.address:
            self.address = self.program.native.address(self.program.entry)
        self.launch(self.address)

    def launch(self, address: int, *, patience: int | None = None) -> None:
        """Run a native function on the job, with the team unless one thread does everything."""
        if self.program.module.is_alone:
            self._make_room(1, 0)
            _ENTRY(address)(self.job.ctypes.data, 0, 1)
            return
        crew = team()
        if crew is not self.team:
            self._make_room(crew.size, crew.memory)
            self.team = crew
        crew.run(address, self.job.ctypes.data, **({} if patience is None else {"patience": patience}))

    def _make_room(self, threads: int, memory: int) -> None:
        needed = threads * self.program.module.scratch
        if self.scratch.nbytes < needed:
            self.scratch = aligned(np.zeros(needed, np.uint8))
            self.job[3] = self.scratch.ctypes.data
        self.job[1] = memory

    # --- Many steps ---

    def loop(self, data: list[Array], rows: Array, stop: Stop) -> list[Array]:
        """See `Program.loop`."""
        signature = self.program._arguments
        rows = self._checked(data, rows)
        steps = len(rows)
        if not self.batches:
            self.batches = [aligned(np.zeros(shape, dtype)) for shape, dtype in signature]
        results = [np.empty((steps, *shape), dtype) for shape, dtype in self.program._results]
        key = tuple(array.dtype.name for array in data)
        if key not in self.loops:
            sizes = [int(np.prod(shape, dtype=np.int64)) * dtype.itemsize for shape, dtype in self.program._results]
            sources = [array.dtype for array in data]
            text = loop_text(signature, sources, sizes, self.first_result, self.program.target)
            native = Native(text, self.program.target)
            self.loops[key] = native, native.address(LOOP)
        kept = [contiguous(array) for array in data]
        words = np.zeros(FIRST + len(kept) + len(results), np.int64)
        words[STEP_AT] = self.program.native.address(self.program.entry)
        words[STEPS], words[ROWS], words[STOP] = steps, address_of(rows), address_of(stop.word)
        words[FIRST:] = [address_of(array) for array in (*kept, *results)]
        self.table[1 : 1 + len(self.batches)] = [address_of(array) for array in self.batches]
        self.job[5] = address_of(words)
        self.bind_states()
        self.launch(self.loops[key][1], patience=_PATIENT)
        self.check()
        done = int(words[DONE])
        return [result[:done] for result in results]

    def _checked(self, data: list[Array], rows: Array) -> Array:
        """The numbers of the rows, after everything was looked at."""
        signature = self.program._arguments
        if len(data) != len(signature):
            raise ArgumentError(f"loop: the step takes {len(signature)} arguments, but data has {len(data)} arrays.")
        for number, (array, (shape, dtype)) in enumerate(zip(data, signature, strict=True)):
            if not shape or array.shape[1:] != shape[1:] or not array.ndim:
                raise ShapeError(
                    f"loop: the step takes batches of shape {shape} as argument {number}, but its rows are to come "
                    f"from an array of shape {array.shape}; all axes but the first must be equal."
                )
            if not can_gather(array.dtype, dtype):
                raise DTypeError(f"loop: rows of {array.dtype.name} cannot become {dtype.name}; convert the array.")
        batch = signature[0][0][0] if signature else 0
        if any(shape[0] != batch for shape, _ in signature):
            raise ShapeError("loop: all arguments of the step must have the same first axis, the batch.")
        if rows.ndim != 2 or rows.shape[1] != batch or rows.dtype.kind not in "iu":
            raise ShapeError(f"loop: rows must hold integers of shape (steps, {batch}), but it is {rows.shape}.")
        least = min(map(len, data))
        if rows.size and (rows.min() < 0 or rows.max() >= least):
            raise ArgumentError(f"loop: rows holds {rows.min()} to {rows.max()}, but there are rows 0 to {least - 1}.")
        return np.ascontiguousarray(rows, np.int64)

    def check(self) -> None:
        """Raise what the native code could not."""
        if self.program.module.sites and self.status.any():
            node = self.program.module.sites[int(np.argmax(self.status != 0))]
            self.status[:] = 0
            source = node.inputs[0]
            axis = node.attributes["axis"]
            length = node.shape[axis] if node.op.value == "scatter_add" else source.shape[axis]
            raise ArgumentError(f"{node.provenance}: an index is out of bounds for axis {axis} of length {length}.")


def fitting(argument: Any, shape: Shape, dtype: DType, number: int) -> Array:
    """An argument as an array without gaps."""
    array = argument if isinstance(argument, np.ndarray) else np.asarray(argument)
    if array.shape != shape:
        raise ShapeError(f"argument {number} has the shape {array.shape}, but the program was made for {shape}.")
    if array.dtype != dtype:
        raise DTypeError(f"argument {number} is {array.dtype.name}, but the program was made for {dtype.name}.")
    return contiguous(array)


def contiguous(array: Array) -> Array:
    """The array itself if it has no gaps, else a copy."""
    return array if array.flags.c_contiguous else np.ascontiguousarray(array).reshape(array.shape)


def address_of(array: Array | None) -> int:
    """Where an array begins."""
    assert array is not None
    return int(array.__array_interface__["data"][0])


def _value(node: Node) -> Array:
    assert node.value is not None
    return node.value
