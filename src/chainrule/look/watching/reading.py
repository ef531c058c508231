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
        self._last[self._read % WINDOW] = samples
        self._read += 1
        ratios = signal_to_noise(self._last[: self._read], self._layer_of, len(self.learners))
        return Reading(self, numbers.copy(), shares.astype(np.float32), ratios, step, epoch, loss)


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


def signal_to_noise(gradients: Array, layer_of: Array, layers: int) -> Array:
    """The size of what gradients have in common beside the size of what they have not, for each layer.

    With mean m and variance v (over the gradients, unbiased) of each element, |m|² exceeds the true signal by v / n on
    average; that is taken off: sqrt(max(0, sum(m² - v / n)) / sum(v)).

    Parameters
    ----------
    gradients
        Of shape (gradients, elements).
    layer_of
        For each element the number of its layer, below `layers`.

    Returns
    -------
    ndarray
        0 where it is nothing but noise, infinite where gradients are equal; NaN for fewer than two of them.

    Examples
    --------
    >>> signal_to_noise(np.array([[1.0, 2.0], [3.0, 2.0]]), np.array([0, 0]), 1).round(3).tolist()
    [1.871]
    """
    count = len(gradients)
    if count < 2:
        return np.full(layers, math.nan)
    with np.errstate(all="ignore"):  # gradients that are not finite give NaN, equal ones infinity
        centre = gradients.mean(axis=0)
        away = gradients - centre
        noise = np.einsum("ij,ij->j", away, away) / (count - 1)
        signal = np.bincount(layer_of, centre * centre - noise / count, layers)
        return np.sqrt(np.maximum(signal, 0.0) / np.bincount(layer_of, noise, layers))
