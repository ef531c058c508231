"""The data and networks that faults are put into: six tables and images, and architectures over every kind of layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import polars as pl

import chainrule as cr
from chainrule import nn
from chainrule.data import builtin

Array = np.ndarray[Any, Any]
ROWS = 500  # of a set, at most
MASS = 3  # the column of the penguins' weight, among those that are numbers


@dataclass(frozen=True)
class Problem:
    """Rows that are scaled and ready, and what the loss for them is called."""

    name: str
    X: Array
    y: Array
    loss: str
    outputs: int

    @property
    def features(self) -> int:
        return self.X.shape[1]


@cache
def problem(name: str) -> Problem:
    """A built-in set, standardised; targets of a regression too."""
    X, y = _read(name)
    order = np.random.default_rng(0).permutation(len(X))[:ROWS]
    X, y = X[order], y[order]
    X = X / 16 if name.endswith("digits") else scaled(X)
    if y.dtype.kind == "f":
        return Problem(name, X, scaled(y), "mean_squared_error", 1)
    return Problem(name, X, y, "cross_entropy", int(y.max()) + 1)


def scaled(values: Array) -> Array:
    """With mean 0 and deviation 1."""
    return ((values - values.mean(axis=0)) / values.std(axis=0)).astype(np.float32)


def raw(name: str) -> tuple[Array, Array]:
    """A built-in set as it stands in its file."""
    X, y, _ = builtin.load(name)
    order = np.random.default_rng(0).permutation(len(X))[:ROWS]
    return X[order], y[order]


def _read(name: str) -> tuple[Array, Array]:
    """A set by name: built-in ones, the weight of penguins (a regression), and digits of 4 × 4 pixels."""
    if name == "small-digits":
        X, y, _ = builtin.load("digits")
        return X.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16), y
    if name == "penguins-mass":
        X, _ = _penguins()
        return np.delete(X, MASS, axis=1), X[:, MASS]
    return _penguins() if name == "penguins" else builtin.load(name)[:2]


def _penguins() -> tuple[Array, Array]:
    table = pl.read_csv(builtin.path("penguins"), null_values=["NA", ""]).drop_nulls()
    names = [name for name, kind in table.schema.items() if kind.is_numeric()]
    words, y = np.unique(table["species"].to_numpy(), return_inverse=True)
    assert len(words) == 3
    assert "mass" in names[MASS]
    return table.select(names).to_numpy().astype(np.float32), y.astype(np.int64)


# --- Architectures: features and outputs to a network -------------------------------------------------------------

Build = Callable[[int, int], nn.Module]


def plain(features: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Dense(features, 24, activation="relu"), nn.Dense(24, outputs))


def deep(features: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Dense(features, 32),
        nn.ReLU(),
        nn.Dense(32, 16),
        nn.ReLU(),
        nn.Dense(16, 16),
        nn.ReLU(),
        nn.Dense(16, outputs),
    )


def smooth(features: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Dense(features, 24), nn.Tanh(), nn.Dense(24, 24), nn.Tanh(), nn.Dense(24, outputs))


def normed(features: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Dense(features, 32, bias=False), nn.BatchNorm(32), nn.ReLU(), nn.Dropout(0.2), nn.Dense(32, outputs)
    )


def residual(features: int, outputs: int) -> nn.Module:
    inner = nn.Sequential(nn.LayerNorm(24), nn.Dense(24, 24), nn.GELU(), nn.Dense(24, 24))
    return nn.Sequential(nn.Dense(features, 24), nn.Residual(inner), nn.RMSNorm(24), nn.ReLU(), nn.Dense(24, outputs))


def gated(features: int, outputs: int) -> nn.Module:
    return Gated(features, outputs)


def linear(features: int, outputs: int) -> nn.Module:
    return nn.Dense(features, outputs)


class Gated(nn.Module):
    """A network of the user's own: a gate, a shared layer, functions in between."""

    def __init__(self, features: int, outputs: int) -> None:
        self.left, self.right = nn.Dense(features, 16), nn.Dense(features, 16)
        self.shared = nn.Dense(16, 16, activation="silu")
        self.heads = [nn.Dense(16, outputs)]

    def __call__(self, x: Any) -> Any:
        x = cr.asarray(x)
        hidden = cr.tanh(self.left(x)) * cr.sigmoid(self.right(x))
        return self.heads[0](self.shared(self.shared(hidden)))


def with_activation(layer: Callable[[], nn.Module]) -> Build:
    """Two hidden layers with this activation layer."""
    return lambda features, outputs: nn.Sequential(
        nn.Dense(features, 24), layer(), nn.Dense(24, 24), layer(), nn.Dense(24, outputs)
    )


BUILDS: dict[str, Build] = {build.__name__: build for build in (plain, deep, smooth, normed, residual, gated, linear)}
