"""Which op made the first number that is not finite: one step again, node by node on NumPy, and looked at.

Comes in: a step that went wrong, with every state as it was before it. Goes out: a `Culprit`. The step is traced, its
graph run by the reference executor, and from the first result that is infinite or NaN the walk goes back to the node
that made it of finite numbers. Infinities that the network itself writes down, as masks do, are not to blame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.engine.backprop import backpropagate
from chainrule.engine.graph import Node, toposort
from chainrule.engine.reference import evaluate
from chainrule.engine.state import Parameter
from chainrule.engine.tensor import Tensor
from chainrule.engine.trace import Traced, trace
from chainrule.errors import ChainruleError
from chainrule.nn.module import Module
from chainrule.nn.optimizers import Optimizer
from chainrule.train.advice import advice_for
from chainrule.train.rows import elements_at, row_axes, row_of
from chainrule.train.steps import LossFunction, measured

Array = np.ndarray[Any, Any]
Values = Mapping[Node, Array]
FORWARD, LOSS, BACKPROPAGATION, UPDATE = "forward", "loss", "backpropagation", "update"


@dataclass(frozen=True, slots=True)
class Culprit:
    """The op that made the first number that is not finite.

    Attributes
    ----------
    result
        Which result of the step it spoilt first, such as `"the loss became nan"`.
    op
        Its name, such as `"log"`; `"input"` where the data or a parameter itself is not finite.
    layer
        The path of the layer that it belongs to; `""` for the loss, and for the network itself.
    phase
        `"forward"`, `"loss"`, `"backpropagation"` or `"update"`.
    gradient_of
        In backpropagation the op of the forward pass whose gradient it is, otherwise `""`.
    source
        The user's line, such as `"model.py:12"`.
    value, inputs
        The first number that is not finite, and the numbers that it was made of (of many the largest).
    example, row
        Which row of the batch and of the data, from 0; None where it comes of all, or is not known.
    advice
        What to do.
    """

    result: str
    op: str
    layer: str
    phase: str
    gradient_of: str
    source: str
    value: float
    inputs: tuple[float, ...]
    example: int | None
    row: int | None
    advice: str

    def __str__(self) -> str:
        example = "" if self.example is None else f", example {self.example} of the batch"
        example += "" if self.row is None else f", row {self.row} of the data"
        return f"{self.told(f'at {self.source}{example}')} {self.advice}"

    def told(self, where: str) -> str:
        """The op, its inputs, layer and phase in a sentence that ends with `where`; without advice."""
        made = f"{self.op}({', '.join(f'{value:.6g}' for value in self.inputs)})" if self.inputs else self.op
        phase = "forward pass" if self.phase == FORWARD else self.phase
        place = f'in the {phase} of layer "{self.layer}"' if self.layer else f"in the {phase}"
        if self.phase == BACKPROPAGATION:
            place += f" (the gradient of {self.gradient_of})" if self.gradient_of else ""
        return f"It began with {made} = {self.value:g} {place}{f', {where}' if where else ''}."


def culprit_of(
    net: Module,
    loss: LossFunction,
    optimizer: Optimizer,
    batch: Sequence[Tensor],
    rows: Array | None = None,
) -> Culprit | None:
    """The culprit of a step that is about to be made.

    Parameters
    ----------
    net, loss, optimizer
        What the step is made of, with every state as it was before it; nothing is changed.
    batch
        Its inputs, targets and perhaps weights.
    rows
        Which rows of the data they are.

    Returns
    -------
    Culprit or None
        None where the function cannot be traced, or where every number is finite on NumPy: rounding may decide.
    """
    marks: dict[str, list[Node]] = {}
    learning: list[Parameter] = []

    def step(x: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
        guesses = net(x)
        error = measured(loss, guesses, y, weights)
        gradients = backpropagate(error)
        marks[FORWARD], marks[LOSS] = [guesses.node], [error.node]
        marks[BACKPROPAGATION] = [gradient.node for gradient in gradients.values()]
        learning.extend(gradients)
        optimizer.update(gradients)
        return error

    try:
        traced = trace(step, *batch)
    except ChainruleError:
        return None
    values = _values(traced, marks, batch)
    for what, name, result in _results(net, traced, marks, learning):
        if not np.isfinite(values[result]).all():
            became = values[result].item() if result in marks[LOSS] else "infinite or NaN"
            return _describe(f"{what} became {became}", name, _origin(result, values), traced, marks, values, net, rows)
    return None


def _values(traced: Traced, marks: Mapping[str, Sequence[Node]], batch: Sequence[Tensor]) -> dict[Node, Array]:
    """Every value of the step, in the order in which it is made."""
    given = [*(tensor.value for tensor in batch), *(state.value for state in traced.reads)]
    values: dict[Node, Array] = dict(zip(traced.graph.inputs, given, strict=True))
    for node in toposort([*(node for nodes in marks.values() for node in nodes), *traced.graph.outputs]):
        if node not in values:
            inputs = [values[source] for source in node.inputs]
            values[node] = node.value if node.value is not None else evaluate(node.op, inputs, node.attributes)
    return values


def _results(
    net: Module, traced: Traced, marks: Mapping[str, Sequence[Node]], learning: Sequence[Parameter]
) -> list[tuple[str, str, Node]]:
    """What the step gives, in words and by name, in the order in which it is looked at."""
    names = {parameter: name for name, parameter in net.named_parameters()}
    found = [("the loss", "", marks[LOSS][0])]
    for parameter, node in zip(learning, marks[BACKPROPAGATION], strict=True):
        name = names.get(parameter, parameter.name)
        found.append((f'the gradient of "{name}"', name, node))
    written = traced.graph.outputs[len(traced.graph.outputs) - len(traced.writes) :]
    found += [(f'"{state.name}"', state.name, node) for state, node in zip(traced.writes, written, strict=True)]
    return found


def _origin(node: Node, values: Values) -> Node:
    """The node that made the first bad number, on the way to `node`, of finite ones."""
    bad = {each for each, value in values.items() if not np.isfinite(value).all()}
    intended = _intended(values, bad)
    order = {each: number for number, each in enumerate(values)}
    while True:
        sources = [source for source in node.inputs if source in bad and source not in intended]
        if not sources:
            return node
        node = min(sources, key=order.__getitem__)


def _intended(values: Values, bad: set[Node]) -> set[Node]:
    """Nodes whose infinities the network wrote down itself, and what only hands them on."""
    intended: set[Node] = set()
    for node, value in values.items():
        if node in bad:
            sources = [source for source in node.inputs if source in bad]
            handed_on = bool(sources) and all(source in intended for source in sources) and not np.isnan(value).any()
            if (node.value is not None and node.gradient_of is None) or handed_on:
                intended.add(node)
    return intended


def _describe(
    result: str,
    name: str,
    node: Node,
    traced: Traced,
    marks: Mapping[str, Sequence[Node]],
    values: Values,
    net: Module,
    rows: Array | None,
) -> Culprit:
    phase = _phase(node, marks)
    place = tuple(int(index) for index in np.argwhere(~np.isfinite(values[node]))[0])
    axes = row_axes(values, traced.graph.inputs[: traced.arguments])
    example = row_of(node, place, values, axes)
    inputs = elements_at(node, place, values)
    layer = node.provenance.module
    if phase == UPDATE:
        layer = max((n for n, _ in net.named_parameters() if f"{name}.".startswith(f"{n}.")), key=len, default="")
        layer = layer.rpartition(".")[0]
    given = [values[argument] for argument in traced.graph.inputs[:2]]
    data = given if example is None else [array[example] for array in given]
    return Culprit(
        result=result,
        op=node.op.value,
        layer=layer,
        phase=phase,
        gradient_of=node.gradient_of.op.value if phase == BACKPROPAGATION and node.gradient_of is not None else "",
        source=f"{Path(node.provenance.file).name}:{node.provenance.line}",
        value=float(values[node][place]),
        inputs=inputs,
        example=example,
        row=int(rows[example]) if rows is not None and example is not None else None,
        advice=advice_for(node, phase == UPDATE, inputs, data, traced, values),
    )


def _phase(node: Node, marks: Mapping[str, Sequence[Node]]) -> str:
    """The first phase that needs the node; running statistics are part of the forward pass."""
    for phase in (FORWARD, LOSS, BACKPROPAGATION):
        if node in set(toposort(marks[phase])):
            return phase
    return FORWARD if node.provenance.module else UPDATE
