"""Functions of functions against JAX, and what they promise beyond numbers: memory, states, and clear errors."""

import tracemalloc

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine.program import Program
from chainrule.engine.show import graph_text
from chainrule.engine.trace import trace

X = np.array([0.3, -1.2, 0.7])
W = np.array([[0.5, -0.1, 0.2], [1.5, 0.4, -0.9]])

# Functions that read the same in both libraries: m is chainrule or jax.numpy.
SCALARS = {
    "network": lambda m, x, w: m.sum(m.tanh(w @ x) ** 2) / (1 + m.sum(w * w)),
    "log of a sum": lambda m, x, w: m.log(m.sum(m.exp(w @ x))) + x[1] * m.sin(x[2]),
    "prod and max": lambda m, x, w: m.prod(x) + m.max(m.abs(x)) ** 2 + m.sqrt(m.sum(x * x)),
    "not of x": lambda m, x, w: m.sum(w**2),
}
VECTORS = {
    "network": lambda m, x, w: m.tanh(w @ x) * x[:2],
    "outer": lambda m, x, w: m.expand_dims(x, axis=1) * m.sin(w[0]),
    "moved": lambda m, x, w: m.flip(m.concat([x, m.cumulative_sum(x**2, axis=0)])),
    "scalar": lambda m, x, w: m.sum(x**2) * m.sum(w),
    "nothing": lambda m, x, w: x[:0],
}


@pytest.mark.parametrize("name", SCALARS)
def test_gradients_and_hessians_agree_with_jax(name: str, oracle) -> None:
    f = SCALARS[name]

    def compute() -> dict[str, np.ndarray]:
        import jax

        with jax.enable_x64(True):
            value, (by_x, by_w) = jax.value_and_grad(lambda x, w: f(jax.numpy, x, w), (0, 1))(X, W)
            hessian = jax.hessian(lambda x: f(jax.numpy, x, W))(X)
            mixed = jax.jacobian(jax.grad(lambda x, w: f(jax.numpy, x, w), 0), 1)(X, W)
        return {"value": value, "x": by_x, "w": by_w, "hessian": hessian, "mixed": mixed}

    expected = oracle(name, compute)
    value, (by_x, by_w) = cr.value_and_grad(lambda x, w: f(cr, x, w), (0, 1))(X, W)
    found = {
        "value": value,
        "x": by_x,
        "w": by_w,
        "hessian": cr.hessian(lambda x: f(cr, x, W))(X),
        "mixed": cr.jacobian(cr.grad(lambda x, w: f(cr, x, w), 0), 1)(X, W),
    }
    for key, ours in found.items():
        np.testing.assert_allclose(ours, expected[key], rtol=1e-9, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", VECTORS)
def test_jacobians_and_their_products_agree_with_jax(name: str, oracle) -> None:
    f = VECTORS[name]
    rng = np.random.default_rng(4)
    along_x, along_w = rng.standard_normal(X.shape), rng.standard_normal(W.shape)
    upstream = rng.standard_normal(f(cr, cr.asarray(X), cr.asarray(W)).shape)

    def compute() -> dict[str, np.ndarray]:
        import jax

        def g(x, w):
            return f(jax.numpy, x, w)

        with jax.enable_x64(True):
            output, moved = jax.jvp(g, (X, W), (along_x, along_w))
            by_x, by_w = jax.vjp(g, X, W)[1](upstream)
            jacobians = {"jacobian x": jax.jacobian(g)(X, W), "jacobian w": jax.jacobian(g, 1)(X, W)}
        return {"output": output, "moved": moved, "x": by_x, "w": by_w, **jacobians}

    expected = oracle(f"vector {name}", compute)

    def g(x, w):
        return f(cr, x, w)

    output, moved = cr.jvp(g, (X, W), (along_x, along_w))
    value, back = cr.vjp(g, X, W)
    by_x, by_w = back(upstream)
    found = {"output": output, "moved": moved, "x": by_x, "w": by_w}
    found |= {"jacobian x": cr.jacobian(g)(X, W), "jacobian w": cr.jacobian(g, argnums=-1)(X, W)}
    for key, ours in found.items():
        np.testing.assert_allclose(ours, expected[key], rtol=1e-9, atol=1e-12, err_msg=key)
    np.testing.assert_array_equal(value, output)


def test_a_gradient_may_be_taken_of_any_argument_and_bring_something_along() -> None:
    def f(x, scale, *, power):
        y = cr.sum(x**power) * scale
        return y, {"twice": 2 * y}

    (value, aux), (by_scale, by_x) = cr.value_and_grad(f, (-1, 0), has_aux=True)(X, 2.0, power=3)
    gradient, aux_again = cr.grad(f, has_aux=True)(X, 2.0, power=3)
    assert aux["twice"].item() == aux_again["twice"].item() == 2 * value.item()
    np.testing.assert_allclose(by_scale, np.sum(X**3))
    np.testing.assert_allclose(by_x, 6 * X**2)
    np.testing.assert_array_equal(gradient, by_x)


def test_gradients_inside_no_grad_are_gradients_all_the_same() -> None:
    with cr.no_grad():
        assert cr.grad(lambda x: cr.sum(x**2))(X).tolist() == (2 * X).tolist()
        np.testing.assert_allclose(cr.hessian(lambda x: cr.sum(x**3))(X), np.diag(6 * X))
        np.testing.assert_allclose(cr.jvp(lambda x: x**2, [X], [X])[1], 2 * X**2)


def test_transforms_of_a_traced_function_give_the_same_numbers(rng) -> None:
    def newton(x):
        f = lambda v: cr.sum(cr.sin(v) * v)  # noqa: E731
        block = cr.checkpoint(f)
        return cr.hessian(f)(x) @ cr.grad(block)(x) + cr.jvp(cr.tanh, [x], [x])[1]

    x = rng.standard_normal(4)
    program = trace(newton, x)
    program.graph.verify()
    np.testing.assert_allclose(program(x)[0], newton(cr.asarray(x)), rtol=1e-12)


def test_an_integer_argument_has_no_gradient_and_takes_no_tangent() -> None:
    def f(x, i):
        return x[i] ** 2

    picks = np.array([0, 2, 2])
    assert cr.vjp(f, X, picks)[1](np.ones(3))[1].tolist() == [0, 0, 0]
    np.testing.assert_allclose(cr.jvp(f, [X, picks], [X, np.zeros(3, int)])[1], 2 * X[picks] ** 2)


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda: cr.grad(lambda x: x)(X), cr.GradientError, "must be a scalar"),
        (lambda: cr.grad(lambda x: 1.0)(X), cr.GradientError, "is a float"),
        (lambda: cr.grad(lambda x: cr.sum(x), 2)(X), cr.ArgumentError, "argnums names argument 2, but 1 were given"),
        (lambda: cr.jacobian(lambda x: x, 1)(X), cr.ArgumentError, "argnums names argument 1, but 1 were given"),
        (lambda: cr.grad(lambda x: cr.sum(x) * 1.0)(np.array([1])), cr.GradientError, "wrt holds a tensor of int64"),
        (lambda: cr.vjp(lambda x: [x], X), cr.ArgumentError, "must return one tensor, but returned list"),
        (lambda: cr.vjp(lambda x: x, X)[1](np.ones(2)), cr.ShapeError, r"the shape \(2,\), the output \(3,\)"),
        (lambda: cr.jvp(lambda x: x, [X], []), cr.ArgumentError, "1 arguments but 0 tangents"),
        (lambda: cr.jvp(lambda x: x, [X], [X[:2]]), cr.ShapeError, r"the shape \(2,\), its argument \(3,\)"),
        (lambda: cr.check_gradients(cr.sum, np.array([1])), cr.ArgumentError, "no argument is floating"),
        (lambda: cr.check_gradients(cr.sum, X, order=3), cr.ArgumentError, "order is 1 or 2, not 3"),
        (lambda: cr.check_gradients(lambda x: x > 0, X), cr.ArgumentError, "returns bool, which has no gradient"),
    ],
)
def test_a_use_that_makes_no_sense_is_named(use, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        use()


# --- Gradients of your own ---------------------------------------------------------------------------------------


def test_a_gradient_of_your_own_can_be_differentiated_again() -> None:
    @cr.custom_gradient
    def cube(x):
        return x**3, lambda upstream: upstream * 3 * x**2

    cr.check_gradients(cube, X, order=2)
    np.testing.assert_allclose(cr.hessian(lambda x: cr.sum(cube(x)))(X), np.diag(6 * X))


def test_a_gradient_of_your_own_for_several_arguments_is_asked_once() -> None:
    asked = []

    @cr.custom_gradient
    def product(a, b, c):
        def backward(upstream):
            asked.append(upstream)
            return upstream * b, upstream * a, None

        return a * b + c, backward

    assert [g.item() for g in cr.grad(product, (0, 1, 2))(2.0, 3.0, 4.0)] == [3.0, 2.0, 0.0]
    assert len(asked) == 1


def test_a_gradient_of_your_own_replaces_the_real_one_also_for_parameters_inside() -> None:
    w = cr.Parameter(3.0)

    @cr.custom_gradient
    def straight_through(x):
        return cr.round(x) * w, lambda upstream: upstream

    assert cr.grad(straight_through)(1.4).item() == 1.0
    with pytest.raises(cr.GradientError, match="depends on no trainable parameter"):
        cr.backpropagate(straight_through(cr.asarray(1.4)))


@pytest.mark.parametrize(
    ("backward", "error", "message"),
    [
        (lambda g: (g, g), cr.GradientError, "returned 2 gradients for 1 arguments"),
        (lambda g: cr.sum(g), cr.ShapeError, r"a gradient of shape \(\) for argument 0 of shape \(3,\)"),
    ],
)
def test_a_gradient_of_your_own_that_does_not_fit_is_named(backward, error: type, message: str) -> None:
    f = cr.custom_gradient(lambda x: (x * 2, backward))
    with pytest.raises(error, match=message):
        cr.grad(lambda x: cr.sum(f(x)))(X)


# --- Checkpoints -------------------------------------------------------------------------------------------------


def block() -> nn.Sequential:
    cr.random.seed(1)
    return nn.Sequential(nn.Dense(4, 8), nn.Dropout(0.5), nn.BatchNorm(8), nn.Tanh(), nn.Dense(8, 2))


def test_a_checkpointed_network_gets_the_same_gradients_and_leaves_its_states_the_same(rng) -> None:
    x = rng.standard_normal((6, 4)).astype("f")
    results = []
    for wrapped in (False, True):
        net = block()
        f = cr.checkpoint(net) if wrapped else net
        gradients = [cr.backpropagate(cr.sum(f(x) ** 2)) for _ in range(2)][-1]  # the second drops other units
        results.append(({p.name: g.value for p, g in gradients.items()}, net.arrays()))
    (plain, states), (again, states_again) = results
    for name, gradient in plain.items():
        np.testing.assert_array_equal(again[name], gradient, err_msg=name)
    for name, state in states.items():
        np.testing.assert_array_equal(states_again[name], state, err_msg=name)


def test_a_checkpoint_sees_parameters_as_they_were_when_it_ran() -> None:
    w = cr.Parameter(2.0)
    loss = cr.checkpoint(lambda x: cr.tanh(x * w))(cr.asarray(0.5))
    before = cr.backpropagate(cr.tanh(cr.asarray(0.5) * w))[w].item()
    gradients = cr.backpropagate(loss)
    w.assign(100.0)
    assert gradients[w].item() == before
    assert cr.backpropagate(loss, wrt=[cr.asarray(0.5)])[0].item() == 0.0


def test_a_checkpoint_can_be_differentiated_twice() -> None:
    def f(x, w):
        return cr.tanh(w @ cr.sin(w.T @ x[:2]))

    cr.check_gradients(cr.checkpoint(f), X, W, order=2)
    np.testing.assert_allclose(
        cr.hessian(lambda x: cr.sum(cr.checkpoint(f)(x, W)))(X), cr.hessian(lambda x: cr.sum(f(x, W)))(X), atol=1e-14
    )


def test_a_checkpoint_within_a_checkpoint() -> None:
    inner = cr.checkpoint(lambda x: cr.sin(x) * x)
    cr.check_gradients(cr.checkpoint(lambda x: inner(inner(x)) + x), X, order=2)


def test_a_checkpoint_refuses_a_tensor_from_outside_that_it_would_lose() -> None:
    with pytest.raises(cr.GradientError, match="uses a tensor from outside that a gradient may flow to; pass it"):
        cr.grad(lambda w: cr.sum(cr.checkpoint(lambda x: x * w)(cr.asarray(X))))(X)


def deepest_memory(f, *tensors: cr.Tensor) -> int:
    cr.backpropagate(f(*tensors), wrt=tensors)  # what is made only once does not count
    tracemalloc.start()
    try:
        cr.backpropagate(f(*tensors), wrt=tensors)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def layers(x, w, count):
    for _ in range(count):
        x = cr.tanh(x @ w)
    return x


def plain(x, w):
    return cr.sum(layers(x, w, 24))


def checkpointed(x, w):
    for _ in range(6):
        x = cr.checkpoint(lambda x, w: layers(x, w, 4))(x, w)
    return cr.sum(x)


def test_checkpoints_save_memory() -> None:
    """Of 24 layers in 6 blocks, about 6 outputs and the insides of one block remain, instead of all insides."""
    x, w = cr.asarray(np.ones((200, 50))), cr.asarray(np.eye(50))
    assert deepest_memory(checkpointed, x, w) < 0.3 * deepest_memory(plain, x, w)


def test_checkpoints_save_memory_when_compiled() -> None:
    """What is computed again is not merged with what was computed before."""
    x, w = np.random.default_rng(0).standard_normal((800, 50)), np.eye(50)  # too large for places of their shape alone
    programs = [Program(trace(cr.grad(f, (0, 1)), x, w)) for f in (plain, checkpointed)]
    kept, saved = (program.memory.arena for program in programs)
    assert saved < 0.55 * kept  # 6 outputs, 4 insides and the gradients under way, where 24 were kept
    for one, other in zip(*(program(x, w) for program in programs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)  # the sums over layers go another way


# --- The checker must find what is wrong -------------------------------------------------------------------------

WRONG = {
    "factor": (lambda x: x**2, lambda g, x: 2.001 * g * x),
    "sign": (lambda x: cr.cos(x), lambda g, x: g * cr.sin(x)),
    "one element": (lambda x: x**2, lambda g, x: 2 * g * x * np.array([1.0, 1.0, 0.99])),
    "nothing": (lambda x: x**2, lambda g, x: None),
    "nan": (lambda x: x**2, lambda g, x: g * np.nan),
    "moved": (lambda x: x**2, lambda g, x: cr.roll(2 * g * x, 1)),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_checker_fails_on_a_wrong_gradient(name: str) -> None:
    value, slope = WRONG[name]
    f = cr.custom_gradient(lambda x: (value(x), lambda g: slope(g, x)))
    with pytest.raises(cr.GradientError, match=r"order 1, argument 0: the gradient gives .* the numeric difference"):
        cr.check_gradients(f, X)


def test_the_checker_names_the_argument_that_is_wrong() -> None:
    f = cr.custom_gradient(lambda a, b: (a * b, lambda g: (g * b, g * b)))
    with pytest.raises(cr.GradientError, match="order 1, argument 1"):
        cr.check_gradients(f, X, X + 1)


def test_the_graph_of_a_gradient_can_be_printed() -> None:
    text = graph_text(trace(cr.grad(lambda x: cr.sum(cr.exp(x))), X).graph)
    assert text.splitlines()[-2].endswith("# gradient of %3"), text
