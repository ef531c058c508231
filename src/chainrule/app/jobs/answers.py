"""What the outputs of a network mean: how many there are, what they are compared with, and how they become answers.

Comes in: the name of a loss and what is to be learned. Goes out: an `Answers` from a table with one row a loss, so that
training, scoring, prediction and the studio read the same outputs in the same way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from chainrule.errors import ArgumentError
from chainrule.nn.losses import LOSSES, get_loss
from chainrule.train.metrics import METRICS, Metric

Array = np.ndarray[Any, Any]


class Rows(Protocol):
    """Inputs, class numbers or numbers, and perhaps how much each row counts."""

    @property
    def X(self) -> Array: ...

    @property
    def y(self) -> Array: ...

    @property
    def weights(self) -> Array | None: ...


@dataclass(frozen=True, slots=True)
class Answers:
    """How the outputs of a network trained with one loss are read.

    Attributes
    ----------
    loss
        The name of the loss.
    outputs
        How many outputs the network has.
    logarithmic
        Whether the network ends with a log-softmax layer.
    targets
        From class numbers (rows,) or numbers (rows, 1) to what the loss is given.
    scores
        From outputs to scores (rows, classes), the highest of which wins, or to numbers (rows, 1).
    probabilities
        Whether softmax of the scores gives probabilities.
    """

    loss: str
    outputs: int
    logarithmic: bool
    targets: Callable[[Array], Array]
    scores: Callable[[Array], Array]
    probabilities: bool

    def learned(self, rows: Rows) -> tuple[Array, ...]:
        """Rows as `fit` and `diagnose` take them: (X, y), or (X, y, weights), with y as the loss is given it."""
        y = self.targets(rows.y)
        return (rows.X, y) if rows.weights is None else (rows.X, y, rows.weights)


def answers_for(loss: str | None, classes: int) -> Answers:
    """How to read outputs for `classes` classes, or for numbers where that is 0; `loss` None is the usual one.

    Raises
    ------
    ArgumentError
        If the loss is not known, or is not for this task.

    Examples
    --------
    >>> answers_for(None, 3).loss, answers_for("mae", 0).loss
    ('cross_entropy', 'mean_absolute_error')
    >>> answers_for("bce", 2).scores(np.array([[2.0], [-1.0]])).tolist()
    [[0.0, 2.0], [0.0, -1.0]]
    """
    name = get_loss(loss or ("cross_entropy" if classes else "mean_squared_error")).name
    suited = "classification" if classes else "regression"
    if LOSSES[name].kind != suited:
        fitting = [each.name for each in LOSSES.values() if each.kind == suited]
        raise ArgumentError(f"--loss {name} is not for a {suited}: take one of {', '.join(fitting)}.")
    if name == "binary_cross_entropy":
        if classes != 2:
            raise ArgumentError(f"--loss {name} is for two classes, but there are {classes}: take cross_entropy.")
        return Answers(name, 1, False, _column, _pair, True)
    if name == "kl_divergence":
        return Answers(name, classes, True, lambda y: np.eye(classes, dtype=np.float32)[y], _as_they_are, True)
    if name == "hinge":
        return Answers(name, classes, False, _as_they_are, _as_they_are, False)
    if name == "cross_entropy":
        return Answers(name, classes, False, _as_they_are, _as_they_are, True)
    return Answers(name, 1, False, _as_they_are, _exponential if name == "poisson" else _as_they_are, False)


def probabilities(scores: Array) -> Array:
    """Softmax over the classes of each row, float64 of shape (rows, classes)."""
    wide = scores.astype(np.float64)
    raised = np.exp(wide - wide.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def scored(answers: Answers, name: str) -> Metric:
    """The metric of that name on a network's outputs, for `fit`."""
    known = METRICS[name]

    def figure(outputs: Array, targets: Array, weights: Array | None = None) -> float:
        return known.function(answers.scores(outputs), targets, weights)

    return Metric(known.name, figure, known.better, known.about)


def _as_they_are(values: Array) -> Array:
    return values


def _column(numbers: Array) -> Array:
    return numbers.astype(np.float32)[:, None]


def _pair(outputs: Array) -> Array:
    column = outputs.reshape(len(outputs), 1)
    return np.concatenate([np.zeros_like(column), column], axis=1)


def _exponential(outputs: Array) -> Array:
    return np.asarray(np.exp(np.minimum(outputs.astype(np.float64), 700.0)))
