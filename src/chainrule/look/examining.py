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
    return examine(run, SHARE * len(run.rows) * len(run.history), FEWER_ROWS)


def examine(run: FinishedRun, most: float = math.inf, rows: int = MOST_ROWS) -> Findings:
    """What the rules find in a finished run that cost no more than `most` examples; nothing of it is changed.

    They see up to `rows` rows. Where `most` is too little to try out learning rates aside, these are judged by how the
    run went.
    """
    case = Case(
        run.net,
        sampled(run.rows, rows),
        run.loss,
        validation=None if run.validation is None else sampled(run.validation, rows),
        histories=(run.history,),
        optimizer=_at_the_rate_of_the_run(run) if most >= TRYING else None,
        batch_size=run.batch_size,
        feature_names=run.feature_names,
        rows=len(run.rows),
        every_row=None if run.validation is None else (run.rows, run.validation),
    )
    return findings_of(case, most)


def sampled(rows: Rows, most: int = MOST_ROWS) -> tuple[Array, ...]:
    """All rows in their order, or so many of them drawn at random, the same every time."""
    if len(rows) <= most:
        return rows.take(slice(None))
    return rows.take(np.sort(np.random.default_rng(0).choice(len(rows), most, replace=False)))


def _at_the_rate_of_the_run(run: FinishedRun) -> Optimizer | None:
    """The optimizer, unless its schedule has moved on: the rate at which it ends says nothing about the run."""
    if run.optimizer is None:
        return None
    began = run.history.epochs[0].get("learning_rate", math.nan) if run.history.epochs else math.nan
    return run.optimizer if run.optimizer.current_learning_rate() == began else None
