"""Which examples pushed a weight: contributions are the examples' own gradients where nothing couples them."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from look.random_networks import problem


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_contributions_add_up_to_the_gradient(seed: int) -> None:
    given = problem(seed)
    step = cr.look.explain(given.net, given.x, given.y, given.loss)
    for name, gradient in step.gradients.items():
        index = tuple(int(i) for i in np.unravel_index(np.abs(gradient).argmax(), gradient.shape))
        examples = step.examples(name, index)
        assert len(examples.contributions) == len(given.x)
        total = examples.contributions.sum() + examples.direct
        assert total == pytest.approx(examples.gradient, rel=1e-6, abs=1e-12)


def test_without_coupling_each_contribution_is_the_gradient_of_that_example_alone(rng: np.random.Generator) -> None:
    net = nn.Sequential(nn.Dense(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Dense(4, 3))
    x, y = rng.standard_normal((6, 3)), rng.integers(0, 3, 6)
    examples = cr.look.explain(net, x, y, "cross_entropy").examples("0.weight", (1, 2))
    assert examples.separable
    for row in range(6):
        alone = cr.look.explain(net, x[row], y[row], "cross_entropy").gradient_of("0.weight")[1, 2] / 6
        assert examples.contributions[row] == pytest.approx(float(alone), rel=1e-4, abs=1e-8)


def test_batch_norm_couples_examples_in_training_alone(rng: np.random.Generator) -> None:
    net = nn.Sequential(nn.Dense(3, 4), nn.BatchNorm(4), nn.Tanh(), nn.Dense(4, 2))
    x, y = rng.standard_normal((6, 3)), rng.integers(0, 2, 6)
    training = cr.look.explain(net, x, y, "cross_entropy", training=True).examples("0.weight", (0, 0))
    assert training.coupled_by == ('BatchNorm "1"',)
    assert 'Examples meet in BatchNorm "1"' in str(training)
    assert cr.look.explain(net, x, y, "cross_entropy", training=False).examples("0.weight", (0, 0)).separable


def test_a_layer_of_the_users_that_couples_examples_is_found_by_asking_for_the_derivative() -> None:
    net = nn.Sequential(nn.Dense(2, 2), nn.Lambda(lambda x: x - cr.mean(x, axis=0), name="centred"), nn.Dense(2, 1))
    step = cr.look.explain(net, np.arange(8.0).reshape(4, 2), np.arange(4.0)[:, None], "mse")
    assert step.examples("0.weight", (0, 0)).coupled_by == ('Lambda "1"',)


def test_a_penalty_on_the_weights_reaches_them_directly() -> None:
    net = nn.Sequential(nn.Dense(2, 1, bias=False))

    def penalised(guess: cr.Tensor, target: cr.Tensor) -> cr.Tensor:
        return cr.mean(cr.square(guess - target)) + cr.sum(cr.square(net[0].weight)) * 0.5

    step = cr.look.explain(net, np.ones((3, 2)), np.zeros((3, 1)), penalised)
    examples = step.examples("0.weight", (1, 0))
    assert examples.direct == pytest.approx(float(net[0].weight.value[1, 0]), rel=1e-6)
    tree = step.path("0.weight", (1, 0), breadth=5)
    assert tree.total == pytest.approx(tree.gradient, rel=1e-6)
    assert any(branch.meaning == "the loss reads it directly" for branch in tree.all_branches())


def test_the_strongest_come_first_and_push_the_way_they_are_said_to() -> None:
    net = nn.Sequential(nn.Dense(1, 1, init="zeros", bias=False))
    x, y = np.array([[1.0], [2.0], [1.0], [0.0]]), np.array([[3.0], [1.0], [-2.0], [5.0]])
    examples = cr.look.explain(net, x, y, "mse").examples("0.weight", (0, 0))
    assert examples.up() == [(0, -1.5), (1, -1.0)]  # -2·x·y / 4
    assert examples.down() == [(2, 1.0)]
    assert "example 0" in str(examples)
    assert examples.to_dict()["contributions"] == [-1.5, -1.0, 1.0, 0.0]


def test_a_weight_that_no_example_pushes_is_told_with_what_stopped_it() -> None:
    net = nn.Sequential(nn.Dense(1, 1), nn.ReLU(), nn.Dense(1, 1))
    net[0].weight.assign([[-1.0]])
    step = cr.look.explain(net, np.array([[1.0], [2.0]]), np.ones((2, 1)), "mse")
    examples = step.examples("0.weight", (0, 0))
    assert examples.dead_end == step.path("0.weight", (0, 0)).dead_end != ""
    assert "ends at 1 (ReLU()), whose derivative is 0" in " ".join(str(examples).split())
    assert "the other" not in str(examples)
    assert "whose derivative is 0" in examples.to_html()
    assert examples.to_dict()["dead_end"] == examples.dead_end
    assert step.examples("2.bias", 0).dead_end == ""


def test_contributions_that_cancel_are_no_dead_end() -> None:
    net = nn.Sequential(nn.Dense(1, 1, init="zeros", bias=False))
    step = cr.look.explain(net, np.ones((3, 1)), np.array([[1.0], [-1.0], [0.0]]), "mse")
    examples = step.examples("0.weight", (0, 0))
    assert (examples.gradient, examples.dead_end) == (0, "")
    assert "the other example 0" in str(examples)


def test_guesses_without_rows_are_refused() -> None:
    net = nn.Sequential(nn.Dense(2, 2), nn.Lambda(lambda x: cr.sum(x, axis=0)))
    step = cr.look.explain(net, np.ones((3, 2)), np.ones(3), lambda guess, target: cr.sum(guess))
    with pytest.raises(cr.ArgumentError, match=r"x has 3 rows, but the guesses have the shape \(2,\)"):
        step.examples("0.weight", (0, 0))


def test_sensitivity_is_the_gradient_of_the_input(rng: np.random.Generator) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dense(12, 3))
    x, y = rng.standard_normal((2, 3, 4)), np.array([0, 2])
    found = cr.look.explain(net, x, y, "cross_entropy").sensitivity()
    tensor = cr.asarray(x, dtype=cr.float32)
    (expected,) = cr.backpropagate(cr.losses.cross_entropy(net(tensor), y), wrt=[tensor])
    assert np.allclose(found.gradient, np.asarray(expected), atol=1e-7)
    place, value = found.strongest(1)[0]
    assert abs(value) == pytest.approx(float(np.abs(found.gradient).max()))
    assert found.gradient[place] == pytest.approx(value)
    assert all(place[0] == 1 for place, _ in found.strongest(3, row=1))


def test_the_picture_of_a_sensitivity_is_a_png_whose_colours_tell_the_sign() -> None:
    import io

    from PIL import Image

    gradient = np.array([[[1.0, -0.5], [0.0, 0.25]]])
    found = type(cr.look.explain(nn.Dense(2, 1), np.ones((1, 2)), np.ones((1, 1)), "mse").sensitivity())(
        gradient, gradient
    )
    with Image.open(io.BytesIO(found.picture(scale=1))) as picture:
        pixels = np.asarray(picture).astype(int)
    assert pixels[0, 0, 0] > pixels[0, 0, 2]  # orange: more red than blue
    assert pixels[0, 1, 2] > pixels[0, 1, 0]  # blue
    assert pixels[1, 0].tolist() == [255, 255, 255]
    assert "data:image/png;base64," in found._repr_html_()
    with pytest.raises(cr.ArgumentError, match="there is no example 3"):
        found.image(3)
    with pytest.raises(cr.ArgumentError, match="does not hold the 4 elements"):
        found.image(0, (3, 3))
