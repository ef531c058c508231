"""Explain where numbers are at their limits: not finite, rounded away in float32, or with names that do not fit."""

import functools
import json
import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from oracle import Oracle, Results


def flat(text: object) -> str:
    return " ".join(str(text).split())


def logarithm(x: cr.Tensor) -> cr.Tensor:
    return cr.log(cr.maximum(x, 0))


def root(x: cr.Tensor) -> cr.Tensor:
    return cr.sqrt(cr.maximum(x, 0))


def told(step: cr.look.Explanation) -> None:
    """Every view says where it began, and none says anything of the slope."""
    assert step.began in flat(step)
    assert step.to_dict()["began"] == step.began
    page = step.to_html()
    assert 'class="bad"' in page
    for view in (flat(step), page):
        assert "its slope promises nothing" in view
        assert "of what the slope promised" not in view
        assert "nan%" not in view


def test_data_that_is_not_finite_is_named_with_its_example() -> None:
    net = nn.Sequential(nn.Dense(2, 3, activation="relu"), nn.Dense(3, 1))
    x = np.array([[1.0, 2.0], [3.0, 1.0], [math.nan, 1.0]])
    labels = cr.look.Labels(examples=("a", "b", "line 9"))
    step = cr.look.explain(net, x, np.ones((3, 1)), "mse", "adam", check=True, labels=labels)
    told(step)
    assert "The loss became nan. It began with input = nan in the forward pass" in step.began
    assert "example 2 of the batch" in step.began
    assert "Example 2 is line 9." in step.began
    assert step.checks == ()
    assert "No numeric gradients" in step.began


def test_an_op_that_gives_no_number_is_named_with_its_layer() -> None:
    net = nn.Sequential(nn.Dense(2, 2, init="zeros"), nn.Lambda(logarithm), nn.Dense(2, 1))
    optimizer = cr.optim.Adam(0.1)
    step = cr.look.explain(net, np.ones((2, 2)), np.ones((2, 1)), "mse", optimizer)
    told(step)
    assert 'It began with log(0) = -inf in the forward pass of layer "1"' in step.began
    assert not optimizer._slots, "looking gives the optimizer no memory"


def test_a_gradient_that_is_not_finite_is_named_although_the_loss_is_finite() -> None:
    net = nn.Sequential(nn.Dense(2, 1, init="zeros"), nn.Lambda(root))
    step = cr.look.explain(net, np.ones((2, 2)), np.ones((2, 1)), "mse")
    assert step.loss.value == 1
    told(step)
    assert "It began with" in step.began
    assert "in the backpropagation" in step.began
    assert "(the gradient of sqrt)" in step.began


def test_a_loss_beyond_float32_promises_nothing_although_float64_holds_it() -> None:
    net = nn.Sequential(nn.Dense(1, 1))
    net[0].weight.assign([[1e30]])
    step = cr.look.explain(net, [[1.0]], [[0.0]], "mse")
    told(step)
    assert step.exact_loss == pytest.approx(1e60, rel=1e-6)
    assert "the step itself computes in float32, where it is ∞" in flat(step)


def steep(guess: cr.Tensor, target: cr.Tensor) -> cr.Tensor:
    """Falls to the left of 0 with the slope 1, and soon rises."""
    return cr.sum(cr.exp(-guess) + cr.exp(2 * guess))


def test_a_step_that_ends_in_no_number_is_too_long() -> None:
    net = nn.Sequential(nn.Dense(1, 1, init="zeros", bias=False))
    step = cr.look.explain(net, [[1.0]], [[0.0]], steep, cr.optim.SGD(1e4))
    assert step.began == ""
    assert math.isinf(step.update.loss_after)
    assert "After the step the loss is not finite: the step is too long." in flat(step)


def test_a_step_of_finite_numbers_has_no_beginning() -> None:
    step = cr.look.explain(nn.Dense(2, 1), np.ones((2, 2)), np.ones((2, 1)), "mse")
    assert step.began == ""
    assert 'class="bad"' not in step.to_html()


LOGITS = np.array([[14.7, -3.78, -20.6]])


def sure() -> cr.look.Explanation:
    """A step whose guess is right and so sure that float32 rounds its loss to 0."""
    return cr.look.explain(nn.Sequential(fixed()), np.ones((1, 1)), [0], "cross_entropy", check=True)


def fixed() -> nn.Dense:
    layer = nn.Dense(1, 3)
    layer.weight.assign(LOGITS)
    return layer


def test_one_page_shows_one_loss(oracle: Oracle) -> None:
    def with_torch() -> Results:
        import torch

        logits = torch.tensor(LOGITS.astype(np.float32).astype(np.float64), requires_grad=True)
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor([0]))
        loss.backward()
        return {"loss": loss.detach().numpy(), "gradient": logits.grad.numpy()}

    wanted = oracle("sure", with_torch)
    step = sure()
    assert step.loss.value == 0, "float32 rounds it away, else this shows nothing"
    assert step.exact_loss == pytest.approx(float(wanted["loss"]), rel=1e-7)
    assert step.update.loss_before == step.exact_loss
    text = flat(step)
    written = f"{float(wanted['loss']):.6g}".replace("e-0", "e−")
    assert f"loss = {written} computed in float64; the step itself computes in float32, where it is 0" in text
    assert f"loss {written} → " in text
    assert written in step.to_html()
    assert "where it is 0" in step.to_html()
    (exact,) = (check.exact for check in step.checks if (check.name, check.index) == ("0", (0, 0)))
    assert exact == pytest.approx(float(wanted["gradient"][0, 0]), rel=1e-6)


def test_the_check_says_in_which_type_it_is_made() -> None:
    step = sure()
    assert step.gradient_of("0")[0, 0] == 0, "the step itself rounds it away"
    lines = [line for line in str(step).splitlines() if "numeric 0[0, 0]" in line]
    assert lines
    assert all("(float64)" in line and "✓" in line for line in lines)
    assert "(float64)" in step.to_html()


def test_what_is_not_rounded_away_has_no_note() -> None:
    step = cr.look.explain(nn.Dense(2, 1), np.ones((2, 2)), np.ones((2, 1)), "mse")
    assert "computed in float64" not in flat(step)
    assert "computed in float64" not in step.to_html()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"inputs": ["a"]}, r"inputs holds 1 name, but the shape of x is \(2, 13\): 13 columns"),
        ({"outputs": ["b"]}, r"outputs holds 1 name, but the shape of the guesses is \(2, 3\): 3 columns"),
        ({"outputs": list("abcd")}, "outputs holds 4 names, .* 3 columns"),
        ({"examples": ["row"]}, "examples holds 1 name, but x has 2 rows"),
    ],
)
def test_names_that_do_not_fit_are_refused(names: dict[str, list[str]], message: str) -> None:
    labels = cr.look.Labels(**{kind: tuple(each) for kind, each in names.items()})
    with pytest.raises(cr.ArgumentError, match=message):
        cr.look.explain(nn.Dense(13, 3), np.ones((2, 13)), [0, 1], "cross_entropy", labels=labels)


def test_names_of_columns_need_columns() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dense(4, 1))
    labels = cr.look.Labels(inputs=("left", "right"))
    with pytest.raises(cr.ArgumentError, match=r"inputs holds 2 names, but the shape of x is \(1, 2, 2\): 3 axes"):
        cr.look.explain(net, np.ones((1, 2, 2)), np.ones((1, 1)), "mse", labels=labels)


# --- Questions about a step that is not finite -------------------------------------------------------------------


def one_bad_row(bad: float) -> cr.look.Explanation:
    """Three rows, of which the last is not finite."""
    net = nn.Sequential(nn.Dense(2, 3, activation="tanh"), nn.Dense(3, 2))
    x = np.array([[1.0, 2.0], [3.0, -1.0], [bad, 1.0]])
    labels = cr.look.Labels(examples=("a", "b", "line 9"))
    return cr.look.explain(net, x, [0, 1, 0], "cross_entropy", check=True, labels=labels)


@pytest.mark.parametrize("question", ["path", "examples"])
def test_the_answer_about_a_weight_says_what_is_not_finite_and_where_it_began(question: str) -> None:
    answer = getattr(one_bad_row(math.nan), question)("1.bias", 0)
    assert answer.began.startswith("The loss became nan. It began with input = nan in the forward pass")
    assert "No numeric gradients" not in answer.began
    assert answer.to_dict()["began"] == answer.began
    json.dumps(answer.to_dict(), allow_nan=False)
    for view in (flat(answer), answer.to_html()):
        assert answer.began in view
        assert "gradient descent will" not in view
    assert max(map(len, str(answer).splitlines())) <= 80


@pytest.mark.parametrize("question", ["path", "examples"])
def test_a_gradient_that_only_float64_holds_is_told_as_that(question: str) -> None:
    net = nn.Sequential(nn.Dense(1, 1))
    net[0].weight.assign([[1e30]])
    answer = getattr(cr.look.explain(net, [[1e10]], [[0.0]], "mse"), question)("0.weight", (0, 0))
    assert answer.gradient == pytest.approx(2e50, rel=1e-6)
    assert "In float32, in which the step computes, it is ∞. The loss became inf. It began with" in flat(answer)


def test_a_number_beyond_float32_in_the_data_gives_no_warning_of_numpy() -> None:
    found = one_bad_row(1e300).examples("0.weight", (0, 0))
    assert "It began with input = inf" in found.began


def test_the_tree_shows_first_what_is_not_finite_and_opens_what_is() -> None:
    step = one_bad_row(math.nan)
    tree = step.path("1.bias", 0, breadth=2)
    assert [branch.place for branch in tree.root.branches[:1]] == ["line 9"]
    assert not tree.root.branches[0].is_open
    assert tree.root.branches[1].is_open
    alone = cr.look.explain(step.net, step.x[:2], step.y[:2], "cross_entropy").path("1.bias", 0)
    found = {branch.place: branch.contribution for branch in alone.root.branches}
    finite = tree.root.branches[1]
    assert finite.contribution == pytest.approx(found[f"example {'ab'.index(finite.place)}"] * 2 / 3)  # of three rows
    assert sum(not math.isfinite(branch.contribution) for branch in tree.all_branches()) == 2  # the loss, and the row
    assert "add up to" not in str(tree) + tree.to_html()


def test_examples_that_are_not_finite_are_told_apart_from_those_that_push() -> None:
    found = one_bad_row(math.nan).examples("1.bias", 0)
    assert [row for row, _ in found.not_finite()] == [2]
    assert sorted(row for row, _ in (*found.up(), *found.down())) == [0, 1]
    assert "✗ not finite line 9 NaN" in flat(found)
    assert "✗ not finite" in found.to_html()
    assert found.coupled_by == (), "a row that is NaN meets no other in an elementwise layer"


def squares(guess: cr.Tensor, target: cr.Tensor) -> cr.Tensor:
    return cr.mean((guess - target) ** 2)


@pytest.mark.parametrize("loss", ["mse", squares], ids=["built in", "of the user's"])
def test_infinite_contributions_are_no_bars(loss) -> None:
    net = nn.Sequential(nn.Dense(1, 1, init="zeros", bias=False))
    net[0].weight = cr.Parameter(np.array([[1.0]]))
    step = cr.look.explain(net, np.array([[1e200], [1.0]]), np.array([[-1e200], [3.0]]), loss)
    assert math.isinf(step.loss.value)
    found = step.examples("0.weight", (0, 0))
    assert found.not_finite() == [(0, math.inf)]
    assert found.up() == [(1, -2.0)]
    assert "it cannot be moved by that" in flat(found)
    assert "∞" in found.to_html()
    assert "∞" in step.path("0.weight", (0, 0)).to_html()


def test_a_poisson_loss_beyond_all_numbers_is_told() -> None:
    net = nn.Sequential(nn.Dense(1, 1, init="zeros", bias=False))
    net[0].weight.assign([[1000.0]])
    step = cr.look.explain(net, [[1.0]], [[2.0]], "poisson")
    assert math.isinf(step.loss.value)
    assert "exp(1000) − 2·1000 = ∞" in flat(step)


def test_the_strongest_inputs_begin_with_those_that_are_not_finite() -> None:
    net = nn.Sequential(nn.Lambda(root), nn.Dense(2, 1, init=functools.partial(nn.initializers.constant, value=1.0)))
    step = cr.look.explain(net, np.array([[4.0, 0.0]]), np.ones((1, 1)), "mse")
    (first, value), *_ = step.sensitivity().strongest(2)
    assert first == (0, 1)
    assert not math.isfinite(value)
