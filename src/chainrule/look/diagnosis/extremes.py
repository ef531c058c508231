"""Single numbers that stand far from all others of their column, by all rows and not by a sample of them.

How far is told by the gaps between sorted distances, not by deviations, which one such number makes as large as itself;
a heavy tail is no fault, as its numbers thin out by and by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.look.diagnosis.case import Case
from chainrule.look.diagnosis.registry import Sign, warning
from chainrule.train.inputs import Rows

Array = np.ndarray[Any, Any]
STANDS, SPARSE = 10.0, 1000.0
_MOST = 5  # different numbers of a column that may stand apart; more of them are a second group
_LEAST = 16  # rows, to know what is usual
_SAMPLE = 500  # rows by which middles are known
_READ = 2**24  # numbers that are read at most; of more only a sample
_COLUMNS = 10_000  # more are pixels
_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class Extreme:
    """The number of a column that is farthest from its middle, and how many times as far as all usual ones."""

    row: int
    column: int
    value: float
    times: float
    count: int


def extreme_inputs(case: Case) -> Iterator[Sign]:
    """Signs about the inputs of training and of validation, the column that is hit most."""
    if case.is_numeric:
        for is_held, rows in enumerate(case.every_row):
            yield from _signs(case, rows, 0, held=bool(is_held))


def extreme_targets(case: Case) -> Iterator[Sign]:
    """The same about the targets of a regression."""
    if case.y.dtype.kind == "f" and case.classes is None:
        for is_held, rows in enumerate(case.every_row):
            yield from _signs(case, rows, 1, held=bool(is_held))


def _signs(case: Case, rows: Rows | None, part: int, *, held: bool) -> Iterator[Sign]:
    found = [] if rows is None else extremes(rows, part)
    if not found:
        return
    worst = max(found, key=lambda each: each.times)
    value = case.as_written(worst.column if part == 0 else None, worst.value)
    row = case.named_row(worst.row, held=held, of_all=True)
    others = sum(each.count for each in found) - 1
    also = f" There {'are' if others > 1 else 'is'} {others:,} more such number{'s' if others > 1 else ''}."
    yield warning(
        f"{case.column(worst.column) if part == 0 else 'y'}, {row}" + (" (validation)" if held else ""),
        f"{value:.6g} in {row} stands {worst.times:.3g} times as far from the middle of its column as any usual "
        f"number: such numbers decide the scale{' and the loss' if part else ''} alone.{also if others else ''}",
        _advice(worst, row, part),
        value=value,
        times_as_far=worst.times,
        such_numbers=others + 1,
    )


def _advice(worst: Extreme, row: str, part: int) -> str:
    if worst.count > _MOST:
        name = "Xy"[part]
        return (
            f"if it marks what is missing, {name} = np.where({name} == {worst.value:g}, np.nan, {name}); then fill in"
        )
    number = row.removeprefix("row ") if row.startswith("row ") else "N"
    bears = '; loss="huber" bears single wild targets' if part else ""
    return (
        "mend it if it is a misprint or of another unit, else leave the row out: "
        f"X, y = np.delete(X, {number}, axis=0), np.delete(y, {number}, axis=0){bears}"
    )


def extremes(rows: Rows, part: int) -> list[Extreme]:
    """For each column of inputs (`part` 0) or targets (1) what stands apart in it, if anything."""
    array, total = rows.arrays[part], len(rows)
    columns = int(np.prod(array.shape[1:]))
    if total < _LEAST or not 0 < columns <= _COLUMNS:
        return []
    places = np.linspace(0, total - 1, min(total, _SAMPLE)).astype(int)
    sample = rows.take(places)[part].reshape(len(places), -1).astype(np.float64)
    sample = sample[np.isfinite(sample).all(axis=1)]
    if len(sample) < _LEAST:
        return []
    middle = np.median(sample, axis=0)
    away = np.abs(sample - middle)
    usual = np.quantile(np.where(away < away.max(axis=0), away, 0.0), 0.95, axis=0)  # one mark may stand in many rows
    varied = (sample != middle).mean(axis=0) >= 0.25
    if not varied.any():
        return []
    # A column that is nearly always the same has no scale of its own: there that of a typical column counts.
    floor = np.where(varied, 0.0, SPARSE / STANDS * np.median(usual[varied]))
    if total * columns > _READ:
        rows = Rows(rows.arrays, rows.numbers(places))
    else:
        places = np.arange(total)
    farthest = _farthest(rows, part, middle)
    suspects = np.flatnonzero((farthest > STANDS * usual) & (farthest > STANDS * floor))
    found = [_stands_apart(rows, part, int(place), middle[place], floor[place]) for place in suspects]
    return [replace(each, row=int(places[each.row])) for each in found if each is not None]


def _farthest(rows: Rows, part: int, middle: Array) -> Array:
    """For each column the largest distance from its middle."""
    step = max(1, _CHUNK // len(middle))
    largest = np.zeros(len(middle))
    for start in range(0, len(rows), step):
        chunk = rows.take(slice(start, start + step))[part].reshape(-1, len(middle))
        away = np.abs(chunk.astype(np.float64) - middle)
        largest = np.maximum(largest, np.where(np.isfinite(away), away, 0.0).max(axis=0))
    return largest


def _stands_apart(rows: Rows, part: int, column: int, middle: float, floor: float) -> Extreme | None:
    """What stands apart in one column: a few numbers, or one that occurs often, `STANDS` times as far as all others."""
    array = rows.arrays[part].reshape(len(rows.arrays[part]), -1)[:, column]
    values = np.asarray(array if rows.chosen is None else array[rows.chosen], np.float64)
    away = np.where(np.isfinite(values), np.abs(values - middle), 0.0)
    distances, counts = np.unique(away, return_counts=True)
    for place in range(1, min(_MOST, len(distances) - 1) + 1):
        rest, apart = max(float(distances[-place - 1]), floor), int(counts[-place:].sum())
        if rest > 0 and distances[-place] >= STANDS * rest and (place == 1 or apart <= _MOST):
            row = int(np.argmax(away))
            return Extreme(row, column, float(values[row]), float(away[row]) / rest, apart)
    return None
