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
        layer_of = np.repeat([places[q.layer] for q in samples], [q.count for q in samples]).astype(np.int64)
        self._order = np.argsort(layer_of, kind="stable")  # the elements of a layer side by side
        self._starts = np.searchsorted(layer_of[self._order], np.arange(len(self.learners)))
        # The window that was full before, and the one that fills: each sum over the last steps is a part of both.
        self._before, self._now = np.zeros((2, WINDOW, len(layer_of)))
        self._earlier = self._filled = 0  # steps before the window that fills, and in it
        self._waiting: list[Array] = []  # the ratios of the last steps, which are not yet formed

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
        np.take(samples, self._order, out=self._now[self._filled])
        self._filled += 1
        self._waiting.append(np.full(len(self.learners), math.nan))
        reading = Reading(self, numbers.copy(), shares.copy(), self._waiting[-1], step, epoch, loss)
        if self._filled == WINDOW:
            self.tell()
            self._before, self._now = self._now, self._before
            self._earlier, self._filled = self._earlier + WINDOW, 0
        return reading

    def tell(self) -> None:
        """Form the ratios that wait: together, because that takes hardly longer than for one step."""
        first, last = self._filled - len(self._waiting), self._filled
        if first == last:
            return
        with np.errstate(all="ignore"):  # a gradient may be infinite
            total, square = (
                np.cumsum(new[:last], axis=0)[first:] + _sums_to_the_end(old)[first + 1 : last + 1]
                for old, new in ((self._before, self._now), (self._before**2, self._now**2))
            )
        counts = np.minimum(self._earlier + np.arange(first + 1, last + 1), WINDOW)
        for ratios, found in zip(self._waiting, signal_to_noise(counts, total, square, self._starts), strict=True):
            ratios[:] = found
        self._waiting = []


def _sums_to_the_end(rows: Array) -> Array:
    """For each row the sum of it and all after it, and a last row of zeros."""
    return np.concatenate([np.cumsum(rows[::-1], axis=0)[::-1], np.zeros_like(rows[:1])])


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
        reader.tell()
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


def signal_to_noise(counts: Array, total: Array, square: Array, starts: Array) -> Array:
    """The size of what gradients have in common beside the size of what they have not, for some steps and each layer.

    With mean m and variance v (over the gradients, unbiased) of each element, |m|² exceeds the true signal by v / n on
    average; that is taken off: sqrt(max(0, sum(m² - v / n)) / sum(v)).

    Parameters
    ----------
    counts
        How many gradients, of shape (steps,).
    total, square
        Of each element their sum and the sum of their squares, of shape (steps, elements).
    starts
        The first element of each layer.

    Returns
    -------
    ndarray
        Of shape (steps, layers): 0 where it is nothing but noise, infinite (but for rounding) where gradients are
        equal; NaN for fewer than two.

    Examples
    --------
    >>> gradients = np.array([[1.0, 2.0], [3.0, 2.0]])
    >>> total, square = gradients.sum(axis=0, keepdims=True), (gradients**2).sum(axis=0, keepdims=True)
    >>> signal_to_noise(np.array([2]), total, square, np.array([0])).round(3).tolist()
    [[1.871]]
    """
    n = counts[:, None].astype(np.float64)
    with np.errstate(all="ignore"):  # gradients that are not finite give NaN, equal ones infinity
        centre = np.add.reduceat(total * total, starts, axis=1) / n  # n · sum(m²)
        noise = np.maximum(np.add.reduceat(square, starts, axis=1) - centre, 0.0) / (n - 1)  # sum(v)
        ratios = np.sqrt(np.maximum(centre / n - noise / n, 0.0) / noise)
    return np.where(n < 2, math.nan, ratios)
