"""From what a program measured to figures with names: norms of layers, shares in bins, signal and noise.

Comes in: the quantities of a step and their arrays. Goes out: a `Glance`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.look.watching.measuring import Quantity
from chainrule.train.watched import Glance

Array = np.ndarray[Any, Any]
WINDOW = 10  # watched steps over which signal is told from noise


class Reader:
    """Makes glances of measurements, one after the other; it remembers the gradients of the last steps."""

    def __init__(self) -> None:
        self._gradients: dict[str, deque[Array]] = {}

    def read(
        self, quantities: Sequence[Quantity], arrays: Sequence[Array], step: int, epoch: int, loss: float
    ) -> Glance:
        """The glance at one step.

        Parameters
        ----------
        quantities, arrays
            What was measured, in the same order.
        step, epoch, loss
            Which step it was, from 1, and its loss.
        """
        layers: dict[str, dict[str, float]] = {}
        histograms: dict[str, dict[str, tuple[float, ...]]] = {}
        squares: dict[str, dict[str, float]] = {}
        samples: dict[str, list[Array]] = {}
        shares: dict[str, list[tuple[int, Array]]] = {}
        rate = math.nan
        for quantity, array in zip(quantities, arrays, strict=True):
            layer, name = quantity.layer, quantity.name
            figures = layers.setdefault(layer, {}) if layer else {}
            if name == "learning_rate":
                rate = float(array)
            elif name.endswith("_square"):
                sums = squares.setdefault(layer, {})
                sums[name] = sums.get(name, 0.0) + float(array)
            elif name == "gradient_sample":
                samples.setdefault(layer, []).append(array)
            elif name == "gradient_below":
                shares.setdefault(layer, []).append((quantity.size, shares_of(array)))
            elif name == "activation_below":
                histograms.setdefault(layer, {})["activation"] = _rounded(shares_of(array))
            elif name == "activation_variance":
                figures["activation_deviation"] = math.sqrt(array) if array >= 0 else math.nan
            else:
                figures[name] = float(array)
        for layer, sums in squares.items():
            layers[layer] |= self._of_parameters(layer, sums, np.concatenate(samples[layer]))
        for layer, parts in shares.items():
            whole = sum(size for size, _ in parts)
            histograms.setdefault(layer, {})["gradient"] = _rounded(sum(size / whole * part for size, part in parts))
        return Glance(step, epoch, loss, rate, layers, histograms)

    def _of_parameters(self, layer: str, sums: dict[str, float], sample: Array) -> dict[str, float]:
        weight, update = math.sqrt(sums["weight_square"]), math.sqrt(sums["update_square"])
        last = self._gradients.setdefault(layer, deque(maxlen=WINDOW))
        last.append(sample.astype(np.float64))
        return {
            "gradient_norm": math.sqrt(sums["gradient_square"]),
            "weight_norm": weight,
            "update_norm": update,
            "update_ratio": update / weight if weight else math.nan,
            "signal_to_noise": signal_to_noise(last),
        }


def signal_to_noise(gradients: Sequence[Array]) -> float:
    """The size of what gradients have in common beside the size of what they have not.

    With mean m and variance v (over the gradients, unbiased) of each element, |m|² exceeds the true signal by v / n on
    average; that is taken off: sqrt(max(0, sum(m² - v / n)) / sum(v)).

    Returns
    -------
    float
        0 where it is nothing but noise, infinite where gradients are equal; NaN for fewer than two of them.

    Examples
    --------
    >>> signal_to_noise([np.array([1.0, 2.0]), np.array([3.0, 2.0])])
    1.8708286933869707
    """
    if len(gradients) < 2:
        return math.nan
    together = np.stack([*gradients])
    with np.errstate(all="ignore"):  # gradients that are not finite give NaN
        centre, noise = together.mean(axis=0), together.var(axis=0, ddof=1)
        signal = float(np.sum(centre**2 - noise / len(together)))
        spread = float(noise.sum())
    if not spread:
        return math.inf if signal > 0 else math.nan
    return math.sqrt(max(0.0, signal) / spread) if math.isfinite(signal) and math.isfinite(spread) else math.nan


def shares_of(below: Array) -> Array:
    """The share of elements in each bin, from the share that is below each edge."""
    return np.diff(np.concatenate([[0.0], below.astype(np.float64), [1.0]]))


def _rounded(shares: Any) -> tuple[float, ...]:
    """Six digits: a sample has no more to say."""
    return tuple(np.round(shares, 6).tolist())
