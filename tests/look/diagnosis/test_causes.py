"""Causes that users met: named after a run as before it, first, and with advice that does not contradict itself."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.look.diagnosis.repeats import by_chance, row_keys
from chainrule.nn.optimizers import Optimizer
from chainrule.train.inputs import Rows
from look.faults.problems import Array, problem

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
