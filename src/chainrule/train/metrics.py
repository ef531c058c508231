"""How good predictions are, by names that people know. Everything is NumPy on a whole set of predictions.

Classifiers hand over logits: (rows, classes), or one logit a row for two classes. Regressors hand over values. All
take sample weights.
"""

import difflib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, ShapeError

Array = np.ndarray[Any, Any]
Figure = Callable[[Array, Array, Array | None], float]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of merit: `function(predictions, targets, weights) -> float`, and whether more is better."""

    name: str
    function: Figure
    better: str  # "higher" or "lower"
    about: str


def _labels(targets: Array) -> Array:
    """Targets as class numbers, from class numbers or probabilities; of two classes -1 and 1 they become 0 and 1."""
    if targets.ndim == 2 and targets.shape[1] > 1:
        return np.asarray(targets.argmax(axis=1), np.int64)
    flat = targets.reshape(-1)
    rounded = np.floor(flat + 0.5) if flat.dtype.kind == "f" else flat  # a probability from 0.5 on means class 1
    return np.maximum(rounded.astype(np.int64), 0)


def _chosen(logits: Array) -> Array:
    """The class with the greatest logit, or for one logit whether it is above 0."""
    many = logits.ndim == 2 and logits.shape[1] > 1
    return np.asarray(logits.argmax(axis=1) if many else logits.reshape(-1) > 0, np.int64)


def _average(values: Array, weights: Array | None) -> float:
    return float(np.average(values, weights=weights)) if weights is None or weights.any() else math.nan


def accuracy(logits: Array, targets: Array, weights: Array | None = None) -> float:
    """The share of rows whose class is right."""
    return _average(_chosen(logits) == _labels(targets), weights)


def balanced_accuracy(logits: Array, targets: Array, weights: Array | None = None) -> float:
    """The mean over the classes that occur of the share of their rows that is right."""
    right, labels = _chosen(logits) == _labels(targets), _labels(targets)
    w = np.ones(len(labels)) if weights is None else weights
    shares = [_average(right[labels == c], w[labels == c]) for c in np.unique(labels[w > 0])]
    return float(np.mean(shares)) if shares else math.nan


def f1(logits: Array, targets: Array, weights: Array | None = None) -> float:
    """The F1 score of each class, averaged without regard to its size (macro)."""
    chosen, labels = _chosen(logits), _labels(targets)
    w = np.ones(len(labels)) if weights is None else weights
    scores = []
    for c in np.union1d(labels, chosen):
        hits = w[(chosen == c) & (labels == c)].sum()
        total = w[chosen == c].sum() + w[labels == c].sum()
        scores.append(2 * hits / total if total else 0.0)
    return float(np.mean(scores))


def auc(logits: Array, targets: Array, weights: Array | None = None) -> float:
    """The area under the ROC curve, for two classes: how often a positive row outranks a negative one.

    NaN where only one class occurs.
    """
    score = logits[:, 1] - logits[:, 0] if logits.ndim == 2 and logits.shape[1] == 2 else logits.reshape(-1)
    labels = _labels(targets)
    if len(score) != len(labels):
        raise ShapeError(f"auc is for two classes, but the predictions have the shape {logits.shape}.")
    w = np.ones(len(labels)) if weights is None else weights
    positive, negative = np.where(labels == 1, w, 0.0), np.where(labels == 1, 0.0, w)
    _, place = np.unique(score, return_inverse=True)
    above = np.bincount(place, negative).cumsum()
    below = above - np.bincount(place, negative)
    pairs = positive.sum() * negative.sum()
    return float((positive * (below + above)[place] / 2).sum() / pairs) if pairs else math.nan


def log_loss(logits: Array, targets: Array, weights: Array | None = None) -> float:
    """The mean negative logarithm of the probability given to the true class."""
    wide = logits.astype(np.float64)
    if wide.ndim == 1 or wide.shape[1] == 1:
        wide = np.stack([np.zeros(len(wide)), wide.reshape(-1)], axis=1)
    shifted = wide - wide.max(axis=1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return _average(-logarithms[np.arange(len(wide)), _labels(targets)], weights)


def _errors(predictions: Array, targets: Array) -> Array:
    if predictions.size != targets.size:
        raise ShapeError(f"predictions {predictions.shape} and targets {targets.shape} differ in size.")
    errors: Array = predictions.astype(np.float64).reshape(len(targets), -1) - targets.reshape(len(targets), -1)
    return errors


def mse(predictions: Array, targets: Array, weights: Array | None = None) -> float:
    """The mean squared error."""
    return _average((_errors(predictions, targets) ** 2).mean(axis=1), weights)


def rmse(predictions: Array, targets: Array, weights: Array | None = None) -> float:
    """The square root of the mean squared error, in the target's units."""
    return float(np.sqrt(mse(predictions, targets, weights)))


def mae(predictions: Array, targets: Array, weights: Array | None = None) -> float:
    """The mean absolute error, in the target's units."""
    return _average(np.abs(_errors(predictions, targets)).mean(axis=1), weights)


def r2(predictions: Array, targets: Array, weights: Array | None = None) -> float:
    """The share of the target's variance that is explained: 1 is perfect, 0 is the mean. NaN for a constant target."""
    wide = targets.astype(np.float64).reshape(len(targets), -1)
    spread = ((wide - np.average(wide, axis=0, weights=weights)) ** 2).mean(axis=1)
    variance = _average(spread, weights)
    return 1 - mse(predictions, targets, weights) / variance if variance else math.nan


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", accuracy, "higher", "share of rows whose class is right"),
        Metric("balanced_accuracy", balanced_accuracy, "higher", "mean share of right rows over the classes"),
        Metric("f1", f1, "higher", "F1 score, averaged over the classes"),
        Metric("auc", auc, "higher", "area under the ROC curve, two classes"),
        Metric("log_loss", log_loss, "lower", "negative logarithm of the true class's probability"),
        Metric("mse", mse, "lower", "mean squared error"),
        Metric("rmse", rmse, "lower", "root of the mean squared error"),
        Metric("mae", mae, "lower", "mean absolute error"),
        Metric("r2", r2, "higher", "share of the variance explained"),
    )
}


def get_metric(metric: str | Figure | Metric) -> Metric:
    """The metric of that name, or a function of predictions, targets and perhaps weights as one.

    Raises
    ------
    ArgumentError
        For an unknown name, with the nearest.
    """
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        return Metric(getattr(metric, "__name__", "metric"), _taking_weights(metric), "higher", "a function of yours")
    if metric not in METRICS:
        near = difflib.get_close_matches(str(metric), METRICS, 1)
        hint = f'; did you mean "{near[0]}"?' if near else "."
        raise ArgumentError(f'there is no metric "{metric}"{hint} Known: {", ".join(METRICS)}.')
    return METRICS[metric]


def _taking_weights(function: Callable[..., float]) -> Figure:
    """`function` itself, or around one of predictions and targets alone."""
    try:
        inspect.signature(function).bind(None, None, None)
    except TypeError:
        return lambda predictions, targets, weights: function(predictions, targets)
    except ValueError:  # some built-in functions have no signature
        return function
    return function
