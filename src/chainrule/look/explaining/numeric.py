"""Numeric gradients beside the exact ones: central differences in float64 on sampled elements.

For parameters and the input the whole network runs anew, so a gradient that the graph has lost shows too; for the
values between layers the recorded operations behind them run again.

Every element that is compared costs two runs, so there is a bound on how many are, and the views say what it left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.graph import Node
from chainrule.engine.reference import evaluate

Array = np.ndarray[Any, Any]
SAMPLES = 3  # elements of a gradient
COMPARED, FEW = 60, 12  # elements in all, and in a step so large that each of its runs takes a good part of a second
WORK = 2**27  # numbers that all runs together make, roughly, where neither bound is reached
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


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is compared: so many elements of each gradient (None: all), of so many of the gradients.

    >>> print(Extent.of(8, 1000))
    numeric check of 3 elements, the largest among them, in all 8 gradients; in Python check="all" compares all
    >>> print(Extent.of(300, 1000))
    numeric check of the largest element in 60 of 300 gradients; in Python check="all" compares all
    """

    elements: int | None
    gradients: int
    known: int

    @staticmethod
    def of(known: int, numbers: int, everything: bool = False) -> Extent:
        """The extent where there are so many gradients, and a run makes so many numbers."""
        if everything:
            return Extent(None, known, known)
        compared = max(FEW, min(COMPARED, WORK // max(1, numbers)))
        gradients = min(known, compared)
        return Extent(max(1, min(SAMPLES, compared // max(1, gradients))), gradients, known)

    @property
    def chosen(self) -> list[int]:
        """The numbers of the gradients that are compared, evenly from the first to the last."""
        return [number * self.known // self.gradients for number in range(self.gradients)]

    def __str__(self) -> str:
        if self.elements is None:
            return f"numeric check of every element of all {self.known} gradients"
        each = "the largest element" if self.elements == 1 else f"{self.elements} elements, the largest among them,"
        which = f"all {self.known}" if self.gradients == self.known else f"{self.gradients} of {self.known}"
        return f'numeric check of {each} in {which} gradients; in Python check="all" compares all'


def checked(
    name: str, value: Array, gradient: Array, loss_at: Callable[[Array], float], loss: float, elements: int | None
) -> list[Check]:
    """Compare a gradient with differences of `loss_at`, which is `loss` at `value`, at some elements or all of them.

    They are the largest and others that a generator with a fixed seed draws.
    """
    if not gradient.size:
        return []
    scale = float(np.max(np.abs(gradient)))
    rounding = 1e-9 * max(1.0, abs(loss))  # what float64 loses in the difference of two losses
    found = []
    places = range(gradient.size) if elements is None else _places(gradient, elements)
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


def _places(gradient: Array, count: int) -> list[int]:
    generator = np.random.default_rng(0)
    largest = int(np.argmax(np.abs(gradient)))
    drawn = generator.permutation(gradient.size)[:count] if gradient.size < 10**6 else ()
    drawn = drawn if len(drawn) else generator.integers(0, gradient.size, count)
    return list(dict.fromkeys([largest, *(int(place) for place in drawn)]))[:count]


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
