"""The line that lives while a network learns: loss, validation, rate and time left; plain lines in a pipe."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from chainrule.train.trainer import Callback, Trainer

_BARS = "▁▂▃▄▅▆▇█"
_REFRESH = 0.1  # seconds between two drawings of the live line


def sparkline(values: list[float], width: int = 24) -> str:
    """The course of `values` as bars, the last `width` of them; gaps where they are not finite.

    >>> sparkline([4.0, 3.0, 2.0, 1.0])
    '█▆▃▁'
    """
    shown = values[-width:]
    finite = [value for value in shown if math.isfinite(value)]
    if not finite:
        return " " * len(shown)
    low, high = min(finite), max(finite)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] if math.isfinite(value) else " " for value in shown)


def figures(row: dict[str, float]) -> str:
    """The figures of an epoch in one line, losses first."""
    hidden = ("epoch", "seconds", "steps", "learning_rate")
    parts = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in row.items() if name not in hidden]
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(4.26), duration(75), duration(7500)
    ('4.3 s', '1 min 15 s', '2 h 05 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


class Progress(Callback):
    """Shows the run on standard error: a live line in a terminal, one plain line for each epoch elsewhere."""

    each_batch = False

    def __init__(self) -> None:
        self.live: Any = None
        self.started = 0.0
        self.drawn = 0.0
        self.first_epoch = 0

    def on_train_begin(self, trainer: Trainer) -> None:
        """Open the live line, if the output is a terminal."""
        self.started, self.first_epoch = time.perf_counter(), trainer.epoch
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self.live = Live(console=Console(stderr=True), auto_refresh=False, transient=False)
            self.live.start()

    def on_batch_end(self, trainer: Trainer) -> None:
        """Draw the live line anew, a few times a second."""
        now = time.perf_counter()
        if self.live is not None and now - self.drawn > _REFRESH:
            self.drawn = now
            self.live.update(self._picture(trainer, now), refresh=True)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Draw or print the epoch."""
        row = trainer.history.epochs[-1]
        if self.live is not None:
            self.live.update(self._picture(trainer, time.perf_counter()), refresh=True)
        else:
            width = len(str(trainer.epochs))
            text = f"epoch {trainer.epoch:>{width}}/{trainer.epochs}  {figures(row)}  {duration(row['seconds'])}"
            print(text, file=sys.stderr, flush=True)

    def on_train_end(self, trainer: Trainer) -> None:
        """Leave the last picture standing."""
        if self.live is not None:
            self.live.update(self._picture(trainer, time.perf_counter()), refresh=True)
            self.live.stop()
            self.live = None

    def _picture(self, trainer: Trainer, now: float) -> Any:
        from rich.text import Text

        row = trainer.history.epochs[-1] if trainer.history.epochs else {}
        done = trainer.epoch - self.first_epoch + trainer.part_of_epoch
        left = (now - self.started) * (trainer.epochs - self.first_epoch - done) / done if done else 0.0
        losses = [epoch["loss"] for epoch in trainer.history.epochs]
        rate = trainer.rows_seen / max(now - self.started, 1e-9)
        # What matters most stands first: in a narrow terminal the end is cut.
        ordered = dict(sorted(row.items(), key=lambda figure: not figure[0].endswith("loss")))
        text = Text(no_wrap=True, overflow="ellipsis")
        shown = trainer.epoch if trainer.history.stopped else min(trainer.epoch + 1, trainer.epochs)
        text.append(f"epoch {shown}/{trainer.epochs} ", "bold")
        text.append(sparkline(losses, 12), "dark_orange")
        if trainer.history.stopped:
            text.append(f" {duration(now - self.started)}, {trainer.history.stopped}", "dim")
        elif done:
            text.append(f" {duration(left)} left", "dim")
        text.append("  " + (figures(ordered) or f"loss {trainer.batch_loss:.4g}"))
        text.append(f"  {rate:,.0f} rows/s", "dim")
        return text
