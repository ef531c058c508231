"""Whether network, loss and data fit each other: found out before the first step, so that nothing has moved then.

A step that is compiled is looked at while it is traced; else the first rows go through network and loss.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from chainrule.engine import random
from chainrule.engine.context import no_grad
from chainrule.engine.tensor import Tensor, asarray
from chainrule.errors import ArgumentError, ShapeError
from chainrule.nn.losses import LOSSES, Loss
from chainrule.nn.module import Module
from chainrule.train.inputs import Rows, check_targets
from chainrule.train.steps import answers_to, as_input, measured, net_dtype


class Trial:
    """What is expected of a network's answers and of its loss on some rows.

    Raises
    ------
    ArgumentError
        If the rows have weights and the loss takes none.
    """

    def __init__(self, net: Module, loss: Loss, rows: Rows) -> None:
        if len(rows.arrays) > 2 and "weights" not in inspect.signature(loss.function).parameters:
            raise ArgumentError(
                f"the loss {loss.name} takes no weights, but the data has some: write loss(..., weights)."
            )
        self.net, self.loss, self.rows = net, loss, rows
        self.targets_are_right = False  # all of them, as far as the loss asks
        self._answered = False

    def try_out(self) -> None:
        """The first rows through network and loss, without learning."""
        dtype = net_dtype(self.net)
        x, y, *weights = self.rows.take(slice(0, 2))
        states = [*(state for _, state in self.net.named_states()), random.default().counter]
        before = [(state, state.value) for state in states]
        answers = asarray(next(answers_to(self.net, [x])))
        for state, value in before:
            state.assign(value)
        self.require_answers(answers, len(x))
        weight = as_input(np.ones(len(x)), dtype) if weights else None
        with no_grad():
            self.require_loss(measured(self.loss.function, answers, as_input(y, dtype), weight))

    def require_answers(self, answers: Any, count: int) -> None:
        """The answers to so many rows of X go with the targets of all rows.

        Raises
        ------
        ArgumentError, ShapeError, DataError
            If they are no tensor, or not one answer a row, or if the targets are none for such answers.
        """
        if self._answered:
            return
        name = type(self.net).__name__
        if not isinstance(answers, Tensor):
            raise ArgumentError(
                f"{name} must return a tensor made by chainrule, but returned a {type(answers).__name__}."
            )
        if not answers.ndim or len(answers) != count:
            raise ShapeError(
                f"{name} gives the shape {answers.shape} for {count} rows of X; it must answer row by row."
            )
        if LOSSES.get(self.loss.name) == self.loss:  # one of your own may ask for something else
            y = self.rows.arrays[1]
            self.targets_are_right = check_targets(self.loss, y, answers.shape, answers.dtype)
        self._answered = True

    def require_loss(self, error: Any) -> None:
        """A loss is one number.

        Raises
        ------
        ArgumentError, ShapeError
            If it is not.
        """
        if not isinstance(error, Tensor):
            raise ArgumentError(
                f"the loss must return a tensor made by chainrule, but returned a {type(error).__name__}."
            )
        if error.shape != ():
            raise ShapeError(
                f"the loss must be one number, but has the shape {error.shape}; reduce it with cr.mean(loss)."
            )
