"""Pages in Markdown whose snippets run: what a page shows is what happens.

Blocks of `python` run in their order in one namespace, blocks of `sh` line by line, all in one folder. A block of
`text` right after one of them is what it prints on standard output; three dots in it stand for anything.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from chainrule.app.cli.main import run as run_command_line

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
# Commands of the shell that no test runs: they fetch, install, or take long; their other words are checked.
NOT_RUN = ("make", "git", "cd", "pip", "python", ".venv/bin/python")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, the line that it begins in, and what it must print."""

    language: str
    code: str
    line: int
    shown: str | None


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page that run."""
    fences = [
        token for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")) if token.type == "fence"
    ]
    for place, token in enumerate(fences):
        assert token.map is not None
        if token.info in ("python", "sh"):
            after = fences[place + 1] if place + 1 < len(fences) else None
            follows = after is not None and after.info == "text" and after.map[0] <= token.map[1] + 1
            yield Block(token.info, token.content, token.map[0] + 1, after.content if follows else None)


def run_page(page: Path) -> int:
    """Run all blocks of a page in the current folder; returns how many there were."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    count = 0
    for block in blocks(page):
        count += 1
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            if block.language == "python":
                # Empty lines before the code, so that errors have the line of the page.
                exec(compile("\n" * block.line + block.code, str(page), "exec"), namespace)
            else:
                for words in commands(block):
                    _run(words, f"{page.name}, line {block.line}")
        if block.shown is not None:
            same = doctest.OutputChecker().check_output(block.shown, printed.getvalue(), doctest.ELLIPSIS)
            assert same, f"{page.name}, line {block.line}: shown\n{block.shown}\nbut printed\n{printed.getvalue()}"
    return count


def commands(block: Block) -> list[list[str]]:
    """The command lines of a block of `sh`, as words."""
    lines = [shlex.split(line, comments=True) for line in block.code.replace("\\\n", " ").splitlines()]
    return [words for words in lines if words]


def _run(words: list[str], where: str) -> None:
    name, *rest = words
    if name == "chainrule":
        status = run_command_line(rest)
        assert status == 0, f"{where}: {shlex.join(words)} ended with status {status}"
        return
    assert name in NOT_RUN, f"{where}: nothing is known of the command {name}"
    if name == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for goal in (word for word in rest if "=" not in word):
            assert re.search(rf"^{goal}:", makefile, re.MULTILINE), f"{where}: make has no target {goal}"
    if name.endswith("python") and rest and rest[0].endswith(".py"):
        assert (ROOT / rest[0]).is_file(), f"{where}: there is no {rest[0]}"
