"""Draws docs/pictures/watch.svg: what `cr.look.Watch(live=True)` shows in a terminal, by a run of it.

    python scripts/draw_watch.py

The network reads handwritten digits; its first weights are far too large before a tanh, so that one layer has a
sign beside it. The picture is the last one of the run.
"""

import io
from typing import Any

import numpy as np
from rich.console import Console

import chainrule as cr
from chainrule import nn
from chainrule.data.builtin import load
from chainrule.look.watching.live import LiveView
from draw_run import PICTURE, save

WIDTH, HEIGHT = 80, 26


class Last:
    """Stands in for rich's live display, and prints the last of what it is shown."""

    def __init__(self, console: Console) -> None:
        self.console, self.picture = console, None

    def update(self, picture: Any, *, refresh: bool) -> None:
        """What to show now."""
        self.picture = picture

    def stop(self) -> None:
        """Show it."""
        self.console.print(self.picture, no_wrap=True, overflow="ellipsis")


class Shown(cr.look.Watch):
    """As in a terminal."""

    def shows_progress(self) -> bool:
        """Always."""
        return True


def main() -> None:
    console = Console(
        record=True, width=WIDTH, height=HEIGHT, force_terminal=True, color_system="truecolor", file=io.StringIO()
    )
    LiveView.opened = staticmethod(lambda: LiveView(Last(console)))
    digits = load("digits")
    X, y = digits.X.astype(np.float32) / 16, digits.y
    cr.random.seed(0)
    net = nn.Sequential(
        nn.Dense(64, 128), nn.ReLU(), nn.Dense(128, 64), nn.Tanh(), nn.Dense(64, 64), nn.LayerNorm(64), nn.ReLU(),
        nn.Dense(64, 10),
    )  # fmt: skip
    net[2].weight.assign(20 * net[2].weight.value)
    cr.fit(net, (X, y), loss="cross_entropy", epochs=20, validation=0.2, callbacks=[Shown(live=True)], progress=False)
    save(console, "python train.py", PICTURE.with_name("watch.svg"))


if __name__ == "__main__":
    main()
