"""Backpropagation: the chain rule, walked from the loss back to everything that it depends on.

Comes in: a scalar loss, made of nodes. Goes out: the partial derivative of that loss by each parameter, as tensors
that are made of nodes themselves, each of which remembers the forward node whose gradient it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

from chainrule.engine.context import gradient_scope
from chainrule.engine.derivatives import derivative
from chainrule.engine.dtypes import is_floating
from chainrule.engine.functions import full_like, zeros_like
from chainrule.engine.functions.shapes import sum_to
from chainrule.engine.graph import Forgotten, Node, toposort
from chainrule.engine.provenance import module_scope
from chainrule.engine.state import Parameter
from chainrule.engine.tensor import Tensor
from chainrule.errors import GradientError


class Gradients(Mapping[Parameter, Tensor]):
    """The gradient of a loss for each parameter that it depends on; reads like a dictionary.

    >>> import chainrule as cr
    >>> weight = cr.Parameter([3.0], name="weight")
    >>> gradients = cr.backpropagate(cr.sum(weight**2))
    >>> gradients[weight].tolist()
    [6.0]
    """

    def __init__(self, found: dict[Parameter, Tensor]) -> None:
        self._found = found

    def __getitem__(self, parameter: Parameter) -> Tensor:
        if parameter not in self._found:
            label = getattr(parameter, "name", "") or "this tensor"
            raise GradientError(
                f"there is no gradient for {label}: the loss does not depend on it, or it is frozen. "
                "For other tensors use backpropagate(loss, wrt=[...])."
            )
        return self._found[parameter]

    def __contains__(self, parameter: object) -> bool:
        return any(parameter is known for known in self._found)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        lines = [f"  {p.name or 'unnamed'}: {g.dtype.name} {g.shape}" for p, g in self._found.items()]
        return "\n".join(["Gradients(", *lines, ")"])


@overload
def backpropagate(loss: Tensor, wrt: None = None) -> Gradients: ...


@overload
def backpropagate(loss: Tensor, wrt: Sequence[Tensor]) -> list[Tensor]: ...


def backpropagate(loss: Tensor, wrt: Sequence[Tensor] | None = None) -> Gradients | list[Tensor]:
    """The gradient of `loss` for every parameter that it depends on, or for the tensors in `wrt`.

    A parameter whose every way to the loss leads through `stop_gradient`, or through integers, has no gradient.

    Parameters
    ----------
    loss
        A scalar tensor, float32 or float64.
    wrt
        Any floating tensors that the loss was made of. One that it does not depend on gets zeros.

    Returns
    -------
    Gradients or list of Tensor
        A mapping from parameter to gradient, or with `wrt` a list in its order; each of the shape of what it is for.

    Raises
    ------
    GradientError
        If the loss is not a floating scalar, depends on no parameter, or was made where nothing is remembered; also if
        it is made of a result of a compiled function that reads a parameter whose gradient is wanted, since that part
        of the gradient would be missing.
    """
    _check_loss(loss)
    nodes = toposort([loss.node])
    if any(type(node.owner) is Forgotten for node in nodes):
        _check_remembered(loss, wrt)
    if wrt is None:
        owners = {node: node.owner for node in nodes if isinstance(node.owner, Parameter) and node.owner.trainable}
        if not owners:
            raise GradientError(_no_parameter(loss))
        found = walk(nodes, loss, list(owners))
        if not found:
            raise GradientError(_no_parameter(loss))  # every way to a parameter ends in a stop_gradient or integers
        return Gradients({owners[node]: gradient for node, gradient in found.items()})
    for tensor in wrt:
        if not is_floating(tensor.dtype):
            raise GradientError(
                f"wrt holds a tensor of {tensor.dtype.name}; only floating tensors have gradients. "
                "Write a number with a point (3.0), or convert an array with astype."
            )
        if not tensor.node.tracked:
            raise GradientError(
                f"wrt holds a constant ({tensor.node.provenance}), and what is done to it is not remembered: it is a "
                "state, frozen, or was made in no_grad() or by a function such as cr.ones. Use cr.asarray(...) on its "
                "array, or cr.Parameter, before computing the loss."
            )
    targets = [tensor.node for tensor in wrt]
    found = walk(nodes, loss, targets)
    return [found[node] if node in found else zeros_like(tensor) for node, tensor in zip(targets, wrt, strict=True)]


def walk(
    nodes: Sequence[Node], loss: Tensor, targets: Sequence[Node], seed: Tensor | None = None
) -> dict[Node, Tensor]:
    """The gradient for each of `targets`: the chain rule from the last node back to the first.

    `nodes` are in topological order. At every node the gradient is complete when the walk arrives, because
    all nodes that use it come later in the order and were visited before.
    """
    wanted = set(targets)
    leads_to_target = set(targets)
    for node in nodes:
        if any(source in leads_to_target for source in node.inputs):
            leads_to_target.add(node)

    gradient: dict[Node, Tensor] = {loss.node: full_like(loss, 1) if seed is None else seed}
    for node in reversed(nodes):
        if node not in gradient or node not in leads_to_target:
            continue
        upstream = gradient[node] if node in wanted else gradient.pop(node)
        output, inputs = Tensor(node), tuple(Tensor(source) for source in node.inputs)
        with module_scope(node.provenance.module), gradient_scope(node):
            for position, source in enumerate(node.inputs):
                if source in leads_to_target and is_floating(source.dtype):
                    downstream = derivative(node.op, position, upstream, output, inputs, node.attributes)
                    if downstream is not None:
                        downstream = sum_to(downstream, source.shape)  # undoes broadcasting
                        gradient[source] = gradient[source] + downstream if source in gradient else downstream
    return {node: gradient[node] for node in targets if node in gradient}


def _check_loss(loss: Tensor) -> None:
    if not isinstance(loss, Tensor):
        raise GradientError(f"the loss must be a tensor made by chainrule, but is a {type(loss).__name__}.")
    if not is_floating(loss.dtype):
        raise GradientError(f"the loss is {loss.dtype.name}; only a floating loss has a gradient. Use a float loss.")
    if loss.shape != ():
        raise GradientError(
            f"the loss must be a scalar, but its shape is {loss.shape}. Reduce it: cr.mean(loss) or cr.sum(loss)."
        )


def _check_remembered(loss: Tensor, wrt: Sequence[Tensor] | None) -> None:
    """Refuse a gradient of which machine code has forgotten a part."""
    for node in toposort([loss.node], _is_tracked):
        if type(node.owner) is not Forgotten:
            continue
        for function, result in node.owner.results:
            for source in toposort([result], _is_tracked):
                read = source.owner
                if isinstance(read, Parameter) and read.trainable and (wrt is None or any(read is t for t in wrt)):
                    raise GradientError(
                        f'the loss is made of a result of the compiled function "{function}" ({node.provenance}), '
                        f"which reads {read.name or 'a parameter'} and does not remember how: a part of the gradient "
                        "would be missing. Compute the loss and its gradient inside the compiled function, or write "
                        "cr.stop_gradient(result) where that part is not wanted."
                    )


def _is_tracked(node: Node) -> bool:
    return node.tracked


def _no_parameter(loss: Tensor) -> str:
    if loss.node.inputs:
        return (
            f"the loss ({loss.node.provenance}) depends on no trainable parameter. Use cr.Parameter for what is to be "
            "learned, unfreeze it, or name the tensors with wrt=[...]."
        )
    return (
        f"the loss ({loss.node.provenance}) does not remember how it was made: it came from NumPy, from no_grad(), "
        "or from stop_gradient. Compute it with chainrule functions, outside no_grad()."
    )
