"""A program run by hand, or a loop of its steps, with every array between pages of memory that nobody may touch.

Each array ends where a forbidden page begins, or begins where one ends; the rest of its own pages holds a pattern. So a
read or write on the forbidden side ends the process, and a write on the other changes the pattern.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np

from chainrule.engine.context import places
from chainrule.engine.gathering import JOB, ROWS_AT, SOON_AT
from chainrule.engine.program import Program
from chainrule.engine.recipe import STEP

Array = np.ndarray[Any, Any]
PATTERN = 0xA7
_PAGE = mmap.PAGESIZE
_ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
_libc = ctypes.CDLL(None) if hasattr(mmap, "MAP_PRIVATE") else None


def _protect(address: int, mode: int) -> None:
    assert _libc is not None, "guard pages need POSIX"
    done = _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(_PAGE), ctypes.c_int(mode))
    assert done == 0, "mprotect refused"


class Guarded:
    """A copy of an array at the end of its pages, or at their beginning, with forbidden pages before and after."""

    def __init__(self, array: Array, *, at_end: bool) -> None:
        pages = -(-max(1, array.nbytes) // _PAGE)
        self.map = mmap.mmap(-1, (pages + 2) * _PAGE)
        self.bytes: Array = np.frombuffer(self.map, np.uint8)
        self.address = self.bytes.ctypes.data
        inside = self.bytes[_PAGE : (pages + 1) * _PAGE]
        inside[:] = PATTERN
        split = len(inside) - array.nbytes if at_end else array.nbytes
        own, self.rest = (inside[split:], inside[:split]) if at_end else (inside[:split], inside[split:])
        self.array: Array = own.view(array.dtype).reshape(array.shape)
        self.array[...] = array
        self.borders = (self.address, self.address + (pages + 1) * _PAGE)
        for border in self.borders:
            _protect(border, 0)

    def release(self) -> None:
        """Check the pattern and give the memory back."""
        for border in self.borders:
            _protect(border, mmap.PROT_READ | mmap.PROT_WRITE)
        assert (self.rest == PATTERN).all(), "something was written beside an array"


def run_guarded(program: Program, arguments: Sequence[Array], *, threads: int, at_end: bool) -> list[Array]:
    """The results of a program, then the new values of the states that it assigns; the states themselves stay.

    The arena and the scratch memory hold the pattern before, so nothing may rely on zeros.
    """
    made: list[Guarded] = []

    def guarded(array: Array) -> Array:
        made.append(Guarded(array, at_end=at_end))
        return made[-1].array

    traced, plan, module = program.traced, program.plan, program.module
    outputs = len(program.graph.outputs) - len(traced.writes)
    given = [guarded(np.ascontiguousarray(array).reshape(array.shape)) for array in arguments]
    states = {state: guarded(state.look()) for state in traced.reads}
    empty = [np.empty(node.shape, node.dtype) for node in program.graph.outputs[:outputs]]
    results = [guarded(_patterned(array)) for array in empty]
    constants = [guarded(node.value) for node in plan.constants]
    arena = guarded(_patterned(np.empty(plan.arena, np.uint8)))
    table = guarded(np.array([_address(each) for each in (arena, *given, *states.values(), *results, *constants)]))
    words = guarded(np.zeros(8 * threads, np.int64))  # of the team: how often each thread has come
    status = guarded(np.zeros(len(module.sites), np.int64))
    scratch = guarded(_patterned(np.empty(threads * module.scratch, np.uint8)))
    rows = guarded(np.arange(max([1, *(len(array) for array in given if array.ndim)])))
    job = guarded(np.array([_address(each) for each in (table, words, status, scratch)] + [0] * (JOB - 4)))
    job[[ROWS_AT, SOON_AT]] = _address(rows)
    before = [array.copy() for array in (*given, *constants, table, job)]
    step = _ENTRY(program.native.address(STEP))
    team = [threading.Thread(target=step, args=(_address(job), number, threads)) for number in range(1, threads)]
    for each in team:
        each.start()
    step(_address(job), 0, threads)
    for each in team:
        each.join()
    for array, old in zip((*given, *constants, table, job), before, strict=True):
        np.testing.assert_array_equal(array, old, err_msg="something was written that is only to be read")
    assert not status.any(), "an index was out of bounds"
    found = [array.copy() for array in (*results, *(states[state] for state in traced.writes))]
    for each in made:
        each.release()
    return found


def loop_guarded(
    program: Program,
    data: Sequence[Array],
    rows: Array,
    *,
    at_end: bool,
    variant: Program | None = None,
    at: Any = None,
) -> list[Array]:
    """The results of a loop, of which everything that it reads and writes is guarded: data, row numbers, the batch
    that it gathers, arenas, states and results."""
    made: list[Guarded] = []

    def guarded(array: Array) -> Array:
        made.append(Guarded(array, at_end=at_end))
        return made[-1].array

    programs = [program] if variant is None else [program, variant]
    runs, empty = [each.ready() for each in programs], np.empty
    arenas = [run.arena for run in runs]
    for run in runs:
        run.arena = guarded(_patterned(run.arena.copy()))
        run.table[0] = _address(run.arena)
    runs[0].batches = {n: guarded(_patterned(np.empty(*each))) for n, each in enumerate(runs[0].arguments)}
    states = {state for each in programs for state in each.traced.writes}
    for state in states:
        state._lent = guarded(state.lend())
    places.changed()
    given, numbers = [guarded(np.ascontiguousarray(array)) for array in data], guarded(rows.astype(np.int64))
    try:
        with mock.patch.object(np, "empty", lambda shape, dtype=float: guarded(_patterned(empty(shape, dtype)))):
            found = [array.copy() for array in program.loop(given, numbers, variant=variant, at=at)]
        for array, own in zip((*data, rows), (*given, numbers), strict=True):
            np.testing.assert_array_equal(own, array, err_msg="something was written that is only to be read")
    finally:
        for state in states:
            state.assign(state.look().copy())
        for run, arena in zip(runs, arenas, strict=True):
            run.arena, run.batches = arena, {}
            run.table[0] = _address(arena)
    for each in made:
        each.release()
    return found


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def _patterned(array: Array) -> Array:
    if array.size:
        array.reshape(-1).view(np.uint8)[:] = PATTERN
    return array
