"""`diagnose`: asks every rule about a network, its data and its run, and puts what they find in order.

Comes in: a network, data, a loss, perhaps the history of a run. Goes out: findings, causes before symptoms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, DataError
from chainrule.look.diagnosis.case import Case
from chainrule.look.diagnosis.finding import Findings
from chainrule.look.diagnosis.registry import ordered
from chainrule.look.diagnosis.rules import ALL
from chainrule.nn.losses import LossFunction, get_loss
from chainrule.nn.module import Module
from chainrule.nn.optimizers import Optimizer, get_optimizer
from chainrule.train.examination import RowName
from chainrule.train.history import History
from chainrule.train.inputs import kind_of

Array = np.ndarray[Any, Any]


def diagnose(
    net: Module,
    data: Any,
    *,
    loss: str | LossFunction,
    history: History | Sequence[History] | None = None,
    optimizer: str | Optimizer | None = None,
    validation: Any = None,
    batch_size: int | None = None,
    feature_names: Sequence[str] = (),
) -> Findings:
    """Say why a network does not learn, or will not: what is wrong with data, network, start, training and outcome.

    Nothing changes: parameters, running statistics, random counters, modes and the optimizer are afterwards as they
    were. Rules look at up to 2,000 rows and one batch of up to 256; learning rates are tried out in a sandbox.

    Parameters
    ----------
    net
        Any module.
    data
        `(X, y)` or `(X, y, weights)`, rows first, as for `fit`; here they may hold NaN, which is then a finding.
    loss
        A name, or a function of guesses and targets that gives one number.
    history
        What `fit` returned, if the network was trained: rules about the run are asked then, and those about the first
        weights are not. A list of histories of runs that differ in their seed also asks whether these agree.
    optimizer
        The optimizer of the run, as it stands, or its name: learning rates can be judged then. Default none.
    validation
        The rows held out, `(X, y)`, to be compared with those of training.
    batch_size
        Rows in a step; default as the history tells, else 32.
    feature_names
        How the columns of X are called.

    Returns
    -------
    Findings
        A list of `Finding`, causes before their symptoms, the gravest first; empty when all is well. It prints as a
        page and shows itself in a notebook.

    Raises
    ------
    ArgumentError
        For an unknown loss or optimizer, with the nearest, or something that is no network or history.
    DataError
        If the data are no arrays of numbers with equally many rows, or there are no rows.
    ShapeError, DTypeError
        If the network cannot take X, or the loss refuses its answers for a reason that no rule knows.

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import nn
    >>> X = np.random.default_rng(0).normal(size=(90, 4))
    >>> net = nn.Sequential(nn.Dense(4, 16, activation="relu"), nn.Dense(16, 3), nn.Softmax())
    >>> findings = diagnose(net, (X, X[:, :3].argmax(axis=1)), loss="cross_entropy")
    >>> findings.rules
    ['probabilities-before-logits']
    >>> findings[0].where, findings[0].advice
    ('2', 'remove the softmax at the end; cr.softmax(cr.predict(net, X)) gives probabilities')
    """
    return findings_about(
        net,
        data,
        loss=loss,
        history=history,
        optimizer=optimizer,
        validation=validation,
        batch_size=batch_size,
        feature_names=feature_names,
    )


def findings_about(
    net: Module,
    data: Any,
    *,
    loss: str | LossFunction,
    history: History | Sequence[History] | None = None,
    optimizer: str | Optimizer | None = None,
    validation: Any = None,
    batch_size: int | None = None,
    feature_names: Sequence[str] = (),
    numbers: tuple[Array, Array] | None = None,
    names: tuple[RowName, RowName] | None = None,
    as_written: Callable[[int | None, float], float] | None = None,
) -> Findings:
    """As `diagnose`, for parts of data whose rows the user knows by the `numbers` of training and validation.

    Or by the `names` of these numbers; and as numbers are `as_written` in the user's own file.
    """
    if not isinstance(net, Module):
        raise ArgumentError(f"diagnose: net must be a network (nn.Module), but is a {type(net).__name__}.")
    known = get_loss(loss)
    case = Case(
        net,
        data_of("diagnose", "data", data),
        known,
        validation=None if validation is None else data_of("diagnose", "validation", validation),
        histories=_histories(history),
        optimizer=_optimizer(optimizer),
        batch_size=_batch_size(batch_size),
        feature_names=tuple(map(str, feature_names)),
        numbers=numbers,
        names=names,
        as_written=as_written,
    )
    return findings_of(case)


def findings_of(case: Case, most: float = math.inf) -> Findings:
    """What all rules that cost no more than `most` find in a case, in order.

    The loss's own refusal is raised where no rule has a word for it.
    """
    case.net.parameters()  # gives every parameter the path by which findings speak of it
    found = [finding for rule in ALL if rule.cost <= most for finding in rule.findings(case)]
    if case.failure is not None and not any(finding.severity == "error" for finding in found):
        raise case.failure
    has_run = case.history is not None and (len(case.history) > 0 or case.history.stopped == "failed")
    return Findings(ordered(found, ALL), has_run=has_run)


def data_of(who: str, name: str, data: Any) -> tuple[Array, ...]:
    """`(X, y)` or `(X, y, weights)` as arrays of numbers, which may be NaN or infinite, with equally many rows.

    Raises
    ------
    DataError
        If they are something else; the message names the function `who` and the argument `name`.
    """
    if not isinstance(data, tuple | list) or not 2 <= len(data) <= 3:
        raise DataError(f"{who}: {name} must be a tuple (X, y) or (X, y, weights).")
    arrays = tuple(
        _array(who, f"{part} of {name}", given) for part, given in zip(("X", "y", "weights"), data, strict=False)
    )
    if len({len(array) for array in arrays}) > 1:
        raise DataError(f"{who}: the parts of {name} have {[len(array) for array in arrays]} rows; give equally many.")
    if not arrays[0].size:
        raise DataError(f"{who}: X of {name} is empty (shape {arrays[0].shape}); there is nothing to look at.")
    return arrays


def _array(who: str, name: str, given: Any) -> Array:
    try:
        array = np.asarray(given)
    except (ValueError, TypeError) as error:
        raise DataError(f"{who}: {name} cannot become one array of numbers: {error}.") from error
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        raise DataError(
            f"{who}: {name} must be an array of numbers with rows first, but is {kind_of(array)} of shape "
            f"{array.shape}; encode words as numbers first."
        )
    return array


def _histories(history: History | Sequence[History] | None) -> tuple[History, ...]:
    runs = () if history is None else (history,) if isinstance(history, History) else history
    if not isinstance(runs, list | tuple):
        raise ArgumentError(
            f"diagnose: history must be what fit returned, or a list of several, but is a {type(history).__name__}."
        )
    for place, run in enumerate(runs):
        if not isinstance(run, History):
            raise ArgumentError(
                f"diagnose: history[{place}] must be what fit returned, like each of the list, but is a "
                f"{type(run).__name__}."
            )
    return tuple(runs)


def _optimizer(optimizer: str | Optimizer | None) -> Optimizer | None:
    if isinstance(optimizer, str):
        return get_optimizer(optimizer)
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise ArgumentError(
            f"diagnose: optimizer must be an optimizer such as cr.optim.Adam(1e-3), or its name, but is a "
            f"{type(optimizer).__name__}."
        )
    return optimizer


def _batch_size(batch_size: int | None) -> int | None:
    whole = isinstance(batch_size, int | np.integer) and not isinstance(batch_size, bool)
    if batch_size is not None and (not whole or batch_size < 1):
        raise ArgumentError(f"diagnose: batch_size must be a whole number from 1, but is {batch_size!r}.")
    return batch_size
