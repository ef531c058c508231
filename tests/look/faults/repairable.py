"""Faults that `repair` mends by itself, each beside the same task without the fault.

A task is a problem, a network and the arguments of `repair`; a fault changes one of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import chainrule as cr
from chainrule import nn
from look.faults import seeded
from look.faults.asking import Seed
from look.faults.in_networks import Hiding as Hiding
from look.faults.problems import Array, Problem, deep, plain, problem, raw


@dataclass(frozen=True)
class Task:
    """What `repair` is called with."""

    net: nn.Module
    data: tuple[Array, ...]
    loss: Any
    optimizer: Any
    epochs: int = 15
    more: dict[str, Any] = field(default_factory=dict)

    def repair(self, **more: Any) -> cr.look.Repair:
        settings = {"epochs": self.epochs, "optimizer": self.optimizer, "progress": False} | self.more | more
        return cr.look.repair(self.net, self.data, loss=self.loss, **settings)


@dataclass(frozen=True)
class Repairable:
    """One fault: the rule whose remedy mends it, and how it is put into the healthy task of a set."""

    name: str
    rules: tuple[str, ...]
    set: str
    seed: Callable[[Task, Problem], Task]

    def best(self) -> dict[str, float]:
        """The validation figures of the task without the fault."""
        return _best(self.set)

    def faulty(self) -> Task:
        """The task with the fault."""
        task = healthy(self.set)
        cr.random.seed(7)
        return self.seed(task, problem(self.set))


def healthy(name: str) -> Task:
    """The task of a set without a fault."""
    cr.random.seed(7)
    p = problem(name)
    return Task(plain(p.features, p.outputs), (p.X, p.y), p.loss, cr.optim.Adam(1e-2))


@cache
def _best(name: str) -> dict[str, float]:
    return healthy(name).repair(attempts=0, compile=False).after


def task_of(name: str, fault: str = "") -> Task:
    """The task of a set, healthy or with a fault by its name."""
    if fault == "too narrow":
        return replace(healthy(name), net=nn.Sequential(nn.Dense(4, 1, activation="relu"), nn.Dense(1, 3)))
    return next((each.faulty() for each in FAULTS if each.name == fault), healthy(name))


def asked(seed: Seed, build: Any = plain) -> Callable[[Task, Problem], Task]:
    """A fault of `seeded` as a change of a task."""

    def changed(task: Task, p: Problem) -> Task:
        found = seed(p, build)
        more = {name: found.more[name] for name in ("batch_size",) if name in found.more}
        optimizer = found.more.get("optimizer", task.optimizer)
        return replace(task, net=found.net, data=found.data, loss=found.loss, optimizer=optimizer, more=more)

    return changed


def network(make: Callable[[Problem], nn.Module]) -> Callable[[Task, Problem], Task]:
    """Another network."""
    return lambda task, p: replace(task, net=make(p))


def arguments(**changed: Any) -> Callable[[Task, Problem], Task]:
    """Other arguments."""
    return lambda task, p: replace(task, **changed)


def layered(task: Task, p: Problem, count: int, activation: str) -> Task:
    widths = [p.features, *[24] * count]
    layers = [nn.Dense(a, b, activation=activation) for a, b in itertools.pairwise(widths)]
    return replace(task, net=nn.Sequential(*layers, nn.Dense(24, p.outputs)))


def few_noisy_rows(task: Task, p: Problem) -> Task:
    X, y = p.X, p.y
    net = nn.Sequential(nn.Dense(p.features, 128, activation="relu"), nn.Dense(128, p.outputs))
    return replace(task, net=net, data=(X[:60], y[:60]), epochs=150, more={"validation": (X[60:], y[60:])})


FAULTS = (
    Repairable("raw columns", ("inputs-not-scaled",), "wine", lambda t, p: replace(t, data=raw("wine"))),
    Repairable("one huge column", ("inputs-not-scaled",), "iris", asked(seeded.one_huge_column)),
    Repairable("NaN and infinity in X", ("data-not-finite",), "wine", asked(seeded.missing_numbers)),
    Repairable("NaN in y", ("data-not-finite",), "diabetes", asked(seeded.missing_targets)),
    Repairable("classes numbered from 1", ("label-out-of-range",), "wine", asked(seeded.classes_from_one)),
    Repairable("classes as floats", ("label-wrong-kind",), "iris", asked(seeded.float_classes)),
    Repairable("one-hot integers", ("label-wrong-kind",), "iris", asked(seeded.one_hot_integers)),
    Repairable(
        "targets of thousands",
        ("targets-not-scaled",),
        "penguins-mass",
        lambda t, p: replace(t, data=(p.X, 4000 + 800 * p.y)),
    ),
    Repairable("softmax before cross entropy", ("probabilities-before-logits",), "digits", asked(seeded.softmax_twice)),
    Repairable(
        "sigmoid before binary cross entropy", ("probabilities-before-logits",), "iris", asked(seeded.sigmoid_twice)
    ),
    Repairable("too few outputs", ("output-width",), "wine", asked(seeded.too_few_outputs)),
    Repairable("one output for many classes", ("output-width",), "digits", asked(seeded.one_output)),
    Repairable(
        "relu on a regression's output",
        ("output-cannot-reach-targets",),
        "penguins-mass",
        asked(seeded.relu_at_the_end),
    ),
    Repairable(
        "tanh on a regression's output",
        ("output-cannot-reach-targets",),
        "penguins-mass",
        asked(seeded.tanh_at_the_end),
    ),
    Repairable("relu on logits", ("output-cannot-reach-targets",), "digits", asked(seeded.relu_logits)),
    Repairable("everything frozen", ("no-gradient",), "iris", asked(seeded.all_frozen)),
    Repairable("dropout on the output", ("dropout-misplaced",), "digits", asked(seeded.dropout_at_the_end)),
    Repairable("hidden layer of one unit", ("network-size",), "digits", asked(seeded.one_unit)),
    Repairable("zero weights", ("symmetric-weights",), "digits", asked(seeded.zero_weights, deep)),
    Repairable("equal weights", ("symmetric-weights",), "digits", asked(seeded.equal_weights)),
    Repairable("weights 20 times too large", ("first-weights-scale",), "digits", asked(seeded.huge_weights)),
    Repairable("weights 200 times too small", ("first-weights-scale",), "wine", asked(seeded.tiny_weights, deep)),
    Repairable(
        "many sigmoids",
        ("vanishing-gradients", "activations-shrink"),
        "digits",
        lambda t, p: layered(t, p, 6, "sigmoid"),
    ),
    Repairable("dead units", ("dead-relu",), "digits", asked(seeded.dead_units)),
    Repairable("saturated units", ("saturated-units",), "digits", asked(seeded.saturated)),
    Repairable(
        "exploding gradients",
        ("exploding-gradients", "first-weights-scale", "activations-grow"),
        "digits",
        asked(seeded.exploding),
    ),
    Repairable("rate too high", ("learning-rate-too-high",), "digits", arguments(optimizer=cr.optim.Adam(2.0))),
    Repairable("rate too low", ("learning-rate-too-low",), "digits", arguments(optimizer=cr.optim.Adam(1e-6))),
    Repairable(
        "blown up to NaN",
        ("loss-not-finite", "learning-rate-too-high"),
        "diabetes",
        arguments(optimizer=cr.optim.SGD(10.0)),
    ),
    Repairable(
        "weight decay holds everything down",
        ("weights-collapsed",),
        "digits",
        arguments(optimizer=cr.optim.Adam(1e-2, weight_decay=0.5)),
    ),
    Repairable("cut short", ("stopped-too-early",), "digits", arguments(epochs=3)),
    Repairable("learned by heart", ("overfitting",), "diabetes", few_noisy_rows),
)
