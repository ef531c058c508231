"""`chainrule train --repair`: flags that hold a run back are changed, and what was done can be done again by hand."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import chainrule as cr
from chainrule.app.jobs.choices import decide
from chainrule.app.jobs.flags import Flags
from chainrule.app.jobs.lesson import prepare
from chainrule.app.jobs.remedies import FLAG_REMEDIES, command, options
from chainrule.app.jobs.source import open_source
from chainrule.data import builtin
from chainrule.look.diagnosis.rules import ALL

# Flags that hold a run on wine back, and the flag by which a repair helps.
HELD_BACK = {
    "one unit": (["--hidden", "1", "--epochs", "15"], "--hidden"),
    "a rate far too low": (["--learning-rate", "1e-7", "--epochs", "15"], "--learning-rate"),
    "too few epochs": (["--epochs", "3"], "--epochs"),
}


@pytest.mark.parametrize("name", HELD_BACK)
def test_flags_that_hold_a_run_back_are_changed(chainrule, name: str) -> None:
    flags, changed = HELD_BACK[name]
    ran = chainrule("train", "wine", *flags, "--repair", "--json", "--output", "mended")
    document: dict[str, Any] = json.loads(ran.out)
    tried = document["repair"]
    kept = [trial for trial in tried["trials"] if trial["kept"]]
    assert any(changed in trial["code"] for trial in kept), tried
    assert tried["after"]["accuracy"] >= 0.95
    assert tried["after"]["loss"] < 0.5 * tried["before"]["loss"]
    assert document["network_score"]["metrics"]["accuracy"] >= 0.95


def test_the_command_that_is_told_makes_the_same_run_to_the_bit(chainrule) -> None:
    told = chainrule("train", "wine", *HELD_BACK["one unit"][0], "--repair", "--output", "mended")
    assert (told.status, "changes tried" in told.out or "change tried" in told.out) == (0, True)
    assert max(len(line) for line in told.out.splitlines() if "chainrule " not in line and "; " not in line) <= 80
    command = told.out.split("The same run without --repair")[1].strip().splitlines()[0]
    assert "--repair" not in command
    again = chainrule(*shlex.split(command)[1:], "--quiet", "--output", "again")
    assert again.status == 0
    assert Path("again", "model.safetensors").read_bytes() == Path("mended", "model.safetensors").read_bytes()
    report = Path("mended", "report.html").read_text(encoding="utf-8")
    assert "<h2>Repair</h2>" in report
    assert "<h2>Repair</h2>" not in Path("again", "report.html").read_text(encoding="utf-8")


def test_a_run_that_blows_up_is_brought_to_its_end(chainrule) -> None:
    flags = ["--optimizer", "sgd", "--learning-rate", "1e30", "--epochs", "6"]
    assert chainrule("train", "diabetes", *flags, "--quiet").status == 2
    ran = chainrule("train", "diabetes", *flags, "--repair", "--json")
    tried = json.loads(ran.out)["repair"]
    assert tried["before"]["loss"] is None
    assert tried["after"]["r2"] > 0.3


def test_a_healthy_run_is_left_alone(chainrule) -> None:
    tried = json.loads(chainrule("train", "wine", "--epochs", "15", "--repair", "--json").out)["repair"]
    assert not [trial for trial in tried["trials"] if trial["kept"]]
    assert tried["after"] == tried["before"]
    assert tried["command"] == "chainrule train wine --epochs 15"


def test_what_is_still_found_speaks_of_columns_and_flags(chainrule) -> None:
    """The inputs that the run makes itself, such as those for missing cells, are constant as the rows have it."""
    ran = chainrule("train", "penguins", "--hidden", "1", "--epochs", "3", "--repair", "--attempts", "1", "--json")
    for finding in json.loads(ran.out)["repair"]["findings"]:
        assert "=" not in finding["where"]
        assert "of X" not in finding["where"]
        assert "X[" not in finding["advice"]


def test_a_wild_cell_is_named_by_its_line_and_as_it_is_written(chainrule) -> None:
    lines = builtin.fetch("penguins", ".").read_text(encoding="utf-8").splitlines()
    at = lines[0].split(",").index("flipper_length_mm")
    for number in (40, 90, 140, 190, 240):  # some of them are learned from
        cells = lines[number - 1].split(",")
        lines[number - 1] = ",".join([*cells[:at], "210000", *cells[at + 1 :]])
    Path("wild.csv").write_text("\n".join(lines), encoding="utf-8")
    ran = chainrule(
        "train", "wild.csv", "--target", "species", "--epochs", "3", "--repair", "--attempts", "0", "--json"
    )
    findings = json.loads(ran.out)["repair"]["findings"]
    wild = [finding for finding in findings if finding["rule"] == "extreme-inputs"]
    assert wild
    for finding in wild:
        where = r'column "flipper_length_mm", (line (40|90|140|190|240) of wild\.csv)( \(validation\))?'
        found = re.fullmatch(where, finding["where"])
        assert found, finding
        assert finding["summary"].startswith(f"210000 in {found[1]} stands")


def test_attempts_bound_how_many_changes_are_tried(chainrule) -> None:
    for attempts in (0, 1):
        ran = chainrule("train", "wine", "--epochs", "3", "--repair", "--attempts", attempts, "--json")
        assert len(json.loads(ran.out)["repair"]["trials"]) == attempts


def test_without_the_flag_nothing_is_tried(chainrule) -> None:
    document = json.loads(chainrule("train", "iris", "--epochs", "2", "--json").out)
    assert "repair" not in document


def test_repair_with_quiet_prints_one_line(chainrule) -> None:
    ran = chainrule("train", "iris", "--epochs", "12", "--repair", "--quiet")
    assert (ran.status, len(ran.out.splitlines())) == (0, 1)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--repair", "--epochs", "0"], "--epochs must be a whole number from 1, but is 0."),
        (["--repair", "--attempts", "-1"], "--attempts must be a whole number from 0, but is -1."),
        (["--repair", "--attempts", "few"], "'--attempts': Input should be a valid integer"),
        (["--attempts", "3"], "--attempts says how many changes --repair tries: give --repair too."),
    ],
)
def test_a_mistake_is_said_before_anything_is_trained(chainrule, flags: list[str], said: str) -> None:
    ran = chainrule("train", "iris", *flags)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err


def test_every_rule_with_a_remedy_exists() -> None:
    assert FLAG_REMEDIES.keys() <= {rule.name for rule in ALL}


@pytest.mark.parametrize(
    ("rule", "evidence", "flags", "code"),
    [
        ("vanishing-gradients", {}, {"activation": "sigmoid"}, ["--activation relu"]),
        ("activations-grow", {}, {"hidden": (32,) * 6}, ["--hidden 32,32"]),
        ("underfitting", {}, {"hidden": (), "dropout": 0.0, "epochs": 10}, ["--hidden 64", "--epochs 30"]),
        ("dropout-misplaced", {}, {"dropout": 0.9}, ["--dropout 0.1"]),
        ("overfitting", {}, {"dropout": 0.0, "hidden": (256,)}, ["--dropout 0.3", "--hidden 64"]),
        ("batch-too-small", {"rows for balance": 130.0}, {"batch_size": 2}, ["--batch-size 64"]),
        ("batch-too-small", {"rows for balance": float("inf")}, {"batch_size": 2}, ["--batch-size 256"]),
        ("learning-rate-too-high", {"suggested": 0.01}, {"learning_rate": 1.0}, ["--learning-rate 0.01"]),
    ],
)
def test_each_rule_has_the_flags_that_its_advice_speaks_of(
    rule: str, evidence: dict[str, float], flags: dict[str, Any], code: list[str]
) -> None:
    asked = Flags("iris", **flags)
    choices = decide(asked, prepare(open_source("iris"), asked))
    finding = cr.look.Finding(rule, "warning", "", "", evidence, "", "after")
    changes = list(options(asked, choices, finding))
    assert [change.code for change in changes if change.code in code] == code
    for change in changes:
        assert change.way != asked
        assert change.code.split()[0] in command(change.way)
