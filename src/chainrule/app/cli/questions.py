"""The questions that `chainrule explain` can be asked about a step, and their answers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.app.jobs.explaining import Explained
from chainrule.errors import ArgumentError
from chainrule.look.explaining.examples import Examples
from chainrule.look.explaining.path import Tree
from chainrule.look.explaining.sensitivity import Sensitivity

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Questions:
    """What was asked: a weight as its name and its place in text; None or False where it was not."""

    path: tuple[str, str] | None
    examples: tuple[str, str] | None
    gradient_of: str | None
    sensitivity: bool


@dataclass(frozen=True, slots=True)
class Answers:
    """What was found; None for what was not asked. A gradient stands with its name."""

    path: Tree | None
    examples: Examples | None
    gradient: tuple[str, Array] | None
    sensitivity: Sensitivity | None

    @property
    def are_there(self) -> bool:
        """Whether anything was asked."""
        return any(each is not None for each in (self.path, self.examples, self.gradient, self.sensitivity))


def answered(asked: Questions, found: Explained) -> Answers:
    """The answers to what was asked.

    Raises
    ------
    ArgumentError, GradientError
        If there is no such weight or layer, or no gradient flows there.
    """
    step, name = found.step, asked.gradient_of
    return Answers(
        step.path(asked.path[0], place_in("--path", asked.path)) if asked.path else None,
        step.examples(asked.examples[0], place_in("--examples", asked.examples)) if asked.examples else None,
        (name, step.gradient_of(name)) if name is not None else None,
        step.sensitivity() if asked.sensitivity else None,
    )


def place_in(flag: str, weight: tuple[str, str]) -> tuple[int, ...]:
    """The place of an element from text such as `3,5`.

    Raises
    ------
    ArgumentError
        If it is something else.

    Examples
    --------
    >>> place_in("--path", ("0.weight", "3, 5")), place_in("--path", ("0.bias", "[2]"))
    ((3, 5), (2,))
    """
    name, text = weight
    try:
        return tuple(int(part) for part in text.strip().strip("[]()").split(",") if part.strip())
    except ValueError:
        raise ArgumentError(f'{flag} {name} must be followed by a place such as 3,5, but "{text}" is none.') from None
