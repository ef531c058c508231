"""The update of one step, made aside: what the optimizer would do, and what it would do to the loss.

The optimizer works on a copy of itself and on states in a sandbox, so that neither it nor the network changes. The
first-order promise is the gradient times the step; what really comes is the loss computed anew with the new values.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.state import Parameter, State
from chainrule.engine.tensor import Tensor
from chainrule.look.explaining.recording import Sandbox
from chainrule.nn.optimizers import Optimizer

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Move:
    """How one parameter moves: old and new value, its gradient, and the optimizer's memory of it before and after."""

    name: str
    before: Array
    gradient: Array
    after: Array
    memory_before: dict[str, Array]
    memory_after: dict[str, Array]

    @property
    def step(self) -> Array:
        """What is added to the parameter."""
        return np.asarray(self.after - self.before)


@dataclass(frozen=True, slots=True)
class Update:
    """The update of all parameters.

    Attributes
    ----------
    optimizer
        The optimizer with its settings, as text; `assumed` if none was given.
    rule
        Its formula.
    learning_rate
        The rate of this step.
    promised
        How much lower the loss would be if it were a plane: -Σ gradient · step.
    loss_before, loss_after
        The loss with the old and the new parameters, in float64, on the same batch with the same random numbers.
    """

    optimizer: str
    assumed: bool
    rule: str
    learning_rate: float
    moves: tuple[Move, ...]
    promised: float
    loss_before: float
    loss_after: float

    @property
    def came(self) -> float:
        """How much lower the loss really is after the step."""
        return self.loss_before - self.loss_after


@dataclass(frozen=True, slots=True)
class Plan:
    """What an optimizer would do with the gradients of this moment, kept so that it can be asked for later."""

    optimizer: str
    assumed: bool
    rule: str
    rate: float
    moves: dict[Parameter, Move]
    promised: float

    @staticmethod
    def of(optimizer: Optimizer, assumed: bool, gradients: Mapping[Parameter, Array]) -> Plan:
        """The plan of `optimizer` for these gradients."""
        moves = moves_of(optimizer, gradients, {parameter: parameter.name for parameter in gradients})
        wide = ((move.gradient.astype(np.float64), move.step.astype(np.float64)) for move in moves)
        promised = -sum((float(np.vdot(gradient, step)) for gradient, step in wide), start=0.0)
        rule = (type(optimizer).__doc__ or "").strip().partition("\n")[0]
        rate = optimizer.current_learning_rate()
        return Plan(repr(optimizer), assumed, rule, rate, dict(zip(gradients, moves, strict=True)), promised)


def moves_of(optimizer: Optimizer, gradients: Mapping[Parameter, Array], names: Mapping[Parameter, str]) -> list[Move]:
    """What `optimizer.update(gradients)` would do, without doing it."""
    aside = _copied(optimizer)
    before = {parameter: parameter.value for parameter in gradients}
    with Sandbox().entered():
        memory_before = _memory(aside, names)
        aside.update({parameter: _tensor(gradient, parameter) for parameter, gradient in gradients.items()})
        memory_after = _memory(aside, names)
        after = {parameter: parameter.value for parameter in gradients}
    return [
        Move(
            names[p],
            before[p],
            gradients[p],
            after[p],
            {key: memory_before.get(p, {}).get(key, np.zeros_like(value)) for key, value in memory_after[p].items()},
            memory_after[p],
        )
        for p in gradients
    ]


def _tensor(gradient: Array, parameter: Parameter) -> Tensor:
    return Tensor(State(gradient.astype(parameter.dtype, copy=False)).node)


def _copied(optimizer: Optimizer) -> Optimizer:
    """The optimizer with containers of its own, two levels down: what it adds to them stays aside."""
    aside = copy.copy(optimizer)
    for name, value in vars(optimizer).items():
        if isinstance(value, dict):
            inner = {key: dict(each) if isinstance(each, dict) else each for key, each in value.items()}
            setattr(aside, name, inner)
        elif isinstance(value, list | set):
            setattr(aside, name, copy.copy(value))
    return aside


def _memory(optimizer: Optimizer, parameters: Mapping[Parameter, str]) -> dict[Parameter, dict[str, Array]]:
    """What the optimizer remembers of each parameter, by the names of its slots."""
    found: dict[Parameter, dict[str, Array]] = {parameter: {} for parameter in parameters}
    for parameter, own in optimizer._slots.items():
        if parameter in found:
            found[parameter] = {name: state.value for name, state in own.items()}
    return found
