"""Watch: a callback that looks into every k-th step of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError
from chainrule.look.watching.live import LiveView
from chainrule.look.watching.measuring import Measurement
from chainrule.look.watching.reading import Reader
from chainrule.look.watching.thinning import Thinned
from chainrule.train.trainer import Callback, Trainer

Array = np.ndarray[Any, Any]


class Watch(Callback):
    """Look into every k-th step of a run: gradients, updates and activations of every layer.

    In a compiled run the figures are computed by a second program, the same step that gives them as results, which
    takes the place of the plain one at the steps that are watched; parameters get the same bits. What was seen is in
    `history.watched`.

    For each layer with parameters there are `gradient_norm`, `weight_norm`, `update_norm` (Euclidean, over all its
    parameters), `update_ratio` (of update to weight) and `signal_to_noise` (of the gradients of the last ten watched
    steps, 256 elements of each parameter); for each layer that gives floating numbers `activation_mean`,
    `activation_deviation`, `activation_zero` (the fraction that is exactly 0) and for sigmoid, tanh and their hard
    forms `activation_saturated` (the fraction within 1% of the range of an end).

    Parameters
    ----------
    every
        Watch the steps 1, 1 + every, 1 + 2 · every and so on; default 10.
    sample
        So many elements of each activation, and four times as many of each parameter for the norms of weight and
        update, are looked at, evenly spread over the first axis; default 8192. None looks at all, and costs more.
    histograms
        Whether to count 4096 elements of each activation and gradient in bins; default yes.
    most
        How many steps `history.watched` holds at most, from 4; default 1000. When it is full, every other one is given
        up and from then on half as many are kept, so that they cover the whole run evenly. None keeps all of them, in
        room that grows with the run.
    live
        Whether to show the run as a picture in the terminal while it goes on, in place of the progress line: the course
        of the loss, and a row of figures for each layer, with a sign beside what is out of its healthy range. Default
        no. Where standard error is no terminal, as in a notebook or a pipe, the last picture alone is printed, when the
        run is over.

    Raises
    ------
    ArgumentError
        If `every` or `sample` is no whole number from 1, or `most` none from 4.

    Examples
    --------
    >>> import chainrule as cr
    >>> from chainrule import nn
    >>> X = np.linspace(-1, 1, 64).reshape(64, 1)
    >>> net = nn.Sequential(nn.Dense(1, 8), nn.Tanh(), nn.Dense(8, 1))
    >>> watch = cr.look.Watch(every=2)
    >>> history = cr.fit(net, (X, X**2), loss="mse", epochs=3, callbacks=[watch], progress=False)
    >>> history.watched.steps, history.watched.layers
    ([1, 3, 5], ['0', '1', '2'])
    >>> history.watched.column("gradient_norm", "0").shape
    (3,)
    """

    each_batch = False

    def __init__(
        self,
        every: int = 10,
        *,
        sample: int | None = 8192,
        histograms: bool = True,
        most: int | None = 1000,
        live: bool = False,
    ) -> None:
        self.every = whole("Watch: every", every)
        self.sample = None if sample is None else whole("Watch: sample", sample)
        self.histograms = bool(histograms)
        self.most = None if most is None else whole("Watch: most", most, least=4)
        self.live = bool(live)
        self.probe = self  # what `fit` asks which steps are looked into, and how
        self._measurement: Measurement | None = None
        self._reader: Reader | None = None
        self._view: LiveView | None = None

    def shows_progress(self) -> bool:
        """Whether it draws the run itself, so that no line of progress is wanted beside it."""
        return self.live and sys.stderr.isatty()

    def on_train_begin(self, trainer: Trainer) -> None:
        """Forget other runs, make room, and open the picture if one is wanted."""
        self._reader = None
        if self.most is not None:
            trainer.history.watched = Thinned(trainer.history.watched, self.every, self.most)
        if self.live:
            self._view = LiveView.opened()
            self._view.draw(trainer)

    def on_batch_end(self, trainer: Trainer) -> None:
        """Draw the picture anew, a few times a second."""
        if self._view is not None:
            self._view.draw_if_due(trainer)

    def on_train_end(self, trainer: Trainer) -> None:
        """Leave the last picture standing, also after Ctrl-C and when the run failed."""
        view, self._view = self._view, None
        if view is not None:
            view.close(trainer)

    def is_due(self, step: int) -> bool:
        """Whether a step, counted from 1, is watched."""
        return (step - 1) % self.every == 0

    def measurement(self, trainer: Trainer) -> Measurement:
        """What looks into one step while it is made or traced."""
        self._measurement = Measurement(trainer.net, self.sample, self.histograms)
        return self._measurement

    def note(self, trainer: Trainer, step: int, loss: float, measured: Sequence[Array]) -> None:
        """Write down what was measured in a step."""
        if self._reader is None:
            assert self._measurement is not None, "a step is measured before it is noted"
            self._reader = Reader(self._measurement)
        reading = self._reader.read(measured, step, trainer.epoch + 1, loss)
        watched = trainer.history.watched
        if isinstance(watched, Thinned):
            watched.take(reading)
        else:
            watched.add(reading)
        if self._view is not None:
            self._view.note(reading)


def whole(name: str, value: Any, least: int = 1) -> int:
    """A whole number from `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ArgumentError(f"{name} must be a whole number from {least}, but is {value!r}.")
    return int(value)
