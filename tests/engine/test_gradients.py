"""Every function with a gradient: against numeric differences to second order, and against PyTorch."""

import inspect

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.derivatives import DERIVATIVES
from chainrule.engine.op import Op
from chainrule.engine.trace import trace
from engine.cases import CASES, ROUNDED, Case

NUMERIC = [pytest.param(case, id=case.name) for case in CASES if case.tolerance < ROUNDED]
EDGES = [
    pytest.param(case, shapes, id=f"{case.name} {shapes}")
    for case in CASES
    if case.tolerance < 1
    for shapes in case.edges
]
PYTORCH = [pytest.param(case, id=case.name) for case in CASES if case.torch is not None]


@pytest.mark.parametrize("case", NUMERIC)
def test_a_gradient_agrees_with_numeric_differences(case: Case) -> None:
    cr.check_gradients(case.ours, *case.inputs(), order=case.order, tolerance=case.tolerance)


@pytest.mark.parametrize(("case", "shapes"), EDGES)
def test_a_gradient_is_right_for_scalars_nothing_and_axes_of_length_one(case: Case, shapes: tuple) -> None:
    inputs = case.inputs(shapes=shapes)
    cr.check_gradients(case.ours, *inputs, order=case.order, tolerance=case.tolerance)
    tensors = [cr.asarray(x) for x in inputs]
    gradients = cr.backpropagate(cr.sum(case.ours(*tensors)), wrt=tensors)
    assert [gradient.shape for gradient in gradients] == list(shapes)


def scattered(x: np.ndarray) -> cr.Tensor:
    """The same numbers, but not in a row: every second of a longer array that is stored backwards."""
    every_second = (..., *(slice(None, None, -2) for _ in x.shape))
    wide = np.zeros([2 * length for length in x.shape])
    wide[every_second] = x
    wide.flags.writeable = False
    return cr.asarray(wide[every_second])


@pytest.mark.parametrize("case", NUMERIC)
def test_a_gradient_does_not_depend_on_how_the_numbers_lie(case: Case) -> None:
    inputs = case.inputs()
    plain, loose = [cr.asarray(x) for x in inputs], [scattered(x) for x in inputs]
    assert all(x.size < 2 or not np.asarray(x).flags.c_contiguous for x in loose)
    results = [cr.backpropagate(cr.sum(case.ours(*tensors) ** 2), wrt=tensors) for tensors in (plain, loose)]
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


# What gives integers, booleans or steps: no gradient can flow through it.
WITHOUT_GRADIENT = {
    *{Op.INPUT, Op.CONSTANT, Op.STOP_GRADIENT, Op.RANDOM_BITS, Op.ARGMAX, Op.ARGMIN, Op.ARGSORT},
    *{Op.SIGN, Op.FLOOR, Op.CEIL, Op.ROUND, Op.TRUNC, Op.FLOOR_DIVIDE},
    *{Op.EQUAL, Op.NOT_EQUAL, Op.LESS, Op.LESS_EQUAL, Op.NOT, Op.AND, Op.OR, Op.XOR, Op.SHIFT_LEFT, Op.SHIFT_RIGHT},
}


def test_every_primitive_with_a_gradient_is_in_a_case() -> None:
    ops = {node.op for case in CASES for node in trace(case.ours, *case.inputs()).graph.nodes}
    assert set(Op) - ops - WITHOUT_GRADIENT == set()


def test_what_is_said_to_have_no_gradient_has_none() -> None:
    for op in WITHOUT_GRADIENT & set(DERIVATIVES):
        for rule in DERIVATIVES[op]:
            inputs = [parameter for parameter in inspect.signature(rule).parameters.values() if parameter.kind == 1]
            assert rule(*[None] * len(inputs)) is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", PYTORCH)
def test_value_and_gradient_agree_with_pytorch(case: Case, dtype: str, oracle) -> None:
    inputs = case.inputs(dtype)
    weights = np.random.default_rng(1).standard_normal(case.ours(*map(cr.asarray, inputs)).shape).astype(dtype)

    def compute() -> dict[str, np.ndarray]:
        import torch

        tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
        value = case.torch(torch, *tensors)
        gradients = torch.autograd.grad((value * torch.tensor(weights)).sum(), tensors)
        return {"value": value.detach().numpy(), **{f"gradient{i}": g.numpy() for i, g in enumerate(gradients)}}

    expected = oracle(f"{case.name} {dtype}", compute)
    tensors = [cr.asarray(x) for x in inputs]
    value = case.ours(*tensors)
    gradients = cr.backpropagate(cr.sum(value * weights), wrt=tensors)
    close = {"rtol": 2e-5, "atol": 2e-6} if dtype == "float32" else {"rtol": case.pytorch_tolerance, "atol": 1e-12}
    assert value.dtype == np.dtype(dtype)
    np.testing.assert_allclose(value, expected["value"], **close)
    for i, gradient in enumerate(gradients):
        np.testing.assert_allclose(gradient, expected[f"gradient{i}"], **close)


def test_the_checker_finds_a_gradient_that_is_wrong_by_a_twentieth_of_a_percent() -> None:
    @cr.custom_gradient
    def double_with_a_mistake(x):
        return 2 * x, lambda upstream: 2.001 * upstream

    with pytest.raises(cr.GradientError, match="order 1, argument 0"):
        cr.check_gradients(double_with_a_mistake, np.array([1.0, 2.0]))


def test_the_checker_finds_a_wrong_second_derivative() -> None:
    @cr.custom_gradient
    def cube_with_a_frozen_slope(x):
        return x**3, lambda upstream: upstream * cr.stop_gradient(3 * x**2)

    cr.check_gradients(cube_with_a_frozen_slope, np.array([1.0, 2.0]), order=1)
    with pytest.raises(cr.GradientError, match="order 2"):
        cr.check_gradients(cube_with_a_frozen_slope, np.array([1.0, 2.0]), order=2)


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_the_gradient_of_a_product_is_right_with_zeros_among_the_factors(zeros: int) -> None:
    x = np.array([2.0, 3.0, 5.0])
    x[:zeros] = 0
    others = {0: [15.0, 10.0, 6.0], 1: [15.0, 0.0, 0.0], 2: [0.0, 0.0, 0.0]}[zeros]
    assert cr.grad(cr.prod)(x).tolist() == others


def test_equal_largest_elements_share_the_gradient() -> None:
    assert cr.grad(cr.max)(np.array([1.0, 4.0, 4.0])).tolist() == [0.0, 0.5, 0.5]


def test_a_power_with_exponent_zero_has_no_nan_at_zero() -> None:
    assert cr.grad(lambda x: cr.sum(x**0))(np.array([0.0, 1.0])).tolist() == [0.0, 0.0]
    assert cr.grad(lambda x: cr.sum(x**2))(np.array([0.0, -1.0])).tolist() == [0.0, -2.0]
