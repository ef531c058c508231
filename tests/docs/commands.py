"""The reference of the command line as Markdown, made from the declarations that `--help` is made from."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

import typer

from chainrule.app.cli.main import COMMANDS

BEGIN, END = "<!-- made from --help by tests/docs/test_commands.py -->", "<!-- end -->"


def reference() -> str:
    """All commands with their arguments and flags, between the two marks."""
    parts = [BEGIN]
    for name in COMMANDS:
        app = importlib.import_module(COMMANDS[name].module).app
        parts += [
            text for path, command in walked(name, typer.main.get_command(app)) for text in _section(path, command)
        ]
    return "\n\n".join([*parts, END])


def walked(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command, and those within it."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, each in inner.items():
        yield from walked(f"{path} {name}", each)


def _section(path: str, command: Any) -> list[str]:
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    usage = " ".join([f"chainrule {path}", *(_metavar(each) for each in arguments), "[FLAGS]"])
    about = [_plain(part) for part in command.help.split("\n\n")]
    rows = [f"| `{_metavar(each)}` | {_plain(each.help)} |" for each in arguments]
    rows += [
        f"| `{' '.join([*each.opts[:1], *_value(each)])}` | {_plain(each.help)} |"
        for each in shown
        if each.param_type_name == "option"
    ]
    table = "\n".join(["| | |", "| --- | --- |", *rows])
    return [f"### `chainrule {path}`", f"Usage: `{usage}`", *about, table]


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name).upper()


def _value(option: Any) -> list[str]:
    return [] if getattr(option, "is_flag", False) else [_metavar(option)]


def _plain(text: str | None) -> str:
    """Help as Markdown: examples, which are bold there, are code here."""
    line = " ".join((text or "").split()).replace("|", r"\|")
    return re.sub(r"\[bold\](.*?)\[/bold\]", r"`\1`", line)
