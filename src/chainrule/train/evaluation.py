"""How good a network is: its answers, its loss and its metrics on rows it does not learn from.

Works through the rows in pieces, in evaluation mode, and keeps of each piece only what the figures need.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chainrule.engine.context import no_grad
from chainrule.engine.tensor import asarray
from chainrule.errors import ArgumentError
from chainrule.nn.losses import LossFunction, get_loss
from chainrule.nn.module import Module
from chainrule.train.history import Row
from chainrule.train.inputs import Rows, array_of, rows_of
from chainrule.train.metrics import Figure, Metric, get_metric
from chainrule.train.steps import answers_to, as_input, is_worth_compiling, measured, net_dtype

Array = np.ndarray[Any, Any]
BATCH = 1024  # rows a piece


def predict(net: Module, X: Any, batch_size: int = BATCH) -> Array:
    """What the network answers to each row of `X`, in evaluation mode.

    Parameters
    ----------
    net
        Any module; it is left as it was.
    X
        Rows first: an array, a memory map or a tensor.
    batch_size
        Rows at a time, from 1; the answers do not depend on it but for rounding.

    Returns
    -------
    ndarray
        Of shape (rows, ...): logits for a classifier, values for a regressor.

    Raises
    ------
    DataError, ShapeError
        If `X` holds no numbers or does not fit the network.

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import nn
    >>> predict(nn.Dense(3, 2), np.ones((5, 3))).shape
    (5, 2)
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ArgumentError(f"batch_size must be a whole number from 1, but is {batch_size!r}.")
    rows = array_of("X", X, net_dtype(net))
    pieces = (rows[start : start + batch_size] for start in range(0, max(len(rows), 1), batch_size))
    return np.concatenate(list(answers_to(net, pieces, native=is_worth_compiling(net, len(rows)))))


def evaluate(
    net: Module,
    data: Any,
    loss: str | LossFunction | None = None,
    metrics: Sequence[str | Figure] = (),
    *,
    batch_size: int = BATCH,
) -> dict[str, float]:
    """The loss and metrics of a network, by name.

    Parameters
    ----------
    net
        Any module; it is left as it was.
    data
        `(X, y)` or `(X, y, weights)`, as for `fit`.
    loss
        A name or function; None for metrics alone.
    metrics
        Names or functions, as for `fit`.
    batch_size
        Rows at a time, from 1.

    Raises
    ------
    DataError, ArgumentError, ShapeError
        If the data or an argument do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import nn
    >>> evaluate(nn.Dense(1, 1, init="zeros"), (np.ones((4, 1)), np.ones(4)), "mse", ["mae"])
    {'loss': 1.0, 'mae': 1.0}
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ArgumentError(f"batch_size must be a whole number from 1, but is {batch_size!r}.")
    rows = rows_of(data, net_dtype(net))
    function = None if loss is None else get_loss(loss).function
    return measure(net, rows, function, [get_metric(metric) for metric in metrics], batch_size=batch_size)


def measure(
    net: Module,
    rows: Rows,
    loss: LossFunction | None,
    metrics: Sequence[Metric],
    *,
    prefix: str = "",
    batch_size: int = BATCH,
) -> Row:
    """Loss and metrics over `rows`, each name with `prefix`."""
    dtype = net_dtype(net)
    total, mass = 0.0, 0.0
    seen: list[tuple[Array, ...]] = []
    native = is_worth_compiling(net, len(rows))
    for x, *known in rows.in_order(batch_size):
        answers = next(answers_to(net, [x], native=native))
        weight = float(np.sum(known[1], dtype=np.float64)) if len(known) > 1 else float(len(x))
        if loss is not None and weight:
            targets = [as_input(part, dtype) for part in known]
            with no_grad():
                error = measured(loss, asarray(answers), targets[0], targets[1] if len(known) > 1 else None)
            total, mass = total + error.item() * weight, mass + weight
        if metrics:
            seen.append((answers, *known))
    found: Row = {} if loss is None else {f"{prefix}loss": total / mass if mass else math.nan}
    return found | {f"{prefix}{name}": value for name, value in scores(metrics, seen).items()}


def scores(metrics: Iterable[Metric], seen: Sequence[tuple[Array, ...]]) -> Row:
    """The metrics over batches of answers, targets and perhaps weights."""
    if not seen:
        return {}
    answers, y, *rest = (np.concatenate(part) for part in zip(*seen, strict=True))
    return {metric.name: float(metric.function(answers, y, rest[0] if rest else None)) for metric in metrics}
