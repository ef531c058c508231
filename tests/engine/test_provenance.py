"""Where nodes come from: the layer, the user's own line, and for a gradient the forward node it belongs to."""

import inspect

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine.graph import Node, toposort
from chainrule.engine.trace import trace


def line() -> int:
    """The line that calls this."""
    return inspect.currentframe().f_back.f_lineno


def made(tensor: cr.Tensor) -> list[Node]:
    return [node for node in toposort([tensor.node]) if node.inputs]


def test_every_node_of_a_composed_function_names_the_line_of_the_user() -> None:
    x = cr.Parameter(np.ones((2, 3)))
    here = line() + 1
    loss = cr.mean(cr.log_softmax(x) ** 2)
    places = {(node.provenance.file, node.provenance.line) for node in made(loss)}
    assert places == {(__file__, here)}
    assert made(loss)[0].provenance.source == "loss = cr.mean(cr.log_softmax(x) ** 2)"
    assert str(made(loss)[0].provenance) == f"test_provenance.py:{here}"


def test_what_is_traced_without_a_line_of_the_user_inside_names_the_line_that_traces() -> None:
    here = line() + 1
    (node,) = trace(cr.exp, np.ones(3)).graph.outputs
    assert (node.provenance.file, node.provenance.line) == (__file__, here)
    inner = []
    start = line()
    trace(lambda x: inner.extend(trace(cr.exp, np.ones(3)).graph.outputs) or x * 2, np.ones(3))
    assert (inner[0].provenance.file, inner[0].provenance.line) == (__file__, start + 1)
    again = line() + 1
    (node,) = trace(cr.exp, np.ones(3)).graph.outputs
    assert node.provenance.line == again


class Inner(nn.Module):
    def __init__(self) -> None:
        self.dense = nn.Dense(3, 3)

    def __call__(self, x):
        return cr.tanh(self.dense(x))


def test_nodes_name_the_layer_by_its_path_and_the_line_in_a_layer_of_ones_own() -> None:
    net = nn.Sequential(nn.Dense(3, 3), Inner(), nn.Sequential(nn.ReLU(), nn.Dense(3, 1)))
    loss = cr.sum(net(np.ones((2, 3), "f")))
    by_op = {}
    for node in made(loss):
        by_op.setdefault(node.op.value, []).append(node.provenance)
    assert [place.module for place in by_op["matmul"]] == ["0", "1.dense", "2.1"]
    assert [place.module for place in by_op["tanh"]] == ["1"]
    assert [place.module for place in by_op["sum"]] == [""]
    assert by_op["tanh"][0].source == "return cr.tanh(self.dense(x))"
    assert str(by_op["tanh"][0]).startswith("1 (test_provenance.py:")


@pytest.mark.parametrize("traced", [False, True])
def test_gradient_nodes_belong_to_the_forward_node_and_its_layer(traced: bool) -> None:
    net = nn.Sequential(nn.Dense(3, 4), nn.Tanh(), nn.Dense(4, 1))

    def first_gradient(x):
        return cr.backpropagate(cr.sum(net(x) ** 2))[net.parameters()[0]]

    x = np.ones((2, 3), "f")
    nodes = trace(first_gradient, x).graph.nodes if traced else toposort([first_gradient(x).node])
    backward = [node for node in nodes if node.gradient_of is not None]
    assert backward
    for node in backward:
        assert node.gradient_of.gradient_of is None, "a forward node"
        assert node.provenance.module == node.gradient_of.provenance.module
    belongs = {(node.gradient_of.op.value, node.provenance.module) for node in backward if node.op.value == "matmul"}
    assert belongs == {("matmul", "0"), ("matmul", "2")}


def test_second_gradients_belong_to_the_first_ones() -> None:
    x = cr.asarray(0.5, dtype=cr.float64)
    (first,) = cr.backpropagate(cr.exp(cr.sin(x)), wrt=[x])
    (second,) = cr.backpropagate(first, wrt=[x])
    owners = {node.gradient_of for node in toposort([second.node]) if node.gradient_of is not None}
    assert any(owner.gradient_of is not None for owner in owners)


def test_the_path_is_gone_after_the_call_also_when_it_fails() -> None:
    net = nn.Sequential(nn.Dense(3, 3))
    with pytest.raises(cr.ShapeError, match='Dense "0"'):
        net(np.ones((2, 4), "f"))
    assert cr.tanh(cr.Parameter([1.0])).node.provenance.module == ""


def test_errors_of_the_loss_name_the_line_that_made_it() -> None:
    here = line() + 1
    loss = cr.asarray(3.0) * 2.0
    with pytest.raises(cr.GradientError, match=rf"the loss \(test_provenance.py:{here}\) depends on no trainable"):
        cr.backpropagate(loss)
