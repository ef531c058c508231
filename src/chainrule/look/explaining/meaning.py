"""What the borders between parts are called, and what one factor of the chain rule is."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.engine.graph import Node
from chainrule.look.explaining.figures import place
from chainrule.look.explaining.parts import LOSS, Part
from chainrule.look.explaining.recording import Recording, owner_of
from chainrule.look.explaining.rules import rule_of
from chainrule.nn.dense import Dense, Flatten
from chainrule.nn.embedding import Embedding


def names_of(recording: Recording, parts: Sequence[Part]) -> dict[Node, str]:
    """A name for every node at a border: `"x"`, the path of the layer that made it, `"0.z"` before a Dense's bend."""
    names: dict[Node, str] = {recording.y.node: "y"}
    used: dict[str, int] = {}
    for part in parts:
        for node in part.produced:
            if node in names or node is recording.x.node:
                continue
            stem = _stem(part)
            used[stem] = used.get(stem, 0) + 1
            names[node] = stem if used[stem] == 1 else f"{stem}#{used[stem]}"
    names[recording.x.node] = "x"
    names[recording.loss.node] = "loss"
    for part in parts:
        for node in part.parameters:
            owner = owner_of(node)
            if owner is not None:
                names[node] = owner.name or "a parameter without a name"
    return names


def _stem(part: Part) -> str:
    path = part.path or "network"
    if part.aspect == "affine":
        return f"{path}.z"
    return f"{path}.own" if part.aspect == "operations" and part.path == "" else path


def factor_meaning(
    part: Part, below: Node, index: tuple[int, ...], above: tuple[int, ...], names: dict[Node, str]
) -> str:
    """What the derivative of the element `above`, made by `part`, by the element `index` of `below` is."""
    if part.path == LOSS and part.module is None:
        return "how the loss changes with this guess" if owner_of(below) is None else "the loss reads it directly"
    if isinstance(part.module, Dense) and part.aspect in ("", "affine"):
        return _of_dense(part, below, index, above, names)
    if not part.nodes or isinstance(part.module, Flatten):
        return "1: passed on"
    rule = rule_of(part)
    if part.aspect == "operations":
        return f"through {rule.forward}"
    return rule.backward if rule.elementwise else f"through {type(part.module).__name__}"


def _of_dense(part: Part, below: Node, index: tuple[int, ...], above: tuple[int, ...], names: dict[Node, str]) -> str:
    layer = part.module
    assert isinstance(layer, Dense)
    owner = owner_of(below)
    if owner is layer.weight:
        source = names.get(part.received[0], "its input") if part.received else "its input"
        return f"the input {source}{place((*above[:-1], index[0]))}"
    if owner is layer.bias:
        return "1: the bias is added"
    return f"the weight {layer.weight.name}{place((index[-1], above[-1]))}"


def stopped(part: Part, at_start: bool, index: tuple[int, ...], names: dict[Node, str]) -> str:
    """Why a change ends in `part`, which received it and produced none; `at_start`: it is the weight's own layer."""
    layer = part.module
    if part.path == LOSS and layer is None:
        return "the loss does not react to it"
    if at_start and isinstance(layer, Dense):
        source = names.get(part.received[0], "its input") if part.received else "its input"
        return f"the input {source}[…, {index[0]}] that it multiplies is 0 in every example"
    if at_start and isinstance(layer, Embedding):
        return f"row {index[0]} is not looked up by any example"
    return (
        f"it ends at {part.label} ({part.kind}), whose derivative is 0 there in every example: {rule_of(part).backward}"
    )
