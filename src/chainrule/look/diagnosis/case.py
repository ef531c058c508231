"""What the rules look at: data, network, loss and history, with everything that several rules need computed once.

Nothing is computed before a rule asks for it, and nothing of the network is changed: forward passes run in a sandbox.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.engine.backprop import walk
from chainrule.engine.functions import sum as sum_over
from chainrule.engine.state import Parameter, State
from chainrule.engine.tensor import Tensor
from chainrule.errors import ChainruleError
from chainrule.look.diagnosis.probes import LEAST, ROWS, Probe, by_lines, by_neighbours, neighbours, standardised
from chainrule.look.diagnosis.repeats import row_keys
from chainrule.look.diagnosis.trials import Trial, begun_anew, trial
from chainrule.look.explaining.recording import Recording, record
from chainrule.nn.losses import Loss, LossFunction
from chainrule.nn.module import Module
from chainrule.nn.optimizers import Optimizer
from chainrule.train.examination import RowName, rms
from chainrule.train.history import History
from chainrule.train.inputs import Rows
from chainrule.train.steps import modes_kept, net_dtype

Array = np.ndarray[Any, Any]
_ROWS = 256  # of the batch that is looked at
_MANY, _NUMBERS = 2000, 2**24  # rows that rules about the data look at, fewer where they are long
JUMP, RISES = 0.15, 0.2  # how much a loss must turn to count, and in which share of the epochs
TOLD = 0.8  # validation loss by chance, from which the inputs tell something of the targets
LATE = 0.97  # loss of the first epoch by chance, where that one taught nothing
RISEN = 1.5  # last loss by the lowest, where it went up
_WORK = 2**28  # parameters times rows of that batch, at most


@dataclass(frozen=True, slots=True)
class Layer:
    """One call of a module that has none inside: its path, what it received and what it produced."""

    path: str
    module: Module
    received: Array
    produced: Array


class Case:
    """A network with its data, and everything that rules ask about them.

    Attributes
    ----------
    net, loss, optimizer
        What learns, what measures it, what corrects it (None where that is not known).
    X, y, weighted
        The data as arrays, and whether its rows have weights.
    validation
        The rows held out, or None.
    history, runs
        What happened in training (None before), and the histories of all runs.
    rows
        How many rows the network learns from; X and y may be a sample of them.
    batch_size
        Rows in a step.
    numbers, names
        As which rows of their data the user knows the rows of X and of validation (None where they are given so), and
        what such a row is called (None: "row 3").
    as_written
        What stands in the user's file for a number of an input column (None: of the targets); the number by default.
    every_row
        All rows of training and of validation, of which X and y may be a sample.
    """

    def __init__(
        self,
        net: Module,
        data: tuple[Array, ...],
        loss: Loss,
        *,
        validation: tuple[Array, ...] | None,
        histories: tuple[History, ...],
        optimizer: Optimizer | None,
        batch_size: int | None,
        feature_names: tuple[str, ...],
        rows: int | None = None,
        numbers: tuple[Array, Array] | None = None,
        names: tuple[RowName, RowName] | None = None,
        as_written: Callable[[int | None, float], float] | None = None,
        every_row: tuple[Rows, Rows | None] | None = None,
    ) -> None:
        self.net, self.loss, self.optimizer = net, loss, optimizer
        self.X, self.y, self.weighted = data[0], data[1], len(data) > 2
        self.rows = len(self.X) if rows is None else rows
        self.validation, self.runs, self.numbers, self.names = validation, histories, numbers, names
        self.history = histories[-1] if histories else None
        self.as_written = as_written or (lambda column, number: number)
        self.is_sample = every_row is not None
        held = None if validation is None else Rows(validation[:2])
        self.every_row = (Rows((self.X, self.y)), held) if every_row is None else every_row
        self._batch_size, self._feature_names = batch_size, feature_names
        self._trials: dict[tuple[float | None, bool], Trial | None] = {}

    # --- Data ----------------------------------------------------------------------------------------------------

    @cached_property
    def batch_size(self) -> int:
        """Rows in a step: as given, as the history tells, or what `fit` takes."""
        if self._batch_size is not None:
            return self._batch_size
        steps = self.history.epochs[0].get("steps") if self.history is not None and self.history.epochs else None
        if steps is None or not math.isfinite(steps) or steps <= 0:
            return min(32, self.rows)
        return max(1, round(self.rows / steps))

    @cached_property
    def finite(self) -> Array:
        """For every row whether all its numbers are finite."""
        rows = np.isfinite(self.X.reshape(len(self.X), -1)).all(axis=1)
        return np.asarray(rows & np.isfinite(self.y.reshape(len(self.y), -1)).all(axis=1))

    @cached_property
    def _order(self) -> Array:
        """The finite rows in an order that has nothing to do with theirs, the same every time."""
        return np.random.default_rng(0).permutation(np.flatnonzero(self.finite))

    @cached_property
    def sample(self) -> tuple[Array, Array]:
        """Some finite rows: each row of X as one row of numbers (rows, columns), and y; fractions in float64."""
        columns = max(1, math.prod(self.X.shape[1:]))
        chosen = self._order[: min(_MANY, max(ROWS, _NUMBERS // columns))]
        X, y = (part[chosen].astype(np.float64 if part.dtype.kind == "f" else part.dtype) for part in (self.X, self.y))
        return X.reshape(len(chosen), -1), y

    def row(self, place: int) -> int:
        """Which row of X stands at a place of the sample."""
        return int(self._order[place])

    def named_row(self, place: int, *, held: bool = False, of_all: bool = False) -> str:
        """What the user calls a row of X or (`held`) of validation; with `of_all` one of `every_row`."""
        rows, number = self.every_row[held], place
        if of_all and self.is_sample and rows is not None:
            number = int(rows.numbers(np.array([place]))[0])
        elif self.numbers is not None:
            number = int(self.numbers[held][place])
        return f"row {number}" if self.names is None else self.names[held](number)

    @cached_property
    def is_numeric(self) -> bool:
        """Whether X holds measurements; whole numbers may be codes that an embedding looks up."""
        return bool(self.X.dtype.kind == "f")

    @cached_property
    def is_table(self) -> bool:
        """Whether X has one column a feature, so that a column means something."""
        return self.X.ndim == 2 and self.is_numeric

    @cached_property
    def classes(self) -> Array | None:
        """One class number a row of y, where the targets are classes and the loss treats them so."""
        if self.loss.kind == "regression":
            return None
        if self.y.size == len(self.y):
            labels = self.y.reshape(-1)
            whole = labels.dtype.kind in "iub" or (np.isfinite(labels).all() and (labels == np.round(labels)).all())
            return labels.astype(np.int64) if whole and np.unique(labels).size <= max(2, len(labels) // 2) else None
        if self.y.ndim == 2 and ((self.y == 0) | (self.y == 1)).all() and (self.y.sum(axis=1) == 1).all():
            return np.asarray(self.y.argmax(axis=1))
        return None

    def column(self, place: int) -> str:
        """How a column of X is spoken of."""
        if self.X.ndim == 2 and place < len(self._feature_names):
            return f'column "{self._feature_names[place]}"'
        if self.X.ndim > 2:
            return f"X[:, {', '.join(str(int(i)) for i in np.unravel_index(place, self.X.shape[1:]))}]"
        return f"column {place} of X"

    @cached_property
    def told(self) -> tuple[Array, int] | None:
        """The answers of the rows that probes look at, and the number of classes (0 for numbers); None if unread."""
        rows, y = self.sample[0][:ROWS], self.sample[1][:ROWS]
        if not self.is_numeric or len(rows) < LEAST or y.size != len(y) or not rows.shape[1]:
            return None
        if self.classes is not None:
            values, answers = np.unique(y.reshape(-1), return_inverse=True)
            return (answers.reshape(-1), values.size) if values.size > 1 else None
        return (y.reshape(-1), 0) if y.dtype.kind == "f" and float(np.std(y)) > 0 else None

    @cached_property
    def near(self) -> Array:
        """The nearest others of each row that probes look at."""
        return neighbours(standardised(self.sample[0][:ROWS]))

    @cached_property
    def probes(self) -> tuple[Probe, Probe] | None:
        """What nearest neighbours and a linear model tell of the targets; None where they cannot read them."""
        if self.told is None:
            return None
        return by_neighbours(self.near, *self.told), by_lines(standardised(self.sample[0][:ROWS]), *self.told)

    @cached_property
    def keys(self) -> tuple[Array, Array] | None:
        """A number for every row of training and of validation, equal for equal inputs; None where nothing is held out.

        All rows are read, not only those of a sample, in which copies seldom meet.
        """
        own, held = self.every_row
        return None if held is None else (row_keys(own), row_keys(held))

    # --- One step ------------------------------------------------------------------------------------------------

    @cached_property
    def batch(self) -> tuple[Array, Array]:
        """Finite rows for a step, as the network takes them."""
        size = sum(parameter.size for parameter in self.net.parameters())
        rows = max(8, min(_ROWS, _WORK // max(size, 1)))
        chosen, dtype = self._order[:rows], net_dtype(self.net)
        x, y = self.X[chosen], self.y[chosen]
        return (
            x.astype(dtype) if x.dtype.kind == "f" else x,
            y.astype(dtype) if y.dtype.kind == "f" else y,
        )

    @cached_property
    def step(self) -> Recording:
        """A step in training mode, forward and loss; where the loss refuses, its error is `failure`."""
        return self._training[0]

    @cached_property
    def failure(self) -> ChainruleError | None:
        """What the loss says to the network's answers and the targets; None where it takes them."""
        return self._training[1]

    @cached_property
    def use(self) -> Recording:
        """The forward pass in evaluation mode."""
        return self._recorded(training=False)[0]

    @cached_property
    def _training(self) -> tuple[Recording, ChainruleError | None]:
        return self._recorded(training=True)

    def _recorded(
        self, *, training: bool, values: Mapping[State, Array] | None = None
    ) -> tuple[Recording, ChainruleError | None]:
        said: list[ChainruleError] = []

        def probe(guess: Any, target: Any) -> Any:
            try:
                return self.loss.function(guess, target)
            except ChainruleError as refusal:
                said.append(refusal)
                return sum_over(guess)

        with modes_kept(self.net), np.errstate(all="ignore"):
            self.net.train(training)
            recording = record(self.net, *self.batch, probe, values=values)
        return recording, said[0] if said else None

    @cached_property
    def guess(self) -> Array:
        """What the network answers to the batch."""
        return np.asarray(self.step.guess)

    @cached_property
    def loss_value(self) -> float:
        """The loss of the batch; NaN where there is none."""
        loss = self.step.loss
        usable = self.failure is None and isinstance(loss, Tensor) and loss.shape == ()
        return float(loss.value) if usable else math.nan

    @cached_property
    def gradients(self) -> Mapping[Parameter, Array]:
        """The gradient of the loss for each parameter that gets one."""
        if self.failure is not None or not isinstance(self.step.loss, Tensor) or self.step.loss.shape != ():
            return {}
        return _gradients(self.step)

    @cached_property
    def layers(self) -> list[Layer]:
        """The calls of modules without modules inside, in order."""
        return _innermost(self.step)

    @cached_property
    def parameters(self) -> dict[Parameter, str]:
        """Every parameter of the network with its path."""
        return {parameter: name for name, parameter in self.net.named_parameters()}

    @cached_property
    def weights(self) -> list[tuple[str, Parameter]]:
        """The trained parameters of two axes or more that get a gradient, in the order in which they are used."""
        used = [node.owner for node in self.step.nodes if isinstance(node.owner, Parameter)]
        return [
            (self.parameters[each], each)
            for each in dict.fromkeys(used)
            if each in self.parameters and each in self.gradients and each.ndim >= 2
        ]

    @cached_property
    def noise_scale(self) -> float | None:
        """The rows a batch needs for its gradient's noise to be no more than its signal (McCandlish et al., 2018).

        Estimated from the gradients of eighths of the batch and of the whole; None where there are too few rows.
        """
        rows = len(self.batch[0])
        small = rows // 8
        if small < 4 or self.failure is not None or not self.gradients:
            return None
        x, y = self.batch
        pieces = [slice(start, start + small) for start in range(0, small * 8, small)]
        squares = [squared_norm(gradients_of(self.net, x[each], y[each], self.loss.function)) for each in pieces]
        large = squared_norm(self.gradients)
        signal = (rows * large - small * float(np.mean(squares))) / (rows - small)
        noise = (float(np.mean(squares)) - large) / (1 / small - 1 / rows)
        return max(noise, 0.0) / signal if signal > 0 and math.isfinite(noise) else math.inf

    @cached_property
    def first_step(self) -> Recording | None:
        """The step of the network as it may have begun, with weights drawn anew; None without a loss."""
        return self._recorded(training=True, values=begun_anew(self))[0] if self.gradients else None

    @cached_property
    def first_gradients(self) -> Mapping[Parameter, Array]:
        """The gradients of that step; empty without a loss."""
        return {} if self.first_step is None else _gradients(self.first_step)

    @cached_property
    def first_layers(self) -> list[Layer]:
        """The calls of that step, as `layers`."""
        return [] if self.first_step is None else _innermost(self.first_step)

    @property
    def first_sizes(self) -> Mapping[str, float]:
        """The root mean square of each parameter before the first step, as far as the history tells."""
        return self.history.began if self.history is not None else {}

    def first_size(self, parameter: Parameter) -> float:
        """That of one parameter; without a history, or where it does not tell, as it is now."""
        size = self.first_sizes.get(self.parameters.get(parameter, ""))
        return rms(parameter.value) if size is None else size

    # --- The run ---------------------------------------------------------------------------------------------------

    @cached_property
    def losses(self) -> list[float]:
        """The training losses of the epochs that are finite."""
        rows = self.history.epochs if self.history is not None else []
        return [row["loss"] for row in rows if math.isfinite(row.get("loss", math.nan))]

    @cached_property
    def generalised(self) -> bool:
        """Whether the run ended with a validation loss far below chance, which the inputs must then tell."""
        last = self.history.epochs[-1] if self.history is not None and self.history.epochs else {}
        return bool(last.get("validation_loss", math.nan) < TOLD * self.chance)

    @cached_property
    def rate(self) -> float | None:
        """The learning rate with which the run began, where the history tells."""
        return None if self.history is None else self.history.first_rate

    @property
    def much(self) -> float:
        """A loss below which its rises mean little: that of a constant answer, or half of the first one."""
        return self.chance if math.isfinite(self.chance) else self.losses[0] / 2 if self.losses else 0.0

    @property
    def has_learned(self) -> bool:
        """Whether a run brought the loss far below chance, so that gradients may be small because little is left."""
        return self.history is not None and self.loss_value < 0.5 * self.chance

    @property
    def began_slowly(self) -> bool:
        """Whether a run learned little, or nothing in its first epoch."""
        is_late = bool(self.losses) and self.losses[0] > LATE * self.chance
        return self.history is not None and (is_late or not self.has_learned)

    @cached_property
    def turns(self) -> Array:
        """For each epoch but the first and last whether the loss turned there, by much on both sides."""
        losses = np.array(self.losses)
        scale = self.chance if math.isfinite(self.chance) and self.chance > 0 else float(losses.max(initial=0))
        change = np.diff(losses)
        large = np.abs(change) > JUMP * scale
        return np.asarray((np.sign(change[1:]) != np.sign(change[:-1])) & large[1:] & large[:-1])

    @cached_property
    def trouble(self) -> str:
        """What went wrong in the run, in words; `""` where nothing did, or there was none."""
        if self.history is None:
            return ""
        losses = self.losses
        if self.history.stopped == "failed" or len(losses) < len(self.history):
            return "the loss or a gradient became infinite or NaN"
        if len(losses) >= 2 and losses[-1] > RISEN * max(min(losses), self.much):
            return "the training loss went up"
        if len(losses) >= 5 and self.turns.sum() >= max(2, RISES * len(losses)):
            return "the training loss jumped up and down"
        return ""

    # --- The loss of who knows nothing ---------------------------------------------------------------------------

    @cached_property
    def chance(self) -> float:
        """The loss of the best constant answer: what knows the targets but not the inputs; NaN where unknown."""
        y = self.sample[1]
        return chance_of(self.loss.name, y, self.classes) if len(y) else math.nan

    def trial(self, rate: float | None, *, fresh: bool = False) -> Trial | None:
        """Some steps made aside at a learning rate (None: the optimizer's own); None where that would take long."""
        if self.optimizer is None or self.failure is not None or not self.gradients:
            return None
        if (rate, fresh) not in self._trials:
            self._trials[rate, fresh] = trial(self, self.optimizer, rate, fresh=fresh)
        return self._trials[rate, fresh]


def chance_of(loss: str, y: Array, classes: Array | None) -> float:
    """The loss of the best constant answer to targets `y`."""
    wide = y.astype(np.float64)
    if loss == "cross_entropy" and classes is not None:
        share = np.unique(classes, return_counts=True)[1] / len(classes)
        return float(-(share * np.log(share)).sum())
    if loss == "binary_cross_entropy" and ((wide >= 0) & (wide <= 1)).all():
        share = np.clip(wide.reshape(len(y), -1).mean(axis=0), 1e-12, 1 - 1e-12)
        return float(-(share * np.log(share) + (1 - share) * np.log(1 - share)).mean())
    if loss == "mean_squared_error":
        return float(wide.var(axis=0).mean())
    if loss == "mean_absolute_error":
        return float(np.abs(wide - np.median(wide, axis=0)).mean())
    if loss == "huber":
        away = np.abs(wide - np.median(wide, axis=0))
        near = np.minimum(away, 1)
        return float((near * (away - 0.5 * near)).mean())
    if loss == "poisson" and (wide >= 0).all():
        rate = np.maximum(wide.mean(axis=0), 1e-12)
        return float((rate - rate * np.log(rate)).mean())
    return math.nan


def gradients_of(net: Module, x: Array, y: Array, loss: LossFunction) -> dict[Parameter, Array]:
    """The gradients of a step in training mode, made aside."""
    with modes_kept(net), np.errstate(all="ignore"):
        net.train()
        return _gradients(record(net, x, y, loss))


def _gradients(step: Recording) -> dict[Parameter, Array]:
    owned = {node: node.owner for node in step.nodes if isinstance(node.owner, Parameter) and node.tracked}
    with np.errstate(all="ignore"):
        found = walk(step.nodes, step.loss, list(owned))
    return {owned[node]: gradient.value for node, gradient in found.items()}


def squared_norm(gradients: Mapping[Parameter, Array]) -> float:
    """The sum of the squares of all gradients."""
    return sum(float(np.vdot(each, each)) for each in gradients.values())


def _innermost(recording: Recording) -> list[Layer]:
    found = []
    for call in recording.calls:
        if not any(True for _ in call.module.children()) and call.received and call.produced:
            values = call.received[0].value, call.produced[0].value
            found.append(Layer(call.path, call.module, *values))
    return found
