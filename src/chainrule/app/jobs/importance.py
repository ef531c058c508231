"""Which columns the network leans on: shuffle one, and see how much worse it gets (Breiman, 2001).

Comes in: a network and the test rows. Goes out: an `Importance` for each column, the largest first.
"""

from typing import Any

import numpy as np

from chainrule.app.jobs.answers import Answers
from chainrule.app.jobs.judge import main_metric
from chainrule.app.jobs.lesson import Lesson
from chainrule.app.jobs.outcome import Importance
from chainrule.nn.module import Module
from chainrule.train.evaluation import predict
from chainrule.train.metrics import METRICS

Array = np.ndarray[Any, Any]

REPEATS = 5
MOST_ROWS = 2_000
MOST_COLUMNS = 200


def importances(net: Module, lesson: Lesson, answers: Answers, seed: int) -> tuple[Importance, ...]:
    """How much the main metric drops on test rows when one column is shuffled, mean and spread of five shuffles.

    At most 2,000 rows are used, and of wide tables the 200 columns whose inputs vary with the outputs most.
    """
    if not lesson.inputs:
        return ()
    random = np.random.Generator(np.random.Philox(seed))
    rows = np.sort(random.permutation(len(lesson.test))[:MOST_ROWS])
    X, y = lesson.test.X[rows], lesson.test.y[rows]
    weights = None if lesson.test.weights is None else lesson.test.weights[rows]
    metric = METRICS[main_metric(lesson.task)].function

    def quality(scores: Array) -> float:
        return metric(scores, y, weights)

    scores = answers.scores(predict(net, X))
    whole, found = quality(scores), []
    for name in _candidates(lesson, scores, X):
        places, shuffled = lesson.inputs[name], np.tile(X, (REPEATS, 1, 1))
        for copy in shuffled:
            copy[:, places] = X[random.permutation(len(X)), places]
        # All repeats in one call: for small tables the calls would take longer than the arithmetic.
        guesses = answers.scores(predict(net, shuffled.reshape(-1, X.shape[1])))
        drops = [whole - quality(part) for part in np.split(guesses, REPEATS)]
        found.append(Importance(name, float(np.mean(drops)), float(np.std(drops))))
    return tuple(sorted(found, key=lambda each: -each.drop))


def _candidates(lesson: Lesson, scores: Array, X: Array) -> list[str]:
    """The columns to shuffle: all, or those whose inputs go most with some output."""
    names = list(lesson.inputs)
    if len(names) <= MOST_COLUMNS:
        return names
    centred = X - X.mean(axis=0)
    together = np.abs(centred.T @ (scores - scores.mean(axis=0))).max(axis=1)
    strength = together / np.maximum(np.linalg.norm(centred, axis=0), 1e-9)
    order = sorted(names, key=lambda name: -float(strength[lesson.inputs[name]].max()))
    return order[:MOST_COLUMNS]
