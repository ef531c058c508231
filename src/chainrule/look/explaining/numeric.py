"""Numeric gradients beside the exact ones: central differences in float64 on sampled elements.

For parameters and the input the whole network runs anew, so a gradient that the graph has lost shows too; for the
values between layers the recorded operations behind them run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.graph import Node
from chainrule.engine.reference import evaluate

Array = np.ndarray[Any, Any]
SAMPLES = 3
STEP = 1e-6  # half the distance of a central difference, relative to numbers of size 1 and more
TOLERANCE = 1e-5  # relative to the larger of both numbers, and to the size of the whole gradient
DIFFERENCE = (
    "Where a number differs: right at stop_gradient, at a gradient of your own that is meant so, or at a kink; else a "
    "layer has lost or changed a gradient."
)


@dataclass(frozen=True, slots=True)
class Check:
    """One sampled element: the exact gradient in float64, the numeric one, and whether they agree."""

    name: str
    index: tuple[int, ...]
    exact: float
    numeric: float
    agrees: bool


def checked(name: str, value: Array, gradient: Array, loss_at: Callable[[Array], float]) -> list[Check]:
    """Compare the gradient at the largest element and at others drawn at random with differences of `loss_at`."""
    if not gradient.size:
        return []
    generator = np.random.default_rng(0)
    largest = int(np.argmax(np.abs(gradient)))
    drawn = generator.permutation(gradient.size)[:SAMPLES] if gradient.size < 10**6 else ()
    drawn = drawn if len(drawn) else generator.integers(0, gradient.size, SAMPLES)
    places = list(dict.fromkeys([largest, *(int(place) for place in drawn)]))[:SAMPLES]
    scale = float(np.max(np.abs(gradient)))
    rounding = 1e-9 * max(1.0, abs(loss_at(value)))  # what float64 loses in the difference of two losses
    found = []
    for flat in places:
        index = tuple(int(i) for i in np.unravel_index(flat, gradient.shape))
        step = STEP * max(1.0, abs(float(value[index])))
        ahead, behind = value.copy(), value.copy()
        ahead[index] += step
        behind[index] -= step
        numeric = (loss_at(ahead) - loss_at(behind)) / float(ahead[index] - behind[index])
        exact = float(gradient[index])
        bound = TOLERANCE * max(abs(exact), abs(numeric)) + 1e-3 * TOLERANCE * scale + rounding
        found.append(Check(name, index, exact, numeric, abs(exact - numeric) <= bound))
    return found


def replay(nodes: Sequence[Node], start: Node, loss: Node) -> Callable[[Array], float]:
    """The loss as a function of the value of `start`, running again only what depends on it."""
    moved, later = {start}, []
    for node in nodes:
        if node is not start and any(source in moved for source in node.inputs):
            moved.add(node)
            later.append(node)

    def loss_at(value: Array) -> float:
        known = {start: value}
        for node in later:
            inputs = [known[source] if source in known else _value(source) for source in node.inputs]
            known[node] = evaluate(node.op, inputs, node.attributes)
        return float(known[loss]) if loss in known else float(_value(loss))

    return loss_at


def _value(node: Node) -> Array:
    assert node.value is not None, "a recorded node has a value"
    return node.value
