"""What is wrong with a run is said at its end, in its report, and by `chainrule diagnose`; of healthy ones nothing."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from chainrule import nn
from chainrule.app.cli.main import run
from chainrule.app.jobs.advising import ADVICE, with_flags
from chainrule.app.jobs.diagnosing import diagnose_run
from chainrule.app.jobs.flags import Flags
from chainrule.app.jobs.runs import open_run
from chainrule.data import builtin
from chainrule.look.diagnosis.finding import Finding, Findings
from chainrule.look.diagnosis.registry import Rule
from chainrule.look.diagnosis.rules import ALL
from chainrule.train.history import History

TOO_FAST = ("--learning-rate", "3", "--optimizer", "sgd", "--schedule", "constant", "--epochs", "15")


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on iris whose learning rate is far too high."""
    folder = tmp_path_factory.mktemp("fast") / "run"
    assert run(["train", "iris", *TOO_FAST, "--quiet", "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on wine as the defaults have it."""
    folder = tmp_path_factory.mktemp("good") / "run"
    assert run(["train", "wine", "--quiet", "--output", str(folder)]) == 0
    return folder


def test_a_seeded_fault_is_found_first_with_a_flag_that_mends_it(chainrule, fast: Path) -> None:
    ran = chainrule("diagnose", fast, "--json")
    assert (ran.status, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert (found["data"], found["rows"], found["held_out"], found["epochs"]) == ("iris", 96, 24, 15)
    first = found["findings"][0]
    assert (first["rule"], first["severity"]) == ("learning-rate-too-high", "warning")
    assert first["page"] == "docs/diagnosis.md#learning-rate-too-high"
    assert first["evidence"]["learning rate"] == 3
    flag, rate = first["advice"].split()
    assert (flag, float(rate)) == ("--learning-rate", first["evidence"]["suggested"])
    mended = [*TOO_FAST[2:], flag, rate, "--quiet", "--output", "mended"]
    assert chainrule("train", "iris", *mended).status == 0
    assert json.loads(chainrule("diagnose", "mended", "--json").out)["findings"] == []


def test_the_terminal_has_findings_with_evidence_and_advice(chainrule, fast: Path) -> None:
    ran = chainrule("diagnose", fast)
    assert (ran.status, ran.err) == (0, "")
    assert "15 epochs; iris, 96 rows, 24 held out" in " ".join(ran.out.split())  # a long path breaks the line anywhere
    assert "! warning: learning-rate-too-high  the optimizer" in ran.out
    assert "    → --learning-rate 0." in ran.out
    assert all(len(line) <= 80 for line in ran.out.partition("Diagnosis")[2].splitlines())


def test_nothing_is_said_of_a_healthy_run(chainrule, good: Path) -> None:
    ran = chainrule("diagnose", good)
    assert ran.status == 0
    assert ran.out.endswith("\nNothing found: data, network and training look healthy.\n")
    report = (good / "report.html").read_text()
    assert "<h2>Diagnosis</h2>" not in report


def test_train_says_it_at_the_end_and_in_the_report(chainrule, fast: Path, tmp_path: Path) -> None:
    shown = chainrule("train", "iris", *TOO_FAST, "--output", "again").out
    assert "\nDiagnosis\n  ! warning: learning-rate-too-high  the optimizer" in shown
    assert "more with chainrule diagnose again" in shown
    report = (tmp_path / "again" / "report.html").read_text()
    assert "<h2>Diagnosis</h2>" in report
    assert "warning: learning-rate-too-high" in report
    healthy = chainrule("train", "wine").out
    assert "Diagnosis" not in healthy
    document = json.loads(chainrule("train", "iris", *TOO_FAST, "--json").out)
    assert document["findings"] == [
        {name: each[name] for name in each if name != "page"}
        for each in json.loads(chainrule("diagnose", fast, "--json").out)["findings"]
    ]


def test_the_run_knows_its_data_from_everywhere_and_others_can_be_named(
    chainrule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chainrule("datasets", "fetch", "penguins").status == 0
    assert chainrule("train", "penguins.csv", "--target", "species", "--quiet", "--output", "run").status == 0
    own = json.loads(chainrule("diagnose", "run", "--json").out)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    moved = json.loads(chainrule("diagnose", "../run", "--json").out)
    assert moved | {"run": "run"} == own
    assert own["data"] == str(tmp_path / "penguins.csv")
    named = json.loads(chainrule("diagnose", "../run", "penguins", "--json").out)
    assert (named["data"], named["rows"], named["held_out"]) == ("penguins", 344, 0)


def test_data_that_have_changed_since_are_said_to_have(chainrule, tmp_path: Path) -> None:
    assert chainrule("datasets", "fetch", "iris").status == 0
    assert chainrule("train", "iris.csv", "--target", "species", "--quiet", "--output", "run").status == 0
    head, *rows = (tmp_path / "iris.csv").read_text().splitlines()
    (tmp_path / "iris.csv").write_text("\n".join([head, *rows[::-1][20:]]) + "\n")
    ran = chainrule("diagnose", "run")
    assert ran.status == 0
    assert "is not as it was" in ran.err
    assert "130 rows" in ran.out


def test_images_too(chainrule, shapes: Path) -> None:
    assert chainrule("train", shapes, "--quiet", "--epochs", "3", "--output", "run").status == 0
    assert chainrule("diagnose", "run").status == 0


def test_a_page_can_be_written(chainrule, fast: Path, tmp_path: Path) -> None:
    assert chainrule("diagnose", fast, "--html", "a.html").status == 0
    page = (tmp_path / "a.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "learning-rate-too-high" in page
    assert "<script" not in page


def test_a_saved_run_is_the_run_that_was(fast: Path) -> None:
    kept = open_run(str(fast))
    assert kept.flags is not None
    assert (kept.flags.data, kept.flags.learning_rate, kept.flags.optimizer) == ("iris", 3.0, "sgd")
    assert kept.history.stopped == "epochs"
    assert len(kept.history) == 15


PYTHON = re.compile(r"nn\.|cr\.|np\.|fit\(|optim|Adam|X\[|y\[|\w=\S|init=|\bclip_")


def network(activation: str, hidden: int) -> nn.Sequential:
    layers = [nn.Dense(8, 8, activation=activation) for _ in range(hidden)]
    return nn.Sequential(*layers, nn.Dense(8, 3))


NETWORKS = [network(activation, hidden) for activation in ("relu", "tanh") for hidden in (1, 3)]


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.name)
def test_advice_of_every_rule_is_flags_and_not_python(rule: Rule) -> None:
    for net in NETWORKS:
        for evidence in ({}, {"learning rate": 0.5, "batch size": 2}, {"suggested": 1e-2}, {"classes": 10, "units": 1}):
            found = Finding(rule.name, "warning", "here, line 3 of a.csv", "", evidence, "X = nn.Dense(3, 4)", "after")
            (told,) = with_flags(Findings([found]), net)
            assert told.advice
            assert not PYTHON.search(told.advice.replace("--optimizer adamw", "")), told.advice
    assert ADVICE.keys() == {rule.name for rule in ALL}


def test_flags_that_the_advice_names_exist() -> None:
    known = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Flags)}
    for rule, advise in ADVICE.items():
        for net in NETWORKS:
            advice = advise(Finding(rule, "warning", "here", "", {}, "", "after"), net)
            assert set(re.findall(r"--[a-z-]+", advice)) <= known, advice


def test_advice_fits_the_network() -> None:
    for rule in ("vanishing-gradients", "activations-shrink"):
        found = Findings([Finding(rule, "warning", "0.weight", "", {}, "", "after")])
        advice = [with_flags(found, net)[0].advice for net in NETWORKS]
        assert advice == [
            "--learning-rate ten times smaller",
            "fewer layers, such as --hidden 8,8",
            "--activation relu",
            "--activation relu, or fewer layers, such as --hidden 8,8",
        ]


def test_the_page_of_a_healthy_run_has_a_title(chainrule, good: Path, tmp_path: Path) -> None:
    assert chainrule("diagnose", good, "--html", "page.html").status == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h1>Diagnosis</h1>" in page
    assert "Nothing found" in page


def test_a_layer_too_narrow_for_the_classes_gets_more_units_and_a_network_too_large_fewer() -> None:
    narrow = Finding("network-size", "warning", "0", "", {"units": 1, "classes": 10}, "nn.Dense(64, 20)", "before")
    large = Finding("network-size", "hint", "the network", "", {"parameters": 9000, "rows": 3}, "fewer units", "before")
    advice = [finding.advice for finding in with_flags(Findings([narrow, large]), NETWORKS[0])]
    assert advice == [
        "--hidden with more units, such as --hidden 20",
        "--hidden with fewer units, such as --hidden 16, or --dropout 0.3",
    ]


def test_a_loss_stuck_far_above_chance_asks_for_shorter_steps_only() -> None:
    def advice(loss: float) -> str:
        stuck = Finding("not-learning", "warning", "epochs 3 to 5", "", {"loss": loss, "chance": 2.3}, "", "after")
        return with_flags(Findings([stuck]), NETWORKS[0])[0].advice

    assert advice(1040.0) == "--learning-rate ten times smaller"
    assert "larger or smaller" in advice(2.31)


@pytest.mark.parametrize(
    ("rule", "evidence", "advice"),
    [
        ("diverging-loss", {}, "--learning-rate 0.004"),
        ("oscillating-loss", {}, "--learning-rate 0.004"),
        ("loss-not-finite", {}, "--learning-rate 0.004"),
        ("learning-rate-too-low", {}, "--learning-rate 0.4"),
        ("learning-rate-too-low", {"suggested": 0.25}, "--learning-rate 0.25"),
        ("updates-too-large-or-small", {}, "--learning-rate 0.4"),
        ("vanishing-gradients", {}, "--learning-rate 0.004"),
        ("not-learning", {"loss": 9.0, "chance": 2.3}, "--learning-rate 0.004"),
        ("not-learning", {}, "--learning-rate 0.4 or 0.004, --hidden 128,64, more --epochs"),
    ],
)
def test_rates_are_told_in_numbers_where_that_of_the_run_is_known(rule: str, evidence: dict, advice: str) -> None:
    found = Findings([Finding(rule, "warning", "epoch 3", "", evidence, "", "after")])
    history = History()
    assert "ten times" in with_flags(found, NETWORKS[0], history)[0].advice or "suggested" in evidence
    history.epochs = [{"epoch": 1, "learning_rate": 0.04}, {"epoch": 2, "learning_rate": 0.001}]
    (told,) = with_flags(found, NETWORKS[0], history)
    assert told.advice == advice
    assert told.evidence == evidence


def test_a_rate_far_too_high_is_the_cause_and_nobody_advises_a_larger_one(tmp_path: Path) -> None:
    flags = ["--learning-rate", "100", "--epochs", "5", "--quiet", "--output", str(tmp_path / "fast")]
    assert run(["train", "digits", *flags]) == 0
    findings = diagnose_run(str(tmp_path / "fast")).findings
    assert findings.rules[0] == "learning-rate-too-high", str(findings)
    assert findings[0].advice.startswith("--learning-rate 0.0")
    assert [finding.rule for finding in findings.causes] == ["learning-rate-too-high"]
    assert not any("larger" in finding.advice for finding in findings), str(findings)
    assert not any("weight_decay=" in finding.advice for finding in findings), str(findings)
    assert not any("--activation relu" in finding.advice for finding in findings), str(findings)


def changed_cell(name: str, line: int, column: int, cell: str) -> str:
    """A built-in set as CSV in which one cell holds something else; the header is line 1."""
    X, y, names = builtin.load(name)
    rows = [[*names, "answer"], *([*map(str, row), str(answer)] for row, answer in zip(X, y, strict=True))]
    rows[line - 1][column] = cell
    return "\n".join(map(",".join, rows)) + "\n"


@pytest.mark.parametrize(
    ("name", "column", "where"),
    [("wine", 3, 'column "alcalinity_of_ash", line 21 of wild.csv'), ("diabetes", -1, "y, line 21 of wild.csv")],
)
def test_one_wild_cell_is_the_cause_with_line_column_and_value(
    name: str, column: int, where: str, chainrule, tmp_path: Path
) -> None:
    (tmp_path / "wild.csv").write_text(changed_cell(name, 21, column, "99999"))
    task = "regression" if column == -1 else "multiclass"
    flags = ["--target", "answer", "--task", task, "--epochs", "5", "--quiet", "--output", "run"]
    assert chainrule("train", "wild.csv", *flags).status == 0
    for data in ((), ("wild.csv",)):
        cause = json.loads(chainrule("diagnose", "run", *data, "--json").out)["findings"][0]
        assert (cause["rule"].partition("-")[0], cause["where"]) == ("extreme", where)
        assert cause["evidence"]["value"] == pytest.approx(99999, rel=1e-3)
        assert "line 21 of wild.csv" in cause["advice"]


def test_six_rows_are_said_to_be_few(chainrule, tmp_path: Path) -> None:
    lines = changed_cell("iris", 1, -1, "species").splitlines()
    (tmp_path / "six.csv").write_text("\n".join([lines[0], *lines[1:3], *lines[60:62], *lines[120:122]]) + "\n")
    flags = ["--target", "species", "--task", "multiclass", "--output", "run"]
    shown = chainrule("train", "six.csv", *flags).out
    assert "warning: too-few-rows" in shown
    assert "diverging-loss" not in shown  # of a loss near 0


def test_what_was_found_stands_in_run_json(chainrule, fast: Path, good: Path) -> None:
    found = json.loads((fast / "run.json").read_text())["findings"]
    asked = json.loads(chainrule("diagnose", fast, "--json").out)["findings"]
    assert found == [{name: each[name] for name in each if name != "page"} for each in asked]
    assert json.loads((good / "run.json").read_text())["findings"] == []


def test_a_run_that_breaks_down_names_the_cause(chainrule) -> None:
    ran = chainrule("train", "diabetes", "--optimizer", "sgd", "--learning-rate", "1e30", "--quiet")
    assert ran.status == 2
    assert ran.err.count("\n") == 1
    assert "The diagnosis names learning-rate-too-high: With the learning rate 1e+30" in ran.err
    assert "Try --learning-rate 0." in ran.err


def test_copies_of_rows_in_a_file_are_found(tmp_path: Path) -> None:
    X, y, names = builtin.load("breast-cancer")
    lines = [",".join([*map(str, X[place]), f"kind {y[place]}"]) for place in [*range(200), *range(200), *range(100)]]
    (tmp_path / "rows.csv").write_text("\n".join([",".join([*names, "kind"]), *lines]) + "\n")
    flags = ["--target", "kind", "--epochs", "2", "--quiet", "--output", str(tmp_path / "run")]
    assert run(["train", str(tmp_path / "rows.csv"), *flags]) == 0
    assert "validation-shares-rows" in diagnose_run(str(tmp_path / "run")).findings.rules


# --- What does not fit -------------------------------------------------------------------------------------------


def spoiled(name: str, content: str | None):
    """A run one file of which holds something else, or is gone."""

    def make(run: Path) -> None:
        if content is None:
            (run / name).unlink()
        else:
            (run / name).write_text(content)

    return make


def gone(run: Path) -> None:
    text = json.loads((run / "run.json").read_text())
    text["flags"]["data"] = "/nowhere/iris.csv"
    (run / "run.json").write_text(json.dumps(text))


def changed_run(run: Path, stopped: object = "epochs", **changes: object) -> None:
    """Other values in run.json; `1e999` stands in it as text does, for what JSON has no word for."""
    document = json.loads((run / "run.json").read_text())
    document["flags"] |= changes
    document["stopped"] = stopped
    (run / "run.json").write_text(json.dumps(document).replace('"1e999"', "1e999"))


def flagged(**changes: object):
    return lambda run: changed_run(run, **changes)


BAD = {
    "no model": (spoiled("model.safetensors", None), ("has no model.safetensors",)),
    "no history": (spoiled("history.jsonl", None), ("has no history.jsonl", "finished run")),
    "a damaged history": (spoiled("history.jsonl", '{"epoch": 1}\n{"loss'), ("history.jsonl, line 2", "not JSON")),
    "nothing about the data": (spoiled("run.json", None), ("has no run.json", "name the data")),
    "a damaged run.json": (spoiled("run.json", '{"flags": '), ("run.json is damaged",)),
    "a run.json of something else": (spoiled("run.json", "[1, 2]"), ("run.json is damaged",)),
    "a run.json with a wrong value": (
        spoiled("run.json", '{"flags": {"data": "iris", "epochs": "many"}, "stopped": ""}'),
        ("run.json is damaged",),
    ),
    "ignored columns that are no list": (
        flagged(ignore="a"),
        ('run.json is damaged: the flag "ignore" must be a list',),
    ),
    "ignored columns that are numbers": (flagged(ignore=[3]), ('the flag "ignore" must be text',)),
    "an end that is a number": (flagged(stopped=3), ('run.json is damaged: "stopped" must be text, but is 3',)),
    "epochs without end": (flagged(epochs="1e999"), ('the flag "epochs" must be a whole number',)),
    "epochs below 1": (flagged(epochs=0), ("run.json is damaged: --epochs", "from 1")),
    "a rate without end": (flagged(learning_rate="1e999"), ('the flag "learning_rate" must be a finite number',)),
    "a rate of very many digits": (flagged(learning_rate=10**400), ('the flag "learning_rate" must be',)),
    "a seed that is true": (flagged(seed=True), ('the flag "seed" must be a whole number',)),
    "widths that are text": (flagged(hidden="64"), ('the flag "hidden" must be a list',)),
    "data that are a number": (flagged(data=3), ('the flag "data" must be text',)),
    "a flag that is not known": (flagged(speed=3), ("run.json is damaged", 'does not know the flag "speed"')),
    "a target that is an input": (
        flagged(target="petal_width_cm"),
        ('run.json has the target "petal_width_cm"', 'learned "species"'),
    ),
    "a target that is ignored": (flagged(ignore=["species"]), ("run.json does not fit iris", "--ignore")),
    "a loss of another task": (flagged(loss="huber"), ("run.json does not fit iris", "huber")),
    "an epoch without a loss": (spoiled("history.jsonl", '{"epoch": 1}'), ("history.jsonl, line 1", 'no "loss"')),
    "a loss without an epoch": (
        spoiled("history.jsonl", '{"epoch": 1, "loss": 1}\n{"loss": 1}'),
        ("history.jsonl, line 2", 'no "epoch"'),
    ),
    "an epoch that is none": (spoiled("history.jsonl", '{"epoch": null, "loss": 1}'), ("line 1", '"epoch" must be')),
    "a loss of very many digits": (
        spoiled("history.jsonl", f'{{"epoch": 1, "loss": {10**400}}}'),
        ("history.jsonl, line 1", "object of numbers"),
    ),
    "a history without a floor": (spoiled("history.jsonl", "[" * 200_000), ("history.jsonl, line 1", "not JSON")),
    "data that are gone": (gone, ("/nowhere/iris.csv", "If it moved, name it")),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_run_ends_in_one_sentence(name: str, chainrule, fast: Path, tmp_path: Path) -> None:
    make, words = BAD[name]
    shutil.copytree(fast, tmp_path / "run")
    make(tmp_path / "run")
    ran = chainrule("diagnose", "run")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    for word in words:
        assert word in ran.err
    assert "Error(" not in ran.err


ODD = {
    "no rate": '{"epoch": 1, "loss": 0.5}\n',
    "no finite loss": '{"epoch": 1, "loss": null}\n',
    "nothing finite": '{"epoch": 1, "loss": null, "learning_rate": null, "steps": null, "seconds": null}\n' * 4,
    "no steps": '{"epoch": 1, "loss": 0.5, "learning_rate": 3.0, "steps": 0}\n' * 4,
    "steps without end": '{"epoch": 1, "loss": 0.5, "learning_rate": 1e999, "steps": 1e999}\n' * 4,
    "figures that come and go": '{"epoch": 1, "loss": 0.5, "validation_loss": 1}\n{"epoch": 2, "loss": 0.4}\n' * 4,
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("data", [(), ("iris",)])
def test_a_history_that_lacks_figures_is_judged_by_the_others(name, data, chainrule, fast: Path, tmp_path) -> None:
    shutil.copytree(fast, tmp_path / "run")
    (tmp_path / "run" / "history.jsonl").write_text(ODD[name])
    ran = chainrule("diagnose", "run", *data, "--json")
    assert (ran.status, ran.err) == (0, "")
    rules = [each["rule"] for each in json.loads(ran.out)["findings"]]
    assert ("loss-not-finite" in rules) == ("finite" in name)


def test_without_an_epoch_there_is_no_run_to_judge(chainrule, good: Path, tmp_path: Path) -> None:
    shutil.copytree(good, tmp_path / "run")
    (tmp_path / "run" / "history.jsonl").write_text("")
    ran = chainrule("diagnose", "run", "--html", "a.html")
    assert ran.status == 0
    assert "history.jsonl has no epoch: there is no run to judge; data and network alone were looked at" in ran.err
    sentence = "Nothing found in data and network; there is no run to judge."
    assert ran.out.endswith(f"\n{sentence}\n")
    assert sentence in (tmp_path / "a.html").read_text()
    assert "there is no run to judge" in json.loads(chainrule("diagnose", "run", "--json").out)["notes"][0]


def test_what_is_no_run_and_data_that_do_not_fit(chainrule, fast: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("a,b\n1,2\n")
    for arguments, words in (
        (("nowhere",), "no file nowhere"),
        ((fast, "new.csv"), "There is no column"),
        ((fast, "nowhere.csv"), "no file nowhere.csv"),
        ((), "Missing argument"),
    ):
        ran = chainrule("diagnose", *arguments)
        assert (ran.status, ran.out) == (2, "")
        assert words in ran.err
