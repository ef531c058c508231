"""Where the time of a step goes: for each kernel its cycles, work and traffic, summed by layer and by phase."""

from __future__ import annotations

import ctypes
import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.code import Code, Kind
from chainrule.engine.dtypes import DType, float32, float64
from chainrule.engine.emit import Call
from chainrule.engine.fuse import array_of
from chainrule.engine.graph import Graph, Node
from chainrule.engine.kernel import Apply, Contraction, Kernel, Loop, accesses, expressions, nodes_made
from chainrule.engine.lanes import Lanes, fused
from chainrule.engine.native import Native
from chainrule.engine.state import State
from chainrule.engine.target import Target

_ROUNDS = 5  # of which the quickest counts, kernel by kernel
_SECONDS = 0.05  # that a round takes about
PHASES = ("forward", "backpropagation", "update")


@dataclass(frozen=True, slots=True)
class KernelTime:
    """One kernel of a step.

    Attributes
    ----------
    kernel, function
        What it is, and the name of its machine code.
    module, phase
        The layer that it belongs to, and "forward", "backpropagation" or "update".
    seconds
        How long it took, in the quickest of some rounds.
    flops
        Additions, multiplications and other operations on floating-point numbers.
    bytes
        Of the arrays that it reads and writes, each once.
    of_peak
        The share of the processor's measured peak of multiply-adds.
    """

    kernel: Kernel
    function: str
    module: str
    phase: str
    seconds: float
    flops: int
    bytes: int
    of_peak: float


@dataclass(frozen=True, slots=True)
class Profile:
    """The kernels of a step in their order, with how long each took."""

    kernels: tuple[KernelTime, ...]
    threads: int
    peak: float  # floating-point operations a second, of all threads, in the type that most is computed in

    @property
    def seconds(self) -> float:
        """Of the whole step, barriers after each kernel included."""
        return sum(kernel.seconds for kernel in self.kernels)

    def by_layer(self) -> dict[str, dict[str, float]]:
        """Seconds for each layer and phase."""
        found: dict[str, dict[str, float]] = {}
        for kernel in self.kernels:
            row = found.setdefault(kernel.module, dict.fromkeys(PHASES, 0.0))
            row[kernel.phase] += kernel.seconds
        return found

    def __str__(self) -> str:
        lines = [f"{'kernel':<18} {'layer':<14} {'phase':<16} {'time':>9} {'GFLOP/s':>8} {'GB/s':>7} {'peak':>5}"]
        for each in self.kernels:
            speed = each.flops / each.seconds / 1e9 if each.seconds else 0.0
            traffic = each.bytes / each.seconds / 1e9 if each.seconds else 0.0
            lines.append(
                f"{each.function:<18} {each.module[:14]:<14} {each.phase:<16} {_time(each.seconds):>9} {speed:>8.3g} "
                f"{traffic:>7.3g} {each.of_peak:>5.0%}"
            )
        lines.append("")
        lines.append(f"{'layer':<18} " + " ".join(f"{phase:>16}" for phase in PHASES))
        for module, row in self.by_layer().items():
            lines.append(f"{module[:18]:<18} " + " ".join(f"{_time(row[phase]):>16}" for phase in PHASES))
        flops = sum(each.flops for each in self.kernels)
        speed = flops / self.seconds if self.seconds else 0.0
        share = f"{speed / self.peak:.0%} of {self.peak / 1e9:.3g}" if self.peak else "?"
        lines.append(f"step {_time(self.seconds)}, {speed / 1e9:.3g} GFLOP/s, {share}, {self.threads} threads")
        return "\n".join(lines)


def profile(
    calls: Sequence[Call],
    graph: Graph,
    target: Target,
    step: Callable[[], None],
    times: np.ndarray[Any, Any],
    threads: int,
) -> Profile:
    """Run `step`, a timed step of `calls` that adds cycles to `times`, and read what it says."""
    step()
    best = np.full(len(calls), np.inf)
    for _ in range(_ROUNDS):
        times[:] = 0
        count, began = 0, time.perf_counter()
        while not count or time.perf_counter() - began < _SECONDS:
            step()
            count += 1
        passed = time.perf_counter() - began
        best = np.minimum(best, times / max(1, times.sum()) * passed / count)
    phases, rows, work = _phases(graph), [], {float32: 0, float64: 0}
    for call, seconds in zip(calls, best.tolist(), strict=True):
        dtype = _computes_in(call.kernel)
        rows.append(_row(call.kernel, call.function, phases, seconds, peak_flops(target, dtype) * threads))
        work[dtype] += rows[-1].flops
    most = max(work, key=lambda dtype: work[dtype])
    return Profile(tuple(rows), threads, peak_flops(target, most) * threads)


def _row(kernel: Kernel, function: str, phases: dict[Node, str], seconds: float, peak: float) -> KernelTime:
    node = kernel.stores[0].node if isinstance(kernel, Loop) else kernel.node
    work = flops(kernel)
    arrays = {array_of(node) for node in nodes_made(kernel)} | {access.array for access in accesses(kernel)}
    traffic = sum(array.size * array.dtype.itemsize for array in arrays)
    share = work / seconds / peak if seconds and peak else 0.0
    return KernelTime(kernel, function, _module(node, arrays), phases[node], seconds, work, traffic, share)


def flops(kernel: Kernel) -> int:
    """Operations on floating-point numbers; a multiply-add counts twice, a function of mathematics once."""
    if isinstance(kernel, Contraction):
        domain = kernel.node.size
        own = 2 * domain * kernel.node.inputs[0].shape[-1] if kernel.node.dtype.kind == "f" else 0
    else:
        domain, own = math.prod(kernel.domain), 0
    inner = sum(isinstance(part, Apply) and part.dtype.kind == "f" for part in expressions(kernel))
    return own + domain * inner


def _module(node: Node, arrays: set[Node]) -> str:
    """The layer of a kernel; an update belongs to that of its parameter."""
    if node.provenance.module:
        return node.provenance.module
    owners = sorted(array.owner.name for array in arrays if isinstance(array.owner, State) and "." in array.owner.name)
    return owners[0].rpartition(".")[0] if owners else ""


def _phases(graph: Graph) -> dict[Node, str]:
    """For each node its phase: what follows from gradients without being one is the update."""
    phases: dict[Node, str] = {}
    for node in graph.nodes:
        if node.gradient_of is not None:
            phases[node] = "backpropagation"
        elif any(phases[source] != "forward" for source in node.inputs):
            phases[node] = "update"
        else:
            phases[node] = "forward"
    return phases


def _computes_in(kernel: Kernel) -> DType:
    """The type whose peak is a kernel's: double precision if that is what it stores."""
    own = {store.node.dtype for store in kernel.stores} if isinstance(kernel, Loop) else {kernel.node.dtype}
    return float64 if float64 in own else float32


# --- The peak ----------------------------------------------------------------------------------------------------


@functools.cache
def peak_flops(target: Target, dtype: DType) -> float:
    """Floating-point operations a second of one thread that does nothing but multiply and add, measured once."""
    native, operations = peak_kernel(target, dtype)
    run = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(native.address("peak"))
    room, turns, best = np.zeros(PEAK_ROOM // 8), 20_000, math.inf
    for _ in range(20):
        began = time.perf_counter()
        run(turns, room.ctypes.data)
        best = min(best, time.perf_counter() - began)
    return operations * turns / best


PEAK_ROOM = 4096  # bytes that the kernel writes at most
_CHAINS = 12  # sums that do not wait for each other: more than the processor has multiply-adds under way


def peak_kernel(target: Target, dtype: DType) -> tuple[Native, int]:
    """A native `peak(turns, room)` of independent multiply-adds, and how many operations a turn has."""
    kind = Kind(dtype, target.lanes(dtype.itemsize))
    code = Code("peak", [("i64", "turns"), ("ptr", "room")], fused=target.fused)
    factor = Lanes(code, kind, code.let(f"load {kind.type}, ptr %room, align 4"))
    slots = [code.variable(kind.type, factor.name) for _ in range(_CHAINS)]
    with code.loop("0", "%turns"):
        for slot in slots:
            before = Lanes(code, kind, code.get(kind.type, slot))
            code.set(kind.type, slot, fused(before, factor, factor).name)
    for number, slot in enumerate(slots):
        place = code.element(kind.type, "%room", str(number))
        code.do(f"store {kind.type} {code.get(kind.type, slot)}, ptr {place}, align 4")
    return Native("\n".join([*code.declarations, code.text()]), target), 2 * _CHAINS * kind.lanes


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
