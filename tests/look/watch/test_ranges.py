"""Signs beside figures: where the rules of diagnosis find a fault there is one, and healthy runs have none."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.look.diagnosis import flow
from chainrule.look.diagnosis.rules import ALL
from chainrule.look.watching.ranges import HIGH, LOST, LOW, ZEROS, Kind, kinds_of, marks_of

WEIGHTED = Kind("Dense", 100, is_weighted=True)


def three(**first: float) -> list[tuple[str, str, str, str]]:
    """The marks of three layers of 100 weights, healthy but for some figures of the first."""
    healthy = {"gradient_norm": 1.0, "weight_norm": 10.0, "update_ratio": 1e-3, "activation_deviation": 1.0}
    layers = {"a": healthy | first, "b": healthy, "c": healthy}
    kinds = {"a": Kind("Dense", 100, is_weighted=True, activation="relu"), "b": WEIGHTED, "c": WEIGHTED}
    return [(mark.layer, mark.figure, mark.sign, mark.rule) for mark in marks_of(layers, kinds)]


@pytest.mark.parametrize(
    ("figure", "inside", "outside", "sign", "rule"),
    [
        ("gradient_norm", 1.01e-3, 0.99e-3, LOW, "vanishing-gradients"),
        ("gradient_norm", 69.0, 71.0, HIGH, "exploding-gradients"),
        ("update_ratio", 0.99, 1.01, HIGH, "updates-too-large-or-small"),
        ("update_ratio", 1.01e-7, 0.99e-7, LOW, "updates-too-large-or-small"),
        ("activation_zero", ZEROS - 0.01, ZEROS, HIGH, "dead-relu"),
        ("activation_saturated", 0.74, 0.75, HIGH, "saturated-units"),
    ],
)
def test_a_sign_stands_where_the_threshold_is_passed(
    figure: str, inside: float, outside: float, sign: str, rule: str
) -> None:
    assert three(**{figure: inside}) == []
    assert three(**{figure: outside}) == [("a", figure, sign, rule)]


def test_the_thresholds_are_those_of_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = {threshold.value for rule in ALL for threshold in rule.thresholds}
    assert {flow.VANISHED, flow.EXPLODED, flow.DEAD, flow.TOO_LARGE, flow.TOO_SMALL} <= declared
    assert flow.DEAD < ZEROS < 1


def test_what_is_no_number_has_a_sign_of_its_own() -> None:
    assert ("a", "gradient_norm", LOST, "loss-not-finite") in three(gradient_norm=np.nan)
    assert ("a", "activation_deviation", LOST, "loss-not-finite") in three(activation_deviation=np.inf)


def watched(net: nn.Module, **settings) -> tuple[cr.History, set[str]]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(256, 16)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
    settings = {"loss": "cross_entropy", "epochs": 3, "progress": False} | settings
    history = cr.fit(net, (X, y), callbacks=[cr.look.Watch(every=1)], **settings)
    kinds = kinds_of(net)
    return history, {mark.rule for glance in history.watched for mark in marks_of(glance.layers, kinds)}


def deep(activation: type[nn.Module], depth: int = 8) -> nn.Module:
    cr.random.seed(0)
    hidden = [layer for _ in range(depth) for layer in (nn.Dense(16, 16), activation())]
    return nn.Sequential(*hidden, nn.Dense(16, 2))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU])
def test_a_healthy_run_has_no_sign(activation: type[nn.Module]) -> None:
    history, rules = watched(deep(activation, 2), optimizer=cr.optim.Adam(1e-3), epochs=10)
    assert history["loss"][-1] < history["loss"][0]
    assert rules == set()


def test_runs_with_a_fault_have_the_sign_of_it() -> None:
    assert "vanishing-gradients" in watched(deep(nn.Sigmoid))[1]
    wild = deep(nn.Tanh, 3)
    for layer in (wild[0], wild[2], wild[4]):
        layer.weight.assign(200 * layer.weight.value)
    assert "saturated-units" in watched(wild)[1]
    dead = deep(nn.ReLU, 2)
    dead[0].bias.assign(np.full(16, -50, np.float32))
    assert "dead-relu" in watched(dead)[1]
    assert "updates-too-large-or-small" in watched(deep(nn.Tanh, 2), optimizer=cr.optim.Adam(3.0))[1]


def test_kinds_are_named_as_the_figures_are() -> None:
    net = nn.Sequential(nn.Dense(4, 3, activation="relu"), nn.LayerNorm(3), nn.Dense(3, 2))
    net[2].weight.trainable = False
    assert kinds_of(net) == {
        "Sequential": Kind("Sequential"),
        "0": Kind("Dense", 15, True, "relu"),
        "1": Kind("LayerNorm", 6),
        "2": Kind("Dense", 2),
    }
    assert kinds_of(nn.Dense(2, 1))["Dense"].elements == 3
