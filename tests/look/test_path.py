"""The path tree: on random networks over every kind of layer every sum in it adds up, to the gradient at the end."""

import math
import re

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.look.explaining.path import Branch, Tree
from look.random_networks import problem


def sums_add_up(tree: Tree) -> None:
    for branch in tree.all_branches():
        if branch.is_open:
            below = sum(each.contribution for each in branch.branches) + branch.rest
            size = sum(abs(each.contribution) for each in branch.branches) + abs(branch.rest)
            assert below == pytest.approx(branch.contribution, rel=1e-6, abs=1e-12 * size), branch.place


def element_of(rng: np.random.Generator, gradient: np.ndarray) -> tuple[int, ...]:
    """An element, one with a gradient if there is any."""
    alive = np.argwhere(gradient != 0)
    chosen = alive[rng.integers(len(alive))] if len(alive) else [rng.integers(n) for n in gradient.shape]
    return tuple(int(i) for i in chosen)


@pytest.mark.parametrize("seed", range(200))
def test_contributions_sum_to_the_gradient(seed: int) -> None:
    given, rng = problem(seed), np.random.default_rng(seed)
    step = cr.look.explain(given.net, given.x, given.y, given.loss)
    name = str(rng.choice(list(step.gradients)))
    index = element_of(rng, step.gradients[name])
    tree = step.path(name, index, breadth=int(rng.integers(1, 5)), most=int(rng.integers(1, 40)))
    scale = float(np.abs(step.gradients[name]).max())
    assert tree.total == pytest.approx(tree.gradient, rel=1e-6, abs=1e-12 * scale)
    sums_add_up(tree)
    # The engine's own number, in the network's float32: rounding of numbers of size 1 that cancel.
    assert tree.gradient == pytest.approx(float(step.gradients[name][index]), rel=1e-3, abs=1e-6 * max(scale, 1))


@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_in_float64_the_path_is_the_gradient_of_backpropagate(seed: int) -> None:
    given, rng = problem(seed), np.random.default_rng(seed)
    for _, module in given.net.named_modules().items():
        for key, value in list(vars(module).items()):
            if isinstance(value, cr.Parameter):
                setattr(module, key, cr.Parameter(value.value.astype(np.float64)))
    given.net.eval()  # so that the same step can be made by hand, without its random numbers
    x = given.x.astype(np.float64) if given.x.dtype.kind == "f" else given.x
    y = given.y.astype(np.float64) if given.y.dtype.kind == "f" else given.y
    step = cr.look.explain(given.net, x, y, given.loss)
    loss = given.loss if callable(given.loss) else getattr(cr.losses, given.loss)
    gradients = cr.backpropagate(loss(given.net(x), y))
    for name, parameter in given.net.named_parameters():
        if parameter in gradients:
            exact = np.asarray(gradients[parameter])
            index = element_of(rng, exact)
            scale = float(np.abs(exact).max())
            assert step.path(name, index).total == pytest.approx(float(exact[index]), rel=1e-6, abs=1e-12 * scale)


def along(tree: Tree) -> list[Branch]:
    """The branches of the largest contributions from the loss on."""
    branches = [tree.root]
    while branches[-1].branches:
        branches.append(branches[-1].branches[0])
    return branches


def test_the_factors_of_one_path_multiply_to_its_contribution() -> None:
    cr.random.seed(0)
    net = nn.Sequential(nn.Dense(3, 4, activation="tanh"), nn.Dense(4, 2))
    tree = cr.look.explain(net, np.ones((1, 3)), [1], "cross_entropy").path("0.weight", (2, 1), breadth=2, most=50)
    branches = along(tree)
    assert [branch.place for branch in branches] == ["loss", *(b.place for b in branches[1:-1]), "0.weight[2, 1]"]
    product = math.prod(branch.factor for branch in branches)
    assert product == pytest.approx(branches[-1].contribution, rel=1e-12)
    assert branches[-1].slope == 1


def test_the_factors_are_the_weights_and_inputs_that_they_are_said_to_be(rng: np.random.Generator) -> None:
    net = nn.Sequential(nn.Dense(3, 4), nn.Tanh(), nn.Dense(4, 2))
    x = rng.standard_normal((1, 3)).astype(np.float32)
    tree = cr.look.explain(net, x, [0], "cross_entropy").path("0.weight", (2, 1), most=50)
    loss, guess, bent, hidden, weight = along(tree)
    assert loss.contribution == pytest.approx(tree.gradient)
    output = int(guess.place.split(", ")[1].rstrip("]"))
    assert bent.meaning == f"the weight 2.weight[1, {output}]"
    assert bent.factor == pytest.approx(float(net[2].weight.value[1, output]), rel=1e-6)
    z = float((x @ net[0].weight.value + net[0].bias.value)[0, 1])
    assert hidden.factor == pytest.approx(1 - math.tanh(z) ** 2, rel=1e-5)
    assert "1 − a²" in hidden.meaning
    assert weight.meaning == "the input x[0, 2]"
    assert weight.factor == pytest.approx(float(x[0, 2]), rel=1e-6)


def test_contributions_are_sorted_and_the_breadth_is_kept() -> None:
    given = problem(3)
    step = cr.look.explain(given.net, given.x, given.y, given.loss)
    name, gradient = next(iter(step.gradients.items()))
    index = element_of(np.random.default_rng(0), gradient)
    for branch in step.path(name, index, breadth=2).all_branches():
        sizes = [abs(each.contribution) for each in branch.branches]
        assert len(sizes) <= 2
        assert sizes == sorted(sizes, reverse=True)


def test_a_deep_network_is_unfolded_without_recursion() -> None:
    cr.random.seed(1)
    net = nn.Sequential(*(nn.Residual(nn.Dense(2, 2, activation="tanh")) for _ in range(150)), nn.Dense(2, 1))
    tree = cr.look.explain(net, np.ones((2, 2)), np.zeros((2, 1)), "mse").path("0.inner.weight", (0, 0), most=700)
    assert tree.total == pytest.approx(tree.gradient, rel=1e-6)
    assert str(tree)
    assert tree.to_html()
    assert tree.to_dict()["total"] == tree.total


@pytest.mark.parametrize(
    ("net", "x", "name", "index", "reason"),
    [
        (nn.Sequential(nn.Dense(2, 2)), [[0.0, 1.0]], "0.weight", (0, 0), r"input x\[…, 0\] .* is 0 in every example"),
        (nn.Sequential(nn.Embedding(4, 2), nn.Flatten()), [[1]], "0.weight", (3, 0), "row 3 is not looked up"),
        (
            nn.Sequential(nn.Dense(2, 2, init="zeros"), nn.Lambda(lambda x: x - 1), nn.ReLU()),
            [[1.0, 1.0]],
            "0.weight",
            (0, 0),
            r"ends at 2 \(ReLU\(\)\), whose derivative is 0 there in every example: × 1 where z > 0",
        ),
    ],
)
def test_a_gradient_of_zero_is_explained(net: nn.Module, x: list, name: str, index: tuple, reason: str) -> None:
    tree = cr.look.explain(net, np.array(x), np.ones((1, 2)), "mse").path(name, index)
    assert tree.gradient == 0
    assert tree.total == 0
    assert re.search(reason, tree.dead_end)
    assert tree.dead_end in " ".join(str(tree).split())
