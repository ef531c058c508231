"""How each column becomes inputs of a network: fitted on training rows, then the same for any rows.

Comes in: a column of a known kind. Goes out: a frozen encoding, which is data (it goes into the model file as JSON) and
which fills its part of the input array. Every encoding knows what to do with a missing cell.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl

from chainrule.data.kinds import (
    DATE_FORMATS,
    ONE_HOT_LEVELS,
    WORDS,
    Kind,
    Place,
    as_dates,
    as_numbers,
    as_text,
    refuse,
)
from chainrule.data.records import Array
from chainrule.errors import DataError

MOST_LEVELS = 65_536
MICROSECONDS_A_DAY = 86_400_000_000
MISSING_LEVEL, OTHER_LEVEL = "(missing)", "(other)"


@dataclass(frozen=True, slots=True)
class Numeric:
    """Numbers: the median for missing ones, then standardised; if training had any, an input that says missing."""

    name: str
    missing: int
    median: float
    mean: float
    scale: float

    kind: ClassVar[Kind] = "numeric"

    @classmethod
    def fit(cls, column: pl.Series, place: Place) -> "Numeric":
        """Median, mean and scale (population standard deviation, 1 where that is 0) of a column."""
        numbers = as_numbers(column, place)
        median = _float(numbers.median())
        filled = numbers.fill_null(median).to_numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = float(filled.mean()), float(filled.std())
        if not math.isfinite(mean) or not math.isfinite(scale):
            raise DataError(f"{place.column(column.name)} holds numbers too large to average: use a smaller unit.")
        return cls(column.name, numbers.null_count(), median, mean, _usable_scale(mean, scale))

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return (self.name, f"{self.name}={MISSING_LEVEL}") if self.missing else (self.name,)

    @property
    def detail(self) -> str:
        """The encoding in words."""
        return f"(x - {self.mean:.4g}) / {self.scale:.4g}, median {self.median:.4g}"

    def fill(self, column: pl.Series, out: Array, place: Place) -> None:
        """Write the inputs of shape (rows, features) into `out`."""
        numbers = as_numbers(column, place)
        with np.errstate(over="ignore"):
            out[:, 0] = (numbers.fill_null(self.median).to_numpy() - self.mean) / self.scale
        if not np.isfinite(out[:, 0]).all():
            row = int(np.flatnonzero(~np.isfinite(out[:, 0]))[0])
            usual = f"the mean in training was {self.mean:.3g}"
            raise DataError(f"{place.cell(self.name, row)}: {numbers[row]:.3g} is too large; {usual}.")
        if self.missing:
            out[:, 1] = numbers.is_null().to_numpy()

    def check(self) -> bool:
        """Whether the figures make sense."""
        return self.scale > 0


@dataclass(frozen=True, slots=True)
class Boolean:
    """Yes or no as 1 and 0; a missing one is the share of yes, with an input of its own if training had any."""

    name: str
    missing: int
    share: float

    kind: ClassVar[Kind] = "boolean"

    @classmethod
    def fit(cls, column: pl.Series, place: Place) -> "Boolean":
        """The share of yes."""
        flags = as_flags(column, place)
        return cls(column.name, flags.null_count(), _float(flags.mean()))

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return (self.name, f"{self.name}={MISSING_LEVEL}") if self.missing else (self.name,)

    @property
    def detail(self) -> str:
        """The encoding in words."""
        return f"0 or 1, {self.share:.1%} are 1"

    def fill(self, column: pl.Series, out: Array, place: Place) -> None:
        """Write the inputs of shape (rows, features) into `out`."""
        flags = as_flags(column, place)
        out[:, 0] = flags.fill_null(self.share).to_numpy()
        if self.missing:
            out[:, 1] = flags.is_null().to_numpy()

    def check(self) -> bool:
        """Whether the figures make sense."""
        return 0 <= self.share <= 1


def as_flags(column: pl.Series, place: Place) -> pl.Series:
    """A column as 1.0 for yes and 0.0 for no.

    Raises
    ------
    DataError
        For the first cell that is neither.
    """
    text = as_text(column)
    known = {word: float(flag) for words in WORDS for word, flag in words.items()} | {"0": 0.0, "1": 1.0}
    flags = text.str.to_lowercase().replace_strict(known, default=None, return_dtype=pl.Float64)
    refuse(column, text, flags, place, "is neither yes nor no, as all values were in training")
    return flags


@dataclass(frozen=True, slots=True)
class Categorical:
    """Classes: an input a level while they are few, else a code for an embedding; unseen and missing have their own."""

    name: str
    missing: int
    levels: tuple[str, ...]

    kind: ClassVar[Kind] = "categorical"

    @classmethod
    def fit(cls, column: pl.Series, place: Place) -> "Categorical":
        """The levels, sorted; where there are many, those seen once count as other."""
        text = as_text(column)
        counts = text.drop_nulls().rename("level").value_counts(name="seen")
        counts = counts.sort(["seen", "level"], descending=[True, False])
        if counts.height > ONE_HOT_LEVELS:
            counts = counts.filter(pl.col("seen") > 1).head(MOST_LEVELS)
        return cls(column.name, text.null_count(), tuple(counts["level"].sort().to_list()))

    @property
    def embedded(self) -> bool:
        """Whether the column is a code for an embedding."""
        return len(self.levels) > ONE_HOT_LEVELS

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the inputs."""
        if self.embedded:
            return (self.name,)
        return tuple(f"{self.name}={level}" for level in (*self.levels, MISSING_LEVEL, OTHER_LEVEL))

    @property
    def cardinality(self) -> int:
        """How many codes there are: missing, other, and the levels."""
        return len(self.levels) + 2

    @property
    def width(self) -> int:
        """A width for the embedding: 1.6 cardinality^0.56, at most 50 (Howard and Gugger, 2020)."""
        return min(50, math.ceil(1.6 * math.pow(self.cardinality, 0.56)))

    @property
    def detail(self) -> str:
        """The encoding in words."""
        shown = ", ".join(self.levels[:3]) + (", ..." if len(self.levels) > 3 else "")
        return f"{len(self.levels)} levels: {shown}"

    def codes(self, column: pl.Series) -> Array:
        """0 for missing, 1 for a level not known, 2 and up for the levels."""
        known = {level: code for code, level in enumerate(self.levels, 2)}
        codes = as_text(column).replace_strict(known, default=1, return_dtype=pl.Int64)
        return codes.set(as_text(column).is_null(), 0).to_numpy()

    def fill(self, column: pl.Series, out: Array, place: Place) -> None:
        """Write the inputs of shape (rows, features) into `out`."""
        codes = self.codes(column)
        if self.embedded:
            out[:, 0] = codes
            return
        count = len(self.levels)
        slot = np.where(codes == 0, count, np.where(codes == 1, count + 1, codes - 2))
        out[:] = 0
        out[np.arange(slot.size), slot] = 1

    def check(self) -> bool:
        """Whether the levels make sense."""
        return len(set(self.levels)) == len(self.levels) <= MOST_LEVELS


@dataclass(frozen=True, slots=True)
class Date:
    """Moments: the day number and the year standardised; month, weekday and time of day as points on a circle."""

    name: str
    missing: int
    format: str
    timed: bool
    median: float
    mean: float
    scale: float

    kind: ClassVar[Kind] = "date"

    @classmethod
    def fit(cls, column: pl.Series, place: Place, pattern: str) -> "Date":
        """The scale of the day number, and whether there is a time of day."""
        days = as_dates(column, pattern, place).dt.timestamp("us").cast(pl.Float64) / MICROSECONDS_A_DAY
        median = _float(days.median())
        filled = days.fill_null(median).to_numpy()
        scale = _usable_scale(float(filled.mean()), float(filled.std()))
        timed = bool((days.drop_nulls() % 1 != 0).any())
        return cls(column.name, days.null_count(), pattern, timed, median, float(filled.mean()), scale)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the inputs."""
        parts = ["day", "year", "month_sin", "month_cos", "weekday_sin", "weekday_cos"]
        parts += ["time_sin", "time_cos"] if self.timed else []
        missing = (f"{self.name}={MISSING_LEVEL}",) if self.missing else ()
        return tuple(f"{self.name}.{part}" for part in parts) + missing

    @property
    def detail(self) -> str:
        """The encoding in words."""
        return f"{self.format or 'dates'}{' with the time of day' if self.timed else ''}"

    def fill(self, column: pl.Series, out: Array, place: Place) -> None:
        """Write the inputs of shape (rows, features) into `out`."""
        dates = as_dates(column, self.format, place)
        middle = pl.Series([round(self.median * MICROSECONDS_A_DAY)]).cast(pl.Datetime("us"))[0]
        known = dates.fill_null(middle)
        days = known.dt.timestamp("us").to_numpy() / MICROSECONDS_A_DAY
        out[:, 0] = (days - self.mean) / self.scale
        # Years on the scale of the days, around the mean year, so that both stay near 0.
        out[:, 1] = (known.dt.year().to_numpy() - (1970 + self.mean / 365.2425)) * 365.2425 / max(self.scale, 365.2425)
        circles = [(known.dt.month().to_numpy() - 1) / 12, (known.dt.weekday().to_numpy() - 1) / 7]
        circles += [days % 1] if self.timed else []
        for number, share in enumerate(circles):
            out[:, 2 + 2 * number] = np.sin(2 * np.pi * share)
            out[:, 3 + 2 * number] = np.cos(2 * np.pi * share)
        if self.missing:
            out[:, -1] = dates.is_null().to_numpy()

    def check(self) -> bool:
        """Whether the figures make sense."""
        return self.scale > 0 and abs(self.median) < 1e7 and (not self.format or self.format in DATE_FORMATS)


@dataclass(frozen=True, slots=True)
class Dropped:
    """A column that is not an input, and why."""

    name: str
    missing: int
    kind: str
    detail: str


Encoding = Numeric | Boolean | Categorical | Date


def _float(value: Any) -> float:
    return float(value if value is not None else 0.0)


def _usable_scale(mean: float, scale: float) -> float:
    """1 for a spread that is only rounding."""
    return scale if scale > 1e-12 * abs(mean) and scale > 1e-30 else 1.0
