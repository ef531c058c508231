"""What a program needs of memory, known before it runs, and whether the machine has it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.engine.graph import Graph, Node
from chainrule.engine.record import record
from chainrule.engine.state import State
from chainrule.errors import ResourceError

if TYPE_CHECKING:
    from chainrule.engine.memory import Plan

_SHOWN = 5  # arrays that are named
_NOT_WORTH_ASKING = 2**22  # bytes: to ask the system takes longer than a short loop
# For version 2 of control groups, and for version 1: the folder, and the files of limit and usage.
_GROUPS = {
    "": ("", "memory.max", "memory.current"),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
}


@record(frozen=True, slots=True)
class Array:
    """An array of a program: what makes it, of which type and shape, in which layer, and its bytes."""

    made_by: str
    type: str
    module: str
    bytes: int

    def __str__(self) -> str:
        where = f' of "{self.module}"' if self.module else ""
        return f"{_size(self.bytes)} {self.type} by {self.made_by}{where}"


@record(frozen=True, slots=True)
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
        The largest arrays in the arena and among the results.
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
        return "\n".join([*lines, *(f"  largest: {array}" for array in self.largest)])


def memory_of(graph: Graph, arguments: int, results: int, plan: Plan, scratch: int) -> Memory:
    """The memory of a program; the first `arguments` inputs and `results` outputs of its graph are not states."""
    inside = plan.inside()
    largest = sorted(dict.fromkeys([*inside, *graph.outputs[:results]]), key=_bytes, reverse=True)[:_SHOWN]
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


def require_room(needed: int, copies: int, memory: Callable[[], Memory]) -> None:
    """Refuse a program that needs more memory, beside its states, than is free.

    Parameters
    ----------
    needed
        Bytes of arena, scratch for all threads, results, and the copies.
    copies
        Bytes of the states that will be copied when it first runs.
    memory
        Tells what it needs memory for, if it is refused.

    Raises
    ------
    ResourceError
        With the largest arrays, where this is more than the memory that is free.
    """
    free = _free()
    if free is not None and needed > free:
        arrays = ", ".join(map(str, memory().largest))
        of_states = f", {_size(copies)} of it for copies of states" if copies else ""
        raise ResourceError(
            f"this program needs {_size(needed)} of memory beside its {_size(memory().states)} of parameters and states"
            f"{of_states}, but only {_size(free)} are free. Its largest arrays are {arrays}. Use smaller batches or "
            "cr.checkpoint."
        )


def require_room_for_results(needed: int, steps: int) -> None:
    """Refuse a loop of which the results of all steps, so many bytes, do not fit into the memory that is free.

    Raises
    ------
    ResourceError
        With what to do.
    """
    free = _free() if needed > _NOT_WORTH_ASKING else None
    if free is not None and needed > free:
        raise ResourceError(
            f"loop: the results of {steps} steps need {_size(needed)} of memory, but only {_size(free)} are free. Make "
            "fewer steps in one call, or let the step return less."
        )


def _free() -> int | None:
    """Bytes that are free on this machine and for this process, where the system tells."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _reclaimable()
    except (AttributeError, ValueError, OSError):
        return None
    return min([free, *_free_in_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _free_in_groups(own: Path, root: Path) -> list[int]:
    """What is left of the limit of each of Linux's control groups that this process is in, as containers have one."""
    found: list[int | None] = []
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return []
    for _, kind, path in lines:
        if kind in _GROUPS:
            folder, *names = _GROUPS[kind]
            top = root / folder
            group = top / path.strip("/")
            found += [_left(each, names) for each in (group, *group.parents) if each.is_relative_to(top)]
    return [left for left in found if left is not None]


def _left(group: Path, names: Sequence[str]) -> int | None:
    """What is left of the limit of one group; None where it has none."""
    try:
        limit, used = (int((group / name).read_text()) for name in names)
        rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # a limit may be "max"
        return None
    kept = [rows.get(f"total_{name}", rows.get(name, "0")) for name in ("active_file", "inactive_file")]
    return max(0, limit - used + sum(map(int, kept)))  # the page cache is given up when memory is needed


def _reclaimable() -> int:
    """Bytes of Linux's page cache, which it gives up when they are needed."""
    try:
        with open("/proc/meminfo", encoding="utf-8") as lines:
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
