"""A fitted table: which column is what, and how rows become arrays, the same way in training and prediction.

Comes in: a frame and the name of the target. Goes out: a `TableSchema`, which is plain data (`to_json`), turns any
frame with the same columns into `Arrays`, turns predictions back into labels or units, and lists everything it decided.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from chainrule.data import stored
from chainrule.data.columns import Boolean, Categorical, Date, Dropped, Encoding, Numeric
from chainrule.data.kinds import Kind, Place, as_numbers, kind_of, refuse_mostly_numbers
from chainrule.data.records import Array
from chainrule.data.targets import Classes, Numbers, Target, fit_target
from chainrule.errors import DataError, FileFormatError

VERSION = 1
ENCODINGS: dict[str, type[Encoding]] = {kind.kind: kind for kind in (Numeric, Boolean, Categorical, Date)}
TARGETS: dict[str, type[Target]] = {kind.kind: kind for kind in (Classes, Numbers)}


@dataclass(frozen=True, slots=True)
class Arrays:
    """Rows as arrays.

    Attributes
    ----------
    X
        Inputs, float32 of shape (rows, features); codes of embedded columns come last.
    y
        Class numbers, int64 of shape (rows,), or standardised numbers, float32 of shape (rows, 1); None without
        a target.
    weights
        Row weights, float32 of shape (rows,), or None.
    rows
        The row of the frame (from 0) of each row here: those without a target are left out.
    notes
        What was left out, in short sentences.
    """

    X: Array
    y: Array | None
    weights: Array | None
    rows: Array
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """A line of `TableSchema.describe`: a column, what it is, and what it becomes."""

    column: str
    kind: str
    encoding: str
    missing: int
    detail: str


@dataclass(frozen=True, slots=True)
class TableSchema:
    """What was learned about a table's columns from its training rows.

    Attributes
    ----------
    target
        The target's labels or scale.
    columns
        The encodings of the columns that are inputs, in the order of the table.
    dropped
        The columns that are not, with the reasons.
    weights
        The column of row weights, or None.
    notes
        All decisions that a user may want to know, in short sentences.

    Examples
    --------
    >>> frame = pl.DataFrame({"size": [1.0, 2.0, 3.0], "kind": ["a", "b", "a"], "price": [10.5, 20.25, 31.0]})
    >>> schema = TableSchema.fit(frame, "price")
    >>> schema.task, schema.feature_names
    ('regression', ('size', 'kind=a', 'kind=b', 'kind=(missing)', 'kind=(other)'))
    >>> schema.transform(frame).X[:, 0].round(2).tolist()
    [-1.2200000286102295, 0.0, 1.2200000286102295]
    """

    target: Target
    columns: tuple[Encoding, ...]
    dropped: tuple[Dropped, ...]
    weights: str | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        frame: pl.DataFrame,
        target: str,
        *,
        task: str | None = None,
        why: str = "",
        kinds: Mapping[str, tuple[Kind, str]] | None = None,
        ignore: Iterable[str] = (),
        weights: str | None = None,
        place: Place | None = None,
    ) -> "TableSchema":
        """Decide what every column is, and fit it.

        Parameters
        ----------
        frame
            The training rows.
        target
            The column to learn.
        task
            "classification", "binary", "multiclass" or "regression"; by default as the target looks.
        why
            Why it is that task, in words for the notes, where the caller decided it from more than these rows.
        kinds
            What each column is, from `kinds_of` more rows than these; by default as these rows look.
        ignore
            Columns that are not inputs.
        weights
            A column of row weights, from 0.
        place
            File and lines of the rows, for messages.

        Raises
        ------
        DataError
            If a column does not exist, the target cannot be learned, a cell is no number in a column of numbers, or no
            input is left.
        """
        place = place or Place()
        ignored = tuple(dict.fromkeys(ignore))
        require(frame, [target, *ignored, *([weights] if weights else [])])
        frame, place, notes = labelled(frame, target, place)
        fitted, reason = fit_target(frame[target], task, place)
        notes.append(_task_note(fitted, why or reason))
        known = kinds_of(frame.drop(dict.fromkeys((target, *ignored))), place) if kinds is None else kinds
        columns: list[Encoding] = []
        unused = [name for name in ignored if name not in (target, weights)]
        dropped = [Dropped(name, 0, "ignored", "is ignored, as asked") for name in unused]
        for name in frame.columns:
            if name in (target, weights, *ignored):
                continue
            found = _fit_column(frame[name], place, *known[name])
            if isinstance(found, Dropped):
                dropped.append(found)
                notes.append(f'"{name}" {found.detail}: it is left out.')
            else:
                columns.append(found)
                notes.extend(_column_notes(found, frame.height))
        if not columns:
            reasons = "; ".join(f'"{column.name}" {column.detail}' for column in dropped[:5])
            alone = f'there is none besides "{target}"'
            raise DataError(f"No column is left to learn from: {reasons or alone}.")
        return cls(fitted, tuple(columns), tuple(dropped), weights, tuple(notes))

    @property
    def task(self) -> str:
        """binary, multiclass or regression."""
        return self.target.task

    @property
    def classes(self) -> tuple[str | int | bool, ...]:
        """The labels in the order of their numbers; empty for a regression."""
        return self.target.labels if isinstance(self.target, Classes) else ()

    @property
    def outputs(self) -> int:
        """How many outputs a network needs: one a class, or 1."""
        return self.target.outputs

    @property
    def embeddings(self) -> list[tuple[str, int, int]]:
        """(column, cardinality, width) of the embedded columns; their codes are the last columns of X in this order."""
        found = [column for column in self.columns if isinstance(column, Categorical) and column.embedded]
        return [(column.name, column.cardinality, column.width) for column in found]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the columns of X."""
        return tuple(name for column in self._ordered() for name in column.features)

    def transform(self, frame: pl.DataFrame, with_target: bool = True, place: Place | None = None) -> Arrays:
        """Turn rows into arrays.

        Parameters
        ----------
        frame
            Rows with the columns of the training rows; others are ignored and noted.
        with_target
            Whether to read the target (and the weights); rows without one are left out.
        place
            File and lines of the rows, for messages.

        Raises
        ------
        DataError
            If a column is missing, or a cell does not fit; the message names it.
        """
        place = place or Place()
        needed = [column.name for column in self.columns]
        if with_target:
            needed += [self.target.name, *([self.weights] if self.weights else [])]
        require(frame, needed)
        known = {*needed, self.target.name, self.weights, *(column.name for column in self.dropped)}
        notes = [f'"{name}" was not there in training: it is ignored.' for name in frame.columns if name not in known]
        rows = np.arange(frame.height)
        y = weights = None
        if with_target:
            y = self.target.encode(frame[self.target.name], place)
            kept = np.isfinite(y[:, 0]) if y.ndim == 2 else y >= 0
            if not kept.all():
                notes.append(f'{int((~kept).sum()):,} rows have no "{self.target.name}": they are left out.')
                rows, y = np.flatnonzero(kept), y[kept]
            weights = _row_weights(frame[self.weights], place)[rows] if self.weights else None
        inputs = np.empty((frame.height, len(self.feature_names)), np.float32)
        at = 0
        for column in self._ordered():
            width = len(column.features)
            column.fill(frame[column.name], inputs[:, at : at + width], place)
            at += width
        return Arrays(inputs if len(rows) == frame.height else inputs[rows], y, weights, rows, tuple(notes))

    def restore(self, predictions: Array) -> Array:
        """Predictions as a user knows them: labels from scores or class numbers, or numbers in the target's unit."""
        return self.target.restore(np.asarray(predictions))

    def describe(self) -> list[Description]:
        """Every column, its kind, its encoding, missing cells and details: for printing."""
        rows = [Description(self.target.name, "target", self.task, 0, _target_detail(self.target))]
        if self.weights:
            rows.append(Description(self.weights, "weights", "row weights", 0, ""))
        for column in self.columns:
            count = len(column.features)
            encoding = f"{count} input{'s' if count > 1 else ''}"
            if isinstance(column, Categorical) and column.embedded:
                encoding = f"embedding {column.cardinality} × {column.width}"
            rows.append(Description(column.name, column.kind, encoding, column.missing, column.detail))
        left_out = [Description(c.name, c.kind, "left out", c.missing, c.detail) for c in self.dropped]
        return rows + left_out

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "version": VERSION,
            "target": stored.dump(self.target, self.target.kind),
            "columns": [stored.dump(column, column.kind) for column in self.columns],
            "dropped": [stored.dump(column) for column in self.dropped],
            "weights": self.weights,
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: object) -> "TableSchema":
        """A schema from JSON values, every one of which is checked.

        Raises
        ------
        FileFormatError
            If something is missing, of another type, or makes no sense.
        """
        names = {"version", "target", "columns", "dropped", "weights", "notes"}
        fields = stored.mapping(data, names, "the table schema")
        if type(fields["version"]) is not int or fields["version"] != VERSION:
            shown = str(fields["version"])[:20]
            raise FileFormatError(f"The table schema has version {shown}; this chainrule reads {VERSION}.")
        target: Target = stored.load_one_of(TARGETS, fields["target"], "target")
        columns: list[Encoding] = [
            stored.load_one_of(ENCODINGS, item, "columns") for item in stored.items(fields["columns"], "columns")
        ]
        dropped = [stored.load(Dropped, item, "dropped") for item in stored.items(fields["dropped"], "dropped")]
        weights = fields["weights"]
        used = [target.name, *(column.name for column in columns), *(column.name for column in dropped)]
        if not columns or len(set(used)) != len(used):
            raise FileFormatError("The table schema has no columns, or a column twice.")
        if weights is not None and (not isinstance(weights, str) or weights in used):
            raise FileFormatError("The table schema's weights are no column name.")
        notes = [stored.text(note, "notes") for note in stored.items(fields["notes"], "notes")]
        return cls(target, tuple(columns), tuple(dropped), weights, tuple(notes))

    def _ordered(self) -> list[Encoding]:
        """The columns in the order of the inputs: embedded ones last."""
        return sorted(self.columns, key=lambda column: isinstance(column, Categorical) and column.embedded)


def require(frame: pl.DataFrame, names: Iterable[str]) -> None:
    """Raise DataError, with the nearest name, for columns that a frame does not have."""
    there = set(frame.columns)
    absent = [name for name in names if name not in there]
    if not absent:
        return
    folded = {column.casefold().strip(): column for column in frame.columns}
    near = difflib.get_close_matches(absent[0].casefold().strip(), folded, 1)
    shown = ", ".join(f'"{name}"' for name in absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
    columns = ", ".join(frame.columns[:8]) + (", ..." if frame.width > 8 else "")
    hint = f'did you mean "{folded[near[0]]}"?' if near else f"the columns are {columns}."
    raise DataError(f"There is no column {shown}: {hint}")


def labelled(frame: pl.DataFrame, target: str, place: Place) -> tuple[pl.DataFrame, Place, list[str]]:
    """The rows that have a target, where they come from, and a note on the others.

    Raises
    ------
    DataError
        If no row has one.
    """
    column = frame[target]
    missing = (column.is_null() | column.is_nan().fill_null(False)) if column.dtype.is_float() else column.is_null()
    count = int(missing.sum())
    if count == frame.height:
        raise DataError(f"{place.column(target)} is empty in every row: a network needs examples of it.")
    if not count:
        return frame, place, []
    kept = ~missing
    notes = [f'{count:,} of {frame.height:,} rows have no "{target}": they are left out.']
    return frame.filter(kept), place.take(np.flatnonzero(kept.to_numpy())), notes


def kinds_of(frame: pl.DataFrame, place: Place) -> dict[str, tuple[Kind, str]]:
    """The kind of every column, with the words of `kind_of`.

    Raises
    ------
    DataError
        For a word in a column of numbers.
    """
    kinds = {column.name: kind_of(column) for column in frame.get_columns()}
    for name, (kind, _) in kinds.items():
        if kind in ("categorical", "identifier", "text") and frame[name].dtype == pl.String:
            refuse_mostly_numbers(frame[name], place)
    return kinds


def _fit_column(column: pl.Series, place: Place, kind: Kind, detail: str) -> Encoding | Dropped:
    """The encoding of a column by its kind."""
    if kind == "numeric":
        return Numeric.fit(column, place)
    if kind == "boolean":
        return Boolean.fit(column, place)
    if kind == "categorical":
        return Categorical.fit(column, place)
    if kind == "date":
        return Date.fit(column, place, detail)
    return Dropped(column.name, column.null_count(), kind, detail)


def _row_weights(column: pl.Series, place: Place) -> Array:
    """Weights, all there and from 0."""
    numbers = as_numbers(column, place)
    wrong = numbers.is_null() | (numbers < 0)
    if wrong.any():
        row = int(wrong.fill_null(True).arg_max())  # type: ignore[arg-type]
        raise DataError(f"{place.cell(column.name, row)}: a weight must be a number from 0, but is {numbers[row]}.")
    if not numbers.sum() > 0:
        raise DataError(f"{place.column(column.name)}: all weights are 0.")
    return numbers.to_numpy().astype(np.float32)


def _task_note(target: Target, why: str) -> str:
    return f'"{target.name}" is a {target.task} target, {why}: {_target_detail(target)}.'


def _target_detail(target: Target) -> str:
    if isinstance(target, Numbers):
        return f"mean {_readable(target.mean)}, standard deviation {_readable(target.scale)}"
    shown = ", ".join(str(label) for label in target.labels[:5]) + (" and so on" if target.outputs > 5 else "")
    return f"{target.outputs} classes: {shown}"


def _readable(number: float) -> str:
    """Four digits, without a power of ten where thousands will do."""
    return f"{number:,.0f}" if 1000 <= abs(number) < 1e9 else f"{number:.4g}"


def _column_notes(column: Encoding, rows: int) -> list[str]:
    """What is worth saying about a column that is an input."""
    notes = []
    if column.missing:
        share = f"{column.missing:,} of {rows:,} rows ({column.missing / rows:.1%})"
        notes.append(f'"{column.name}" is missing in {share}.')
    if isinstance(column, Categorical) and column.embedded:
        levels = f"{len(column.levels):,} levels"
        notes.append(f'"{column.name}" has {levels}: it becomes an embedding of width {column.width}.')
    if isinstance(column, Date) and column.format[:5] in ("%m/%d", "%d/%m"):
        first = "month" if column.format.startswith("%m") else "day"
        notes.append(f'"{column.name}" is read as dates with the {first} first.')
    return notes
