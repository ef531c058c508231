"""Causes that users met: named after a run as before it, first, and with advice that does not contradict itself."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.look.diagnosis.extremes import extremes
from chainrule.look.diagnosis.repeats import by_chance, row_keys
from chainrule.nn.optimizers import Optimizer
from chainrule.train.inputs import Rows
from look.faults.problems import Array, Problem, problem

DIGITS, WINE, CANCER = problem("digits"), problem("wine"), problem("breast-cancer")


def network(features: int, outputs: int, *widths: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    cr.random.seed(3)
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Dense(features, width), act()]
        features = width
    return nn.Sequential(*layers, nn.Dense(features, outputs))


def filled(net: nn.Module, value: float) -> nn.Module:
    for parameter in net.parameters():
        parameter.assign(np.full(parameter.shape, value, parameter.dtype))
    return net


def after(net: nn.Module, data: tuple[Array, ...], optimizer: Optimizer, **more: Any) -> cr.look.Findings:
    """What is found at the end of a short run."""
    options = {"loss": "cross_entropy", "epochs": 6, "progress": False, "compile": False, "diagnose": True} | more
    findings = cr.fit(net, data, optimizer=optimizer, **options).findings
    assert isinstance(findings, cr.look.Findings)
    return findings


@pytest.mark.parametrize(
    ("value", "act", "optimizer"),
    [
        (0.0, nn.ReLU, cr.optim.Adam(1e-2)),
        (0.0, nn.Sigmoid, cr.optim.Adam(1e-2)),
        (0.1, nn.ReLU, cr.optim.Adam(1e-2)),
        (0.1, nn.Tanh, cr.optim.SGD(0.1)),
    ],
)
def test_units_that_began_alike_are_the_cause_after_a_run_too(
    value: float, act: type[nn.Module], optimizer: Optimizer
) -> None:
    findings = after(filled(network(13, 3, 16, 16, act=act), value), (WINE.X, WINE.y), optimizer)
    assert findings.rules[0] == "symmetric-weights", str(findings)
    assert "weights-collapsed" not in findings.rules
    assert {finding.because for finding in findings if finding.rule == "underfitting"} <= {"symmetric-weights"}


def test_units_drawn_at_random_are_no_copies_after_a_run() -> None:
    findings = after(network(13, 3, 16), (WINE.X, WINE.y), cr.optim.Adam(1e-2))
    assert "symmetric-weights" not in findings.rules


def test_decay_that_makes_weights_nothing_is_still_named() -> None:
    optimizer = cr.optim.Adam(1e-2, weight_decay=0.5)
    findings = after(network(64, 10, 24), (DIGITS.X, DIGITS.y), optimizer, epochs=15)
    assert findings.rules[0] == "weights-collapsed", str(findings)


@pytest.mark.parametrize("optimizer", [cr.optim.SGD(100.0), cr.optim.AdamW(100.0)], ids=["SGD", "AdamW"])
def test_of_a_rate_far_too_high_no_rule_advises_a_larger_one(optimizer: Optimizer) -> None:
    findings = after(network(64, 10, 32), (DIGITS.X, DIGITS.y), optimizer)
    assert findings.rules[0] == "learning-rate-too-high", str(findings)
    assert [finding.rule for finding in findings.causes] == ["learning-rate-too-high"], str(findings)
    assert not any("larger learning rate" in finding.advice for finding in findings), str(findings)


def test_gradients_that_vanish_at_the_start_are_told_when_little_was_learned() -> None:
    findings = after(network(64, 10, *(32,) * 8, act=nn.Sigmoid), (DIGITS.X, DIGITS.y), cr.optim.Adam(1e-3))
    assert "vanishing-gradients" in findings.rules, str(findings)
    assert "underfitting" not in {finding.rule for finding in findings.causes}


def test_activations_that_still_shrink_after_a_run_are_told() -> None:
    net, numbers = network(64, 10, *(32,) * 10, act=nn.Tanh), np.random.default_rng(0)
    for parameter in net.parameters():
        if parameter.ndim == 2:
            parameter.assign(0.03 * numbers.standard_normal(parameter.shape).astype(np.float32))
    findings = after(net, (DIGITS.X, DIGITS.y), cr.optim.SGD(1e-2))
    assert findings.rules[:2] == ["activations-shrink", "vanishing-gradients"], str(findings)
    assert [finding.rule for finding in findings.causes] == ["activations-shrink"]


def test_a_shortcut_around_the_second_product_makes_them_two_layers() -> None:
    inner = nn.Sequential(nn.Dense(32, 32, bias=False), nn.BatchNorm(32), nn.ReLU(), nn.Dense(32, 32))
    net = nn.Sequential(nn.Dense(64, 32), nn.Residual(inner), nn.Dense(32, 10))
    assert "no-nonlinearity" not in cr.look.diagnose(net, (DIGITS.X, DIGITS.y), loss="cross_entropy").rules
    straight = nn.Sequential(nn.Dense(64, 32), inner, nn.Dense(32, 10))
    assert "no-nonlinearity" in cr.look.diagnose(straight, (DIGITS.X, DIGITS.y), loss="cross_entropy").rules


def test_of_one_row_nothing_is_said_about_the_number_of_classes() -> None:
    data = (DIGITS.X[:1], DIGITS.y[:1])
    assert "output-width" not in cr.look.diagnose(network(64, 10, 16), data, loss="cross_entropy").rules


def test_targets_that_are_all_the_same_are_named() -> None:
    data = (DIGITS.X, np.full((len(DIGITS.X), 1), 3.0, np.float32))
    findings = cr.look.diagnose(network(64, 1, 16), data, loss="mean_squared_error")
    assert findings.rules[0] == "constant-target"
    assert [finding.rule for finding in findings.causes] == ["constant-target"]


def test_class_numbers_as_floats_are_worth_a_hint_and_measurements_are_not() -> None:
    for y, found in ((DIGITS.y, True), (DIGITS.y + 0.5, False), (DIGITS.y % 2, False)):
        data = (DIGITS.X, y.astype(np.float32)[:, None])
        hints = cr.look.diagnose(network(64, 1, 16), data, loss="mean_squared_error").of("hint")
        assert ("label-wrong-kind" in {finding.rule for finding in hints}) is found


def test_a_set_that_holds_each_row_twice_shares_rows_with_its_validation() -> None:
    twice = (np.concatenate([CANCER.X, CANCER.X]), np.concatenate([CANCER.y, CANCER.y]))
    for data, found in ((twice, True), ((CANCER.X, CANCER.y), False)):
        findings = after(network(30, 2, 8), data, cr.optim.Adam(1e-3), validation=0.2, epochs=1)
        assert ("validation-shares-rows" in findings.rules) is found


def test_copies_are_found_in_more_rows_than_a_sample_holds() -> None:
    X = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    X[1::5] = X[::5]  # a fifth of the rows: of two samples of 2,000 hardly any would meet
    findings = after(network(3, 2, 4), (X, (X[:, 0] > 0).astype(int)), cr.optim.Adam(1e-3), validation=0.2, epochs=1)
    (found,) = [finding for finding in findings if finding.rule == "validation-shares-rows"]
    assert found.evidence["share"] == pytest.approx(0.32, abs=0.03)  # 2 / 5 of them, the twin in training 4 of 5 times


def test_keys_of_rows_agree_as_the_rows_do() -> None:
    X = np.random.default_rng(1).integers(0, 4, (3000, 5)).astype(np.float32)
    X[X == 0] *= np.random.default_rng(2).choice([-1.0, 1.0], int((X == 0).sum()))  # 0 and -0 are equal
    keys = row_keys(Rows((X, np.arange(3000))))
    assert len(np.unique(keys)) == len(np.unique(X + 0.0, axis=0))
    assert by_chance(X) == 1.0
    assert by_chance(np.random.default_rng(3).normal(size=(3000, 8))) < 1e-6


def test_a_run_that_stood_still_at_a_tiny_rate_is_too_slow() -> None:
    net = network(64, 10, 16)
    history = cr.fit(
        net, (DIGITS.X, DIGITS.y), loss="cross_entropy", optimizer=cr.optim.SGD(1e-9), epochs=5, progress=False
    )
    findings = cr.look.diagnose(net, (DIGITS.X, DIGITS.y), loss="cross_entropy", history=history)
    assert findings.rules[0] == "learning-rate-too-low", str(findings)


# --- Single values, few rows, small first weights ------------------------------------------------------------------


@pytest.mark.parametrize("value", [1e5, -400.0])
@pytest.mark.parametrize("p", [WINE, DIGITS, CANCER], ids=lambda p: p.name)
def test_one_wild_input_is_the_cause_with_its_row_column_and_value(p: Problem, value: float) -> None:
    for column in (2, 5):
        X = p.X.copy()
        X[9, column] = value
        findings = cr.look.diagnose(network(p.features, p.outputs, 16), (X, p.y), loss=p.loss)
        assert findings.causes[0].rule == "extreme-inputs", str(findings)
        assert findings[0].where == f"column {column} of X, row 9"
        assert findings[0].evidence["value"] == value
        assert "np.delete(X, 9, axis=0)" in findings[0].advice
        scaled_by_it = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-6)
        again = cr.look.diagnose(network(p.features, p.outputs, 16), (scaled_by_it, p.y), loss=p.loss)
        assert again.rules[0] == "extreme-inputs", str(again)


def test_one_wild_target_is_the_cause_before_and_after_a_run() -> None:
    p = problem("diabetes")
    y = p.y.reshape(-1, 1).copy()
    y[7] = 1e5
    net = network(10, 1, 16)
    findings = cr.look.diagnose(net, (p.X, y), loss="mean_squared_error")
    assert [finding.rule for finding in findings.causes] == ["extreme-targets"], str(findings)
    assert findings[0].where == "y, row 7"
    findings = after(net, (p.X, y), cr.optim.Adam(1e-2), loss="mean_squared_error")
    assert [finding.rule for finding in findings.causes] == ["extreme-targets"], str(findings)


@pytest.mark.parametrize("draw", ["lognormal", "standard_cauchy", "exponential"])
def test_a_heavy_tail_has_no_single_wild_numbers(draw: str) -> None:
    """Of 40 columns of 2,000 rows hardly any, although their largest numbers lie hundreds of deviations away."""
    X = getattr(np.random.default_rng(0), draw)(size=(2000, 40))
    assert len(extremes(Rows((X, X[:, 0])), 0)) <= 8 * (draw == "standard_cauchy")


def test_rare_marks_and_codes_are_no_wild_numbers() -> None:
    marks = np.random.default_rng(1).random((5000, 30)) < 0.001
    marks = (marks - marks.mean(axis=0)) / marks.std(axis=0)
    X = np.column_stack([marks, np.random.default_rng(2).normal(size=(5000, 3))])
    assert not extremes(Rows((X, X[:, 0])), 0)


@pytest.mark.parametrize(("rows", "severity"), [(6, "warning"), (24, "warning"), (40, "hint"), (50, "")])
def test_few_rows_are_said_to_be_few(rows: int, severity: str) -> None:
    findings = cr.look.diagnose(network(13, 3, 16), (WINE.X[:rows], WINE.y[:rows]), loss="cross_entropy")
    found = [finding.severity for finding in findings if finding.rule == "too-few-rows"]
    assert found == [severity] * bool(severity)


def test_a_truth_table_has_all_the_rows_there_can_be() -> None:
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([[0], [1], [1], [0]], np.float32)
    assert "too-few-rows" not in cr.look.diagnose(network(2, 1, 8), (X, y), loss="binary_cross_entropy").rules
    assert "too-few-rows" in cr.look.diagnose(network(2, 1, 8), (X[:3], y[:3]), loss="binary_cross_entropy").rules


@pytest.mark.parametrize("rate", [1e-3, 3e-3])
def test_small_first_weights_are_the_cause_although_adam_made_them_larger(rate: float) -> None:
    net, numbers = network(64, 10, *(32,) * 10, act=nn.Tanh), np.random.default_rng(0)
    for parameter in net.parameters():
        if parameter.ndim == 2:
            parameter.assign(0.03 * numbers.standard_normal(parameter.shape).astype(np.float32))
    findings = after(net, (DIGITS.X, DIGITS.y), cr.optim.Adam(rate), epochs=15)
    assert [finding.rule for finding in findings.causes][:1] == ["activations-shrink"], str(findings)
    assert findings[0].evidence["weight deviation"] == pytest.approx(0.03, rel=0.1)


def test_class_numbers_as_floats_are_an_error_for_cross_entropy_which_refuses_them() -> None:
    data = (WINE.X, WINE.y.astype(np.float32))
    findings = cr.look.diagnose(network(13, 3, 16), data, loss="cross_entropy")
    assert (findings.rules[0], findings[0].severity, findings[0].advice) == (
        "label-wrong-kind", "error", "y = y.astype(int)",
    )  # fmt: skip
    with pytest.raises(cr.DTypeError, match="astype"):
        cr.fit(network(13, 3, 16), data, loss="cross_entropy", progress=False)


def test_a_network_of_relu_is_not_advised_to_take_relu() -> None:
    for act, advised in ((nn.ReLU, False), (nn.Sigmoid, True)):
        net = network(64, 10, *(32,) * 8, act=act)
        for parameter in net.parameters():
            if parameter.ndim == 2:
                parameter.assign(0.05 * parameter.value)
        found = cr.look.diagnose(net, (DIGITS.X, DIGITS.y), loss="cross_entropy")
        faded = [finding for finding in found if finding.rule in ("activations-shrink", "vanishing-gradients")]
        assert faded
        assert all(("ReLU in place of sigmoid" in finding.advice) == advised for finding in faded), str(found)
