"""A tour of chainrule in under five seconds: read it from top to bottom to know what there is."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


def test_a_tensor_is_an_array_that_remembers() -> None:
    x = cr.asarray([[1.0, 2.0], [3.0, 4.0]])
    y = cr.sum(x @ x.T + 1, axis=1)
    assert y.tolist() == [18.0, 38.0]
    assert y.node.op.value == "sum"
    assert y.node.inputs[0].op.value == "add"
    assert np.asarray(y).dtype == np.float32


def test_the_error_goes_back_through_the_chain_rule() -> None:
    w = cr.Parameter([2.0], name="w")
    loss = cr.sum((3 * w - 4) ** 2)
    assert cr.backpropagate(loss)[w].tolist() == [2 * (3 * 2 - 4) * 3]


def test_a_gradient_is_a_tensor_like_any_other() -> None:
    third = cr.grad(cr.grad(cr.grad(lambda x: x**5)))
    assert third(2.0).item() == 5 * 4 * 3 * 2**2
    assert cr.hessian(lambda x: x[0] ** 2 * x[1])(np.array([3.0, 5.0])).tolist() == [[10.0, 6.0], [6.0, 0.0]]


def test_a_gradient_can_be_checked_and_a_wrong_one_is_found() -> None:
    cr.check_gradients(lambda x: cr.softmax(x) * cr.gelu(x), np.linspace(-1, 1, 5))
    wrong = cr.custom_gradient(lambda x: (x * x, lambda upstream: upstream * x))
    with pytest.raises(cr.GradientError, match="the numeric difference"):
        cr.check_gradients(wrong, np.array([1.0]))


def test_a_network_names_its_parameters() -> None:
    net = nn.Sequential(nn.Dense(4, 8), nn.ReLU(), nn.Dense(8, 2))
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert "Dense(4, 8)" in str(net)
    with pytest.raises(cr.ShapeError, match='Dense "0" expects'):
        net(np.zeros((3, 5), np.float32))


def test_four_phases_are_a_step() -> None:
    cr.random.seed(0)
    w, optimizer = cr.Parameter(np.zeros(2)), cr.optim.SGD(0.1)
    for _ in range(200):
        guess = np.array([[1.0, 2.0], [2.0, 1.0]]) @ w  # forward
        loss = cr.losses.mean_squared_error(guess, np.array([5.0, 4.0]))  # loss
        gradients = cr.backpropagate(loss)  # backpropagation
        optimizer.update(gradients)  # update
    np.testing.assert_allclose(w.value, [1.0, 2.0], atol=1e-6)


def test_the_same_step_compiles_to_machine_code() -> None:
    w = cr.Parameter(np.zeros(2, np.float32))

    @cr.compile
    def step(x, y):
        loss = cr.mean((x @ w - y) ** 2)
        w.assign(w - 0.1 * cr.backpropagate(loss)[w])
        return loss

    x, y = np.array([[1.0, 2.0], [2.0, 1.0]], np.float32), np.array([5.0, 4.0], np.float32)
    losses = [step(x, y).item() for _ in range(200)]
    assert losses[0] == 20.5
    assert losses[-1] < 1e-8


def test_fit_learns_and_remembers() -> None:
    cr.random.seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 2)).astype(np.float32)
    labels = (x[:, 0] * x[:, 1] > 0).astype(int)  # no straight line separates them
    net = nn.Sequential(nn.Dense(2, 16), nn.Tanh(), nn.Dense(16, 2))
    history = cr.fit(
        net, (x, labels), loss="cross_entropy", optimizer=cr.optim.Adam(0.03), epochs=30, progress=False, seed=0
    )
    assert history["loss"][-1] < 0.2 < history["loss"][0]
    assert cr.evaluate(net, (x, labels), loss="cross_entropy", metrics=["accuracy"])["accuracy"] > 0.95


def test_a_model_file_brings_the_network_back(tmp_path) -> None:
    net = nn.Sequential(nn.Dense(3, 2), nn.Softmax())
    cr.save(net, tmp_path / "model.safetensors")
    x = np.ones((1, 3), np.float32)
    assert cr.load(tmp_path / "model.safetensors")(x).tolist() == net(x).tolist()


def test_random_numbers_are_a_stream_that_can_be_repeated() -> None:
    assert cr.random.Generator(7).normal((3,)).tolist() == cr.random.Generator(7).normal((3,)).tolist()


def test_an_error_says_what_to_do() -> None:
    with pytest.raises(cr.GradientError, match=r"Reduce it: cr.mean\(loss\)"):
        cr.backpropagate(cr.Parameter([1.0, 2.0]) * 2)
