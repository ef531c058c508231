"""Explain where numbers are at their limits: not finite, rounded away in float32, or with names that do not fit."""

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
