"""When each kernel runs: phases, between which all threads meet, and what one thread does alone in them.

    Schedule ::= Turn*                            in the order of the step
    Turn     ::= Kernel+, blocks, alone, waits    kernels that are run block by block of rows, if they are several;
                                                  whether one thread does it alone; whether all meet before it

Comes in: kernels in an order that is right for one thread, and where their arrays live. Turns of one phase do not touch
what others of it write, but that a thread does several alone, one after the other: the first, or the second where it is
there. What is done alone runs, if it can, beside the largest products whose parts are claimed: the others begin those
meanwhile, and do more of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chainrule.engine.bands import bands, may_have_bands
from chainrule.engine.fuse import array_of
from chainrule.engine.graph import Node
from chainrule.engine.kernel import Contraction, Kernel, accesses, nodes_made
from chainrule.engine.memory import ALIGNMENT, ARENA, Home, Plan
from chainrule.engine.record import record
from chainrule.engine.target import Target
from chainrule.engine.work import CLAIMED, cycles, done_alone

Span = tuple[int, int, int]  # a slot of the table, the first byte, and past the last byte
_PLACES = 256  # into which the arena is cut, to find who has touched the same bytes


@record(frozen=True, slots=True)
class Turn:
    """What is run at a time.

    Attributes
    ----------
    kernels
        One, or a band of several.
    blocks
        In how many blocks of rows a band is run; else 0.
    alone
        Whether one thread does it alone.
    waits
        Whether all threads meet before it.
    claimed
        Whether threads claim their parts of it, piece by piece, so that nobody waits for a core that is busy.
    inside
        Places in the arena, and their bytes, of what nobody needs but the band: a block of each is enough.
    is_shared
        Whether the blocks are there for threads to share: one thread alone does all at once.
    by_second
        Whether the thread that does it alone is the second, if there is one.
    """

    kernels: tuple[Kernel, ...]
    blocks: int
    alone: bool
    waits: bool
    claimed: bool = False
    inside: tuple[tuple[Home, int], ...] = ()
    is_shared: bool = False
    by_second: bool = False

    @property
    def who(self) -> str:
        """Who does it."""
        return "all" if not self.alone else "second" if self.by_second else "first"


@record(frozen=True, slots=True)
class Schedule:
    """The turns of a step, in its order; `print` writes them out, phase by phase.

    Attributes
    ----------
    turns
        In the order of the step.
    kernels
        All kernels in the order that they came in, which is right for one thread.
    """

    turns: tuple[Turn, ...]
    kernels: tuple[Kernel, ...]

    def __str__(self) -> str:
        lines = []
        for turn in self.turns:
            lines += ["all meet"] if turn.waits else []
            lines += [f"  {turn.blocks} blocks"] if turn.blocks else []
            for kernel in turn.kernels:
                made = nodes_made(kernel)[0]
                lines.append(f"  {turn.who:6}  {type(kernel).__name__.lower()} {made.dtype.name}{[*made.shape]}")
        return "\n".join(lines)

    def verify(self, plan: Plan) -> None:
        """Assert that kernels which touch the same bytes are in their order, and apart unless one thread does both."""
        phase, place = 0, dict[int, tuple[int, int, Turn]]()
        for turn in self.turns:
            phase += turn.waits
            for kernel in turn.kernels:
                place[id(kernel)] = phase, len(place), turn
        assert len(place) == len(self.kernels), "each kernel has one turn"
        touched = [_touches(kernel, plan) for kernel in self.kernels]
        for later, (reads, writes) in enumerate(touched):
            for earlier, (read, written) in enumerate(touched[:later]):
                if _meet(reads | writes, written) or _meet(writes, read):
                    (first, one, turn), (second, other, last) = (place[id(self.kernels[n])] for n in (earlier, later))
                    assert one < other, "what is needed comes first"
                    by_one = turn.alone and turn.who == last.who
                    assert first < second or turn is last or by_one, "threads meet between them"


def scheduled(kernels: Sequence[Kernel], plan: Plan, target: Target) -> Schedule:
    """The schedule of a step, in as few phases as the order of what touches the same bytes allows."""
    small = done_alone(kernels, target)
    if all(small) and not may_have_bands(kernels, target):
        return Schedule(tuple([Turn((kernel,), 0, alone=True, waits=False) for kernel in kernels]), tuple(kernels))
    before = conflicts(kernels, plan)
    found = bands(kernels, before, small, plan, target)
    place = {member: number for number, band in enumerate(found) for member in band.members}
    alone = [not band.is_shared and all(small[member] for member in band.members) for band in found]
    earlier = [
        {place[other] for member in band.members for other in before[member]} - {number}
        for number, band in enumerate(found)
    ]
    phases: list[int] = []
    for number, others in enumerate(earlier):
        least = [phases[other] + (not (alone[other] and alone[number])) for other in others]
        phases.append(max(least, default=0))
    single = [not alone[number] and not band.blocks for number, band in enumerate(found)]
    large = [_claimed_work(kernels[found[n].members[0]], target) if single[n] else 0.0 for n in range(len(found))]
    claimed = [0.0] * (max(phases, default=0) + 1)
    for phase, work in zip(phases, large, strict=True):
        claimed[phase] += work
    _move_beside(claimed, phases, alone, earlier)
    second = _second(phases, alone, earlier, [sum(cycles(kernels[n], target) for n in band.members) for band in found])
    order = sorted(range(len(found)), key=lambda number: (phases[number], not alone[number], number))
    met = [0, *(phases[number] for number in order)]
    turns = []
    for n, last in zip(order, met, strict=False):
        members = tuple([kernels[member] for member in found[n].members])
        band = found[n]
        waits, is_claimed = phases[n] > last, large[n] > 0
        turns.append(Turn(members, band.blocks, alone[n], waits, is_claimed, band.inside, band.is_shared, n in second))
    return Schedule(tuple(turns), tuple(kernels))


def _claimed_work(kernel: Kernel, target: Target) -> float:
    """The cycles of a kernel whose parts are claimed; 0 for others."""
    work = cycles(kernel, target) if isinstance(kernel, Contraction) else 0.0
    return work if work >= CLAIMED else 0.0


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


def _second(
    phases: Sequence[int], alone: Sequence[bool], before: Sequence[set[int]], work: Sequence[float]
) -> set[int]:
    """What the second thread does alone: what hangs together in a phase is for one, and goes to who has less to do."""
    link = [*range(len(phases))]  # to another of the same group, or to itself

    def head(number: int) -> int:
        while link[number] != number:
            link[number] = number = link[link[number]]
        return number

    for number, others in enumerate(before):
        for other in others:
            if alone[number] and alone[other] and phases[number] == phases[other]:
                link[head(number)] = head(other)
    sums: dict[int, float] = {}
    for number in range(len(phases)):
        if alone[number]:
            sums[head(number)] = sums.get(head(number), 0.0) + work[number]
    done = [[0.0, 0.0] for _ in range(max(phases, default=0) + 1)]
    theirs = set[int]()
    for group in sorted(sums, key=lambda group: -sums[group]):
        by_first, by_second = done[phases[group]]
        is_second = by_second < by_first
        done[phases[group]][is_second] += sums[group]
        if is_second:
            theirs.add(group)
    return {number for number in range(len(phases)) if alone[number] and head(number) in theirs}


def conflicts(kernels: Sequence[Kernel], plan: Plan) -> list[set[int]]:
    """For each kernel the earlier ones that it must come after: it touches what they wrote, or writes what they read.

    Of those that have to come after each other the last is enough.
    """
    places: dict[tuple[int, int], tuple[list[Span], list[Span]]] = {}  # read and written: from, to, by which kernel
    length = max(ALIGNMENT, plan.arena // _PLACES)
    found = []
    for number, kernel in enumerate(kernels):
        reads, writes = ({cut for span in spans for cut in _cut(span, length)} for spans in _touches(kernel, plan))
        earlier: set[int] = set()
        for cut in reads | writes:
            place, begin, end = cut
            read, written = places.setdefault(place, ([], []))
            others = written + read if cut in writes else written
            earlier |= {other for first, last, other in others if begin < last and first < end}
        for place, begin, end in writes:
            for spans in places[place]:
                spans[:] = [span for span in spans if span[0] < begin or span[1] > end]
            places[place][1].append((begin, end, number))
        for place, begin, end in reads - writes:
            places[place][0].append((begin, end, number))
        found.append(earlier)
    return found


def _cut(span: Span, length: int) -> Iterator[tuple[tuple[int, int], int, int]]:
    """What is touched, place by place, so that few are to be looked at: the arena is cut into places of a length."""
    slot, begin, end = span
    if slot != ARENA:
        yield (slot, 0), begin, end
        return
    for place in range(begin // length, -(-end // length)):
        yield (slot, place), max(begin, place * length), min(end, (place + 1) * length)


def _touches(kernel: Kernel, plan: Plan) -> tuple[set[Span], set[Span]]:
    """What a kernel reads, and what it writes."""
    reads = {_span(plan, access.array) for access in accesses(kernel)}
    return reads, {_span(plan, node) for node in nodes_made(kernel)}


def _span(plan: Plan, node: Node) -> Span:
    home = plan.homes[array_of(node)]
    return home.slot, home.offset, home.offset + max(1, node.size * node.dtype.itemsize)


def _meet(some: set[Span], others: set[Span]) -> bool:
    return any(slot == other and a < d and c < b for slot, a, b in some for other, c, d in others)
