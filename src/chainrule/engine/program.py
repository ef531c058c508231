"""A compiled program: the traced graph, its kernels, its memory, and the native step that runs them.

Comes in: a traced function. Goes out: something that can be called with arrays, that reads and assigns states in place,
and that shows every stage it went through.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.engine import recipe
from chainrule.engine.budget import Memory, require_room
from chainrule.engine.forking import building
from chainrule.engine.llvm import soon
from chainrule.engine.looping import Signature, prepare_loop
from chainrule.engine.native import Native, ahead, kept, key_of, optimised_text
from chainrule.engine.recipe import Recipe
from chainrule.engine.run import Run, Stop, address_of
from chainrule.engine.target import Target, host, is_host_known
from chainrule.engine.target import expect_host as expect_host
from chainrule.engine.team import team
from chainrule.engine.trace import Traced
from chainrule.errors import ArgumentError

if TYPE_CHECKING:
    from chainrule.engine.emit import Module
    from chainrule.engine.listing import Kernels
    from chainrule.engine.memory import Plan
    from chainrule.engine.profile import Profile
    from chainrule.engine.schedule import Schedule
    from chainrule.engine.show import ShownGraph
    from chainrule.engine.stages import Stages

Array = np.ndarray[Any, Any]
VARIABLE = "CHAINRULE_SHOW"  # the environment variable that prints stages of every program that is made


class Program:
    """A traced function as machine code.

    Where an earlier process left the recipe and the machine code, the stages between are made when they are looked at.

    Parameters
    ----------
    traced
        What to compile.
    target
        For which processor; by default this one.
    is_guard
        Whether it only looks at the arguments of another one, before that runs.
    """

    _run: Run | None = None

    def __init__(self, traced: Traced, target: Target | None = None, *, is_guard: bool = False) -> None:
        if target is None and not is_host_known():
            _stages_type()  # loads the compiler while LLVM is loaded, which then can tell
        self.traced, self.target = traced, target or host()
        results = traced.graph.outputs[: len(traced.graph.outputs) - len(traced.writes)]
        self._arguments: Signature = tuple([(n.shape, n.dtype) for n in traced.graph.inputs[: traced.arguments]])
        self._results: Signature = tuple([(n.shape, n.dtype) for n in results])
        self._key = recipe.recipe_key(traced, self.target)
        self._recipe = recipe.load(self._key)
        self._native: Native | None = None
        self._guard = None if traced.guard is None else Program(traced.guard, target, is_guard=True)
        if self._recipe is None:
            soon()
        if self._recipe is None and not self._stages().module.is_alone and target is None:
            team().prepare()
        if not is_guard:
            _show(self)

    @property
    def graph(self) -> ShownGraph:
        """The simplified graph; `print` writes it out."""
        return self._stages().graph

    @property
    def kernels(self) -> Kernels:
        """What is computed together, in the order of the step; `print` lists them."""
        return self._stages().kernels

    @property
    def schedule(self) -> Schedule:
        """When each kernel runs, and who does it; `print` writes it out."""
        return self._stages().schedule

    @property
    def plan(self) -> Plan:
        """Where every array lives."""
        return self._stages().plan

    @property
    def module(self) -> Module:
        """The LLVM module, before LLVM's own passes."""
        return self._stages().module

    @property
    def memory(self) -> Memory:
        """How many bytes it needs, and for what."""
        return self._stages().memory

    def _stages(self) -> Stages:
        """Everything between the trace and the machine code, made once: of two threads both take the first."""
        found: Stages | None = vars(self).get("_made")
        if found is None:
            found = vars(self).setdefault("_made", _stages_type()(self.traced, self.target))
        return found

    @property
    def native(self) -> Native:
        """The machine code."""
        if self._native is None:
            self._native = self._recipe_and_code()[1]
        return self._native

    def _recipe_and_code(self) -> tuple[Recipe, Native]:
        """The recipe, and the machine code that belongs to it: of an earlier process, or else both from the stages."""
        if self._recipe is not None:
            native = self._native or kept(self._recipe.code, self.target)
            if native is not None:
                return self._recipe, native
        module = self.module
        made = Recipe.of(module, self.traced)
        native = Native(lambda: module.text, self.target, made.code)
        recipe.store(self._key, made)
        self._recipe = made
        return made, native

    def ready(self) -> Run:
        """What it holds while it can be called, made for the first call.

        Of two threads that call for the first time at once both make one, and both take the one that was put down
        first. There is no lock, because a process that is forked meanwhile would never see it released.
        """
        if self._guard and self._guard._recipe is None:  # a thread compiles it meanwhile
            module = self._guard.module
            ahead(lambda: module.text, self.target, key_of(module.signature, self.target))
        made = self._run or self._runner(*self._recipe_and_code())
        found: Run = vars(self).setdefault("_run", made)
        return found

    def _runner(self, made: Recipe, native: Native) -> Run:
        guard = None if self._guard is None else self._guard._runner(*self._guard._recipe_and_code())
        written = set(self.traced.writes)
        copies = sum(state.look().nbytes for state in written if not state.is_lent)
        results = sum(math.prod(shape) * dtype.itemsize for shape, dtype in self._results)
        scratch = made.scratch * (1 if made.is_alone else team().size)
        require_room(made.arena + scratch + results + copies, copies, lambda: self.memory)
        return Run(made, native, self.target, self._arguments, self._results, self.traced, guard)

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
        module = self._stages().timed()
        from chainrule.engine.stages import profile

        made = Recipe.of(module, self.traced)
        run = self._runner(made, Native(lambda: module.text, self.target, made.code))
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
            For each argument of the step an array, or memory map, of rows without gaps: what is gathered from. Where
            the argument is floating, its type may be bool or any integer or float of up to 64 bits but uint64, in the
            byte order of this machine.
        rows
            The numbers of the rows of each batch, of shape (steps, batch).
        stop
            A flag (`chainrule.engine.run.Stop`) that another thread or a signal handler raises to end the loop before
            its next step.
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
            If an array or the variant does not fit the step, or a number is not that of a row. Or if a step is refused
            for what it is given, such as an index that is none: the steps before it have been made, and assigned the
            states; what they gave is lost.
        """
        if not isinstance(variant, Program | None):
            raise ArgumentError(
                f"loop: variant must be a program, such as step.program(x, y), but is a {type(variant).__name__}."
            )
        if not isinstance(stop, Stop | None):
            raise ArgumentError(f"loop: stop must be a chainrule.engine.run.Stop, but is a {type(stop).__name__}.")
        arrays, other = [np.asarray(array) for array in data], None if variant is None else variant.ready()
        chosen = None if at is None else np.asarray(at)
        if self._recipe is None:  # the step is to be compiled yet
            sources = [array.dtype for array in arrays]
            states, more = len(self.traced.reads), None if other is None else other.table_of_results()
            guarded = bool(self._guard or (variant and variant._guard))
            prepare_loop(self._arguments, states, self._results, sources, more, self.target, guarded=guarded)
        return self.ready().loop(arrays, np.asarray(rows), stop or Stop(), other, chosen)


@cache
def _stages_type() -> type[Stages]:
    with building:  # else a child that is forked meanwhile would wait for ever for a module that is half loaded
        from chainrule.engine.stages import Stages

    return Stages


def _show(program: Program) -> None:
    """Print the stages that the environment variable names, on standard error."""
    wanted = [word.strip() for word in os.environ.get(VARIABLE, "").split(",") if word.strip()]
    stages = {
        "graph": lambda: str(program.graph),
        "kernels": lambda: str(program.kernels),
        "schedule": lambda: str(program.schedule),
        "memory": lambda: str(program.memory),
        "llvm": lambda: program.llvm_ir,
    }
    for word in wanted:
        if word not in stages:
            raise ArgumentError(f"{VARIABLE} takes {', '.join(stages)}, with commas between them, but has {word!r}.")
        print(f"--- {word} ---\n{stages[word]()}", file=sys.stderr)
