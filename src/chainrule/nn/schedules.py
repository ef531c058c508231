"""Schedules: how the learning rate moves with the number of steps done.

Each is a declaration that an optimizer calls with its step count, a number or a tensor, counted from 0; out comes the
rate as a float64 tensor made of ops, so that it compiles. `SCHEDULES` names them all.
"""

import difflib
import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from chainrule.engine.context import no_grad
from chainrule.engine.dtypes import float64
from chainrule.engine.functions import cos, floor, minimum, where
from chainrule.engine.state import State
from chainrule.engine.tensor import Tensor, asarray, cast, constant
from chainrule.errors import ArgumentError
from chainrule.nn.arguments import fraction, number, positive, whole


class Schedule:
    """What all schedules have: a call from step count to rate, and a description of their settings.

    A schedule of your own keeps its arguments as attributes of the same names and writes `rate`.

    Examples
    --------
    >>> class Halved(Schedule):
    ...     name = "halved"
    ...
    ...     def __init__(self, learning_rate: float) -> None:
    ...         self.learning_rate = learning_rate
    ...
    ...     def rate(self, t: Tensor) -> Tensor:
    ...         return self.learning_rate / (1 + t)
    >>> Halved(1.0)(3).item(), Halved(1.0)
    (0.25, Halved(learning_rate=1.0))
    """

    name: ClassVar[str] = ""

    def __call__(self, step: int | Tensor) -> Tensor:
        """The learning rate for the update after `step` updates, as a float64 scalar."""
        with no_grad():
            return self.rate(cast(asarray(step), float64))

    def rate(self, t: Tensor) -> Tensor:
        """The formula, for the step count `t` in float64."""
        raise ArgumentError(f"{type(self).__name__} has no formula: write its rate(self, t).")

    def named_states(self) -> list[tuple[str, State]]:
        """What the schedule remembers, by name: nothing, but for `Plateau`."""
        return []

    def settings(self) -> dict[str, Any]:
        """The arguments that it was made with, by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def describe(self) -> dict[str, Any]:
        """Name and settings, ready for JSON."""
        return {"name": self.name} | {
            name: value.describe() if isinstance(value, Schedule) else value for name, value in self.settings().items()
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.settings().items())})"


def not_negative(value: Any, what: str) -> float:
    """A finite number from 0."""
    if number(value, what) < 0:
        raise ArgumentError(f"{what} must not be below 0, but is {value!r}.")
    return float(value)


class Constant(Schedule):
    """rate(t) = learning_rate.

    >>> Constant(0.1)(1000).item()
    0.1
    """

    name = "constant"

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = not_negative(learning_rate, "Constant: learning_rate")

    def rate(self, t: Tensor) -> Tensor:
        return constant(self.learning_rate, float64)


class Step(Schedule):
    """rate(t) = learning_rate · factor^⌊t / every⌋: a stair.

    >>> [Step(1.0, every=10, factor=0.5)(t).item() for t in (0, 9, 10, 20)]
    [1.0, 1.0, 0.5, 0.25]
    """

    name = "step"

    def __init__(self, learning_rate: float, every: int, factor: float = 0.1) -> None:
        self.learning_rate = not_negative(learning_rate, "Step: learning_rate")
        self.every = whole(every, "Step: every")
        self.factor = positive(factor, "Step: factor")

    def rate(self, t: Tensor) -> Tensor:
        return self.learning_rate * self.factor ** floor(t / self.every)


class Exponential(Schedule):
    """rate(t) = learning_rate · factor^t.

    >>> Exponential(1.0, factor=0.5)(3).item()
    0.125
    """

    name = "exponential"

    def __init__(self, learning_rate: float, factor: float) -> None:
        self.learning_rate = not_negative(learning_rate, "Exponential: learning_rate")
        self.factor = positive(factor, "Exponential: factor")

    def rate(self, t: Tensor) -> Tensor:
        return self.learning_rate * self.factor**t


class Cosine(Schedule):
    """rate(t) = final + (learning_rate - final) · (1 + cos(π · min(t, steps) / steps)) / 2.

    Half a cosine from `learning_rate` to `final`, where it stays (Loshchilov and Hutter, 2017).

    >>> [Cosine(1.0, steps=10)(t).item() for t in (0, 10, 99)]
    [1.0, 0.0, 0.0]
    """

    name = "cosine"

    def __init__(self, learning_rate: float, steps: int, final: float = 0.0) -> None:
        self.learning_rate = not_negative(learning_rate, "Cosine: learning_rate")
        self.steps = whole(steps, "Cosine: steps")
        self.final = not_negative(final, "Cosine: final")

    def rate(self, t: Tensor) -> Tensor:
        return _half_cosine(self.learning_rate, self.final, minimum(t, self.steps) / self.steps)


class WarmUp(Schedule):
    """rate(t) = then(0) · (t + 1) / (steps + 1) for t < steps, and then(t - steps) from there.

    A straight rise over the first `steps` updates to where another schedule begins; a number stays where it is.

    >>> [round(WarmUp(4, then=1.0)(t).item(), 6) for t in (0, 1, 4, 9)]
    [0.2, 0.4, 1.0, 1.0]
    """

    name = "warm_up"

    def __init__(self, steps: int, then: float | Schedule) -> None:
        self.steps = whole(steps, "WarmUp: steps")
        if isinstance(then, Plateau):
            raise ArgumentError("WarmUp: then cannot be a Plateau, which does not follow the step count.")
        self.then = then if isinstance(then, Schedule) else not_negative(then, "WarmUp: then")

    def rate(self, t: Tensor) -> Tensor:
        then = self.then if isinstance(self.then, Schedule) else Constant(self.then)
        rise = then(0) * ((t + 1) / (self.steps + 1))
        is_rising = t < self.steps
        return where(is_rising, rise, then(where(is_rising, 0.0, t - self.steps)))

    def named_states(self) -> list[tuple[str, State]]:
        """What the schedule that comes then remembers."""
        return self.then.named_states() if isinstance(self.then, Schedule) else []


class OneCycle(Schedule):
    """Half a cosine up from peak / 25 to `peak`, then one down to peak / 250,000 (Smith and Topin, 2018).

    With up = rise · steps - 1 and last = steps - 1, and half(a, b, x) = b + (a - b) · (1 + cos(π · x)) / 2:

    rate(t) = half(peak / 25, peak, t / up) for t <= up, else half(peak, peak / 250000, (t - up) / (last - up));
    from `steps` on it stays.

    >>> [round(OneCycle(1.0, steps=11, rise=2 / 11)(t).item(), 6) for t in (0, 1, 10)]
    [0.04, 1.0, 4e-06]
    """

    name = "one_cycle"

    def __init__(self, peak: float, steps: int, rise: float = 0.3) -> None:
        self.peak = not_negative(peak, "OneCycle: peak")
        self.steps = whole(steps, "OneCycle: steps")
        self.rise = fraction(rise, "OneCycle: rise")

    def rate(self, t: Tensor) -> Tensor:
        up, last = max(self.rise * self.steps - 1, 0.0), float(self.steps - 1)
        first, final = self.peak / 25, self.peak / 250_000
        rising = _half_cosine(first, self.peak, minimum(t, up) / up) if up else constant(self.peak, float64)
        falling = _half_cosine(self.peak, final, (minimum(t, last) - up) / max(last - up, 1e-12))
        return where(t <= up, rising, falling)


class Plateau(Schedule):
    """`learning_rate`, multiplied by `factor` each time a loss has stopped falling, never below `minimum`.

    Call `observe(loss)` at the end of every epoch (`fit` does). The rate falls after more than `patience` observations
    in a row that were not better than the best one by a part of 1e-4; NaN is never better.

    Examples
    --------
    >>> schedule = Plateau(1.0, patience=1, factor=0.5)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     schedule.observe(loss)
    >>> schedule(0).item()
    0.5
    """

    name = "plateau"

    def __init__(self, learning_rate: float, patience: int = 10, factor: float = 0.1, minimum: float = 0.0) -> None:
        self.learning_rate = not_negative(learning_rate, "Plateau: learning_rate")
        self.patience = whole(patience, "Plateau: patience", 0)
        self.factor = fraction(factor, "Plateau: factor")
        self.minimum = not_negative(minimum, "Plateau: minimum")
        if self.minimum > self.learning_rate:
            raise ArgumentError(f"Plateau: minimum ({minimum}) must not be above learning_rate ({learning_rate}).")
        self._rate = State(asarray(self.learning_rate, dtype=float64), "rate")
        self._best = State(asarray(math.inf, dtype=float64), "best")
        self._waited = State(0, "waited")

    def rate(self, t: Tensor) -> Tensor:
        """The rate as it is now, whatever the step."""
        return Tensor(self._rate.node)

    def observe(self, loss: float | Tensor) -> None:
        """Take note of the loss of an epoch, and lower the rate if it has not fallen for too long."""
        found, best = float(loss), float(self._best)
        wanted = best - 1e-4 * abs(best) if math.isfinite(best) else best
        if found < wanted:
            self._best.assign(found)
            self._waited.assign(0)
            return
        waited = int(self._waited) + 1
        if waited > self.patience:
            self._rate.assign(max(self._rate.item() * self.factor, self.minimum))
            waited = 0
        self._waited.assign(waited)

    def named_states(self) -> list[tuple[str, State]]:
        """The rate, the best loss and the observations since then."""
        return [("rate", self._rate), ("best", self._best), ("waited", self._waited)]


def _half_cosine(begin: float, end: float, part: Tensor) -> Tensor:
    return end + (begin - end) * ((1 + cos(math.pi * part)) / 2)


# --- Names -------------------------------------------------------------------------------------------------------


class ScheduleKind(NamedTuple):
    """A schedule as documentation and the command line know it.

    `suited(learning_rate, total_steps)` gives good settings for a run of that length.
    """

    name: str
    make: type[Schedule]
    aliases: tuple[str, ...]
    about: str
    suited: Callable[[float, int], dict[str, Any]]


def _warmed(rate: float, total: int) -> dict[str, Any]:
    steps = max(1, total // 20)
    return {"steps": steps, "then": Cosine(rate, max(1, total - steps))}


SCHEDULES: dict[str, ScheduleKind] = {
    kind.name: kind
    for kind in (
        ScheduleKind("constant", Constant, (), "always the same", lambda r, n: {"learning_rate": r}),
        ScheduleKind(
            "step", Step, ("stair",), "a tenth, twice", lambda r, n: {"learning_rate": r, "every": max(1, -(-n // 3))}
        ),
        ScheduleKind(
            "exponential",
            Exponential,
            (),
            "falls to a hundredth by equal parts",
            lambda r, n: {"learning_rate": r, "factor": 0.01 ** (1 / n)},
        ),
        ScheduleKind("cosine", Cosine, (), "half a cosine to 0", lambda r, n: {"learning_rate": r, "steps": n}),
        ScheduleKind("warm_up", WarmUp, ("warmup",), "a short rise, then half a cosine to 0", _warmed),
        ScheduleKind("one_cycle", OneCycle, ("onecycle",), "up, then far down", lambda r, n: {"peak": r, "steps": n}),
        ScheduleKind("plateau", Plateau, (), "falls when the loss does not", lambda r, n: {"learning_rate": r}),
    )
}
_BY_NAME = {name: kind for kind in SCHEDULES.values() for name in (kind.name, *kind.aliases)}


def get_schedule(name: str, learning_rate: float, *, total_steps: int, **settings: Any) -> Schedule:
    """The schedule of that name or alias for a run of `total_steps` updates.

    Parameters
    ----------
    name
        Such as `"cosine"`; see `SCHEDULES`.
    learning_rate
        The highest rate of the run.
    total_steps
        Updates in the whole run; stands in for lengths that `settings` does not give.
    settings
        Arguments of the schedule, in place of those that suit the run.

    Raises
    ------
    ArgumentError
        For an unknown name, with the nearest, or an unknown setting.

    Examples
    --------
    >>> get_schedule("cosine", 0.1, total_steps=100)
    Cosine(learning_rate=0.1, steps=100, final=0.0)
    """
    key = str(name).lower().replace("-", "_")
    if key not in _BY_NAME:
        near = difflib.get_close_matches(key, _BY_NAME, 1)
        hint = f'; did you mean "{near[0]}"?' if near else "."
        raise ArgumentError(f'there is no schedule "{name}"{hint} Known: {", ".join(SCHEDULES)}.')
    not_negative(learning_rate, "learning_rate")
    whole(total_steps, "total_steps")
    kind = _BY_NAME[key]
    known = list(inspect.signature(kind.make).parameters)
    unknown = [setting for setting in settings if setting not in known]
    if unknown:
        raise ArgumentError(f'the schedule "{kind.name}" has no "{unknown[0]}"; it has {", ".join(known)}.')
    return kind.make(**(kind.suited(learning_rate, total_steps) | settings))
