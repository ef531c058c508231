"""At the end of a run `fit` says by itself what is wrong: aloud where progress is shown, never to the run's harm."""

from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.look.diagnosis.registry import PROBING, SHARE
from chainrule.look.diagnosis.rules import ALL
from chainrule.look.examining import MOST_ROWS, sampled
from chainrule.train.examination import Door, FinishedRun
from chainrule.train.inputs import Rows

RNG = np.random.default_rng(0)
Y = np.arange(240) % 3
X = (RNG.normal(size=(3, 6))[Y] + 0.4 * RNG.normal(size=(240, 6))).astype(np.float32)


def healthy() -> nn.Sequential:
    cr.random.seed(1)
    return nn.Sequential(nn.Dense(6, 16), nn.ReLU(), nn.Dropout(0.1), nn.Dense(16, 3))


def faulty() -> nn.Sequential:
    """The loss takes logits, and gets probabilities."""
    return nn.Sequential(*healthy(), nn.Softmax())


def learn(net: nn.Module, data=(X, Y), epochs: int = 8, **settings) -> cr.History:
    return cr.fit(net, data, loss="cross_entropy", optimizer=cr.optim.Adam(0.02), epochs=epochs, **settings)


def test_a_fault_is_said_after_the_run_in_two_lines_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    history = learn(faulty())
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("epoch")]
    assert said[0].startswith("✗ error: probabilities-before-logits  4  ")
    assert said[1].startswith("  → remove the softmax at the end")
    assert history.findings.rules[0] == "probabilities-before-logits"


def test_nothing_is_said_of_a_healthy_run(capsys: pytest.CaptureFixture[str]) -> None:
    history = learn(healthy(), validation=0.2, epochs=15)
    assert all(line.startswith("epoch") for line in capsys.readouterr().err.splitlines())
    assert history.findings is not None
    assert not history.findings.causes


def test_a_silent_run_is_diagnosed_only_when_asked_and_stays_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert learn(faulty(), progress=False).findings is None
    assert learn(faulty(), progress=False, diagnose=True).findings.of("error")
    assert capsys.readouterr().err == ""
    assert learn(faulty(), diagnose=False).findings is None
    assert "probabilities-before-logits" not in capsys.readouterr().err


@pytest.mark.parametrize("is_compiled", [True, False])
def test_diagnosis_changes_no_bit_of_this_run_or_the_next(is_compiled: bool) -> None:
    ends = []
    for diagnose in (False, True):
        net, optimizer = healthy(), cr.optim.Adam(0.02)
        settings = {"loss": "cross_entropy", "optimizer": optimizer, "progress": False, "compile": is_compiled}
        first = cr.fit(net, (X, Y), epochs=2, diagnose=diagnose, **settings)
        again = cr.fit(net, (X, Y), epochs=2, diagnose=diagnose, **settings)
        states = {name: value.copy() for name, value in net.arrays().items()}
        ends.append((first["loss"], again["loss"], states, optimizer.arrays(), cr.random.default().counter.item()))
    (losses, later, states, memory, drawn), other = ends
    assert (losses, later, drawn) == (other[0], other[1], other[4])
    for one, two in ((states, other[2]), (memory, other[3])):
        assert one.keys() == two.keys()
        for name, value in one.items():
            np.testing.assert_array_equal(two[name], value)


def test_a_resumed_run_is_diagnosed_like_a_whole_one(tmp_path: Path) -> None:
    whole = learn(faulty(), progress=False, diagnose=True)
    path = tmp_path / "run"
    learn(faulty(), epochs=3, progress=False, diagnose=True, callbacks=[cr.Checkpoint(path)])
    resumed = learn(faulty(), progress=False, diagnose=True, resume=path)
    assert resumed.findings == whole.findings


def test_of_large_data_a_sample_is_read_that_is_the_same_every_time(tmp_path: Path) -> None:
    stored = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, (50_000, 3))
    stored[:] = np.arange(50_000)[:, None]
    rows = Rows((stored, np.arange(50_000)), np.arange(0, 50_000, 2))
    some, same = sampled(rows), sampled(rows)
    assert len(some[0]) == len(np.unique(some[1])) == MOST_ROWS
    assert not (some[1] % 2).any()
    np.testing.assert_array_equal(some[0][:, 0], some[1])
    np.testing.assert_array_equal(some[1], same[1])


def test_a_sample_does_not_hide_how_many_rows_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside 20 rows this network would be far too large; it learned from 240."""
    net = nn.Sequential(nn.Dense(6, 3000), nn.ReLU(), nn.Dense(3000, 3))
    settings = {"progress": False, "diagnose": True, "epochs": 1}
    assert "network-size" in learn(net, (X[:20], Y[:20]), **settings).findings.rules
    monkeypatch.setattr("chainrule.look.examining.sampled", lambda rows, most: rows.take(slice(0, 20)))
    assert "network-size" not in learn(net, **settings).findings.rules


def test_an_examination_that_fails_costs_neither_run_nor_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(run: FinishedRun) -> cr.look.Findings:
        raise RuntimeError("the examiner fell ill")

    monkeypatch.setattr("chainrule.train.fit.door", (door := Door()))
    assert learn(healthy(), progress=False, diagnose=True).findings is None  # nobody is behind this door
    door.leads_to(lambda: broken)
    history = learn(healthy(), progress=False, diagnose=True)
    assert len(history) == 8
    assert history.findings is None
    assert capsys.readouterr().err == "The run could not be diagnosed: RuntimeError: the examiner fell ill\n"


def test_a_symptom_is_not_announced_beside_its_cause(capsys: pytest.CaptureFixture[str]) -> None:
    history = learn(healthy(), (X * 1e4, Y), progress=False, diagnose=True)
    rules = {finding.rule for finding in history.findings.causes}
    symptoms = [finding for finding in history.findings if finding.because in rules]
    assert "inputs-not-scaled" in rules
    assert symptoms
    history.findings.announce()
    said = capsys.readouterr().err
    assert "inputs-not-scaled" in said
    assert all(f": {finding.rule} " not in said for finding in symptoms)
    assert said == history.findings.brief() + "\n"


class Counting(nn.Module):
    """A network of the user's own that counts how often it is called."""

    def __init__(self) -> None:
        self.inside, self.calls = nn.Sequential(nn.Dense(6, 16), nn.ReLU(), nn.Dense(16, 3)), 0

    def __call__(self, x):
        self.calls += 1
        return self.inside(x)


def test_beside_a_short_run_one_step_and_no_costly_rule_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("chainrule.look.diagnosis.registry.Rule.findings", lambda rule, case: asked.append(rule) or ())
    learn(healthy(), epochs=2, progress=False, diagnose=True)
    assert asked == [rule for rule in ALL if not rule.cost]
    asked.clear()
    learn(healthy(), (np.tile(X, (50, 1)), np.tile(Y, 50)), epochs=2, progress=False, diagnose=True)
    assert asked == list(ALL)  # of 24,000 examples
    monkeypatch.undo()
    net = Counting()
    learn(net, epochs=2, progress=False, diagnose=False, compile=False)
    before = net.calls
    learn(net, epochs=2, progress=False, diagnose=True, compile=False)
    assert net.calls == 2 * before + 1


def test_a_rate_that_is_far_too_high_is_found_in_short_and_long_runs() -> None:
    """By the course of a short run, and by trials aside where these are little beside the run."""
    evidence = []
    for copies, epochs in ((1, 8), (50, 2)):
        data = np.tile(X, (copies, 1)), np.tile(Y, copies)
        settings = {"loss": "cross_entropy", "optimizer": cr.optim.Adam(100.0), "progress": False, "diagnose": True}
        history = cr.fit(healthy(), data, epochs=epochs, **settings)
        found = [finding for finding in history.findings if finding.rule == "learning-rate-too-high"]
        assert found, history.findings.rules
        evidence.append("suggested" in found[0].evidence)
    assert evidence == [False, True]


def test_labels_that_were_shuffled_are_found_after_a_run_of_normal_length() -> None:
    order = np.random.default_rng(3).permutation(len(Y))
    history = learn(healthy(), (X, Y[order]), epochs=int(PROBING / SHARE / len(Y)) + 1, progress=False, diagnose=True)
    assert "labels-look-shuffled" in history.findings.rules
