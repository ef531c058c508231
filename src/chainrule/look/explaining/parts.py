"""Cut a recorded step into parts that a person can name: a layer's call, the operations between layers, the loss.

Every node with inputs belongs to exactly one part, so what is true of parts adds up to what is true of the step. A
Dense with an activation is two parts, before and after the bend; a module's own operations between its submodules
are parts of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chainrule.engine.graph import Node, toposort
from chainrule.engine.state import Parameter
from chainrule.look.explaining.recording import Call, Recording, owner_of
from chainrule.nn.dense import Dense
from chainrule.nn.module import Module
from chainrule.nn.table import kind

LOSS = "loss"


@dataclass(frozen=True, slots=True)
class Part:
    """Nodes that belong together, what goes into them and what comes out.

    Attributes
    ----------
    path
        The module path; `"loss"` for the loss.
    aspect
        Which part of the module: `""` (all of it), `"affine"`, `"activation"`, `"operations"` or `"loss"`.
    call
        Which call of the module this is, from 0.
    received, produced
        The nodes at the border; parameters stand apart. Where a layer passes on what it received, they are the same.
    """

    path: str
    aspect: str
    call: int
    module: Module | None
    nodes: tuple[Node, ...]
    received: tuple[Node, ...]
    produced: tuple[Node, ...]
    parameters: tuple[Node, ...]

    @property
    def kind(self) -> str:
        """What it is, such as `Dense(4, 2)` or `tanh of Dense`."""
        if self.module is None:
            return "the loss"
        if isinstance(self.module, Dense) and self.aspect == "activation" and self.module.activation:
            return f"{self.module.activation.name}, the activation of this Dense"
        if self.aspect == "operations":
            return f"operations of {type(self.module).__name__}"
        return kind(self.module)

    @property
    def passes_on(self) -> bool:
        """Whether it gives what it received, unchanged."""
        return not self.nodes and not set(self.produced).isdisjoint(self.received)

    @property
    def label(self) -> str:
        """Its path, with the number of the call from the second on."""
        path = self.path or "network"
        return f"{path} (call {self.call + 1})" if self.call else path


def parts_of(recording: Recording) -> tuple[Part, ...]:
    """The parts of a step in the order of the forward pass; the last is the loss."""
    place = {node: position for position, node in enumerate(recording.nodes)}
    used: dict[Node, list[Node]] = {}
    for node in recording.nodes:
        for source in node.inputs:
            used.setdefault(source, []).append(node)
    taken: set[Node] = set()
    found: list[tuple[float, Part]] = []
    latest = -1.0
    for call in recording.calls:
        nodes = _own_nodes(call, taken, place)
        taken.update(nodes)
        is_leaf = not any(other.within == call.path and other is not call for other in recording.calls)
        pieces = _around_the_bend(call.module, nodes) if is_leaf else [("operations", n) for n in _connected(nodes)]
        for aspect, piece in pieces:
            part = _part(call, aspect, piece, used, recording)
            known = [place[node] for node in (*piece, *(part.produced if not piece else ())) if node in place]
            latest = max(known, default=latest) + (0.0 if piece else 0.5)
            found.append((latest, part))
    ordered = [part for _, part in sorted(found, key=lambda item: item[0])]
    return (*ordered, _loss_part(recording, taken))


def _own_nodes(call: Call, taken: set[Node], place: dict[Node, int]) -> list[Node]:
    """The nodes between what a call produced and what it received that no call inside it has."""
    ends = {tensor.node for tensor in call.received}
    walked = toposort([tensor.node for tensor in call.produced], lambda node: node not in ends)
    return [node for node in walked if node.inputs and node not in ends and node not in taken and node in place]


def _around_the_bend(module: Module, nodes: list[Node]) -> list[tuple[str, list[Node]]]:
    """A Dense with an activation as two pieces: up to the first node that depends on all parameters, and the rest."""
    if isinstance(module, Dense) and module.activation and nodes:
        depends: dict[Node, set[Node]] = {}
        for node in nodes:
            own = {source for source in node.inputs if owner_of(source) is not None}
            depends[node] = own.union(*(depends.get(source, set()) for source in node.inputs))
        cut = 1 + [len(depends[node]) for node in nodes].index(max(map(len, depends.values())))
        if cut < len(nodes) and depends[nodes[cut - 1]]:
            return [("affine", nodes[:cut]), ("activation", nodes[cut:])]
    return [("", nodes)]


def _connected(nodes: Sequence[Node]) -> list[list[Node]]:
    """`nodes` in groups that hang together, in their order."""
    group_of: dict[Node, list[Node]] = {}
    for node in nodes:
        group = [node]
        for source in node.inputs:
            other = group_of.get(source)
            if other is not None and other is not group:
                group = [*other, *group]
                for each in group:
                    group_of[each] = group
        group_of[node] = group
    order = {node: place for place, node in enumerate(nodes)}
    distinct = {id(group): group for group in group_of.values()}
    return [sorted(set(group), key=order.__getitem__) for group in distinct.values()]


def _part(call: Call, aspect: str, nodes: list[Node], used: dict[Node, list[Node]], recording: Recording) -> Part:
    inside = set(nodes)
    outside = _unique(source for node in nodes for source in node.inputs if source not in inside)
    given = [tensor.node for tensor in call.received] if aspect in ("", "affine") else []
    received = _unique([*given, *(node for node in outside if _is_from_elsewhere(node, recording))])
    ends = {recording.loss.node, *(tensor.node for tensor in call.produced)}
    produced = [node for node in nodes if node in ends or any(user not in inside for user in used.get(node, ()))]
    parameters = _unique(node for node in outside if owner_of(node) is not None)
    if not nodes:  # what it produced is what it received, or was made where no gradient flows
        produced = [tensor.node for tensor in call.produced]
        if set(produced).isdisjoint(received):
            parameters = [each.node for each in vars(call.module).values() if isinstance(each, Parameter)]
    return Part(
        call.path,
        aspect,
        call.number,
        call.module,
        tuple(nodes),
        tuple(node for node in received if owner_of(node) is None),
        tuple(produced),
        tuple(parameters),
    )


def _loss_part(recording: Recording, taken: set[Node]) -> Part:
    nodes = [node for node in recording.nodes if node.inputs and node not in taken]
    inside = set(nodes)
    outside = _unique(source for node in nodes for source in node.inputs if source not in inside)
    received = [node for node in outside if _is_from_elsewhere(node, recording)]
    parameters = [node for node in outside if owner_of(node) is not None]
    loss = (recording.loss.node,)
    return Part(LOSS, LOSS, 0, None, tuple(nodes), tuple(received), loss, tuple(parameters))


def _is_from_elsewhere(node: Node, recording: Recording) -> bool:
    """Whether another part made it, or it is the input; constants that a layer makes for itself are its own."""
    return node.tracked and (bool(node.inputs) or node is recording.x.node)


def _unique(nodes: Iterable[Node]) -> list[Node]:
    return list(dict.fromkeys(nodes))
