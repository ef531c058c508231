"""Modules: what they own, by which paths, in which mode, and how they print."""

import copy

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


class Network(nn.Module):
    def __init__(self, width: int, depth: int = 2) -> None:
        self.encoder = nn.Sequential(nn.Dense(4, width), nn.ReLU(), nn.Dropout(0.5))
        self.blocks = [nn.Dense(width, width) for _ in range(depth)]
        self.heads = {"mean": nn.Dense(width, 1), "scale": nn.Dense(width, 1, bias=False)}
        self.steps = cr.State(cr.asarray(0))

    def __call__(self, x):
        x = self.encoder(x)
        for block in self.blocks:
            x = block(x)
        return self.heads["mean"](x) + self.heads["scale"](x)


def test_parameters_are_found_in_attributes_lists_and_dictionaries_by_their_paths() -> None:
    net = Network(3)
    assert [name for name, _ in net.named_parameters()] == [
        "encoder.0.weight",
        "encoder.0.bias",
        "blocks.0.weight",
        "blocks.0.bias",
        "blocks.1.weight",
        "blocks.1.bias",
        "heads.mean.weight",
        "heads.mean.bias",
        "heads.scale.weight",
    ]
    assert [parameter.name for parameter in net.parameters()] == [name for name, _ in net.named_parameters()]


def test_states_are_running_statistics_and_the_counters_of_generators() -> None:
    assert [name for name, _ in Network(3).named_states()] == ["steps", "encoder.2.generator.counter"]
    assert [name for name, _ in nn.BatchNorm(2).named_states()] == ["running_mean", "running_variance"]


def test_a_shared_layer_stands_once_at_its_first_path() -> None:
    shared = nn.Dense(3, 3)
    net = nn.Sequential(shared, nn.Tanh(), shared)
    assert list(net.named_modules()) == ["", "0", "1"]
    assert len(net.parameters()) == 2
    x = np.ones((2, 3), np.float32)
    gradients = cr.backpropagate(cr.sum(net(x)))
    assert set(gradients) == set(net.parameters())


def test_train_and_eval_reach_every_module() -> None:
    net = Network(3)
    assert all(module.training for module in net.named_modules().values())
    assert net.eval() is net
    assert not any(module.training for module in net.named_modules().values())
    net.train()
    assert all(module.training for module in net.named_modules().values())


def test_frozen_parameters_get_no_gradient_until_unfrozen() -> None:
    net = nn.Sequential(nn.Dense(2, 2), nn.Dense(2, 1))
    net[0].freeze()
    assert set(cr.backpropagate(cr.sum(net(cr.ones((1, 2)))))) == set(net[1].parameters())
    net.unfreeze()
    assert set(cr.backpropagate(cr.sum(net(cr.ones((1, 2)))))) == set(net.parameters())


def test_arrays_loaded_into_another_network_give_the_same_outputs_and_the_same_dropout() -> None:
    net = nn.Sequential(nn.Dense(4, 8), nn.BatchNorm(8), nn.Dropout(0.5), nn.Dense(8, 2))
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    net(x)
    cr.random.seed(99)
    other = nn.Sequential(nn.Dense(4, 8), nn.BatchNorm(8), nn.Dropout(0.5), nn.Dense(8, 2))
    other.load_arrays(net.arrays())
    np.testing.assert_array_equal(net(x), other(x))
    np.testing.assert_array_equal(net(x), other(x))
    np.testing.assert_array_equal(net.eval()(x), other.eval()(x))


def test_loading_names_what_is_missing_and_what_is_too_much_and_sets_nothing() -> None:
    net = nn.Dense(2, 1)
    before = net.weight.tolist()
    with pytest.raises(cr.ArgumentError, match=r"missing: bias; not of this network: offset"):
        net.load_arrays({"weight": np.zeros((2, 1)), "offset": np.zeros(1)})
    with pytest.raises(cr.ShapeError, match=r'"bias" has the shape \(1,\), but the array \(2,\)'):
        net.load_arrays({"weight": np.zeros((2, 1)), "bias": np.zeros(2)})
    with pytest.raises(cr.DTypeError, match=r'"bias" is float32 and cannot take an array of complex128'):
        net.load_arrays({"weight": np.zeros((2, 1)), "bias": np.zeros(1, complex)})
    assert net.weight.tolist() == before


@pytest.mark.parametrize("key", [np.array(-1), np.array(0.5), np.array([1, 2])])
def test_the_key_of_a_generator_must_be_one_integer(key: np.ndarray) -> None:
    layer = nn.Dropout(0.5)
    with pytest.raises(cr.ArgumentError, match=r'"generator.key" must be one integer'):
        layer.load_arrays(layer.arrays() | {"generator.key": key})


def test_a_parameter_cannot_be_overwritten_by_a_plain_value() -> None:
    layer = nn.Dense(2, 2)
    with pytest.raises(cr.ArgumentError, match=r"self\.weight\.assign"):
        layer.weight = np.zeros((2, 2))
    layer.weight = cr.Parameter(np.zeros((2, 2)))
    assert layer.weight.dtype == cr.float64


def test_a_copy_shares_nothing() -> None:
    net = Network(3).eval()
    other = copy.deepcopy(net)
    x = cr.ones((1, 4))
    before = net(x).tolist()
    assert other(x).tolist() == before
    for parameter in other.parameters():
        parameter.assign(parameter.value + 1)
    assert net(x).tolist() == before
    gradients = cr.backpropagate(cr.sum(other(x)))
    assert set(gradients) == set(other.parameters())


def test_arguments_are_those_of_the_outermost_class() -> None:
    class Wide(Network):
        def __init__(self) -> None:
            super().__init__(100, depth=0)

    assert Network(3).arguments == {"width": 3}
    assert Wide().arguments == {}


def test_nodes_and_errors_carry_the_path_of_the_layer() -> None:
    net = Network(3)
    assert net(cr.ones((1, 4))).node.provenance.module == ""
    assert net.encoder[0](cr.ones((1, 4))).node.provenance.module == ""  # called by itself, it is the whole network
    hint = r"Make the layer nn\.Dense\(5, 3\), or give it 4\."
    with pytest.raises(cr.ShapeError, match=rf'Dense "encoder\.0" expects \(…, 4\) but got \(2, 5\)\. {hint}$'):
        net(cr.ones((2, 5)))


def test_a_layer_hints_at_flattening_images() -> None:
    net = nn.Sequential(nn.Dense(784, 10))
    message = r'Dense "0" expects \(…, 784\) but got \(64, 28, 28\)\. Flatten first: nn\.Flatten\(\)\.'
    with pytest.raises(cr.ShapeError, match=message):
        net(cr.zeros((64, 28, 28)))


def test_a_module_without_call_says_so() -> None:
    class Empty(nn.Module):
        pass

    with pytest.raises(cr.ArgumentError, match="write its __call__"):
        Empty()(1.0)


def test_a_network_prints_as_a_table_with_frozen_parameters_counted() -> None:
    net = nn.Sequential(nn.Dense(784, 128, activation="relu"), nn.BatchNorm(128), nn.Dense(128, 10))
    net[0].freeze()
    assert repr(net).splitlines() == [
        "layer  kind                                parameters    memory",
        "0      Dense(784, 128, activation='relu')     100,480   392 KiB",
        "1      BatchNorm(128)                             256     2 KiB",
        "2      Dense(128, 10)                           1,290  5.04 KiB",
        "total  Sequential                             102,026   400 KiB",
        "1,546 of them are trained, 100,480 are frozen.",
    ]


def test_a_table_is_never_wider_than_a_terminal() -> None:
    class Long(nn.Module):
        def __init__(self, text: str) -> None:
            self.a_very_long_name_for_an_attribute_of_a_module = nn.Sequential(nn.Dense(2, 2), nn.Dense(2, 2))

    net = nn.Sequential(Long("x" * 200), nn.Lambda(cr.tanh, name="y" * 200))
    assert max(map(len, repr(net).splitlines())) <= 80
    assert repr(nn.Dense(3, 4)) == "Dense(3, 4): 16 parameters, 64 B"


def test_parameters_of_the_network_itself_have_a_line_of_their_own() -> None:
    class Scaled(nn.Module):
        def __init__(self, size: int) -> None:
            self.scale = cr.Parameter(np.ones(size, np.float32))
            self.dense = nn.Dense(size, 1)

    assert repr(Scaled(3)).splitlines() == [
        "layer  kind         parameters  memory",
        "(own)  Scaled(3)             3    12 B",
        "dense  Dense(3, 1)           4    16 B",
        "total  Scaled                7    28 B",
    ]
