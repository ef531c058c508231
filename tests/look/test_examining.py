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
    places = sampled(rows)
    some = rows.take(places)
    assert len(some[0]) == len(np.unique(some[1])) == MOST_ROWS
    assert not (some[1] % 2).any()
    np.testing.assert_array_equal(some[0][:, 0], some[1])
    np.testing.assert_array_equal(rows.numbers(places), some[1])
    np.testing.assert_array_equal(sampled(rows), places)


def test_a_sample_does_not_hide_how_many_rows_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside 20 rows this network would be far too large; it learned from 240."""
    net = nn.Sequential(nn.Dense(6, 3000), nn.ReLU(), nn.Dense(3000, 3))
    settings = {"progress": False, "diagnose": True, "epochs": 1}
    assert "network-size" in learn(net, (X[:20], Y[:20]), **settings).findings.rules
    monkeypatch.setattr("chainrule.look.examining.sampled", lambda rows, most: np.arange(20))
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


# --- Runs of which there is less to look at ------------------------------------------------------------------------


@pytest.mark.parametrize("is_list", [True, False], ids=["list", "generator"])
def test_of_batches_the_first_rows_are_looked_at(is_list: bool) -> None:
    batches = [(X[start : start + 30], Y[start : start + 30]) for start in range(0, 240, 30)]
    given, epochs = (batches, 8) if is_list else ((batch for batch in batches), 1)
    history = learn(faulty(), given, epochs=epochs, progress=False, diagnose=True)
    assert history.findings.rules[0] == "probabilities-before-logits"
    assert learn(faulty(), batches, progress=False).findings is None


def test_batches_that_reuse_one_buffer_are_kept_as_they_came() -> None:
    class Reusing:
        def __iter__(self):
            x, y = np.empty((30, 6), np.float32), np.empty(30, np.int64)
            for start in range(0, 240, 30):
                x[:], y[:] = X[start : start + 30], Y[start : start + 30]
                yield x, y

    history = learn(healthy(), Reusing(), progress=False, diagnose=True)
    assert "labels-look-shuffled" not in history.findings.rules
    assert not history.findings.of("error")


def test_batches_of_other_widths_are_left_out() -> None:
    batches = [
        (np.ones((30, 4, 6), np.float32), np.ones((30, 4, 1))),
        (np.ones((30, 7, 6), np.float32), np.ones((30, 7, 1))),
    ]
    net = nn.Sequential(nn.Dense(6, 1))
    history = cr.fit(net, batches, loss="mean_squared_error", epochs=2, progress=False, diagnose=True)
    assert "constant-target" in history.findings.rules


@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_run_that_breaks_down_has_its_history_and_the_cause_in_the_error(
    is_compiled: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = X.copy()
    wild[7, 2] = 1e25
    settings = {"loss": "mean_squared_error", "optimizer": cr.optim.SGD(0.1), "compile": is_compiled}
    net = nn.Sequential(nn.Dense(6, 8), nn.Dense(8, 1))
    with pytest.raises(cr.NonFiniteError) as raised:
        cr.fit(net, (wild, X[:, :1]), **settings)
    history = raised.value.history
    assert history.stopped == "failed"
    assert history.findings.rules[:2] == ["extreme-inputs", "loss-not-finite"]
    assert history.findings[0].where == "column 2 of X, row 7"
    assert "extreme-inputs" in capsys.readouterr().err
    with pytest.raises(cr.NonFiniteError) as raised:
        cr.fit(net, (wild, X[:, :1]), progress=False, **settings)
    assert raised.value.history.findings is None


def test_missing_numbers_in_a_batch_are_the_cause_of_its_nan() -> None:
    wild = X.copy()
    wild[40, 3] = np.nan
    batches = [(wild[start : start + 30], Y[start : start + 30]) for start in range(0, 240, 30)]
    with pytest.raises(cr.NonFiniteError) as raised:
        learn(healthy(), batches, progress=False, diagnose=True)
    assert raised.value.history.findings.rules[0] == "data-not-finite"
    assert "row 40" in raised.value.history.findings[0].where


def test_a_single_number_is_found_in_more_rows_than_a_sample_holds_by_the_row_that_the_user_knows() -> None:
    wide = np.tile(X, (50, 1))
    y = np.tile(Y, 50)
    wide[11_003, 4] = 4e3
    history = learn(healthy(), (wide, y), epochs=1, validation=0.2, progress=False, diagnose=True)
    (found,) = [finding for finding in history.findings if finding.rule == "extreme-inputs"]
    assert found.where.startswith("column 4 of X, row 11003")
