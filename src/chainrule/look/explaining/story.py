"""What an explanation says, as values: one record for each layer, for the loss, the update and the checks.

`stories_of` makes the layers' records out of a recording, its parts and the error that flowed back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.backprop import walk
from chainrule.engine.functions import full_like
from chainrule.engine.graph import Node
from chainrule.engine.tensor import Tensor
from chainrule.look.explaining.flow import Error
from chainrule.look.explaining.parts import Part
from chainrule.look.explaining.recording import owner_of
from chainrule.look.explaining.rules import Rule, rule_of
from chainrule.nn.dense import Dense

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Named:
    """A tensor with its name in the explanation, such as `"x"`, `"2"` or `"0.weight"`."""

    name: str
    value: Array


@dataclass(frozen=True, slots=True)
class OwnParameter:
    """A parameter that a layer reads: its value, and the part of its gradient that comes from this layer."""

    name: str
    value: Array
    gradient: Array | None
    trained: bool


@dataclass(frozen=True, slots=True)
class LayerStory:
    """What one part of the network did, forward and back.

    Attributes
    ----------
    path, label, kind, aspect
        Which layer, how it is called in the views, what it is, and which part of it.
    rule
        Its formula and the derivative that an error is multiplied with.
    received, produced
        Forward: the tensors that came and went.
    upstream, passed
        Back: the gradient that arrived for each tensor produced, and what was passed on to each received. A tensor
        that no gradient reaches is left out.
    local
        The derivative itself where it is one number an element (activations), or the weight of a Dense; else None.
    parameters
        Its parameters with their gradients.
    """

    path: str
    label: str
    kind: str
    aspect: str
    rule: Rule
    received: tuple[Named, ...]
    produced: tuple[Named, ...]
    upstream: tuple[Named, ...]
    passed: tuple[Named, ...]
    local: Named | None
    parameters: tuple[OwnParameter, ...]

    @property
    def trained(self) -> bool:
        """Whether it has parameters that learn."""
        return any(parameter.trained for parameter in self.parameters)

    @property
    def frozen(self) -> bool:
        """Whether it has parameters, and none of them learns."""
        return bool(self.parameters) and not self.trained


def stories_of(parts: Sequence[Part], error: Error, names: dict[Node, str]) -> tuple[LayerStory, ...]:
    """The record of every part."""
    return tuple(_story(part, error, names) for part in parts)


def _story(part: Part, error: Error, names: dict[Node, str]) -> LayerStory:
    arrived = [(node, error.arrived[node]) for node in part.produced if node in error.arrived]
    if part.passes_on:
        flows = [(node, error.arrived.get(node)) for node in part.received]
    else:
        flows = [(node, error.passed_by(part.nodes, node)) for node in part.received]
    rule = rule_of(part)
    return LayerStory(
        part.path,
        part.label,
        part.kind,
        part.aspect,
        rule,
        tuple(_named(node, names) for node in part.received),
        tuple(_named(node, names) for node in part.produced),
        tuple(Named(names.get(node, "?"), value) for node, value in arrived),
        tuple(Named(names.get(node, "?"), value) for node, value in flows if value is not None),
        _local(part, rule),
        tuple(_own(part, node, error, names) for node in part.parameters),
    )


def _named(node: Node, names: dict[Node, str]) -> Named:
    return Named(names.get(node, "input"), Tensor(node).value)


def _own(part: Part, node: Node, error: Error, names: dict[Node, str]) -> OwnParameter:
    owner = owner_of(node)
    assert owner is not None
    gradient = error.passed_by(part.nodes, node) if owner.trainable else None
    return OwnParameter(names[node], Tensor(node).value, gradient, owner.trainable)


def _local(part: Part, rule: Rule) -> Named | None:
    """The derivative that can be shown as it is."""
    if isinstance(part.module, Dense) and part.aspect in ("", "affine"):
        return Named("weightᵀ", part.module.weight.value.T)
    moving = [node for node in part.received if node.tracked]
    if not (rule.elementwise and part.nodes and len(moving) == 1 and len(part.produced) == 1):
        return None
    source, output = moving[0], part.produced[0]
    if source.shape != output.shape:
        return None
    found = walk(part.nodes, Tensor(output), [source], full_like(Tensor(output), 1))
    return Named("derivative", found[source].value) if source in found else None
