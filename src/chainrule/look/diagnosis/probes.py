"""Probes: what nearest neighbours and a linear model can tell of the targets, each row judged by the others alone.

They know nothing of the network, so they tell a fault of the data from a fault of the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
ROWS = 400  # that a probe looks at, at most
NEIGHBOURS = 10
_VOTERS = 5


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
        How many standard deviations of chance lie between them.
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
    votes = answers[near[:, :_VOTERS]]
    if not classes:
        return _of_numbers(votes.mean(axis=1), answers)
    counts = (votes[:, :, None] == np.arange(classes)).sum(axis=1)
    return _of_classes(counts.argmax(axis=1), answers, classes)


def by_lines(rows: Array, answers: Array, classes: int) -> Probe:
    """What ridge regression says of each row when it has learned from the others (in closed form)."""
    wanted = np.eye(classes)[answers] if classes else answers[:, None].astype(np.float64)
    kernel = rows @ rows.T
    kernel += 1.0
    penalty = 0.05 * np.trace(kernel) / len(rows)
    hat = np.linalg.solve(kernel + penalty * np.eye(len(rows)), kernel).T
    own = np.diagonal(hat)[:, None]
    guesses = wanted - (wanted - hat @ wanted) / np.maximum(1 - own, 1e-9)
    return _of_classes(guesses.argmax(axis=1), answers, classes) if classes else _of_numbers(guesses[:, 0], answers)


def _of_classes(guesses: Array, answers: Array, classes: int) -> Probe:
    shares = [np.bincount(each, minlength=classes) / len(answers) for each in (guesses, answers)]
    blind = float(shares[0] @ shares[1])
    score = float(np.mean(guesses == answers))
    spread = math.sqrt(max(blind * (1 - blind), 1e-4) / len(answers))
    return Probe(score, float(shares[1].max()), (score - blind) / spread)


def _of_numbers(guesses: Array, answers: Array) -> Probe:
    wide = answers.astype(np.float64)
    variance = float(wide.var())
    if not variance or not float(guesses.var()):
        return Probe(0.0, 0.0, 0.0)
    score = 1 - float(((guesses - wide) ** 2).mean()) / variance
    return Probe(score, 0.0, float(np.corrcoef(guesses, wide)[0, 1]) * math.sqrt(len(wide)))
