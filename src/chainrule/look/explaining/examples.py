"""Which examples of a batch pushed a weight, and which way.

An example's contribution is what flows through its own guess: (error of its guess) × (change of its guess by the
weight). Where examples do not meet inside the network that is the gradient of its own share of the loss; where
something couples them (batch normalisation in training), the layers that do are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.backprop import walk
from chainrule.engine.graph import Node
from chainrule.engine.tensor import Tensor, asarray
from chainrule.look.explaining import lines, schema
from chainrule.look.explaining.figures import place
from chainrule.look.explaining.flow import Error
from chainrule.look.explaining.labels import Labels
from chainrule.look.explaining.page import document
from chainrule.look.explaining.parts import Part
from chainrule.look.explaining.recording import Recording
from chainrule.look.explaining.tree_page import examples_fragment
from chainrule.look.explaining.views import examples_lines

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Examples:
    """What each example of the batch contributes to one gradient element.

    Attributes
    ----------
    parameter, index
        The weight.
    contributions
        One number an example, float64; a negative one pushes the weight up.
    direct
        What reaches the weight from the loss itself, not through a guess (a penalty on weights).
    gradient
        What backpropagation gives in float64; the contributions and `direct` add up to it.
    coupled_by
        The layers in which examples meet; empty where every example stands for itself.
    labels
        What the user calls the examples.
    dead_end
        Where no example contributes anything: why nothing comes through; else `""`.
    began
        Where the gradient is not finite: what that began with; else `""`.
    """

    parameter: str
    index: tuple[int, ...]
    contributions: Array
    direct: float
    gradient: float
    coupled_by: tuple[str, ...]
    labels: Labels
    dead_end: str = ""
    began: str = ""

    @property
    def separable(self) -> bool:
        """Whether every contribution is the example's own: no layer mixes examples."""
        return not self.coupled_by

    def up(self, count: int = 5) -> list[tuple[int, float]]:
        """The examples that push the weight up the most: rows with their (negative, finite) contributions."""
        return self._strongest(self.contributions, count)

    def down(self, count: int = 5) -> list[tuple[int, float]]:
        """The examples that push the weight down the most: rows with their (positive, finite) contributions."""
        return self._strongest(-self.contributions, count)

    def not_finite(self) -> list[tuple[int, float]]:
        """The examples whose contributions are infinite or NaN, in their order."""
        rows = np.flatnonzero(~np.isfinite(self.contributions))
        return [(int(row), float(self.contributions[row])) for row in rows]

    def _strongest(self, values: Array, count: int) -> list[tuple[int, float]]:
        order = np.argsort(values, kind="stable")
        found = [row for row in order.tolist() if values[row] < 0 and np.isfinite(values[row])]
        return [(row, float(self.contributions[row])) for row in found[: max(0, count)]]

    def show(self) -> None:
        """Print it to the terminal, in colour where there is one."""
        lines.show(examples_lines(self))

    def to_text(self, width: int = 80) -> str:
        """Plain text, at most `width` columns wide."""
        return lines.plain(examples_lines(self), width)

    def to_html(self) -> str:
        """A whole HTML page without scripts or anything from outside."""
        return document(f"{self.parameter}{place(self.index)}", examples_fragment(self))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return schema.examples_dict(self)

    def __str__(self) -> str:
        return self.to_text()

    def __rich__(self) -> Any:
        return lines.rich_text(examples_lines(self))

    def _repr_html_(self) -> str:
        return examples_fragment(self)


def contributions_by_row(loss_part: Part, error: Error, change: dict[Node, Array], rows: int) -> Array | None:
    """What comes through each row of the guesses; `None` where what the loss is made of has no such rows."""
    found = np.zeros(rows)
    for node in loss_part.received:
        if node not in change:
            continue
        if not node.shape or node.shape[0] != rows:
            return None
        flow = error.passed_by(loss_part.nodes, node)
        if flow is not None:
            found += (flow * change[node]).reshape(rows, -1).sum(axis=1)
    return found


def coupling_parts(recording: Recording, parts: Sequence[Part]) -> tuple[str, ...]:
    """The parts in which one example's output depends on another's input, found by asking for such a derivative."""
    rows = recording.x.shape[0] if recording.x.ndim else 0
    if rows < 2:
        return ()
    generator = np.random.default_rng(0)
    found = []
    for part in parts[:-1]:
        borders = (*part.received, *part.produced)
        if not part.nodes or any(not node.shape or node.shape[0] != rows for node in borders):
            continue
        targets = [node for node in part.received if node.tracked]
        sound = _sound_rows(borders)
        for output in part.produced:
            seed = np.zeros(output.shape, output.dtype)
            seed[0] = generator.standard_normal(output.shape[1:])
            reached = walk(part.nodes, Tensor(output), targets, asarray(seed))
            if any(np.any(tensor.value[1:][sound[1:]] != 0) for tensor in reached.values()):
                found.append(f'{part.kind.partition("(")[0]} "{part.label}"')
                break
    return tuple(dict.fromkeys(found))


def _sound_rows(nodes: Sequence[Node]) -> Array:
    """Which rows are finite in all of these: in others 0 times a derivative may be NaN without anything reaching it."""
    finite = [np.isfinite(Tensor(node).value).reshape(len(Tensor(node).value), -1).all(axis=1) for node in nodes]
    sound: Array = np.logical_and.reduce(finite)
    return sound
