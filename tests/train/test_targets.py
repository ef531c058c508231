"""Targets that a loss cannot take: `fit`, compiled or not, refuses them before the network moves, and names the row."""

import itertools

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, DataError, ShapeError
from chainrule.nn.optimizers import Adam
from chainrule.train.fit import fit
from chainrule.train.inputs import ShuffledRows, rows_of
from chainrule.train.steps import train_step
from train.samples import Data, bits, classifier, mended


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("loss", ["cross_entropy", "kl_divergence"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: mended(y, (100, 1), 1.5), "target 1.5 in row 100, column 1 is not a probability"),
        (lambda y: mended(y, (100, 0), 0.5), r"probabilities in row 100 of the targets sum to 1\.5"),
    ],
)
def test_all_targets_have_to_be_probabilities(iris: Data, change, message: str, loss: str, compile: bool) -> None:
    net, shares = classifier(), np.eye(3, dtype="f")[np.sort(iris[1])]
    before = bits(net)
    with pytest.raises(ArgumentError, match=message):
        fit(net, (iris[0], change(shares)), loss=loss, compile=compile, progress=False)
    assert bits(net) == before
    fit(net, (iris[0], shares), loss=loss, compile=compile, epochs=1, progress=False)


@pytest.mark.parametrize("compile", [True, False])
def test_a_loss_of_your_own_asks_of_each_batch_what_it_wants(iris: Data, compile: bool) -> None:
    """`fit` does not know what such a loss takes; so the steps before the wrong batch are made, and no other."""

    def own(predictions: cr.Tensor, targets: cr.Tensor) -> cr.Tensor:
        return cr.losses.cross_entropy(predictions, targets)

    X, y = iris
    wrong = mended(y, 100, 7)
    order = ShuffledRows(rows_of((X, wrong), np.dtype("f")), 32, 0)
    before = next(number for number, (_, targets) in enumerate(order.epoch(0)) if (targets == 7).any())
    assert before > 0
    cr.random.seed(3)
    net = classifier()
    with pytest.raises(
        ArgumentError, match=r"cross_entropy: the target 7 in row \d+ is not a class number from 0 to 2"
    ):
        fit(net, (X, wrong), loss=own, epochs=1, compile=compile, progress=False)
    cr.random.seed(3)
    expected, optimizer = classifier(), Adam()
    expected.parameters()  # names them
    for x, targets in itertools.islice(order.epoch(0), before):
        train_step(expected, own, optimizer, cr.asarray(x), cr.asarray(targets))
    for one, other in zip(net.parameters(), expected.parameters(), strict=True):
        np.testing.assert_allclose(one.value, other.value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("compile", [True, False])
def test_an_index_that_is_no_row_of_an_embedding_moves_nothing(compile: bool) -> None:
    net = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Dense(8, 1))
    before, X = bits(net), np.random.default_rng(0).integers(0, 5, (64, 2))
    fit(net, (X, X[:, 0] * 1.0), loss="mse", epochs=1, compile=compile, progress=False)
    assert bits(net) != before
    before, X[40, 1] = bits(net), 5
    with pytest.raises(ShapeError, match=r"has rows 0 to 4, but the index at \(\d+, 1\) is 5"):
        fit(net, (X, X[:, 0] * 1.0), loss="mse", batch_size=64, compile=compile, progress=False)
    assert bits(net) == before


@pytest.mark.parametrize("compile", [True, False])
def test_targets_are_looked_at_in_the_type_in_which_the_network_works(iris: Data, compile: bool) -> None:
    """Of these shares the sum is just not too large in double precision, and just too large in single precision."""
    rng, shares = np.random.default_rng(0), np.full((150, 3), 1 / 3)
    while abs(np.float32(shares[149]).sum() - 1) <= 1e-2:
        shares[149] = rng.random(3)
        shares[149] *= (1.01 - 1e-12) / shares[149].sum()
    assert abs(shares[149].sum() - 1) < 1e-2
    net = classifier()
    before = bits(net)
    with pytest.raises(ArgumentError, match=r"in row 149 of the targets sum to 1\.01"):
        fit(net, (iris[0], shares), loss="cross_entropy", epochs=1, compile=compile, progress=False)
    assert bits(net) == before


@pytest.mark.parametrize("compile", [True, False])
def test_a_loss_of_your_own_may_have_the_name_of_another_and_take_other_targets(iris: Data, compile: bool) -> None:
    def hinge(predictions: cr.Tensor, targets: cr.Tensor) -> cr.Tensor:
        return cr.mean((predictions[:, 0] - targets) ** 2)

    fit(nn.Dense(4, 1), (iris[0], iris[1] * 0.5), loss=hinge, epochs=1, compile=compile, progress=False)


class Logarithms(nn.Sequential):
    """Answers with logarithms of probabilities."""

    def __call__(self, x: cr.Tensor) -> cr.Tensor:
        return cr.log_softmax(super().__call__(x))


class Pairs(nn.Sequential):
    """Answers with three pairs of scores."""

    def __call__(self, x: cr.Tensor) -> cr.Tensor:
        return cr.reshape(super().__call__(x), (len(x), 3, 2))


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize(
    ("loss", "net", "targets", "message"),
    [
        ("kl_divergence", Logarithms(nn.Dense(4, 3)), np.ones((150, 3), int), "in row 0 of the targets sum to 3"),
        ("kl_divergence", Logarithms(nn.Dense(4, 3)), -np.eye(3, dtype=int)[[0] * 150], "-1.0 in row 0, column 0"),
        ("kl_divergence", Logarithms(nn.Dense(4, 3)), mended(np.eye(3, dtype=int)[[0] * 150], (149, 1), 1), "row 149"),
        ("hinge", Pairs(nn.Dense(4, 6)), np.full((150, 3, 2), 7.0), "7.0 in row 0"),
    ],
)
def test_targets_of_any_type_are_looked_at(iris: Data, loss: str, net, targets, message: str, compile: bool) -> None:
    before = bits(net)
    with pytest.raises(ArgumentError, match=message):
        fit(net, (iris[0], targets), loss=loss, epochs=1, compile=compile, progress=False)
    assert bits(net) == before


def test_binary_targets_out_of_range_are_named(iris: Data) -> None:
    X, y = iris
    with pytest.raises(DataError, match=r"y holds 2 in row 100.*hinge expects the classes 0 and 1, or -1 and 1"):
        fit(nn.Dense(4, 1), (X, y), loss="hinge", progress=False)
    with pytest.raises(DataError, match=r"y holds 2 in row 100.*map your two classes"):
        fit(nn.Dense(4, 1), (X, y), loss="binary_cross_entropy", progress=False)
