"""The course of a figure over a whole run, however long, in few numbers; and how text draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a Braille cell, by row and column
_BLANK = 0x2800
_WIDE = 30.0  # greatest by least from which on a chart's axis is logarithmic


class Course:
    """A figure over a run as at most so many means, each of equally many values.

    When it is full, neighbours are joined: so it covers all of the run, evenly. Values that are not finite are left out
    of the means; a mean of nothing else is NaN.

    Parameters
    ----------
    most
        How many means, an even number from 2.

    Examples
    --------
    >>> course = Course(4)
    >>> for value in (1.0, 3.0, 5.0, 7.0, 9.0):
    ...     course.add(value)
    >>> course.means
    [2.0, 6.0, 9.0]
    """

    def __init__(self, most: int) -> None:
        self.most, self.size = most, 1  # values in a mean
        self._sums: list[tuple[float, int]] = []  # of the finite values, and how many they are
        self._read = 0

    def add(self, value: float) -> None:
        """One more value."""
        if self._read == self.most * self.size:
            self._sums = [(a + b, m + n) for (a, m), (b, n) in zip(self._sums[::2], self._sums[1::2], strict=True)]
            self.size *= 2
        if self._read % self.size == 0:
            self._sums.append((0.0, 0))
        self._read += 1
        if math.isfinite(value):
            total, count = self._sums[-1]
            self._sums[-1] = total + value, count + 1

    @property
    def means(self) -> list[float]:
        """The means in order; the last may be of fewer values."""
        return [total / count if count else math.nan for total, count in self._sums]


def resampled(values: Sequence[float], count: int) -> list[float]:
    """`values` stretched or shrunk to so many: each the mean of its part, without what is not finite.

    >>> resampled([1.0, 2.0, 3.0, 4.0], 2), resampled([1.0, 2.0], 4)
    ([1.5, 3.5], [1.0, 1.0, 2.0, 2.0])
    """
    found = []
    for number in range(count):
        start = number * len(values) // count
        part = values[start : max(start + 1, (number + 1) * len(values) // count)]
        finite = [value for value in part if math.isfinite(value)]
        found.append(sum(finite) / len(finite) if finite else math.nan)
    return found


def braille(values: Sequence[float], columns: int, rows: int) -> list[str]:
    """A curve as lines of Braille: two values a column, four levels a row, from the least to the greatest.

    Neighbours are joined by an upright stroke; there is a gap where a value is not finite.

    >>> braille([0.0, 1.0, 2.0, 3.0], 2, 1)
    ['⡠⠊']
    """
    finite = [value for value in values if math.isfinite(value)]
    cells = [[_BLANK] * columns for _ in range(rows)]
    if finite:
        low, high = min(finite), max(finite)
        top = 4 * rows - 1
        before: int | None = None
        for place, value in enumerate(values[: 2 * columns]):
            if not math.isfinite(value):
                before = None
                continue
            level = top - round(_share(value, low, high) * top) if high > low else top // 2
            for row in _stroke(before, level):
                cells[row // 4][place // 2] |= _DOTS[row % 4][place % 2]
            before = level
    return ["".join(map(chr, line)) for line in cells]


def _share(value: float, low: float, high: float) -> float:
    """How far a value is on the way from the least to the greatest, 0 to 1, also where their distance overflows."""
    if math.isfinite(high - low):
        return (value - low) / (high - low)
    return (value / 2 - low / 2) / (high / 2 - low / 2)


def _stroke(before: int | None, level: int) -> range:
    """The levels that a value draws: its own, and those up to the one before it."""
    if before is None or abs(before - level) <= 1:
        return range(level, level + 1)
    return range(before + 1, level + 1) if before < level else range(level, before)


def is_wide(values: Sequence[float]) -> bool:
    """Whether a chart shows more with a logarithmic axis."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) > _WIDE * min(finite)
