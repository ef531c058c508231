"""Healthy networks over every kind of layer and data set, before and after training: `diagnose` should be quiet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn
from look.faults.asking import Asked, trained
from look.faults.problems import (
    BUILDS,
    Build,
    deep,
    gated,
    linear,
    normed,
    plain,
    problem,
    raw,
    residual,
    scaled,
    smooth,
    with_activation,
)

ACTIVATIONS = {
    layer.__name__: with_activation(layer)
    for layer in (
        nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Softplus, nn.HardTanh, nn.HardSiLU,
        nn.Sigmoid, nn.HardSigmoid,
    )
}  # fmt: skip
SETS = ("digits", "iris", "wine", "breast-cancer", "penguins", "diabetes")


@dataclass(frozen=True)
class Healthy:
    """One network with nothing wrong."""

    name: str
    ask: Callable[[], Asked]

    @property
    def id(self) -> str:
        return self.name.replace(" ", "_")

    def asked(self) -> Asked:
        cr.random.seed(11)
        return self.ask()


def untrained(name: str, build: Build, optimizer: Any = None) -> Asked:
    """Before training, with the optimizer that is meant for it."""
    p = problem(name)
    return Asked(build(p.features, p.outputs), (p.X, p.y), p.loss, {"optimizer": optimizer or cr.optim.Adam(1e-3)})


def after_training(name: str, build: Build, epochs: int = 25, rate: float = 3e-3) -> Asked:
    """After a good run with validation: enough epochs, and stopped where validation turns."""
    p = problem(name)
    net, optimizer = build(p.features, p.outputs), cr.optim.Adam(rate)
    cut = len(p.X) * 4 // 5
    train, held = (p.X[:cut], p.y[:cut]), (p.X[cut:], p.y[cut:])
    history = trained(net, train, p.loss, optimizer, epochs, held, batch_size=32, patience=6)
    return Asked(net, train, p.loss, {"history": history, "optimizer": optimizer, "validation": held})


def binary() -> Asked:
    p = problem("breast-cancer")
    net = plain(p.features, 1)
    history = trained(net, (p.X, p.y), "binary_cross_entropy", cr.optim.Adam(3e-3), 20, 0.2)
    return Asked(net, (p.X, p.y), "binary_cross_entropy", {"history": history})


def counts() -> Asked:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5)).astype(np.float32)
    y = rng.poisson(np.exp(0.5 * X[:, 0] + 0.3)).astype(np.float32)
    return Asked(plain(5, 1), (X, y), "poisson", {"optimizer": cr.optim.Adam(1e-3)})


def margins() -> Asked:
    p = problem("iris")
    return Asked(smooth(p.features, p.outputs), (p.X, p.y), "hinge", {"optimizer": "adam"})


def bounded() -> Asked:
    """Targets from 0 to 1 and a sigmoid that reaches them."""
    p = problem("diabetes")
    y = (p.y - p.y.min()) / (p.y.max() - p.y.min())
    net = nn.Sequential(nn.Dense(p.features, 16, activation="tanh"), nn.Dense(16, 1, activation="sigmoid"))
    return Asked(net, (p.X, y), "mean_squared_error", {"optimizer": "adam"})


def robust() -> Asked:
    p = problem("diabetes")
    return Asked(deep(p.features, 1), (p.X, p.y), "huber", {"optimizer": cr.optim.RMSprop(1e-3)})


def images() -> Asked:
    p = problem("digits")
    net = nn.Sequential(nn.Flatten(), nn.Dense(64, 32, activation="relu"), nn.Dropout(0.2), nn.Dense(32, 10))
    return Asked(net, (p.X.reshape(-1, 8, 8), p.y), p.loss, {"optimizer": cr.optim.AdamW(1e-3)})


def words() -> Asked:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 20, (300, 6))
    y = (X == 3).any(axis=1).astype(np.int64)
    net = nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Dense(48, 16, activation="relu"), nn.Dense(16, 2))
    return Asked(net, (X, y), "cross_entropy", {"optimizer": "adam"})


def mixed_columns() -> Asked:
    p = problem("penguins")
    codes = np.random.default_rng(1).integers(0, 3, (len(p.X), 1)).astype(np.float32)
    net = nn.Sequential(nn.EmbeddedColumns([3], [2]), nn.Dense(p.features + 2, 16, activation="relu"), nn.Dense(16, 3))
    return Asked(net, (np.column_stack([p.X, codes]).astype(np.float32), p.y), p.loss, {"optimizer": "adam"})


def normalised_inside() -> Asked:
    """Raw columns, and a network that begins with batch normalisation."""
    X, y = raw("wine")
    net = nn.Sequential(nn.BatchNorm(13), nn.Dense(13, 16, activation="relu"), nn.Dense(16, 3))
    return Asked(net, (X, y), "cross_entropy", {"optimizer": "adam"})


def transfer() -> Asked:
    """A learned first layer, frozen, under a new last one."""
    p = problem("digits")
    net = plain(p.features, p.outputs)
    trained(net, (p.X, p.y), p.loss, cr.optim.Adam(1e-2), 10)
    next(net.children())[1].freeze()
    return Asked(net, (p.X, p.y), p.loss, {"optimizer": "adam"})


def autoencoder() -> Asked:
    p = problem("digits")
    net = nn.Sequential(nn.Dense(64, 16, activation="relu"), nn.Dense(16, 64))
    return Asked(net, (p.X, p.X), "mean_squared_error", {"optimizer": "adam"})


def zero_last_layer() -> Asked:
    """The last layer begins with zeros on purpose: every class is equally likely at first."""
    p = problem("digits")
    net = nn.Sequential(nn.Dense(64, 32, activation="relu"), nn.Dense(32, 10, init="zeros"))
    return Asked(net, (p.X, p.y), p.loss, {"optimizer": "adam"})


def weighted_rare_class() -> Asked:
    p = problem("digits")
    kept = np.flatnonzero((p.y != 1) | (np.cumsum(p.y == 1) <= 4))
    y = p.y[kept]
    return Asked(plain(64, 10), (p.X[kept], y, (len(y) / np.bincount(y))[y]), p.loss, {"optimizer": "adam"})


def own_loss() -> Asked:
    p = problem("diabetes")
    return Asked(plain(p.features, 1), (p.X, p.y), lambda guess, y: cr.mean(cr.abs(guess - y) ** 1.5))


def two_targets() -> Asked:
    p = problem("diabetes")
    y = scaled(np.column_stack([p.y, p.X[:, 2] + 0.3 * p.y]))
    return Asked(deep(p.features, 2), (p.X, y), "mean_squared_error", {"optimizer": "adam"})


def plain_descent() -> Asked:
    p = problem("digits")
    net, optimizer = deep(64, 10), cr.optim.SGD(0.1, momentum=0.9)
    history = trained(net, (p.X, p.y), p.loss, optimizer, 25, 0.2, batch_size=32, patience=6)
    return Asked(net, (p.X, p.y), p.loss, {"history": history, "optimizer": optimizer})


SPECIAL = (
    binary, counts, margins, bounded, robust, images, words, mixed_columns, normalised_inside, transfer, autoencoder,
    zero_last_layer, weighted_rare_class, own_loss, two_targets, plain_descent,
)  # fmt: skip


def cases() -> list[Healthy]:
    """All of them: every architecture and activation before training, four architectures on every set after it."""
    found = [
        Healthy(
            f"{build} on {SETS[place % 6]} before training", lambda b=build, s=SETS[place % 6]: untrained(s, BUILDS[b])
        )
        for place, build in enumerate(BUILDS)
    ]
    found += [
        Healthy(
            f"{name} on {SETS[place % 6]} before training",
            lambda n=name, s=SETS[place % 6]: untrained(s, ACTIVATIONS[n]),
        )
        for place, name in enumerate(ACTIVATIONS)
    ]
    found += [
        Healthy(f"{build.__name__} on {name} after training", lambda b=build, s=name: after_training(s, b))
        for place, name in enumerate(SETS)
        for build in ((plain, smooth), (normed, residual), (gated, linear))[place % 3]
    ]
    return found + [Healthy(special.__name__.replace("_", " "), special) for special in SPECIAL]
