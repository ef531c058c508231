"""All stages from a traced function to the text of its machine code; the one door to the compiler.

What is behind it is the largest part of the engine, and a program whose recipe and machine code are kept on disk runs
without it. So it is loaded where a stage is first looked at, or has to be made.
"""

from __future__ import annotations

from chainrule.engine.budget import Memory, memory_of
from chainrule.engine.emit import Module
from chainrule.engine.fuse import fuse, owned
from chainrule.engine.listing import Kernels
from chainrule.engine.loop import loop_text as loop_text
from chainrule.engine.memory import Plan, ordered, plan
from chainrule.engine.profile import Profile as Profile
from chainrule.engine.profile import profile as profile
from chainrule.engine.schedule import scheduled
from chainrule.engine.show import ShownGraph, node_names
from chainrule.engine.simplify import simplify
from chainrule.engine.split import split
from chainrule.engine.target import Target
from chainrule.engine.trace import Traced


class Stages:
    """What a traced function becomes, one stage after the other; see `Program`."""

    def __init__(self, traced: Traced, target: Target) -> None:
        simple = simplify(traced.graph)
        inputs = dict(zip(traced.reads, simple.inputs[traced.arguments :], strict=True))
        states = [inputs[state] for state in traced.writes]
        self.arguments = traced.arguments
        self.graph = ShownGraph.showing(owned(split(simple, frozenset(states), target.parts)))
        results = len(self.graph.outputs) - len(traced.writes)
        kernels = ordered(fuse(self.graph), self.graph, results, states)
        self.plan: Plan = plan(kernels, self.graph, results, states)
        self.schedule = scheduled(kernels, self.plan, target)
        self.module = Module(self.schedule, self.plan, target, traced.arguments, flushes=bool(states))
        self.kernels = Kernels.of(
            [kernel for turn in self.schedule.turns for kernel in turn.kernels], node_names(self.graph)
        )
        self.memory: Memory = memory_of(self.graph, traced.arguments, results, self.plan, self.module.scratch)

    def timed(self) -> Module:
        """The module with a clock between the kernels."""
        module = self.module
        return Module(self.schedule, self.plan, module.target, self.arguments, flushes=module.flushes, timed=True)
