"""Where every array lives: in place in a state, in a result, or in one arena planned from liveness.

Comes in: kernels in their order, and which nodes are inputs and outputs. Goes out: a `Plan` that gives each array a
home: a slot in the program's table of pointers and an offset in bytes. Slot 0 is the arena.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush

import numpy as np

from chainrule.engine.fuse import array_of
from chainrule.engine.graph import Graph, Node, Shape
from chainrule.engine.kernel import Access, Contraction, Kernel, Loop, accesses, contiguous, nodes_made
from chainrule.engine.op import Op
from chainrule.engine.record import record

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
ARENA = 0
_WORTH = 2**14  # bytes for which a kernel is moved forward
_CACHED = 2**18  # bytes of an array that stays in the cache of a core
_SPARE = 2**20  # bytes that places of their own may take
_TINY, _FEW = 2**13, 2**16  # bytes of an array that shares its place with none, and of all of those


@record(frozen=True, slots=True)
class Home:
    """A slot of the table, and how many bytes into it."""

    slot: int
    offset: int = 0


@record(frozen=True, slots=True)
class Plan:
    """Where arrays live.

    Attributes
    ----------
    homes
        A home for every array.
    arena
        Bytes of the arena.
    constants
        Constant nodes, in the order of their slots, which are the last of the table.
    copies
        (from, to) what is copied after the last kernel: new values of states that could not be written in place.
    """

    homes: dict[Node, Home]
    arena: int
    constants: tuple[Node, ...]
    copies: tuple[tuple[Node, Home], ...]

    def inside(self) -> list[Node]:
        """The arrays in the arena."""
        return [node for node, home in self.homes.items() if home.slot == ARENA]

    def verify(self, kernels: Sequence[Kernel]) -> None:
        """Assert that no two arrays that are needed at the same time overlap."""
        spans = _spans(kernels, [node for node, _ in self.copies])
        placed = [(self.homes[node].offset, _bytes(node), *spans[node]) for node in self.homes if node in spans]
        placed = [
            item
            for item, node in zip(placed, (n for n in self.homes if n in spans), strict=True)
            if self.homes[node].slot == ARENA and item[1]
        ]
        for i, (start, size, first, last) in enumerate(placed):
            assert start % ALIGNMENT == 0, "an array begins at a cache line"
            assert start + size <= self.arena, "an array ends within the arena"
            for other, length, begin, end in placed[:i]:
                apart = start + size <= other or other + length <= start
                assert apart or last < begin or end < first, "arrays that live together do not overlap"


def ordered(kernels: Sequence[Kernel], graph: Graph, results: int, states: Sequence[Node]) -> tuple[Kernel, ...]:
    """The same kernels in an order in which new values of states overwrite the old ones as late as they can.

    Where a state is needed after its new value, the order stays and the new value gets an array of its own. What frees
    memory comes early: a weight's gradient as soon as the upstream gradient is there, so that both it and the
    activation can go.
    """
    firm: list[set[int]] = [set() for _ in kernels]
    makers: dict[Node, list[int]] = {}  # some arrays are filled part by part
    readers: dict[Node, set[int]] = {}
    for number, kernel in enumerate(kernels):
        for node in nodes_made(kernel):
            firm[number] |= set(makers.get(node, ()))
            makers.setdefault(node, []).append(number)
    for number, kernel in enumerate(kernels):
        for access in accesses(kernel):
            firm[number] |= set(makers.get(access.array, ())) - {number}
            readers.setdefault(access.array, set()).add(number)
    late = {state: makers[array_of(node)] for node, state in zip(graph.outputs[results:], states, strict=True)}
    room = _Room(kernels, {*graph.inputs, *map(array_of, graph.outputs)})
    while True:
        before = [set(each) for each in firm]
        for state, numbers in late.items():
            for number in numbers:
                before[number] |= readers.get(state, set()) - {number}
        order = _sorted(before, room)
        stuck = set(range(len(kernels))) - set(order)
        if not stuck:
            return tuple(kernels[number] for number in order)
        # Kernels wait for each other: the states that are written in that circle get no such order.
        given_up = [state for state, numbers in late.items() if stuck & set(numbers)]
        assert given_up, "kernels depend on each other in one direction"
        late = {state: numbers for state, numbers in late.items() if state not in given_up}


class _Room:
    """How much memory of the arena each kernel takes, and which arrays nobody needs after it."""

    def __init__(self, kernels: Sequence[Kernel], elsewhere: set[Node]) -> None:
        self.made = [{node for node in nodes_made(kernel) if node not in elsewhere} for kernel in kernels]
        self.read = [{access.array for access in accesses(kernel)} - elsewhere for kernel in kernels]

    def readers(self) -> dict[Node, set[int]]:
        """The numbers of the kernels that read each array."""
        found: dict[Node, set[int]] = {}
        for number, read in enumerate(self.read):
            for node in read:
                found.setdefault(node, set()).add(number)
        return found

    def rank(self, number: int, left: dict[Node, set[int]]) -> tuple[int, int]:
        """Where a kernel stands among those that can run, while these readers of each array are left: the lowest is
        the next. What it frees counts beyond what it takes, and only where that is much."""
        last = (node for node in self.read[number] if len(left[node]) == 1 and node not in self.made[number])
        freed = sum(map(_bytes, last)) - sum(map(_bytes, self.made[number]))
        return (-freed if freed >= _WORTH else 0), number


def _sorted(before: Sequence[set[int]], room: _Room) -> list[int]:
    """Numbers in an order in which each comes after those before it: what frees much memory first, else lowest first.

    Those that wait for each other in a circle, or for one that does, are missing.
    """
    after: dict[int, list[int]] = {}
    for number, earlier in enumerate(before):
        for other in earlier - {number}:
            after.setdefault(other, []).append(number)
    missing = [len(earlier - {number}) for number, earlier in enumerate(before)]
    left = room.readers()
    free = [room.rank(number, left) for number, count in enumerate(missing) if not count]
    heapify(free)
    order: dict[int, None] = {}
    while free:
        _, number = heappop(free)
        if number in order:
            continue  # it had a better rank since it was put here
        order[number] = None
        moved = {later for later in after.get(number, []) if missing[later] == 1}
        for later in after.get(number, []):
            missing[later] -= 1
        for node in room.read[number]:
            left[node].discard(number)
            if len(left[node]) == 1:
                moved |= {last for last in left[node] if not missing[last]}
        for later in moved:
            heappush(free, room.rank(later, left))
    return list(order)


def plan(kernels: Sequence[Kernel], graph: Graph, results: int, states: Sequence[Node]) -> Plan:
    """Homes for the arrays of `kernels`.

    Parameters
    ----------
    kernels
        As `fuse` and `ordered` made them.
    graph
        Whose inputs take slots 1, 2, ...; the results take those after them.
    results
        How many of the graph's outputs are results; the others are new values of states.
    states
        For each of those others the input that holds the old value.
    """
    homes = {node: Home(1 + slot) for slot, node in enumerate(graph.inputs)}
    first_result = 1 + len(graph.inputs)
    for slot, node in enumerate(graph.outputs[:results]):
        homes[array_of(node)] = Home(first_result + slot)
    copies = []
    in_the_way = _in_the_way(kernels, set(states))
    maker = {node: number for number, kernel in reversed([*enumerate(kernels)]) for node in nodes_made(kernel)}
    for node, state in zip(graph.outputs[results:], states, strict=True):
        if in_the_way.get(state, -1) < maker[array_of(node)]:
            homes[array_of(node)] = homes[state]
        else:
            copies.append((array_of(node), homes[state]))
    constants: list[Node] = []
    needed = {access.array for kernel in kernels for access in accesses(kernel)}
    for node in graph.nodes:
        if node.op is Op.CONSTANT and node in needed:
            homes[node] = Home(first_result + results + len(constants))
            constants.append(node)
    size = _fill_arena(homes, _spans(kernels, [node for node, _ in copies]))
    return Plan(homes, size, tuple(constants), tuple(copies))


def _in_the_way(kernels: Sequence[Kernel], states: set[Node]) -> dict[Node, int]:
    """For each state the last kernel that needs the old value elsewhere than at the very point it works on."""
    last: dict[Node, int] = {}
    for number, kernel in enumerate(kernels):
        for access in accesses(kernel):
            if access.array in states:
                point = isinstance(kernel, Loop | Contraction) and access not in _operands(kernel)
                domain = kernel.node.shape if isinstance(kernel, Contraction) else kernel.domain
                here = point and _is_point(access, domain)
                last[access.array] = max(last.get(access.array, -1), number - 1 if here else number)
    return last


def _is_point(access: Access, domain: Shape) -> bool:
    """Whether each point of the domain has the element that stands at its own place in an array without gaps."""
    steps = zip(domain, access.strides, contiguous(domain), strict=True)
    return access.offset == 0 and all(length == 1 or stride == own for length, stride, own in steps)


def _operands(kernel: Kernel) -> tuple[Access, ...]:
    return (kernel.left, kernel.right) if isinstance(kernel, Contraction) else ()


def _spans(kernels: Sequence[Kernel], kept: Iterable[Node]) -> dict[Node, tuple[int, int]]:
    """The numbers of the first and the last kernel that need each array."""
    spans: dict[Node, tuple[int, int]] = {}
    for number, kernel in enumerate(kernels):
        for node in (*nodes_made(kernel), *(access.array for access in accesses(kernel))):
            spans[node] = (spans.get(node, (number, number))[0], number)
    for node in kept:
        spans[node] = (spans[node][0], len(kernels))
    return spans


def _fill_arena(homes: dict[Node, Home], spans: dict[Node, tuple[int, int]]) -> int:
    """Give every array without a home one in the arena.

    What stays in the caches shares its place only with arrays that are like it: threads share those out alike, so that
    each finds the place in the cache of its own core. A few tiny ones share with none, so that no kernel has to wait
    until others have read what was there before. Where that takes much room, all share with all.
    """
    homeless = [node for node in spans if node not in homes]
    alike: dict[object, list[Node]] = {}
    tiny = [node for node in homeless if _bytes(node) <= _TINY]
    alone = set(tiny) if sum(map(_bytes, tiny)) <= _FEW else set()
    for node in homeless:
        like = (node.shape, node.dtype.itemsize) if _bytes(node) <= _CACHED else None
        alike.setdefault(node if node in alone else like, []).append(node)
    apart: dict[Node, Home] = {}
    reached = 0
    for nodes in alike.values():
        reached = _fill(nodes, apart, spans, reached)
    together: dict[Node, Home] = {}
    least = _fill(homeless, together, spans, 0)
    found, size = (apart, reached) if reached <= least + _SPARE else (together, least)
    homes |= found
    return size


def _fill(nodes: list[Node], homes: dict[Node, Home], spans: dict[Node, tuple[int, int]], begin: int) -> int:
    """Give each of some arrays a home from `begin` on, the largest first, at the lowest place that is free; gives where
    the last one ends."""
    starts, ends, firsts, lasts = np.zeros((4, len(nodes)), np.int64)  # of those that are placed
    for number, node in enumerate(sorted(nodes, key=lambda node: (-_bytes(node), spans[node]))):
        (first, last), size = spans[node], _bytes(node)
        beside = np.flatnonzero((firsts[:number] <= last) & (lasts[:number] >= first))
        beside = beside[np.argsort(starts[beside])]
        reached = np.maximum.accumulate(np.append(begin, ends[beside]))  # by all that begin before a gap
        fits = np.flatnonzero(reached[:-1] + size <= starts[beside])
        offset = int(reached[fits[0] if len(fits) else -1])
        homes[node] = Home(ARENA, offset)
        starts[number], ends[number], firsts[number], lasts[number] = offset, offset + size, first, last
    return int(ends.max(initial=begin))


def _bytes(node: Node) -> int:
    return -(-node.size * node.dtype.itemsize // ALIGNMENT) * ALIGNMENT
