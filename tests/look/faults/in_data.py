"""Faults of data: each puts one mistake into the rows of a healthy problem."""

from __future__ import annotations

import numpy as np

import chainrule as cr
from chainrule.look.diagnosis.rules import ALL as ALL
from look.faults.asking import Asked, simply
from look.faults.problems import Build, Problem, raw


def unscaled(p: Problem, build: Build) -> Asked:
    X, y = raw(p.name)
    return Asked(build(p.features, p.outputs), (X, y), p.loss)


def bytes_of_pixels(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    return Asked(asked.net, (255 * np.abs(p.X), p.y), p.loss, {"optimizer": cr.optim.SGD(0.1)})


def one_huge_column(p: Problem, build: Build) -> Asked:
    X = p.X.copy()
    X[:, 1] *= 2000
    return Asked(build(p.features, p.outputs), (X, p.y), p.loss)


def missing_numbers(p: Problem, build: Build) -> Asked:
    X = p.X.copy()
    X[3, 2], X[7, 1] = np.nan, np.inf
    return Asked(build(p.features, p.outputs), (X, p.y), p.loss)


def missing_targets(p: Problem, build: Build) -> Asked:
    y = p.y.astype(np.float32)
    y[5] = np.nan
    return Asked(build(p.features, 1), (p.X, y), "mean_squared_error")


def constant_column(p: Problem, build: Build) -> Asked:
    X = np.column_stack([p.X, np.full(len(p.X), 3.0, np.float32)])
    return Asked(build(p.features + 1, p.outputs), (X, p.y), p.loss)


def repeated_column(p: Problem, build: Build) -> Asked:
    X = np.column_stack([p.X, 2 * p.X[:, 0] + 1])
    return Asked(build(p.features + 1, p.outputs), (X, p.y), p.loss)


def shared_rows(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    asked.more["validation"] = (p.X[:40], p.y[:40])
    return asked


def validation_unscaled(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    asked.more["validation"] = raw(p.name)
    return asked


def classes_from_one(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, p.outputs), (p.X, p.y + 1), p.loss)


def minus_and_plus_one(p: Problem, build: Build) -> Asked:
    y = np.where(p.y == 0, -1, 1).astype(np.int64)
    return Asked(build(p.features, 1), (p.X, y), "binary_cross_entropy")


def float_classes(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, p.outputs), (p.X, p.y.astype(np.float32)), p.loss)


def one_hot_integers(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, p.outputs), (p.X, np.eye(p.outputs, dtype=np.int64)[p.y]), p.loss)


def classes_as_quantities(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, 1), (p.X, p.y), "mean_squared_error")


def rare_class(p: Problem, build: Build) -> Asked:
    kept = np.flatnonzero((p.y != 1) | (np.cumsum(p.y == 1) <= 4))
    return Asked(build(p.features, p.outputs), (p.X[kept], p.y[kept]), p.loss)


def given_away(p: Problem, build: Build) -> Asked:
    noise = np.random.default_rng(3).normal(size=len(p.y)) * 0.01
    X = np.column_stack([p.X, (p.y - p.y.mean()) / p.y.std() + noise]).astype(np.float32)
    return Asked(build(p.features + 1, p.outputs), (X, p.y), p.loss)


def shuffled(p: Problem, build: Build) -> Asked:
    y = np.random.default_rng(4).permutation(p.y)
    return Asked(build(p.features, p.outputs), (p.X, y), p.loss)


def wrong_labels(p: Problem, build: Build) -> Asked:
    rng = np.random.default_rng(5)
    y = p.y.copy()
    chosen = rng.random(len(y)) < 0.25
    y[chosen] = (y[chosen] + rng.integers(1, p.outputs, chosen.sum())) % p.outputs
    return Asked(build(p.features, p.outputs), (p.X, y), p.loss)


def one_target(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, 1), (p.X, np.full(len(p.X), 2.5, np.float32)), "mean_squared_error")


def targets_of_thousands(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, 1), (p.X, 3000 + 500 * p.y.astype(np.float32)), "mean_squared_error")
