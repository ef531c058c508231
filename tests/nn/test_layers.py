"""Every layer: values, input gradients and parameter gradients against PyTorch and numeric differences; its errors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

DTYPES = ["float32", "float64"]


@dataclass(frozen=True)
class Case:
    """A layer, the same in PyTorch, the shape of its input, and our parameters by PyTorch's names (T: transposed)."""

    name: str
    ours: Callable[[], nn.Module]
    theirs: Callable[[Any], Any]
    shape: tuple[int, ...]
    names: dict[str, str]
    channels_second: bool = False
    exactness: float = 1e-9  # relative, in float64


AFFINE = {"weight": "weight", "bias": "bias"}
DENSE = {"weight": "weight.T", "bias": "bias"}
CASES = [
    Case("dense", lambda: nn.Dense(5, 3), lambda t: t.nn.Linear(5, 3), (4, 5), DENSE),
    Case("dense on three axes", lambda: nn.Dense(5, 3), lambda t: t.nn.Linear(5, 3), (2, 4, 5), DENSE),
    Case("dense on one row", lambda: nn.Dense(5, 3), lambda t: t.nn.Linear(5, 3), (5,), DENSE),
    Case(
        "dense without bias",
        lambda: nn.Dense(5, 3, bias=False),
        lambda t: t.nn.Linear(5, 3, bias=False),
        (4, 5),
        {"weight": "weight.T"},
    ),
    Case(
        "dense with relu",
        lambda: nn.Dense(5, 3, activation="relu"),
        lambda t: t.nn.Sequential(t.nn.Linear(5, 3), t.nn.ReLU()),
        (4, 5),
        {"weight": "0.weight.T", "bias": "0.bias"},
    ),
    Case("flatten", nn.Flatten, lambda t: t.nn.Flatten(), (3, 2, 4), {}),
    Case("relu", nn.ReLU, lambda t: t.nn.ReLU(), (3, 4), {}),
    Case("leaky relu", lambda: nn.LeakyReLU(0.2), lambda t: t.nn.LeakyReLU(0.2), (3, 4), {}),
    Case("elu", lambda: nn.ELU(0.7), lambda t: t.nn.ELU(0.7), (3, 4), {}),
    Case("selu", nn.SELU, lambda t: t.nn.SELU(), (3, 4), {}),
    Case("gelu", nn.GELU, lambda t: t.nn.GELU(), (3, 4), {}),
    Case("approximate gelu", lambda: nn.GELU(approximate=True), lambda t: t.nn.GELU("tanh"), (3, 4), {}),
    Case("silu", nn.SiLU, lambda t: t.nn.SiLU(), (3, 4), {}),
    Case("sigmoid", nn.Sigmoid, lambda t: t.nn.Sigmoid(), (3, 4), {}),
    Case("tanh", nn.Tanh, lambda t: t.nn.Tanh(), (3, 4), {}),
    Case("softplus", nn.Softplus, lambda t: t.nn.Softplus(), (3, 4), {}),
    # PyTorch's gradient of hard sigmoid holds 1/6 in float32, also in float64.
    Case("hard sigmoid", nn.HardSigmoid, lambda t: t.nn.Hardsigmoid(), (3, 4), {}, exactness=1e-7),
    Case("hard tanh", nn.HardTanh, lambda t: t.nn.Hardtanh(), (3, 4), {}),
    Case("hard silu", nn.HardSiLU, lambda t: t.nn.Hardswish(), (3, 4), {}),
    Case("softmax", nn.Softmax, lambda t: t.nn.Softmax(-1), (3, 4), {}),
    Case("log softmax", nn.LogSoftmax, lambda t: t.nn.LogSoftmax(-1), (3, 4), {}),
    Case("batch norm", lambda: nn.BatchNorm(3), lambda t: t.nn.BatchNorm1d(3), (6, 3), AFFINE),
    Case("batch norm of images", lambda: nn.BatchNorm(3), lambda t: t.nn.BatchNorm2d(3), (2, 4, 5, 3), AFFINE, True),
    Case("layer norm", lambda: nn.LayerNorm(5), lambda t: t.nn.LayerNorm(5), (2, 3, 5), AFFINE),
    Case("layer norm over two axes", lambda: nn.LayerNorm((3, 5)), lambda t: t.nn.LayerNorm((3, 5)), (2, 3, 5), AFFINE),
    Case(
        "layer norm without bias",
        lambda: nn.LayerNorm(5, epsilon=1e-3, bias=False),
        lambda t: t.nn.LayerNorm(5, eps=1e-3, bias=False),
        (3, 5),
        {"weight": "weight"},
    ),
    Case("rms norm", lambda: nn.RMSNorm(5), lambda t: t.nn.RMSNorm(5, eps=1e-6), (3, 5), {"weight": "weight"}),
    Case(
        "rms norm over two axes",
        lambda: nn.RMSNorm((3, 5)),
        lambda t: t.nn.RMSNorm((3, 5), eps=1e-6),
        (2, 3, 5),
        {"weight": "weight"},
    ),
]
EACH_CASE = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])


def with_values(layer: nn.Module, dtype: str, seed: int = 3) -> nn.Module:
    """The layer with random parameters and states of this data type, also where they begin at 0 and 1."""
    values = np.random.default_rng(seed)
    for module in layer.named_modules().values():
        for name, state in list(vars(module).items()):
            if isinstance(state, cr.State):
                setattr(module, name, type(state)((values.random(state.shape) + 0.5).astype(dtype)))
    return layer


def close(dtype: str, exactness: float = 1e-9) -> dict[str, float]:
    return {"rtol": 2e-5, "atol": 5e-6} if dtype == "float32" else {"rtol": exactness, "atol": 1e-10}


def pytorch(case: Case, layer: nn.Module, x: np.ndarray, upstream: np.ndarray) -> dict[str, np.ndarray]:
    """Value, input gradient and parameter gradients as PyTorch computes them with the same parameters."""
    import torch

    theirs = case.theirs(torch).to(torch.float64 if x.dtype == np.float64 else torch.float32)
    parameters = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            value = parameter.value.T if case.names[name].endswith(".T") else parameter.value
            parameters[case.names[name].removesuffix(".T")].copy_(torch.tensor(value.copy()))
    given = torch.tensor(x, requires_grad=True)
    y = theirs(given.movedim(-1, 1)).movedim(1, -1) if case.channels_second else theirs(given)
    (y * torch.tensor(upstream)).sum().backward()
    gradients = {
        name: parameters[path.removesuffix(".T")].grad.T if path.endswith(".T") else parameters[path].grad
        for name, path in case.names.items()
    }
    return {"value": y.detach().numpy(), "x": given.grad.numpy()} | {n: g.numpy() for n, g in gradients.items()}


@EACH_CASE
@pytest.mark.parametrize("dtype", DTYPES)
def test_value_and_all_gradients_agree_with_pytorch(case: Case, dtype: str, oracle) -> None:
    layer = with_values(case.ours(), dtype)
    values = np.random.default_rng(5)
    x = cr.asarray((2 * values.standard_normal(case.shape)).astype(dtype))
    y = layer(x)
    upstream = values.standard_normal(y.shape).astype(dtype)
    expected = oracle(f"{case.name} {dtype}", lambda: pytorch(case, layer, x.value.copy(), upstream))
    names = [name for name, _ in layer.named_parameters()]
    found = cr.backpropagate(cr.sum(y * upstream), wrt=[x, *layer.parameters()])
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected["value"], **close(dtype))
    for name, gradient in zip(["x", *names], found, strict=True):
        assert gradient.dtype == dtype
        np.testing.assert_allclose(gradient, expected[name], **close(dtype, case.exactness), err_msg=name)


@EACH_CASE
def test_gradients_agree_with_numeric_differences_to_second_order(case: Case) -> None:
    layer = with_values(case.ours(), "float64")
    owners = [
        (module, name)
        for module in layer.named_modules().values()
        for name, value in vars(module).items()
        if isinstance(value, cr.Parameter)
    ]

    def run(x, *values):
        for (module, name), value in zip(owners, values, strict=True):
            module.__dict__[name] = value  # in the place of the parameter, so that the checker can differentiate it
        return layer(x)

    values = [vars(module)[name].value for module, name in owners]
    x = 1.3 * np.random.default_rng(7).standard_normal(case.shape)
    cr.check_gradients(run, x, *values, tolerance=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 3), (2, 4, 3)])
def test_running_statistics_follow_pytorch_over_several_steps(shape: tuple[int, ...], dtype: str, oracle) -> None:
    batches = np.random.default_rng(0).standard_normal((5, *shape)).astype(dtype) * 3 + 1

    def compute() -> dict[str, np.ndarray]:
        import torch

        layer = torch.nn.BatchNorm1d(3, momentum=0.3, eps=1e-3).to(getattr(torch, dtype))
        for batch in batches:
            layer(torch.tensor(batch).reshape(-1, 3))
        y = layer.eval()(torch.tensor(batches[0]).reshape(-1, 3)).reshape(shape)
        return {"mean": layer.running_mean.numpy(), "variance": layer.running_var.numpy(), "y": y.detach().numpy()}

    expected = oracle(f"running {shape} {dtype}", compute)
    layer = nn.BatchNorm(3, momentum=0.3, epsilon=1e-3)
    layer.running_mean, layer.running_variance = cr.State(np.zeros(3, dtype)), cr.State(np.ones(3, dtype))
    for batch in batches:
        layer(batch)
    np.testing.assert_allclose(layer.running_mean, expected["mean"], **close(dtype))
    np.testing.assert_allclose(layer.running_variance, expected["variance"], **close(dtype))
    np.testing.assert_allclose(layer.eval()(batches[0]), expected["y"], **close(dtype))


def test_running_statistics_do_not_move_in_eval() -> None:
    layer = nn.BatchNorm(2).eval()
    layer(np.full((4, 2), 9.0, np.float32))
    assert layer.running_mean.tolist() == [0.0, 0.0]
    assert layer.running_variance.tolist() == [1.0, 1.0]


def test_running_statistics_keep_their_data_type() -> None:
    layer = nn.BatchNorm(2)
    layer(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert layer.running_mean.dtype == cr.float32


def test_batch_normalisation_of_one_row_is_refused_in_training_only() -> None:
    net = nn.Sequential(nn.BatchNorm(2))
    with pytest.raises(cr.ShapeError, match=r'BatchNorm "0" cannot normalise the shape \(1, 2\) in training'):
        net(np.ones((1, 2), np.float32))
    with pytest.raises(cr.ShapeError, match="one row has no variance"):
        net(np.ones((2,), np.float32))
    assert net.eval()(np.ones((1, 2), np.float32)).shape == (1, 2)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.BatchNorm(3), "3"),
        (nn.LayerNorm((2, 3)), "2, 3"),
        (nn.RMSNorm(3), "3"),
        (nn.Standardize(3), "3"),
        (nn.Dense(3, 1), "3"),
    ],
)
def test_a_layer_says_which_shape_it_expects(layer: nn.Module, expected: str) -> None:
    name = type(layer).__name__
    with pytest.raises(cr.ShapeError, match=rf'{name} "0" expects \(…, {expected}\) but got \(5, 4\)\.'):
        nn.Sequential(layer)(np.ones((5, 4), np.float32))
    with pytest.raises(cr.ShapeError, match=r"but got \(\)"):
        nn.Sequential(layer)(1.0)


def test_standardize_agrees_with_scikit_learn_and_undoes_itself() -> None:
    scaler = pytest.importorskip("sklearn.preprocessing").StandardScaler()
    rows = np.random.default_rng(2).normal(5, [1, 300, 0], (40, 3))
    layer, back = nn.Standardize(3).fitted(rows), nn.Standardize(3, undo=True).fitted(rows)
    np.testing.assert_allclose(np.asarray(layer(rows)), scaler.fit_transform(rows), atol=1e-6)
    np.testing.assert_allclose(np.asarray(back(layer(rows))), rows, rtol=1e-6)
    one = nn.Standardize().fitted(rows)
    np.testing.assert_allclose([one.mean.item(), one.deviation.item()], [rows.mean(), rows.std()], rtol=1e-6)
    assert not layer.parameters()
    with pytest.raises(cr.DataError, match=r"Standardize\.fitted needs rows of finite numbers"):
        layer.fitted(np.full((4, 3), np.nan))


def test_a_dense_layer_that_is_redrawn_begins_as_a_new_one_does() -> None:
    layer = nn.Dense(50, 40, init="zeros", activation="relu")
    layer.bias.assign(np.ones(40, np.float32))
    layer.redraw(cr.random.Generator(3))
    new = nn.Dense(50, 40, activation="relu", generator=cr.random.Generator(3))
    np.testing.assert_array_equal(layer.weight.value, new.weight.value)
    assert not layer.bias.value.any()
    net = nn.Sequential(nn.Dense(50, 40), nn.ReLU())
    new = nn.Sequential(nn.Dense(50, 40, generator=cr.random.Generator(3)), nn.ReLU())
    net[0].redraw(cr.random.Generator(3))
    net.suit_weights()
    np.testing.assert_array_equal(net[0].weight.value, new[0].weight.value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_embedding_agrees_with_pytorch_where_rows_repeat(dtype: str, oracle) -> None:
    table = np.random.default_rng(0).standard_normal((6, 4)).astype(dtype)
    indices = np.array([[0, 5, 5], [2, 0, 5]])
    upstream = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(dtype)

    def compute() -> dict[str, np.ndarray]:
        import torch

        layer = torch.nn.Embedding(6, 4, _weight=torch.tensor(table))
        y = layer(torch.tensor(indices))
        (y * torch.tensor(upstream)).sum().backward()
        return {"value": y.detach().numpy(), "weight": layer.weight.grad.numpy()}

    expected = oracle(f"embedding {dtype}", compute)
    layer = nn.Embedding(6, 4)
    layer.weight = cr.Parameter(table)
    y = layer(indices)
    np.testing.assert_array_equal(y, expected["value"])
    (gradient,) = cr.backpropagate(cr.sum(y * upstream), wrt=[layer.weight])
    np.testing.assert_allclose(gradient, expected["weight"], **close(dtype))


@pytest.mark.parametrize(("indices", "message"), [([1, 6], r"\(1,\) is 6"), ([[-1]], r"\(0, 0\) is -1")])
def test_an_embedding_refuses_an_index_that_is_no_row(indices: list, message: str) -> None:
    with pytest.raises(cr.ShapeError, match=r'Embedding "0" has rows 0 to 5, but the index at ' + message):
        nn.Sequential(nn.Embedding(6, 4))(indices)


def test_an_embedding_refuses_numbers_that_are_not_whole() -> None:
    with pytest.raises(cr.DTypeError, match="looks up integers, but got float32"):
        nn.Embedding(6, 4)([1.0])


def test_dropout_keeps_the_mean_and_scales_what_passes() -> None:
    layer = nn.Dropout(0.3)
    y = layer(cr.ones((100_000,))).value
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    # The share that passes is binomial: its standard deviation is sqrt(0.3 * 0.7 / 100 000) = 0.00145.
    assert abs((y > 0).mean() - 0.7) < 4 * 0.00145


def test_dropout_passes_gradients_where_it_passes_values() -> None:
    x = cr.asarray(np.ones(1000, np.float32))
    y = nn.Dropout(0.5)(x)
    (gradient,) = cr.backpropagate(cr.sum(y), wrt=[x])
    np.testing.assert_array_equal(gradient, y)


def test_dropout_is_the_identity_in_eval_and_for_p_zero() -> None:
    x = cr.ones((5,))
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x


def test_dropout_draws_anew_each_time_and_does_not_move_the_default_stream() -> None:
    layer = nn.Dropout(0.5)
    cr.random.seed(5)
    first, second = layer(cr.ones((64,))), layer(cr.ones((64,)))
    assert first.tolist() != second.tolist()
    after = cr.random.uniform((3,)).tolist()
    cr.random.seed(5)
    assert cr.random.uniform((3,)).tolist() == after


def test_two_dropouts_hide_different_elements() -> None:
    x = cr.ones((64,))
    assert nn.Dropout(0.5)(x).tolist() != nn.Dropout(0.5)(x).tolist()


def test_a_residual_adds_what_goes_around() -> None:
    net = nn.Residual(nn.Lambda(cr.square), nn.Lambda(cr.negative))
    assert net([3.0]).tolist() == [6.0]
    assert nn.Residual(nn.Lambda(cr.square))([3.0]).tolist() == [12.0]
    with pytest.raises(cr.ShapeError, match=r'Residual "1" adds \(2, 3\) and \(2, 1\)'):
        nn.Sequential(nn.ReLU(), nn.Residual(nn.Dense(3, 1)))(cr.ones((2, 3)))


def test_a_sequential_is_a_sequence_that_shares_its_layers() -> None:
    net = nn.Sequential(nn.Dense(2, 3), nn.ReLU(), nn.Dense(3, 1))
    head = net[1:]
    assert len(net) == 3
    assert list(net) == [net[0], net[1], net[2]]
    assert isinstance(head, nn.Sequential)
    assert head[1] is net[-1]
    with pytest.raises(cr.ArgumentError, match=r"layer 1 must be a module, but is <function relu.*nn\.Lambda"):
        nn.Sequential(nn.Dense(2, 3), cr.relu)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Dense(0, 1), "Dense: inputs must be an integer of at least 1, but is 0"),
        (lambda: nn.Dense(2, 1.5), "Dense: outputs must be an integer"),
        (lambda: nn.Dense(2, True), "Dense: outputs must be an integer"),
        (lambda: nn.Dense(2, 1, bias="no"), "Dense: bias must be True or False, but is 'no'"),
        (lambda: nn.Dense(2, 1, activation="rely"), "'rely' is no activation; known are relu, leaky_relu"),
        (lambda: nn.Dense(2, 1, init="he"), "'he' is no initializer; known are constant, zeros"),
        (lambda: nn.Dense(2, 1, generator=3), "generator must be a random.Generator, but is 3"),
        (lambda: nn.Dense(2, 1, init=lambda shape, generator: 3), r"must return a tensor of shape \(2, 1\)"),
        (lambda: nn.Dropout(1.0), "Dropout: p must be at least 0 and below 1, but is 1.0"),
        (lambda: nn.Dropout(generator=3), "Dropout: generator must be"),
        (lambda: nn.BatchNorm(3, momentum=2), "momentum must be from 0 to 1, but is 2"),
        (lambda: nn.BatchNorm(3, epsilon=0), "epsilon must be above 0, but is 0"),
        (lambda: nn.LayerNorm(()), "features must name at least one length"),
        (lambda: nn.RMSNorm("wide"), "RMSNorm: features must be an integer"),
        (lambda: nn.Standardize(0), "Standardize: features must be an integer of at least 1, but is 0"),
        (lambda: nn.Standardize(undo="yes"), "Standardize: undo must be True or False, but is 'yes'"),
        (lambda: nn.LeakyReLU(float("nan")), "slope must be a finite number, but is nan"),
        (lambda: nn.Residual(cr.relu), "inner and shortcut must be modules"),
        (lambda: nn.Lambda(3), "Lambda needs a function"),
    ],
)
def test_a_bad_argument_is_named(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(cr.ArgumentError, match=message):
        make()
