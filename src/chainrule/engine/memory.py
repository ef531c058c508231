"""Where every array lives: in place in a state, in a result, or in one arena planned from liveness.

Comes in: kernels in their order, and which nodes are inputs and outputs. Goes out: a `Plan` that gives each array a
home: a slot in the program's table of pointers and an offset in bytes. Slot 0 is the arena.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chainrule.engine.fuse import array_of, is_number
from chainrule.engine.graph import Graph, Node
from chainrule.engine.kernel import Kernel, Loop, accesses, contiguous, nodes_made
from chainrule.engine.op import Op

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
ARENA = 0


@dataclass(frozen=True, slots=True)
class Home:
    """A slot of the table, and how many bytes into it."""

    slot: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
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


def plan(kernels: Sequence[Kernel], graph: Graph, results: int, states: Sequence[Node | None]) -> Plan:
    """Homes for the arrays of `kernels`.

    Parameters
    ----------
    kernels
        As `fuse` made them.
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
    for node, state in zip(graph.outputs[results:], states, strict=True):
        assert state is not None
        if _fits_in_place(array_of(node), state, kernels):
            homes[array_of(node)] = homes[state]
        else:
            copies.append((array_of(node), homes[state]))
    constants: list[Node] = []
    for node in graph.nodes:
        if node.op is Op.CONSTANT and not is_number(node):
            homes[node] = Home(first_result + results + len(constants))
            constants.append(node)
    size = _fill_arena(homes, _spans(kernels, [node for node, _ in copies]))
    return Plan(homes, size, tuple(constants), tuple(copies))


def _fits_in_place(array: Node, state: Node, kernels: Sequence[Kernel]) -> bool:
    """Whether the new value can overwrite the old: nothing reads the old one later, or elsewhere in the same loop."""
    first = min(number for number, kernel in enumerate(kernels) if array in nodes_made(kernel))
    for number, kernel in enumerate(kernels):
        for access in accesses(kernel):
            if access.array is state and number >= first:
                here = isinstance(kernel, Loop) and (access.offset, access.strides) == (0, contiguous(kernel.domain))
                if number > first or not here or array.size != state.size:
                    return False
    return True


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
    """Give every array without a home one in the arena, the largest first, each at the lowest place that is free."""
    placed: list[tuple[int, int, int, int]] = []
    homeless = [node for node in spans if node not in homes]
    for node in sorted(homeless, key=lambda node: (-_bytes(node), spans[node])):
        first, last = spans[node]
        size, offset = _bytes(node), 0
        for start, end in sorted((s, e) for s, e, begin, finish in placed if begin <= last and first <= finish):
            if offset + size <= start:
                break
            offset = max(offset, end)
        homes[node] = Home(ARENA, offset)
        placed.append((offset, offset + size, first, last))
    return max((end for _, end, _, _ in placed), default=0)


def _bytes(node: Node) -> int:
    return -(-node.size * node.dtype.itemsize // ALIGNMENT) * ALIGNMENT
