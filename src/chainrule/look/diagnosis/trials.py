"""Trials: some training steps made aside, to see what a learning rate does. The network stays exactly as it was.

The steps run in a sandbox: parameters, running statistics, random counters and the optimizer's memory are written
there and forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.engine.backprop import backpropagate
from chainrule.engine.state import Parameter, State
from chainrule.look.explaining.recording import Sandbox
from chainrule.look.explaining.update import _copied
from chainrule.nn.optimizers import Optimizer
from chainrule.nn.schedules import Constant
from chainrule.train.steps import as_input, measured, modes_kept, net_dtype

if TYPE_CHECKING:
    from chainrule.look.diagnosis.case import Case

Array = np.ndarray[Any, Any]
STEPS = 16
_BATCH = 64  # rows of a step at most
_WORK = 2**31  # multiply-adds of one trial, at most


@dataclass(frozen=True, slots=True)
class Trial:
    """What some steps at one learning rate did to the loss.

    Attributes
    ----------
    rate
        The learning rate.
    before, after
        The loss of one batch, the same before and after the steps; infinite where it was no number.
    highest
        The highest loss of a step on the way.
    """

    rate: float
    before: float
    after: float
    highest: float

    @property
    def fall(self) -> float:
        """How much of the loss went away: 1 all, 0 nothing, below 0 it rose."""
        return (self.before - self.after) / abs(self.before) if self.before else 0.0


def trial(case: Case, optimizer: Optimizer, rate: float | None, *, fresh: bool = False) -> Trial | None:
    """`STEPS` steps aside at `rate`, of the network as it is or as it may have begun (`fresh`)."""
    net, dtype = case.net, net_dtype(case.net)
    rows = min(case.batch_size, _BATCH)
    size = sum(parameter.size for parameter in net.parameters())
    if rows * size * 6 * STEPS > _WORK or len(case.batch[0]) < 4:
        return None
    aside = _copied(optimizer)
    if rate is not None:
        aside.learning_rate = Constant(rate)
    x, y = (as_input(part, dtype) for part in case.batch)
    known = np.flatnonzero(case.finite)
    numbers = np.random.default_rng(1)
    losses = []
    with modes_kept(net), Sandbox(begun_anew(case) if fresh else {}).entered(), np.errstate(all="ignore"):
        net.train()
        used = aside.current_learning_rate()
        before = measured(case.loss.function, net(x), y, None).item()
        for _ in range(STEPS):
            chosen = numbers.choice(known, min(rows, len(known)), replace=False)
            some, wanted = as_input(case.X[chosen], dtype), as_input(case.y[chosen], dtype)
            loss = measured(case.loss.function, net(some), wanted, None)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                break
            aside.update(backpropagate(loss))
        after = measured(case.loss.function, net(x), y, None).item() if math.isfinite(losses[-1]) else math.inf
    return Trial(used, before, _number(after), _number(max(losses, key=_number)))


def _number(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def begun_anew(case: Case) -> Mapping[State, Array]:
    """Values with which the network may have begun, as large as the history says.

    Where it says nothing: weights by their inputs (He et al., 2015), biases 0, scales 1.
    """
    numbers = np.random.default_rng(2)
    sizes = {} if case.history is None else case.history.began
    values: dict[State, Array] = {}
    for name, parameter in case.net.named_parameters():
        values[parameter] = _first_value(name, parameter, sizes.get(name), numbers).astype(parameter.dtype)
    for name, state in case.net.named_states():
        if name.endswith("running_mean"):
            values[state] = np.zeros(state.shape, state.dtype)
        elif name.endswith("running_variance"):
            values[state] = np.ones(state.shape, state.dtype)
    return values


def _first_value(name: str, parameter: Parameter, size: float | None, numbers: np.random.Generator) -> Array:
    kind = name.rpartition(".")[2]
    if parameter.ndim >= 2:
        inputs = math.prod(parameter.shape[:-1])
        return numbers.standard_normal(parameter.shape) * (math.sqrt(2 / max(inputs, 1)) if size is None else size)
    if kind in ("bias", "weight"):
        return np.full(parameter.shape, 1.0 if kind == "weight" else 0.0)
    return parameter.value
