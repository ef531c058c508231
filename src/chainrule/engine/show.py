"""The text form of a graph: one line a node, in an order in which it could be run by hand.

A line says what the node is called, what makes it, its data type and shape, the layer that made it, and for a node of
the backward pass the forward node whose gradient it belongs to.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.engine.graph import Graph, Node
from chainrule.engine.op import Op
from chainrule.engine.state import State


def graph_text(graph: Graph) -> str:
    """`graph` as text: inputs, then every node, then what comes out.

    >>> import chainrule as cr
    >>> from chainrule.engine.trace import trace
    >>> print(graph_text(trace(lambda x: cr.sum(x * 2.0), cr.asarray([1.0, 2.0])).graph))
    x   = input              float32[2]
    %1  = constant(2)        float32[]
    %2  = mul(x, %1)         float32[2]
    %3  = sum(%2, axes=(0))  float32[]
    return %3
    """
    names = node_names(graph)
    rows = [(names[node], _made(node, names), _type(node), _belongs(node, names)) for node in graph.nodes]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = [
        f"{name:<{widths[0]}}  = {made:<{widths[1]}}  {kind:<{widths[2]}}  {belongs}".rstrip()
        for name, made, kind, belongs in rows
    ]
    return "\n".join([*lines, f"return {', '.join(names[node] for node in graph.outputs)}"])


class ShownGraph(Graph):
    """A graph whose `print` is its text."""

    __slots__ = ()

    @classmethod
    def showing(cls, graph: Graph) -> ShownGraph:
        """The same graph."""
        return cls(graph.inputs, graph.outputs, graph.nodes)

    def __str__(self) -> str:
        return graph_text(self)


def node_names(graph: Graph) -> dict[Node, str]:
    """What each node is called in the text: the user's name for it, or a number."""
    names: dict[Node, str] = {}
    for node in graph.nodes:
        given = str(node.attributes.get("name", "")) if node.op is Op.INPUT else ""
        own = given or (node.owner.name if isinstance(node.owner, State) else "")
        names[node] = own if own and own not in names.values() else f"%{len(names)}"
    return names


def _made(node: Node, names: dict[Node, str]) -> str:
    if node.op is Op.INPUT:
        return "input"
    if node.op is Op.CONSTANT:
        return f"constant({_value(node.value)})"
    attributes = [f"{name}={_setting(value)}" for name, value in node.attributes.items()]
    return f"{node.op.value}({', '.join([*(names[source] for source in node.inputs), *attributes])})"


def _value(value: Any) -> str:
    if math.prod(value.shape) == 1:
        return f"{value.reshape(()).item():.6g}"
    if value.size and (value == value.flat[0]).all():
        return f"{value.flat[0].item():.6g} everywhere"
    return "..."


def _setting(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(map(str, value)) + ")"
    if isinstance(value, np.dtype):
        return str(value)
    return getattr(value, "__name__", str(value))


def _type(node: Node) -> str:
    return f"{node.dtype.name}[{', '.join(map(str, node.shape))}]"


def _belongs(node: Node, names: dict[Node, str]) -> str:
    parts = [node.provenance.module] if node.provenance.module else []
    if node.gradient_of is not None and node.gradient_of in names:
        parts.append(f"gradient of {names[node.gradient_of]}")
    return "# " + ", ".join(parts) if parts else ""
