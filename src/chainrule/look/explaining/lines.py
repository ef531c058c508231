"""Lines of styled text, the material of the terminal view: as plain text without a library, in colour with rich."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from chainrule.look.explaining.palette import BACKWARD, FORWARD, STILL

Line = list[tuple[str, str]]  # pieces of text, each with the name of a style in `STYLES`, or ""
STYLES = {
    "forward": FORWARD,
    "back": BACKWARD,
    "still": STILL,
    "title": "bold",
    "forward title": f"bold {FORWARD}",
    "back title": f"bold {BACKWARD}",
    "good": "green",
    "bad": "bold red",
}
WIDTH = 80
# What a name out of somebody's data must not do to a terminal or a page: control characters, which move the cursor or
# change colours, what reorders the text around it, and halves of characters, which cannot be written at all.
UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")


def visible(text: str) -> str:
    r"""`text` with a sign in place of each character that would do something instead of being seen.

    >>> visible("\x1b[31mred") == "\ufffd[31mred"
    True
    """
    return UNFIT.sub("\ufffd", text)


def plain(lines: Iterable[Line], width: int = WIDTH) -> str:
    """The lines without colour, each cut to `width` columns."""
    return "\n".join(cut(visible("".join(text for text, _ in line)).rstrip(), width) for line in lines)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def shortened(name: str, width: int) -> str:
    """A name in at most `width` characters, without its middle: both ends of a path say the most.

    >>> shortened("encoder.layers.3.attention.query.weight", 20)
    'encoder.…uery.weight'
    """
    if len(name) <= width:
        return name
    front = (width - 1) * 2 // 5 + 1
    return f"{name[:front]}…{name[len(name) - (width - 1 - front) :]}"


def wrapped(text: str, width: int, indent: str) -> list[str]:
    """`text` in lines of at most `width` columns, each after `indent`, broken between words."""
    lines, current = [], indent
    for word in text.split(" "):
        if len(current) + len(word) + 1 > width and current.strip():
            lines.append(current)
            current = indent
        current += ("" if current == indent else " ") + cut(word, width - len(indent))
    return [*lines, current]


def heading(number: str, name: str, style: str, note: str) -> Line:
    """A rule across the page with the name of a phase."""
    title = f"━━ {number} {name} "
    tail = f" {note}" if note else ""
    return [(title, f"{style} title".strip()), ("━" * max(3, WIDTH - len(title) - len(tail)), style), (tail, "still")]


def rich_text(lines: Iterable[Line], *, wrap: bool = False) -> Any:
    """The lines as one text of rich; those that are too long are cut, or with `wrap` broken."""
    from rich.text import Text

    text = Text(no_wrap=not wrap, overflow="fold" if wrap else "ellipsis")
    for number, line in enumerate(lines):
        if number:
            text.append("\n")
        for piece, style in line:
            text.append(visible(piece), STYLES.get(style, style))
    return text


def show(lines: Iterable[Line]) -> None:
    """Print the lines, in colour where the terminal has one."""
    from rich.console import Console

    Console(highlight=False).print(rich_text(lines))


def show_error(lines: Iterable[Line]) -> None:
    """Print whole lines to standard error, where a terminal breaks those that are too long for it."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    console.print(rich_text(lines, wrap=True), soft_wrap=not console.is_terminal)
