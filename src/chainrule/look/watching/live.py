"""The watched run as a picture in the terminal, drawn anew a few times a second while the network learns.

It reads what the run has measured anyway and changes nothing of it. Drawing takes at most a fiftieth of the time,
whatever the terminal: the next picture waits the longer, the longer the last one took. Where there is no terminal, the
last picture is printed once, when the run is over.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.look.explaining.lines import WIDTH, rich_text
from chainrule.look.watching.course import Course
from chainrule.look.watching.picture import Scene, picture
from chainrule.look.watching.ranges import Kind, kinds_of
from chainrule.look.watching.reading import Reading
from chainrule.train.trainer import Trainer
from chainrule.train.watched import Glance

REFRESH = 0.1  # seconds between two pictures at least
SHARE = 0.02  # of the time goes into drawing at most
_LOSSES, _TREND = 256, 32  # means in the course of the loss; watched steps, of all, that show where gradients go
_FADE = 0.3  # how much of the speed is that since the last picture


class Paper:
    """A display that is no terminal, such as a file: the last picture, whole, once it is stopped."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False, width=WIDTH, height=10_000)
        self._last: Any = ""

    def update(self, picture: Any, *, refresh: bool) -> None:
        """Keep a picture in place of the one before."""
        self._last = picture

    def stop(self) -> None:
        """Print it, below a gap."""
        self.console.print()
        self.console.print(self._last)


class LiveView:
    """One run in a terminal, from its first picture to its last, which is left standing.

    Parameters
    ----------
    display
        What shows a picture, such as rich's live display: it has `update(picture, refresh=True)`, `stop()`, and its
        `console` has a width and a height.
    """

    def __init__(self, display: Any) -> None:
        self.display = display
        self.began = self._at = time.perf_counter()
        self._next = 0.0  # when the next picture may be drawn
        self._reading: Reading | None = None
        self._glance: Glance | None = None
        self._losses = Course(_LOSSES)
        self._some: list[Reading] = []  # evenly from all of the run
        self._noted, self._stride = 0, 1
        self._kinds: dict[str, Kind] = {}
        self._first_step = self._step = -1
        self._first_part = 0.0
        self._speed = math.nan
        self.drawn = 0  # pictures so far

    @staticmethod
    def opened() -> LiveView:
        """A view on standard error, which takes over the place below what is printed there until it is closed."""
        if not sys.stderr.isatty():
            return LiveView(Paper())
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True, highlight=False)
        display = Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop")
        display.start()
        return LiveView(display)

    def note(self, reading: Reading) -> None:
        """Another step was watched; its figures get their names when a picture is drawn."""
        self._reading = reading
        self._losses.add(reading.loss)
        if self._noted % self._stride == 0:
            if len(self._some) == _TREND:
                self._some, self._stride = self._some[::2], 2 * self._stride
            self._some.append(reading)
        self._noted += 1

    def draw_if_due(self, trainer: Trainer) -> None:
        """Draw, unless the last picture is too fresh or drawing took too much of the time."""
        if time.perf_counter() >= self._next and not isinstance(self.display, Paper):
            self.draw(trainer)

    def draw(self, trainer: Trainer) -> None:
        """Draw the run as it is now."""
        began = time.perf_counter()
        if not self._kinds:
            self._kinds = kinds_of(trainer.net)
        if self._reading is not None:
            self._glance, self._reading = self._reading.glance(), None
        console = self.display.console
        lines = picture(self._scene(trainer, began), console.width, max(1, console.height - 1))
        self.display.update(rich_text(lines), refresh=True)
        self.drawn += 1
        took = time.perf_counter() - began
        self._next = began + took + max(REFRESH, took / SHARE)

    def close(self, trainer: Trainer) -> None:
        """Leave the last picture standing and give the terminal back, whatever happens."""
        try:
            self.draw(trainer)
        finally:
            self.display.stop()

    def _scene(self, trainer: Trainer, now: float) -> Scene:
        ended, step = trainer.history.stopped, trainer.steps
        self._pace(trainer, step, now)
        batches = trainer.source.batches
        done = trainer.epoch + trainer.part_of_epoch
        here = done - self._first_part  # epochs of this run alone, which may go on from a checkpoint
        spent = now - self.began
        glance = self._glance
        rows = trainer.history.epochs
        return Scene(
            step=step,
            steps=batches * trainer.epochs if batches else 0,
            epoch=max(1, trainer.epoch) if ended else min(trainer.epoch + 1, trainer.epochs),
            epochs=trainer.epochs,
            speed=(step - self._first_step) / spent if ended and spent else self._speed,
            left=spent * (trainer.epochs - done) / here if here > 0 else math.nan,
            spent=spent,
            loss=trainer.batch_loss if glance is None else glance.loss,
            validation_loss=rows[-1].get("validation_loss", math.nan) if rows else math.nan,
            learning_rate=math.nan if glance is None else glance.learning_rate,
            losses=self._losses.means,
            layers={} if glance is None else glance.layers,
            histograms={} if glance is None else glance.histograms,
            trends=_gradient_norms(self._some),
            kinds=self._kinds,
            ended=ended,
        )

    def _pace(self, trainer: Trainer, step: int, now: float) -> None:
        """Steps a second since the last picture, mixed with what it was before."""
        if self._first_step < 0:
            self._first_step, self._first_part = step, trainer.epoch + trainer.part_of_epoch
        elif step > self._step and now > self._at:
            speed = (step - self._step) / (now - self._at)
            self._speed = speed if math.isnan(self._speed) else _FADE * speed + (1 - _FADE) * self._speed
        self._step, self._at = step, now


def _gradient_norms(readings: Sequence[Reading]) -> dict[str, list[float]]:
    """The norm of each layer's gradient at some steps; figures that nobody shows need no names."""
    if not readings:
        return {}
    places: dict[str, list[int]] = {}
    for place, quantity in enumerate(readings[0].reader.numbers):
        if quantity.name == "gradient_square":
            places.setdefault(quantity.layer, []).append(place)
    with np.errstate(all="ignore"):  # one may be infinite
        numbers = np.stack([reading.numbers for reading in readings])
        return {layer: np.sqrt(numbers[:, where].sum(axis=1)).tolist() for layer, where in places.items()}
