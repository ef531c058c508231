"""Numbers and tensors as people read them: three significant digits, a digest where there are too many.

Everything a view shows of a tensor comes from here, so that terminal, page and LaTeX agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_BARS = "▁▂▃▄▅▆▇█"
BINS = 12
WHOLE = 8  # a tensor of so many elements is shown whole in one line


def short(value: float) -> str:
    """A number to three significant digits, with a true minus sign.

    >>> short(0.123456), short(-1234.5), short(2.0), short(1.5e-7), short(0.0)
    ('0.123', '−1230', '2', '1.5e−7', '0')
    """
    return digits(value, 3)


def digits(value: float, count: int) -> str:
    """A number to `count` significant digits, without zeros at the end.

    >>> digits(0.35891648, 9), digits(float("nan"), 3), digits(1e20, 3)
    ('0.35891648', 'NaN', '1e20')
    """
    value = float(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.{count - 1}e}"))))
    if -4 <= exponent < max(count, 6):
        text = f"{round(value, count - 1 - exponent):.{max(0, count - 1 - exponent)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        mantissa, _, power = f"{value:.{count - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        text = f"{mantissa}e{int(power)}"
    return text.replace("-", "−")


def signed(value: float) -> str:
    """A number to three digits that always has its sign.

    >>> signed(0.5), signed(-0.5)
    ('+0.5', '−0.5')
    """
    text = short(value)
    return text if text.startswith("−") or text in ("0", "NaN") else f"+{text}"


def place(index: tuple[int, ...]) -> str:
    """An index as it is written in Python: `[3, 5]`; nothing for a scalar."""
    return f"[{', '.join(map(str, index))}]" if index else ""


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as people write it.

    >>> shape_text((64, 300)), shape_text((2,)), shape_text(())
    ('64×300', '2', 'scalar')
    """
    return "×".join(map(str, shape)) if shape else "scalar"


@dataclass(frozen=True, slots=True)
class Digest:
    """What is said of a tensor that is too large to be shown; NaN where there is nothing to say."""

    least: float
    mean: float
    greatest: float
    norm: float
    zeros: float  # the fraction of elements that are exactly 0
    not_finite: int
    counts: tuple[int, ...]  # histogram of the finite elements from least to greatest


def digest(values: Any) -> Digest:
    """The digest of a tensor."""
    array = np.asarray(values)
    flat = array.reshape(-1).astype(np.float64)
    good = flat[np.isfinite(flat)]
    zeros = float(np.mean(flat == 0)) if flat.size else math.nan
    if not good.size:
        return Digest(math.nan, math.nan, math.nan, math.nan, zeros, flat.size, ())
    least, greatest = float(good.min()), float(good.max())
    norm = float(np.linalg.norm(good / max(abs(least), abs(greatest), 1e-300)) * max(abs(least), abs(greatest), 1e-300))
    return Digest(least, float(good.mean()), greatest, norm, zeros, flat.size - good.size, _histogram(good))


def _histogram(good: Array) -> tuple[int, ...]:
    """How many elements lie in each of `BINS` equal parts from least to greatest; one bin where all are equal."""
    least, greatest = good.min(), good.max()
    width = greatest - least
    if not 0 < width < math.inf:
        return (good.size,)
    bins = np.minimum((good - least) * (BINS / width), BINS - 1).astype(np.int64)
    return tuple(int(count) for count in np.bincount(bins, minlength=BINS))


def bars(counts: tuple[int, ...]) -> str:
    """A histogram as a row of bars; an empty bin is a blank.

    >>> bars((0, 1, 8))
    ' ▂█'
    """
    most = max(counts, default=0)
    return "".join(" " if not count else _BARS[round(count / most * (len(_BARS) - 1))] for count in counts)


def one_line(values: Any, width: int = 66, figures: int = 3) -> str:
    """A tensor in one line: whole, to at most `figures` digits, if it is small and fits, else its digest.

    The digest is `least … mean … greatest`, a histogram, and the share of zeros where there are some.

    >>> one_line(np.array([0.5, -2.0])), one_line(np.arange(16.0))
    ('[0.5 −2]', '0 … 7.5 … 15  █▅▅▅█▅▅▅█▅▅█  6% zero')
    """
    array = np.asarray(values)
    if array.size <= WHOLE:
        for count in range(figures, 2, -1):
            text = nested(array, count)
            if len(text) <= width:
                return text
    found = digest(array)
    if not found.counts:
        return "empty" if not array.size else "no finite number"
    middle = () if array.dtype.kind in "ib" else (short(found.mean),)
    text = " … ".join((short(found.least), *middle, short(found.greatest)))
    more = [f"{found.not_finite} not finite"] if found.not_finite else []
    more += [bars(found.counts)]
    more += [f"{found.zeros:.0%} zero"] if found.zeros >= 0.005 and array.dtype.kind == "f" else []
    for each in more:
        text = f"{text}  {each}" if len(text) + 2 + len(each) <= width else text
    return text


def nested(array: Array, figures: int = 3) -> str:
    """The elements in brackets, one pair an axis, each to so many digits.

    >>> nested(np.array([[1.0, 0.5], [-2.0, 0.0]]))
    '[[1 0.5] [−2 0]]'
    """
    if array.ndim == 0:
        return str(array.item()) if array.dtype.kind in "ib" else digits(array.item(), figures)
    return f"[{' '.join(nested(each, figures) for each in array)}]"
