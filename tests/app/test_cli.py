"""The command line around the commands: help, version, data sets, defects of ours, and how quickly it starts."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import polars as pl
import pytest

from chainrule.app.cli import main, screen
from chainrule.data import builtin

HEAVY = ("polars", "sklearn", "PIL", "typer", "llvmlite")
LOADED = """
import sys
from chainrule.app.cli.main import run
status = run(["--help"])
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(status)
"""


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", LOADED], capture_output=True, text=True, check=True)
    for name in main.COMMANDS:
        assert f"  {name} " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not set(HEAVY) & set(done.stderr.split())


def test_version(chainrule) -> None:
    assert chainrule("--version").out == f"chainrule {version('chainrule')}\n"


def test_without_a_command_the_help_is_shown_and_the_status_says_so(chainrule) -> None:
    assert chainrule().status == 2
    shown = chainrule("--help")
    assert shown.status == 0
    assert max(map(len, shown.out.splitlines())) <= 80
    assert "\nstep" not in shown.out  # nothing is broken where a line ends


@pytest.mark.parametrize("command", [[name] for name in main.COMMANDS] + [["datasets", n] for n in ("list", "show")])
def test_every_command_has_help_within_eighty_columns(chainrule, command: list[str]) -> None:
    ran = chainrule(*command, "--help")
    assert (ran.status, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= 80
    assert f"chainrule {' '.join(command)}" in ran.out
    assert ran.out.count("<bool>") == 1  # of --help itself, which the parser adds


def test_help_names_arguments_in_capitals_and_its_paragraphs_are_as_wide_as_the_terminal(chainrule) -> None:
    shown = chainrule("explain", "--help").out
    assert "{MODEL} {DATA}" in shown
    about = shown[shown.index("Shows what") : shown.index("Layers are named")].strip().splitlines()
    assert all(len(line.strip()) > 60 for line in about[:-1])
    assert chainrule("explain").err.startswith("error: Missing argument 'MODEL'.")


def test_the_help_of_train_has_every_flag(chainrule) -> None:
    shown = chainrule("train", "--help").out
    wanted = "target task hidden activation dropout loss optimizer learning-rate schedule batch-size epochs patience"
    for flag in f"{wanted} validation test seed ignore weights repair output json quiet".split():
        assert f"--{flag} " in shown


# --- Data sets ---------------------------------------------------------------------------------------------------


def test_datasets_list_names_them_all(chainrule) -> None:
    shown = chainrule("datasets", "list").out
    documents = json.loads(chainrule("datasets", "list", "--json").out)
    assert [each["name"] for each in documents] == list(builtin.names())
    for name in builtin.names():
        assert name in shown


@pytest.mark.parametrize("name", builtin.names())
def test_datasets_show_has_licence_and_first_rows(chainrule, name: str) -> None:
    shown = chainrule("datasets", "show", name).out
    assert "(empty)" not in shown
    assert builtin.describe(name).licence in shown
    assert builtin.describe(name).target in shown
    document = json.loads(chainrule("datasets", "show", name, "--json").out)
    assert len(document["first_rows"]) == 5
    assert len(document["column_names"]) == document["columns"] + 1


def test_datasets_fetch_writes_a_csv_that_trains(chainrule, tmp_path: Path) -> None:
    ran = chainrule("datasets", "fetch", "iris", "--output", "data")
    assert ran.out == "data/iris.csv\n"
    assert pl.read_csv(tmp_path / "data" / "iris.csv").height == 150
    assert chainrule("train", "data/iris.csv", "--target", "species", "--epochs", "1", "--quiet").status == 0


# --- Errors ------------------------------------------------------------------------------------------------------


def test_a_defect_of_ours_ends_with_status_1_and_keeps_its_trace(chainrule, monkeypatch, tmp_path: Path) -> None:
    def broken(*_: object) -> int:
        raise KeyError("of ours")

    monkeypatch.setattr(main, "_dispatch", broken)
    monkeypatch.setattr(main.tempfile, "tempdir", str(tmp_path))
    ran = chainrule("train", "iris")
    assert (ran.status, ran.out) == (1, "")
    assert "defect of chainrule" in ran.err
    assert ran.err.count("\n") == 1
    (trace,) = tmp_path.glob("chainrule-defect-*.txt")
    assert "Traceback" in trace.read_text()
    assert trace.name in ran.err


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (MemoryError(), 2, "not enough memory"),
        (PermissionError(13, "Permission denied", "secret.csv"), 2, "secret.csv: Permission denied"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_the_machine_refuses_is_a_sentence(chainrule, monkeypatch, error, status, words) -> None:
    def refused(*_: object) -> int:
        raise error

    monkeypatch.setattr(main, "_dispatch", refused)
    ran = chainrule("train", "iris")
    assert ran.status == status
    assert words in ran.err
    assert ran.err.count("\n") == 1


def test_json_has_no_nan(capsys) -> None:
    screen.print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": -float("inf")}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": None}}
