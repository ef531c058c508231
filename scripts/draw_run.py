"""Draws docs/pictures/run.svg: what `chainrule train digits` shows in a terminal, by a run of it.

    python scripts/draw_run.py

The picture is rich's own export of what was printed; it loads no font from elsewhere.
"""

import contextlib
import io
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import MONOKAI

from chainrule.app.cli import screen, telling
from chainrule.app.jobs.flags import Flags
from chainrule.app.jobs.training import train
from chainrule.train.progress import Progress
from chainrule.train.trainer import Trainer

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "run.svg"
COMMAND = "chainrule train digits"


class Last:
    """Stands in for rich's live display, and prints the last of what it is shown."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.picture: Any = None

    def update(self, picture: Any, *, refresh: bool) -> None:
        """What to show now."""
        self.picture = picture

    def stop(self) -> None:
        """Show it."""
        self.console.print(self.picture, no_wrap=True, overflow="ellipsis")


class Shown(Progress):
    """The progress line as in a terminal, on the console that is recorded."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def on_train_begin(self, trainer: Trainer) -> None:
        """Open the line."""
        super().on_train_begin(trainer)
        self.live = Last(self.console)


def main() -> None:
    console = Console(
        record=True, width=96, force_terminal=True, color_system="truecolor", highlight=False, file=io.StringIO()
    )
    screen.console = lambda *, error=False: console
    console.print(f"[bold green]$[/] {COMMAND}")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["CHAINRULE_CACHE"] = str(Path(folder) / "cache")
        telling.result(train(Flags("digits"), begin=telling.plan, callbacks=[Shown(console)]))
    save(console, COMMAND, PICTURE)


def save(console: Console, title: str, file: Path) -> None:
    """Write what was printed on a console that records as a picture."""
    drawing = console.export_svg(title=title, theme=MONOKAI, unique_id=file.stem)
    drawing = re.sub(r"\s*@font-face \{.*?\}\n", "\n", drawing, flags=re.DOTALL)
    fonts = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace'
    drawing = drawing.replace("font-family: Fira Code, monospace", f"font-family: {fonts}")
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(line.rstrip() for line in drawing.splitlines()) + "\n", encoding="utf-8")
    print(f"wrote {file}")


if __name__ == "__main__":
    main()
