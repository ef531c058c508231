"""From what a program measured to figures with names: norms of layers, shares in bins, signal and noise.

Comes in: the quantities of a step and their arrays. Goes out: a `Glance`, made when it is first looked at, because a
step of a small network takes less time than the names do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.look.watching.measuring import Measurement, Quantity
from chainrule.train.watched import Glance

Array = np.ndarray[Any, Any]
WINDOW = 10  # watched steps over which signal is told from noise


class Reader:
    """Reads the measurements of one run, one after the other; it remembers the gradients of the last steps.

    Parameters
    ----------
    measurement
        The first one, whose quantities are those of all.
    """

    def __init__(self, measurement: Measurement) -> None:
        self.numbers = tuple(measurement.numbers.known)
        self.shares = tuple(measurement.shares.known)
        samples = measurement.samples.known
        self.learners = list(dict.fromkeys(quantity.layer for quantity in samples))
        places = {layer: place for place, layer in enumerate(self.learners)}
        self._layer_of = np.repeat([places[q.layer] for q in samples], [q.count for q in samples]).astype(np.int64)
        self._last = np.zeros((WINDOW, len(self._layer_of)))
        self._sum, self._square = np.zeros((2, len(self._layer_of)))
        self._read = 0

    def read(self, arrays: Sequence[Array], step: int, epoch: int, loss: float) -> Reading:
        """What was measured in one step, ready to be named.

        Parameters
        ----------
        arrays
            Numbers, samples of gradients, and shares.
        step, epoch, loss
            Which step it was, from 1, and its loss.
        """
        numbers, samples, shares = arrays
        return Reading(self, numbers.copy(), shares.copy(), self._ratios(samples), step, epoch, loss)

    def _ratios(self, sample: Array) -> Array:
        """Signal to noise of the last gradients with this one.

        Sums are carried from step to step, and formed anew once in a window, so that no rounding error stays in them.
        """
        place = self._read % WINDOW
        old = self._last[place]
        with np.errstate(all="ignore"):  # a gradient may be infinite
            self._sum += sample - old
            self._square += sample * sample - old * old
            self._last[place] = sample
            self._read += 1
            if place == WINDOW - 1:
                self._sum = self._last.sum(axis=0)
                self._square = np.einsum("ij,ij->j", self._last, self._last)
        return signal_to_noise(min(self._read, WINDOW), self._sum, self._square, self._layer_of, len(self.learners))


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured in one step, not yet named."""

    reader: Reader
    numbers: Array
    shares: Array
    ratios: Array
    step: int
    epoch: int
    loss: float

    def glance(self) -> Glance:
        """The same with names."""
        reader, rate = self.reader, math.nan
        layers: dict[str, dict[str, float]] = {}
        squares: dict[str, dict[str, float]] = {}
        for quantity, value in zip(reader.numbers, self.numbers.tolist(), strict=True):
            layer, name = quantity.layer, quantity.name
            if name == "learning_rate":
                rate = value
                continue
            figures = layers.setdefault(layer, {})
            if name.endswith("_square"):
                sums = squares.setdefault(layer, {})
                sums[name] = sums.get(name, 0.0) + value
            elif name == "activation_variance":
                figures["activation_deviation"] = math.sqrt(value) if value >= 0 else math.nan
            else:
                figures[name] = value
        for layer, sums in squares.items():
            layers[layer] |= _norms(sums)
        for layer, ratio in zip(reader.learners, self.ratios.tolist(), strict=True):
            layers[layer]["signal_to_noise"] = ratio
        return Glance(self.step, self.epoch, self.loss, rate, layers, _histograms(reader.shares, self.shares))


def _norms(sums: dict[str, float]) -> dict[str, float]:
    """Of a layer, from the sums of squares over its parameters."""
    weight, update = math.sqrt(sums["weight_square"]), math.sqrt(sums["update_square"])
    return {
        "gradient_norm": math.sqrt(sums["gradient_square"]),
        "weight_norm": weight,
        "update_norm": update,
        "update_ratio": update / weight if weight else math.nan,
    }


def _histograms(quantities: Sequence[Quantity], shares: Array) -> dict[str, dict[str, tuple[float, ...]]]:
    """Shares in bins by layer; those of a layer's parameters count by their sizes."""
    sums: dict[tuple[str, str], list[tuple[int, Array]]] = {}
    start = 0
    for quantity in quantities:
        below = shares[start : start + quantity.count].astype(np.float64)
        start += quantity.count
        in_bins = np.diff(np.concatenate([[0.0], below, [1.0]]))
        sums.setdefault((quantity.layer, quantity.name), []).append((quantity.size or 1, in_bins))
    histograms: dict[str, dict[str, tuple[float, ...]]] = {}
    for (layer, name), parts in sums.items():
        whole = sum(size for size, _ in parts)
        mixed = np.sum([size / whole * part for size, part in parts], axis=0)
        histograms.setdefault(layer, {})[name] = tuple(np.round(mixed, 6).tolist())  # a sample has no more to say
    return histograms


def signal_to_noise(count: int, total: Array, square: Array, layer_of: Array, layers: int) -> Array:
    """The size of what gradients have in common beside the size of what they have not, for each layer.

    With mean m and variance v (over the gradients, unbiased) of each element, |m|² exceeds the true signal by v / n on
    average; that is taken off: sqrt(max(0, sum(m² - v / n)) / sum(v)).

    Parameters
    ----------
    count, total, square
        How many gradients, and of each element their sum and the sum of their squares.
    layer_of
        For each element the number of its layer, below `layers`.

    Returns
    -------
    ndarray
        0 where it is nothing but noise, infinite (but for rounding) where gradients are equal; NaN for fewer than two.

    Examples
    --------
    >>> gradients = np.array([[1.0, 2.0], [3.0, 2.0]])
    >>> signal_to_noise(2, gradients.sum(axis=0), (gradients**2).sum(axis=0), np.array([0, 0]), 1).round(3).tolist()
    [1.871]
    """
    if count < 2:
        return np.full(layers, math.nan)
    with np.errstate(all="ignore"):  # gradients that are not finite give NaN, equal ones infinity
        centre = np.bincount(layer_of, total * total, layers) / count  # n · sum(m²)
        noise = np.maximum(np.bincount(layer_of, square, layers) - centre, 0.0) / (count - 1)  # sum(v)
        return np.sqrt(np.maximum(centre / count - noise / count, 0.0) / noise)
