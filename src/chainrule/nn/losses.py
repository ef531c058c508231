"""Losses: one number that says how far the guesses are from the truth.

Each takes predictions and targets with rows first, optional weights of shape (rows,), and a reduction: "mean" (the
weighted mean over all elements), "sum", or "none" (one number for each element or row). `LOSSES` names them all.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.dtypes import is_floating
from chainrule.engine.functions import (
    abs,
    astype,
    clip,
    exp,
    expand_dims,
    log,
    log_softmax,
    maximum,
    mean,
    one_hot,
    relu,
    softplus,
    squeeze,
    take,
    take_along_axis,
    where,
)
from chainrule.engine.functions import sum as sum_over
from chainrule.engine.functions.elementwise import floating
from chainrule.engine.tensor import Tensor, asarray
from chainrule.errors import ArgumentError, DTypeError, ShapeError

LossFunction = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss as documentation and the command line know it; `kind` is "regression" or "classification"."""

    name: str
    function: LossFunction
    aliases: tuple[str, ...]
    kind: str
    about: str


def mean_squared_error(predictions: Any, targets: Any, *, weights: Any = None, reduction: str = "mean") -> Tensor:
    """(prediction - target)², for shapes that are equal.

    >>> mean_squared_error([1.0, 2.0], [1.0, 4.0]).item()
    2.0
    """
    guess, truth = _alike("mean_squared_error", predictions, targets)
    error = guess - truth
    return _reduce("mean_squared_error", error * error, weights, reduction)


def mean_absolute_error(predictions: Any, targets: Any, *, weights: Any = None, reduction: str = "mean") -> Tensor:
    """|prediction - target|, for shapes that are equal."""
    guess, truth = _alike("mean_absolute_error", predictions, targets)
    return _reduce("mean_absolute_error", abs(guess - truth), weights, reduction)


def huber(
    predictions: Any, targets: Any, *, weights: Any = None, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    """Half the squared error up to `delta`, linear beyond, so that outliers pull less (Huber, 1964)."""
    if delta <= 0:
        raise ArgumentError(f"huber: delta must be above 0, but is {delta}.")
    guess, truth = _alike("huber", predictions, targets)
    error = abs(guess - truth)
    near = clip(error, None, delta)
    return _reduce("huber", near * (error - 0.5 * near), weights, reduction)


def binary_cross_entropy(predictions: Any, targets: Any, *, weights: Any = None, reduction: str = "mean") -> Tensor:
    """-t·log(p) - (1 - t)·log(1 - p) with p = sigmoid(prediction): predictions are logits.

    Targets are 0 and 1, booleans, or probabilities. Computed as softplus(z) - t·z, which is safe for any logit.
    """
    logits, truth = _alike("binary_cross_entropy", predictions, targets)
    _check_range("binary_cross_entropy", truth, 0, 1, "a probability from 0 to 1; map your two classes to 0 and 1")
    return _reduce("binary_cross_entropy", softplus(logits) - truth * logits, weights, reduction)


def cross_entropy(
    predictions: Any,
    targets: Any,
    *,
    weights: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    class_weights: Any = None,
) -> Tensor:
    """-log(softmax(prediction)[target]): predictions are logits of shape (rows, classes).

    Parameters
    ----------
    targets
        Class numbers of shape (rows,), or probabilities of shape (rows, classes).
    label_smoothing
        The part of each target that is spread evenly over all classes (Szegedy et al., 2016).
    class_weights
        One number for each class. With class numbers the mean is divided by the weights of the classes that occur,
        as PyTorch does.
    """
    logits = floating(predictions)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ShapeError(
            f"cross_entropy expects logits of shape (rows, classes) with 2 classes or more, but got {logits.shape}. "
            "For one logit a row use binary_cross_entropy."
        )
    if not 0 <= label_smoothing < 1:
        raise ArgumentError(f"cross_entropy: label_smoothing must be from 0 below 1, but is {label_smoothing}.")
    rows, classes = logits.shape
    truth = asarray(targets)
    logarithms = log_softmax(logits)
    by_class = None if class_weights is None else _class_weights(class_weights, classes, logits)
    if truth.shape == (rows, classes) and is_floating(truth.dtype):
        share = astype(truth, logits.dtype) * (1 - label_smoothing) + label_smoothing / classes
        weighted = share if by_class is None else share * by_class
        return _reduce("cross_entropy", -sum_over(weighted * logarithms, axis=1), weights, reduction)
    _check_labels("cross_entropy", truth, rows, classes)
    chosen = -squeeze(take_along_axis(logarithms, expand_dims(truth, axis=1), axis=1), axis=1)
    own_weight = None if by_class is None else take(by_class, truth)
    loss = chosen if own_weight is None else chosen * own_weight
    if label_smoothing:
        spread = -mean(logarithms if by_class is None else logarithms * by_class, axis=1)
        loss = loss * (1 - label_smoothing) + spread * label_smoothing
    return _reduce("cross_entropy", loss, weights, reduction, mass=own_weight)


def kl_divergence(predictions: Any, targets: Any, *, weights: Any = None, reduction: str = "mean") -> Tensor:
    """sum(t·(log t - prediction)) over the classes of each row: predictions are logarithms of probabilities.

    Shapes (rows, classes); the mean is over rows (PyTorch's "batchmean").
    """
    guess, truth = _alike("kl_divergence", predictions, targets)
    entropy = where(truth > 0, truth * log(where(truth > 0, truth, 1)), 0)
    return _reduce("kl_divergence", sum_over(entropy - truth * guess, axis=-1), weights, reduction)


def poisson(predictions: Any, targets: Any, *, weights: Any = None, reduction: str = "mean") -> Tensor:
    """exp(prediction) - target·prediction: predictions are logarithms of rates, targets are counts."""
    guess, truth = _alike("poisson", predictions, targets)
    _check_range("poisson", truth, 0, np.inf, "a count from 0")
    return _reduce("poisson", exp(guess) - truth * guess, weights, reduction)


def hinge(
    predictions: Any, targets: Any, *, weights: Any = None, reduction: str = "mean", margin: float = 1.0
) -> Tensor:
    """How far a guess falls short of its margin.

    With one score a row: max(0, margin - s·score), where targets 0 and 1 (or -1 and 1) give the sign s. With scores of
    shape (rows, classes) and class numbers: the sum over the other classes of max(0, margin - own + other) / classes.
    """
    scores, truth = floating(predictions), asarray(targets)
    if scores.ndim == 2 and scores.shape[1] > 1:
        rows, classes = scores.shape
        _check_labels("hinge", truth, rows, classes)
        own = take_along_axis(scores, expand_dims(truth, axis=1), axis=1)
        other = 1 - one_hot(truth, classes, dtype=scores.dtype)
        return _reduce("hinge", sum_over(relu(margin - own + scores) * other, axis=1) / classes, weights, reduction)
    scores, truth = _alike("hinge", scores, truth)
    _check_range("hinge", truth, -1, 1, "-1, 0 or 1")
    signs = where(truth > 0, 1.0, -1.0)
    return _reduce("hinge", maximum(margin - astype(signs, scores.dtype) * scores, 0.0), weights, reduction)


# --- Chores ------------------------------------------------------------------------------------------------------


def _alike(name: str, predictions: Any, targets: Any) -> tuple[Tensor, Tensor]:
    guess, truth = floating(predictions), asarray(targets)
    if guess.shape != truth.shape:
        hint = "Reshape one of them: y[:, None], or predictions[:, 0]." if guess.size == truth.size else ""
        raise ShapeError(f"{name} expects equal shapes, but got {guess.shape} and {truth.shape}. {hint}".rstrip())
    return guess, astype(truth, guess.dtype)


def _check_labels(name: str, truth: Tensor, rows: int, classes: int) -> None:
    if is_floating(truth.dtype):
        raise DTypeError(
            f"{name} expects class numbers (integers), but the targets are {truth.dtype.name} of shape {truth.shape}. "
            "Convert them with astype(int), or give probabilities of shape (rows, classes)."
        )
    if truth.shape != (rows,):
        raise ShapeError(f"{name} expects class numbers of shape ({rows},), but got {truth.shape}.")
    known = truth.node.value
    if known is not None and known.size and not (known.min() >= 0 and known.max() < classes):
        place = int(np.flatnonzero((known < 0) | (known >= classes))[0])
        raise ArgumentError(
            f"{name}: the label {int(known[place])} in row {place} is not a class number from 0 to {classes - 1}. "
            "Number the classes from 0, or give the network more outputs."
        )


def _check_range(name: str, truth: Tensor, low: float, high: float, wanted: str) -> None:
    known = truth.node.value
    if known is not None:
        wrong = ~((known >= low) & (known <= high))
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ArgumentError(f"{name}: the target {known[place]} at {place} is not {wanted}.")


def _class_weights(class_weights: Any, classes: int, logits: Tensor) -> Tensor:
    weights = asarray(class_weights, dtype=logits.dtype)
    if weights.shape != (classes,):
        raise ShapeError(f"cross_entropy: class_weights must have the shape ({classes},), but have {weights.shape}.")
    return weights


def _reduce(name: str, losses: Tensor, weights: Any, reduction: str, mass: Tensor | None = None) -> Tensor:
    """Weigh rows and reduce; `mass` is what a mean is divided by instead of the number of elements."""
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(f'{name}: reduction is "mean", "sum" or "none", not {reduction!r}.')
    if weights is not None:
        given = asarray(weights, dtype=losses.dtype)
        if given.shape != losses.shape[:1]:
            raise ShapeError(f"{name}: weights must have the shape {losses.shape[:1]}, but have {given.shape}.")
        each = given.reshape((*given.shape, *(1,) * (losses.ndim - 1)))
        losses = losses * each
        mass = each * (asarray(1.0, dtype=losses.dtype) if mass is None else mass)
    if reduction == "none":
        return losses
    total = sum_over(losses)
    if reduction == "sum":
        return total
    if mass is None:
        return total / max(losses.size, 1)
    repeats = losses.size // max(mass.size, 1)
    return total / (sum_over(mass) * repeats)


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss("mean_squared_error", mean_squared_error, ("mse", "squared"), "regression", "squared error"),
        Loss("mean_absolute_error", mean_absolute_error, ("mae", "absolute"), "regression", "absolute error"),
        Loss("huber", huber, (), "regression", "squared near, absolute far: bears outliers"),
        Loss("poisson", poisson, (), "regression", "counts, from the logarithm of their rate"),
        Loss("binary_cross_entropy", binary_cross_entropy, ("bce",), "classification", "two classes, one logit"),
        Loss("cross_entropy", cross_entropy, ("ce",), "classification", "classes, one logit each"),
        Loss("kl_divergence", kl_divergence, ("kl",), "classification", "distance of log-probabilities"),
        Loss("hinge", hinge, (), "classification", "margin of the right class"),
    )
}
_BY_NAME = {name: loss for loss in LOSSES.values() for name in (loss.name, *loss.aliases)}


def get_loss(loss: str | LossFunction) -> Loss:
    """The loss of that name or alias, or a function as one.

    Raises
    ------
    ArgumentError
        For an unknown name, with the nearest.
    """
    if callable(loss):
        known = [each for each in LOSSES.values() if each.function is loss]
        return known[0] if known else Loss(getattr(loss, "__name__", "loss"), loss, (), "any", "a function of yours")
    name = str(loss).replace("-", "_")
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, _BY_NAME, 1)
        hint = f'; did you mean "{near[0]}"?' if near else "."
        raise ArgumentError(f'there is no loss "{loss}"{hint} Known: {", ".join(LOSSES)}.')
    return _BY_NAME[name]
