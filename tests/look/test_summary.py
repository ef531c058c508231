"""Summary: figures that can be worked out by hand, and networks that are left as they were."""

import json

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from look.random_networks import problem


def perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Dense(784, 128), nn.ReLU(), nn.Dense(128, 10))


def test_work_and_parameters_of_a_perceptron() -> None:
    found = cr.look.summary(perceptron(), 784, batch_size=64)
    first, bend, last = found.rows
    assert (first.parameters, bend.parameters, last.parameters) == (784 * 128 + 128, 0, 128 * 10 + 10)
    assert first.flops == 2 * 64 * 784 * 128 + 64 * 128  # products, and the bias added
    assert (first.output, last.output) == (((64, 128),), ((64, 10),))
    assert found.parameters == 101_770
    assert found.parameter_bytes == 4 * 101_770
    assert found.flops == first.flops + bend.flops + last.flops


def test_the_backward_pass_of_dense_layers_is_two_products_for_one() -> None:
    net = nn.Sequential(nn.Dense(300, 300, bias=False), nn.Dense(300, 300, bias=False))
    found = cr.look.summary(net, 300, batch_size=50)
    one = 2 * 50 * 300 * 300
    assert found.flops == 2 * one
    # Each weight needs a product, the input of the second layer another, that of the first none.
    assert 5 * one <= found.step_flops <= 5 * one + 10 * 50 * 300


def test_what_is_kept_is_what_the_backward_pass_reads() -> None:
    net = nn.Sequential(nn.Dense(4, 8), nn.Tanh(), nn.Dense(8, 2))
    found = cr.look.summary(net, 4, batch_size=3)
    assert found.kept == 3 * 8 * 4  # the output of tanh: for its own derivative and for the weight behind it
    assert [row.kept for row in found.rows] == [0, 96, 0]


def test_frozen_and_shared_parameters_are_told() -> None:
    shared = nn.Dense(5, 5)
    net = nn.Sequential(shared, nn.Tanh(), shared, nn.Dense(5, 2))
    net[3].freeze()
    found = cr.look.summary(net, (5,))
    assert [row.parameters for row in found.rows] == [30, 0, 0, 12]
    assert (found.parameters, found.trained) == (42, 30)
    assert "12 frozen" in str(found)


def test_integers_are_found_for_tables_and_lengths_are_checked() -> None:
    net = nn.Sequential(nn.Embedding(100, 8), nn.Flatten(), nn.Dense(40, 2))
    assert cr.look.summary(net, 5).rows[-1].output == ((1, 2),)
    for wrong in ((0,), (2.5,), (True,)):
        with pytest.raises(cr.ArgumentError, match="input_shape must be an integer of at least 1"):
            cr.look.summary(net, wrong)
    with pytest.raises(cr.ArgumentError, match="net must be a network"):
        cr.look.summary("net", 5)
    with pytest.raises(cr.ShapeError, match=r'Dense "0" expects \(…, 784\)'):
        cr.look.summary(perceptron(), 783)


@pytest.mark.parametrize("seed", range(40))
def test_every_kind_of_layer_is_summed_up_and_left_alone(seed: int) -> None:
    given = problem(seed)
    before, training = given.net.arrays(), given.net.training
    found = cr.look.summary(given.net, given.x.shape[1:], len(given.x), given.x.dtype)
    assert found.parameters == sum(parameter.size for parameter in given.net.parameters())
    assert sum(row.parameters for row in found.rows) == found.parameters
    assert sum(row.flops for row in found.rows) == found.flops
    assert found.step_flops > found.flops
    after = given.net.arrays()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert given.net.training == training
    assert all(len(line) <= 80 for line in str(found).splitlines())


def test_a_large_network_is_summed_up_without_being_computed() -> None:
    net = nn.Sequential(*(nn.Dense(512, 512) for _ in range(4)))
    found = cr.look.summary(net, (1000, 512), batch_size=2000)  # 1 TFLOP and 4 GB a layer, if it were computed
    assert found.rows[0].output == ((2000, 1000, 512),)
    assert "4.2 T floating-point operations" in str(found)


def test_it_is_data_and_a_page_too() -> None:
    found = cr.look.summary(perceptron(), 784)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["layers"][0]["kind"] == "Dense(784, 128)"
    assert "<script" not in found.to_html()
    assert "Dense(784, 128)" in found._repr_html_()
