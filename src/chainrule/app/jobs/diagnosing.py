"""What is wrong with a run: asked at its end, and later of the folder that it left.

Comes in: a plan that was carried out, or the name of a run, perhaps with other data. Goes out: findings that speak of
the user's columns and give advice as flags of `chainrule train`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from chainrule.app.jobs.advising import with_flags
from chainrule.app.jobs.choices import Choices, decide, optimizer_for
from chainrule.app.jobs.lesson import Lesson, prepare
from chainrule.app.jobs.runs import HISTORY, RUN, Run, open_run
from chainrule.app.jobs.source import open_source
from chainrule.app.jobs.using import labelled_rows
from chainrule.data.columns import Numeric
from chainrule.data.images import ImageSchema
from chainrule.data.schema import TableSchema
from chainrule.data.targets import Numbers
from chainrule.errors import ArgumentError, DataError, FileFormatError
from chainrule.look.diagnosis.finding import Findings
from chainrule.look.examining import examine
from chainrule.nn.losses import get_loss
from chainrule.nn.module import Module
from chainrule.train.examination import FinishedRun
from chainrule.train.history import History
from chainrule.train.inputs import Rows


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found, in which data (rows that were learned from, rows held out), and notes in short sentences."""

    findings: Findings
    data: str
    rows: int
    held_out: int
    epochs: int
    notes: tuple[str, ...]


def diagnose_training(net: Module, lesson: Lesson, choices: Choices, history: History) -> Findings:
    """What is wrong with a run of `chainrule train`, whose network is that of the best epoch."""
    training, held = (Rows(choices.answers.learned(part)) for part in (lesson.training, lesson.validation))
    names = lesson.schema.feature_names if isinstance(lesson.schema, TableSchema) else ()
    optimizer = optimizer_for(choices, len(lesson.training))
    loss = get_loss(choices.answers.loss)
    places = lesson.training.place, lesson.validation.place
    run = FinishedRun(
        net,
        loss,
        optimizer,
        history,
        training,
        held,
        choices.batch_size,
        names,
        row_names=places,
        as_written=as_written(lesson.schema),
    )
    return with_flags(examine(run), net, history)


def diagnose_run(path: str, data: str | None = None) -> Diagnosis:
    """What is wrong with the run in a folder, asked about the data that it learned from, or about other data.

    Raises
    ------
    DataError, FileFormatError
        If the folder holds no run, its data are gone, or other data do not fit its network.
    """
    run = open_run(path)
    found = _on(run, data) if data is not None else _as_it_was(run)
    if found.epochs:
        return found
    note = f"{run.folder / HISTORY} has no epoch: there is no run to judge; data and network alone were looked at."
    return replace(found, notes=(note, *found.notes))


def _as_it_was(run: Run) -> Diagnosis:
    """The run asked about the rows that it learned from, where its data are as they were."""
    if run.flags is None:
        raise DataError(f"{run.folder} has no {RUN} that says what it learned from: name the data after the folder.")
    try:
        source = open_source(run.flags.data)
    except DataError as error:
        raise DataError(
            f"the data that {run.folder} learned from cannot be read: {error} If it moved, name it after the folder."
        ) from error
    try:
        lesson = prepare(source, run.flags)
        choices = decide(run.flags, lesson)
    except ArgumentError as error:
        raise FileFormatError(f"{run.folder / RUN} does not fit {run.flags.data}: {error}") from error
    if lesson.schema.to_json() != run.model.schema.to_json():
        found = _on(run, run.flags.data)
        note = f"{run.flags.data} is not as it was when the run learned from it: all its rows are looked at."
        return replace(found, notes=(note, *found.notes))
    findings = diagnose_training(run.model.net, lesson, choices, run.history)
    rows = lesson.rows
    return Diagnosis(findings, run.flags.data, rows["training"], rows["validation"], len(run.history), ())


def _on(run: Run, data: str) -> Diagnosis:
    """All rows of other data as if the network had learned from them."""
    model = run.model
    known = labelled_rows(model, data)
    rows = Rows(model.answers.learned(known))
    names = model.schema.feature_names if isinstance(model.schema, TableSchema) else ()
    size = None if run.flags is None else run.flags.batch_size
    loss = get_loss(model.answers.loss)

    def row_name(row: int) -> str:
        return known.row_name(row) or f"row {row}"

    finished = FinishedRun(
        model.net,
        loss,
        None,
        run.history,
        rows,
        None,
        size,
        names,
        row_names=(row_name, row_name),
        as_written=as_written(model.schema),
    )
    findings = with_flags(examine(finished), model.net, run.history)
    return Diagnosis(findings, data, len(known.X), 0, len(run.history), known.notes)


def as_written(schema: TableSchema | ImageSchema) -> Callable[[int | None, float], float] | None:
    """From numbers as the network gets them to those of the table: inputs by their place, targets for None."""
    if not isinstance(schema, TableSchema):
        return None
    names, numeric = schema.feature_names, {each.name: each for each in schema.columns if isinstance(each, Numeric)}

    def written(place: int | None, number: float) -> float:
        column = schema.target if place is None else numeric.get(names[place])
        return number * column.scale + column.mean if isinstance(column, Numeric | Numbers) else number

    return written
