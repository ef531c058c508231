"""First values: their distributions, their seeds, and which of them each layer chooses."""

import functools
import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn.initializers import INITIALIZERS, fans

SHAPE = (300, 500)
# Name -> the variance for 300 inputs and 500 outputs, by the papers' formulas.
VARIANCES = {
    "glorot_uniform": 2 / 800,
    "glorot_normal": 2 / 800,
    "he_uniform": 2 / 300,
    "he_normal": 2 / 300,
    "lecun_uniform": 1 / 300,
    "lecun_normal": 1 / 300,
    "uniform": 0.1**2 / 12,
    "normal": 0.05**2,
}


def variance_of(layer: nn.Dense) -> float:
    return float(layer.weight.value.var())


@pytest.mark.parametrize("name", VARIANCES)
def test_random_values_have_mean_zero_and_the_variance_of_the_paper(name: str) -> None:
    values = INITIALIZERS[name](SHAPE, dtype=cr.float64).value
    std = math.sqrt(VARIANCES[name])
    # Standard errors: of the mean std/sqrt(n), of the variance at most variance*sqrt(2/n), n = 150 000.
    assert abs(values.mean()) < 5 * std / math.sqrt(values.size)
    assert abs(values.var() / VARIANCES[name] - 1) < 5 * math.sqrt(2 / values.size)
    if name.endswith("uniform"):
        assert abs(values).max() <= std * math.sqrt(3)


@pytest.mark.parametrize("name", ["glorot_uniform", "he_uniform", "glorot_normal", "he_normal"])
def test_spreads_agree_with_pytorch(name: str, oracle) -> None:
    def compute() -> dict[str, np.ndarray]:
        import torch

        torch.manual_seed(0)
        weight = torch.empty(500, 300, dtype=torch.float64)
        {
            "glorot_uniform": torch.nn.init.xavier_uniform_,
            "glorot_normal": torch.nn.init.xavier_normal_,
            "he_uniform": functools.partial(torch.nn.init.kaiming_uniform_, nonlinearity="relu"),
            "he_normal": functools.partial(torch.nn.init.kaiming_normal_, nonlinearity="relu"),
        }[name](weight)
        return {"std": weight.std().numpy()}

    expected = float(oracle(name, compute)["std"])
    assert INITIALIZERS[name](SHAPE).value.std() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (2, 3, 4)])
def test_orthogonal_values_are_orthonormal_times_the_gain(shape: tuple[int, ...]) -> None:
    matrix = nn.initializers.orthogonal(shape, gain=3.0, dtype=cr.float64).value.reshape(-1, shape[-1])
    product = matrix @ matrix.T if len(matrix) < matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 9 * np.eye(len(product)), atol=1e-12)


def test_fans_are_counted_on_the_last_two_axes() -> None:
    assert fans((784, 10)) == (784, 10)
    assert fans((3, 3, 16, 32)) == (144, 288)
    with pytest.raises(cr.ArgumentError, match="counted on two axes"):
        fans((5,))


@pytest.mark.parametrize("name", INITIALIZERS)
def test_equal_seeds_give_equal_bits(name: str) -> None:
    cr.random.seed(7)
    first = nn.Dense(20, 30, init=name).weight.value.tobytes()
    cr.random.seed(7)
    assert nn.Dense(20, 30, init=name).weight.value.tobytes() == first
    assert nn.Dense(20, 30, init=name, generator=cr.random.Generator(7)).weight.value.tobytes() == first


def test_another_seed_gives_other_bits_and_a_generator_leaves_the_default_stream_alone() -> None:
    first = nn.Dense(3, 4, generator=cr.random.Generator(1)).weight.tolist()
    assert nn.Dense(3, 4, generator=cr.random.Generator(2)).weight.tolist() != first
    after = cr.random.uniform((3,)).tolist()
    cr.random.seed(0)
    assert cr.random.uniform((3,)).tolist() == after


def test_a_bias_begins_at_zero() -> None:
    assert nn.Dense(3, 2).bias.tolist() == [0.0, 0.0]


def test_constants_and_bound_arguments_can_be_given() -> None:
    half = functools.partial(nn.initializers.constant, value=0.5)
    assert nn.Dense(2, 1, init=half).weight.tolist() == [[0.5], [0.5]]
    assert nn.Dense(2, 1, init="zeros").weight.tolist() == [[0.0], [0.0]]
    wide = nn.Embedding(300, 500, init=functools.partial(nn.initializers.normal, mean=2.0, std=3.0)).weight.value
    assert wide.mean() == pytest.approx(2, abs=0.05)
    assert wide.std() == pytest.approx(3, rel=0.02)


def test_an_embedding_begins_with_standard_deviation_one() -> None:
    assert nn.Embedding(300, 500).weight.value.std() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (None, "glorot_uniform"),
        ("relu", "he_uniform"),
        ("leaky_relu", "he_uniform"),
        ("elu", "he_uniform"),
        ("gelu", "he_uniform"),
        ("silu", "he_uniform"),
        ("hard_silu", "he_uniform"),
        ("selu", "lecun_uniform"),
        ("sigmoid", "glorot_uniform"),
        ("tanh", "glorot_uniform"),
        ("softplus", "glorot_uniform"),
        ("softmax", "glorot_uniform"),
    ],
)
def test_a_dense_layer_chooses_what_suits_its_activation(activation: str | None, expected: str) -> None:
    assert variance_of(nn.Dense(*SHAPE, activation=activation)) == pytest.approx(VARIANCES[expected], rel=0.02)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([nn.ReLU()], "he_uniform"),
        ([nn.SELU()], "lecun_uniform"),
        ([nn.Tanh()], "glorot_uniform"),
        ([], "glorot_uniform"),
        ([nn.BatchNorm(500), nn.Dropout(0.1), nn.GELU()], "he_uniform"),
        ([nn.Sequential(nn.LayerNorm(500), nn.SiLU())], "he_uniform"),
        ([nn.Dense(500, 2), nn.ReLU()], "glorot_uniform"),
        ([nn.Residual(nn.ReLU())], "glorot_uniform"),
    ],
)
def test_a_sequential_suits_the_weight_to_the_activation_that_follows(layers: list, expected: str) -> None:
    net = nn.Sequential(nn.Dense(*SHAPE), *layers)
    assert variance_of(net[0]) == pytest.approx(VARIANCES[expected], rel=0.02)


def test_an_outer_sequential_suits_the_last_layer_of_an_inner_one() -> None:
    inner = nn.Sequential(nn.Flatten(), nn.Dense(*SHAPE))
    nn.Sequential(inner, nn.ReLU())
    assert variance_of(inner[1]) == pytest.approx(VARIANCES["he_uniform"], rel=0.02)


def test_a_weight_is_suited_once_however_often_it_is_wrapped() -> None:
    net = nn.Sequential(nn.Dense(*SHAPE), nn.ReLU())
    before = net[0].weight.value.tobytes()
    nn.Sequential(*net)
    nn.Sequential(net, nn.Dense(500, 1))
    assert net[0].weight.value.tobytes() == before


def test_a_weight_that_was_chosen_or_learned_is_left_alone() -> None:
    chosen = nn.Dense(*SHAPE, init="lecun_normal")
    own = nn.Dense(*SHAPE, activation="tanh")
    learned = nn.Dense(*SHAPE)
    learned.weight.assign(learned.weight.value * 0.5)
    replaced = nn.Dense(*SHAPE)
    replaced.weight = cr.Parameter(np.ones(SHAPE, np.float32))
    for layer in (chosen, own, learned, replaced):
        before = layer.weight.value.tobytes()
        nn.Sequential(layer, nn.ReLU())
        assert layer.weight.value.tobytes() == before


def test_a_generator_decides_the_bits_of_a_suited_weight_too() -> None:
    first, second = (nn.Sequential(nn.Dense(3, 4, generator=cr.random.Generator(1)), nn.ReLU()) for _ in range(2))
    assert first[0].weight.value.tobytes() == second[0].weight.value.tobytes()


def test_deep_networks_keep_the_size_of_activations() -> None:
    x = np.random.default_rng(0).standard_normal((256, 200)).astype(np.float32)
    layers = [layer for _ in range(30) for layer in (nn.Dense(200, 200), nn.ReLU())]
    size = nn.Sequential(*layers)(x).value.std()
    assert 0.2 < size < 5
