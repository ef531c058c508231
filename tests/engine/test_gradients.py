"""Every function with a gradient: against numeric differences to second order, and against PyTorch."""

import numpy as np
import pytest

import chainrule as cr
from engine.cases import CASES, Case

NUMERIC = [pytest.param(case, id=case.name) for case in CASES if case.name != "stop_gradient"]
PYTORCH = [pytest.param(case, id=case.name) for case in CASES if case.torch is not None]


@pytest.mark.parametrize("case", NUMERIC)
def test_a_gradient_agrees_with_numeric_differences(case: Case) -> None:
    cr.check_gradients(case.ours, *case.inputs(), order=case.order, tolerance=case.tolerance)


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


ACTIVATIONS = [
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "softplus",
    "hard_sigmoid",
    "hard_tanh",
    "hard_silu",
    "softmax",
    "log_softmax",
    "sigmoid",
    "tanh",
]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("value", [1e4, -1e4, 0.0])
def test_activations_and_their_gradients_are_finite_far_out(name: str, value: float) -> None:
    x = cr.asarray([value, 0.5, -0.5])
    y = getattr(cr, name)(x)
    (gradient,) = cr.backpropagate(cr.sum(y), wrt=[x])
    assert cr.isfinite(y).all()
    assert cr.isfinite(gradient).all()


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
