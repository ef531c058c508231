"""Simplifying: nothing twice, nothing for nothing, nothing that is known already; and the same numbers."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import reference
from chainrule.engine.op import Op
from chainrule.engine.simplify import FOLDED, simplify
from chainrule.engine.trace import trace
from engine.cases import CASES, Case

X = np.arange(6, dtype="f").reshape(2, 3) - 2


def simplified(f, *arguments: np.ndarray) -> list[str]:
    """The names of the ops that are left, without what goes in; the values are checked."""
    graph = trace(f, *arguments).graph
    smaller = simplify(graph)
    smaller.verify()
    assert [node.op for node in smaller.inputs] == [node.op for node in graph.inputs]
    before = reference.run(graph, dict(zip(graph.inputs, arguments, strict=True)))
    after = reference.run(smaller, dict(zip(smaller.inputs, arguments, strict=True)))
    for expected, found in zip(before, after, strict=True):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        # NumPy's products have other last digits when an operand lies otherwise in memory.
        product = any(node.op is Op.MATMUL for node in graph.nodes)
        np.testing.assert_allclose(found, expected, rtol=1e-14 if product else 0, atol=1e-15 if product else 0)
    return [node.op.value for node in smaller.nodes if node.op not in (Op.INPUT, Op.CONSTANT)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_gradient_simplified_is_the_same(case: Case) -> None:
    def f(*inputs):
        return cr.backpropagate(cr.sum(case.ours(*inputs) ** 2), wrt=list(inputs))

    simplified(f, *case.inputs())


def test_the_same_is_computed_once() -> None:
    assert simplified(lambda x: (cr.exp(x) + 1, cr.exp(x) + 1), X) == ["exp", "add"]
    assert simplified(lambda x: cr.sum(x, axis=0) + cr.sum(x, axis=0), X) == ["sum", "add"]
    assert simplified(lambda x: (cr.sum(x, axis=0), cr.sum(x, axis=(0, 1))), X) == ["sum", "sum"]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x + 0,
        lambda x: 0 + x,
        lambda x: x - 0,
        lambda x: x * 1,
        lambda x: 1 * x,
        lambda x: x / 1,
        lambda x: x**1,
        lambda x: x * cr.ones((2, 3)),
        lambda x: cr.negative(cr.negative(x)),
        lambda x: x.T.T,
        lambda x: cr.reshape(cr.reshape(x, (6,)), (2, 3)),
        lambda x: cr.permute_dims(x, (0, 1)),
        lambda x: x[:, :],
        lambda x: cr.sum(x, axis=()),
        lambda x: cr.stop_gradient(x),
        lambda x: cr.astype(x, cr.float32),
    ],
)
def test_what_changes_nothing_goes(f) -> None:
    assert simplified(f, X) == []


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * 0,  # infinity and NaN do not become 0
        lambda x: x - x,
        lambda x: x / x,
        lambda x: 0 - x,
        lambda x: 1 / x,
        lambda x: x[::-1],
        lambda x: x[:, ::2],
        lambda x: x.T,
    ],
)
def test_what_changes_something_stays(f) -> None:
    assert len(simplified(f, np.array([[0.0, np.inf], [np.nan, -1.0]], "f"))) >= 1


def test_where_a_number_was_above_zero_its_rectified_self_knows() -> None:
    x = np.array([[-1.0, -0.0, 0.0, 1e-45, 2.0], [np.nan, np.inf, -np.inf, -1e-45, 3.0]], "f")

    def f(x):
        return cr.backpropagate(cr.sum(cr.relu(x) ** 2), wrt=[x])

    simplified(f, x)
    graph = simplify(trace(f, x).graph)
    (above,) = [node for node in graph.nodes if node.op is Op.WHERE and node in graph.outputs]
    (forward,) = [node for node in graph.nodes if node.op is Op.WHERE and node not in graph.outputs]
    assert above.inputs[0].inputs[0] is forward


def test_a_rectified_number_that_zeros_have_stretched_is_not_asked() -> None:
    simplified(lambda x: (cr.where(x <= 0, cr.zeros((4, 2, 3)), x), cr.where(x <= 0, 1.0, x * 2)), X)


def test_a_neutral_number_that_stretches_the_other_stays() -> None:
    assert simplified(lambda x: x + cr.zeros((4, 2, 3)), X) == ["add"]
    assert simplified(lambda x: cr.ones((4, 1, 1)) * x, X) == ["mul"]


def test_what_is_known_is_computed_beforehand() -> None:
    assert simplified(lambda x: x * cr.exp(cr.asarray([1.0, 2.0, 3.0])), X) == ["mul"]
    assert simplified(lambda x: x + cr.sum(cr.arange(10, dtype=cr.float32)), X) == ["add"]


def test_what_is_known_but_large_is_left_to_the_program() -> None:
    large = np.ones(FOLDED + 1, "f")
    assert simplified(lambda x: cr.sum(cr.exp(cr.asarray(large))) + cr.sum(x), X) == ["exp", "sum", "sum", "add"]


def test_views_of_views_are_one_view() -> None:
    x = np.arange(24, dtype="f").reshape(2, 3, 4)
    assert simplified(lambda x: cr.permute_dims(cr.permute_dims(x, (1, 2, 0)), (1, 0, 2)), x) == ["transpose"]
    assert simplified(lambda x: cr.reshape(cr.reshape(x, (6, 4)), (4, 6)), x) == ["reshape"]
    assert simplified(lambda x: cr.broadcast_to(cr.broadcast_to(x, (2, 2, 3, 4)), (5, 2, 2, 3, 4)), x) == ["broadcast"]
