"""Activations against PyTorch, at the edges: far out, NaN, empty; their gradients are in `engine/cases.py`."""

import numpy as np
import pytest

import chainrule as cr

PYTORCH = {
    "relu": lambda f, x: f.relu(x),
    "leaky_relu": lambda f, x: f.leaky_relu(x),
    "elu": lambda f, x: f.elu(x),
    "selu": lambda f, x: f.selu(x),
    "gelu": lambda f, x: f.gelu(x),
    "gelu_tanh": lambda f, x: f.gelu(x, approximate="tanh"),
    "silu": lambda f, x: f.silu(x),
    "softplus": lambda f, x: f.softplus(x),
    "hard_sigmoid": lambda f, x: f.hardsigmoid(x),
    "hard_tanh": lambda f, x: f.hardtanh(x),
    "hard_silu": lambda f, x: f.hardswish(x),
    "softmax": lambda f, x: f.softmax(x, -1),
    "log_softmax": lambda f, x: f.log_softmax(x, -1),
    "sigmoid": lambda f, x: f.sigmoid(x),
    "tanh": lambda f, x: f.tanh(x),
}
# Without the corners of the hard variants, where ours lets the gradient pass and PyTorch's does not.
GRID = np.concatenate([np.linspace(-12.03, 12.01, 97), [0.0, -1e4, -300.0, -88.0, 88.0, 300.0, 1e4]])


def ours(name: str):
    return (lambda x: cr.gelu(x, approximate=True)) if name == "gelu_tanh" else getattr(cr, name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PYTORCH)
def test_values_and_slopes_agree_with_pytorch_from_minus_to_plus_ten_thousand(name: str, dtype: str, oracle) -> None:
    x = GRID.astype(dtype)

    def compute() -> dict[str, np.ndarray]:
        import torch

        given = torch.tensor(x, requires_grad=True)
        value = PYTORCH[name](torch.nn.functional, given)
        (slope,) = torch.autograd.grad((value * value.detach()).sum(), given)
        return {"value": value.detach().numpy(), "slope": slope.numpy()}

    expected = oracle(f"{name} {dtype}", compute)
    given = cr.asarray(x)
    value = ours(name)(given)
    (slope,) = cr.backpropagate(cr.sum(value * cr.stop_gradient(value)), wrt=[given])
    # PyTorch rounds the sixth in hard_sigmoid to float32; it takes softplus for the identity from 20 on.
    close = {"rtol": 2e-5, "atol": 2e-6} if dtype == "float32" else {"rtol": 2e-8, "atol": 1e-12}
    np.testing.assert_allclose(value, expected["value"], **close)
    np.testing.assert_allclose(slope, expected["slope"], **(close | {"atol": 1e-4 if dtype == "float32" else 1e-8}))


@pytest.mark.parametrize("name", PYTORCH)
@pytest.mark.parametrize("size", [1e4, 1e20, 1e38])
def test_first_and_second_slopes_are_finite_wherever_a_float_is(name: str, size: float) -> None:
    x = cr.asarray([size, -size, 0.5])
    f = ours(name)
    slope = cr.grad(lambda v: cr.sum(f(v)))
    assert cr.all(cr.isfinite(f(x)))
    assert cr.all(cr.isfinite(slope(x)))
    if size == 1e4:
        assert cr.all(cr.isfinite(cr.grad(lambda v: cr.sum(slope(v)))(x)))


@pytest.mark.parametrize("name", PYTORCH)
def test_nan_is_never_hidden(name: str) -> None:
    assert cr.any(cr.isnan(ours(name)([np.nan, 1.0])))


@pytest.mark.parametrize("name", PYTORCH)
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_nothing_gives_nothing(name: str, shape: tuple[int, ...]) -> None:
    assert ours(name)(cr.zeros(shape)).shape == shape


@pytest.mark.parametrize("name", PYTORCH)
def test_integers_become_float32(name: str) -> None:
    assert ours(name)([1, 2, 3]).dtype == cr.float32


def test_the_two_forms_of_gelu_differ_by_less_than_a_thousandth() -> None:
    x = np.linspace(-8, 8, 1001)
    gap = np.abs(np.asarray(cr.gelu(x)) - np.asarray(cr.gelu(x, approximate=True)))
    assert 1e-4 < gap.max() < 1e-3


def test_a_row_of_softmax_sums_to_one_whatever_is_added_to_it(rng) -> None:
    x = rng.standard_normal((4, 7))
    np.testing.assert_allclose(cr.sum(cr.softmax(x), axis=-1), np.ones(4), rtol=1e-14)
    np.testing.assert_allclose(cr.softmax(x + 1000.0), cr.softmax(x), rtol=1e-10)
    np.testing.assert_allclose(cr.exp(cr.log_softmax(x, axis=0)), cr.softmax(x, axis=0), rtol=1e-13)
