"""What is wrong with a run: asked at its end, and later of the folder that it left.

Comes in: a plan that was carried out, or the name of a run, perhaps with other data. Goes out: findings that speak of
the user's columns and give advice as flags of `chainrule train`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from chainrule.app.jobs.choices import Choices, decide, optimizer_for
from chainrule.app.jobs.lesson import Lesson, prepare
from chainrule.app.jobs.runs import HISTORY, RUN, Run, open_run
from chainrule.app.jobs.source import open_source
from chainrule.app.jobs.using import labelled_rows
from chainrule.data.schema import TableSchema
from chainrule.errors import ArgumentError, DataError, FileFormatError
from chainrule.look.diagnosis.curves import LARGER_RATE
from chainrule.look.diagnosis.finding import Finding, Findings
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
    run = FinishedRun(net, loss, optimizer, history, training, held, choices.batch_size, names)
    return with_flags(examine(run), choices.activation)


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
    activation = None if run.flags is None else run.flags.activation
    finished = FinishedRun(model.net, get_loss(model.answers.loss), None, run.history, rows, None, size, names)
    found = with_flags(examine(finished), activation)
    return Diagnosis(found, data, len(known.X), 0, len(run.history), known.notes)


# --- Advice as flags ---------------------------------------------------------------------------------------------


def with_flags(findings: Findings, activation: str | None = None) -> Findings:
    """The same findings; where a flag of `chainrule train` changes it, the advice is that flag.

    The activation that the run has is not advised.

    Nothing is said of inputs that the run made itself, such as the one for cells that are missing: these are constant
    or repeated as the rows have it, and columns that are constant in the file are left out before training.
    """
    own = [finding for finding in findings if not (finding.rule in OF_COLUMNS and "=" in finding.where)]
    has = f"--activation {activation}, or "
    return Findings(
        replace(finding, advice=ADVICE[finding.rule](finding).removeprefix(has)) if finding.rule in ADVICE else finding
        for finding in own
    )


def _slower(finding: Finding) -> str:
    evidence = finding.evidence
    rate = evidence.get("suggested", evidence.get("learning rate"))
    if not isinstance(rate, float | int) or not rate:
        return "--learning-rate ten times smaller"
    return f"--learning-rate {rate if 'suggested' in evidence else rate / 100:g}"


def _faster(finding: Finding) -> str:
    rate = finding.evidence.get("suggested")
    return f"--learning-rate {rate:g}" if isinstance(rate, float) else "--learning-rate ten times larger"


def _other_step(finding: Finding) -> str:
    rate, ratio = finding.evidence.get("learning rate"), finding.evidence.get("update by weight")
    if isinstance(rate, float | int) and isinstance(ratio, float) and ratio > 1:
        return f"--learning-rate {rate * 0.01 / ratio:.1g}"
    return "--learning-rate ten times larger"


def _other_size(finding: Finding) -> str:
    classes = finding.evidence.get("classes")
    if isinstance(classes, int):  # a layer too narrow for them
        return f"--hidden with more units, such as --hidden {max(16, 2 * classes)}"
    return "--hidden with fewer units, such as --hidden 16, or --dropout 0.3"


def _stronger(finding: Finding) -> str:
    faster = "a larger --learning-rate, " if LARGER_RATE in finding.advice else ""
    return f"more units with --hidden 128,128, more --epochs, {faster}--dropout 0"


def _larger_batch(finding: Finding) -> str:
    return f"--batch-size {max(16, 4 * int(finding.evidence.get('batch size', 8)))}"


def _always(advice: str) -> Callable[[Finding], str]:
    return lambda finding: advice


OF_COLUMNS = ("constant-columns", "duplicate-columns")
ADVICE: dict[str, Callable[[Finding], str]] = {
    "duplicate-columns": _always("--ignore COLUMN leaves one of the two out"),
    "validation-shares-rows": _always("take each row of the file once: copies make every score too good"),
    "class-imbalance": _always("judge by balanced accuracy; --weights COLUMN lets rare classes count more"),
    "target-given-away": _always("if it is not known before the answer is: --ignore COLUMN"),
    "labels-look-shuffled": _always("look whether the column of answers belongs to these rows"),
    "labels-likely-wrong": _always("look at the rows that report.html names as the worst mistakes"),
    "network-size": _other_size,
    "learning-rate-too-high": _slower,
    "learning-rate-too-low": _faster,
    "weights-collapsed": _always("--optimizer adamw, without --learning-rate"),
    "updates-too-large-or-small": _other_step,
    "activations-shrink": _always("--activation relu, or fewer layers with --hidden"),
    "vanishing-gradients": _always("--activation relu, or fewer layers with --hidden"),
    "exploding-gradients": _slower,
    "dead-relu": _always("--activation leaky_relu, or a smaller --learning-rate"),
    "saturated-units": _always("--activation relu, or a smaller --learning-rate"),
    "batch-too-small": _larger_batch,
    "loss-not-finite": _slower,
    "diverging-loss": _slower,
    "oscillating-loss": _slower,
    "not-learning": _always("--learning-rate ten times larger or smaller, --hidden 128,64, more --epochs"),
    "overfitting": _always("--dropout 0.3, fewer units such as --hidden 16, or more rows"),
    "underfitting": _stronger,
    "trained-too-long": _always("--patience 5 stops earlier; the network of the best epoch is what was kept"),
    "stopped-too-early": _always("more --epochs, and a longer --patience"),
}
