"""The examination that `fit` and `chainrule train` make by themselves when a run is over: `diagnose` on a sample.

Comes in: a finished run. Goes out: findings. However large the data, up to 2,000 rows are read, always the same.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.look.diagnosing import findings_of
from chainrule.look.diagnosis.case import Case
from chainrule.look.diagnosis.finding import Findings
from chainrule.look.diagnosis.registry import SHARE, TRYING
from chainrule.nn.optimizers import Optimizer
from chainrule.train.examination import FinishedRun
from chainrule.train.inputs import Rows

Array = np.ndarray[Any, Any]
MOST_ROWS = 2000  # as many as the rules about data look at
FEWER_ROWS = 1000  # in passing


def examine_in_passing(run: FinishedRun) -> Findings:
    """What rules find that cost little beside the run; the others are asked once it was long enough, or by `diagnose`.

    The costs are declared and not measured, so that the same run always gives the same findings.
    """
    return examine(run, SHARE * (run.total or len(run.rows)) * len(run.history), FEWER_ROWS)


def examine(run: FinishedRun, most: float = math.inf, rows: int = MOST_ROWS) -> Findings:
    """What the rules find in a finished run that cost no more than `most` examples; nothing of it is changed.

    They see up to `rows` rows. Where `most` is too little to try out learning rates aside, these are judged by how the
    run went.
    """
    held = run.validation
    places, held_places = sampled(run.rows, rows), sampled(held, rows)
    case = Case(
        run.net,
        run.rows.take(places),
        run.loss,
        validation=None if held is None else held.take(held_places),
        histories=(run.history,),
        optimizer=_at_the_rate_of_the_run(run) if most >= TRYING else None,
        batch_size=run.batch_size,
        feature_names=run.feature_names,
        rows=run.total or len(run.rows),
        numbers=(run.rows.numbers(places), places if held is None else held.numbers(held_places)),
        names=run.row_names,
        as_written=run.as_written,
        every_row=(run.rows, held),
    )
    return findings_of(case, most)


def sampled(rows: Rows | None, most: int = MOST_ROWS) -> Array:
    """The places of all rows in their order, or of so many of them drawn at random, the same every time."""
    total = 0 if rows is None else len(rows)
    if total <= most:
        return np.arange(total)
    return np.sort(np.random.default_rng(0).choice(total, most, replace=False))


def _at_the_rate_of_the_run(run: FinishedRun) -> Optimizer | None:
    """The optimizer, unless its schedule has moved on: the rate at which it ends says nothing about the run."""
    if run.optimizer is None or not run.history.epochs:
        return run.optimizer
    return run.optimizer if run.optimizer.current_learning_rate() == run.history.first_rate else None
