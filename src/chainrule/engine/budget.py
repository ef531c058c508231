"""What a program needs of memory, known before it runs, and whether the machine has it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from chainrule.engine.graph import Graph, Node
from chainrule.engine.memory import ARENA, Plan
from chainrule.engine.state import State
from chainrule.errors import ResourceError

_SHOWN = 5  # arrays that are named


@dataclass(frozen=True, slots=True)
class Array:
    """An array of a program: what makes it, of which type and shape, in which layer, and its bytes."""

    made_by: str
    type: str
    module: str
    bytes: int

    def __str__(self) -> str:
        where = f' of "{self.module}"' if self.module else ""
        return f"{_size(self.bytes)} {self.type} by {self.made_by}{where}"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a program needs while it runs.

    Attributes
    ----------
    states
        Of parameters and states, which outlive it.
    arguments, results, constants
        Of what goes in, what comes out, and arrays that the function brought along.
    arena
        Of everything in between, at its peak; arrays that are not needed at the same time share their place.
    without_sharing
        What the arena would need if they did not.
    scratch
        Of the threads' own room for packing, for one thread.
    largest
        The largest arrays in the arena.
    """

    states: int
    arguments: int
    results: int
    constants: int
    arena: int
    without_sharing: int
    scratch: int
    largest: tuple[Array, ...]

    @property
    def peak(self) -> int:
        """All of it, for one thread."""
        return self.states + self.arguments + self.results + self.constants + self.arena + self.scratch

    def __str__(self) -> str:
        rows = [
            ("states", self.states, "parameters, moments, statistics: written in place"),
            ("arguments", self.arguments, ""),
            ("results", self.results, ""),
            ("constants", self.constants, ""),
            ("arena", self.arena, f"{_size(self.without_sharing)} without sharing"),
            ("scratch", self.scratch, "for each thread"),
            ("peak", self.peak, ""),
        ]
        lines = [f"{name:<10} {_size(size):>9}  {remark}".rstrip() for name, size, remark in rows]
        return "\n".join([*lines, *(f"  in the arena: {array}" for array in self.largest)])


def memory_of(graph: Graph, arguments: int, results: int, plan: Plan, scratch: int) -> Memory:
    """The memory of a program; the first `arguments` inputs and `results` outputs of its graph are not states."""
    inside = [node for node, home in plan.homes.items() if home.slot == ARENA]
    largest = sorted(inside, key=_bytes, reverse=True)[:_SHOWN]
    return Memory(
        sum(map(_bytes, graph.inputs[arguments:])),
        sum(map(_bytes, graph.inputs[:arguments])),
        sum(map(_bytes, graph.outputs[:results])),
        sum(map(_bytes, plan.constants)),
        plan.arena,
        sum(map(_bytes, inside)),
        scratch,
        tuple(_array(node) for node in largest),
    )


def require_room(memory: Memory) -> None:
    """Refuse a program whose arena and scratch do not fit into the memory that is free.

    Raises
    ------
    ResourceError
        With the largest arrays.
    """
    free = _free()
    needed = memory.arena + memory.scratch
    if free is not None and needed > free:
        arrays = ", ".join(map(str, memory.largest))
        raise ResourceError(
            f"this program needs {_size(needed)} of memory beside its {_size(memory.states)} of parameters and states, "
            f"but only {_size(free)} are free. Its largest arrays are {arrays}. Use smaller batches or cr.checkpoint."
        )


def _free() -> int | None:
    """Bytes that are free on this machine, where the system tells."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _reclaimable()
    except (AttributeError, ValueError, OSError):
        return None


def _reclaimable() -> int:
    """Bytes of Linux's page cache, which it gives up when they are needed."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            found = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    except (OSError, ValueError, IndexError):
        return 0
    return max(0, found.get("MemAvailable", 0) - found.get("MemFree", 0))


def _array(node: Node) -> Array:
    owner = node.owner.name if isinstance(node.owner, State) else ""
    return Array(owner or node.op.value, f"{node.dtype.name}{[*node.shape]}", node.provenance.module, _bytes(node))


def _bytes(node: Node) -> int:
    return node.size * node.dtype.itemsize


def _size(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"
