"""The honest rivals: always the same answer, and a linear model, trained on the same rows and the same inputs.

Comes in: a `Lesson`. Goes out: a `Score` for each rival on the test rows. The linear models are scikit-learn's; how
strongly they are regularised is chosen by the validation rows, as the network's best epoch is.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from chainrule.app.jobs.judge import score
from chainrule.app.jobs.lesson import Lesson, Part
from chainrule.app.jobs.outcome import Score
from chainrule.train.metrics import log_loss, mse

Array = np.ndarray[Any, Any]

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
MOST_WORK = 20_000_000  # training inputs times classes, up to which several strengths are tried
MOST_ROUNDS = 200
SMALLEST_SHARE = 1e-15  # a probability of 0 would make one wrong row cost an infinite loss
MOST_CODES = 256  # an embedded column has up to so many columns of its own here, for its most frequent codes


def rivals(lesson: Lesson) -> tuple[Score, ...]:
    """The linear model and the constant answer, the stronger kind first."""
    return (_linear(lesson), _constant(lesson))


def _constant(lesson: Lesson) -> Score:
    part, rows = lesson.training, len(lesson.test)
    if lesson.task == "regression":
        mean = np.average(part.y[:, 0], weights=part.weights)
        return score("mean", lesson, np.full((rows, 1), mean), lesson.test, likely=False)
    counts = np.bincount(part.y, part.weights, len(lesson.classes))
    shares = np.log(np.maximum(counts, 1e-9) / counts.sum())
    return score("most frequent class", lesson, np.tile(shares, (rows, 1)), lesson.test, likely=True)


def _linear(lesson: Lesson) -> Score:
    parts = [_inputs(lesson, part) for part in (lesson.training, lesson.validation, lesson.test)]
    fit = _ridge if lesson.task == "regression" else _logistic
    work = parts[0].size * max(1, len(lesson.classes))
    best, best_loss = np.empty(0), np.inf
    for validation, test in fit(lesson, parts, STRENGTHS if work <= MOST_WORK else (1.0,)):
        measure = mse if lesson.task == "regression" else log_loss
        loss = measure(validation, lesson.validation.y, lesson.validation.weights)
        if loss >= best_loss:
            break  # less and less regularised from here on: it only gets worse
        best, best_loss = test, loss
    name = "ridge regression" if lesson.task == "regression" else "logistic regression"
    return score(name, lesson, best, lesson.test, likely=True)


def _ridge(lesson: Lesson, parts: list[Array], strengths: Sequence[float]) -> Iterator[tuple[Array, Array]]:
    """Predictions for validation and test rows, from the most to the least regularised model."""
    from sklearn.linear_model import Ridge

    part = lesson.training
    for strength in strengths:
        model = Ridge(alpha=1 / strength).fit(parts[0], part.y[:, 0], sample_weight=part.weights)
        yield model.predict(parts[1])[:, None], model.predict(parts[2])[:, None]


def _logistic(lesson: Lesson, parts: list[Array], strengths: Sequence[float]) -> Iterator[tuple[Array, Array]]:
    """Scores for validation and test rows, from the most to the least regularised model; each begins at the last."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    part = lesson.training
    model = LogisticRegression(max_iter=MOST_ROUNDS, warm_start=True)
    for strength in strengths:
        model.set_params(C=strength)
        with warnings.catch_warnings():
            # Where it has not converged it is a little worse than it could be; it stops there as the network does.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(parts[0], part.y, sample_weight=part.weights)
        found = []
        for inputs in parts[1:]:
            shares = np.zeros((len(inputs), len(lesson.classes)))
            shares[:, model.classes_] = model.predict_proba(inputs)
            found.append(np.log(np.maximum(shares, SMALLEST_SHARE)))
        yield found[0], found[1]


def _inputs(lesson: Lesson, part: Part) -> Array:
    """The inputs, with an input for each frequent code of an embedded column."""
    if not lesson.embeddings:
        return part.X
    numbers = part.X.shape[1] - len(lesson.embeddings)
    blocks = [part.X[:, :numbers]]
    for place in range(numbers, part.X.shape[1]):
        codes, counts = np.unique(lesson.training.X[:, place], return_counts=True)
        frequent = codes[np.argsort(-counts, kind="stable")[:MOST_CODES]]
        blocks.append((part.X[:, place, None] == frequent).astype(np.float32))
    return np.concatenate(blocks, axis=1)
