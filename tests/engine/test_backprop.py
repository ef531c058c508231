"""What backpropagate promises beyond single functions: sums over paths, depth, higher orders, and clear errors."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.op import Op
from chainrule.engine.reference import evaluate
from chainrule.engine.tensor import apply


def test_a_parameter_used_twice_gets_the_sum_of_both_paths() -> None:
    w = cr.Parameter([2.0])
    gradients = cr.backpropagate(cr.sum(w * w + 3 * w))
    assert gradients[w].tolist() == [7.0]


def test_depth_has_no_limit() -> None:
    w = cr.Parameter(np.float64(1.0))
    x = w * 1.0
    for _ in range(5_000):
        x = x + w * 4e-4
    assert cr.backpropagate(x)[w].item() == pytest.approx(3.0)


def test_a_chain_of_diamonds_takes_time_linear_in_its_length() -> None:
    x = cr.Parameter(1.0)
    y = x * 1.0
    for _ in range(60):  # 2**60 paths
        y = 0.5 * y + 0.5 * y
    assert cr.backpropagate(y)[x].item() == 1.0


def test_seven_ways_to_a_second_derivative_agree() -> None:
    def f(x):
        return cr.sum(cr.sin(x) * x**3)

    x = np.array([0.3, -1.2, 2.0])
    exact = np.diag(6 * x * np.sin(x) + 6 * x**2 * np.cos(x) - x**3 * np.sin(x))
    unit = np.eye(3)
    slope = cr.grad(f)
    ways = [
        cr.hessian(f)(x),
        cr.jacobian(slope)(x),
        cr.jacobian(cr.jacobian(f))(x),
        np.stack([cr.vjp(slope, x)[1](e)[0] for e in unit]),
        np.stack([cr.jvp(slope, [x], [e])[1] for e in unit]),
        np.stack([cr.grad(lambda v, e=e: cr.sum(slope(v) * e))(x) for e in unit]),
        np.stack([cr.grad(lambda v, e=e: cr.jvp(f, [v], [e])[1])(x) for e in unit]),
    ]
    for way in ways:
        np.testing.assert_allclose(way, exact, atol=1e-12)


def test_an_input_on_which_the_loss_does_not_depend_gets_zeros() -> None:
    x, unused = cr.asarray([1.0, 2.0]), cr.asarray([[5.0]])
    _, zero = cr.backpropagate(cr.sum(x), wrt=[x, unused])
    assert zero.tolist() == [[0.0]]


def test_integers_in_the_graph_pass_no_gradient() -> None:
    w = cr.Parameter([[1.0, 2.0], [3.0, 4.0]])
    loss = cr.sum(w[cr.asarray([1, 1, 0])] * cr.asarray([[1], [2], [3]]))
    assert cr.backpropagate(loss)[w].tolist() == [[3.0, 3.0], [3.0, 3.0]]


def test_a_frozen_parameter_gets_no_gradient() -> None:
    frozen, learned = cr.Parameter(2.0, name="frozen"), cr.Parameter(3.0, name="learned")
    frozen.trainable = False
    gradients = cr.backpropagate(frozen * learned)
    assert list(gradients) == [learned]
    with pytest.raises(cr.GradientError, match="no gradient for frozen"):
        gradients[frozen]


def test_an_old_graph_keeps_the_value_that_it_read() -> None:
    w = cr.Parameter(3.0)
    loss = w * w
    w.assign(100.0)
    assert cr.backpropagate(loss, wrt=[cr.asarray(1.0)])[0].item() == 0.0
    assert loss.item() == 9.0


def test_every_gradient_node_remembers_the_forward_node_it_belongs_to() -> None:
    w = cr.Parameter([[1.0]], name="w")
    forward = cr.tanh(w @ w)
    gradient = cr.backpropagate(cr.sum(forward))[w]
    assert gradient.node.gradient_of is not None
    assert gradient.node.gradient_of.op.value == "matmul"
    assert "test_backprop.py" in str(gradient.node.provenance)


def test_nothing_is_remembered_in_no_grad() -> None:
    w = cr.Parameter([1.0])
    with cr.no_grad():
        assert (w * 2).node.inputs == ()
    assert (w * 2).node.inputs != ()


def test_checkpoint_keeps_value_and_gradient_but_not_the_values_between() -> None:
    def f(x, w):
        return cr.sum(cr.tanh(x @ w) ** 2)

    x, w = np.array([[0.5, -1.0]]), np.array([[1.0, 2.0], [0.3, -0.7]])
    plain, kept = cr.value_and_grad(f, (0, 1))(x, w), cr.value_and_grad(cr.checkpoint(f), (0, 1))(x, w)
    assert kept[0].item() == plain[0].item()
    for a, b in zip(kept[1], plain[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(cr.checkpoint(f)(cr.asarray(x), cr.asarray(w)).node.inputs) == 3
    cr.check_gradients(cr.checkpoint(f), x, w)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda w: cr.asarray([1.0, 2.0]) * w, r"must be a scalar, but its shape is \(2,\).*cr.mean"),
        (lambda w: cr.asarray(3.0), "does not remember how it was made"),
        (lambda w: cr.asarray(3.0) * 2.0, "depends on no trainable parameter"),
        (lambda w: cr.stop_gradient(w), "does not remember how it was made"),
        (lambda w: cr.astype(w, cr.int32), "only a floating loss"),
        (lambda w: 3.0, "but is a float"),
    ],
)
def test_a_loss_without_a_gradient_says_why_and_what_to_do(loss, message: str) -> None:
    with pytest.raises(cr.GradientError, match=message):
        cr.backpropagate(loss(cr.Parameter(1.0)))


def test_the_published_worked_example_to_the_last_digit() -> None:
    """Matt Mazur, "A step by step backpropagation example" (2015): one update, then 10,000."""
    x, target = np.array([0.05, 0.10]), np.array([0.01, 0.99])
    hidden = cr.Parameter(np.array([[0.15, 0.25], [0.20, 0.30]]), name="hidden")  # w1, w3 / w2, w4
    output = cr.Parameter(np.array([[0.40, 0.50], [0.45, 0.55]]), name="output")  # w5, w7 / w6, w8
    biases = 0.35, 0.60  # the example does not learn them

    def error():
        activations = cr.sigmoid(x @ hidden + biases[0])
        return cr.sum(0.5 * (target - cr.sigmoid(activations @ output + biases[1])) ** 2)

    def update() -> None:
        gradients = cr.backpropagate(error())
        for weight in (hidden, output):
            weight.assign(weight - 0.5 * gradients[weight])

    assert f"{error().item():.9f}" == "0.298371109"
    update()
    assert [f"{v:.8f}" for v in output.value.T.ravel()] == ["0.35891648", "0.40866619", "0.51130127", "0.56137012"]
    assert [f"{v:.9f}" for v in hidden.value.T.ravel()][:2] == ["0.149780716", "0.199561432"]
    assert [f"{v:.9f}" for v in hidden.value.T.ravel()][2:] == ["0.249751144", "0.299502287"]


def test_a_parameter_behind_stop_gradient_is_left_out_of_a_traced_loss_too() -> None:
    cut, kept = cr.Parameter([1.0, 2.0], name="cut"), cr.Parameter([3.0, 4.0], name="kept")

    def step(x):
        gradients = cr.backpropagate(cr.sum(cr.stop_gradient(cut * x) * kept))
        assert cut not in gradients
        return gradients[kept]

    np.testing.assert_array_equal(step(cr.asarray(2.0)), [2.0, 4.0])
    np.testing.assert_array_equal(cr.compile(step)(2.0), [2.0, 4.0])


def test_a_traced_loss_that_is_wholly_cut_off_is_a_gradient_error() -> None:
    cut = cr.Parameter([1.0, 2.0])
    with pytest.raises(cr.GradientError, match="depends on no trainable parameter"):
        cr.compile(lambda x: len(cr.backpropagate(cr.sum(cr.stop_gradient(cut) * x))) * x)(2.0)


@pytest.mark.parametrize("low", [-3, -1, 0, 2])
@pytest.mark.parametrize("high", [-2, 0, 1])
@pytest.mark.parametrize("interior", [0, 1, 2])
def test_what_negative_padding_cuts_off_has_no_gradient(low: int, high: int, interior: int) -> None:
    """Padding is linear: its gradient is the sum of the weights where each unit vector comes out."""
    settings = {"low": (low,), "high": (high,), "interior": (interior,), "value": 0}
    outs = [evaluate(Op.PAD, [unit], settings) for unit in np.eye(5)]
    weights = np.arange(1.0, 1 + outs[0].size)
    found = cr.grad(lambda x: cr.sum(weights * apply(Op.PAD, x, **settings)))(np.ones(5))
    np.testing.assert_array_equal(found, [weights @ out for out in outs])
