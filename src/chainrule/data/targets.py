"""The column to learn: classes with their labels, or numbers with their scale.

Comes in: the target column. Goes out: class numbers or standardised numbers, and the way back from predictions.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl

from chainrule.data.kinds import Place, as_numbers, as_text, refuse, refuse_mostly_numbers
from chainrule.data.records import Array
from chainrule.errors import ArgumentError, DataError

Label = str | int | bool
TASKS = ("binary", "multiclass", "regression")
FEW_CLASSES = 20
MOST_CLASSES = 100_000


@dataclass(frozen=True, slots=True)
class Classes:
    """A target of classes: labels of one type (text, whole numbers, or True and False) in ascending order."""

    name: str
    labels: tuple[Label, ...]

    kind: ClassVar[str] = "classes"

    @classmethod
    def fit(cls, column: pl.Series, place: Place) -> "Classes":
        """The labels of the training rows.

        Raises
        ------
        DataError
            If there is one class only, or nearly as many classes as rows.
        """
        values = _labels(column).drop_nulls()
        found = values.unique().sort().to_list()
        if len(found) == 1:
            where = place.column(column.name)
            raise DataError(f'{where}: every row has the class "{found[0]}"; give rows of two classes at least.')
        if len(found) > max(FEW_CLASSES, values.len() // 2) or len(found) > MOST_CLASSES:
            raise DataError(
                f"{place.column(column.name)} has {len(found):,} different values in {values.len():,} rows: "
                "too many for classes. Choose another target, or the task regression if they are numbers."
            )
        return cls(column.name, tuple(found))

    @property
    def task(self) -> str:
        """Two classes, or more."""
        return "binary" if len(self.labels) == 2 else "multiclass"

    @property
    def outputs(self) -> int:
        """How many scores a network gives."""
        return len(self.labels)

    def encode(self, column: pl.Series, place: Place) -> Array:
        """Class numbers, int64 of shape (rows,); -1 for missing ones.

        Raises
        ------
        DataError
            For the first label that training did not have.
        """
        texts = {_text(label): number for number, label in enumerate(self.labels)}
        text = as_text(column)
        numbers = text.replace_strict(texts, default=None, return_dtype=pl.Int64)
        refuse(column, text, numbers, place, "is a class that training did not have")
        return numbers.fill_null(-1).to_numpy()

    def restore(self, predictions: Array) -> Array:
        """Labels of shape (rows,) from class numbers (rows,), or from scores (rows, classes): the highest wins."""
        if predictions.ndim == 2 and predictions.shape[1] == len(self.labels):
            predictions = predictions.argmax(axis=1)
        if predictions.ndim != 1 or not np.issubdtype(predictions.dtype, np.integer):
            raise ArgumentError(
                f"predictions must be scores of shape (rows, {len(self.labels)}) or class numbers of shape (rows,), "
                f"but are {predictions.dtype} of shape {predictions.shape}."
            )
        if predictions.size and not 0 <= predictions.min() <= predictions.max() < len(self.labels):
            raise ArgumentError(f"class numbers must lie from 0 to {len(self.labels) - 1}.")
        return np.asarray(self.labels)[predictions]

    def check(self) -> bool:
        """Whether the labels make sense."""
        types = {type(label) for label in self.labels}
        return 2 <= len(self.labels) == len(set(self.labels)) <= MOST_CLASSES and len(types) == 1


@dataclass(frozen=True, slots=True)
class Numbers:
    """A target of numbers, standardised for training."""

    name: str
    mean: float
    scale: float

    kind: ClassVar[str] = "numbers"
    task: ClassVar[str] = "regression"
    outputs: ClassVar[int] = 1

    @classmethod
    def fit(cls, column: pl.Series, place: Place) -> "Numbers":
        """Mean and population standard deviation of the training rows."""
        values = as_numbers(column, place).drop_nulls().to_numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = float(values.mean()), float(values.std())
        if not math.isfinite(mean) or not math.isfinite(scale):
            raise DataError(f"{place.column(column.name)} holds numbers too large to average: use a smaller unit.")
        if not scale > 1e-12 * abs(mean):
            raise DataError(f"{place.column(column.name)} is always {mean:g}: there is nothing to learn.")
        return cls(column.name, mean, scale)

    def encode(self, column: pl.Series, place: Place) -> Array:
        """Standardised numbers, float32 of shape (rows, 1); NaN for missing ones."""
        values = as_numbers(column, place).to_numpy()
        return np.asarray((values - self.mean) / self.scale, np.float32)[:, None]

    def restore(self, predictions: Array) -> Array:
        """Numbers in the target's own unit, float64 of shape (rows,), from (rows, 1) or (rows,)."""
        if predictions.ndim == 2 and predictions.shape[1] == 1:
            predictions = predictions[:, 0]
        if predictions.ndim != 1:
            raise ArgumentError(f"predictions must have the shape (rows, 1) or (rows,), but have {predictions.shape}.")
        return np.asarray(predictions, np.float64) * self.scale + self.mean

    def check(self) -> bool:
        """Whether the figures make sense."""
        return self.scale > 0


Target = Classes | Numbers


def fit_target(column: pl.Series, task: str | None, place: Place) -> tuple[Target, str]:
    """The target of training rows (none missing), and why it was taken so.

    Text, True and False, and few whole numbers are classes; other numbers are a regression.
    """
    if task not in (None, "classification", *TASKS):
        raise ArgumentError(f"task must be classification, binary, multiclass or regression, but is {task!r}.")
    if column.dtype.is_nested():
        raise DataError(f"{place.column(column.name)} holds {column.dtype} values: a target is one value a row.")
    if task is None:
        task = "regression" if _is_regression(column, place) else "classification"
        why = "as the column looks"
    else:
        why = "as asked"
    if task == "regression":
        return Numbers.fit(column, place), why
    target = Classes.fit(column, place)
    if task == "binary" and target.task != "binary":
        raise DataError(f"{place.column(column.name)} has {target.outputs} classes, not two: take the task multiclass.")
    return target, why


def _is_regression(column: pl.Series, place: Place) -> bool:
    if column.dtype == pl.String:
        refuse_mostly_numbers(column, place)
        return False
    if not column.dtype.is_numeric():
        return False
    numbers = as_numbers(column, place)
    different = numbers.n_unique()
    if bool((numbers % 1 != 0).any()):
        return True
    return different > 2 and (different > FEW_CLASSES or numbers.len() < 5 * different)


def _labels(column: pl.Series) -> pl.Series:
    """Labels as text, whole numbers, or True and False."""
    if column.dtype == pl.Boolean or column.dtype.is_integer():
        return column
    text = as_text(column)
    if column.dtype.is_numeric():
        whole = text.cast(pl.Int64, strict=False)
        return whole if whole.null_count() == text.null_count() else text
    return text


def _text(label: Any) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)
