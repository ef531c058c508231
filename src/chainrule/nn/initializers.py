"""First values of parameters: functions of a shape, by name or with their arguments bound by `functools.partial`.

All randomness comes from `chainrule.random.default()` unless a generator is given, so equal seeds give equal bits.
The fan of a weight is counted from its last two axes, `(..., inputs, outputs)`.
"""

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine import random
from chainrule.engine.dtypes import float32, float64
from chainrule.engine.functions import full
from chainrule.engine.random import Generator
from chainrule.engine.room import near_others
from chainrule.engine.tensor import Tensor, asarray
from chainrule.errors import ArgumentError
from chainrule.nn.arguments import number

Shape = tuple[int, ...]
Initializer = Callable[..., Tensor]


@dataclass(slots=True)
class _Limits:
    elements: int  # that may still be made
    blank: bool  # whether all are zeros, whatever the initializer


_limits: ContextVar[_Limits | None] = ContextVar("limits", default=None)


@contextmanager
def limits(elements: int, *, blank: bool) -> Iterator[None]:
    """In this block, layers may make this many elements in all; `blank` fills them with zeros and draws nothing."""
    token = _limits.set(_Limits(elements, blank))
    try:
        yield
    finally:
        _limits.reset(token)


# --- Constant values ---------------------------------------------------------------------------------------------


def constant(shape: Shape, *, value: float = 0.0, generator: Generator | None = None, dtype: Any = float32) -> Tensor:
    """Every element is `value`.

    >>> constant((2,), value=0.5).tolist()
    [0.5, 0.5]
    """
    return full(shape, number(value, "constant: value"), dtype=dtype)


def zeros(shape: Shape, *, generator: Generator | None = None, dtype: Any = float32) -> Tensor:
    """Every element is 0."""
    return full(shape, 0.0, dtype=dtype)


# --- Random values -----------------------------------------------------------------------------------------------


def uniform(
    shape: Shape, *, low: float = -0.05, high: float = 0.05, generator: Generator | None = None, dtype: Any = float32
) -> Tensor:
    """Evenly distributed from `low` to `high`."""
    if number(low, "uniform: low") > number(high, "uniform: high"):
        raise ArgumentError(f"uniform: low {low} must not be above high {high}.")
    return (generator or random.default()).uniform(shape, low, high, dtype=dtype)


def normal(
    shape: Shape, *, mean: float = 0.0, std: float = 0.05, generator: Generator | None = None, dtype: Any = float32
) -> Tensor:
    """Normally distributed.

    >>> import functools
    >>> from chainrule import nn
    >>> nn.Dense(3, 2, init=functools.partial(nn.initializers.normal, std=0.02)).weight.shape
    (3, 2)
    """
    number(std, "normal: std")
    return (generator or random.default()).normal(shape, number(mean, "normal: mean"), std, dtype=dtype)


def glorot_uniform(shape: Shape, *, generator: Generator | None = None, dtype: Any = float32) -> Tensor:
    """Even, with the variance 2 / (inputs + outputs) (Glorot and Bengio, 2010): for sigmoid, tanh and no activation."""
    return _even(shape, 2 / sum(fans(shape)), generator, dtype)


def glorot_normal(shape: Shape, *, generator: Generator | None = None, dtype: Any = float32) -> Tensor:
    """Normal, with the variance 2 / (inputs + outputs) (Glorot and Bengio, 2010)."""
    return normal(shape, std=math.sqrt(2 / sum(fans(shape))), generator=generator, dtype=dtype)


def he_uniform(shape: Shape, *, generator: Generator | None = None, dtype: Any = float32) -> Tensor:
    """Even, with the variance 2 / inputs (He, Zhang, Ren and Sun, 2015): for ReLU and its relatives."""
    return _even(shape, 2 / fans(shape)[0], generator, dtype)


def he_normal(shape: Shape, *, generator: Generator | None = None, dtype: Any = float32) -> Tensor:
    """Normal, with the variance 2 / inputs (He, Zhang, Ren and Sun, 2015)."""
    return normal(shape, std=math.sqrt(2 / fans(shape)[0]), generator=generator, dtype=dtype)


def lecun_uniform(shape: Shape, *, generator: Generator | None = None, dtype: Any = float32) -> Tensor:
    """Even, with the variance 1 / inputs (LeCun, Bottou, Orr and Müller, 1998): for SELU."""
    return _even(shape, 1 / fans(shape)[0], generator, dtype)


def lecun_normal(shape: Shape, *, generator: Generator | None = None, dtype: Any = float32) -> Tensor:
    """Normal, with the variance 1 / inputs (LeCun, Bottou, Orr and Müller, 1998)."""
    return normal(shape, std=math.sqrt(1 / fans(shape)[0]), generator=generator, dtype=dtype)


def orthogonal(shape: Shape, *, gain: float = 1.0, generator: Generator | None = None, dtype: Any = float32) -> Tensor:
    """Orthonormal rows or columns, whichever are fewer, times `gain` (Saxe, McClelland and Ganguli, 2014).

    Axes before the last are taken together as rows.
    """
    number(gain, "orthogonal: gain")
    fans(shape)
    rows, columns = math.prod(shape[:-1]), shape[-1]
    tall = (max(rows, columns), min(rows, columns))
    drawn = normal(tall, std=1.0, generator=generator, dtype=float64).value
    basis, triangle = np.linalg.qr(drawn)
    basis = basis * np.where(np.diag(triangle) < 0, -1.0, 1.0)  # makes the distribution uniform over all such bases
    return asarray(gain * (basis if rows >= columns else basis.T).reshape(shape), dtype=dtype)


def _even(shape: Shape, variance: float, generator: Generator | None, dtype: Any) -> Tensor:
    limit = math.sqrt(3 * variance)
    return uniform(shape, low=-limit, high=limit, generator=generator, dtype=dtype)


def fans(shape: Shape) -> tuple[int, int]:
    """How many inputs and outputs each unit of a weight `(..., inputs, outputs)` has.

    Raises
    ------
    ArgumentError
        If there are fewer than two axes, or one of no length.
    """
    if len(shape) < 2 or 0 in shape:
        raise ArgumentError(f"inputs and outputs are counted on two axes with elements, but the shape is {shape}.")
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


INITIALIZERS: dict[str, Initializer] = {
    function.__name__: function
    for function in (
        constant,
        zeros,
        uniform,
        normal,
        glorot_uniform,
        glorot_normal,
        he_uniform,
        he_normal,
        lecun_uniform,
        lecun_normal,
        orthogonal,
    )
}


# --- What layers call --------------------------------------------------------------------------------------------


def initial(init: str | Initializer, shape: Shape, what: str, generator: Generator | None = None) -> Tensor:
    """The first value of the parameter `what`, as `init` makes it: a name, or a function as those of this module.

    Raises
    ------
    ArgumentError
        If the name is unknown, the result has another shape, or more elements are wanted than `limits` allow.
    """
    if generator is not None and not isinstance(generator, Generator):
        raise ArgumentError(f"{what}: generator must be a random.Generator, but is {generator!r:.60}.")
    function = INITIALIZERS.get(init) if isinstance(init, str) else init
    if not callable(function):
        raise ArgumentError(f"{what}: {init!r:.60} is no initializer; known are {', '.join(INITIALIZERS)}.")
    allowed = _limits.get()
    if allowed is not None:
        allowed.elements -= math.prod(shape)
        if allowed.elements < 0:
            raise ArgumentError(f"{what} of shape {shape} has more elements than are allowed here.")
        if allowed.blank:
            if described(function) is not None:
                function((1, 1), generator=Generator(0))  # its arguments are checked all the same
            return _whole(full(shape, 0.0))
    value = function(shape, generator=generator)
    if not isinstance(value, Tensor) or value.shape != shape:
        raise ArgumentError(
            f"{what}: the initializer must return a tensor of shape {shape}, but returned {value!r:.60}."
        )
    return _whole(value)


def _whole(value: Tensor) -> Tensor:
    """`value` with every element in a place of its own, which `full` and `broadcast_to` spare."""
    array = near_others(np.ascontiguousarray(value.value).reshape(value.shape))  # which makes a row of a single number
    return asarray(array, copy=False)


def own_generator() -> Generator:
    """A generator for one layer, with a seed from the default stream: layers do not move each other's numbers."""
    allowed = _limits.get()
    if allowed is not None and allowed.blank:
        return Generator(0)
    return Generator(int(random.randint(0, 2**48)))


def described(init: Any) -> dict[str, Any] | None:
    """`init` in a form for files, `None` if it is no initializer of this module."""
    if isinstance(init, functools.partial) and not init.args and init.func in INITIALIZERS.values():
        return {"initializer": init.func.__name__, "arguments": dict(init.keywords)}
    if init in INITIALIZERS.values():
        return {"initializer": init.__name__, "arguments": {}}
    return None
