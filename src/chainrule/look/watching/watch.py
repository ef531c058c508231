"""Watch: a callback that looks into every k-th step of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError
from chainrule.look.watching.measuring import Measurement
from chainrule.look.watching.reading import Reader
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

    Raises
    ------
    ArgumentError
        If `every` or `sample` is no whole number from 1.

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

    def __init__(self, every: int = 10, *, sample: int | None = 8192, histograms: bool = True) -> None:
        self.every = whole("Watch: every", every)
        self.sample = None if sample is None else whole("Watch: sample", sample)
        self.histograms = bool(histograms)
        self.probe = self  # what `fit` asks which steps are looked into, and how
        self._measurement: Measurement | None = None
        self._reader: Reader | None = None

    def on_train_begin(self, trainer: Trainer) -> None:
        """Forget other runs."""
        self._reader = None

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
        trainer.history.watched.add(reading)


def whole(name: str, value: Any) -> int:
    """A whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{name} must be a whole number from 1, but is {value!r}.")
    return int(value)
