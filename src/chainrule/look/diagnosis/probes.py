"""Probes: what nearest neighbours and a linear model can tell of the targets, each row judged by the others alone.

They know nothing of the network, so they tell a fault of the data from a fault of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LEAST, ROWS = 40, 400  # rows that a probe looks at
NEIGHBOURS = 10
_VOTERS = 5
_SHUFFLES = 20


@dataclass(frozen=True, slots=True)
class Probe:
    """How well a probe does.

    Attributes
    ----------
    score
        The share of rows guessed right; for numbers R², the share of their variance that is explained.
    blind
        The same for guesses that know only how often each answer occurs.
    sigmas
        How many standard deviations the score lies above those of the same probe on shuffled answers.
    """

    score: float
    blind: float
    sigmas: float


def standardised(rows: Array) -> Array:
    """Columns with mean 0 and deviation 1, (rows, columns); constant ones become 0."""
    wide = rows.astype(np.float64)
    spread = wide.std(axis=0)
    return np.asarray((wide - wide.mean(axis=0)) / np.where(spread > 0, spread, np.inf))


def neighbours(rows: Array) -> Array:
    """For each of the standardised rows the numbers of its nearest others, the nearest first."""
    squares = (rows**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * rows @ rows.T
    np.fill_diagonal(distances, np.inf)
    return np.asarray(np.argsort(distances, axis=1, kind="stable")[:, :NEIGHBOURS])


def by_neighbours(near: Array, answers: Array, classes: int) -> Probe:
    """What the five nearest rows say: the most frequent class (`classes` of them), or for numbers (0) the mean."""

    def guessed(known: Array) -> Array:
        votes = known[near[:, :_VOTERS]]
        if not classes:
            return np.asarray(votes.mean(axis=1))
        return np.asarray((votes[:, :, None] == np.arange(classes)).sum(axis=1).argmax(axis=1))

    return _judged(guessed, answers, classes)


def by_lines(rows: Array, answers: Array, classes: int) -> Probe:
    """What ridge regression says of each row when it has learned from the others (in closed form)."""
    wide = np.column_stack([rows, np.ones(len(rows))])
    penalty = 0.05 * float((wide**2).sum()) / len(rows)
    if len(rows) > wide.shape[1]:  # the same matrix from either side; the smaller system costs less
        hat = wide @ np.linalg.solve(wide.T @ wide + penalty * np.eye(wide.shape[1]), wide.T)
    else:
        kernel = wide @ wide.T
        hat = np.linalg.solve(kernel + penalty * np.eye(len(rows)), kernel).T
    others = 1 / np.maximum(1 - np.diagonal(hat)[:, None], 1e-9)

    def guessed(known: Array) -> Array:
        wanted = np.eye(classes)[known] if classes else known[:, None].astype(np.float64)
        guesses = wanted - (wanted - hat @ wanted) * others
        return np.asarray(guesses.argmax(axis=1) if classes else guesses[:, 0])

    return _judged(guessed, answers, classes)


def _judged(guessed: Callable[[Array], Array], answers: Array, classes: int) -> Probe:
    """The score, beside the scores of the same probe on answers that were shuffled (Ojala and Garriga, 2010)."""
    blind = float(np.bincount(answers, minlength=classes).max() / len(answers)) if classes else 0.0
    numbers = np.random.default_rng(0)
    score = _score(guessed(answers), answers, classes)
    shuffled = [numbers.permutation(answers) for _ in range(_SHUFFLES)]
    chance = [_score(guessed(known), known, classes) for known in shuffled]
    return Probe(score, blind, (score - float(np.mean(chance))) / max(float(np.std(chance, ddof=1)), 1e-3))


def _score(guesses: Array, answers: Array, classes: int) -> float:
    """Accuracy, or R²."""
    if classes:
        return float(np.mean(guesses == answers))
    wide = answers.astype(np.float64)
    variance = float(wide.var())
    return 1 - float(((guesses - wide) ** 2).mean()) / variance if variance else 0.0
