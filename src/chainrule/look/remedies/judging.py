"""Whether one run is measurably better than another, on the same validation rows.

Both networks answer the same rows, so that the difference of their losses is known better than either loss. Its
standard error is that of the jackknife: the difference is computed anew without each of some groups of rows (Efron and
Stein, 1981). That works for any loss and any metric.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from chainrule.engine.context import no_grad
from chainrule.engine.tensor import Tensor, asarray
from chainrule.look.diagnosis.case import chance_of
from chainrule.look.explaining.figures import short
from chainrule.nn.losses import Loss, LossFunction
from chainrule.train.metrics import Metric
from chainrule.train.steps import as_input, measured

Array = np.ndarray[Any, Any]
Figures = dict[str, float]
Measure = Callable[[Array], float]  # of row numbers
SURE = 2.0  # standard errors by which a figure must be better
NOT_WORSE = 1.0  # standard errors by which the other figure may be worse
VISIBLE = 0.005  # of the loss of a constant answer, at least, must be gained likewise
LEAST = 0.02  # of the loss, at least, must be gained where only the loss is better
CLEAR = 0.5  # of the loss: so great a gain needs less to be believed
GROUPS = 40


@dataclass(frozen=True, slots=True)
class Judge:
    """Compares answers to validation rows by a loss and perhaps a metric."""

    loss: Loss
    metric: Metric | None
    y: Array
    weights: Array | None = None

    def figures(self, answers: Array | None) -> Figures:
        """Loss and metric by name; infinite loss and no metric where there are no answers, or none that are finite."""
        names = ["loss", *([self.metric.name] if self.metric else [])]
        if answers is None or not np.isfinite(answers).all():
            return {"loss": math.inf} | dict.fromkeys(names[1:], math.nan)
        rows = np.arange(len(self.y))
        return {name: measure(rows) for name, measure in zip(names, self._measures(answers), strict=True)}

    def gains(self, old: Array, new: Array) -> list[tuple[float, float]]:
        """How much better `new` is, and that in standard errors: for the loss, then for the metric."""
        signs = [-1.0, *([1.0 if self.metric.better == "higher" else -1.0] if self.metric else [])]
        return [
            _sureness([sign * (after(rows) - before(rows)) for rows in _without_each(len(self.y))])
            for before, after, sign in zip(self._measures(old), self._measures(new), signs, strict=True)
        ]

    @property
    def scale(self) -> float:
        """The loss of the best constant answer to these rows; 0 where that is unknown."""
        classes = self.y.reshape(-1) if self.y.size == len(self.y) and self.y.dtype.kind in "iu" else None
        chance = chance_of(self.loss.name, self.y, classes)
        return chance if math.isfinite(chance) else 0.0

    def _measures(self, answers: Array) -> list[Measure]:
        """Loss and metric of these answers, each as a function of row numbers."""
        return [self._loss(answers), *([self._metric(self.metric, answers)] if self.metric else [])]

    def _loss(self, answers: Array) -> Measure:
        takes = inspect.signature(self.loss.function).parameters
        weights = self.weights if "weights" in takes else None
        if "reduction" not in takes:
            return lambda rows: _value(self.loss.function, answers[rows], self.y[rows])
        each = np.asarray(_made(partial(self.loss.function, reduction="none"), answers, self.y), np.float64)
        each = each.reshape(len(self.y), -1).mean(axis=1)
        return lambda rows: float(np.average(each[rows], weights=None if weights is None else weights[rows]))

    def _metric(self, metric: Metric, answers: Array) -> Measure:
        weights = self.weights
        return lambda rows: float(
            metric.function(answers[rows], self.y[rows], None if weights is None else weights[rows])
        )


def _made(loss: LossFunction, answers: Array, y: Array) -> Tensor:
    with no_grad(), np.errstate(all="ignore"):
        return measured(loss, asarray(answers), as_input(y, answers.dtype), None)


def _value(loss: LossFunction, answers: Array, y: Array) -> float:
    return _made(loss, answers, y).item()


def _without_each(count: int) -> Iterator[Array]:
    """All rows, and then all but those of each group."""
    rows, groups = np.arange(count), min(count, GROUPS)
    yield rows
    if groups > 1:
        yield from (rows[rows % groups != group] for group in range(groups))


def _sureness(differences: list[float]) -> tuple[float, float]:
    """The first difference, of all rows, and how many standard errors that is by the others, each without a group."""
    found, without = differences[0], np.array(differences[1:])
    if not np.isfinite(differences).all() or len(without) < 2 or not found:
        return (found if math.isfinite(found) else 0.0), 0.0
    groups = len(without)
    error = math.sqrt((groups - 1) / groups * float(((without - without.mean()) ** 2).sum()))
    return found, found / error if error > 1e-9 * abs(found) else math.copysign(math.inf, found)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a change helped, why it is thought so, and whether that wants a second seed."""

    better: bool
    why: str
    clear: bool = True


def verdict(judge: Judge, old: Array, new: Array) -> Verdict:
    """Whether `new` is better than `old`: one figure by two standard errors, and none worse by more than one.

    A loss that is halved may be better by one standard error only: a few rows with a huge loss make its error large.
    """
    before, after = judge.figures(old)["loss"], judge.figures(new)["loss"]
    if not math.isfinite(after):
        return Verdict(False, "its answers are infinite or NaN")
    if not math.isfinite(before):
        return Verdict(True, "its answers are numbers now")
    (gain, sure), *rest = judge.gains(old, new)
    metric, metric_sure = (judge.metric.name, rest[0][1]) if judge.metric else ("", 0.0)
    counts = gain >= VISIBLE * judge.scale
    large, halved = counts and gain >= LEAST * abs(before), counts and gain >= CLEAR * abs(before)
    told = f"loss {_told(sure)}" + (f", {metric} {_told(metric_sure)}" if metric else "")
    certain = (sure >= SURE and large and metric_sure > -NOT_WORSE) or (metric_sure >= SURE and sure > -NOT_WORSE)
    if certain or (halved and sure >= NOT_WORSE and metric_sure > -NOT_WORSE):
        return Verdict(True, told, certain and halved)
    small = " (too little to count)" if sure >= SURE and not large else ""
    return Verdict(False, f"no sure gain: {told}{small}")


def _told(sure: float) -> str:
    """How sure a difference is, in words."""
    if sure == 0:
        return "the same"
    if math.isinf(sure):
        return "better in every group of rows" if sure > 0 else "worse in every group of rows"
    return f"{'better' if sure > 0 else 'worse'} by {short(abs(sure))} standard errors"


def no_worse(judge: Judge, old: Array | None, new: Array | None) -> bool:
    """Whether a second pair of runs, with another seed, agrees that the change helps."""
    before, after = judge.figures(old), judge.figures(new)
    if not math.isfinite(after["loss"]):
        return False
    better = after["loss"] < before["loss"]
    if judge.metric is not None:
        sign = 1.0 if judge.metric.better == "higher" else -1.0
        better = better or sign * (after[judge.metric.name] - before[judge.metric.name]) > 0
    return better
