"""Fusion: which kernels a computation becomes, and what is stored on the way."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import fuse
from chainrule.engine.graph import Node, Shape
from chainrule.engine.kernel import (
    Apply,
    Contraction,
    Kernel,
    Loop,
    Reduction,
    accesses,
    expressions,
    nodes_made,
    parts,
)
from chainrule.engine.op import Op
from chainrule.engine.program import Program
from chainrule.engine.trace import trace

X = np.linspace(-1, 1, 60, dtype="f").reshape(10, 6)
W = np.linspace(-2, 2, 48, dtype="f").reshape(6, 8)
B = np.linspace(0, 1, 8, dtype="f")


def compiled(f, *arguments: np.ndarray) -> tuple[Kernel, ...]:
    """The kernels of a function, whose results are right."""
    program = Program(trace(f, *arguments))
    results = program(*arguments)
    expected = f(*map(cr.asarray, arguments))
    for found, reference in zip(results, expected if isinstance(expected, tuple) else (expected,), strict=True):
        np.testing.assert_allclose(found, reference, rtol=2e-6, atol=1e-6)
    for kernel in program.kernels:
        if isinstance(kernel, Loop):
            assert not {each.array for each in accesses(kernel)} & {*nodes_made(kernel)}, "read and written at once"
    return program.kernels


def kinds(kernels: tuple[Kernel, ...]) -> list[type]:
    return [type(kernel) for kernel in kernels]


def test_a_chain_of_elementwise_ops_and_views_is_one_loop() -> None:
    assert kinds(compiled(lambda x: (cr.exp(x * 2 + 1)[::-1, 1:].T - 3) / 4, X)) == [Loop]


def test_what_a_reduction_reduces_is_computed_inside_it() -> None:
    assert kinds(compiled(lambda x: cr.sum(cr.tanh(x) ** 2, axis=1), X)) == [Reduction]


def test_bias_and_activation_ride_on_the_product_which_is_not_stored() -> None:
    (kernel,) = compiled(lambda x, w, b: cr.tanh(x @ w + b), X, W, B)
    assert isinstance(kernel, Contraction)
    assert not kernel.kept
    assert len(kernel.stores) == 1


def test_a_product_that_is_a_result_too_is_stored() -> None:
    (kernel,) = compiled(lambda x, w: (x @ w, cr.exp(x @ w)), X, W)
    assert isinstance(kernel, Contraction)
    assert kernel.kept


def test_a_product_takes_its_operands_through_views() -> None:
    assert kinds(compiled(lambda x, w: x.T[1:, ::2] @ x[::2] @ w, X, W)) == [Contraction, Contraction]


def test_loops_over_one_domain_are_one() -> None:
    (kernel,) = compiled(lambda x: (x + 1, cr.exp(x), cr.exp(x) * x), X)
    assert isinstance(kernel, Loop)
    assert len(kernel.stores) == 3


def test_a_dear_value_of_several_users_is_stored_once_and_a_cheap_one_computed_again() -> None:
    dear = compiled(lambda x: (cr.sum(cr.exp(x), axis=0), cr.sum(cr.exp(x), axis=1)), X)
    cheap = compiled(lambda x: (cr.sum(x + 1, axis=0), cr.sum(x + 1, axis=1)), X)
    assert kinds(dear) == [Loop, Reduction, Reduction]
    assert kinds(cheap) == [Reduction, Reduction]


def test_a_dear_value_that_one_expression_uses_twice_is_not_stored() -> None:
    (kernel,) = compiled(lambda x: cr.exp(x) * cr.exp(cr.exp(x)), X)
    assert isinstance(kernel, Loop)
    assert len(kernel.stores) == 1


def test_a_dear_number_that_is_repeated_is_not_computed_at_each_point() -> None:
    first, second = compiled(lambda x, b: x * cr.exp(b[0]) + 1 / cr.exp(b[0]), X, B)
    assert isinstance(first, Loop)
    assert first.domain == ()
    assert not any(isinstance(part, Apply) and part.op is Op.EXP for part in parts(*expressions(second)))


def test_of_a_rectified_layer_only_the_result_is_stored() -> None:
    """The gradient asks it, and not what it was made from, where that was above zero."""

    def f(x, w, b, v):
        return tuple(cr.backpropagate(cr.sum((cr.relu(x @ w + b) @ v) ** 2), wrt=[w, b, v]))

    v = np.full((W.shape[1], 3), 0.05, "f")
    first = compiled(f, X, W, B, v)[0]
    assert isinstance(first, Contraction)
    assert not first.kept
    assert len(first.stores) == 1


def test_no_kernel_grows_without_bound() -> None:
    def f(x):
        for _ in range(60):
            x = cr.sin(x) + x
        return x

    kernels = compiled(f, X)
    assert len(kernels) > 1
    assert all(len([*parts(*[each.value for each in kernel.stores])]) < 500 for kernel in kernels)


@pytest.mark.parametrize("whole", [np.full((6, 8), 0.5, "f"), np.ones((6, 8), "f")])
def test_a_product_with_a_number_everywhere_is_no_product_with_nothing(whole: np.ndarray) -> None:
    compiled(lambda x: x @ cr.asarray(whole), X)
    compiled(lambda x: cr.take(cr.asarray(whole[0]), cr.argsort(x, axis=1), axis=0), X)
    compiled(lambda x: cr.argsort(cr.asarray(whole), axis=1) + 0 * cr.astype(cr.sum(x), cr.int64), X)


def test_what_is_seen_through_a_view_of_axes_of_length_one_is_taken_from_the_same_loop() -> None:
    x = X.reshape(1, 1, 10, 6)
    compiled(lambda x: (cr.exp(x), cr.permute_dims(cr.exp(x), (1, 0, 2, 3)) + 1), x)
    compiled(lambda x: (cr.exp(x), cr.reshape(cr.exp(x), (10, 6)), cr.cos(cr.reshape(cr.exp(x), (10, 6))) * 2), x)


def test_parts_of_padded_and_concatenated_arrays_are_written_in_their_places() -> None:
    compiled(lambda x: cr.pad(cr.exp(x), [(1, 2), (0, 3)], value=7.0), X)
    compiled(lambda x: cr.concat([x, x[:0], cr.exp(x), x[2:5]], axis=0), X)
    compiled(lambda x: cr.concat([cr.concat([x, x], axis=1), cr.concat([x, x * 2], axis=1)], axis=0), X)


def test_an_index_into_a_product_is_looked_up_in_the_whole_product() -> None:
    """Also in one of a single element, which is all there is at its place."""
    compiled(lambda x, w: (x @ w, cr.take(x @ w, cr.asarray([-1]), axis=0)), X[:1, :1], np.ones((1, 1), "f"))
    compiled(lambda x, w: (x @ w, cr.take(x @ w, cr.asarray([2, 0, 1]), axis=0) + 1), X[:3], W)


def test_zeros_of_both_signs_are_not_one_number() -> None:
    zeros = np.zeros(300, "f")
    zeros[1::2] = -0.0
    x = np.ones(300, "f")
    with np.errstate(divide="ignore"):
        expected = 1 / (x * zeros)
    np.testing.assert_array_equal(np.asarray(cr.compile(lambda x: 1 / (x * zeros))(x)), expected)


def test_the_work_of_fusing_a_sequence_grows_with_its_steps_and_not_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, looked_at = cr.Parameter(np.eye(4, dtype="f")), [0]
    is_pointwise = fuse._is_pointwise

    def counted(node: Node, shape: Shape) -> bool:
        looked_at[0] += 1
        return is_pointwise(node, shape)

    def f(xs: cr.Tensor) -> cr.Tensor:
        end, _ = cr.scan(lambda carry, x: (cr.tanh(carry @ weight + x), carry), cr.zeros((2, 4)), xs)
        return cr.backpropagate(cr.sum(end))[weight]

    monkeypatch.setattr(fuse, "_is_pointwise", counted)
    counts = []
    for steps in (20, 80):
        looked_at[0] = 0
        assert len(Program(trace(f, np.zeros((steps, 2, 4), "f"))).kernels) > steps
        counts.append(looked_at[0])
    assert 0 < counts[1] < 5 * counts[0]
