"""The text form of kernels: what is computed over which domain, from which arrays, in words that say everything.

    a2 = contraction float32[64, 128] over 784 of a0[784, 1] and a1[128, 1], not kept
      p1 = load a2[128, 1]
      a3[128, 1] = maximum(p1, 0)

Two kernels with the same text, on the same processor, are the same machine code, so the text also serves as their
signature. An array's subscript is its stride for each axis of the domain, with an offset in front where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from chainrule.engine.dtypes import DType
from chainrule.engine.graph import Node
from chainrule.engine.kernel import (
    Access,
    Apply,
    Contraction,
    Expression,
    Gather,
    Kernel,
    Load,
    Loop,
    Number,
    Reduction,
    Running,
    Scatter,
    Sorting,
    Store,
    Words,
)

Names = Mapping[Node, str]


def kernel_text(kernel: Kernel, names: Names, starts: Mapping[Node, int] = MappingProxyType({})) -> str:
    """One kernel; `names` says what its arrays are called, `starts` from which element of them offsets count.

    >>> import chainrule as cr
    >>> from chainrule.engine.fuse import fuse
    >>> from chainrule.engine.trace import trace
    >>> graph = trace(lambda x: cr.tanh(x * 2.0), cr.asarray([1.0, 2.0])).graph
    >>> (kernel,) = fuse(graph)
    >>> print(kernel_text(kernel, {graph.inputs[0]: "x", graph.outputs[0]: "y"}))
    loop over [2]
      p0 = float32 load x[1]
      p1 = float32 2.0
      p2 = float32 mul(p0, p1)
      p3 = float32 tanh(p2)
      y[1] = p3
    """
    listing = _Listing(names, starts)
    match kernel:
        case Loop():
            head = f"loop over {[*kernel.domain]}"
            listing.stores(kernel.stores)
        case Contraction():
            depth = kernel.node.inputs[0].shape[-1]
            operands = " and ".join(listing.access(side) for side in (kernel.left, kernel.right))
            head = f"{listing.array(kernel.node)} = contraction {_type(kernel.node)} over {depth} of {operands}"
            head += "" if kernel.kept else ", not kept"
            listing.stores(kernel.stores)
        case Reduction():
            head = f"{names[kernel.node]} = {kernel.node.op.value} over the last {kernel.reduced} of {[*kernel.domain]}"
            listing.line(f"of {listing.name(kernel.value)}")
        case Scatter():
            settings = kernel.node.attributes
            head = f"{names[kernel.node]} = scatter_add over {[*kernel.domain]} {_type(kernel.node)} {dict(settings)}"
            index, value = listing.name(kernel.index), listing.name(kernel.value)
            listing.line(f"{value} at {index} of {kernel.node.inputs[1].shape}")
        case Running():
            head = f"{listing.access(kernel.access)} = running sum over {[*kernel.domain]}"
            listing.line(f"of {listing.name(kernel.value)}")
        case Sorting():
            values = f"{_dtype(kernel.values.array.dtype)} {listing.access(kernel.values)}"
            head = f"{listing.access(kernel.access)} = order over {[*kernel.domain]} of {values}"
    return "\n".join([head, *listing.lines])


class Kernels(tuple[Kernel, ...]):
    """Kernels in the order of a step; as text, a listing with the names of the graph's nodes."""

    names: Names

    @classmethod
    def of(cls, kernels: Iterable[Kernel], names: Names) -> Kernels:
        """Kernels whose arrays have these names."""
        found = cls(kernels)
        found.names = names
        return found

    def __str__(self) -> str:
        return "\n".join(kernel_text(kernel, self.names) for kernel in self)


class _Listing:
    """The lines of one kernel while they are written; every expression has a line and a name."""

    def __init__(self, names: Names, starts: Mapping[Node, int]) -> None:
        self.names, self.starts, self.lines = names, starts, list[str]()
        self.known: dict[int, str] = {}

    def line(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def array(self, node: Node) -> str:
        return self.names.get(node, "product")

    def access(self, access: Access) -> str:
        offset = access.offset - self.starts.get(access.array, 0)
        parts = [f"{offset}:"] if offset else []
        subscript = " ".join([*parts, ", ".join(map(str, access.strides))])
        return f"{self.array(access.array)}[{subscript}]"

    def stores(self, stores: Iterable[Store]) -> None:
        values = [(store, self.name(store.value)) for store in stores]
        for store, value in values:
            self.line(f"{self.access(store.access)} = {value}")

    def name(self, expression: Expression) -> str:
        """The name of an expression, after the lines that it needs."""
        stack = [expression]
        while stack:
            part = stack[-1]
            needed = [source for source in part.sources if id(source) not in self.known]
            if id(part) in self.known:
                stack.pop()
            elif needed:
                stack.extend(reversed(needed))
            else:
                self.known[id(part)] = f"p{len(self.known)}"
                self.line(f"{self.known[id(part)]} = {part.dtype.name} {self._made(part)}")
        return self.known[id(expression)]

    def _made(self, part: Expression) -> str:
        inputs = [self.known[id(source)] for source in part.sources]
        match part:
            case Number():
                return repr(part.value)
            case Load():
                return f"load {self.access(part.access)}"
            case Gather():
                return f"gather {self.access(part.access)} at {part.stride} * {inputs[0]} of {part.size}"
            case Words():
                return f"random word {part.offset}: {', '.join(map(str, part.strides))} of ({', '.join(inputs)})"
            case Apply():
                settings = [f"{name}={_setting(value)}" for name, value in part.attributes.items()]
                return f"{part.op.value}({', '.join([*inputs, *settings])})"


def _setting(value: Any) -> str:
    return value.name if isinstance(value, np.dtype) else getattr(value, "__name__", str(value))


def _type(node: Node) -> str:
    return f"{_dtype(node.dtype)}{[*node.shape]}"


def _dtype(dtype: DType) -> str:
    return str(dtype.name)
