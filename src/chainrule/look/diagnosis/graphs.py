"""Questions about the graph of a step: what follows what, what ends it, and what a gradient reaches."""

from __future__ import annotations

from collections.abc import Iterator

from chainrule.engine.graph import Node, toposort
from chainrule.engine.op import Op
from chainrule.engine.state import Parameter
from chainrule.look.diagnosis.case import Case
from chainrule.look.explaining.recording import Recording
from chainrule.nn.activations import ACTIVATIONS, ActivationLayer
from chainrule.nn.containers import Lambda
from chainrule.nn.dense import Dense
from chainrule.nn.dropout import Dropout
from chainrule.nn.module import Module
from chainrule.nn.normalization import BatchNorm

_MOVES = {Op.RESHAPE, Op.TRANSPOSE, Op.BROADCAST, Op.SLICE, Op.PAD, Op.CONCAT, Op.CAST, Op.FLIP, Op.NEG, Op.SUM}
_SUMS = {Op.ADD, Op.SUB}
_SCALES = {Op.MUL, Op.DIV, Op.WHERE}
_BY_OP = {Op.SIGMOID: "sigmoid", Op.TANH: "tanh"}
_CUT = {Op.STOP_GRADIENT, Op.ARGMAX, Op.ARGMIN, Op.ARGSORT, Op.FLOOR, Op.CEIL, Op.ROUND, Op.TRUNC, Op.SIGN}

ENDS = {
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
}


def last_activation(case: Case) -> tuple[str, str]:
    """The path of the layer that made the guess, and its activation by name; `""` where there is none or is unknown."""
    node = case.step.guess.node
    while node.op in (Op.RESHAPE, Op.CAST, Op.SLICE) and node.inputs:
        node = node.inputs[0]
    for call in reversed(case.step.calls):
        if call.produced and call.produced[0].node is node and not any(True for _ in call.module.children()):
            return call.path, _activation_of(call.module, node)
    return node.provenance.module, _BY_OP.get(node.op, _relu(node))


def activation_of(module: Module) -> str:
    """The name of a layer's activation; nothing where it has none."""
    if isinstance(module, Dense):
        return module.activation.name if module.activation else ""
    return module.activation if isinstance(module, ActivationLayer) else ""


def _activation_of(module: Module, node: Node) -> str:
    if isinstance(module, Dense | ActivationLayer):
        return activation_of(module)
    if isinstance(module, Lambda):
        named = [name for name, each in ACTIVATIONS.items() if each.function is module.function]
        return named[0] if named else _BY_OP.get(node.op, _relu(node))
    return "" if isinstance(module, Dropout) else _BY_OP.get(node.op, _relu(node))


def _relu(node: Node) -> str:
    """Whether a node cuts off what lies below 0: `relu` and `maximum(x, 0)`, written without a layer."""
    other = node.inputs[1:] if node.op is Op.WHERE else node.inputs if node.op is Op.MAXIMUM else ()
    is_cut = any(each.value is not None and each.size == 1 and each.value.item() == 0 for each in other)
    return "relu" if is_cut and node.value is not None and node.value.min(initial=0) >= 0 else ""


def linear_pairs(case: Case) -> Iterator[tuple[tuple[Node, Parameter], tuple[Node, Parameter]]]:
    """Products of data by a parameter that follow each other through nothing but linear steps."""
    fed = fed_by(case.step)
    paths = case.net.named_modules()
    linear = {path for path, module in paths.items() if isinstance(module, BatchNorm | Dropout)}
    users: dict[Node, list[Node]] = {}
    for node in case.step.nodes:
        for source in node.inputs:
            users.setdefault(source, []).append(node)
    products = {node: weight for node in case.step.nodes if (weight := weight_of(node)) is not None}
    for node, weight in products.items():
        data = node.inputs[0] if _owner(node.inputs[1]) is not None else node.inputs[1]
        before = _linear_origin(data, node, products, fed, linear, users)
        if before is not None and weight in case.parameters and products[before] in case.parameters:
            yield (before, products[before]), (node, weight)


def weight_of(node: Node) -> Parameter | None:
    """The parameter that a product multiplies its data by."""
    if node.op is not Op.MATMUL:
        return None
    owners = [_owner(source) for source in node.inputs]
    known = [owner for owner in owners if owner is not None]
    return known[0] if len(known) == 1 and known[0].ndim == 2 else None


def _owner(node: Node) -> Parameter | None:
    while node.op in (Op.TRANSPOSE, Op.RESHAPE, Op.CAST):
        node = node.inputs[0]
    return node.owner if isinstance(node.owner, Parameter) else None


def _linear_origin(
    node: Node,
    user: Node,
    products: dict[Node, Parameter],
    fed: set[Node],
    linear: set[str],
    users: dict[Node, list[Node]],
) -> Node | None:
    """The product from which `node` comes by linear steps alone, where it comes from one only.

    What goes another way too, such as a shortcut around `user`, is more than one linear layer. What the layers at the
    paths in `linear` do (batch normalisation, dropout) counts as scaling.
    """
    while True:
        others = [each for each in users[node] if each is not user and each not in products]
        if any(each.provenance.module not in linear for each in others):
            return None
        if node in products:
            return node
        moving = list(dict.fromkeys(source for source in node.inputs if source in fed))
        if node.provenance.module in linear and moving and node.op in _SUMS | _SCALES:
            moving = (
                moving[:1] if node.op is not Op.WHERE else moving
            )  # mean and deviation of the batch are not followed
        elif node.op not in _MOVES | _SUMS and not _is_scaling(node, fed):
            return None
        if len(moving) != 1:
            return None
        user, node = node, moving[0]


def _is_scaling(node: Node, fed: set[Node]) -> bool:
    """Whether a node multiplies or divides what comes from the inputs by one number, or by one for each feature."""
    if node.op not in (Op.MUL, Op.DIV) or (node.op is Op.DIV and node.inputs[0] not in fed):
        return False
    others = [source for source in node.inputs if source not in fed]
    return all(other.size <= max(1, node.shape[-1] if node.shape else 1) for other in others)


def fed_by(recording: Recording) -> set[Node]:
    """The nodes that depend on the inputs."""
    fed = {recording.x.node}
    for node in recording.nodes:
        if any(source in fed for source in node.inputs):
            fed.add(node)
    return fed


def counters_read(recording: Recording) -> list[str]:
    """The random streams that a step drew from, by the names of their counters."""
    streams = [state for state in recording.states if not isinstance(state, Parameter) and state.dtype.kind == "i"]
    return [state.name for state in streams if state.name.endswith("counter")]


def reaches(loss: Node) -> set[Parameter]:
    """The parameters that a gradient of `loss` reaches."""
    nodes = toposort([loss], lambda node: node.op not in _CUT)
    return {node.owner for node in nodes if isinstance(node.owner, Parameter)}
