"""`repair`: applies the safe advice of `diagnose`, one piece at a time, and keeps what measurably helps.

Comes in: what `fit` takes. Goes out: a `Repair`, with a trained network and everything that was tried. The user's own
network, data and optimizer are left as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.functions import sum as sum_over
from chainrule.engine.state import Parameter, State
from chainrule.errors import ArgumentError, ChainruleError, DataError
from chainrule.look.diagnosing import data_of, findings_about
from chainrule.look.diagnosis.finding import Finding, Findings
from chainrule.look.explaining.recording import record
from chainrule.look.remedies.judging import Judge
from chainrule.look.remedies.loop import Change, Course, Trial, ending, improve, together
from chainrule.look.remedies.report import Repair
from chainrule.look.remedies.table import options
from chainrule.look.remedies.views import one_line
from chainrule.look.remedies.way import Data, Run, Task, Way, copied, run
from chainrule.nn.losses import Loss, LossFunction, get_loss
from chainrule.nn.module import Module
from chainrule.nn.optimizers import Optimizer, get_optimizer
from chainrule.train.history import History
from chainrule.train.inputs import Rows, hold_out
from chainrule.train.metrics import Figure, Metric, get_metric
from chainrule.train.steps import modes_kept, net_dtype

Array = np.ndarray[Any, Any]
USUAL_METRICS = {
    "cross_entropy": "accuracy",
    "binary_cross_entropy": "accuracy",
    "hinge": "accuracy",
    "mean_squared_error": "r2",
    "mean_absolute_error": "r2",
    "huber": "r2",
}


def repair(
    net: Module,
    data: Any,
    *,
    loss: str | LossFunction,
    optimizer: str | Optimizer = "adam",
    epochs: int = 10,
    batch_size: int = 32,
    validation: float | tuple[Any, ...] = 0.2,
    metric: str | Figure | Metric | None = None,
    attempts: int = 8,
    seed: int = 0,
    patience: int | None = None,
    progress: bool = True,
    compile: bool = True,
) -> Repair:
    """Train, find out what is wrong, change one thing, train again, and keep what measurably helped; until all is well.

    Each trial takes the gravest finding of `diagnose` that has a remedy not yet tried, and trains a copy from the same
    first weights with the same seed but for that one change. It is kept if, on the same validation rows, the loss is
    better by two standard errors of the paired difference and by 2%, or halved and better by one standard error, or the
    metric is better by two standard errors, while the other figure is not worse by more than one. Unless the gain is
    both sure and large, a second pair of runs with another seed must agree. A run that failed is improved by one that
    does not.

    A network that is a `Sequential` can be put together otherwise; in any other, data, first weights, optimizer and the
    arguments of `fit` can be changed. Targets keep their meaning always. The validation rows decide, so that their last
    figures are a little too good: measure on rows of your own that `repair` has not seen.

    Parameters
    ----------
    net
        Any module, as it would be given to `fit`; it stays as it is.
    data
        `(X, y)` or `(X, y, weights)`, arrays with rows first; they may hold NaN.
    loss
        A name, or a function as for `fit`.
    optimizer, epochs, batch_size, patience, compile
        As for `fit`: what the repair begins with.
    validation
        A fraction of the rows to hold out, or a set `(X, y)` or `(X, y, weights)`; default 0.2.
    metric
        What is compared beside the loss, a name or a function; default `"accuracy"` for classes, `"r2"` for numbers,
        and nothing for a loss of your own.
    attempts
        How many changes to try at most, from 0; default 8.
    seed
        Decides validation rows, order of rows and weights drawn anew. The same seed gives the same repair.
    progress
        Whether to tell of each trial in a line on standard error.

    Returns
    -------
    Repair
        The best network, its history, and every trial; `print` shows it as a page.

    Raises
    ------
    ArgumentError, DataError, ShapeError
        If an argument is wrong, or the run fails for a reason that no rule knows.

    Examples
    --------
    >>> import numpy as np
    >>> import chainrule as cr
    >>> from chainrule import nn
    >>> cr.random.seed(0)
    >>> X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    >>> net = nn.Sequential(nn.Dense(4, 16, activation="relu"), nn.Dense(16, 3), nn.Softmax())
    >>> fixed = repair(net, (X, X[:, :3].argmax(axis=1)), loss="cross_entropy", optimizer=cr.optim.Adam(1e-2),
    ...                progress=False)
    >>> fixed.kept[0].finding.rule, fixed.kept[0].change
    ('probabilities-before-logits', 'the softmax at the end is removed')
    >>> fixed.after["accuracy"] > 0.9
    True
    """
    _check(net, epochs=(epochs, 1), batch_size=(batch_size, 1), attempts=(attempts, 0), seed=(seed, 0))
    known = get_loss(loss)
    training, held, rows = _parts(data_of("repair", "data", data), validation, seed, known)
    chosen = USUAL_METRICS.get(known.name) if metric is None else metric
    rule = get_optimizer(optimizer) if isinstance(optimizer, str) else optimizer
    if not isinstance(rule, Optimizer):
        raise ArgumentError(
            f"repair: optimizer must be an optimizer such as cr.optim.Adam(1e-3), or its name, but is a "
            f"{type(optimizer).__name__}."
        )
    task = Task(
        known,
        None if chosen is None else get_metric(chosen),
        compile,
        _outside(net, training[0]),
    )
    way = Way(_copy_of(net), training, held, rule, epochs, batch_size, patience, numbers=rows)
    subject = Network(task, seed)
    numbers: Iterator[int] = iter(range(1, attempts + 1))
    course = improve(
        subject,
        way,
        attempts=attempts,
        seed=seed,
        told=(lambda trial: print(one_line(next(numbers), trial), file=sys.stderr)) if progress else _silent,
    )
    return _outcome(subject, course, attempts)


def _silent(trial: Trial) -> None:
    """Say nothing of a trial."""


@dataclass(frozen=True, slots=True)
class Network:
    """What the loop asks about networks: how they are trained, diagnosed, changed and judged."""

    task: Task
    seed: int

    def run(self, way: Way, seed: int) -> Run:
        """Train a copy."""
        return run(way, self.task, seed)

    def findings(self, way: Way, run: Run) -> Findings:
        """What is found before training and after it.

        Raises
        ------
        ChainruleError
            If the run failed for a reason that no rule knows.
        """
        about: dict[str, Any] = {
            "loss": self.task.loss.function,
            "batch_size": way.batch_size,
            "numbers": way.numbers,
        }
        data, held = way.learned(way.data), way.learned(way.validation)
        before = findings_about(copied(way.net), data, validation=held, optimizer=None, **about)
        if run.history is None or not run.history.epochs:
            after = findings_about(copied(way.net), data, validation=held, optimizer=way.optimizer, **about)
        else:
            after = findings_about(
                run.net, data, validation=held, history=run.history, optimizer=way.optimizer, **about
            )
        found = together(before, after)
        if run.failure is not None and not found.of("error") and not found.of("warning"):
            raise run.failure
        return found

    def options(self, way: Way, finding: Finding) -> Iterator[Change[Way]]:
        """The remedies of the rule."""
        return options(way, finding, self.seed)

    def settings(self, way: Way) -> dict[str, Hashable]:
        """The structure of the network, and what it is trained with."""
        rule = way.optimizer
        return {
            "network": repr(way.net),
            "targets": way.undo is None,
            "rate": repr(rule.learning_rate),
            "clipping": rule.clip_global_norm,
            "decay": rule.weight_decay,
            "epochs": way.epochs,
            "batch": way.batch_size,
            "patience": way.patience,
        }

    def judge(self, way: Way) -> Judge:
        """By the loss and metric of the task, on the validation rows."""
        return Judge(self.task.loss, self.task.metric, way.validation[1], *way.validation[2:])


def _outcome(subject: Network, course: Course[Way, Run], attempts: int) -> Repair:
    run = course.run
    if run.failure is not None:
        gaps = [finding for finding in course.findings if finding.rule == "data-not-finite"]
        if gaps and isinstance(run.failure, DataError):  # it counts rows as the run got them; the finding knows better
            raise DataError(f"repair: {gaps[0].summary} What to do: {gaps[0].advice}.") from run.failure
        raise run.failure
    stopped = ending(subject, course, attempts)
    after = subject.judge(course.way).figures(run.answers)
    return Repair(run.whole, run.history or History(), course.trials, course.first, after, course.findings, stopped)


# --- What is given ------------------------------------------------------------------------------------------------


def _check(net: Any, **numbers: tuple[Any, int]) -> None:
    if not isinstance(net, Module):
        raise ArgumentError(f"repair: net must be a network (nn.Module), but is a {type(net).__name__}.")
    for name, (value, least) in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ArgumentError(f"repair: {name} must be a whole number from {least}, but is {value!r}.")
    if not net.parameters():
        raise ArgumentError(f"repair: {type(net).__name__} has no parameters, so there is nothing to learn.")


def _parts(data: Data, validation: Any, seed: int, loss: Loss) -> tuple[Data, Data, tuple[Array, Array] | None]:
    """The rows to learn from and those held out, and which rows of the data they are, where they are parts of it."""
    if isinstance(validation, tuple | list):
        return data, data_of("repair", "validation", validation), None
    if validation is None:
        raise ArgumentError("repair: changes are judged on validation rows; give validation=0.2 or a set (X, y).")
    kept, held = hold_out(Rows(data), validation, seed, loss)
    assert kept.chosen is not None
    assert held.chosen is not None
    return kept.take(slice(None)), held.take(slice(None)), (kept.chosen, held.chosen)


def _copy_of(net: Module) -> Module:
    try:
        return copied(net)
    except Exception as error:  # whatever a class of the user's own does when it is copied
        raise ArgumentError(
            f"repair works on copies, but {type(net).__name__} cannot be copied ({error}); hold what cannot in a "
            "function, or give it a __deepcopy__."
        ) from error


def _outside(net: Module, X: Array) -> tuple[State, ...]:
    """The states that the network uses and does not own, which its copies would share.

    Raises
    ------
    ArgumentError
        If there are parameters among them: a repair would train the user's own.
    """
    some = X[:2].astype(net_dtype(net)) if X.dtype.kind == "f" else X[:2]
    owned = {id(state) for _, state in (*net.named_parameters(), *net.named_states())}
    try:
        with modes_kept(net), np.errstate(all="ignore"):
            net.train()
            used = record(net, some, np.zeros(len(some)), lambda guess, target: sum_over(guess)).states
    except ChainruleError:
        return ()  # the first run says what does not fit
    outside = [state for state in used if id(state) not in owned]
    if any(isinstance(state, Parameter) for state in outside):
        raise ArgumentError(
            "repair: the network uses parameters that it does not own, so that copies of it would share them; make the "
            "layer an attribute of the module, or put it into a list that is one."
        )
    return tuple(outside)
