"""One training step of a saved network on rows of the user's data, with the user's names for everything.

Comes in: the name of a model, of labelled data, and which rows. Goes out: an `Explained`: the step taken apart by
`cr.look.explain`, and each row as it stands in the file, with its answer and what the network said.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.app.jobs.answers import probabilities
from chainrule.app.jobs.choices import USUAL_RATES, optimizer_named
from chainrule.app.jobs.lesson import places_of
from chainrule.app.jobs.runs import Model, flags_of_run, open_model
from chainrule.app.jobs.using import Labelled, labelled_rows
from chainrule.data.images import ImageSchema
from chainrule.data.schema import TableSchema
from chainrule.errors import ArgumentError
from chainrule.look.explaining.explain import explain
from chainrule.look.explaining.explanation import Explanation
from chainrule.look.explaining.labels import Labels
from chainrule.nn.optimizers import Optimizer
from chainrule.train.evaluation import predict

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """A column of a row: what stands in the file, and the inputs that it became, by name."""

    column: str
    written: str
    inputs: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A row of the data.

    Attributes
    ----------
    row, where
        Its number from 0, and its line or file.
    cells
        Its columns; empty for images.
    answer, guess
        What stands in the data, and what the network says, in the user's words and unit.
    likely
        The probability of each class, the most likely first; empty where the loss gives none.
    """

    row: int
    where: str
    cells: tuple[Cell, ...]
    answer: str
    guess: str
    likely: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """A step taken apart, its rows, the column that is learned, height and width of images, and notes."""

    step: Explanation
    examples: tuple[Example, ...]
    target: str
    size: tuple[int, int] | None
    notes: tuple[str, ...]


def explain_rows(
    path: str,
    data: str,
    rows: Sequence[int] = (),
    span: str | None = None,
    *,
    optimizer: str | None = None,
    rate: float | None = None,
    training: bool = False,
    check: bool = False,
) -> Explained:
    """Take one training step of a saved network apart.

    Parameters
    ----------
    path, data
        A run or a model file, and labelled data.
    rows, span
        Rows counted from 0, negative ones from the end, and more of them as text such as `"0:8"`; together they are the
        batch. Default the first row.
    optimizer, rate
        The optimizer of the step; default that of the run, else plain gradient descent with 0.01.
    training
        Whether dropout and batch normalisation behave as in training.
    check
        Whether numeric gradients are put beside the exact ones.

    Raises
    ------
    ChainruleError
        If model, data, rows or optimizer are not there or do not fit.
    """
    model = open_model(path)
    numbers: list[int] = []

    def choose(count: int) -> list[int]:
        numbers.extend(chosen_rows(rows, span, count, data))
        return numbers

    known = labelled_rows(model, data, choose)
    examples = _examples(model, known, numbers)
    labels = Labels(_inputs(model), _outputs(model), tuple(_called(each) for each in examples))
    y = model.answers.targets(known.y)
    first = _optimizer(model, optimizer, rate)
    step = explain(model.net, known.X, y, model.answers.loss, first, training=training, check=check, labels=labels)
    notes = known.notes
    if known.weights is not None and not (known.weights == 1).all():
        notes += ("each row counts the same here; the weights of rows are left out.",)
    schema = model.schema
    target, size = (schema.target.name, None) if isinstance(schema, TableSchema) else ("class", _size(schema))
    return Explained(step, examples, target, size, notes)


def chosen_rows(rows: Sequence[int], span: str | None, count: int, data: str) -> list[int]:
    """The numbers of rows that were asked for, each from 0 and below `count`.

    Raises
    ------
    ArgumentError
        If there is no such row, one is asked for twice, or the span is none or goes beyond the rows.

    Examples
    --------
    >>> chosen_rows([-1], "0:3", 10, "data.csv")
    [9, 0, 1, 2]
    """
    found = [_row(row, count, data) for row in rows]
    end = f"{data} has {count:,}, counted from 0 to {count - 1:,}"
    if span is not None:
        match = re.fullmatch(r"\s*(-?\d*)\s*:\s*(-?\d*)\s*", span)
        if match is None:
            raise ArgumentError(
                f'--rows must be two numbers such as 0:8, from the first row to below the last, not "{span}".'
            )
        first, last = (int(place) if place else None for place in match.groups())
        for place in (first, last):
            if place is not None and not -count <= place <= count:
                raise ArgumentError(
                    f"--rows {span} goes beyond the rows: {end}, so that at most {count:,} ends a span."
                )
        within = range(count)[slice(first, last)]
        if not within:
            raise ArgumentError(f"--rows {span} holds no row: {data} has {count:,}, counted from 0.")
        found += within
    twice = min((row for row, times in Counter(found).items() if times > 1), default=None)
    if twice is not None:
        raise ArgumentError(
            f"row {twice:,} is asked for twice (--row and --rows add up, and -1 is the last row); in a batch each row "
            "counts once: name it once."
        )
    return found if rows or span is not None else [_row(0, count, data)]


def _row(row: int, count: int, data: str) -> int:
    if not -count <= row < count:
        raise ArgumentError(f"there is no row {row}: {data} has {count:,}, counted from 0 to {count - 1:,}.")
    return row % count


def _optimizer(model: Model, name: str | None, rate: float | None) -> Optimizer | None:
    """That of the first step of the run, unless another is asked for; None where nothing is known."""
    known = flags_of_run(model)
    own = None if known is None else known[0]
    if own is None and name is None and rate is None:
        return None
    chosen = name or (own.optimizer if own is not None else None) or "sgd"
    if rate is None and own is not None and own.optimizer == chosen:
        rate = own.learning_rate
    return optimizer_named(chosen, USUAL_RATES.get(chosen, 0.01) if rate is None else rate)


# --- In the user's words -----------------------------------------------------------------------------------------


def _inputs(model: Model) -> tuple[str, ...]:
    """The names of the network's inputs: columns, and what became of them; pixels by row and column."""
    schema = model.schema
    if isinstance(schema, TableSchema):
        return schema.feature_names
    shape = (*schema.size, 3) if schema.colour else schema.size
    return tuple(f"pixel {', '.join(map(str, place))}" for place in np.ndindex(*shape))


def _outputs(model: Model) -> tuple[str, ...]:
    """The names of the network's outputs: classes, or the column that is learned."""
    if model.answers.outputs == len(model.classes):
        return model.classes
    if model.classes:
        return (model.classes[1],)  # one output for two classes: how much speaks for the second
    return (model.schema.target.name,) if isinstance(model.schema, TableSchema) else ()


def _size(schema: ImageSchema) -> tuple[int, int] | None:
    return None if schema.colour else schema.size


def _called(example: Example) -> str:
    return f"row {example.row}"


def _examples(model: Model, known: Labelled, numbers: Sequence[int]) -> tuple[Example, ...]:
    scores = model.answers.scores(predict(model.net, known.X))
    likely = probabilities(scores) if model.answers.probabilities and model.classes else None
    said, wanted = _words(model, scores), _words(model, known.y)
    found = []
    for place, row in enumerate(numbers):
        ranked = [] if likely is None else sorted(zip(model.classes, likely[place].tolist(), strict=True), key=_second)
        cells = _cells(model.schema, known, place) if isinstance(model.schema, TableSchema) else ()
        found.append(Example(row, known.row_name(place), cells, wanted[place], said[place], tuple(ranked)))
    return tuple(found)


def _second(pair: tuple[str, float]) -> float:
    return -pair[1]


def _words(model: Model, values: Array) -> list[str]:
    """Scores, class numbers or numbers as a user knows them."""
    if not model.classes and isinstance(model.schema, TableSchema):
        return [f"{number:.6g}" for number in model.schema.restore(values).reshape(-1).tolist()]
    chosen = values if values.ndim == 1 else values.argmax(axis=1)
    return [model.classes[int(number)] for number in chosen]


def _cells(schema: TableSchema, known: Labelled, place: int) -> tuple[Cell, ...]:
    assert known.frame is not None
    values, names = known.X[place].tolist(), schema.feature_names
    cells = []
    for column, taken in places_of(schema).items():
        written = known.frame[column][place]
        inputs = tuple(zip(names[taken], values[taken], strict=True))
        cells.append(Cell(column, "" if written is None else str(written), inputs))
    return tuple(cells)
