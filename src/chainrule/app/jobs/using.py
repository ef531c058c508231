"""Uses a trained model on new data: predictions for each row, or metrics where the answers are known.

Comes in: a `Model` and the name of some data. Goes out: `Predictions` or an `Evaluation`. Columns are matched by name.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from chainrule.app.jobs.answers import probabilities
from chainrule.app.jobs.judge import main_metric, metrics_for
from chainrule.app.jobs.outcome import Confusion
from chainrule.app.jobs.runs import Model
from chainrule.app.jobs.source import Images, Tabular, idx_images, is_idx, open_source, table
from chainrule.data import builtin, idx, images
from chainrule.data.images import ImageSchema
from chainrule.data.kinds import Place
from chainrule.data.schema import TableSchema
from chainrule.errors import DataError
from chainrule.train.evaluation import predict
from chainrule.train.metrics import METRICS

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Predictions:
    """One answer a row, in the order of the data.

    Attributes
    ----------
    answers
        Labels, or numbers in the target's unit, of shape (rows,).
    classes
        The labels; empty for a regression.
    probabilities
        Of shape (rows, classes), or None for a regression and for losses whose scores are none.
    files
        The image of each row; empty for tables.
    notes
        What was ignored, in short sentences.
    """

    answers: Array
    classes: tuple[str, ...]
    probabilities: Array | None
    files: tuple[str, ...]
    notes: tuple[str, ...]

    def header(self) -> list[str]:
        """The names of the columns of `rows`."""
        names = [] if self.probabilities is None else [f"probability_{label}" for label in self.classes]
        return (["file"] if self.files else []) + ["prediction", *names]

    def rows(self) -> Iterator[list[Any]]:
        """Each row as values."""
        for number, answer in enumerate(self.answers.tolist()):
            likely = [] if self.probabilities is None else self.probabilities[number].tolist()
            yield [*([self.files[number]] if self.files else []), answer, *likely]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a model is on rows whose answers are known; the main metric comes first."""

    main: str
    rows: int
    metrics: dict[str, float]
    confusion: Confusion | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows whose answers are known.

    Attributes
    ----------
    X, y, weights
        Inputs, class numbers (rows,) or numbers (rows, 1), and how much each row counts (or None).
    notes
        What was ignored, in short sentences.
    frame, place
        Of a table its cells and where they come from; None for images.
    files
        The image of each row; empty for tables and IDX files.
    """

    X: Array
    y: Array
    weights: Array | None
    notes: tuple[str, ...]
    frame: pl.DataFrame | None = None
    place: Place | None = None
    files: tuple[str, ...] = ()

    def row_name(self, row: int) -> str:
        """Where a row comes from: its line in the file, or the file of its image; `""` where it has none."""
        if self.files:
            return self.files[row]
        if self.place is None or self.place.lines is None or self.place.counts != "line":
            return ""
        return f"line {int(self.place.lines[row])} of {self.place.source}"


def predict_rows(model: Model, data: str) -> Predictions:
    """What the model says to each row of a table, or to each image.

    Raises
    ------
    DataError
        If the data cannot be read, a column is missing, or a cell does not fit; the message names it.
    """
    if isinstance(model.schema, ImageSchema):
        X, files, notes = _images(model.schema, data)
    else:
        frame, place, notes = _table(data)
        arrays = model.schema.transform(frame, with_target=False, place=place)
        X, files, notes = arrays.X, (), notes + arrays.notes
    scores = model.answers.scores(predict(model.net, X))
    if isinstance(model.schema, ImageSchema):
        answers = np.array(model.classes)[scores.argmax(axis=1)]
    else:
        answers = model.schema.restore(scores)
    likely = probabilities(scores) if model.answers.probabilities else None
    return Predictions(answers, model.classes, likely, files, notes)


def labelled_rows(model: Model, data: str, rows: Callable[[int], Sequence[int]] | None = None) -> Labelled:
    """The rows of some data that have an answer, as the model's network takes them.

    Parameters
    ----------
    model, data
        A model, and the name of data with the target.
    rows
        Which rows, counted from 0, out of so many; default all. Each of these must have an answer.

    Raises
    ------
    DataError
        If the data cannot be read, has no target, or a cell does not fit.
    """
    if isinstance(model.schema, ImageSchema):
        X, y, notes, files = _labelled_images(model.schema, data)
        chosen = np.arange(len(X)) if rows is None else np.array(rows(len(X)), np.int64)
        return Labelled(X[chosen], y[chosen], None, notes, files=tuple(files[row] for row in chosen if files))
    frame, place, notes = _table(data)
    if rows is not None:
        chosen = np.array(rows(frame.height), np.int64)
        frame, place = frame[chosen], place.take(chosen)
    arrays = model.schema.transform(frame, place=place)
    if rows is not None and len(arrays.rows) < frame.height:
        empty = int(np.setdiff1d(np.arange(frame.height), arrays.rows)[0])
        raise DataError(f"{place.cell(model.schema.target.name, empty)} is empty: there is no answer to compare with.")
    if arrays.y is None or not len(arrays.y):
        raise DataError(f"{place.column(model.schema.target.name)} is empty in every row: there is nothing to check.")
    return Labelled(arrays.X, arrays.y, arrays.weights, notes + arrays.notes, frame, place)


def evaluate_rows(model: Model, data: str) -> Evaluation:
    """The metrics of the model on labelled data.

    Raises
    ------
    DataError
        If the data cannot be read, has no target, or a cell does not fit.
    """
    known = labelled_rows(model, data)
    X, y, weights, notes = known.X, known.y, known.weights, known.notes
    scores = model.answers.scores(predict(model.net, X))
    confusion = None
    if model.classes:
        counts = np.zeros((len(model.classes), len(model.classes)), np.int64)
        np.add.at(counts, (y, scores.argmax(axis=1)), 1)
        confusion = Confusion(model.classes, tuple(tuple(int(n) for n in row) for row in counts))
    if isinstance(model.schema, TableSchema) and not model.classes:
        scores, y = model.schema.restore(scores)[:, None], model.schema.restore(y)[:, None]
    chosen = metrics_for(model.task, likely=model.answers.probabilities)
    metrics = {name: METRICS[name].function(scores, y, weights) for name in chosen}
    return Evaluation(main_metric(model.task), len(y), metrics, confusion, notes)


def _table(data: str) -> tuple[pl.DataFrame, Place, tuple[str, ...]]:
    """The table of a file or a built-in set."""
    if Path(data).is_dir() and data not in builtin.names():
        raise DataError(f"{data} is a folder, but the model was trained on a table: give a file such as data.csv.")
    opened = open_source(data) if data in builtin.names() else table(data)
    if not isinstance(opened, Tabular):
        raise DataError(f"{data} holds no table, but the model was trained on one.")
    return opened.frame, opened.place, opened.notes


def _images(schema: ImageSchema, data: str) -> tuple[Array, tuple[str, ...], tuple[str, ...]]:
    """The inputs of one image, of a folder of images with or without class folders, or of IDX files."""
    path = Path(data)
    if path.is_dir() and idx.is_idx_folder(path):
        pixels = idx.read_folder(path).test_images
        return _fitting(schema, pixels, data), (), (f"{data}: the test images of the set are taken.",)
    if is_idx(path):
        return _fitting(schema, idx_images(path), data), (), ()
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.suffix.lower() in images.SUFFIXES and each.is_file())
        if not files:
            raise DataError(f'"{data}" holds no images (png, jpg, bmp, gif, webp or tiff).')
    elif path.suffix.lower() in images.SUFFIXES or path.is_file():
        files = [path]
    else:
        raise DataError(f"There is no file or folder {data}: the model was trained on images, so give some.")
    return schema.transform_files(files), tuple(str(each) for each in files), ()


def _labelled_images(schema: ImageSchema, data: str) -> tuple[Array, Array, tuple[str, ...], tuple[str, ...]]:
    """Inputs, class numbers, notes, and files where there is one for each image."""
    path = Path(data)
    if not path.is_dir() and not is_idx(path):
        raise DataError(f"{data} is no folder of images with a folder for each class, and no IDX file.")
    if path.is_dir() and not idx.is_idx_folder(path):
        X, y, files = schema.transform_folder(path)
        return X, y, (), tuple(map(str, files))
    opened = open_source(data)
    if not isinstance(opened, Images):
        raise DataError(f"{data} holds no images, but the model was trained on images.")
    found, test = opened.images, opened.test_rows
    unknown = [name for name in found.classes if name not in schema.classes]
    if unknown:
        raise DataError(f'"{data}" has a class "{unknown[0]}" that the network was not trained on.')
    numbers = np.array([schema.classes.index(name) for name in found.classes], np.int64)
    rows = np.arange(len(found.y)) if test is None else test
    notes = () if test is None else (f"{data}: the test images of the set are taken.",)
    return _fitting(schema, found.X[rows], data), numbers[found.y[rows]], notes, ()


def _fitting(schema: ImageSchema, pixels: Array, data: str) -> Array:
    if schema.colour or pixels.shape[1:] != schema.size:
        wanted = " × ".join(map(str, schema.size)) + (" in colour" if schema.colour else "")
        got = " × ".join(map(str, pixels.shape[1:]))
        raise DataError(f'the images of "{data}" are {got}, but the model was trained on {wanted}.')
    return schema.transform(pixels)
