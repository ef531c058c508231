"""Schedules: every rate against torch.optim.lr_scheduler, the ends, names, and what Plateau remembers."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.trace import trace
from chainrule.nn.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    Plateau,
    Schedule,
    Step,
    WarmUp,
    get_schedule,
)

EXAMPLES = {
    "constant": Constant(0.1),
    "step": Step(0.1, every=7, factor=0.3),
    "exponential": Exponential(0.1, factor=0.93),
    "cosine": Cosine(0.1, steps=40, final=0.01),
    "one_cycle": OneCycle(0.1, steps=60),
    "warm_up": WarmUp(9, 0.1),
    "warm_up to cosine": WarmUp(9, Cosine(0.1, steps=40)),
}


def schedulers(schedule: Any, optimizer: Any) -> dict[str, Callable[[], Any]]:
    """The same in PyTorch; a cosine is followed only to its end, from where PyTorch's rises again."""
    warm_up = {"start_factor": 1 / 10, "total_iters": 9}  # 1 / 10 at first, 1 after 9: (t + 1) / (9 + 1)
    return {
        "constant": lambda: schedule.ConstantLR(optimizer, factor=1.0),
        "step": lambda: schedule.StepLR(optimizer, step_size=7, gamma=0.3),
        "exponential": lambda: schedule.ExponentialLR(optimizer, gamma=0.93),
        "cosine": lambda: schedule.CosineAnnealingLR(optimizer, T_max=40, eta_min=0.01),
        "one_cycle": lambda: schedule.OneCycleLR(optimizer, max_lr=0.1, total_steps=60),
        "warm_up": lambda: schedule.LinearLR(optimizer, **warm_up),
        "warm_up to cosine": lambda: schedule.SequentialLR(
            optimizer,
            [schedule.LinearLR(optimizer, **warm_up), schedule.CosineAnnealingLR(optimizer, T_max=40)],
            milestones=[9],
        ),
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_rate_agrees_with_pytorch(name: str, oracle) -> None:
    steps = {"cosine": 41, "warm_up to cosine": 50}.get(name, 60)

    def compute() -> dict[str, np.ndarray]:
        import torch

        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        scheduler, rates = schedulers(torch.optim.lr_scheduler, optimizer)[name](), []
        for step in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if step < steps - 1:
                scheduler.step()
        return {"rates": np.array(rates)}

    rates = [EXAMPLES[name](step).item() for step in range(steps)]
    np.testing.assert_allclose(rates, oracle(name, compute)["rates"], rtol=1e-12, atol=1e-17)


@pytest.mark.parametrize(
    ("schedule", "last", "rate"),
    [
        (Cosine(0.1, steps=40), 40, 0.0),
        (Cosine(0.1, steps=40, final=0.02), 40, 0.02),
        (Cosine(0.1, steps=1), 1, 0.0),
        (OneCycle(0.1, steps=60), 59, 0.1 / 250_000),
        (WarmUp(9, 0.1), 9, 0.1),
        (WarmUp(9, Cosine(0.1, steps=4, final=0.03)), 13, 0.03),
    ],
    ids=repr,
)
def test_a_schedule_that_ends_stays_where_it_ended(schedule: Schedule, last: int, rate: float) -> None:
    for step in (last, last + 1, last + 1000, 2**40):
        assert schedule(step).item() == pytest.approx(rate, rel=1e-12, abs=1e-18)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("rise", [0.0, 0.3, 0.99])
def test_a_cycle_of_few_steps_stays_between_its_lowest_and_its_peak(steps: int, rise: float) -> None:
    rates = [OneCycle(0.1, steps, rise)(step).item() for step in range(steps + 2)]
    assert all(0.1 / 250_000 * (1 - 1e-9) <= rate <= 0.1 * (1 + 1e-9) for rate in rates)


def test_a_schedule_takes_numbers_and_tensors_and_answers_in_float64() -> None:
    for schedule in EXAMPLES.values():
        for step in (3, np.int64(3), cr.asarray(3), cr.State(3)):
            rate = schedule(step)
            assert rate.dtype == cr.float64
            assert rate.shape == ()
            assert rate.item() == schedule(3).item()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_traced_schedule_gives_the_bits_of_the_eager_one(name: str) -> None:
    schedule = EXAMPLES[name]
    program = trace(schedule, np.int64(0))
    for step in (0, 1, 8, 9, 10, 17, 18, 39, 40, 59, 60, 100):
        assert program(np.int64(step))[0] == schedule(step).value


# --- Plateau -----------------------------------------------------------------------------------------------------

LOSSES_SEEN = [3.0, 2.5, 2.5, 2.4999, 2.6, 2.0, math.nan, 2.0, 2.1, 2.2, math.inf, 1.9, 1.9, 1.9, 1.9, 1.9, 1.9, 1.9]


@pytest.mark.parametrize("patience", [0, 2])
def test_a_plateau_lowers_the_rate_when_pytorch_does(patience: int, oracle) -> None:
    def compute() -> dict[str, np.ndarray]:
        import torch

        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, patience=patience, factor=0.5, min_lr=0.004, eps=0
        )
        rates = []
        for loss in LOSSES_SEEN:
            scheduler.step(loss)
            rates.append(optimizer.param_groups[0]["lr"])
        return {"rates": np.array(rates)}

    schedule, rates = Plateau(0.1, patience=patience, factor=0.5, minimum=0.004), []
    for loss in LOSSES_SEEN:
        schedule.observe(loss)
        rates.append(schedule(0).item())
    assert len(set(rates)) > 2
    np.testing.assert_allclose(rates, oracle(f"plateau {patience}", compute)["rates"], rtol=1e-12)


def test_a_loss_below_zero_must_fall_too() -> None:
    schedule = Plateau(1.0, patience=0, factor=0.5)
    schedule.observe(-1.0)
    schedule.observe(-0.99999)
    assert schedule(0).item() == 0.5


def test_a_plateau_restored_from_its_states_goes_on_in_the_same_way() -> None:
    one, other = Plateau(0.1, patience=1, factor=0.5), Plateau(0.1, patience=1, factor=0.5)
    for loss in LOSSES_SEEN[:8]:
        one.observe(loss)
    for (name, mine), (same_name, saved) in zip(other.named_states(), one.named_states(), strict=True):
        assert name == same_name
        mine.assign(saved.value)
    for loss in LOSSES_SEEN[8:]:
        one.observe(loss)
        other.observe(cr.asarray(loss))
        assert other(0).item() == one(0).item()


def test_a_program_reads_the_rate_of_a_plateau_as_it_is_now() -> None:
    schedule = Plateau(1.0, patience=0, factor=0.5)
    program = trace(lambda step: schedule(step) * 1.0, np.int64(0))
    rates = []
    for _ in range(3):
        rates.append(float(program(np.int64(0))[0]))
        schedule.observe(1.0)
    assert rates == [1.0, 1.0, 0.5]


def test_a_rate_once_read_stays_as_it_was() -> None:
    schedule = Plateau(1.0, patience=0, factor=0.5)
    before = schedule(0)
    schedule.observe(1.0)
    schedule.observe(1.0)
    assert (before.item(), schedule(0).item()) == (1.0, 0.5)


# --- Names and settings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("total", [1, 2, 5, 100])
def test_every_schedule_suits_a_run_of_any_length(name: str, total: int) -> None:
    schedule = get_schedule(name, 0.1, total_steps=total)
    assert schedule.name == name
    rates = [schedule(step).item() for step in range(total)]
    assert all(0 <= rate <= 0.1 * (1 + 1e-12) for rate in rates)
    assert max(rates) > 0


@pytest.mark.parametrize("name", ["exponential", "cosine", "warm_up", "one_cycle", "step"])
def test_a_schedule_by_name_ends_far_below_where_it_was(name: str) -> None:
    schedule = get_schedule(name, 0.1, total_steps=300)
    assert schedule(299).item() <= 0.1 / 50
    assert max(schedule(step).item() for step in range(300)) == pytest.approx(0.1, rel=1e-3)


def test_a_schedule_is_found_by_alias_and_in_capitals() -> None:
    for kind in SCHEDULES.values():
        for name in (kind.name, kind.name.upper(), kind.name.replace("_", "-"), *kind.aliases):
            assert type(get_schedule(name, 0.1, total_steps=10)) is kind.make


def test_settings_stand_in_for_those_that_suit() -> None:
    assert (
        repr(get_schedule("cosine", 0.1, total_steps=10, final=0.05))
        == "Cosine(learning_rate=0.1, steps=10, final=0.05)"
    )
    assert repr(get_schedule("plateau", 0.1, total_steps=10, patience=3)) == (
        "Plateau(learning_rate=0.1, patience=3, factor=0.1, minimum=0.0)"
    )


@pytest.mark.parametrize("schedule", [*EXAMPLES.values(), Plateau(0.1, 3)], ids=repr)
def test_the_text_of_a_schedule_makes_it_again(schedule: Schedule) -> None:
    again = eval(repr(schedule))
    assert again.describe() == schedule.describe()
    assert json.loads(json.dumps(schedule.describe())) == schedule.describe()


def test_a_description_holds_the_schedule_inside() -> None:
    assert WarmUp(9, Cosine(0.1, steps=40)).describe() == {
        "name": "warm_up",
        "steps": 9,
        "then": {"name": "cosine", "learning_rate": 0.1, "steps": 40, "final": 0.0},
    }


WRONG = {
    "a misspelt name": (
        lambda: get_schedule("cosin", 0.1, total_steps=9),
        '"cosin"; did you mean "cosine"',
    ),
    "a name like no other": (lambda: get_schedule("zzz", 0.1, total_steps=9), r'no schedule "zzz"\. Known: constant, '),
    "a foreign setting": (
        lambda: get_schedule("cosine", 0.1, total_steps=9, warm=1),
        '"cosine" has no "warm"; it has learning_rate, steps, final',
    ),
    "no steps": (lambda: get_schedule("cosine", 0.1, total_steps=0), "total_steps must be an integer of at least 1"),
    "a negative rate": (lambda: Constant(-1.0), "Constant: learning_rate must not be below 0"),
    "a rate of words": (lambda: Cosine("fast", 10), "Cosine: learning_rate must be a finite number, but is 'fast'"),
    "an infinite rate": (lambda: Exponential(math.inf, 0.9), "Exponential: learning_rate must be a finite number"),
    "a factor of 0": (lambda: Step(0.1, 10, factor=0), "Step: factor must be above 0"),
    "half a step": (lambda: Step(0.1, every=2.5), "Step: every must be an integer of at least 1"),
    "a full rise": (lambda: OneCycle(0.1, 10, rise=1.0), "OneCycle: rise must be at least 0 and below 1"),
    "a rise to a plateau": (lambda: WarmUp(10, Plateau(0.1)), "then cannot be a Plateau"),
    "a rise to nothing": (lambda: WarmUp(10, None), "WarmUp: then must be a finite number"),
    "no patience": (lambda: Plateau(0.1, patience=-1), "Plateau: patience must be an integer of at least 0"),
    "a factor that does not lower": (lambda: Plateau(0.1, factor=1.0), "Plateau: factor must be .* below 1"),
    "a minimum above the rate": (lambda: Plateau(0.1, minimum=0.2), r"minimum \(0\.2\) must not be above .*\(0\.1\)"),
    "no formula": (lambda: Schedule()(0), r"Schedule has no formula: write its rate\(self, t\)"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_error_names_the_argument_and_what_was_expected(what: str) -> None:
    make, message = WRONG[what]
    with pytest.raises(cr.ArgumentError, match=message):
        make()
