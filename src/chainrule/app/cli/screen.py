"""What the commands share on the terminal: two consoles, the colours, one way to say an error.

Blue is what the network guesses, orange what is wrong, grey what is less important; a word or a sign always says the
same. Where the output is no terminal, or NO_COLOR is set, it is plain text.
"""

import functools
import json
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from chainrule.app.report.markup import plain
from chainrule.look.explaining.lines import UNFIT, visible

BLUE, ORANGE, GREY = "#3b82f6", "#f97316", "grey58"
WIDTH = 80
FULL, EMPTY = "█", "·"


@functools.cache
def console(*, error: bool = False) -> Any:
    """The console of standard output or standard error; 80 columns where there is no terminal to ask.

    Names out of the user's data pass through it as text that does nothing: colours are styles, not characters.
    """
    from rich.console import Console

    class Harmless(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterator[Any]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=visible(segment.text))

    found = Harmless(stderr=error, highlight=False, soft_wrap=False)
    return found if found.is_terminal else Harmless(stderr=error, highlight=False, width=WIDTH, color_system=None)


def mistake(sentence: str, word: str = "error") -> None:
    """One sentence on standard error, after the word "error"."""
    from rich.text import Text

    line = Text.assemble((f"{word}: ", f"bold {ORANGE}"), plain(sentence, 2000))
    console(error=True).print(line, soft_wrap=True)


def overview(commands: Mapping[str, str]) -> None:
    """The help of `chainrule` itself."""
    from rich.text import Text

    out = console()
    out.print(
        Text.assemble(
            ("chainrule", f"bold {BLUE}"), ": neural networks that learn by backpropagation, and show their work."
        )
    )
    out.print()
    out.print(Text("Usage: chainrule COMMAND ...", "bold"))
    out.print()
    for name, about in commands.items():
        out.print(Text.assemble("  ", (f"{name:<10}", f"bold {BLUE}"), about))
    out.print()
    out.print("  --help     this page; chainrule COMMAND --help says more about a command")
    out.print("  --version  the version")
    out.print()
    out.print(Text("Try it:", "bold"))
    out.print("  chainrule train digits                      learn to read handwritten digits")
    out.print("  chainrule train people.csv --target income  learn from a table of your own")
    out.print("  chainrule predict runs/people new.csv       and use what was learned")
    out.print("  chainrule explain runs/digits digits        see every number of one step")


def heading(text: str) -> None:
    """A line above a block."""
    from rich.text import Text

    console().print()
    console().print(Text(text, "bold"))


def pairs(rows: list[tuple[str, str]], look: str = "") -> None:
    """Names and what they are, in two columns."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for name, value in rows:
        grid.add_row(Text(f"  {plain(name, 40)}" if name else "", look), Text(plain(value, 600)))
    console().print(grid)


def paragraph(text: Any, indent: int = 2) -> None:
    """Text, every line of it set in."""
    from rich.padding import Padding

    console().print(Padding(text, (0, 0, 0, indent)))


def bar(value: float, width: int = 24, low: float = 0.0, high: float = 1.0) -> str:
    """A number as a bar.

    Examples
    --------
    >>> bar(0.5, 8), bar(float("nan"), 4)
    ('████····', '····')
    """
    share = (value - low) / (high - low) if math.isfinite(value) else 0.0
    filled = round(width * min(1.0, max(0.0, share)))
    return FULL * filled + EMPTY * (width - filled)


def print_json(value: Any) -> None:
    """One JSON document on standard output and nothing else; what is not finite is null."""
    text = json.dumps(_finite(value), ensure_ascii=False, indent=2)
    print(UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_plain(text: str) -> None:
    """Text on standard output: as it is where a program reads it, so that a terminal only shows it where one does."""
    print(visible(text) if sys.stdout.isatty() else text, end="")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def remark(sentence: str) -> None:
    """A note on standard error, so that it stays out of what standard output is piped into."""
    from rich.text import Text

    line = Text.assemble(("note: ", GREY), plain(sentence, 600))
    console(error=True).print(line, soft_wrap=True)


def short(name: str) -> str:
    """A name in a narrow column."""
    return plain(name, 10)
