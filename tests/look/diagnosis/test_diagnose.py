"""`diagnose` as a user meets it: what it takes, what it refuses, what it prints."""

import json
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.data import builtin

X = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
Y = X[:, :3].argmax(axis=1)


def network(*end: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Dense(4, 16, activation="relu"), nn.Dense(16, 3), *end)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"net": "net"}, cr.ArgumentError, "net must be a network"),
        ({"data": X}, cr.DataError, r"data must be a tuple \(X, y\)"),
        ({"data": (X, Y[:5])}, cr.DataError, r"\[120, 5\] rows"),
        ({"data": (X[:0], Y[:0])}, cr.DataError, "there is nothing to look at"),
        ({"data": (X.astype(str), Y)}, cr.DataError, "X of data must be an array of numbers"),
        ({"data": ([[1.0], [1.0, 2.0]], Y)}, cr.DataError, "X of data"),
        ({"validation": (X, Y[:3])}, cr.DataError, "the parts of validation"),
        ({"loss": "crossentropy"}, cr.ArgumentError, 'did you mean "cross_entropy"'),
        ({"optimizer": "adamm"}, cr.ArgumentError, "adam"),
        ({"optimizer": 0.1}, cr.ArgumentError, "optimizer must be an optimizer"),
        ({"history": [cr.History(), None]}, cr.ArgumentError, r"history\[1\] must be what fit returned.* NoneType"),
        ({"data": (np.zeros((2, 3)), ["cat", "dog"])}, cr.DataError, "y of data must be an array .* but is text"),
        ({"history": {"loss": [1.0]}}, cr.ArgumentError, "history must be what fit returned"),
        ({"batch_size": 0}, cr.ArgumentError, "batch_size must be a whole number from 1"),
        ({"batch_size": True}, cr.ArgumentError, "batch_size"),
        ({"data": (X[:, :3], Y)}, cr.ShapeError, "expects"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], error: type[Exception], words: str) -> None:
    given = {"net": network(), "data": (X, Y), "loss": "cross_entropy"} | change
    net, data = given.pop("net"), given.pop("data")
    with pytest.raises(error, match=words):
        cr.look.diagnose(net, data, **given)


def test_a_refusal_that_no_rule_explains_is_raised() -> None:
    def refuses(guess: Any, target: Any) -> Any:
        raise cr.ArgumentError("not today")

    with pytest.raises(cr.ArgumentError, match="not today"):
        cr.look.diagnose(network(), (X, Y), loss=refuses)


def test_a_healthy_network_prints_one_line() -> None:
    findings = cr.look.diagnose(network(), (X, Y), loss="cross_entropy")
    assert not findings
    assert str(findings) == "Nothing found in data and network; there is no run to judge."
    assert findings.__rich__().plain == str(findings)
    net = network()
    history = cr.fit(net, (X, Y), loss="cross_entropy", optimizer=cr.optim.Adam(2e-2), epochs=20, progress=False)
    seen = cr.look.diagnose(net, (X, Y), loss="cross_entropy", history=history)
    assert str(seen) == "Nothing found: data, network and training look healthy."
    assert repr(findings) == "<Findings: nothing>"
    assert "Nothing found" in findings._repr_html_()


def test_the_page_fits_eighty_columns_and_tells_everything() -> None:
    raw, y, names = builtin.load("wine")
    net = nn.Sequential(nn.Dense(13, 16, activation="relu"), nn.Dense(16, 3), nn.Softmax())
    findings = cr.look.diagnose(net, (raw, y), loss="cross_entropy", feature_names=names)
    text = str(findings)
    assert max(map(len, text.splitlines())) <= 80
    for finding in findings:
        assert finding.rule in text
        assert finding.evidence
        assert finding.advice
    assert findings[0].rule == "probabilities-before-logits"
    assert findings[1].where == 'column "proline"'
    assert repr(findings).startswith("<Findings: 1 error")


def test_colour_and_plain_text_say_the_same() -> None:
    findings = cr.look.diagnose(network(nn.Softmax()), (X, Y), loss="cross_entropy")
    assert findings.__rich__().plain == str(findings)


def test_findings_are_json() -> None:
    findings = cr.look.diagnose(network(nn.Softmax()), (X, Y), loss="cross_entropy")
    (data,) = json.loads(json.dumps(findings.to_dict()))["findings"]
    assert data["rule"] == "probabilities-before-logits"
    assert data["severity"] == "error"
    assert set(data) == {"rule", "severity", "where", "summary", "evidence", "advice", "phase", "because"}


def test_names_of_the_user_are_text_in_the_page() -> None:
    wide = X * np.array([1, 1, 1, 900], np.float32)
    findings = cr.look.diagnose(network(), (wide, Y), loss="cross_entropy", feature_names=["a", "b", "c", "<script>"])
    html = findings._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_after_a_compiled_run_the_program_goes_on_as_if_nobody_had_looked() -> None:
    """A program works in place on arrays that states lend it; a diagnosis between two runs must not disturb them."""
    ends = []
    for look in (False, True):
        cr.random.seed(1)
        net = nn.Sequential(nn.Dense(4, 16), nn.BatchNorm(16), nn.ReLU(), nn.Dropout(0.2), nn.Dense(16, 3))
        optimizer = cr.optim.Adam(1e-2)
        for _ in range(2):
            history = cr.fit(net, (X, Y), loss="cross_entropy", optimizer=optimizer, epochs=3, progress=False)
            if look:
                cr.look.diagnose(net, (X, Y), loss="cross_entropy", optimizer=optimizer, history=history)
        ends.append({name: value.copy() for name, value in net.arrays().items()})
    for name, value in ends[0].items():
        np.testing.assert_array_equal(ends[1][name], value)


def test_a_suggested_rate_is_better_than_the_one_given() -> None:
    net = network()
    findings = cr.look.diagnose(net, (X, Y), loss="cross_entropy", optimizer=cr.optim.SGD(300.0))
    rate = next(finding for finding in findings if finding.rule == "learning-rate-too-high").evidence["suggested"]
    history = cr.fit(
        net, (X, Y), loss="cross_entropy", optimizer=cr.optim.SGD(float(rate)), epochs=10, progress=False, compile=False
    )
    assert history["loss"][-1] < 0.5 * history["loss"][0]


def test_scaling_as_advised_silences_the_rule() -> None:
    raw, y, _ = builtin.load("wine")
    net = nn.Sequential(nn.Dense(13, 16, activation="relu"), nn.Dense(16, 3))
    assert "inputs-not-scaled" in cr.look.diagnose(net, (raw, y), loss="cross_entropy").rules
    better = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    assert not cr.look.diagnose(net, (better, y), loss="cross_entropy")
    inside = nn.Sequential(nn.BatchNorm(13), *net.layers)
    assert not cr.look.diagnose(inside, (raw, y), loss="cross_entropy")


def test_weights_of_rows_silence_the_warning_of_a_rare_class() -> None:
    rare = np.where(np.arange(120) < 114, Y % 2, 2)
    data = X + np.float32(3) * (rare == 2)[:, None] * np.eye(4, dtype=np.float32)[3]
    found = cr.look.diagnose(network(), (data, rare), loss="cross_entropy")
    assert found.rules == ["class-imbalance"]
    assert not cr.look.diagnose(network(), (data, rare, np.ones(120)), loss="cross_entropy").of("warning")


class Functional(nn.Module):
    """Three layers, and between and after them what a function does."""

    def __init__(self, between: Any, end: Any) -> None:
        self.layers, self.between, self.end = [nn.Dense(4, 16), nn.Dense(16, 16), nn.Dense(16, 3)], between, end

    def __call__(self, x: Any) -> Any:
        first, second, third = self.layers
        return self.end(third(self.between(second(self.between(first(x))))))


@pytest.mark.parametrize(
    ("between", "end", "rules"),
    [
        (cr.relu, lambda x: x, []),
        (cr.relu, cr.softmax, ["probabilities-before-logits"]),
        (lambda x: 2 * x, lambda x: x, ["no-nonlinearity"]),
        (cr.relu, cr.relu, ["output-cannot-reach-targets"]),
        (lambda x: cr.asarray(np.maximum(np.asarray(x), 0)), lambda x: x, ["no-gradient"]),
    ],
)
def test_what_functions_do_is_seen_as_well_as_layers(between: Any, end: Any, rules: list[str]) -> None:
    assert cr.look.diagnose(Functional(between, end), (X, Y), loss="cross_entropy").rules == rules
