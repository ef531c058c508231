"""What is to be learned, as arrays in three parts: rows to learn from, rows to choose by, rows to measure on.

Comes in: a table or images. Goes out: a `Lesson`. Everything fitted (medians, scales, levels) is fitted on the training
rows alone; the test rows are looked at once, at the end.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from chainrule.app.jobs.flags import Flags
from chainrule.app.jobs.outcome import Column
from chainrule.app.jobs.source import Images, Source, Tabular
from chainrule.data.batches import split
from chainrule.data.images import ImageSchema
from chainrule.data.kinds import Place
from chainrule.data.schema import TableSchema, kinds_of, labelled, require
from chainrule.data.targets import Classes, Numbers, fit_target
from chainrule.errors import ArgumentError, DataError

Array = np.ndarray[Any, Any]

TEST, VALIDATION = 0.2, 0.2
LARGE, LARGE_SHARE = 100_000, 0.1  # of so many rows, a tenth measures well enough
MOST_COLUMNS = 5_000


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows: inputs float32 (rows, features); class numbers int64 (rows,) or numbers float32 (rows, 1); weights.

    `names` says where each row comes from: its line in the file, or the image's path; `counts` and `source` what is
    numbered there, such as "line" and "people.csv", if anything is.
    """

    X: Array
    y: Array
    weights: Array | None
    names: Array
    counts: str = ""
    source: str = ""

    def __len__(self) -> int:
        return len(self.X)

    def place(self, row: int) -> str:
        """Where a row comes from, in words.

        Examples
        --------
        >>> one = np.zeros((1, 1))
        >>> Part(one, one, None, np.array([7]), "line", "people.csv").place(0), Part(one, one, None, ["a.png"]).place(0)
        ('line 7 of people.csv', 'a.png')
        """
        name = str(self.names[row])
        return f"{self.counts} {name}{f' of {self.source}' if self.source else ''}" if self.counts else name


@dataclass(frozen=True, slots=True)
class Lesson:
    """Everything that training needs to know of the data.

    Attributes
    ----------
    data, kind, target
        What the user named, "table" or "images", and the column that is learned.
    task
        "binary", "multiclass" or "regression".
    classes
        The labels in the order of their numbers; empty for a regression.
    training, validation, test
        The three parts.
    schema
        How rows become inputs: kept with the model.
    embeddings
        (column, codes, width) of the last inputs.
    columns, inputs
        The columns in words; for each input column, its places in X.
    notes
        What was decided and noticed, in short sentences.
    shares
        The shares that were held out, with who decided: by flag.
    """

    data: str
    kind: str
    target: str
    task: str
    classes: tuple[str, ...]
    training: Part
    validation: Part
    test: Part
    schema: TableSchema | ImageSchema
    embeddings: tuple[tuple[str, int, int], ...]
    columns: tuple[Column, ...]
    inputs: dict[str, slice]
    notes: tuple[str, ...]
    shares: dict[str, tuple[str, str]]

    @property
    def rows(self) -> dict[str, int]:
        """Rows by part."""
        return {"training": len(self.training), "validation": len(self.validation), "test": len(self.test)}


def prepare(source: Source, flags: Flags) -> Lesson:
    """Decide what is learned from what, and split.

    Raises
    ------
    DataError, ArgumentError
        If the data cannot be learned from, or a flag does not fit it; the message names column, row or file.
    """
    return _from_table(source, flags) if isinstance(source, Tabular) else _from_images(source, flags)


# --- Tables ------------------------------------------------------------------------------------------------------


def _from_table(source: Tabular, flags: Flags) -> Lesson:
    name = flags.target or source.target
    if name is None:
        shown = ", ".join(source.frame.columns[:8]) + (", ..." if source.frame.width > 8 else "")
        raise ArgumentError(f"--target is missing: name the column to learn; the columns are {shown}.")
    if source.frame.width - len(flags.ignore) > MOST_COLUMNS:
        raise DataError(
            f"{source.name} has {source.frame.width:,} columns, more than the {MOST_COLUMNS:,} that are learned from: "
            "keep the columns that matter, or give arrays to chainrule.fit in Python."
        )
    require(source.frame, [name, *flags.ignore, *([flags.weights] if flags.weights else [])])
    if name in flags.ignore or name == flags.weights:
        raise ArgumentError(f'--target and {"--weights" if name == flags.weights else "--ignore"} both name "{name}".')
    frame, place, notes = labelled(source.frame, name, source.place)
    target, why = fit_target(frame[name], flags.task, place)
    y = target.encode(frame[name], place)
    shares = _shares(flags, len(y))
    kept, test = _split(len(y), shares["--test"][0], flags.seed or 0, y, target)
    rest, held = _split(len(kept), shares["--validation"][0], flags.seed or 0, y[kept], target)
    schema = TableSchema.fit(
        frame[kept[rest]],
        name,
        task=target.task,
        why=why,
        kinds=kinds_of(frame.drop(dict.fromkeys((name, *flags.ignore))), place),
        ignore=flags.ignore,
        weights=flags.weights,
        place=place.take(kept[rest]),
    )
    if flags.loss == "poisson" and isinstance(schema.target, Numbers):
        schema = _of_counts(schema, frame, place)
    parts = [_part(schema, frame, place, rows) for rows in (kept[rest], kept[held], test)]
    return Lesson(
        data=source.name,
        kind="table",
        target=name,
        task=schema.task,
        classes=tuple(str(label) for label in schema.classes),
        training=parts[0],
        validation=parts[1],
        test=parts[2],
        schema=schema,
        embeddings=tuple(schema.embeddings),
        columns=tuple(Column(d.column, d.kind, d.encoding, d.missing, d.detail) for d in schema.describe()),
        inputs=places_of(schema),
        notes=(*source.notes, *notes, *schema.notes),
        shares=shares,
    )


def _of_counts(schema: TableSchema, frame: pl.DataFrame, place: Place) -> TableSchema:
    """The same schema with a target that is not standardised: a Poisson loss is about counts as they are."""
    name = schema.target.name
    raw = Numbers(name, 0.0, 1.0)
    below = np.flatnonzero(raw.encode(frame[name], place)[:, 0] < 0)
    if below.size:
        raise DataError(f"{place.cell(name, int(below[0]))} is below 0, but --loss poisson is for counts from 0.")
    return TableSchema(raw, schema.columns, schema.dropped, schema.weights, schema.notes)


def _part(schema: TableSchema, frame: pl.DataFrame, place: Place, rows: Array) -> Part:
    chosen = place.take(rows)
    arrays = schema.transform(frame[rows], place=chosen)
    if arrays.y is None or chosen.lines is None:
        raise DataError(f'the rows have no "{schema.target.name}".')
    return Part(arrays.X, arrays.y, arrays.weights, chosen.lines, chosen.counts, chosen.source)


def places_of(schema: TableSchema) -> dict[str, slice]:
    """For each column its places among the inputs, which stand in the order of `feature_names`."""
    embedded = {name for name, _, _ in schema.embeddings}
    ordered = sorted(schema.columns, key=lambda column: column.name in embedded)
    places, at = {}, 0
    for column in ordered:
        places[column.name] = slice(at, at + len(column.features))
        at += len(column.features)
    return places


# --- Images ------------------------------------------------------------------------------------------------------


def _from_images(source: Images, flags: Flags) -> Lesson:
    for flag, value in (("--target", flags.target), ("--weights", flags.weights), ("--ignore", flags.ignore)):
        if value:
            raise ArgumentError(f"{flag} is for tables, but {source.name} holds images, whose classes are learned.")
    if flags.task == "regression" or (flags.task == "binary" and len(source.images.classes) != 2):
        raise ArgumentError(f"--task {flags.task} does not fit: {len(source.images.classes)} classes of images.")
    images, seed = source.images, flags.seed or 0
    shares = _shares(flags, len(images.y))
    target = Classes("class", images.classes)
    if source.test_rows is not None and flags.test is None:
        test = source.test_rows
        kept = np.setdiff1d(np.arange(len(images.y)), test, assume_unique=True)
        shares["--test"] = (f"{len(test) / len(images.y):.3g}", "the test images of the set itself")
    else:
        kept, test = _split(len(images.y), shares["--test"][0], seed, images.y, target)
    rest, held = _split(len(kept), shares["--validation"][0], seed, images.y[kept], target)
    schema = ImageSchema.fit(images, kept[rest])
    names = np.array([str(path) for path in images.paths]) if images.paths else np.arange(1, len(images.y) + 1)
    parts = [
        Part(schema.transform(images.X[rows]), images.y[rows], None, names[rows], "" if images.paths else "image")
        for rows in (kept[rest], kept[held], test)
    ]
    height, width = schema.size
    colour = "in colour" if schema.colour else "in grey"
    return Lesson(
        data=source.name,
        kind="images",
        target="class",
        task="binary" if len(images.classes) == 2 else "multiclass",
        classes=images.classes,
        training=parts[0],
        validation=parts[1],
        test=parts[2],
        schema=schema,
        embeddings=(),
        columns=(),
        inputs={},
        notes=(*source.notes, f"images are {height} × {width} pixels {colour}: {schema.features:,} inputs."),
        shares=shares,
    )


# --- Splitting ---------------------------------------------------------------------------------------------------


def _shares(flags: Flags, rows: int) -> dict[str, tuple[str, str]]:
    """The shares to hold out, as text, with who decided."""
    usual = LARGE_SHARE if rows >= LARGE else TEST
    why = f"for {rows:,} rows"
    return {
        "--test": (f"{usual:g}", why) if flags.test is None else (f"{flags.test:g}", "you"),
        "--validation": (f"{usual if rows >= LARGE else VALIDATION:g}", f"of the rest, {why}")
        if flags.validation is None
        else (f"{flags.validation:g}", "you"),
    }


def _split(rows: int, share: str, seed: int, y: Array, target: Classes | Numbers) -> tuple[Array, Array]:
    """Rows kept and held out, by class for classes."""
    if rows < 5:
        raise DataError(f"there are only {rows} rows to learn from and to measure on: give some dozens at least.")
    return split(rows, float(share), seed, y if isinstance(target, Classes) else None)
