"""Remedies for the data: standardised inputs and targets, filled gaps. What a row says of its target never changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.look.diagnosis.finding import Finding
from chainrule.look.diagnosis.inputs import looks_like_pixels
from chainrule.look.remedies.code import layer_code
from chainrule.look.remedies.loop import Change
from chainrule.look.remedies.way import Data, Way
from chainrule.nn.containers import Sequential
from chainrule.nn.normalization import Standardize

Array = np.ndarray[Any, Any]


def standardise_inputs(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """The network begins with a layer that subtracts the mean and divides by the deviation of the training rows."""
    X = way.data[0]
    layers = way.net.layers if isinstance(way.net, Sequential) else (way.net,)
    if X.dtype.kind != "f" or X.ndim < 2 or isinstance(layers[0], Standardize) or not np.isfinite(X).all():
        return None
    one_for_all = X.ndim > 2 or looks_like_pixels(X)
    layer = Standardize(None if one_for_all else X.shape[1]).fitted(X)
    code = f"net = nn.Sequential({layer_code(layer)}, *net.layers)"
    return Change(way.with_(net=Sequential(layer, *layers)), "inputs are standardised by the first layer", code)


def standardise_targets(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Targets are learned standardised, and a last layer brings the answers back to their unit."""
    y = way.data[1]
    if way.undo is not None or y.dtype.kind == "b" or not np.isfinite(y).all():
        return None
    undo = Standardize(None if y.size == len(y) else y.shape[-1], undo=True).fitted(y)
    return Change(
        way.with_(undo=undo),
        "targets are learned standardised, and the last layer brings answers back",
        "fit to (y - y.mean()) / y.std(), then nn.Sequential(..., nn.Standardize(undo=True).fitted(y))",
    )


def fill_gaps(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Inputs that are NaN or infinite become the mean of their column; rows without a target are left out.

    The mean is that of the training rows, also for the validation rows.
    """
    X = way.data[0]
    if way.validation[0].shape[1:] != X.shape[1:]:
        return None
    known = np.isfinite(X)
    with np.errstate(all="ignore"):
        means = np.where(known, X, 0).sum(axis=0, dtype=np.float64) / np.maximum(known.sum(axis=0), 1)
    both = way.data, way.validation
    kept = [np.asarray(np.isfinite(part[1].reshape(len(part[1]), -1)).all(axis=1)) for part in both]
    data, held = (_filled(part, chosen, means) for part, chosen in zip(both, kept, strict=True))
    if not len(data[0]) or not len(held[0]):
        return None
    filled = sum(int((~np.isfinite(part[0])).sum()) for part in both)
    dropped = sum(int((~chosen).sum()) for chosen in kept)
    numbers = None if way.numbers is None else (way.numbers[0][kept[0]], way.numbers[1][kept[1]])
    parts = [f"{filled} missing inputs become the mean of their column"] if filled else []
    parts += [f"{dropped} rows without a target are left out"] if dropped else []
    if not parts:
        return None
    return Change(
        way.with_(data=data, validation=held, numbers=numbers),
        ", ".join(parts),
        "X = np.where(np.isfinite(X), X, means)" if filled else "known = np.isfinite(y); X, y = X[known], y[known]",
    )


def _filled(part: Data, kept: Array, means: Array) -> Data:
    X = part[0]
    X = np.where(np.isfinite(X), X, means).astype(X.dtype)
    return (X[kept], *(array[kept] for array in part[1:]))


def targets_in_kind(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """The same targets in the type that the loss reads: whole class numbers as integers, one-hot rows as numbers."""
    y = way.data[1]
    if finding.advice == "y = y.astype(int)":
        kind, code = "int64", "y = y.astype(int)"
    elif finding.advice == "y = y.argmax(axis=1)" and (y.sum(axis=1) == 1).all() and y.min() >= 0:
        kind, code = "float32", "y = y.astype(np.float32)"
    else:
        return None
    data, held = ((part[0], part[1].astype(kind), *part[2:]) for part in (way.data, way.validation))
    return Change(way.with_(data=data, validation=held), f"the same targets as {kind}", code)
