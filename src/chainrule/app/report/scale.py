"""Axes of a chart: where a value stands, and which round values are written beside the axis."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

_LARGEST = 1e300  # the span of two such values is still finite


def usable(value: float) -> bool:
    """Whether a value can be drawn at all."""
    return math.isfinite(value) and abs(value) <= _LARGEST


def spans_decades(values: Iterable[float]) -> bool:
    """Whether a logarithmic axis shows values better: all above 0, the greatest 30 times the smallest."""
    drawn = [value for value in values if usable(value)]
    return bool(drawn) and min(drawn) > 0 and max(drawn) / min(drawn) >= 30


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight or logarithmic map of `low` to `high` onto the pixels from `start` to `end`.

    Examples
    --------
    >>> scale = Scale(0.0, 10.0, 100.0, 200.0)
    >>> scale(2.5), scale.ticks()
    (125.0, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0])
    >>> Scale(0.01, 1.0, 0.0, 100.0, log=True)(0.1)
    50.0
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            share = (inside - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values inside the axis, about that many."""
        if self.log:
            return self._decades(about)
        step = _round_step((self.high - self.low) / about)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [place * step for place in range(first, last + 1)]

    def _decades(self, about: int) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        every = max(1, math.ceil((last - first) / about))
        factors = (1, 2, 5) if last - first <= 2 else (1,)
        found = [factor * 10.0**power for power in range(first, last + 1, every) for factor in factors]
        return [value for value in found if self.low * 0.999 <= value <= self.high * 1.001]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def around(
    values: Iterable[float], start: float, end: float, *, log: bool = False, include: Iterable[float] = ()
) -> Scale:
    """A scale that holds all values that can be drawn, and `include`, with a little air; 0 to 1 where there is none."""
    drawn = [value for value in (*values, *include) if usable(value)] or [0.0, 1.0]
    low, high = min(drawn), max(drawn)
    if log:
        air = max((high / low) ** 0.04, 1.1)
        return Scale(low / air, high * air, start, end, log=True)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-200):
        air = 0.1 * max(abs(low), abs(high)) or 1.0
        return Scale(low - air, high + air, start, end)
    air, kept = 0.05 * (high - low), set(include)
    return Scale(low if low in kept else low - air, high if high in kept else high + air, start, end)
