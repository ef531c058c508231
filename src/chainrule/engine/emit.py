"""From kernels and their memory to one LLVM module: a function for each different kernel, and the step that calls them.

Every thread of a team enters the step and does its share of each kernel; where a kernel needs what others made, the
threads meet at a barrier. Small kernels are done by the first thread alone. Kernels of the same text share a function.

    step(job, thread, threads)      job: pointers to the table of arrays, the team, the status and the scratch memory
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chainrule.engine.code import Code
from chainrule.engine.fuse import array_of
from chainrule.engine.graph import Node
from chainrule.engine.kernel import (
    Contraction,
    Kernel,
    Loop,
    Reduction,
    Running,
    Scatter,
    Sorting,
    accesses,
    nodes_made,
)
from chainrule.engine.kernels.contraction import scratch_bytes, write_contraction
from chainrule.engine.kernels.loops import write_epilogue, write_loop
from chainrule.engine.kernels.reductions import write_reduction
from chainrule.engine.kernels.serial import write_running, write_scatter, write_sorting
from chainrule.engine.kernels.tile import Tile
from chainrule.engine.memory import ALIGNMENT, Home, Plan
from chainrule.engine.target import Target
from chainrule.engine.team import waiting
from chainrule.engine.work import is_small

STEP = "step"
_NAME = "chainrule_kernel"  # stands for a kernel's name until it is known whether its text is new


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel in the step: which function it is, and whether the first thread does it alone."""

    kernel: Kernel
    function: str
    alone: bool
    waits: bool  # whether all threads meet before it


@dataclass(frozen=True, slots=True)
class Module:
    """An LLVM module that holds a step.

    Attributes
    ----------
    text
        In LLVM's language.
    calls
        What the step does, in its order.
    scratch
        Bytes of scratch memory that each thread needs.
    sites
        For each word of the status the node that went wrong where the word is not 0.
    """

    text: str
    calls: tuple[Call, ...]
    scratch: int
    sites: tuple[Node, ...]

    @property
    def is_alone(self) -> bool:
        """Whether one thread does everything."""
        return all(call.alone for call in self.calls)


def emit(kernels: Sequence[Kernel], plan: Plan, target: Target, *, timed: bool = False) -> Module:
    """The module of a step over `kernels`, whose arrays live where `plan` says.

    `timed` makes a step in which the threads meet after each kernel; the first adds the cycles since the last meeting
    to word `number of the kernel` of an array whose address is the fifth word of the job.
    """
    return _Emitter(plan, target).module(kernels, timed)


class _Emitter:
    def __init__(self, plan: Plan, target: Target) -> None:
        self.plan, self.target = plan, target
        self.functions: dict[str, str] = {}  # text with a placeholder for the name -> name
        self.declarations: dict[str, None] = {}
        self.sites: list[Node] = []

    def module(self, kernels: Sequence[Kernel], timed: bool) -> Module:
        scratch = max(map(self._scratch, kernels), default=0)
        step = Code(STEP, [("ptr", "job"), ("i64", "thread"), ("i64", "threads")])
        table, team, status, memory = (
            step.let(f"load ptr, ptr {step.element('ptr', '%job', str(word))}") for word in range(4)
        )
        share = step.element("i8", memory, step.let(f"mul i64 %thread, {scratch}")) if scratch else memory
        slots: dict[int, str] = {}
        calls: list[Call] = []
        clock = _Clock(step, team) if timed else None
        for kernel, waits in _with_barriers(kernels, self.plan):
            if waits and not timed:
                step.do(f"call void @barrier(ptr {team}, i64 %threads)")
            name, homes, failures = self._function(kernel)
            pointers = [self._pointer(step, table, slots, home) for home in homes]
            if failures:
                pointers.append(step.element("i64", status, str(len(self.sites))))
                self.sites.extend(failures)
            alone = is_small(kernel, self.target)
            arguments = ", ".join(f"ptr {pointer}" for pointer in (*pointers, share))
            if alone:
                first = step.let("icmp eq i64 %thread, 0")
                with step.when(first):
                    step.do(f"call void @{name}({arguments}, i64 0, i64 1)")
            else:
                step.do(f"call void @{name}({arguments}, i64 %thread, i64 %threads)")
            calls.append(Call(kernel, name, alone, waits))
            if clock:
                clock.read(len(calls) - 1)
        self._copies(step, table, slots, team)
        bodies = [text.replace(_NAME, name) for text, name in self.functions.items()]
        self.declarations |= step.declarations
        text = "\n\n".join([*self.declarations, waiting(self.target), *bodies, step.text()])
        return Module(text, tuple(calls), scratch, tuple(self.sites))

    def _pointer(self, step: Code, table: str, slots: dict[int, str], home: Home) -> str:
        if home.slot not in slots:
            slots[home.slot] = step.let(f"load ptr, ptr {step.element('ptr', table, str(home.slot))}")
        return step.element("i8", slots[home.slot], str(home.offset))

    def _copies(self, step: Code, table: str, slots: dict[int, str], team: str) -> None:
        """New values of states that could not be written in place."""
        if not self.plan.copies:
            return
        self.declarations["declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"] = None
        step.do(f"call void @barrier(ptr {team}, i64 %threads)")
        first = step.let("icmp eq i64 %thread, 0")
        pairs = [
            (self._pointer(step, table, slots, goal), self._pointer(step, table, slots, self.plan.homes[node]), node)
            for node, goal in self.plan.copies
        ]
        with step.when(first):
            for goal, source, node in pairs:
                size = node.size * node.dtype.itemsize
                step.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {goal}, ptr {source}, i64 {size}, i1 false)")

    # --- Kernels ---

    def _function(self, kernel: Kernel) -> tuple[str, list[Home], list[Node]]:
        """The name of the function that is `kernel`, the homes of its arrays in their order, and what may go wrong."""
        homes: list[Home] = []
        arrays: dict[Node, str] = {}
        for node in dict.fromkeys((*nodes_made(kernel), *(access.array for access in accesses(kernel)))):
            home = self.plan.homes[array_of(node)]
            if home not in homes:
                homes.append(home)
            arrays[node] = f"%a{homes.index(home)}"
        text, code = self._written(kernel, arrays, len(homes), False)
        if code.failures:
            text, code = self._written(kernel, arrays, len(homes), True)
        self.declarations |= code.declarations
        name = self.functions.setdefault(text, f"{_word(kernel)}_{len(self.functions)}")
        return name, homes, [node for node in code.failures if isinstance(node, Node)]

    def _written(self, kernel: Kernel, arrays: dict[Node, str], count: int, may_fail: bool) -> tuple[str, Code]:
        parameters = [("ptr noalias", f"a{number}") for number in range(count)]
        parameters += [("ptr noalias", "status")] if may_fail else []
        parameters += [("ptr noalias", "scratch"), ("i64", "thread"), ("i64", "threads")]
        code = Code(_NAME, parameters, internal=True, fused=self.target.fused, masked=self.target.masked)
        self._write(code, kernel, arrays)
        if may_fail:
            for number, slot in enumerate(code.failures.values()):
                with code.when(code.get("i1", slot)):
                    code.do(f"store i64 1, ptr {code.element('i64', '%status', str(number))}")
        return code.text(), code

    def _write(self, code: Code, kernel: Kernel, arrays: dict[Node, str]) -> None:
        match kernel:
            case Loop():
                write_loop(code, kernel, arrays, self.target)
            case Reduction():
                write_reduction(code, kernel, arrays, self.target)
            case Contraction():
                finish = None
                if kernel.stores:

                    def finish(code: Code, tile: Tile) -> None:
                        write_epilogue(code, kernel.node, kernel.stores, arrays, tile, self.target)

                write_contraction(code, kernel, arrays, self.target, finish, kernel.kept)
            case Scatter():
                write_scatter(code, kernel, arrays)
            case Running():
                write_running(code, kernel, arrays)
            case Sorting():
                write_sorting(code, kernel, arrays)

    def _scratch(self, kernel: Kernel) -> int:
        if not isinstance(kernel, Contraction):
            return 0
        size = scratch_bytes(kernel, self.target, kernel.kept, bool(kernel.stores))
        return -(-size // ALIGNMENT) * ALIGNMENT


class _Clock:
    """Cycles between the kernels of a timed step."""

    def __init__(self, step: Code, team: str) -> None:
        self.step, self.team = step, team
        step.declare("declare i64 @llvm.readcyclecounter()")
        self.times = step.let(f"load ptr, ptr {step.element('ptr', '%job', '4')}")
        self.last = step.let("call i64 @llvm.readcyclecounter()")

    def read(self, number: int) -> None:
        """All threads meet; the first notes how long kernel `number` took."""
        step = self.step
        step.do(f"call void @barrier(ptr {self.team}, i64 %threads)")
        now = step.let("call i64 @llvm.readcyclecounter()")
        with step.when(step.let("icmp eq i64 %thread, 0")):
            word = step.element("i64", self.times, str(number))
            passed = step.let(f"sub i64 {now}, {self.last}")
            sum_ = step.let(f"add i64 {step.get('i64', word)}, {passed}")
            step.do(f"store i64 {sum_}, ptr {word}")
        self.last = now


def _word(kernel: Kernel) -> str:
    return type(kernel).__name__.lower()


# --- Barriers ----------------------------------------------------------------------------------------------------

Span = tuple[int, int, int]  # slot, first byte, past the last byte


def _with_barriers(kernels: Sequence[Kernel], plan: Plan) -> Iterator[tuple[Kernel, bool]]:
    """Each kernel, and whether the threads must meet before it: it touches what another one wrote, or writes what
    another one reads, since they last met."""
    read: list[Span] = []
    written: list[Span] = []
    for kernel in kernels:
        reads = [_span(plan, access.array) for access in accesses(kernel)]
        writes = [_span(plan, node) for node in nodes_made(kernel)]
        waits = _meet(reads, written) or _meet(writes, written) or _meet(writes, read)
        if waits:
            read, written = [], []
        read += reads
        written += writes
        yield kernel, waits


def _span(plan: Plan, node: Node) -> Span:
    home = plan.homes[array_of(node)]
    return home.slot, home.offset, home.offset + max(1, node.size * node.dtype.itemsize)


def _meet(some: list[Span], others: list[Span]) -> bool:
    return any(
        slot == other and start < finish and begin < end for slot, start, end in some for other, begin, finish in others
    )
