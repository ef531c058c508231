"""Optimizers: trajectories against torch.optim, which parameters move, limits, names, and wrong arguments."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.nn.optimizers import OPTIMIZERS, SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop, get_optimizer
from chainrule.nn.schedules import Cosine, Exponential, OneCycle, Plateau, Step, WarmUp
from nn.small_problem import MAKES, loss_of, moved, parameters, problem

STEPS = 50
KEPT = [0, 1, 2, 9, 24, 49]  # the steps whose parameters are compared


def trajectory(optimizer: Optimizer, dtype: str) -> dict[str, np.ndarray]:
    """Where `STEPS` updates lead; a Plateau is told of every loss."""
    weight, bias = parameters(dtype)
    places: list[list[np.ndarray]] = [[], []]
    for _ in range(STEPS):
        loss = loss_of(weight, bias, problem(dtype)["x"], problem(dtype)["y"])
        optimizer.update(cr.backpropagate(loss))
        if isinstance(optimizer.learning_rate, Plateau):
            optimizer.learning_rate.observe(loss)
        for place, parameter in zip(places, (weight, bias), strict=True):
            place.append(parameter.value)
    return {name: np.stack(place)[KEPT] for name, place in zip(("weight", "bias"), places, strict=True)}


@dataclass(frozen=True)
class Case:
    """One of our optimizers, and the same in PyTorch with its scheduler and what it does to gradients."""

    ours: Callable[[], Optimizer]
    torch: Callable[[Any, Any], Any]
    scheduler: Callable[[Any, Any], Any] | None = None
    clip: Callable[[Any, Any], Any] = field(default=lambda utils, parameters: None)

    def torch_trajectory(self, dtype: str) -> dict[str, np.ndarray]:
        import torch

        arrays = {name: torch.tensor(array) for name, array in problem(dtype).items()}
        moving = [arrays["weight"].requires_grad_(), arrays["bias"].requires_grad_()]
        optimizer = self.torch(torch.optim, moving)
        scheduler = self.scheduler(torch.optim.lr_scheduler, optimizer) if self.scheduler else None
        places: list[list[np.ndarray]] = [[], []]
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = ((torch.tanh(arrays["x"] @ moving[0] + moving[1]) - arrays["y"]) ** 2).mean()
            loss.backward()
            self.clip(torch.nn.utils, moving)
            optimizer.step()
            if scheduler is not None:
                follows_the_loss = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
                scheduler.step(*([loss.item()] if follows_the_loss else []))
            for place, parameter in zip(places, moving, strict=True):
                place.append(parameter.detach().numpy().copy())
        return {name: np.stack(place)[KEPT] for name, place in zip(("weight", "bias"), places, strict=True)}


def each_norm(utils: Any, moving: Any) -> None:
    for parameter in moving:
        utils.clip_grad_norm_([parameter], 0.05)


CASES = {
    "sgd": Case(lambda: SGD(0.3), lambda optim, p: optim.SGD(p, lr=0.3)),
    "sgd, decay": Case(lambda: SGD(0.3, weight_decay=0.1), lambda optim, p: optim.SGD(p, lr=0.3, weight_decay=0.1)),
    "momentum": Case(lambda: SGD(0.1, momentum=0.9), lambda optim, p: optim.SGD(p, lr=0.1, momentum=0.9)),
    "nesterov, decay": Case(
        lambda: SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda optim, p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "adagrad": Case(lambda: Adagrad(0.1), lambda optim, p: optim.Adagrad(p, lr=0.1)),
    "adagrad, decay": Case(
        lambda: Adagrad(0.1, epsilon=1e-3, weight_decay=0.1),
        lambda optim, p: optim.Adagrad(p, lr=0.1, eps=1e-3, weight_decay=0.1),
    ),
    "rmsprop": Case(lambda: RMSprop(0.01), lambda optim, p: optim.RMSprop(p, lr=0.01)),
    "rmsprop, centered": Case(
        lambda: RMSprop(0.01, decay=0.9, epsilon=1e-4, centered=True),
        lambda optim, p: optim.RMSprop(p, lr=0.01, alpha=0.9, eps=1e-4, centered=True),
    ),
    "rmsprop, momentum, decay": Case(
        lambda: RMSprop(0.01, momentum=0.8, weight_decay=0.05),
        lambda optim, p: optim.RMSprop(p, lr=0.01, momentum=0.8, weight_decay=0.05),
    ),
    "adam": Case(lambda: Adam(0.05), lambda optim, p: optim.Adam(p, lr=0.05)),
    "adam, all its settings": Case(
        lambda: Adam(0.05, beta1=0.8, beta2=0.95, epsilon=1e-3, weight_decay=0.1),
        lambda optim, p: optim.Adam(p, lr=0.05, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1),
    ),
    "adam without means": Case(
        lambda: Adam(0.05, beta1=0.0, beta2=0.0), lambda optim, p: optim.Adam(p, lr=0.05, betas=(0.0, 0.0))
    ),
    "adamw": Case(lambda: AdamW(0.05), lambda optim, p: optim.AdamW(p, lr=0.05)),
    "adamw, decay": Case(
        lambda: AdamW(0.05, weight_decay=0.5), lambda optim, p: optim.AdamW(p, lr=0.05, weight_decay=0.5)
    ),
    "step": Case(
        lambda: Adam(Step(0.1, every=15, factor=0.3)),
        lambda optim, p: optim.Adam(p, lr=0.1),
        lambda schedule, o: schedule.StepLR(o, step_size=15, gamma=0.3),
    ),
    "exponential": Case(
        lambda: SGD(Exponential(0.3, factor=0.95), momentum=0.5),
        lambda optim, p: optim.SGD(p, lr=0.3, momentum=0.5),
        lambda schedule, o: schedule.ExponentialLR(o, gamma=0.95),
    ),
    "cosine": Case(
        lambda: AdamW(Cosine(0.1, steps=STEPS), weight_decay=0.1),
        lambda optim, p: optim.AdamW(p, lr=0.1, weight_decay=0.1),
        lambda schedule, o: schedule.CosineAnnealingLR(o, T_max=STEPS),
    ),
    "one cycle": Case(
        lambda: RMSprop(OneCycle(0.05, steps=STEPS + 1), epsilon=1e-3),
        lambda optim, p: optim.RMSprop(p, lr=0.05, eps=1e-3),
        lambda schedule, o: schedule.OneCycleLR(o, max_lr=0.05, total_steps=STEPS + 1, cycle_momentum=False),
    ),
    "warm-up": Case(
        lambda: Adagrad(WarmUp(9, 0.2)),
        lambda optim, p: optim.Adagrad(p, lr=0.2),
        lambda schedule, o: schedule.LinearLR(o, start_factor=0.1, total_iters=9),
    ),
    "plateau": Case(
        lambda: SGD(Plateau(3.0, patience=0, factor=0.5)),
        lambda optim, p: optim.SGD(p, lr=3.0),
        lambda schedule, o: schedule.ReduceLROnPlateau(o, patience=0, factor=0.5),
    ),
    "clipped by value": Case(
        lambda: SGD(0.3, clip_value=0.02),
        lambda optim, p: optim.SGD(p, lr=0.3),
        clip=lambda utils, p: utils.clip_grad_value_(p, 0.02),
    ),
    "clipped by norm": Case(
        lambda: SGD(0.3, clip_norm=0.05, momentum=0.5),
        lambda optim, p: optim.SGD(p, lr=0.3, momentum=0.5),
        clip=each_norm,
    ),
    "clipped by global norm": Case(
        lambda: Adam(0.05, epsilon=1e-3, clip_global_norm=0.1, weight_decay=0.1),
        lambda optim, p: optim.Adam(p, lr=0.05, eps=1e-3, weight_decay=0.1),
        clip=lambda utils, p: utils.clip_grad_norm_(p, 0.1),
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_fifty_steps_lead_where_pytorch_goes(name: str, dtype: str, oracle) -> None:
    expected = oracle(f"{name} {dtype}", lambda: CASES[name].torch_trajectory(dtype))
    close = {"rtol": 2e-5, "atol": 5e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-12}
    for key, places in trajectory(CASES[name].ours(), dtype).items():
        assert places.dtype == np.dtype(dtype)
        np.testing.assert_allclose(places, expected[key], **close)


# --- Which parameters move ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKES)
def test_a_parameter_without_a_gradient_stays_where_it_is(name: str) -> None:
    weight, bias = parameters()
    optimizer = MAKES[name]()
    moved([weight, bias], optimizer, 2)
    before, slots = bias.value, {key: array for key, array in optimizer.arrays().items() if key.startswith("bias")}
    gradients = cr.backpropagate(cr.sum(weight**2))
    optimizer.update(gradients)
    np.testing.assert_array_equal(bias, before)
    for key, array in slots.items():
        np.testing.assert_array_equal(optimizer.arrays()[key], array)
    assert optimizer.step_count.item() == 3


@pytest.mark.parametrize("when", ["before the gradient", "after the gradient"])
def test_a_frozen_parameter_neither_moves_nor_decays(when: str) -> None:
    weight, bias = parameters()
    before, optimizer = bias.value, AdamW(0.1, weight_decay=0.5)
    bias.trainable = when != "before the gradient"
    gradients = cr.backpropagate(loss_of(weight, bias, problem()["x"], problem()["y"]))
    bias.trainable = False
    optimizer.update(gradients)
    np.testing.assert_array_equal(bias, before)
    assert not any(name.startswith("bias") for name in optimizer.arrays())


def test_an_update_without_gradients_counts() -> None:
    optimizer = Adam(clip_global_norm=1.0)
    optimizer.update({})
    assert optimizer.step_count.item() == 1


def test_parameters_of_both_precisions_move_together() -> None:
    single, double = cr.Parameter(np.ones(2, "f"), "single"), cr.Parameter(np.ones(2), "double")
    optimizer = AdamW(0.1, clip_global_norm=1.0)
    for _ in range(3):
        optimizer.update({single: cr.asarray(np.ones(2, "f")), double: cr.asarray(np.ones(2))})
    assert (single.dtype, double.dtype) == (cr.float32, cr.float64)
    np.testing.assert_allclose(single, double, rtol=1e-6)


def test_a_parameter_of_no_elements_and_a_scalar_move_too() -> None:
    empty, scalar = cr.Parameter(np.zeros((0, 3)), "empty"), cr.Parameter(np.float64(2), "scalar")
    SGD(0.5, clip_norm=10.0, clip_global_norm=10.0).update(
        {empty: cr.zeros((0, 3), dtype=cr.float64), scalar: scalar * 1}
    )
    assert empty.shape == (0, 3)
    assert scalar.item() == 1.0


# --- Numbers at their limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", ["clip_norm", "clip_global_norm"])
@pytest.mark.parametrize("size", [1e30, 3e38])
def test_a_norm_whose_square_overflows_float32_is_clipped_to_its_bound(bound: str, size: float) -> None:
    weight = cr.Parameter(np.zeros(4, "f"))
    SGD(1.0, **{bound: 2.0}).update({weight: cr.asarray(np.full(4, size, "f"))})
    np.testing.assert_allclose(weight, np.full(4, -1.0), rtol=1e-6)


@pytest.mark.parametrize("bound", ["clip_value", "clip_norm", "clip_global_norm"])
def test_gradients_within_the_bound_keep_their_bits(bound: str, rng) -> None:
    gradient = rng.standard_normal(5).astype("f")
    weight = cr.Parameter(np.zeros(5, "f"))
    SGD(1.0, **{bound: 100.0}).update({weight: cr.asarray(gradient)})
    np.testing.assert_array_equal(weight, -gradient)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["sgd", "adagrad", "rmsprop", "adam", "adamw"])
def test_a_gradient_that_is_not_finite_shows_and_spoils_only_its_own_element(name: str, value: float) -> None:
    weight, bias = parameters()
    before = bias.value
    gradient = np.full((3, 2), 0.1)
    gradient[1, 0] = value
    get_optimizer(name, 0.1).update({weight: cr.asarray(gradient), bias: cr.asarray(np.ones(2))})
    wrong = ~np.isfinite(weight.value)
    assert np.argwhere(wrong).tolist() == [[1, 0]]
    assert np.isfinite(bias.value).all()
    assert (bias.value != before).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_clipping_by_norm_does_not_hide_a_gradient_that_is_not_finite(value: float, oracle) -> None:
    gradient = np.array([1.0, value, 2.0])

    def compute() -> dict[str, np.ndarray]:
        import torch

        parameter = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        parameter.grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_norm_([parameter], 1.0)
        return {"gradient": parameter.grad.numpy()}

    expected = oracle(f"clipping {value}", compute)["gradient"]
    assert np.isnan(expected[1])
    for bound in ("clip_norm", "clip_global_norm"):
        weight = cr.Parameter(np.zeros(3))
        SGD(1.0, **{bound: 1.0}).update({weight: cr.asarray(gradient)})
        np.testing.assert_array_equal(weight, -expected)


def test_a_centered_mean_that_rounds_below_zero_takes_no_root_of_it() -> None:
    weight, gradient = cr.Parameter(np.zeros(4, "f")), np.array([1.1, 3.3, 1e-3, 1e3], "f")
    optimizer = RMSprop(0.01, decay=0.5, centered=True, epsilon=1e-3)
    for _ in range(100):
        optimizer.update({weight: cr.asarray(gradient)})
    assert np.isfinite(weight.value).all()


def test_after_a_hundred_million_steps_the_corrections_of_adam_are_gone() -> None:
    optimizer, weight = Adam(0.1, beta1=0.0, beta2=0.0, epsilon=0.0), cr.Parameter(np.zeros(2, "f"))
    optimizer.step_count.assign(10**8)
    optimizer.update({weight: cr.asarray(np.array([5.0, -7.0], "f"))})
    np.testing.assert_allclose(weight, [-0.1, 0.1], rtol=1e-6)
    assert optimizer.step_count.item() == 10**8 + 1


# --- Names, reports and wrong arguments --------------------------------------------------------------------------


def test_an_optimizer_is_found_by_name_with_its_own_default_rate() -> None:
    for name, make in OPTIMIZERS.items():
        for found in (get_optimizer(name), get_optimizer(name.upper())):
            assert type(found) is make
            assert found.current_learning_rate() == make().current_learning_rate()
        assert get_optimizer(name, 0.25).current_learning_rate() == 0.25


def test_the_text_of_an_optimizer_shows_what_is_not_as_usual() -> None:
    assert repr(Adam()) == "Adam(learning_rate=0.001)"
    assert (
        repr(AdamW(0.1, weight_decay=0.3, clip_norm=1)) == "AdamW(learning_rate=0.1, weight_decay=0.3, clip_norm=1.0)"
    )
    assert repr(SGD(Cosine(0.1, steps=5), 0.9, nesterov=True)) == (
        "SGD(learning_rate=Cosine(learning_rate=0.1, steps=5, final=0.0), momentum=0.9, nesterov=True)"
    )


@pytest.mark.parametrize("name", MAKES)
def test_the_description_of_an_optimizer_is_json_and_makes_it_again(name: str) -> None:
    optimizer = MAKES[name]()
    described = json.loads(json.dumps(optimizer.describe()))
    assert described == optimizer.describe()
    again = get_optimizer(**(described | {"learning_rate": optimizer.learning_rate}))
    assert again.describe() == described


def test_the_current_rate_is_that_of_the_next_update() -> None:
    optimizer, weight = SGD(Exponential(1.0, factor=0.5)), cr.Parameter(np.float64(0))
    for expected in (1.0, 0.5, 0.25):
        before, rate = weight.item(), optimizer.current_learning_rate()
        optimizer.update({weight: cr.asarray(np.float64(1))})
        assert (rate, before - weight.item()) == (expected, expected)


def test_an_optimizer_of_your_own_needs_only_a_rule() -> None:
    class Halving(Optimizer):
        slots = ("seen",)

        def rule(self, parameter, gradient, slots, now):
            return parameter / 2, {"seen": slots["seen"] + 1.0}

    weight, optimizer = cr.Parameter(np.float64(8), "weight"), Halving()
    for _ in range(3):
        optimizer.update({weight: cr.asarray(np.float64(1))})
    assert (weight.item(), optimizer.arrays()["weight.seen"]) == (1.0, 3.0)
    assert repr(optimizer) == "Halving(learning_rate=0.01)"


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a misspelt name": (lambda: get_optimizer("adamm"), 'no optimizer "adamm"; did you mean "adam"'),
    "a name like no other": (lambda: get_optimizer("zzz"), r'no optimizer "zzz"\. Known: sgd, adagrad, '),
    "a foreign setting": (
        lambda: get_optimizer("adam", momentum=0.9),
        'has no "momentum"; it has .*beta1, beta2',
    ),
    "a negative rate": (lambda: Adam(-0.1), "Adam: learning_rate must not be below 0, but is -0.1"),
    "a rate of words": (lambda: SGD("fast"), "SGD: learning_rate must be a finite number, but is 'fast'"),
    "a rate that is no number": (lambda: SGD(np.nan), "SGD: learning_rate must be a finite number, but is nan"),
    "a full momentum": (lambda: SGD(0.1, momentum=1.0), "SGD: momentum must be at least 0 and below 1"),
    "nesterov alone": (lambda: SGD(0.1, nesterov=True), "SGD: nesterov needs a momentum above 0"),
    "nesterov in words": (lambda: SGD(0.1, 0.9, nesterov="no"), "SGD: nesterov must be True or False"),
    "a beta of 1": (lambda: AdamW(beta2=1.0), "AdamW: beta2 must be at least 0 and below 1"),
    "an infinite epsilon": (lambda: Adagrad(epsilon=np.inf), "Adagrad: epsilon must be a finite number"),
    "a negative decay": (lambda: RMSprop(decay=-0.1), "RMSprop: decay must be at least 0"),
    "a negative weight decay": (lambda: Adam(weight_decay=-1), "Adam: weight_decay must not be below 0"),
    "a bound of 0": (lambda: Adam(clip_norm=0), "Adam: clip_norm must be above 0"),
    "a bound of words": (lambda: Adam(clip_global_norm="1"), "Adam: clip_global_norm must be a finite number"),
    "no rule": (lambda: Optimizer().update({parameters()[1]: cr.asarray(np.ones(2))}), "Optimizer has no rule"),
    "a list of gradients": (lambda: Adam().update([cr.asarray(1.0)]), r"backpropagate\(loss\) returns, not a list"),
    "a gradient by name": (lambda: Adam().update({"weight": cr.asarray(1.0)}), "a key is a str, not a Parameter"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_error_names_the_argument_and_what_was_expected(what: str) -> None:
    make, message = WRONG[what]
    with pytest.raises(cr.ArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    ("gradient", "message"),
    [(np.ones(3), r'gradient of "bias" is \(3,\), not \(2,\)'), (np.ones(2, "f"), '"bias" is float32, not float64')],
    ids=["shape", "type"],
)
def test_a_gradient_that_does_not_fit_moves_nothing(gradient: np.ndarray, message: str) -> None:
    weight, bias = parameters()
    optimizer, before = Adam(0.1), weight.value
    with pytest.raises(cr.ChainruleError, match=message):
        optimizer.update({weight: cr.asarray(np.ones((3, 2))), bias: cr.asarray(gradient)})
    np.testing.assert_array_equal(weight, before)
    assert optimizer.step_count.item() == 0
