"""A way to train: everything that a run is made of, as a value. A remedy makes another one of it; a run changes none.

Comes in: a `Way` and the `Task` it is for. Goes out: a `Run`, with the trained network, its history and its answers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.engine import random
from chainrule.engine.state import State
from chainrule.errors import ChainruleError
from chainrule.nn.containers import Sequential
from chainrule.nn.losses import Loss
from chainrule.nn.module import Module
from chainrule.nn.normalization import Standardize
from chainrule.nn.optimizers import Optimizer
from chainrule.train.evaluation import predict
from chainrule.train.fit import fit
from chainrule.train.history import History
from chainrule.train.metrics import Metric
from chainrule.train.trainer import Callback, Trainer

Array = np.ndarray[Any, Any]
Data = tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """What stays the same in every run: the loss and the metric by which ways are compared, and how runs are made."""

    loss: Loss
    metric: Metric | None
    compile: bool
    outside: tuple[State, ...] = ()  # states that the network uses and does not own: shared by all its copies


@dataclass(frozen=True, slots=True)
class Way:
    """What a run is made of.

    Attributes
    ----------
    net
        The network as it begins; runs train copies of it.
    data, validation
        `(X, y)` or `(X, y, weights)`: the rows to learn from, and those held out.
    optimizer
        What corrects, as it begins; runs use copies.
    epochs, batch_size, patience
        As for `fit`.
    undo
        The layer that brings answers back to the unit of the targets, where the targets are learned standardised.
    numbers
        Which rows of the user's data `data` and `validation` are; None where both were given.
    """

    net: Module
    data: Data
    validation: Data
    optimizer: Optimizer
    epochs: int
    batch_size: int
    patience: int | None
    undo: Standardize | None = None
    numbers: tuple[Array, Array] | None = None

    def learned(self, part: Data) -> Data:
        """The rows of a part with the targets as the network learns them."""
        if self.undo is None:
            return part
        scaled = (part[1].astype(np.float64) - self.undo.mean.value) / self.undo.deviation.value
        return (part[0], scaled.astype(np.float32), *part[2:])

    def with_(self, **changed: Any) -> Way:
        """The same way but for these fields."""
        return replace(self, **changed)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is over.

    Attributes
    ----------
    net
        The trained network, without the layer that brings its answers back to the unit of the targets.
    whole
        The trained network as it is to be used.
    history
        What happened.
    answers
        What it answers to the validation rows; None where it failed.
    failure
        What `fit` or the network said; None where nothing was wrong.
    """

    net: Module
    whole: Module
    history: History | None
    answers: Array | None
    failure: ChainruleError | None = None

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return self.history is not None and self.history.stopped == "interrupted"


class KeepsHistory(Callback):
    """Keeps the history of a run, also of one that fails."""

    each_batch = False
    history: History | None = None

    def on_train_begin(self, trainer: Trainer) -> None:
        """Hold on to the history, which is filled as the run goes on."""
        self.history = trainer.history


def run(way: Way, task: Task, seed: int) -> Run:
    """Train a copy of the way's network; a run that breaks down is a run too."""
    net, kept, failure, answers = copied(way.net), KeepsHistory(), None, None
    whole = net if way.undo is None else Sequential(*_layers(net), way.undo)
    with _as_before(task.outside):
        try:
            fit(
                net,
                way.learned(way.data),
                loss=task.loss.function,
                optimizer=anew(way.optimizer),
                epochs=way.epochs,
                batch_size=way.batch_size,
                patience=way.patience,
                validation=way.learned(way.validation),
                seed=seed,
                callbacks=[kept],
                progress=False,
                compile=task.compile,
            )
            answers = predict(whole, way.validation[0])
        except ChainruleError as error:
            failure = error
    return Run(net, whole, kept.history, answers, failure)


def _layers(net: Module) -> Iterable[Module]:
    return net.layers if isinstance(net, Sequential) else (net,)


def copied(net: Module) -> Module:
    """A network of the same values that shares nothing with this one."""
    return copy.deepcopy(net)


def anew(optimizer: Optimizer) -> Optimizer:
    """The optimizer with the same settings, as it was before its first step."""
    fresh: Optimizer = copy.deepcopy(optimizer, {id(optimizer._slots): {}})
    fresh.step_count.assign(0)
    return fresh


@contextmanager
def _as_before(outside: Iterable[State]) -> Iterator[None]:
    """States that the copies share are afterwards what they were: every run begins with the same random numbers."""
    before = [(state, state.value) for state in (*outside, random.default().counter)]
    try:
        yield
    finally:
        for state, value in before:
            state.assign(value)
