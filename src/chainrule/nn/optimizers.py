"""Optimizers: how a gradient becomes a small step of each parameter.

The shared walk does the chores (schedule, clipping, weight decay, the slots that are remembered between steps); each
optimizer adds its slots and one rule for one parameter, a pure function of tensors.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from chainrule.engine.context import no_grad
from chainrule.engine.dtypes import DType, float64
from chainrule.engine.functions import clip, minimum, sqrt
from chainrule.engine.functions import sum as sum_over
from chainrule.engine.state import Parameter, State
from chainrule.engine.tensor import Tensor, asarray, cast
from chainrule.errors import ArgumentError, ShapeError
from chainrule.nn.schedules import Constant, Schedule

Array = np.ndarray[Any, Any]
Slots = dict[str, Tensor]
_NORM_GUARD = 1e-6  # added to a norm before dividing by it, as PyTorch does


class Optimizer:
    """The shared walk of all optimizers.

    Parameters
    ----------
    learning_rate
        A number, or a schedule from step count to rate.
    weight_decay
        Added to the gradient as weight_decay · parameter (L2); AdamW shrinks the parameter itself instead.
    clip_value, clip_norm, clip_global_norm
        Bounds for each element of a gradient, for the norm of each parameter's gradient, and for the norm of all
        together; applied in this order.

    Attributes
    ----------
    step_count
        How many updates were made, an int64 state.
    """

    slots: tuple[str, ...] = ()
    decoupled_decay = False

    def __init__(
        self,
        learning_rate: float | Schedule = 0.01,
        *,
        weight_decay: float = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        clip_global_norm: float | None = None,
    ) -> None:
        self.learning_rate = learning_rate if isinstance(learning_rate, Schedule) else Constant(learning_rate)
        self.weight_decay = self._within("weight_decay", weight_decay, 0.0, math.inf)
        for name, bound in (
            ("clip_value", clip_value),
            ("clip_norm", clip_norm),
            ("clip_global_norm", clip_global_norm),
        ):
            if bound is not None and not bound > 0:
                raise ArgumentError(f"{type(self).__name__}: {name} must be above 0, but is {bound}.")
        self.clip_value, self.clip_norm, self.clip_global_norm = clip_value, clip_norm, clip_global_norm
        self.step_count = State(asarray(0), name="step_count")
        self._slots: dict[Parameter, dict[str, State]] = {}

    def _within(self, name: str, value: float, low: float, high: float) -> float:
        """`value` if it is a number from `low` below `high`."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < high:
            bounds = f"from {low:g}" if math.isinf(high) else f"from {low:g} below {high:g}"
            raise ArgumentError(f"{type(self).__name__}: {name} must be a number {bounds}, but is {value!r}.")
        return float(value)

    def rule(
        self, parameter: Tensor, gradient: Tensor, slots: Slots, rate: Tensor, count: Tensor
    ) -> tuple[Tensor, Slots]:
        """The new value of one parameter and of its slots; `count` is the number of this update, from 1."""
        raise ArgumentError(f"{type(self).__name__} has no rule: write its rule(self, ...).")

    def update(self, gradients: Mapping[Parameter, Tensor]) -> None:
        """Move every parameter in `gradients` one step.

        Raises
        ------
        ArgumentError
            If `gradients` is not a mapping from parameters, as `backpropagate` returns it.
        ShapeError
            If a gradient has another shape than its parameter.
        """
        if not isinstance(gradients, Mapping):
            raise ArgumentError("update expects the mapping that backpropagate(loss) returns.")
        for parameter, gradient in gradients.items():
            if not isinstance(parameter, Parameter):
                raise ArgumentError(f"update: a key is a {type(parameter).__name__}, not a Parameter.")
            if gradient.shape != parameter.shape:
                raise ShapeError(f'the gradient of "{parameter.name}" is {gradient.shape}, not {parameter.shape}.')
        with no_grad():
            rate = self.learning_rate(self.step_count)
            self.step_count.assign(self.step_count + 1)
            count = cast(self.step_count, float64)
            for parameter, gradient in self._clipped(gradients).items():
                own = self._slots_of(parameter)
                own_rate, before = cast(rate, parameter.dtype), parameter + 0.0
                if self.weight_decay and self.decoupled_decay:
                    before = before * (1 - own_rate * self.weight_decay)
                elif self.weight_decay:
                    gradient = gradient + self.weight_decay * before
                after, slots = self.rule(before, gradient, dict(own), own_rate, count)
                parameter.assign(after)
                for name, value in slots.items():
                    own[name].assign(value)

    def _slots_of(self, parameter: Parameter) -> dict[str, State]:
        if parameter not in self._slots:
            zeros = np.zeros(parameter.shape, parameter.dtype)
            self._slots[parameter] = {name: State(zeros, f"{parameter.name}.{name}") for name in self.slots}
        return self._slots[parameter]

    def _clipped(self, gradients: Mapping[Parameter, Tensor]) -> dict[Parameter, Tensor]:
        found = dict(gradients.items())
        if self.clip_value is not None:
            found = {p: clip(g, -self.clip_value, self.clip_value) for p, g in found.items()}
        if self.clip_norm is not None:
            found = {p: g * _shrink(sqrt(sum_over(g * g)), self.clip_norm) for p, g in found.items()}
        if self.clip_global_norm is not None and found:
            squares = [cast(sum_over(g * g), float64) for g in found.values()]
            factor = _shrink(sqrt(sum(squares[1:], start=squares[0])), self.clip_global_norm)
            found = {p: g * cast(factor, g.dtype) for p, g in found.items()}
        return found

    def current_learning_rate(self) -> float:
        """The rate of the next update."""
        with no_grad():
            return float(self.learning_rate(self.step_count))

    def _schedule_states(self) -> dict[str, State]:
        return {f"schedule.{name}": state for name, state in self.learning_rate.named_states()}

    def arrays(self) -> dict[str, Array]:
        """All that must be kept to go on exactly: the step count, the slots by parameter name, the schedule's state."""
        states = {"step_count": self.step_count} | self._schedule_states()
        for parameter, own in self._slots.items():
            states |= {f"{parameter.name}.{name}": state for name, state in own.items()}
        return {name: state.value for name, state in states.items()}

    def load_arrays(self, arrays: Mapping[str, Array], parameters: Iterable[Parameter]) -> None:
        """Take back what `arrays` gave, for parameters of the same names.

        Raises
        ------
        ArgumentError
            If a name is missing or unknown.
        """
        states = {"step_count": self.step_count} | self._schedule_states()
        for parameter in parameters:
            if any(f"{parameter.name}.{name}" in arrays for name in self.slots):
                states |= {f"{parameter.name}.{name}": s for name, s in self._slots_of(parameter).items()}
        wrong = sorted(states.keys() ^ arrays.keys())
        if wrong:
            raise ArgumentError(
                f"{type(self).__name__}: the saved state does not fit; these differ: {', '.join(wrong)}."
            )
        for name, state in states.items():
            state.assign(np.asarray(arrays[name], state.dtype))

    def settings(self) -> dict[str, Any]:
        """Name and settings, for reports."""
        hidden = ("step_count", "learning_rate")
        plain = {k: v for k, v in vars(self).items() if k not in hidden and not k.startswith("_") and v is not None}
        return {"name": type(self).__name__, "learning_rate": repr(self.learning_rate), **plain}

    def __repr__(self) -> str:
        settings = self.settings()
        return f"{settings.pop('name')}({', '.join(f'{name}={value}' for name, value in settings.items())})"


def _shrink(norm: Tensor, bound: float) -> Tensor:
    return minimum(bound / (norm + _NORM_GUARD), 1.0)


def _correction(decay: float, count: Tensor, dtype: DType) -> Tensor:
    """1 - decay^count: what a mean that began at 0 has gathered so far."""
    return cast(1 - asarray(decay, dtype=float64) ** count, dtype)


class SGD(Optimizer):
    """Gradient descent: v ← momentum · v + g; w ← w - rate · v (nesterov: w - rate · (g + momentum · v)).

    Parameters
    ----------
    learning_rate, **bounds
        As for every `Optimizer`.
    momentum
        From 0 below 1 (Polyak, 1964).
    nesterov
        Look ahead along the momentum (Nesterov, 1983).
    """

    def __init__(
        self, learning_rate: float | Schedule = 0.01, momentum: float = 0.0, nesterov: bool = False, **bounds: Any
    ) -> None:
        super().__init__(learning_rate, **bounds)
        self.momentum = self._within("momentum", momentum, 0.0, 1.0)
        if nesterov and not momentum:
            raise ArgumentError("SGD: nesterov needs a momentum above 0.")
        self.nesterov = nesterov
        self.slots = ("velocity",) if momentum else ()

    def rule(
        self, parameter: Tensor, gradient: Tensor, slots: Slots, rate: Tensor, count: Tensor
    ) -> tuple[Tensor, Slots]:
        """One step down the slope."""
        if not self.momentum:
            return parameter - rate * gradient, {}
        v = self.momentum * slots["velocity"] + gradient
        step = gradient + self.momentum * v if self.nesterov else v
        return parameter - rate * step, {"velocity": v}


class Adagrad(Optimizer):
    """s ← s + g²; w ← w - rate · g / (√s + epsilon) (Duchi, Hazan and Singer, 2011)."""

    slots = ("square_sum",)

    def __init__(self, learning_rate: float | Schedule = 0.01, epsilon: float = 1e-10, **bounds: Any) -> None:
        super().__init__(learning_rate, **bounds)
        self.epsilon = self._within("epsilon", epsilon, 0.0, math.inf)

    def rule(
        self, parameter: Tensor, gradient: Tensor, slots: Slots, rate: Tensor, count: Tensor
    ) -> tuple[Tensor, Slots]:
        """One step, shorter where gradients have been large."""
        s = slots["square_sum"] + gradient * gradient
        return parameter - rate * (gradient / (sqrt(s) + self.epsilon)), {"square_sum": s}


class RMSprop(Optimizer):
    """s ← decay · s + (1 - decay) · g²; w ← w - rate · g / (√s + epsilon) (Tieleman and Hinton, 2012).

    `centered` takes the square of the mean gradient from s (Graves, 2013); `momentum` accumulates the steps.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.01,
        decay: float = 0.99,
        epsilon: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        **bounds: Any,
    ) -> None:
        super().__init__(learning_rate, **bounds)
        self.decay = self._within("decay", decay, 0.0, 1.0)
        self.epsilon = self._within("epsilon", epsilon, 0.0, math.inf)
        self.momentum = self._within("momentum", momentum, 0.0, 1.0)
        self.centered = centered
        self.slots = ("square", *(["mean"] if centered else []), *(["velocity"] if momentum else []))

    def rule(
        self, parameter: Tensor, gradient: Tensor, slots: Slots, rate: Tensor, count: Tensor
    ) -> tuple[Tensor, Slots]:
        """One step, in units of the gradient's recent size."""
        g, after = gradient, {}
        after["square"] = s = self.decay * slots["square"] + (1 - self.decay) * (g * g)
        if self.centered:
            after["mean"] = mean = self.decay * slots["mean"] + (1 - self.decay) * g
            s = s - mean * mean
        step = g / (sqrt(s) + self.epsilon)
        if self.momentum:
            after["velocity"] = step = self.momentum * slots["velocity"] + step
        return parameter - rate * step, after


class Adam(Optimizer):
    """m ← β₁·m + (1-β₁)·g; v ← β₂·v + (1-β₂)·g²; w ← w - rate · m̂ / (√v̂ + epsilon) (Kingma and Ba, 2014).

    m̂ = m / (1 - β₁ᵗ) and v̂ = v / (1 - β₂ᵗ) make up for both means having begun at 0.
    """

    slots = ("m", "v")

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        **bounds: Any,
    ) -> None:
        super().__init__(learning_rate, **bounds)
        self.beta1 = self._within("beta1", beta1, 0.0, 1.0)
        self.beta2 = self._within("beta2", beta2, 0.0, 1.0)
        self.epsilon = self._within("epsilon", epsilon, 0.0, math.inf)

    def rule(
        self, parameter: Tensor, gradient: Tensor, slots: Slots, rate: Tensor, count: Tensor
    ) -> tuple[Tensor, Slots]:
        """One step along the mean gradient, in units of its recent size."""
        m = self.beta1 * slots["m"] + (1 - self.beta1) * gradient
        v = self.beta2 * slots["v"] + (1 - self.beta2) * (gradient * gradient)
        own_rate = rate / _correction(self.beta1, count, m.dtype)
        size = sqrt(v) / sqrt(_correction(self.beta2, count, v.dtype)) + self.epsilon
        return parameter - own_rate * (m / size), {"m": m, "v": v}


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter by rate · weight_decay itself (Loshchilov and Hutter, 2017)."""

    decoupled_decay = True

    def __init__(self, learning_rate: float | Schedule = 1e-3, weight_decay: float = 0.01, **settings: Any) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, **settings)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}


def get_optimizer(name: str, learning_rate: float | Schedule | None = None, **settings: Any) -> Optimizer:
    """The optimizer of that name, with its own default rate unless one is given.

    Raises
    ------
    ArgumentError
        For an unknown name, with the nearest.
    """
    key = name.lower()
    if key not in OPTIMIZERS:
        near = difflib.get_close_matches(key, OPTIMIZERS, 1)
        hint = f'; did you mean "{near[0]}"?' if near else "."
        raise ArgumentError(f'there is no optimizer "{name}"{hint} Known: {", ".join(OPTIMIZERS)}.')
    return OPTIMIZERS[key](**settings) if learning_rate is None else OPTIMIZERS[key](learning_rate, **settings)
