"""The command `chainrule`: finds the command that was asked for, runs it, and turns errors into sentences and statuses.

Exit statuses: 0 done; 1 a defect of ours; 2 a mistake in what the user gave, one sentence on standard error; 130
interrupted, with everything saved. To add a command, write a file with `app` and a line in `COMMANDS`.
"""

import importlib
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from chainrule.app.cli import screen
from chainrule.app.jobs.flags import nearest
from chainrule.errors import ChainruleError


class Command(NamedTuple):
    """A command: the module whose `app` it is, and what it does in a few words."""

    module: str
    about: str


COMMANDS = {
    "train": Command("chainrule.app.cli.train", "learn from a table or from images, and report how well"),
    "predict": Command("chainrule.app.cli.predict", "let a trained network answer for new rows or images"),
    "evaluate": Command("chainrule.app.cli.evaluate", "measure a trained network on rows whose answers are known"),
    "explain": Command("chainrule.app.cli.explain", "take one training step apart, for rows of your data"),
    "diagnose": Command("chainrule.app.cli.diagnose", "say why a run did not learn, and what to change"),
    "datasets": Command("chainrule.app.cli.datasets", "list, show or copy the built-in data sets"),
}
DONE, DEFECT, MISTAKE, INTERRUPTED = 0, 1, 2, 130


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of this process, and return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _dispatch(given)
        sys.stdout.flush()
    except ChainruleError as error:
        return _mistake(str(error))
    except KeyboardInterrupt:
        screen.mistake("interrupted.", "stopped")
        return INTERRUPTED
    except MemoryError:
        return _mistake("there is not enough memory for this: take fewer rows or columns.")
    except BrokenPipeError:
        # Whoever read our output has seen enough, as in `chainrule predict ... | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _mistake(f"{where}{error.strerror or error}.")
    except Exception as error:
        return _defect(error)
    return status


def _mistake(sentence: str) -> int:
    screen.mistake(sentence)
    return MISTAKE


def _dispatch(given: list[str]) -> int:
    if given == ["--version"]:
        print(f"chainrule {version('chainrule')}")
        return DONE
    if not given or given[0] in ("--help", "-h", "help"):
        screen.overview({name: command.about for name, command in COMMANDS.items()})
        return DONE if given else MISTAKE
    name, *rest = given
    if name not in COMMANDS:
        what = "option" if name.startswith("-") else "command"
        hint = nearest(name, COMMANDS) or f"; the commands are {', '.join(COMMANDS)}."
        return _mistake(f'there is no {what} "{name}"{hint} See chainrule --help.')
    return _run_command(importlib.import_module(COMMANDS[name].module).app, name, rest)


def _run_command(app: Any, name: str, arguments: list[str]) -> int:
    """Run a typer app so that its complaints come out as one sentence, like ours."""
    import typer

    command = typer.main.get_command(app)
    _make_readable(command)
    try:
        status = command.main(arguments, prog_name=f"chainrule {name}", standalone_mode=False)
    except typer.Exit as leave:
        return int(leave.exit_code)
    except SystemExit:
        # The parser leaves in this way for one reason only: nobody reads our output any more.
        raise BrokenPipeError from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        # typer brings the parser along and does not name its errors in public; they all have format_message.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        context = getattr(error, "ctx", None)
        path = getattr(context, "command_path", f"chainrule {name}")
        return _mistake(f"{_sentence(message())} See {path} --help.")
    return status if isinstance(status, int) else DONE


def _make_readable(command: Any) -> None:
    """Help with arguments in capitals, flags without a type, and paragraphs as wide as the terminal."""
    for each in (command, *getattr(command, "commands", {}).values()):
        each.help = re.sub(r"(?<!\n)\n(?!\n)", " ", each.help or "")
        for parameter in each.params:
            if parameter.param_type_name == "argument":
                parameter.metavar = parameter.name.upper()
            elif parameter.is_flag:
                parameter.metavar = ""


def _sentence(text: str) -> str:
    """A message of the parser on one line, with a full stop."""
    line = " ".join(text.split())
    return line if line.endswith((".", "?", "!")) else f"{line}."


def _defect(error: Exception) -> int:
    """Say that it is our fault, and keep what is needed to mend it."""
    trace = "".join(traceback.format_exception(error))
    name = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    try:
        handle, path = tempfile.mkstemp(prefix="chainrule-defect-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as stream:
            stream.write(f"chainrule {version('chainrule')}, Python {sys.version}\n\n{trace}")
    except OSError:
        screen.mistake(f"this is a defect of chainrule ({name}). Please report it.")
        print(trace, file=sys.stderr)
        return DEFECT
    screen.mistake(f"this is a defect of chainrule ({name}). Please report it with the file {Path(path)}.")
    return DEFECT
