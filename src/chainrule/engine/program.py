"""A compiled program: the traced graph, its kernels, its memory, and the native step that runs them.

Comes in: a traced function. Goes out: something that can be called with arrays, that reads and assigns states in place,
and that shows every stage it went through.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.budget import Memory, memory_of, require_room
from chainrule.engine.emit import STEP, Module
from chainrule.engine.fuse import fuse, owned
from chainrule.engine.listing import Kernels
from chainrule.engine.memory import Plan, ordered, plan
from chainrule.engine.native import Native, optimised_text
from chainrule.engine.profile import Profile, profile
from chainrule.engine.run import Run, Signature, Stop, address_of
from chainrule.engine.show import ShownGraph, graph_text, node_names
from chainrule.engine.simplify import simplify
from chainrule.engine.split import split
from chainrule.engine.target import Target, host
from chainrule.engine.team import team
from chainrule.engine.trace import Traced
from chainrule.errors import ArgumentError

Array = np.ndarray[Any, Any]
VARIABLE = "CHAINRULE_SHOW"  # the environment variable that prints stages of every program that is made


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
        The simplified graph; `print` writes it out.
    kernels
        What is computed together, in the order of the step; `print` lists them.
    plan
        Where every array lives.
    memory
        How many bytes it needs, and for what.
    module
        The LLVM module, before LLVM's own passes.
    """

    _run: Run | None = None

    def __init__(self, traced: Traced, target: Target | None = None) -> None:
        self.traced, self.target = traced, target or host()
        simple = simplify(traced.graph)
        inputs = dict(zip(traced.reads, simple.inputs[traced.arguments :], strict=True))
        states = [inputs[state] for state in traced.writes]
        self.graph = ShownGraph.showing(owned(split(simple, frozenset(states))))
        results = len(self.graph.outputs) - len(traced.writes)
        kernels = ordered(fuse(self.graph), self.graph, results, states)
        self.kernels = Kernels.of(kernels, node_names(self.graph))
        self.plan: Plan = plan(self.kernels, self.graph, results, states)
        self.module = Module(self.kernels, self.plan, self.target)
        self.memory: Memory = memory_of(self.graph, traced.arguments, results, self.plan, self.module.scratch)
        self._arguments: Signature = tuple((n.shape, n.dtype) for n in self.graph.inputs[: traced.arguments])
        self._results: Signature = tuple((n.shape, n.dtype) for n in self.graph.outputs[:results])
        self._native: Native | None = None
        _show(self)

    @property
    def native(self) -> Native:
        """The machine code."""
        if self._native is None:
            self._native = Native(lambda: self.module.text, self.target, self.module.signature)
        return self._native

    def ready(self) -> Run:
        """What it holds while it can be called, made for the first call.

        Of two threads that call for the first time at once both make one, and both take the one that was put down
        first. There is no lock, because a process that is forked meanwhile would never see it released.
        """
        made = self._run or self._runner(self.module, self.native)
        found: Run = vars(self).setdefault("_run", made)
        return found

    def _runner(self, module: Module, native: Native) -> Run:
        written = set(self.traced.writes)
        copies = sum(state.look().nbytes for state in written if not state.is_lent)
        require_room(self.memory, 1 if module.is_alone else team().size, copies)
        return Run(module, native, STEP, self._arguments, self._results, self.traced.reads, written)

    @property
    def llvm_ir(self) -> str:
        """The module after LLVM's passes, as text."""
        return optimised_text(self.module.text, self.target)

    def holds(self) -> bool:
        """Whether all settings are still as they were when the function was traced."""
        return all(getattr(owner, name) == value for owner, name, value in self.traced.modes)

    def __call__(self, *arguments: Any) -> list[Array]:
        """Run the step on arrays of the traced shapes and data types: returns the results and assigns the states."""
        return (self._run or self.ready())(arguments)

    def profile(self, *arguments: Any) -> Profile:
        """Run the step on arrays a number of times with a clock between its kernels.

        States are assigned as by any other run, so parameters move.

        Returns
        -------
        Profile
            Time, work and traffic of each kernel, and the share of what this processor can do at most, in multiply-adds
            or in bytes a second; printed, a table with a sum by layer.
        """
        module = Module(self.kernels, self.plan, self.target, timed=True)
        run = self._runner(module, Native(lambda: module.text, self.target, module.signature))
        times = np.zeros(len(self.kernels), np.int64)
        run.job[4], run.paced = address_of(times), False

        def step() -> None:
            run(arguments)

        threads = 1 if module.is_alone else team().size
        return profile(module.calls, self.graph, len(self._results), self.target, step, times, threads)

    def loop(
        self,
        data: Sequence[Any],
        rows: Any,
        *,
        stop: Stop | None = None,
        variant: Program | None = None,
        at: Any = None,
    ) -> list[Array]:
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
        variant
            A program that takes the place of this one at some steps: of the same arguments, with the same results and
            perhaps more after them, such as figures of what happens inside.
        at
            For each step whether the variant makes it: booleans of shape (steps,); by default none.

        Returns
        -------
        list of ndarray
            Each result of the step, stacked along a new first axis: one for each step that was made. What a variant
            gives beside them follows: one for each step that it made.

        Raises
        ------
        ShapeError, DTypeError, ArgumentError
            If an array or the variant does not fit the step, or a number is not that of a row.
        """
        arrays, other = [np.asarray(array) for array in data], None if variant is None else variant.ready()
        chosen = None if at is None else np.asarray(at)
        return self.ready().loop(arrays, np.asarray(rows), stop or Stop(), other, chosen)


def _show(program: Program) -> None:
    """Print the stages that the environment variable names, on standard error."""
    wanted = [word.strip() for word in os.environ.get(VARIABLE, "").split(",") if word.strip()]
    stages = {
        "graph": lambda: graph_text(program.graph),
        "kernels": lambda: str(program.kernels),
        "memory": lambda: str(program.memory),
        "llvm": lambda: program.llvm_ir,
    }
    for word in wanted:
        if word not in stages:
            raise ArgumentError(f"{VARIABLE} takes {', '.join(stages)}, with commas between them, but has {word!r}.")
        print(f"--- {word} ---\n{stages[word]()}", file=sys.stderr)
