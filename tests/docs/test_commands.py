"""docs/command-line.md names every command with every flag, in the words of `--help`."""

import re

import pytest

from chainrule.app.cli.main import COMMANDS, run
from docs.commands import BEGIN, END, reference
from pages import ROOT

PAGE = ROOT / "docs" / "command-line.md"


def test_the_page_has_the_reference_as_it_is(request: pytest.FixtureRequest) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert rest, "the mark where the reference begins is gone"
    if request.config.getoption("--update-golden"):
        PAGE.write_text(before + reference() + after, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == before + reference() + after, "write it anew with --update-golden"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_of_the_help_is_in_the_reference(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The help is what a user sees, whatever it is made from."""
    section = "".join(re.findall(rf"^### `chainrule {command}\b.*?(?=^### |\Z)", reference(), re.DOTALL | re.MULTILINE))
    assert run([command, "--help"]) == 0
    flags = set(re.findall(r"(?<!\w)--[a-z][a-z-]*", capsys.readouterr().out)) - {"--help"}
    assert flags <= set(re.findall(r"--[a-z][a-z-]*", section)), command
