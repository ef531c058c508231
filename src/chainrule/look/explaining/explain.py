"""`explain`: one training step, taken apart into its four phases, and nothing changed by it."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.dtypes import is_floating
from chainrule.engine.tensor import Tensor
from chainrule.errors import ArgumentError, DataError, GradientError
from chainrule.look.explaining.explanation import Explanation
from chainrule.look.explaining.labels import Labels
from chainrule.look.explaining.recording import Recording, record
from chainrule.nn.losses import LossFunction, get_loss
from chainrule.nn.module import Module
from chainrule.nn.optimizers import SGD, Optimizer, get_optimizer
from chainrule.train.inputs import kind_of
from chainrule.train.steps import modes_kept, net_dtype

Array = np.ndarray[Any, Any]
NO_LABELS = Labels()


def explain(
    net: Module,
    x: Any,
    y: Any,
    loss: str | LossFunction,
    optimizer: Optimizer | str | None = None,
    *,
    training: bool | None = None,
    check: bool | str = False,
    labels: Labels = NO_LABELS,
) -> Explanation:
    """Take one training step apart: forward, loss, backpropagation, update.

    Nothing changes: the network, the optimizer, running statistics and random counters are afterwards as they were,
    so that the step explained is the very step that would be made next.

    Parameters
    ----------
    net
        Any module.
    x, y
        A batch with rows first, or a single example: a row of features, or anything whose `y` is one number.
    loss
        A name, or a function of guesses and targets that gives one number.
    optimizer
        An optimizer as it stands (with its memory), a name, or None for plain gradient descent with rate 0.01.
    training
        Whether dropout and batch normalisation behave as in training; default as the network is set.
    check
        Put numeric gradients (central differences in float64) beside the exact ones. Each takes two runs of the
        network, so True compares 3 elements of each gradient, the largest among them, but 60 in all at most, and down
        to 12 in a step that makes very many numbers: then fewer of each, and at last the largest element of some of the
        gradients, evenly spread. It is the same every time, and the output says what it was. `"all"` compares every
        element, however long that takes.
    labels
        What columns of x, columns of the guesses and rows are called in the views: `cr.look.Labels(...)`, with a name
        for each or none.

    Returns
    -------
    Explanation
        Prints as text, shows itself in a notebook; see its methods for paths, examples, HTML, LaTeX and JSON.

    Raises
    ------
    ArgumentError
        For an unknown loss or optimizer, with the nearest, something that is no network, another `check`, or labels
        that are more or fewer than what they name.
    DataError
        If `x` or `y` are no numbers, or have different numbers of rows.
    ShapeError, DTypeError
        If they do not fit the network or the loss.
    GradientError
        If the loss is not one number, or does not depend on anything that a gradient could flow to.

    Examples
    --------
    >>> import chainrule as cr
    >>> from chainrule import nn
    >>> net = nn.Sequential(nn.Dense(2, 1, init="zeros"))
    >>> step = cr.look.explain(net, [[1.0, 2.0]], [[3.0]], "mean_squared_error", cr.optim.SGD(0.1))
    >>> step.loss.value, step.gradient_of("0.weight").tolist()
    (9.0, [[-6.0], [-12.0]])
    >>> round(step.path("0.weight", (1, 0)).total, 6)
    -12.0
    """
    if not isinstance(net, Module):
        raise ArgumentError(f"explain: net must be a network (nn.Module), but is a {type(net).__name__}.")
    if not (isinstance(check, bool) or check == "all"):
        raise ArgumentError(f'explain: check must be True, False or "all", but is {check!r}.')
    known = get_loss(loss)
    chosen = _optimizer(optimizer)
    inputs, targets = _batch(net, x, y)
    with modes_kept(net):
        if training is not None:
            net.train(training)
        net.parameters()  # gives every parameter the path that errors and views speak of
        recording = record(net, inputs, targets, known.function)
        _require_gradient(recording, known.name)
        labels.require(inputs.shape, recording.guess.shape)
        return Explanation(net, inputs, targets, known, chosen, optimizer is None, recording, check, labels)


def _optimizer(optimizer: Optimizer | str | None) -> Optimizer:
    if optimizer is None:
        return SGD(0.01)
    if isinstance(optimizer, str):
        return get_optimizer(optimizer)
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(
            f"explain: optimizer must be an optimizer such as cr.optim.Adam(1e-3), or its name, but is a "
            f"{type(optimizer).__name__}."
        )
    return optimizer


def _batch(net: Module, x: Any, y: Any) -> tuple[Array, Array]:
    """The batch as arrays, floating ones in the network's type; a single example as a batch of one."""
    dtype = net_dtype(net)
    inputs, targets = (_array(name, value, dtype) for name, value in (("x", x), ("y", y)))
    is_row = inputs.ndim == 1 and is_floating(inputs.dtype)
    if targets.ndim == 0 or (is_row and targets.ndim <= 1):
        inputs, targets = inputs[None], targets[None]
    if inputs.ndim and len(inputs) != len(targets):
        raise DataError(
            f"x has {len(inputs)} rows, but y has {len(targets)}; give one y for each row of x. For a single example "
            "write x[None] and y[None]."
        )
    if not inputs.size:
        raise DataError(f"x is empty (shape {inputs.shape}); there is nothing to explain.")
    return inputs, targets


def _array(name: str, value: Any, dtype: Any) -> Array:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"{name} cannot become one array of numbers: {error}.") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} must be an array of numbers, but holds {kind_of(array)}; encode it as numbers first.")
    with np.errstate(over="ignore"):  # what becomes infinite is named by the explanation
        return array.astype(dtype) if array.dtype.kind == "f" else array


def _require_gradient(recording: Recording, name: str) -> None:
    guess, loss = recording.guess, recording.loss
    if not isinstance(guess, Tensor):
        raise ArgumentError(f"explain: the network must give one tensor, but gave a {type(guess).__name__}.")
    if not isinstance(loss, Tensor) or not is_floating(loss.dtype) or loss.shape != ():
        got = f"a tensor of shape {loss.shape}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise GradientError(f"the loss {name} must give one floating number, but gave {got}; reduce it with cr.mean.")
    if not loss.node.inputs:
        raise GradientError(
            f"the loss {name} does not remember how it was made: every parameter is frozen and x holds integers, or "
            "the network computes outside chainrule. Unfreeze something: net.unfreeze()."
        )
