"""The examination at the end of a run: what it gets to see, and the door to who makes it.

Whoever looks at runs stands behind this folder in the order of imports, so `train` does not know it: the package itself
says at its top where the examiner is, and it is loaded when the first run has to be examined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from chainrule.nn.losses import Loss
from chainrule.nn.module import Module
from chainrule.nn.optimizers import Optimizer
from chainrule.train.history import Findings, History
from chainrule.train.inputs import Rows

Array = np.ndarray[Any, Any]
RowName = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that is over, as its examiner gets it.

    Attributes
    ----------
    net, loss, optimizer, history
        What learned, what measured it, what corrected it (None where that is not known), and how it went.
    rows, validation
        What it learned from, and what was held out (or None).
    batch_size
        Rows in a step; None for what the history tells.
    feature_names
        How the columns of the inputs are called, where that is known.
    total
        How many rows it learned from in an epoch, where `rows` are but the first of them.
    row_names
        What rows of training and of validation are called; None: "row 3" of the arrays.
    as_written
        What stands in the user's file for a number of an input column (None: of the targets).
    """

    net: Module
    loss: Loss
    optimizer: Optimizer | None
    history: History
    rows: Rows
    validation: Rows | None
    batch_size: int | None
    feature_names: tuple[str, ...] = ()
    row_names: tuple[RowName, RowName] | None = None
    total: int | None = None
    as_written: Callable[[int | None, float], float] | None = None


def rms(array: Array) -> float:
    """The root mean square: the size of an array's elements; 0 where there are none."""
    return float(np.sqrt(np.square(array, dtype=np.float64).mean())) if array.size else 0.0


class Examiner(Protocol):
    """Says what is wrong with a finished run, and changes nothing."""

    def __call__(self, run: FinishedRun) -> Findings:
        """What was found, causes before symptoms."""


class Door:
    """Leads to the examiner, which is fetched when it is first asked for."""

    def __init__(self) -> None:
        self._fetch: Callable[[], Examiner] | None = None

    def leads_to(self, fetch: Callable[[], Examiner]) -> None:
        """Say how the examiner is fetched."""
        self._fetch = fetch

    def examine(self, run: FinishedRun) -> Findings | None:
        """What the examiner finds; None where nobody is behind the door."""
        return None if self._fetch is None else self._fetch()(run)


door = Door()
