"""Optimizers: how a gradient becomes a small step of each parameter.

The shared walk does the chores (schedule, clipping, weight decay, the slots that are remembered between steps); each
optimizer adds its slots, the numbers that depend on the step alone, and one rule for one parameter: pure functions of
tensors.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from chainrule.engine.context import no_grad
from chainrule.engine.dtypes import float64
from chainrule.engine.functions import clip, maximum, minimum, sqrt
from chainrule.engine.functions import sum as sum_over
from chainrule.engine.state import Parameter, State
from chainrule.engine.tensor import Tensor, asarray, cast
from chainrule.errors import ArgumentError, DTypeError, ShapeError
from chainrule.nn.arguments import fraction, positive, switch
from chainrule.nn.schedules import Constant, Schedule, not_negative

Array = np.ndarray[Any, Any]
Slots = dict[str, Tensor]
Scalars = dict[str, Tensor]
_NORM_GUARD = 1e-6  # added to a norm before dividing by it, as PyTorch does


class Optimizer:
    """The shared walk of all optimizers.

    An optimizer of your own names its `slots`, writes `rule`, and keeps its arguments as attributes of the same names.

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

    Examples
    --------
    >>> class Signs(Optimizer):
    ...     def rule(self, parameter, gradient, slots, now):
    ...         return parameter - now["rate"] * (gradient / maximum(abs(gradient), 1e-12)), {}
    >>> weight = Parameter([1.0, -2.0])
    >>> Signs(0.5).update({weight: asarray([3.0, -0.1])})
    >>> weight.tolist()
    [0.5, -1.5]
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
        is_schedule = isinstance(learning_rate, Schedule)
        rate = learning_rate if is_schedule else self._checked(not_negative, "learning_rate", learning_rate)
        self.learning_rate = rate if isinstance(rate, Schedule) else Constant(rate)
        self.weight_decay = self._checked(not_negative, "weight_decay", weight_decay)
        self.clip_value = None if clip_value is None else self._checked(positive, "clip_value", clip_value)
        self.clip_norm = None if clip_norm is None else self._checked(positive, "clip_norm", clip_norm)
        self.clip_global_norm = (
            None if clip_global_norm is None else self._checked(positive, "clip_global_norm", clip_global_norm)
        )
        self.step_count = State(0, name="step_count")
        self._slots: dict[Parameter, dict[str, State]] = {}

    def _checked(self, check: Callable[[Any, str], float], name: str, value: Any) -> float:
        return check(value, f"{type(self).__name__}: {name}")

    # What an optimizer is
    def scalars(self, rate: Tensor, count: Tensor) -> Scalars:
        """The numbers of this step that are the same for all parameters, computed once, in float64.

        `rate` is the learning rate and `count` the number of this update, from 1.
        """
        return {"rate": rate}

    def rule(self, parameter: Tensor, gradient: Tensor, slots: Slots, now: Scalars) -> tuple[Tensor, Slots]:
        """The new value of one parameter and of its slots; `now` has the `scalars` in the parameter's data type."""
        raise ArgumentError(
            f"{type(self).__name__} has no rule: write its rule(self, parameter, gradient, slots, now)."
        )

    # The walk
    def update(self, gradients: Mapping[Parameter, Tensor]) -> None:
        """Move every parameter in `gradients` one step; those that are frozen stay.

        A gradient that is infinite or NaN moves its parameter to NaN, and with `clip_global_norm` every parameter: it
        shows at once. `fit` finds it before the update.

        Raises
        ------
        ArgumentError
            If `gradients` is not a mapping from parameters, as `backpropagate` returns it.
        ShapeError, DTypeError
            If a gradient has another shape or data type than its parameter. Nothing has moved then.
        """
        with no_grad():
            found = self._clipped(_fitting(gradients))
            done = cast(self.step_count, float64)
            rate = self.learning_rate(done)
            self.step_count.assign(self.step_count + 1)
            scalars = self.scalars(rate, done + 1.0)
            if self.weight_decay and self.decoupled_decay:
                scalars["kept"] = 1.0 - rate * self.weight_decay
            by_dtype = {
                dtype: {name: cast(value, dtype) for name, value in scalars.items()}
                for dtype in dict.fromkeys(parameter.dtype for parameter in found)
            }
            for parameter, gradient in found.items():
                self._move(parameter, gradient, by_dtype[parameter.dtype])

    def _move(self, parameter: Parameter, gradient: Tensor, now: Scalars) -> None:
        own, before = self._slots_of(parameter), Tensor(parameter.node)
        if "kept" in now:
            before = before * now["kept"]
        elif self.weight_decay:
            gradient = gradient + self.weight_decay * before
        after, slots = self.rule(before, gradient, {name: Tensor(state.node) for name, state in own.items()}, now)
        parameter.assign(after)
        for name, value in slots.items():
            own[name].assign(value)

    def _slots_of(self, parameter: Parameter) -> dict[str, State]:
        if parameter not in self._slots:
            self._slots[parameter] = self._fresh_slots(parameter)
        return self._slots[parameter]

    def _fresh_slots(self, parameter: Parameter) -> dict[str, State]:
        zeros = np.zeros(parameter.shape, parameter.dtype)
        zeros.flags.writeable = False  # so that all slots share it: fresh memory costs more than what is written to it
        return {name: State(zeros, f"{parameter.name}.{name}") for name in self.slots}

    def _clipped(self, found: dict[Parameter, Tensor]) -> dict[Parameter, Tensor]:
        if self.clip_value is not None:
            found = {p: clip(g, -self.clip_value, self.clip_value) for p, g in found.items()}
        if self.clip_norm is not None:
            found = {p: g * cast(_shrink([g], self.clip_norm), g.dtype) for p, g in found.items()}
        if self.clip_global_norm is not None and found:
            factor = _shrink(list(found.values()), self.clip_global_norm)
            found = {p: g * cast(factor, g.dtype) for p, g in found.items()}
        return found

    def current_learning_rate(self) -> float:
        """The rate of the next update."""
        return float(self.learning_rate(self.step_count))

    # Saving
    def arrays(self) -> dict[str, Array]:
        """All that must be kept to go on exactly: the step count, the slots by parameter name, the schedule's state.

        Raises
        ------
        ArgumentError
            If two parameters with slots have the same name.
        """
        return {name: state.value for name, state in self._named_states(self._slots).items()}

    def load_arrays(self, arrays: Mapping[str, Any], parameters: Iterable[Parameter]) -> None:
        """Take back what `arrays` gave, for parameters of the same names; slots that were not saved begin anew.

        Raises
        ------
        ArgumentError
            If a name is missing or unknown, or two parameters have the same name. Nothing is set then.
        ShapeError, DTypeError
            If an array does not fit. Nothing is set then.
        """
        slots = {p: self._slots[p] if p in self._slots else self._fresh_slots(p) for p in parameters}
        saved = {p: own for p, own in slots.items() if any(f"{p.name}.{name}" in arrays for name in own)}
        states = self._named_states(saved)
        wrong = sorted(states.keys() ^ arrays.keys())
        if wrong:
            raise ArgumentError(
                f"{type(self).__name__}: the saved state does not fit; these differ: {', '.join(wrong)}."
            )
        for name, state in states.items():
            array = np.asarray(arrays[name])
            if array.shape != state.shape:
                raise ShapeError(f'"{name}" has the shape {state.shape}, but the saved array {array.shape}.')
            if not np.can_cast(array.dtype, state.dtype, "same_kind"):
                raise DTypeError(f'"{name}" is {state.dtype.name} and cannot take an array of {array.dtype.name}.')
        self._slots = {p: own for p, own in slots.items() if p in saved or p in self._slots}
        for own in self._slots.values():
            for state in own.values():
                state.assign(np.zeros(state.shape, state.dtype))
        for name, state in states.items():
            state.assign(np.asarray(arrays[name], state.dtype))

    def _named_states(self, slots: Mapping[Parameter, Mapping[str, State]]) -> dict[str, State]:
        states = {"step_count": self.step_count}
        states |= {f"schedule.{name}": state for name, state in self.learning_rate.named_states()}
        for parameter, own in slots.items():
            for name, state in own.items():
                if f"{parameter.name}.{name}" in states:
                    raise ArgumentError(
                        f'{type(self).__name__}: two parameters are named "{parameter.name}", so that what was saved '
                        "could not be told apart. net.parameters() names those of a network; otherwise name each: "
                        'cr.Parameter(value, name="...").'
                    )
                states[f"{parameter.name}.{name}"] = state
        return states

    # Reports
    def settings(self) -> dict[str, Any]:
        """The arguments that it was made with, by name; a constant learning rate as a number."""
        rate = self.learning_rate
        known = vars(self) | {"learning_rate": rate.learning_rate if isinstance(rate, Constant) else rate}
        return {name: known[name] for name in _arguments(type(self)) if name in known}

    def describe(self) -> dict[str, Any]:
        """Name and settings, ready for JSON."""
        return {"name": type(self).__name__.lower()} | {
            name: value.describe() if isinstance(value, Schedule) else value for name, value in self.settings().items()
        }

    def __repr__(self) -> str:
        usual = _arguments(type(self)) | {"learning_rate": None}
        shown = [f"{name}={value!r}" for name, value in self.settings().items() if value != usual[name]]
        return f"{type(self).__name__}({', '.join(shown)})"


def _fitting(gradients: Mapping[Parameter, Tensor]) -> dict[Parameter, Tensor]:
    """The gradients of the parameters that are to move, each checked."""
    if not isinstance(gradients, Mapping):
        raise ArgumentError(
            f"update expects the mapping that backpropagate(loss) returns, not a {type(gradients).__name__}."
        )
    found = {}
    for parameter, given in gradients.items():
        if not isinstance(parameter, Parameter):
            raise ArgumentError(f"update: a key is a {type(parameter).__name__}, not a Parameter.")
        gradient = asarray(given)
        if gradient.shape != parameter.shape:
            raise ShapeError(f'the gradient of "{parameter.name}" is {gradient.shape}, not {parameter.shape}.')
        if gradient.dtype != parameter.dtype:
            raise DTypeError(
                f'the gradient of "{parameter.name}" is {gradient.dtype.name}, not {parameter.dtype.name}; use astype.'
            )
        if parameter.trainable:
            found[parameter] = gradient
    return found


def _shrink(gradients: list[Tensor], bound: float) -> Tensor:
    """The factor that brings the norm of all to `bound`; in float64, where squares of float32 cannot overflow."""
    wide = [cast(gradient, float64) for gradient in gradients]
    squares = [sum_over(each * each) for each in wide]
    norm = sqrt(sum(squares[1:], start=squares[0]))
    return minimum(bound / (norm + _NORM_GUARD), 1.0)


def _arguments(kind: type[Optimizer]) -> dict[str, Any]:
    """The names and defaults of all that an optimizer can be made with, its own before those of all."""
    found: dict[str, Any] = {}
    for each in kind.__mro__[:-1]:
        if "__init__" in vars(each):
            for name, parameter in list(inspect.signature(vars(each)["__init__"]).parameters.items())[1:]:
                if parameter.kind is not parameter.VAR_KEYWORD:
                    found.setdefault(name, parameter.default)
    return found


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
        self.momentum = self._checked(fraction, "momentum", momentum)
        self.nesterov = switch(nesterov, f"{type(self).__name__}: nesterov")
        if nesterov and not momentum:
            raise ArgumentError("SGD: nesterov needs a momentum above 0, such as 0.9.")
        self.slots = ("velocity",) if momentum else ()

    def rule(self, parameter: Tensor, gradient: Tensor, slots: Slots, now: Scalars) -> tuple[Tensor, Slots]:
        """One step down the slope."""
        if not self.momentum:
            return parameter - now["rate"] * gradient, {}
        v = self.momentum * slots["velocity"] + gradient
        step = gradient + self.momentum * v if self.nesterov else v
        return parameter - now["rate"] * step, {"velocity": v}


class Adagrad(Optimizer):
    """s ← s + g²; w ← w - rate · g / (√s + epsilon) (Duchi, Hazan and Singer, 2011)."""

    slots = ("square_sum",)

    def __init__(self, learning_rate: float | Schedule = 0.01, epsilon: float = 1e-10, **bounds: Any) -> None:
        super().__init__(learning_rate, **bounds)
        self.epsilon = self._checked(not_negative, "epsilon", epsilon)

    def rule(self, parameter: Tensor, gradient: Tensor, slots: Slots, now: Scalars) -> tuple[Tensor, Slots]:
        """One step, shorter where gradients have been large."""
        s = slots["square_sum"] + gradient * gradient
        return parameter - now["rate"] * (gradient / (sqrt(s) + self.epsilon)), {"square_sum": s}


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
        self.decay = self._checked(fraction, "decay", decay)
        self.epsilon = self._checked(not_negative, "epsilon", epsilon)
        self.momentum = self._checked(fraction, "momentum", momentum)
        self.centered = switch(centered, f"{type(self).__name__}: centered")
        self.slots = ("square", *(["mean"] if centered else []), *(["velocity"] if momentum else []))

    def rule(self, parameter: Tensor, gradient: Tensor, slots: Slots, now: Scalars) -> tuple[Tensor, Slots]:
        """One step, in units of the gradient's recent size."""
        g, after = gradient, {}
        after["square"] = s = self.decay * slots["square"] + (1 - self.decay) * (g * g)
        if self.centered:
            after["mean"] = mean = self.decay * slots["mean"] + (1 - self.decay) * g
            s = maximum(s - mean * mean, 0.0)  # a variance, but rounding may leave it below 0
        step = g / (sqrt(s) + self.epsilon)
        if self.momentum:
            after["velocity"] = step = self.momentum * slots["velocity"] + step
        return parameter - now["rate"] * step, after


class Adam(Optimizer):
    """m ← β₁·m + (1-β₁)·g; v ← β₂·v + (1-β₂)·g²; w ← w - rate · m̂ / (√v̂ + epsilon) (Kingma and Ba, 2014).

    m̂ = m / (1 - β₁ᵗ) and v̂ = v / (1 - β₂ᵗ) make up for both means having begun at 0. With c = √(1 - β₂ᵗ) the step is
    rate · c / (1 - β₁ᵗ) · m / (√v + c · epsilon), so that the corrections are two numbers a step.
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
        self.beta1 = self._checked(fraction, "beta1", beta1)
        self.beta2 = self._checked(fraction, "beta2", beta2)
        self.epsilon = self._checked(not_negative, "epsilon", epsilon)

    def scalars(self, rate: Tensor, count: Tensor) -> Scalars:
        """The rate and epsilon with the corrections of both means in them."""
        c = sqrt(1.0 - self.beta2**count)
        return {"rate": rate * c / (1.0 - self.beta1**count), "epsilon": c * self.epsilon}

    def rule(self, parameter: Tensor, gradient: Tensor, slots: Slots, now: Scalars) -> tuple[Tensor, Slots]:
        """One step along the mean gradient, in units of its recent size."""
        m = self.beta1 * slots["m"] + (1 - self.beta1) * gradient
        v = self.beta2 * slots["v"] + (1 - self.beta2) * (gradient * gradient)
        return parameter - now["rate"] * (m / (sqrt(v) + now["epsilon"])), {"m": m, "v": v}


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter by rate · weight_decay itself (Loshchilov and Hutter, 2017)."""

    decoupled_decay = True

    def __init__(self, learning_rate: float | Schedule = 1e-3, weight_decay: float = 0.01, **settings: Any) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, **settings)


OPTIMIZERS: dict[str, type[Optimizer]] = {
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
        For an unknown name, with the nearest, or an unknown setting.

    Examples
    --------
    >>> get_optimizer("sgd", 0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9)
    """
    key = str(name).lower()
    if key not in OPTIMIZERS:
        near = difflib.get_close_matches(key, OPTIMIZERS, 1)
        hint = f'; did you mean "{near[0]}"?' if near else "."
        raise ArgumentError(f'there is no optimizer "{name}"{hint} Known: {", ".join(OPTIMIZERS)}.')
    make = OPTIMIZERS[key]
    known = _arguments(make)
    unknown = [setting for setting in settings if setting not in known]
    if unknown:
        raise ArgumentError(f'the optimizer "{key}" has no "{unknown[0]}"; it has {", ".join(known)}.')
    return make(**settings) if learning_rate is None else make(learning_rate, **settings)
