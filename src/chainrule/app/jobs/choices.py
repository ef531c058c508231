"""What a run will do, and who decided it: every setting with its value and the reason.

Comes in: the flags, and how large the lesson is. Goes out: `Choices`, and the network, optimizer and answers they name.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.app.jobs.answers import Answers, answers_for
from chainrule.app.jobs.flags import Flags
from chainrule.app.jobs.lesson import Lesson
from chainrule.engine import random
from chainrule.nn.activations import LogSoftmax
from chainrule.nn.containers import Sequential
from chainrule.nn.dense import Dense
from chainrule.nn.dropout import Dropout
from chainrule.nn.embedding import EmbeddedColumns, Embedding
from chainrule.nn.module import Module
from chainrule.nn.optimizers import Optimizer, get_optimizer
from chainrule.nn.schedules import Schedule, get_schedule

YOU = "you"
USUAL_RATES = {"sgd": 0.05, "adagrad": 0.02, "rmsprop": 0.001, "adam": 0.002, "adamw": 0.002}
SMALL, SMALL_FACTOR = 500, 2.5  # small tables get narrow networks, which bear larger steps and need them to get there
DECAYS = {"adamw": 0.02}


@dataclass(frozen=True, slots=True)
class Choices:
    """Every setting of a run; `reasons` says for each flag who chose it: "you", or the reason."""

    hidden: tuple[int, ...]
    activation: str
    dropout: float
    answers: Answers
    optimizer: str
    learning_rate: float
    schedule: str
    batch_size: int
    epochs: int
    patience: int
    seed: int
    reasons: dict[str, str]

    def settings(self, lesson: Lesson) -> dict[str, tuple[str, str]]:
        """Every choice by the name of its flag, as text, with who made it."""
        shown = {
            "--hidden": ",".join(map(str, self.hidden)) or "none",
            "--activation": self.activation,
            "--dropout": f"{self.dropout:g}",
            "--loss": self.answers.loss,
            "--optimizer": self.optimizer,
            "--learning-rate": f"{self.learning_rate:g}",
            "--schedule": self.schedule,
            "--batch-size": str(self.batch_size),
            "--epochs": str(self.epochs),
            "--patience": str(self.patience),
            "--seed": str(self.seed),
        }
        return {flag: (value, self.reasons[flag]) for flag, value in shown.items()} | lesson.shares


def decide(flags: Flags, lesson: Lesson) -> Choices:
    """Choose what the user did not.

    Raises
    ------
    ArgumentError
        If a loss does not fit the task.
    """
    rows, features = len(lesson.training), lesson.training.X.shape[1]
    reasons: dict[str, str] = {}

    def chosen(flag: str, given: Any, make: Callable[[], tuple[Any, str]]) -> Any:
        value, reasons[flag] = (given, YOU) if given is not None else make()
        return value

    size = f"for {features:,} inputs and {rows:,} rows"
    hidden = chosen("--hidden", flags.hidden, lambda: (_widths(rows, features, lesson), size))
    optimizer = chosen("--optimizer", flags.optimizer and flags.optimizer.lower(), lambda: ("adamw", "the default"))
    batch_size = chosen("--batch-size", flags.batch_size, lambda: (_batch_size(rows), f"for {rows:,} rows"))
    batches = math.ceil(rows / batch_size)
    answers = answers_for(flags.loss, len(lesson.classes))
    reasons["--loss"] = YOU if flags.loss else f"for a {lesson.task} target"
    return Choices(
        hidden=hidden,
        activation=chosen("--activation", flags.activation, lambda: ("relu", "the default")),
        dropout=chosen("--dropout", flags.dropout, lambda: _dropout(rows, hidden)),
        answers=answers,
        optimizer=optimizer,
        learning_rate=chosen(
            "--learning-rate",
            flags.learning_rate,
            lambda: (_rate(optimizer, rows), f"for {optimizer}, {rows:,} rows"),
        ),
        schedule=chosen("--schedule", flags.schedule, lambda: ("cosine", "the default")),
        batch_size=batch_size,
        epochs=chosen("--epochs", flags.epochs, lambda: (_epochs(batches), f"for {batches:,} steps an epoch")),
        patience=chosen("--patience", flags.patience, lambda: (_patience(batches), "the default")),
        seed=chosen("--seed", flags.seed, lambda: (0, "the default")),
        reasons=reasons,
    )


def build(choices: Choices, lesson: Lesson) -> Module:
    """The network: embeddings where there are any, then hidden layers, then one output for each answer.

    Weights of inputs that are 0 in every training row, such as those of categories never seen, begin at 0: nothing can
    be learned about them, so that they shall not speak at prediction.
    """
    random.seed(choices.seed)
    layers: list[Module] = []
    width = lesson.training.X.shape[1]
    if lesson.embeddings:
        counts = [count for _, count, _ in lesson.embeddings]
        widths = [each for _, _, each in lesson.embeddings]
        layers.append(EmbeddedColumns(counts, widths))
        width += sum(widths) - len(widths)
    for units in choices.hidden:
        layers.append(Dense(width, units, activation=choices.activation))
        if choices.dropout:
            layers.append(Dropout(choices.dropout))
        width = units
    layers.append(Dense(width, choices.answers.outputs))
    if choices.answers.logarithmic:
        layers.append(LogSoftmax())
    net = Sequential(*layers)
    _silence(net, lesson)
    if choices.answers.loss == "poisson":
        _start_at_mean(layers[-1], lesson)
    return net


def optimizer_for(choices: Choices, rows: int) -> Optimizer:
    """The optimizer with its schedule over the whole run."""
    steps = math.ceil(rows / choices.batch_size) * choices.epochs
    return optimizer_named(choices.optimizer, get_schedule(choices.schedule, choices.learning_rate, total_steps=steps))


def flags_of(flags: Flags, choices: Choices) -> Flags:
    """Flags that leave no choice: those that were given, with everything that was decided."""
    return replace(
        flags,
        hidden=choices.hidden,
        activation=choices.activation,
        dropout=choices.dropout,
        loss=choices.answers.loss,
        optimizer=choices.optimizer,
        learning_rate=choices.learning_rate,
        schedule=choices.schedule,
        batch_size=choices.batch_size,
        epochs=choices.epochs,
        patience=choices.patience,
        seed=choices.seed,
    )


def optimizer_named(name: str, rate: float | Schedule) -> Optimizer:
    """An optimizer as `chainrule train` sets it up, before its first step.

    Raises
    ------
    ArgumentError
        If the name is not known, with the nearest, or the rate is none.
    """
    settings: dict[str, Any] = {"momentum": 0.9} if name == "sgd" else {}
    if name in DECAYS:
        settings["weight_decay"] = DECAYS[name]
    return get_optimizer(name, rate, clip_global_norm=5.0, **settings)


# --- Rules -------------------------------------------------------------------------------------------------------


def _widths(rows: int, features: int, lesson: Lesson) -> tuple[int, ...]:
    """Two layers, wider for more rows and more inputs, so that small tables are not learned by heart."""
    if rows < SMALL:
        return (64,) if lesson.classes else (32,)
    wide = 256 if features >= 32 or rows >= 20_000 else 128
    return (wide, wide // 2)


def _dropout(rows: int, hidden: tuple[int, ...]) -> tuple[float, str]:
    if not hidden:
        return 0.0, "without hidden layers"
    return (0.2, f"for {rows:,} rows") if rows < 20_000 else (0.0, f"not needed for {rows:,} rows")


def _batch_size(rows: int) -> int:
    """A power of two: some dozens of steps an epoch for small tables, fewer rows' noise for large ones."""
    return int(2 ** min(10, max(4, round(math.log2(rows / 40)))))


def _rate(optimizer: str, rows: int) -> float:
    return USUAL_RATES[optimizer] * (SMALL_FACTOR if rows < SMALL else 1.0)


def _epochs(batches: int) -> int:
    """Some thousands of steps in all."""
    return min(150, max(10, math.ceil(3600 / batches)))


def _patience(batches: int) -> int:
    return max(3, min(20, math.ceil(1500 / batches)))


# --- First values ------------------------------------------------------------------------------------------------


def _silence(net: Sequential, lesson: Lesson) -> None:
    X, layers = lesson.training.X, list(net)
    numbers = X.shape[1] - len(lesson.embeddings)
    if isinstance(layers[0], EmbeddedColumns):
        for place, table in enumerate(layers[0].tables, numbers):
            _silence_rows(table, np.setdiff1d(np.arange(len(table.weight.value)), X[:, place].astype(np.int64)))
    first = next(layer for layer in layers if isinstance(layer, Dense))
    _silence_rows(first, np.flatnonzero(~X[:, :numbers].any(axis=0)))


def _silence_rows(layer: Dense | Embedding, rows: np.ndarray[Any, Any]) -> None:
    if rows.size:
        weight = layer.weight.value.copy()
        weight[rows] = 0
        layer.weight.assign(weight)


def _start_at_mean(last: Module, lesson: Lesson) -> None:
    """The logarithm of the mean count as the first bias, so that the first guesses are of the right size."""
    if isinstance(last, Dense) and last.bias is not None:
        mean = float(np.average(lesson.training.y[:, 0], weights=lesson.training.weights))
        last.bias.assign(np.full(last.bias.shape, math.log(max(mean, 1e-6)), np.float32))
