"""Losses: one number that says how far the guesses are from the truth.

Each takes predictions and targets with rows first, optional `weights` of shape (rows,), not negative, and a reduction:

* "mean": the sum of weight · loss over the sum of the weights, so that doubling all weights changes nothing; without
  rows, or where every weight is 0, it is 0 and so is its gradient.
* "sum": the sum of weight · loss.
* "none": weight · loss, one number for each element or row.

Targets and weights are checked, in a compiled function before its step where they are arguments of it; errors name the
row. `LOSSES` names them all.
"""

import builtins
import difflib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.checks import checked_already, require
from chainrule.engine.dtypes import int64, is_floating
from chainrule.engine.functions import (
    abs,
    astype,
    clip,
    exp,
    expand_dims,
    log,
    log_softmax,
    mean,
    one_hot,
    relu,
    reshape,
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
from chainrule.nn.arguments import fraction, number, positive

Array = np.ndarray[Any, Any]
LossFunction = Callable[..., Tensor]


class Loss(NamedTuple):
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
    delta = positive(delta, "huber: delta")
    guess, truth = _alike("huber", predictions, targets)
    error = abs(guess - truth)
    near = clip(error, None, delta)
    return _reduce("huber", near * (error - 0.5 * near), weights, reduction)


def binary_cross_entropy(predictions: Any, targets: Any, *, weights: Any = None, reduction: str = "mean") -> Tensor:
    """-t·log(p) - (1 - t)·log(1 - p) with p = sigmoid(prediction): predictions are logits.

    Targets are 0 and 1, booleans, or probabilities. Safe for any logit, and exact where the guess is nearly certain.

    >>> [binary_cross_entropy([1e4], [target]).item() for target in (0.0, 1.0)]
    [10000.0, 0.0]
    """
    logits, truth = _alike("binary_cross_entropy", predictions, targets)
    _check_range("binary_cross_entropy", truth, 0, 1, "a probability from 0 to 1; map your two classes to 0 and 1")
    # softplus(z) - t·z = softplus(-z) + (1 - t)·z: the one in which nothing cancels for t = 0, and the one for t = 1.
    is_yes = truth >= 0.5
    toward = where(is_yes, -logits, logits)
    return _reduce(
        "binary_cross_entropy", softplus(toward) + where(is_yes, 1 - truth, -truth) * logits, weights, reduction
    )


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
        Class numbers of shape (rows,), or probabilities of shape (rows, classes), each row of which sums to 1.
    label_smoothing
        The part of each target that is spread evenly over all classes (Szegedy et al., 2016).
    class_weights
        One number for each class. With class numbers they count like the rows' own weights: the mean is divided by
        the weights of the classes that occur. With probabilities it is divided by the rows. Both as PyTorch does.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        If shapes do not go together, labels are not integers, or a row's label is not one of the classes.

    Examples
    --------
    >>> round(cross_entropy([[2.0, 0.0], [0.0, 0.0]], [0, 1]).item(), 4)
    0.41
    """
    logits = floating(predictions)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ShapeError(
            f"cross_entropy expects logits of shape (rows, classes) with 2 classes or more, but got {logits.shape}. "
            "For one logit a row use binary_cross_entropy."
        )
    label_smoothing = fraction(label_smoothing, "cross_entropy: label_smoothing")
    rows, classes = logits.shape
    truth = asarray(targets)
    logarithms = log_softmax(logits)
    by_class = None if class_weights is None else _class_weights(class_weights, classes, logits)
    if truth.shape == (rows, classes) and is_floating(truth.dtype):
        check_probabilities("cross_entropy", truth)
        share = astype(truth, logits.dtype) * (1 - label_smoothing) + label_smoothing / classes
        weighted = share if by_class is None else share * by_class
        return _reduce("cross_entropy", -sum_over(weighted * logarithms, axis=1), weights, reduction)
    truth = _labels("cross_entropy", truth, rows, classes)
    with checked_already():
        chosen = -squeeze(take_along_axis(logarithms, expand_dims(truth, axis=1), axis=1), axis=1)
        own_weight = None if by_class is None else take(by_class, truth)
    loss = chosen if own_weight is None else chosen * own_weight
    if label_smoothing:
        spread = -mean(logarithms if by_class is None else logarithms * by_class, axis=1)
        loss = loss * (1 - label_smoothing) + spread * label_smoothing
    return _reduce("cross_entropy", loss, weights, reduction, mass=own_weight)


def kl_divergence(predictions: Any, targets: Any, *, weights: Any = None, reduction: str = "mean") -> Tensor:
    """sum(t·(log t - prediction)) over the classes of each row: predictions are logarithms of probabilities.

    Predictions come from `log_softmax`, targets are probabilities, both of shape (rows, classes). A class whose target
    is 0 adds nothing, whatever was predicted. The mean is over rows: PyTorch's "batchmean" (Kullback, Leibler, 1951).
    """
    guess, truth = _alike("kl_divergence", predictions, targets)
    if guess.ndim != 2:
        raise ShapeError(f"kl_divergence expects shapes (rows, classes), but got {guess.shape}.")
    check_probabilities("kl_divergence", truth)
    occurs = truth > 0
    each = where(occurs, truth * (log(where(occurs, truth, 1.0)) - guess), 0.0)
    return _reduce("kl_divergence", sum_over(each, axis=1), weights, reduction)


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
    margin = number(margin, "hinge: margin")
    scores, truth = floating(predictions), asarray(targets)
    if scores.ndim == 2 and scores.shape[1] > 1:
        rows, classes = scores.shape
        truth = _labels("hinge", truth, rows, classes)
        with checked_already():
            own = take_along_axis(scores, expand_dims(truth, axis=1), axis=1)
            other = 1 - one_hot(truth, classes, dtype=scores.dtype)
        return _reduce("hinge", sum_over(relu(margin - own + scores) * other, axis=1) / classes, weights, reduction)
    scores, truth = _alike("hinge", scores, truth)
    wanted = "a class: 0 and 1, or -1 and 1"
    _require("hinge", truth, lambda each: (each == -1) | (each == 0) | (each == 1), wanted)
    return _reduce("hinge", relu(margin - where(truth > 0, scores, -scores)), weights, reduction)


# --- Chores ------------------------------------------------------------------------------------------------------


def _alike(name: str, predictions: Any, targets: Any) -> tuple[Tensor, Tensor]:
    guess, truth = floating(predictions), asarray(targets)
    if guess.shape != truth.shape:
        hint = "Reshape one of them: y[:, None], or predictions[:, 0]." if guess.size == truth.size else ""
        raise ShapeError(f"{name} expects equal shapes, but got {guess.shape} and {truth.shape}. {hint}".rstrip())
    return guess, astype(truth, guess.dtype)


def _labels(name: str, truth: Tensor, rows: int, classes: int) -> Tensor:
    """Class numbers of shape (rows,), checked."""
    if truth.shape == (rows, classes):
        raise DTypeError(
            f"{name} expects class numbers of shape ({rows},), but got {truth.dtype.name} of shape {truth.shape}. "
            "Take argmax(axis=1) of one-hot rows" + (", or give them as floats." if name == "cross_entropy" else ".")
        )
    if is_floating(truth.dtype):
        raise DTypeError(
            f"{name} expects class numbers (integers), but the targets are {truth.dtype.name} of shape {truth.shape}. "
            "Convert them with astype(int)."
        )
    if truth.shape != (rows,):
        raise ShapeError(f"{name} expects class numbers of shape ({rows},), but got {truth.shape}.")
    wanted = f"a class number from 0 to {classes - 1}; number the classes from 0, or give the network more outputs"
    _require(name, truth, lambda each: (each >= 0) & (each < classes), wanted)
    truth = truth if truth.dtype.kind == "i" else astype(truth, int64)
    # What turns out only within a compiled step and would count from the last class is out of bounds.
    return where(truth < 0, classes, truth) if truth.node.value is None else truth


def check_probabilities(name: str, truth: Tensor) -> None:
    """Refuse what are no rows of probabilities; their sums may be off by what float16 rounds away.

    Raises
    ------
    ArgumentError
        With the first row that is wrong.
    """
    _check_range(name, truth, 0, 1, "a probability from 0 to 1")

    def refusal(values: Array, place: tuple[int, ...]) -> ArgumentError:
        return ArgumentError(
            f"{name}: the probabilities in row {place[0]} of the targets sum to {values[place].sum():.6g}, not to 1. "
            "Divide each row by its sum; for classes that do not exclude each other use binary_cross_entropy."
        )

    def sums_to_one(within: float) -> Callable[[Any], Any]:
        return lambda each: builtins.abs(each.sum(axis=1) - 1) <= within

    require(truth, sums_to_one(1e-2), refusal, sure=sums_to_one(9e-3))


def _check_range(name: str, truth: Tensor, low: float, high: float, wanted: str) -> None:
    _require(name, truth, lambda each: (each >= low) & (each <= high), wanted)


def _require(
    name: str, given: Tensor, allowed: Callable[[Any], Any], wanted: str, what: str = "target", row: str = "row"
) -> None:
    """All of `given` is allowed; NaN never is."""

    def refusal(values: Array, place: tuple[int, ...]) -> ArgumentError:
        column = f", column {place[1]}" if len(place) > 1 and values.shape[1] > 1 else ""
        found_at = f" in {row} {place[0]}{column}" if place else ""
        return ArgumentError(f"{name}: the {what} {values[place].item()!r}{found_at} is not {wanted}.")

    require(given, allowed, refusal)


def _class_weights(class_weights: Any, classes: int, logits: Tensor) -> Tensor:
    weights = asarray(class_weights, dtype=logits.dtype)
    if weights.shape != (classes,):
        raise ShapeError(f"cross_entropy: class_weights must have the shape ({classes},), but have {weights.shape}.")
    _require("cross_entropy", weights, _is_weight, "a finite number from 0", "weight", row="class")
    return weights


def _is_weight(each: Any) -> Any:
    return (each >= 0) & (each < np.inf)


def _reduce(name: str, losses: Tensor, weights: Any, reduction: str, mass: Tensor | None = None) -> Tensor:
    """Weigh rows and reduce; `mass` is what a mean is divided by instead of the number of elements."""
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(f'{name}: reduction is "mean", "sum" or "none", not {reduction!r}.')
    if weights is not None:
        given = asarray(weights, dtype=losses.dtype)
        if given.shape != losses.shape[:1]:
            raise ShapeError(f"{name}: weights must have the shape {losses.shape[:1]}, but have {given.shape}.")
        _require(name, given, _is_weight, "a finite number from 0", "weight")
        each = reshape(given, (*given.shape, *(1,) * (losses.ndim - 1)))
        losses = losses * each
        mass = each if mass is None else mass * each
    if reduction == "none":
        return losses
    total = sum_over(losses)
    if reduction == "sum":
        return total
    if mass is None:
        return total / max(losses.size, 1)
    weighed = sum_over(mass) * (losses.size // max(mass.size, 1))
    return total / where(weighed > 0, weighed, 1.0)


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
    name = str(loss).lower().replace("-", "_")
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, _BY_NAME, 1)
        hint = f'; did you mean "{near[0]}"?' if near else "."
        raise ArgumentError(f'there is no loss "{loss}"{hint} Known: {", ".join(LOSSES)}.')
    return _BY_NAME[name]
