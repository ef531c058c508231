"""Follow the error back and a small change forward, and keep what flows over every edge of the graph.

`error_of` is `backpropagate` that forgets nothing: the gradient of every node, and what each node passed to each of
its inputs. `change_of` is its mirror: how every node moves when one element of a leaf moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.backprop import walk
from chainrule.engine.context import gradient_scope
from chainrule.engine.derivatives import derivative
from chainrule.engine.dtypes import is_floating
from chainrule.engine.functions import full_like
from chainrule.engine.functions.shapes import sum_to
from chainrule.engine.graph import Node, toposort
from chainrule.engine.tensor import Tensor, asarray, leaf

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Error:
    """The gradient of the loss for every node that it reaches, and what every node passed to each input."""

    arrived: dict[Node, Array]
    passed: dict[tuple[Node, int], Array]

    def passed_by(self, nodes: Sequence[Node], to: Node) -> Array | None:
        """What `nodes` together pass on to `to`; `None` where nothing flows."""
        flows = [
            self.passed[node, position]
            for node in nodes
            for position, source in enumerate(node.inputs)
            if source is to and (node, position) in self.passed
        ]
        return sum(flows[1:], start=flows[0]) if flows else None


def error_of(nodes: Sequence[Node], loss: Tensor) -> Error:
    """The chain rule from the loss back to every tracked node."""
    gradient: dict[Node, Tensor] = {loss.node: full_like(loss, 1)}
    passed: dict[tuple[Node, int], Array] = {}
    for node in reversed(nodes):
        if node not in gradient:
            continue
        output, inputs = Tensor(node), tuple(Tensor(source) for source in node.inputs)
        with gradient_scope(node):
            for position, source in enumerate(node.inputs):
                if not source.tracked:
                    continue
                flow = derivative(node.op, position, gradient[node], output, inputs, node.attributes)
                if flow is not None:
                    flow = sum_to(flow, source.shape)
                    passed[node, position] = flow.value
                    gradient[source] = gradient[source] + flow if source in gradient else flow
    return Error({node: tensor.value for node, tensor in gradient.items()}, passed)


def change_of(nodes: Sequence[Node], start: Node, index: tuple[int, ...]) -> dict[Node, Array]:
    """How every node changes per unit change of one element of the leaf `start`: forward through the same rules."""
    unit = np.zeros(start.shape, start.dtype)
    unit[index] = 1
    change: dict[Node, Array] = {start: unit}
    known = set(nodes)
    for node in nodes:
        for position, source in enumerate(node.inputs):
            if source in change and is_floating(source.dtype):
                moved = _pushed(node, position, change[source], known)
                if moved is not None:
                    change[node] = change[node] + moved if node in change else moved
    return change


def _pushed(node: Node, position: int, change: Array, known: set[Node]) -> Array | None:
    """What a change of one input makes of the output: the vector-Jacobian product, differentiated by its vector."""
    upstream = Tensor(leaf(np.zeros(node.shape, node.dtype), tracked=True))
    inputs = tuple(Tensor(source) for source in node.inputs)
    pulled = derivative(node.op, position, upstream, Tensor(node), inputs, node.attributes)
    if pulled is None:
        return None
    pulled = sum_to(pulled, node.inputs[position].shape)
    steps = toposort([pulled.node], lambda each: each not in known)
    found = walk(steps, pulled, [upstream.node], asarray(change))
    return found[upstream.node].value if upstream.node in found else None


def row_of(nodes: Sequence[Node], output: Node, index: tuple[int, ...], targets: Sequence[Node]) -> dict[Node, Array]:
    """The derivative of one element of `output` by every element of `targets`, through `nodes` alone."""
    unit = np.zeros(output.shape, output.dtype)
    unit[index] = 1
    found = walk(nodes, Tensor(output), targets, asarray(unit))
    return {node: tensor.value for node, tensor in found.items()}
