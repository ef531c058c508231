"""When each kernel runs: phases, between which all threads meet, and what one thread does alone in them.

    Schedule ::= Turn*                  in the order of the step
    Turn     ::= kernel, alone, waits   whether the first thread does it alone; whether all threads meet before it

Comes in: kernels in an order that is right for one thread, and where their arrays live. Kernels of one phase do not
touch what others of it write, but that the first thread does several alone, one after the other. What is done alone
runs, if it can, beside the largest products whose parts are claimed: the others begin those meanwhile, and do more of
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.engine.fuse import array_of
from chainrule.engine.graph import Node
from chainrule.engine.kernel import Contraction, Kernel, accesses, nodes_made
from chainrule.engine.memory import Plan
from chainrule.engine.target import Target
from chainrule.engine.work import cycles, done_alone

Span = tuple[int, int, int]  # a slot of the table, the first byte, and past the last byte


@dataclass(frozen=True, slots=True)
class Turn:
    """A kernel in the step: whether the first thread does it alone, and whether all threads meet before it."""

    kernel: Kernel
    alone: bool
    waits: bool

    @property
    def claimed(self) -> bool:
        """Whether threads claim their parts of it, piece by piece."""
        return isinstance(self.kernel, Contraction) and not self.alone


@dataclass(frozen=True, slots=True)
class Schedule:
    """The turns of a step, in its order; `print` writes them out, phase by phase.

    Attributes
    ----------
    turns
        In the order of the step.
    kernels
        The same kernels in the order that they came in, which is right for one thread.
    """

    turns: tuple[Turn, ...]
    kernels: tuple[Kernel, ...]

    def __str__(self) -> str:
        lines = []
        for turn in self.turns:
            made = nodes_made(turn.kernel)[0]
            lines += ["all meet"] if turn.waits else []
            who, what = "first" if turn.alone else "all", type(turn.kernel).__name__.lower()
            lines.append(f"  {who:5}  {what} {made.dtype.name}{[*made.shape]}")
        return "\n".join(lines)

    def verify(self, plan: Plan) -> None:
        """Assert that kernels which touch the same bytes are in their order, and apart unless one thread does both."""
        kernels, phase, place = self.kernels, 0, {}
        for number, turn in enumerate(self.turns):
            phase += turn.waits
            place[id(turn.kernel)] = phase, number, turn.alone
        assert len(place) == len(kernels), "each kernel has one turn"
        touched = [_touches(kernel, plan) for kernel in kernels]
        for later, (reads, writes) in enumerate(touched):
            for earlier, (read, written) in enumerate(touched[:later]):
                if _meet(reads | writes, written) or _meet(writes, read):
                    (first, one, alone), (second, other, too) = (place[id(kernels[n])] for n in (earlier, later))
                    assert first < second or (alone and too and first == second), "threads meet between them"
                    assert one < other, "what is needed comes first"


def scheduled(kernels: Sequence[Kernel], plan: Plan, target: Target) -> Schedule:
    """The schedule of a step, in as few phases as the order of what touches the same bytes allows."""
    alone = done_alone(kernels, target)
    before = [set[int]() for _ in kernels] if all(alone) else conflicts(kernels, plan)
    phases: list[int] = []
    for number, earlier in enumerate(before):
        least = [phases[other] + (not (alone[other] and alone[number])) for other in earlier]
        phases.append(max(least, default=0))
    claimed = [0.0] * (max(phases, default=0) + 1)
    for phase, lonely, kernel in zip(phases, alone, kernels, strict=True):
        claimed[phase] += cycles(kernel, target) if isinstance(kernel, Contraction) and not lonely else 0.0
    _move_beside(claimed, phases, alone, before)
    order = sorted(range(len(kernels)), key=lambda number: (phases[number], not alone[number], number))
    met = [0, *(phases[number] for number in order)]
    turns = [Turn(kernels[n], alone[n], phases[n] > last) for n, last in zip(order, met, strict=False)]
    return Schedule(tuple(turns), tuple(kernels))


def _move_beside(
    claimed: Sequence[float], phases: list[int], alone: Sequence[bool], before: Sequence[set[int]]
) -> None:
    """What is done alone goes to the phase with the most work that is claimed, of those that it may be in."""
    latest = [len(claimed) - 1] * len(phases)
    for number in reversed(range(len(phases))):
        if alone[number]:
            phases[number] = max(range(phases[number], latest[number] + 1), key=claimed.__getitem__)
        for other in before[number]:
            latest[other] = min(latest[other], phases[number] - (not (alone[other] and alone[number])))


def conflicts(kernels: Sequence[Kernel], plan: Plan) -> list[set[int]]:
    """For each kernel the earlier ones that it must come after: it touches what they wrote, or writes what they read.

    Of those that have to come after each other the last is enough.
    """
    slots: dict[int, tuple[list[Span], list[Span]]] = {}  # what was read and written: from, to, by which kernel
    found = []
    for number, kernel in enumerate(kernels):
        reads, writes = _touches(kernel, plan)
        earlier: set[int] = set()
        for slot, begin, end in reads | writes:
            read, written = slots.setdefault(slot, ([], []))
            others = written + read if (slot, begin, end) in writes else written
            earlier |= {other for first, last, other in others if begin < last and first < end}
        for slot, begin, end in writes:
            for spans in slots[slot]:
                spans[:] = [span for span in spans if span[0] < begin or span[1] > end]
            slots[slot][1].append((begin, end, number))
        for slot, begin, end in reads - writes:
            slots[slot][0].append((begin, end, number))
        found.append(earlier)
    return found


def _touches(kernel: Kernel, plan: Plan) -> tuple[set[Span], set[Span]]:
    """What a kernel reads, and what it writes."""
    reads = {_span(plan, access.array) for access in accesses(kernel)}
    return reads, {_span(plan, node) for node in nodes_made(kernel)}


def _span(plan: Plan, node: Node) -> Span:
    home = plan.homes[array_of(node)]
    return home.slot, home.offset, home.offset + max(1, node.size * node.dtype.itemsize)


def _meet(some: set[Span], others: set[Span]) -> bool:
    return any(slot == other and a < d and c < b for slot, a, b in some for other, c, d in others)
