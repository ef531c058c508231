"""Where the time of a step goes: for each kernel its time, work and traffic, summed by layer and by phase.

Its speed is compared with what the processor can do at most (`peaks`): a kernel is limited by that of which it uses the
larger share.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.engine.dtypes import DType, float32, float64
from chainrule.engine.emit import Call
from chainrule.engine.fuse import array_of
from chainrule.engine.graph import Graph, Node
from chainrule.engine.kernel import Apply, Contraction, Kernel, Loop, accesses, expressions, nodes_made
from chainrule.engine.op import Op
from chainrule.engine.peaks import peak_bytes, peak_flops
from chainrule.engine.record import record
from chainrule.engine.state import State
from chainrule.engine.target import Target

_ROUNDS = 5  # of which the quickest counts, kernel by kernel
_SECONDS = 0.05  # that a round takes about
PHASES = ("forward", "backpropagation", "update")
LOSS = "loss"  # stands where the layer stands, for what is made of the layers' results


@record(frozen=True, slots=True)
class KernelTime:
    """One kernel of a step.

    Attributes
    ----------
    kernel, function
        What it is, and the name of its machine code.
    module, phase
        The layer that it belongs to, or "loss", and "forward", "backpropagation" or "update".
    seconds
        How long it took, in the quickest of some rounds.
    flops
        Additions, multiplications and other operations on floating-point numbers.
    bytes
        Of the arrays that it reads and writes, each once.
    of_peak
        The share of the processor's measured peak of multiply-adds.
    of_bandwidth
        The share of the bytes a second that were measured for arrays as large as all of the step together. More than 1
        where it finds what it reads in a nearer cache.
    """

    kernel: Kernel
    function: str
    module: str
    phase: str
    seconds: float
    flops: int
    bytes: int
    of_peak: float
    of_bandwidth: float

    @property
    def limit(self) -> str:
        """What it uses the larger share of: "FLOP/s" or "bytes/s"."""
        return "FLOP/s" if self.of_peak >= self.of_bandwidth else "bytes/s"


@record(frozen=True, slots=True)
class Profile:
    """The kernels of a step in their order, with how long each took."""

    kernels: tuple[KernelTime, ...]
    threads: int
    peak: float  # floating-point operations a second, of all threads, in the type that most is computed in
    bandwidth: float  # bytes a second, of all threads, where arrays are as large as all of the step together

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
        heads = f"{'kernel':<14} {'layer':<12} {'phase':<15} {'time':>7} {'GFLOP/s':>7} {'GB/s':>5} {'of limit':>12}"
        lines = [heads]
        for each in self.kernels:
            speed, traffic = (count / each.seconds / 1e9 if each.seconds else 0.0 for count in (each.flops, each.bytes))
            share = f"{max(each.of_peak, each.of_bandwidth):.0%} {each.limit:>7}"
            lines.append(
                f"{each.function:<14} {_short(each.module or '-', 12):<12} {each.phase:<15} {_time(each.seconds):>7} "
                f"{_figure(speed):>7} {_figure(traffic):>5} {share:>12}"
            )
        lines += ["", f"{'layer':<20} " + " ".join(f"{phase:>16}" for phase in PHASES)]
        for module, row in self.by_layer().items():
            lines.append(f"{_short(module or '-', 20):<20} " + " ".join(f"{_time(row[phase]):>16}" for phase in PHASES))
        whole = []
        for unit, total, most in (
            ("GFLOP/s", sum(each.flops for each in self.kernels), self.peak),
            ("GB/s", sum(each.bytes for each in self.kernels), self.bandwidth),
        ):
            speed = total / self.seconds if self.seconds else 0.0
            whole.append(f"{_figure(speed / 1e9)} {unit} ({speed / most:.0%} of {_figure(most / 1e9)})")
        lines.append(f"step {_time(self.seconds)}, {', '.join(whole)}, {self.threads} threads")
        return "\n".join(lines)


def profile(
    calls: Sequence[Call],
    graph: Graph,
    results: int,
    target: Target,
    step: Callable[[], None],
    times: np.ndarray[Any, Any],
    threads: int,
) -> Profile:
    """Run `step`, a timed step of `calls` that adds cycles to `times`, and read what it says.

    The first `results` outputs of the graph are returned, the others are new values of states.
    """
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
    arrays = [_arrays(call.kernel) for call in calls]
    bandwidth = peak_bytes(target, threads, _bytes(set().union(*arrays)))
    phases, work, rows = _phases(graph, results), {float32: 0, float64: 0}, []
    in_loss = _of_the_loss(graph, phases)
    for call, own, seconds in zip(calls, arrays, best.tolist(), strict=True):
        kernel, dtype = call.kernel, _computes_in(call.kernel)
        node = kernel.stores[0].node if isinstance(kernel, Loop) else kernel.node
        module = LOSS if node in in_loss else _module(node, own)
        done, moved = flops(kernel), _bytes(own)
        most = peak_flops(target, dtype) * threads, bandwidth
        shares = [count / seconds / limit if seconds else 0.0 for count, limit in zip((done, moved), most, strict=True)]
        rows.append(KernelTime(kernel, call.function, module, phases[node], seconds, done, moved, *shares))
        work[dtype] += done
    peak = peak_flops(target, max(work, key=lambda dtype: work[dtype])) * threads
    return Profile(tuple(rows), threads, peak, bandwidth)


def _arrays(kernel: Kernel) -> set[Node]:
    """What a kernel reads and writes."""
    return {array_of(node) for node in nodes_made(kernel)} | {access.array for access in accesses(kernel)}


def _bytes(arrays: set[Node]) -> int:
    return sum(array.size * array.dtype.itemsize for array in arrays)


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
    owners = [(array.provenance.module, array.owner) for array in arrays]
    names = [layer or owner.name.rpartition(".")[0] for layer, owner in owners if isinstance(owner, State)]
    return next(filter(None, sorted(names)), "")


def _phases(graph: Graph, results: int) -> dict[Node, str]:
    """For each node its phase: the update is what follows from gradients without being one, and what only that needs.

    What a layer makes for nothing but its states, as running statistics, is its forward pass all the same.
    """
    needed = set(graph.outputs[:results])
    for node in reversed(graph.nodes):
        if node in needed or node.gradient_of is not None or node.provenance.module:
            needed.update(node.inputs)
    phases: dict[Node, str] = {}
    for node in graph.nodes:
        is_free = node.op in (Op.INPUT, Op.CONSTANT) or node in needed or node.provenance.module
        if node.gradient_of is not None:
            phases[node] = "backpropagation"
        elif not is_free or any(phases[source] != "forward" for source in node.inputs):
            phases[node] = "update"
        else:
            phases[node] = "forward"
    return phases


def _of_the_loss(graph: Graph, phases: dict[Node, str]) -> set[Node]:
    """What no layer makes, of what layers make, with a gradient: the way from the network's answer to the loss.

    What a layer goes on with is not of the loss; what is made for it alone, and the gradients of all that, are. Nodes
    that were simplified are others than those whose gradients were made, so it is by their lines that they are known.
    """
    differentiated = {node.gradient_of.provenance for node in graph.nodes if node.gradient_of is not None}
    forward = [node for node in graph.nodes if phases[node] == "forward"]
    after: set[Node] = set()
    for node in forward:
        if node.provenance.module or any(source in after for source in node.inputs):
            after.add(node)
    before: set[Node] = set()  # layers, and what they go on with
    found: set[Node] = set()
    for node in reversed(forward):
        if node.provenance.module or node in before:
            before.update((node, *node.inputs))
        elif node in found or (node in after and node.provenance in differentiated):
            found.update((node, *node.inputs))
    found -= before
    lines = {node.provenance for node in found}
    return found | {n for n in graph.nodes if n.gradient_of is not None and n.gradient_of.provenance in lines}


def _computes_in(kernel: Kernel) -> DType:
    """The type whose peak is a kernel's: double precision if that is what it stores."""
    own = {store.node.dtype for store in kernel.stores} if isinstance(kernel, Loop) else {kernel.node.dtype}
    return float64 if float64 in own else float32


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _figure(number: float) -> str:
    """A number in at most five characters, below 100,000: how slow a kernel of nothing is, nobody has to know.

    >>> _figure(0.00568), _figure(12.345), _figure(1653.2)
    ('0.01', '12.3', '1653')
    """
    return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}"


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else f"…{name[1 - width :]}"
