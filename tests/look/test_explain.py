"""Explain: the four phases of one step, against published numbers and PyTorch, and nothing changed by looking."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from look.random_networks import problem
from oracle import Oracle


def half_squared_error(guess: cr.Tensor, target: cr.Tensor) -> cr.Tensor:
    return cr.sum(0.5 * (target - guess) ** 2)


def mazur() -> nn.Sequential:
    """The network of Matt Mazur's "A step by step backpropagation example" (2015); its biases are not learned."""
    net = nn.Sequential(nn.Dense(2, 2, activation="sigmoid"), nn.Dense(2, 2, activation="sigmoid"))
    net[0].weight = cr.Parameter(np.array([[0.15, 0.25], [0.20, 0.30]]))
    net[0].bias = cr.Parameter(np.array([0.35, 0.35]), trainable=False)
    net[1].weight = cr.Parameter(np.array([[0.40, 0.50], [0.45, 0.55]]))
    net[1].bias = cr.Parameter(np.array([0.60, 0.60]), trainable=False)
    return net


@pytest.fixture
def published() -> cr.look.Explanation:
    x, y = np.array([0.05, 0.10]), np.array([0.01, 0.99])
    return cr.look.explain(mazur(), x, y, half_squared_error, cr.optim.SGD(0.5), check=True)


def produced(step: cr.look.Explanation, place: int) -> list[float]:
    return step.layers[place].produced[0].value[0].tolist()


def test_the_published_forward_pass_is_shown(published: cr.look.Explanation) -> None:
    assert produced(published, 0) == pytest.approx([0.3775, 0.3925], abs=1e-12)
    assert produced(published, 1) == pytest.approx([0.593269992, 0.596884378], abs=5e-10)
    assert produced(published, 2)[0] == pytest.approx(1.105905967, abs=5e-10)
    assert produced(published, 3) == pytest.approx([0.75136507, 0.772928465], abs=5e-9)


def test_the_published_loss_is_shown_with_its_terms(published: cr.look.Explanation) -> None:
    assert published.loss.value == pytest.approx(0.298371109, abs=5e-10)
    assert [value for _, value in published.loss.terms] == pytest.approx([0.274811083, 0.023560026], abs=5e-10)
    assert published.loss.formula == "sum(0.5·(target − guess)²)"
    assert published.loss.terms[0][0] == "0.5·(0.01 − 0.751)²"


def test_the_published_backpropagation_is_shown(published: cr.look.Explanation) -> None:
    assert published.gradient_of("1")[0, 0] == pytest.approx(0.74136507, abs=5e-9)  # dE/dout_o1
    output = published.layers[2]
    assert published.layers[3].local.value[0, 0] == pytest.approx(0.186815602, abs=5e-10)  # dout_o1/dnet_o1
    assert output.upstream[0].value[0, 0] == pytest.approx(0.138498562, abs=5e-10)  # delta_o1
    assert published.gradient_of("1.weight")[0, 0] == pytest.approx(0.082167041, abs=5e-10)  # dE/dw5
    assert output.passed[0].value[0, 0] == pytest.approx(0.036350306, abs=5e-10)  # dE/dout_h1
    assert published.layers[1].local.value[0, 0] == pytest.approx(0.241300709, abs=5e-10)  # dout_h1/dnet_h1
    assert published.gradient_of("0.weight")[0, 0] == pytest.approx(0.000438568, abs=5e-10)  # dE/dw1


def test_the_published_update_is_shown(published: cr.look.Explanation) -> None:
    hidden, output = published.update.moves
    assert output.after.reshape(-1) == pytest.approx([0.35891648, 0.511301270, 0.408666186, 0.561370121], abs=5e-9)
    assert hidden.after.reshape(-1) == pytest.approx([0.149780716, 0.24975114, 0.19956143, 0.29950229], abs=5e-9)
    assert published.update.loss_after == pytest.approx(0.291027924, abs=2e-7)  # the article rounds on its way there


def test_the_published_way_to_w1_goes_through_both_outputs(published: cr.look.Explanation) -> None:
    tree = published.path("0.weight", (0, 0))
    first, second = (branch.contribution for branch in tree.root.branches)
    # dE_o1/dout_h1 = 0.055399425 and dE_o2/dout_h1 = -0.019049119, each times dout_h1/dnet_h1 and i1.
    assert first == pytest.approx(0.055399425 * 0.241300709 * 0.05, abs=5e-11)
    assert second == pytest.approx(-0.019049119 * 0.241300709 * 0.05, abs=5e-11)


def test_the_text_shows_the_published_numbers(published: cr.look.Explanation) -> None:
    text = str(published)
    for number in ("0.593 0.597", "0.751 0.773", "0.298371", "0.0822", "0.000439", "0.149781", "0.358916"):
        assert number in text
    assert "0.bias: frozen" in text
    assert all(check.agrees for check in published.checks)


def test_a_real_step_moves_what_was_explained() -> None:
    given = problem(4)
    optimizer = cr.optim.Adam(0.01, clip_global_norm=1.0)
    for _ in range(3):
        step = cr.look.explain(given.net, given.x, given.y, given.loss, optimizer)
        loss = getattr(cr.losses, given.loss)(given.net(given.x), given.y)
        gradients = cr.backpropagate(loss)
        optimizer.update(gradients)
        assert step.loss.value == loss.item()
        for move in step.update.moves:
            parameter = dict(given.net.named_parameters())[move.name]
            assert np.array_equal(move.gradient, np.asarray(gradients[parameter]))
            assert np.array_equal(move.after, parameter.value)
            for name, value in move.memory_after.items():
                assert np.array_equal(value, optimizer.arrays()[f"{move.name}.{name}"])


OPTIMIZERS = [
    lambda: cr.optim.SGD(0.1),
    lambda: cr.optim.SGD(cr.schedules.Step(0.1, 1, 0.5), momentum=0.9, nesterov=True, weight_decay=0.1),
    lambda: cr.optim.Adagrad(),
    lambda: cr.optim.RMSprop(momentum=0.5, centered=True),
    lambda: cr.optim.Adam(),
    lambda: cr.optim.AdamW(clip_norm=1.0),
]


def everything(net: nn.Module, optimizer: cr.optim.Optimizer) -> dict[str, Any]:
    random = cr.random.default()
    modes = {name: module.training for name, module in net.named_modules().items()}
    return net.arrays() | optimizer.arrays() | modes | {"default stream": (random.key, random.counter.item())}


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("fresh", [True, False])
def test_looking_changes_nothing(make: Any, fresh: bool) -> None:
    cr.random.seed(0)
    noisy = nn.Lambda(lambda x: x + cr.random.normal(x.shape))  # draws from the default stream
    net = nn.Sequential(nn.Dense(3, 4), nn.BatchNorm(4), nn.Dropout(0.5), noisy, nn.Dense(4, 2))
    x, y = np.random.default_rng(0).standard_normal((6, 3)), [0, 1, 0, 1, 1, 0]
    optimizer = make()
    if not fresh:
        optimizer.update(cr.backpropagate(cr.losses.cross_entropy(net(x), y)))
    before = everything(net, optimizer)
    step = cr.look.explain(net, x, y, "cross_entropy", optimizer, training=True, check=True)
    step.path("0.weight", (0, 0))
    step.examples("0.weight", (0, 0))
    assert step.to_html()
    assert step.to_dict()
    after = everything(net, optimizer)
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert np.array_equal(value, after[name]), name
    assert all(parameter.dtype == np.float32 for parameter in net.parameters())


def test_dropout_of_the_next_real_step_is_the_one_explained() -> None:
    net = nn.Sequential(nn.Dense(3, 50), nn.Dropout(0.5))
    x, y = np.ones((2, 3)), np.zeros((2, 50))
    step = cr.look.explain(net, x, y, "mse")
    assert np.array_equal(step.layers[1].produced[0].value, np.asarray(net(cr.asarray(x, dtype=cr.float32))))


def test_later_questions_are_answered_about_the_step_as_it_was(rng: np.random.Generator) -> None:
    net = nn.Sequential(nn.Dense(3, 4), nn.BatchNorm(4), nn.Dropout(0.5), nn.Dense(4, 2))
    x, y = rng.standard_normal((8, 3)), rng.standard_normal((8, 2))
    step = cr.look.explain(net, x, y, "mse", "adam")
    cr.fit(net, (x, y), loss="mse", epochs=3, progress=False)
    index = (1, 2)
    assert step.path("0.weight", index).total == pytest.approx(float(step.gradient_of("0.weight")[index]), rel=1e-3)
    assert step.update.loss_before == pytest.approx(step.loss.value, rel=1e-5)


def test_the_promise_is_kept_by_a_short_step() -> None:
    given = problem(7)
    update = cr.look.explain(given.net, given.x, given.y, given.loss, cr.optim.SGD(1e-6)).update
    assert update.promised > 0
    assert update.came == pytest.approx(update.promised, rel=0.05)  # the step itself is rounded to float32


def test_a_step_that_is_too_long_is_called_so() -> None:
    net = nn.Sequential(nn.Dense(1, 1, init="zeros", bias=False))
    step = cr.look.explain(net, [[1.0]], [[1.0]], "mse", cr.optim.SGD(2.0))
    assert (step.update.promised, step.update.came) == (8.0, -8.0)
    assert "the step is too long" in str(step)


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_gradients_are_those_of_backpropagate(seed: int) -> None:
    given = problem(seed)
    given.net.eval()
    step = cr.look.explain(given.net, given.x, given.y, given.loss)
    loss = given.loss if callable(given.loss) else getattr(cr.losses, given.loss)
    expected = cr.backpropagate(loss(given.net(given.x), given.y))
    assert step.gradients.keys() == {parameter.name for parameter in expected}
    for parameter, gradient in expected.items():
        assert np.allclose(step.gradients[parameter.name], np.asarray(gradient), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("seed", range(0, 40, 2))
def test_numeric_gradients_agree_on_every_kind_of_layer(seed: int) -> None:
    given = problem(seed)
    step = cr.look.explain(given.net, given.x, given.y, given.loss, check=True)
    assert {check.name for check in step.checks} >= step.gradients.keys()
    assert [check for check in step.checks if not check.agrees] == []


def test_the_numeric_check_finds_a_gradient_that_is_wrong() -> None:
    @cr.custom_gradient
    def wrong(x: cr.Tensor) -> Any:
        return x * x, lambda upstream: upstream  # should be 2 · x · upstream

    net = nn.Sequential(nn.Dense(2, 2), nn.Lambda(wrong))
    step = cr.look.explain(net, [[1.0, 2.0]], [[3.0, 4.0]], "mse", check=True)
    assert not all(check.agrees for check in step.checks if check.name == "0.weight")
    assert "✗ differs" in str(step)
    assert "lost or changed a gradient" in step.to_html()


def test_all_elements_are_compared_on_demand() -> None:
    net = nn.Sequential(nn.Dense(3, 4), nn.Tanh(), nn.Dense(4, 1))
    step = cr.look.explain(net, np.ones((2, 3)), np.ones((2, 1)), "mse", check="all")
    places = {(check.name, check.index) for check in step.checks}
    for name, gradient in step.gradients.items():
        assert {index for found, index in places if found == name} == set(np.ndindex(gradient.shape))
    assert all(check.agrees for check in step.checks)
    assert f"every element of all {len({name for name, _ in places})} gradients" in str(step)
    with pytest.raises(cr.ArgumentError, match='check must be True, False or "all", but is 5'):
        cr.look.explain(net, np.ones((2, 3)), np.ones((2, 1)), "mse", check=5)


@pytest.mark.parametrize(("depth", "work", "most"), [(5, 2**27, 60), (30, 2**27, 60), (5, 1, 12)])
def test_the_numeric_check_is_bounded_the_same_every_time_and_says_so(
    monkeypatch: pytest.MonkeyPatch, depth: int, work: int, most: int
) -> None:
    monkeypatch.setattr("chainrule.look.explaining.numeric.WORK", work)
    net = nn.Sequential(*(layer for _ in range(depth) for layer in (nn.Dense(3, 3), nn.Tanh())))
    x = np.linspace(-1, 1, 12).reshape(4, 3)
    first, second = (cr.look.explain(net, x, x, "mse", check=True) for _ in range(2))
    assert [(check.name, check.index) for check in first.checks] == [(c.name, c.index) for c in second.checks]
    assert 12 <= len(first.checks) <= most
    assert all(check.agrees for check in first.checks)
    extent = first.extent
    assert len({check.name for check in first.checks}) == extent.gradients <= extent.known
    for view in (" ".join(str(first).split()), first.to_html()):
        assert f"in {extent.gradients} of {extent.known} gradients" in view or f"all {extent.known} gradients" in view
    assert first.to_dict()["checked"] == {
        "elements": extent.elements, "gradients": extent.gradients, "known": extent.known
    }  # fmt: skip


def test_a_custom_optimizer_with_a_memory_of_its_own_is_left_alone() -> None:
    class Signs(cr.optim.SGD):
        """w ← w - rate · sign of g."""

        def __init__(self, rate: float) -> None:
            super().__init__(rate)
            self.updates: list[str] = []

        def rule(self, parameter: Any, gradient: Any, slots: Any, now: Any) -> Any:
            self.updates.append("one")
            return parameter - now["rate"] * cr.sign(gradient), {}

    optimizer = Signs(0.5)
    step = cr.look.explain(nn.Dense(2, 1), cr.ones((2, 2)), cr.asarray([[9.0], [9.0]]), "mse", optimizer)
    assert optimizer.updates == []
    assert step.update.rule == "w ← w - rate · sign of g."
    assert np.allclose(step.update.moves[0].step, 0.5)


def test_layers_may_give_several_tensors() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            self.a, self.b = nn.Dense(2, 2), nn.Dense(2, 2)

        def __call__(self, x: Any) -> Any:
            return self.a(x), {"b": self.b(x)}

    class Product(nn.Module):
        def __init__(self) -> None:
            self.two = Two()

        def __call__(self, x: Any) -> Any:
            first, others = self.two(x)
            return first * others["b"]

    step = cr.look.explain(Product(), np.ones((2, 2)), np.ones((2, 2)), "mse")
    assert [layer.label for layer in step.layers] == ["two.a", "two.b", "network", "loss"]
    tree = step.path("two.b.weight", (1, 0))
    assert tree.total == pytest.approx(float(step.gradient_of("two.b.weight")[1, 0]), rel=1e-5)


def test_checkpoints_and_gradients_of_ones_own_are_followed(rng: np.random.Generator) -> None:
    class Kept(nn.Module):
        def __init__(self) -> None:
            self.weight = cr.Parameter(rng.standard_normal((2, 2)))

        def __call__(self, x: Any) -> Any:
            return cr.checkpoint(lambda x, weight: cr.tanh(x @ weight))(x, self.weight)

    step = cr.look.explain(nn.Sequential(Kept()), rng.standard_normal((3, 2)), np.ones((3, 2)), "mse", check=True)
    assert all(check.agrees for check in step.checks)
    tree = step.path("0.weight", (0, 1))
    assert tree.total == pytest.approx(float(step.gradient_of("0.weight")[0, 1]), rel=1e-9)


def torch_layers(seed: int) -> dict[str, np.ndarray]:
    """The gradients between the layers of the network below, by PyTorch's hooks."""
    import torch

    net, x, y = comparable(seed)
    weights = {name: torch.tensor(value.value) for name, value in net.named_parameters()}
    kinds = {"Tanh": torch.nn.Tanh(), "ReLU": torch.nn.ReLU(), "Sigmoid": torch.nn.Sigmoid()}
    found, current = {}, torch.tensor(x, requires_grad=True)
    found["x"] = current
    for place, layer in enumerate(net.layers):
        if isinstance(layer, nn.Dense):
            current = current @ weights[f"{place}.weight"] + weights[f"{place}.bias"]
        elif isinstance(layer, nn.LayerNorm):
            scale, shift = weights[f"{place}.weight"], weights[f"{place}.bias"]
            current = torch.nn.functional.layer_norm(current, scale.shape, scale, shift, layer.epsilon)
        elif isinstance(layer, nn.BatchNorm):
            scale, shift = weights[f"{place}.weight"], weights[f"{place}.bias"]
            current = torch.nn.functional.batch_norm(current, None, None, scale, shift, True, 0.1, layer.epsilon)
        else:
            current = kinds[type(layer).__name__](current)
        current.retain_grad()
        found[str(place)] = current
    torch.nn.functional.cross_entropy(current, torch.tensor(y)).backward()
    return {name: tensor.grad.numpy() for name, tensor in found.items()}


def comparable(seed: int) -> tuple[nn.Sequential, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    width = int(rng.integers(3, 7))
    kinds = [nn.Tanh, nn.ReLU, nn.Sigmoid, lambda: nn.LayerNorm(width), lambda: nn.BatchNorm(width)]
    layers: list[nn.Module] = []
    for _ in range(int(rng.integers(1, 4))):
        layers += [nn.Dense(width, width), kinds[int(rng.integers(len(kinds)))]()]
    net = nn.Sequential(*layers, nn.Dense(width, 3))
    for _, module in net.named_modules().items():
        for key, value in list(vars(module).items()):
            if isinstance(value, cr.Parameter):
                setattr(module, key, cr.Parameter(rng.standard_normal(value.shape)))
    return net, rng.standard_normal((5, width)), rng.integers(0, 3, 5)


@pytest.mark.parametrize("seed", range(12))
def test_what_flows_between_layers_is_what_pytorch_says(seed: int, oracle: Oracle) -> None:
    net, x, y = comparable(seed)
    step = cr.look.explain(net, x, y, "cross_entropy")
    for name, gradient in oracle(f"between layers {seed}", lambda: torch_layers(seed)).items():
        assert np.allclose(step.gradient_of(name), gradient, rtol=1e-9, atol=1e-12), name
    for layer in step.layers[:-1]:  # in a chain, what a layer passes on is what arrives before it
        assert np.array_equal(layer.passed[0].value, step.gradient_of(layer.received[0].name))


def test_a_single_example_is_a_batch_of_one(rng: np.random.Generator) -> None:
    net = nn.Sequential(nn.Dense(3, 4), nn.Tanh(), nn.Dense(4, 2))
    x = rng.standard_normal((5, 3))
    alone = cr.look.explain(net, x[2], np.int64(1), "cross_entropy")
    batch = cr.look.explain(net, x[2:3], [1], "cross_entropy")
    assert alone.loss.value == batch.loss.value
    assert alone.x.shape == (1, 3)


def test_a_layer_that_is_called_twice_has_two_records() -> None:
    shared = nn.Dense(2, 2)
    net = nn.Sequential(shared, nn.Tanh(), shared)
    step = cr.look.explain(net, np.ones((1, 2)), np.zeros((1, 2)), "mse")
    assert [layer.label for layer in step.layers] == ["0", "1", "0 (call 2)", "loss"]
    first, second = (layer.parameters[0].gradient for layer in step.layers if layer.path == "0")
    assert np.allclose(first + second, step.gradient_of("0.weight"))
    assert not np.array_equal(step.gradient_of("0", call=0), step.gradient_of("0", call=1))
    with pytest.raises(cr.ArgumentError, match=r'"0" was called 2 times; say which with call=0 to 1'):
        step.gradient_of("0")


def test_nothing_flows_before_what_is_frozen() -> None:
    net = nn.Sequential(nn.Embedding(3, 2), nn.Flatten(), nn.Dense(2, 2))
    net[0].freeze()
    step = cr.look.explain(net, [[1]], [[0.0, 1.0]], "mse")
    assert step.gradients.keys() == {"2.weight", "2.bias"}
    assert step.layers[0].frozen
    with pytest.raises(cr.GradientError, match=r'"0\.weight" is frozen'):
        step.path("0.weight", (0, 0))
    with pytest.raises(cr.GradientError, match="holds integers"):
        step.sensitivity()


def small() -> nn.Sequential:
    return nn.Sequential(nn.Dense(3, 4), nn.ReLU(), nn.Dense(4, 2))


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("net", [[1.0, 2, 3]], [0], "cross_entropy"), cr.ArgumentError, "net must be a network"),
        ((small(), [[1.0, 2, 3]], [0], "cros_entropy"), cr.ArgumentError, 'did you mean "cross_entropy"'),
        ((small(), [[1.0, 2]], [0], "cross_entropy"), cr.ShapeError, r'Dense "0" expects \(…, 3\)'),
        ((small(), np.ones((4, 3)), [0, 1], "cross_entropy"), cr.DataError, "x has 4 rows, but y has 2"),
        ((small(), [[1.0, 2, 3]], [7], "cross_entropy"), cr.ArgumentError, "not a class number from 0 to 1"),
        ((small(), [["a", "b", "c"]], [0], "mse"), cr.DataError, "x must be an array of numbers"),
        ((small(), np.ones((0, 3)), np.ones((0, 2)), "mse"), cr.DataError, "x is empty"),
        ((small(), np.ones((1, 3)), np.ones((1, 2)), lambda g, t: g - t), cr.GradientError, "one floating number"),
        ((small(), np.ones((1, 3)), np.ones((1, 2)), lambda g, t: 3.0), cr.GradientError, "gave a float"),
        ((small(), np.ones((1, 3)), np.ones((1, 2)), "mse", "adm"), cr.ArgumentError, 'did you mean "adam"'),
        ((small(), np.ones((1, 3)), np.ones((1, 2)), "mse", 0.1), cr.ArgumentError, "optimizer must be an optimizer"),
    ],
)
def test_mistakes_are_named(arguments: tuple, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        cr.look.explain(*arguments)


@pytest.mark.parametrize(
    ("path", "index", "message"),
    [
        ("0.wieght", (0, 0), 'no parameter "0.wieght"; did you mean "0.weight"'),
        ("0.weight", (3, 0), r'"0.weight" has the shape \(3, 4\): index \(3, 0\) must be \(0 to 2, 0 to 3\)'),
        ("0.weight", 1, r"index 1 must be \(0 to 2, 0 to 3\)"),
        ("0.weight", (0.0, 1), r"must be \(0 to 2"),
        ("0.weight", (True, 1), r"must be \(0 to 2"),
        ("0.bias", (-5,), r"index \(-5,\) must be \(0 to 3\)"),
    ],
)
def test_a_place_that_does_not_exist_is_named(path: str, index: Any, message: str) -> None:
    step = cr.look.explain(small(), np.ones((1, 3)), np.ones((1, 2)), "mse")
    for ask in (step.path, step.examples):
        with pytest.raises(cr.ArgumentError, match=message):
            ask(path, index)


def test_questions_about_layers_that_do_not_exist_are_answered_with_the_nearest() -> None:
    net = nn.Sequential(nn.Residual(nn.Dense(3, 3)))
    step = cr.look.explain(net, np.ones((1, 3)), np.ones((1, 3)), "mse")
    assert step.gradient_of("0.inner").shape == (1, 3)
    with pytest.raises(cr.ArgumentError, match=r'no layer or parameter "0.iner"; did you mean "0.inner"'):
        step.gradient_of("0.iner")
    with pytest.raises(cr.ArgumentError, match="there is no call 4"):
        step.gradient_of("0", call=4)
    for wrong in ({"breadth": 0}, {"most": -1}, {"breadth": 2.5}):
        with pytest.raises(cr.ArgumentError, match="must be an integer of at least 1"):
            step.path("0.inner.weight", (0, 0), **wrong)


def test_a_negative_index_counts_from_the_end() -> None:
    step = cr.look.explain(small(), np.ones((1, 3)), np.ones((1, 2)), "mse")
    assert step.path("0.weight", (-1, -1)).index == (2, 3)
    assert step.path("2.bias", -1).index == (1,)


def test_a_parameter_that_the_network_does_not_use_is_named() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            self.used, self.spare = nn.Dense(2, 2), nn.Dense(2, 2)

        def __call__(self, x: Any) -> Any:
            return self.used(x)

    step = cr.look.explain(Unused(), np.ones((1, 2)), np.ones((1, 2)), "mse")
    with pytest.raises(cr.GradientError, match=r'does not depend on "spare\.weight"'):
        step.path("spare.weight", (0, 0))


def test_a_network_that_fails_leaves_its_modes_and_parameters() -> None:
    net = nn.Sequential(nn.Dense(3, 4), nn.BatchNorm(4)).eval()
    with pytest.raises(cr.ShapeError, match="one row has no variance"):
        cr.look.explain(net, np.ones((1, 3)), np.ones((1, 4)), "mse", training=True)
    assert not net.training
    assert net[0].weight.dtype == np.float32
