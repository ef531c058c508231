"""What the user asked for, checked as far as it can be without looking at the data.

Comes in: the values of the flags. Goes out: a frozen `Flags`; None means that the run decides.
"""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass

from chainrule.errors import ArgumentError
from chainrule.nn.activations import ACTIVATIONS
from chainrule.nn.losses import get_loss
from chainrule.nn.optimizers import get_optimizer
from chainrule.nn.schedules import get_schedule

TASKS = ("classification", "binary", "multiclass", "regression")
MOST_UNITS = 65_536
MOST_LAYERS = 64


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of `chainrule train`; None, or nothing, where the user left the choice to the run."""

    data: str
    target: str | None = None
    task: str | None = None
    hidden: tuple[int, ...] | None = None
    activation: str | None = None
    dropout: float | None = None
    loss: str | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    schedule: str | None = None
    batch_size: int | None = None
    epochs: int | None = None
    patience: int | None = None
    validation: float | None = None
    test: float | None = None
    seed: int | None = None
    ignore: tuple[str, ...] = ()
    weights: str | None = None
    output: str | None = None


def check(flags: Flags) -> None:
    """Refuse what no data could make right.

    Raises
    ------
    ArgumentError
        For a value out of its range or a name that is not known, with the flag, the range and the nearest name.

    Examples
    --------
    >>> check(Flags("data.csv", epochs=-3))
    Traceback (most recent call last):
        ...
    chainrule.errors.ArgumentError: --epochs must be a whole number from 1, but is -3.
    """
    if flags.task is not None:
        _named("--task", flags.task, TASKS)
    if flags.activation is not None:
        _named("--activation", flags.activation, ACTIVATIONS)
    if flags.loss is not None:
        get_loss(flags.loss)
    if flags.optimizer is not None:
        get_optimizer(flags.optimizer)
    if flags.schedule is not None:
        get_schedule(flags.schedule, 1.0, total_steps=100)
    for name, value in (("--epochs", flags.epochs), ("--batch-size", flags.batch_size), ("--patience", flags.patience)):
        if value is not None and value < 1:
            raise ArgumentError(f"{name} must be a whole number from 1, but is {value}.")
    if flags.seed is not None and not 0 <= flags.seed < 2**63:
        raise ArgumentError(f"--seed must be a whole number from 0 below 2**63, but is {flags.seed}.")
    if flags.learning_rate is not None and not (math.isfinite(flags.learning_rate) and flags.learning_rate > 0):
        raise ArgumentError(f"--learning-rate must be a number above 0, such as 0.001, but is {flags.learning_rate:g}.")
    if flags.dropout is not None and not 0 <= flags.dropout < 1:
        raise ArgumentError(f"--dropout must be a share from 0 to below 1, but is {flags.dropout:g}.")
    for name, share in (("--validation", flags.validation), ("--test", flags.test)):
        if share is not None and not 0 < share < 1:
            raise ArgumentError(f"{name} must be a share of the rows above 0 and below 1, but is {share:g}.")
    if flags.hidden is not None:
        _check_widths(flags.hidden)


def read_widths(text: str) -> tuple[int, ...]:
    """The widths of the hidden layers from text such as "128,64"; "none" for a network without hidden layers.

    Raises
    ------
    ArgumentError
        If it is something else.

    Examples
    --------
    >>> read_widths("128, 64"), read_widths("none")
    ((128, 64), ())
    """
    if text.strip().lower() in ("none", "0", ""):
        return ()
    try:
        return tuple(int(part) for part in text.replace("x", ",").replace(" ", ",").split(",") if part)
    except ValueError:
        raise ArgumentError(f'--hidden must be widths such as 128,64 or "none", but is "{text}".') from None


def nearest(name: str, known: Iterable[str]) -> str:
    """A question that offers the nearest known name, or nothing where none is near.

    Examples
    --------
    >>> nearest("reul", ["relu", "tanh"])
    '; did you mean "relu"?'
    """
    near = difflib.get_close_matches(str(name), list(known), 1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _named(flag: str, value: str, known: Iterable[str]) -> None:
    names = list(known)
    if value not in names:
        hint = nearest(value, names) or "."
        raise ArgumentError(f'{flag} does not know "{value}"{hint} Known: {", ".join(names)}.')


def _check_widths(widths: tuple[int, ...]) -> None:
    if len(widths) > MOST_LAYERS:
        raise ArgumentError(f"--hidden has {len(widths)} layers, more than the {MOST_LAYERS} that a network may have.")
    wrong = [width for width in widths if not 1 <= width <= MOST_UNITS]
    if wrong:
        raise ArgumentError(f"--hidden must have widths from 1 to {MOST_UNITS:,}, but one is {wrong[0]:,}.")
