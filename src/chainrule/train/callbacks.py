"""What can be hung into a run: early stopping, checkpoints, and whatever users write of the kind.

Plateau schedules need no callback: `fit` tells the optimizer's schedule the loss of every epoch.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError
from chainrule.train.checkpoints import save_checkpoint
from chainrule.train.metrics import METRICS
from chainrule.train.trainer import Callback as Callback
from chainrule.train.trainer import Trainer

Array = np.ndarray[Any, Any]


class EarlyStopping(Callback):
    """Stop when a figure has not become better for a while, and go back to the best parameters.

    Parameters
    ----------
    patience
        How many epochs in a row without improvement end the run, from 1; default 10.
    monitor
        The figure, such as `"validation_accuracy"`; by default `"validation_loss"`, or `"loss"` without validation.
    better
        `"lower"` or `"higher"`; by default what the metric says of itself, and lower for losses.
    minimum_change
        Improvements up to this size do not count; default 0.
    restore_best
        Whether the network gets the parameters of the best epoch at the end, also after Ctrl-C; default yes.

    Attributes
    ----------
    best_epoch
        The epoch (from 1) with the best figure so far; 0 before the first.
    """

    def __init__(
        self,
        patience: int = 10,
        monitor: str | None = None,
        better: str | None = None,
        minimum_change: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise ArgumentError(f"patience must be a whole number of epochs from 1, but is {patience!r}.")
        if better not in ("lower", "higher", None):
            raise ArgumentError(f'better must be "lower" or "higher", but is {better!r}.')
        if not minimum_change >= 0:
            raise ArgumentError(f"minimum_change must not be negative, but is {minimum_change!r}.")
        self.patience = patience
        self.monitor = monitor
        metric = METRICS.get((monitor or "").removeprefix("validation_"))
        self.sign = -1.0 if (better or (metric.better if metric else "lower")) == "higher" else 1.0
        self.minimum_change = minimum_change
        self.restore_best = restore_best
        self._begin()

    def _begin(self) -> None:
        self.best, self.best_epoch = math.inf, 0
        self.best_arrays: dict[str, Array] = {}

    def on_train_begin(self, trainer: Trainer) -> None:
        """Forget other runs, unless this one goes on from a checkpoint."""
        if not trainer.epoch:
            self._begin()
        self._stop_if_over(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Keep the best parameters; ask the run to stop when patience is over."""
        figure = self.sign * trainer.history.column(self.monitor or trainer.history.monitored)[-1]
        figure = math.inf if math.isnan(figure) else figure
        if figure < self.best - self.minimum_change or not self.best_epoch:
            self.best, self.best_epoch = figure, trainer.epoch
            self.best_arrays = {name: array.copy() for name, array in trainer.net.arrays().items()}
        self._stop_if_over(trainer)

    def _stop_if_over(self, trainer: Trainer) -> None:
        if self.best_epoch and trainer.epoch - self.best_epoch >= self.patience:
            trainer.stop("early stopping")

    def on_train_end(self, trainer: Trainer) -> None:
        """Put the best parameters back, unless the run failed."""
        if self.restore_best and self.best_arrays and trainer.history.stopped != "failed":
            trainer.net.load_arrays(self.best_arrays)

    def arrays(self) -> dict[str, Array]:
        """The best parameters so far, and how good they were."""
        figures = {"best": np.array(self.best), "best_epoch": np.array(self.best_epoch)}
        return figures | {f"net/{name}": array for name, array in self.best_arrays.items()}

    def load_arrays(self, arrays: dict[str, Array]) -> None:
        """Take back what `arrays` gave."""
        self.best, self.best_epoch = float(arrays["best"]), int(arrays["best_epoch"])
        self.best_arrays = {n.removeprefix("net/"): a for n, a in arrays.items() if n.startswith("net/")}


class Checkpoint(Callback):
    """Write down all that a run needs to go on exactly where it was: `fit(..., resume=path)`.

    After Ctrl-C the file holds the run up to the step that was under way, also within an epoch.

    Parameters
    ----------
    path
        The file; each checkpoint replaces the last, and a whole one is there at any moment.
    every
        After how many epochs, from 1; default 1. The end of the run is always written.
    """

    def __init__(self, path: str | Path, every: int = 1) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ArgumentError(f"every must be a whole number of epochs from 1, but is {every!r}.")
        self.path = Path(path)
        self.every = every
        self._written = 0  # the epoch of the last checkpoint

    def on_train_begin(self, trainer: Trainer) -> None:
        """Forget other runs."""
        self._written = trainer.epoch

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write the checkpoint if it is time."""
        if trainer.epoch % self.every == 0:
            self._write(trainer)

    def on_last_step(self, trainer: Trainer) -> None:
        """Write what is not yet written."""
        if trainer.epoch > self._written or trainer.part.batches:
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        save_checkpoint(self.path, trainer)
        self._written = trainer.epoch
