"""What a column holds: numbers, yes or no, classes, dates, text, identifiers, or always the same.

Comes in: one column of the training rows. Goes out: its `Kind` and why. Here too are the readings that fitting and
predicting share: a column as numbers, as text, as dates, each naming the first cell that does not fit.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from chainrule.data.records import Array
from chainrule.data.tables import MISSING
from chainrule.errors import DataError

Kind = Literal["numeric", "boolean", "categorical", "date", "text", "identifier", "constant", "unusable"]

WORDS = ({"false": 0, "true": 1}, {"no": 0, "yes": 1}, {"n": 0, "y": 1}, {"f": 0, "t": 1}, {"off": 0, "on": 1})
DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M:%S",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%d-%m-%Y",
)
ONE_HOT_LEVELS = 32
MANY_ROWS = 10
ID_NAMES = re.compile(r"^(id|index|key|uuid|guid|rownames?|row|no|nr|#)$|[_ .-](id|uuid|guid)$", re.IGNORECASE)
ID_ENDING = re.compile(r"[a-z](Id|ID)$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rows of a frame come from, to name a cell.

    Examples
    --------
    >>> Place("people.csv", np.array([2, 3, 5])).cell("age", 2)
    'people.csv, line 5, column "age"'
    >>> Place().cell("age", 2)
    'row 3, column "age"'
    >>> Place().take(np.array([7, 9])).cell("age", 1)
    'row 10, column "age"'
    """

    source: str = ""
    lines: Array | None = None
    counts: str = "line"

    def take(self, rows: Array) -> "Place":
        """The place of some rows only."""
        if self.lines is None:
            return Place(self.source, rows + 1, "row")
        return Place(self.source, self.lines[rows], self.counts)

    def column(self, name: str) -> str:
        """A column in words."""
        return f'{self.source}, column "{name}"' if self.source else f'column "{name}"'

    def cell(self, name: str, row: int) -> str:
        """A cell in words: its line where lines are known, else its row from 1."""
        where = f"row {row + 1}" if self.lines is None else f"{self.counts} {int(self.lines[row])}"
        return f'{self.source}, {where}, column "{name}"' if self.source else f'{where}, column "{name}"'


def kind_of(column: pl.Series) -> tuple[Kind, str]:
    """The kind of a column, and a few words on it: the reason why it is left out, or a date's format.

    Examples
    --------
    >>> kind_of(pl.Series("smoker", ["yes", "no", "Yes"]))
    ('boolean', '')
    >>> kind_of(pl.Series("id", range(1, 101)))
    ('identifier', 'numbers the rows')
    """
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        return "unusable", f"holds {str(column.dtype).split('(')[0].lower()} values, which no input can take"
    values = as_text(column) if _is_text(column) else column
    values = (values.fill_nan(None) if values.dtype.is_float() else values).drop_nulls()
    if not values.len():
        return "constant", "is empty"
    different = values.n_unique()
    if different == 1 and values.len() == column.len():
        return "constant", f"is always {str(values[0])[:40]}"
    if column.dtype == pl.Boolean:
        return "boolean", ""
    if column.dtype in (pl.Date, pl.Datetime):
        return "date", ""
    if _is_text(column):
        return _kind_of_text(column.name, values, different)
    if column.dtype.is_integer() and different == values.len() and _numbers_rows(column.name, values):
        return "identifier", "numbers the rows"
    return "numeric", ""


def _kind_of_text(name: str, values: pl.Series, different: int) -> tuple[Kind, str]:
    lowered = values.str.to_lowercase()
    if different <= 6 and any(set(lowered.unique()) == set(words) for words in WORDS):
        return "boolean", ""
    if found := date_format(values):
        return "date", found
    share = different / values.len()
    length = float(values.str.len_chars().mean())  # type: ignore[arg-type]
    spaces = float(values.str.count_matches(" ", literal=True).mean())  # type: ignore[arg-type]
    if share > 0.5 and values.len() >= MANY_ROWS and (length > 50 or (spaces >= 3 and length > 20)):
        return "text", f"is free text ({length:.0f} characters on average)"
    if values.len() >= MANY_ROWS and (different == values.len() or (share > 0.95 and values.len() >= 100)):
        return "identifier", "is different in nearly every row"
    if different > ONE_HOT_LEVELS and not (values.value_counts()["count"] > 1).any():
        return "identifier", "is different in every row"
    return "categorical", ""


def _numbers_rows(name: str, values: pl.Series) -> bool:
    """Whether whole numbers, all different, look like row numbers or keys rather than a measure."""
    if values.len() < MANY_ROWS:
        return False
    if ID_NAMES.search(name) or ID_ENDING.search(name):
        return True
    low, high = int(values.min()), int(values.max())  # type: ignore[arg-type]
    if high - low + 1 == values.len() and values.len() >= 50 and low in (0, 1):
        return True
    return 0 <= low <= 10 and high <= 3 * values.len() and values.is_sorted()


def _is_text(column: pl.Series) -> bool:
    return column.dtype in (pl.String, pl.Categorical, pl.Enum)


def date_format(values: pl.Series) -> str:
    """The first known format that reads every cell, or nothing. Where day and month could be either, month is first."""
    sample = values.head(50)
    for pattern in DATE_FORMATS:
        if read_dates(sample, pattern).null_count():
            continue
        if not read_dates(values, pattern).null_count():
            return pattern
    return ""


def read_dates(values: pl.Series, pattern: str) -> pl.Series:
    """Text as moments; null where the pattern does not fit."""
    if "%H" in pattern:
        return values.str.to_datetime(pattern, time_unit="us", strict=False, exact=True)
    return values.str.to_date(pattern, strict=False, exact=True).cast(pl.Datetime("us"))


def as_dates(column: pl.Series, pattern: str, place: Place) -> pl.Series:
    """A column as moments in microseconds.

    Raises
    ------
    DataError
        For the first cell that is no date of this format.
    """
    if column.dtype in (pl.Date, pl.Datetime):
        if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return column.cast(pl.Datetime("us"))
    text = as_text(column)
    dates = read_dates(text, pattern or DATE_FORMATS[0])
    refuse(column, text, dates, place, f"is no date as in training ({pattern or DATE_FORMATS[0]})")
    return dates


def as_text(column: pl.Series) -> pl.Series:
    """A column as text without outer blanks, null for missing; whole numbers have no decimal point."""
    if column.dtype.is_float():
        column = column.fill_nan(None)
        whole = column.cast(pl.Int64, strict=False)
        column = whole if (whole.cast(pl.Float64) == column.cast(pl.Float64)).all() else column
    text = (column if column.dtype == pl.String else column.cast(pl.String)).str.strip_chars()
    missing = text.is_in(MISSING)
    return text.set(missing, None) if missing.any() else text


def as_numbers(column: pl.Series, place: Place) -> pl.Series:
    """A column as float64; NaN is null.

    Raises
    ------
    DataError
        For the first cell that is no number, or is infinite.
    """
    if _is_text(column):
        text = as_text(column)
        numbers = text.cast(pl.Float64, strict=False)
        refuse(column, text, numbers, place, "is no number")
    elif column.dtype == pl.Duration:
        numbers = column.dt.total_microseconds().cast(pl.Float64) / 1e6
    elif column.dtype == pl.Time:
        numbers = column.cast(pl.Int64).cast(pl.Float64) / 1e9
    elif column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
        numbers = column.cast(pl.Float64)
    else:
        raise DataError(f"{place.column(column.name)} must hold numbers but holds {column.dtype} values.")
    infinite = numbers.is_infinite()
    if infinite.any():
        row = int(infinite.fill_null(False).arg_max())  # type: ignore[arg-type]
        raise DataError(f"{place.cell(column.name, row)} is infinite: give a number, or leave the cell empty.")
    return numbers.fill_nan(None)


def refuse(column: pl.Series, text: pl.Series, read: pl.Series, place: Place, problem: str) -> None:
    """Raise DataError for the first cell that has text which was not understood."""
    if read.null_count() == text.null_count():
        return
    bad = np.flatnonzero((read.is_null() & text.is_not_null()).to_numpy())
    shown = str(text[int(bad[0])])[:40]
    more = f" (and {bad.size - 1} more such cells)" if bad.size > 1 else ""
    where = place.cell(column.name, int(bad[0]))
    raise DataError(f'{where}: "{shown}" {problem}{more}; correct it, or leave it empty if it is missing.')


def refuse_mostly_numbers(column: pl.Series, place: Place) -> None:
    """Raise DataError for a column of text in which nearly every cell is a number: the others are mistakes."""
    text = as_text(column)
    numbers = text.cast(pl.Float64, strict=False)
    known, read = text.len() - text.null_count(), text.len() - numbers.null_count()
    if read < known and read >= 0.9 * known and numbers.n_unique() > 20:
        refuse(column, text, numbers, place, "stands in a column of numbers")
