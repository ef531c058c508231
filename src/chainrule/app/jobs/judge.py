"""How good the network is beside honest rivals, and where it was most wrong.

Comes in: scores on the test rows. Goes out: metrics in the user's units, the confusion of classes, residuals, the worst
mistakes, and one sentence of judgement.
"""

from typing import Any

import numpy as np

from chainrule.app.jobs.answers import probabilities
from chainrule.app.jobs.lesson import Lesson, Part
from chainrule.app.jobs.outcome import Confusion, Residuals, Score
from chainrule.data.schema import TableSchema
from chainrule.train.metrics import METRICS

Array = np.ndarray[Any, Any]

CLASSIFICATION = ("accuracy", "balanced_accuracy", "f1")
REGRESSION = ("r2", "rmse", "mae")
MOST_MISTAKES = 10
MOST_POINTS = 2_000


def main_metric(task: str) -> str:
    """The metric that models are compared by."""
    return "r2" if task == "regression" else "accuracy"


def metrics_for(task: str, *, likely: bool) -> tuple[str, ...]:
    """The metrics of a task; `likely` says whether scores give probabilities."""
    if task == "regression":
        return REGRESSION
    return CLASSIFICATION + (("auc",) if task == "binary" else ()) + (("log_loss",) if likely else ())


def score(name: str, lesson: Lesson, scores: Array, part: Part, *, likely: bool) -> Score:
    """The metrics of one model, in the target's own unit."""
    guesses, truth = in_units(lesson, scores), in_units(lesson, part.y)
    chosen = metrics_for(lesson.task, likely=likely)
    return Score(name, {each: METRICS[each].function(guesses, truth, part.weights) for each in chosen})


def in_units(lesson: Lesson, values: Array) -> Array:
    """Numbers in the target's unit, of shape (rows, 1); scores and numbers of classes as they are."""
    if lesson.task != "regression" or not isinstance(lesson.schema, TableSchema):
        return values
    return lesson.schema.restore(values)[:, None]


def confusion(lesson: Lesson, scores: Array) -> Confusion | None:
    """Test rows by true and predicted class."""
    if lesson.task == "regression":
        return None
    counts = np.zeros((len(lesson.classes), len(lesson.classes)), np.int64)
    np.add.at(counts, (lesson.test.y, scores.argmax(axis=1)), 1)
    return Confusion(lesson.classes, tuple(tuple(int(n) for n in row) for row in counts))


def residuals(lesson: Lesson, scores: Array) -> Residuals | None:
    """Targets and guesses of the test rows, evenly chosen where there are many."""
    if lesson.task != "regression":
        return None
    chosen = np.unique(np.linspace(0, len(scores) - 1, min(len(scores), MOST_POINTS)).astype(int))
    truth, guesses = in_units(lesson, lesson.test.y[chosen]), in_units(lesson, scores[chosen])
    return Residuals(tuple(truth[:, 0].tolist()), tuple(guesses[:, 0].tolist()))


def mistakes(lesson: Lesson, scores: Array, *, likely: bool) -> tuple[tuple[str, str, str, float], ...]:
    """The test rows that the network got most wrong, the worst first."""
    names, y = lesson.test.names, lesson.test.y
    if lesson.task == "regression":
        truth, guesses = in_units(lesson, y)[:, 0], in_units(lesson, scores)[:, 0]
        error = guesses - truth
        worst = np.argsort(-np.abs(error), kind="stable")[:MOST_MISTAKES]
        return tuple((str(names[i]), f"{truth[i]:.4g}", f"{guesses[i]:.4g}", float(error[i])) for i in worst)
    if not likely:
        return ()
    chosen = scores.argmax(axis=1)
    sure = probabilities(scores)[np.arange(len(scores)), chosen]
    wrong = np.flatnonzero(chosen != y)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:MOST_MISTAKES]
    return tuple(
        (str(names[i]), lesson.classes[int(y[i])], lesson.classes[int(chosen[i])], float(sure[i])) for i in worst
    )


def verdict(network: Score, baselines: tuple[Score, ...], main: str, rows: int) -> str:
    """One sentence: whether the network beats its best rival, and by how much.

    Examples
    --------
    >>> verdict(Score("network", {"r2": 0.4}), (Score("ridge regression", {"r2": 0.5}),), "r2", 89)
    'The network does not beat ridge regression (R² 0.400 against 0.500): the simpler method would do here.'
    """
    best = max(baselines, key=lambda each: each.metrics[main], default=None)
    if best is None:
        return "There is no simpler method to compare with."
    own, other = network.metrics[main], best.metrics[main]
    if main == "r2":
        figures = f"R² {own:.3f} against {other:.3f}"
        close = False
    else:
        figures = f"{own:.1%} against {other:.1%} of {rows:,} rows right"
        close = own - other > 0 and round((own - other) * rows) <= 2 * np.sqrt(max(rows * other * (1 - other), 1))
    if own > other:
        doubt = ", a lead that so few rows cannot prove" if close else ""
        return f"The network beats {best.name} ({figures}){doubt}."
    if own == other:
        return f"The network does as well as {best.name} ({figures}): the simpler method would do here."
    return f"The network does not beat {best.name} ({figures}): the simpler method would do here."
