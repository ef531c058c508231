"""Faults of data: each puts one mistake into the rows of a healthy problem."""

from __future__ import annotations

import numpy as np

import chainrule as cr
from chainrule.look.diagnosis.rules import ALL as ALL
from look.faults.asking import Asked, simply, trained
from look.faults.problems import Build, Problem, plain, raw


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


def one_wild_input(p: Problem, build: Build) -> Asked:
    X = p.X.copy()
    X[9, 2] = 1e5
    return Asked(build(p.features, p.outputs), (X, p.y), p.loss)


def scaled_by_a_wild_input(p: Problem, build: Build) -> Asked:
    """The columns are standardised with the wild number among them, which leaves all others the same."""
    X = p.X.astype(np.float64)
    X[9, 2] = -1e6
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return Asked(build(p.features, p.outputs), (X.astype(np.float32), p.y), p.loss)


def marks_of_missing(p: Problem, build: Build) -> Asked:
    X = p.X.copy()
    X[::8, 1] = -9999
    return Asked(build(p.features, p.outputs), (X, p.y), p.loss)


def one_wild_target(p: Problem, build: Build) -> Asked:
    y = p.y.copy()
    y[7] = 1e5
    asked = Asked(build(p.features, 1), (p.X, y), p.loss)
    asked.more["history"] = trained(asked.net, asked.data, p.loss, cr.optim.Adam(1e-3))
    return asked


def few_rows(p: Problem, build: Build) -> Asked:
    rows = slice(0, 6 if build is plain else 20)
    return Asked(build(p.features, p.outputs), (p.X[rows], p.y[rows]), p.loss)


def sorted_split(p: Problem, build: Build) -> Asked:
    """Sorted by the target, and the last fifth held out."""
    order, cut = np.argsort(p.y, kind="stable"), len(p.y) * 4 // 5
    X, y = p.X[order], p.y[order]
    asked = Asked(build(p.features, p.outputs), (X[:cut], y[:cut]), p.loss, {"validation": (X[cut:], y[cut:])})
    asked.more["history"] = trained(asked.net, asked.data, p.loss, cr.optim.Adam(3e-3), 20, asked.more["validation"])
    return asked


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
