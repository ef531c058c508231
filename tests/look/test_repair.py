"""`repair` mends what it can, keeps only what measurably helps, and touches nothing that is not its own."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.data.batches import split
from chainrule.look.diagnosis.rules import ALL
from chainrule.look.remedies.inputs import fill_gaps
from chainrule.look.remedies.judging import Judge, verdict
from chainrule.look.remedies.table import REMEDIES
from chainrule.look.remedies.training import stretched
from chainrule.look.remedies.way import Way
from chainrule.nn.losses import get_loss
from chainrule.train.metrics import get_metric
from look.faults.problems import BUILDS, Array, plain, problem
from look.faults.repairable import FAULTS, Hiding, Repairable, task_of

NEAR = 0.05  # of accuracy or R², by which a repaired network may stay behind the healthy one
# Some faults, in small sets so that it goes fast; scripts/repair_table.py mends them all.
CHOSEN = {
    "one huge column": "iris",
    "NaN and infinity in X": "wine",
    "classes numbered from 1": "wine",
    "one-hot integers": "iris",
    "sigmoid before binary cross entropy": "iris",
    "too few outputs": "wine",
    "everything frozen": "iris",
    "equal weights": "wine",
    "weights 20 times too large": "wine",
    "dead units": "wine",
    "rate too low": "wine",
    "hidden layer of one unit": "wine",
}
MENDED = [replace(fault, set=CHOSEN[fault.name]) for fault in FAULTS if fault.name in CHOSEN]


@pytest.fixture(scope="module")
def scaled() -> cr.look.Repair:
    """A repair of a network that got raw columns."""
    return task_of("wine", "raw columns").repair(attempts=2)


@pytest.mark.parametrize("fault", MENDED, ids=lambda fault: fault.name.replace(" ", "_"))
def test_a_faulty_network_becomes_nearly_as_good_as_the_healthy_one(fault: Repairable) -> None:
    task = fault.faulty()
    before = {name: value.copy() for name, value in task.net.arrays().items()}
    trainable = [parameter.trainable for parameter in task.net.parameters()]
    rows = [part.copy() for part in task.data]
    fixed = task.repair(attempts=1, compile=False)
    name = list(fixed.after)[-1]
    assert {trial.finding.rule for trial in fixed.kept} & set(fault.rules), str(fixed)
    assert not fixed.after[name] < fault.best()[name] - NEAR, str(fixed)
    assert math.isnan(fixed.before[name]) or fixed.after[name] >= fixed.before[name] + 0.015, str(fixed)
    for path, value in task.net.arrays().items():
        np.testing.assert_array_equal(value, before[path])
    assert [parameter.trainable for parameter in task.net.parameters()] == trainable
    for part, copy in zip(task.data, rows, strict=True):
        np.testing.assert_array_equal(part, copy)
    X, y = fixed_rows(task.data)
    answers = cr.predict(fixed.net, X)  # the network takes the rows as they were given, and answers in their unit
    assert get_metric(name).function(answers, y, None) > fixed.after[name] - 0.15


def fixed_rows(data: tuple[Array, ...]) -> tuple[Array, Array]:
    """The rows without those that `predict` and metrics cannot take."""
    known = np.isfinite(data[0]).all(axis=1) & np.isfinite(data[1].reshape(len(data[1]), -1)).all(axis=1)
    return data[0][known], data[1][known]


@pytest.mark.parametrize("name", ["iris", "wine", "diabetes"])
def test_a_healthy_network_is_left_alone(name: str) -> None:
    fixed = task_of(name).repair(attempts=2, compile=False)
    assert not fixed.kept, str(fixed)
    assert fixed.after == fixed.before
    assert fixed.code == ""


def test_nothing_is_kept_of_what_does_not_help() -> None:
    """Targets that have nothing to do with the inputs can not be learned, whatever is changed."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(160, 6)).astype(np.float32), rng.integers(0, 2, 160)
    fixed = cr.look.repair(
        plain(6, 2),
        (X, y),
        loss="cross_entropy",
        optimizer=cr.optim.Adam(5e-3),
        epochs=10,
        attempts=2,
        progress=False,
        compile=False,
    )
    assert fixed.after["accuracy"] < 0.75
    for trial in fixed.kept:
        assert trial.after["loss"] < trial.before["loss"]


def test_the_same_seed_gives_the_same_repair_to_the_bit(scaled: cr.look.Repair) -> None:
    again = task_of("wine", "raw columns").repair(attempts=2)
    assert json.dumps(again.to_dict()) == json.dumps(scaled.to_dict())
    for first, second in zip(again.net.arrays().values(), scaled.net.arrays().values(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_optimizer_and_random_numbers_of_the_user_stay_as_they_are() -> None:
    p = problem("iris")
    optimizer = cr.optim.Adam(1e-6)
    drawn = cr.random.default().counter.item()
    fixed = cr.look.repair(
        plain(4, 3), (p.X, p.y), loss=p.loss, optimizer=optimizer, epochs=5, attempts=1, progress=False, compile=False
    )
    assert fixed.kept[0].code.startswith("optimizer=cr.optim.Adam(learning_rate=")
    assert (optimizer.step_count.item(), len(optimizer._slots), optimizer.current_learning_rate()) == (0, 0, 1e-6)
    assert cr.random.default().counter.item() >= drawn


def test_what_it_learned_can_be_saved_and_loaded(scaled: cr.look.Repair, tmp_path: Any) -> None:
    cr.save(scaled.net, tmp_path / "net.safetensors")
    X = task_of("wine", "raw columns").data[0]
    np.testing.assert_array_equal(cr.predict(cr.load(tmp_path / "net.safetensors"), X), cr.predict(scaled.net, X))


def test_a_network_of_ones_own_is_mended_in_what_needs_no_rewriting() -> None:
    p = problem("wine")
    net = BUILDS["gated"](p.features, p.outputs)
    for parameter in net.parameters():
        parameter.assign(np.zeros(parameter.shape, np.float32))
    fixed = cr.look.repair(
        net,
        (p.X, p.y),
        loss=p.loss,
        optimizer=cr.optim.Adam(1e-2),
        epochs=8,
        attempts=1,
        progress=False,
        compile=False,
    )
    assert "symmetric-weights" in {trial.finding.rule for trial in fixed.kept}, str(fixed)
    assert fixed.after["accuracy"] > 0.9
    assert type(fixed.net) is type(net)


# --- What it says -------------------------------------------------------------------------------------------------


def test_the_page_fits_80_columns_and_tells_every_trial(scaled: cr.look.Repair) -> None:
    page = str(scaled)
    assert max(map(len, page.splitlines())) <= 80
    for trial in scaled.trials:
        assert trial.finding.rule in page
    assert "inputs are standardised by the first layer" in page
    assert scaled.code == "net = nn.Sequential(nn.Standardize(13).fitted(X), *net.layers)"
    assert scaled._repr_html_().count("<details") == len(scaled.trials)
    assert str(scaled.__rich__()).split() == page.split()
    told = json.loads(json.dumps(scaled.to_dict(), allow_nan=False))
    assert [trial["kept"] for trial in told["trials"]] == [trial.kept for trial in scaled.trials]


def test_code_of_a_kept_change_makes_the_network_that_it_speaks_of() -> None:
    fixed = task_of("iris", "too narrow").repair(attempts=1, compile=False)
    made = eval(fixed.kept[0].code, {"nn": nn})  # it is what the user would type
    assert [value.shape for value in made.arrays().values()] == [value.shape for value in fixed.net.arrays().values()]


def test_progress_tells_each_trial_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    task_of("wine", "raw columns").repair(attempts=1, epochs=5, progress=True, compile=False)
    assert capsys.readouterr().err.startswith("1. inputs are standardised by the first layer: validation loss ")


def test_every_rule_with_a_remedy_exists() -> None:
    assert REMEDIES.keys() <= {rule.name for rule in ALL}


# --- The judge ----------------------------------------------------------------------------------------------------


def test_the_judge_s_standard_error_is_that_of_a_paired_mean() -> None:
    """For a mean over rows the jackknife is the usual standard error of the differences (Efron and Stein, 1981)."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=40).astype(np.float32)
    old, new = (y + rng.normal(size=40, scale=scale).astype(np.float32) for scale in (1.0, 0.5))
    judge = Judge(get_loss("mse"), None, y)
    ((gain, sure),) = judge.gains(old[:, None], new[:, None])
    differences = (old - y) ** 2 - (new - y) ** 2
    assert gain == pytest.approx(differences.mean(), rel=1e-5)
    assert sure == pytest.approx(differences.mean() / (differences.std(ddof=1) / math.sqrt(40)), rel=1e-3)


def test_noise_is_seldom_taken_for_a_gain() -> None:
    """Two networks that are equally good are told apart in a few per cent of cases at most."""
    rng = np.random.default_rng(2)
    taken = 0
    for _ in range(100):
        y = rng.normal(size=80).astype(np.float32)
        old, new = (y + rng.normal(size=80, scale=0.5).astype(np.float32) for _ in range(2))
        taken += verdict(Judge(get_loss("mse"), get_metric("r2"), y), old[:, None], new[:, None]).better
    assert taken <= 6


def test_schedules_are_stretched_with_their_rates_and_lengths() -> None:
    schedule = nn.schedules.WarmUp(10, nn.schedules.Cosine(0.1, 90))
    longer = stretched(schedule, rate=0.5, length=3)
    assert longer is not None
    assert repr(longer) == "WarmUp(steps=30, then=Cosine(learning_rate=0.05, steps=270, final=0.0))"
    assert repr(schedule) == "WarmUp(steps=10, then=Cosine(learning_rate=0.1, steps=90, final=0.0))"


# --- Gaps among the rows held out ---------------------------------------------------------------------------------


def with_a_gap(held: bool) -> tuple[Array, Array, int]:
    """Rows of which one has a NaN in column 1: one held out, or one to learn from; and which."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(80, 3)).astype(np.float32)
    labels = (rows[:, 0] > 0).astype(np.int64)
    row = int(split(80, 0.2, 0, labels)[held][4])
    rows[row, 1] = np.nan
    return rows, labels, row


def two_classes() -> nn.Module:
    return nn.Sequential(nn.Dense(3, 8, activation="relu"), nn.Dense(8, 2))


@pytest.mark.parametrize("held", [False, True], ids=["training", "validation"])
def test_a_missing_input_becomes_the_mean_of_the_training_rows_wherever_it_stands(held: bool) -> None:
    rows, labels, row = with_a_gap(held)
    fixed = cr.look.repair(two_classes(), (rows, labels), loss="cross_entropy", attempts=1, progress=False,
                           compile=False)  # fmt: skip
    assert fixed.trials[0].change == "1 missing inputs become the mean of their column"
    assert fixed.trials[0].kept
    assert fixed.trials[0].finding.where.startswith(f"X, row {row}")
    assert ("held out for validation" in fixed.trials[0].finding.where) == held
    kept, out = split(80, 0.2, 0, labels)
    way = Way(two_classes(), (rows[kept], labels[kept]), (rows[out], labels[out]), cr.optim.Adam(), 1, 8, None)
    filled = fill_gaps(way, fixed.trials[0].finding, 0)
    assert filled is not None
    part, place = (filled.way.validation, 4) if held else (filled.way.data, 4)
    assert part[0][place, 1] == pytest.approx(np.nanmean(rows[kept, 1], dtype=np.float64), rel=1e-6)


@pytest.mark.parametrize("held", [False, True], ids=["training", "validation"])
def test_a_gap_that_is_left_is_named_by_its_row_of_the_data(held: bool) -> None:
    rows, labels, row = with_a_gap(held)
    with pytest.raises(cr.DataError, match=f"X holds nan in row {row} and 1 such numbers"):
        cr.look.repair(two_classes(), (rows, labels), loss="cross_entropy", attempts=0, progress=False)


def test_rows_left_out_do_not_shift_the_numbers_of_others() -> None:
    rows, labels, _ = with_a_gap(held=False)
    targets = labels.astype(np.float32)
    numbers = np.arange(100, 160), np.arange(200, 220)
    targets[[3, 61]] = np.nan
    way = Way(two_classes(), (rows[:60], targets[:60]), (rows[60:], targets[60:]), cr.optim.Adam(), 1, 8, None,
              numbers=numbers)  # fmt: skip
    changed = fill_gaps(way, cr.look.Finding("data-not-finite", "error", "", "", {}, "", "before"), 0)
    assert changed is not None
    assert changed.way.numbers is not None
    assert [each.tolist() for each in changed.way.numbers] == [
        [*range(100, 103), *range(104, 160)],
        [200, *range(202, 220)],
    ]


def test_a_gap_in_a_validation_set_of_its_own_is_found_and_filled() -> None:
    rows, labels, _ = with_a_gap(held=False)
    rows = np.nan_to_num(rows)
    other = rows[:20] + 0.01
    other[7, 2] = np.inf
    found = cr.look.diagnose(two_classes(), (rows, labels), loss="cross_entropy", validation=(other, labels[:20]))
    assert (found[0].rule, found[0].where) == ("data-not-finite", "X of validation, row 7, column 2 of X")
    fixed = cr.look.repair(two_classes(), (rows, labels), loss="cross_entropy", validation=(other, labels[:20]),
                           attempts=1, progress=False, compile=False)  # fmt: skip
    assert fixed.trials[0].kept


# --- What is refused ----------------------------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X.argmax(axis=1)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"net": "network"}, cr.ArgumentError, "net must be a network .nn.Module., but is a str"),
        ({"attempts": -1}, cr.ArgumentError, "attempts must be a whole number from 0, but is -1"),
        ({"epochs": 0}, cr.ArgumentError, "epochs must be a whole number from 1, but is 0"),
        ({"validation": None}, cr.ArgumentError, "judged on validation rows"),
        ({"validation": "some"}, cr.ArgumentError, "validation must be a fraction"),
        ({"validation": 1.5}, cr.ChainruleError, "1.5"),
        ({"data": [(X, Y)]}, cr.DataError, "data must be a tuple"),
        (
            {"data": (X, np.array(["cat", "dog"] * 20))},
            cr.DataError,
            r"y of data must be .* but is text of shape \(40,\)",
        ),
        ({"data": (X, Y[:-1])}, cr.DataError, "give equally many"),
        ({"loss": "cross"}, cr.ArgumentError, "no loss"),
        ({"metric": "acuracy"}, cr.ArgumentError, 'did you mean "accuracy"'),
        ({"optimizer": 3}, cr.ArgumentError, "optimizer must be an optimizer"),
        ({"net": nn.ReLU()}, cr.ArgumentError, "no parameters"),
        ({"net": nn.Dense(7, 3)}, cr.ShapeError, "expects"),
        ({"net": Hiding(nn.Dense(3, 3), nn.Dense(3, 3))}, cr.ArgumentError, "parameters that it does not own"),
    ],
)
def test_a_bad_argument_is_named(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    given: dict[str, Any] = {"net": nn.Dense(3, 3), "data": (X, Y), "loss": "cross_entropy"} | changed
    with pytest.raises(error, match=message):
        cr.look.repair(given.pop("net"), given.pop("data"), progress=False, **given)
