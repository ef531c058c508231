"""Figures of one step as tensors, made of what the step computes anyway, so that they are compiled with it.

Comes in: the layers' outputs and the gradients of a step under way. Goes out: small tensors (sums, shares, samples)
in three arrays, from which `reading` makes figures with names. Nothing here changes what the step computes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.engine.backprop import Gradients
from chainrule.engine.context import no_grad
from chainrule.engine.dtypes import DType, float32, float64, is_floating
from chainrule.engine.functions import mean, reshape, zeros
from chainrule.engine.functions import sum as sum_over
from chainrule.engine.op import Op
from chainrule.engine.state import Parameter
from chainrule.engine.tensor import Tensor, apply, asarray, cast
from chainrule.nn.module import Module, calls_watched
from chainrule.nn.optimizers import Optimizer

Array = np.ndarray[Any, Any]

# Bins begin at these values and end at the next; the first has all that is less, the last all that is more (and NaN).
ACTIVATION_BINS = (-30.0, -10.0, -3.0, -1.0, -0.3, -0.1, -0.03, 0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
GRADIENT_BINS = tuple(10.0**exponent for exponent in range(-10, 2))  # of absolute values
SATURATED = 0.01  # of the range of a bounded activation: so close to an end its slope is nearly nothing
_BOUNDS = {"Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "HardTanh": (-1.0, 1.0)}
_BOUNDED = {Op.SIGMOID: (0.0, 1.0), Op.TANH: (-1.0, 1.0)}
_IN_BINS = 4096  # elements that a histogram counts
_IN_NOISE = 256  # elements of each gradient that are kept to tell signal from noise


@dataclass(frozen=True, slots=True)
class Quantity:
    """What some numbers of a measurement say: of which layer, and how many they are."""

    layer: str
    name: str
    count: int = 1
    size: int = 0  # elements of the parameter, where there is one


@dataclass
class Quantities:
    """Quantities of one kind and their tensors, which become one array in a fixed order."""

    known: list[Quantity] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)

    def add(self, layer: str, name: str, tensor: Tensor, size: int = 0) -> None:
        """One more."""
        self.known.append(Quantity(layer, name, tensor.size, size))
        self.tensors.append(tensor)

    def together(self, dtype: DType) -> Tensor:
        """All of them along one axis."""
        parts = [cast(flat(tensor), dtype) for tensor in self.tensors]
        return apply(Op.CONCAT, *parts, axis=0) if parts else zeros((0,), dtype=dtype)


class Measurement:
    """Looks into one step while it is made, traced or eager.

    Parameters
    ----------
    net
        Whose step it is.
    sample
        So many elements of an activation or a parameter are looked at, evenly spread; all of them if None.
    histograms
        Whether to count activations and gradients in bins.
    """

    def __init__(self, net: Module, sample: int | None, histograms: bool) -> None:
        self.net, self.sample, self.histograms = net, sample, histograms
        self.numbers, self.samples, self.shares = Quantities(), Quantities(), Quantities()
        self._outputs: dict[str, tuple[Module, Tensor]] = {}
        self._before: dict[Parameter, tuple[str, Tensor]] = {}

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Note what every layer produces in this block."""
        with calls_watched(self._called):
            yield

    def _called(self, module: Module, _arguments: tuple[Any, ...], result: Any) -> None:
        """A container whose result is the last layer's own is no layer; one called again is seen as it was last."""
        if isinstance(result, Tensor) and is_floating(result.dtype) and result.size:
            path = module._path
            if all(other.node is not result.node for place, (_, other) in self._outputs.items() if place != path):
                self._outputs.pop(path, None)
                self._outputs[path] = module, result

    def before_update(self, gradients: Gradients, optimizer: Optimizer) -> None:
        """Measure the layers and the gradients, and note the parameters as they are."""
        with no_grad():
            self.numbers.add("", "learning_rate", optimizer.learning_rate(cast(optimizer.step_count, float64)))
            for path, (module, output) in self._outputs.items():
                self._measure_output(label_of(self.net, path), module, output)
            names = {parameter: name for name, parameter in self.net.named_parameters()}
            for parameter, gradient in gradients.items():
                layer = label_of(self.net, names.get(parameter, parameter.name).rpartition(".")[0])
                self._measure_gradient(layer, gradient)
                # A copy: the parameter itself may then be overwritten in place.
                before = spread(Tensor(parameter.node), self.sample)
                self._before[parameter] = layer, apply(Op.CONCAT, before, axis=0) if parameter.shape else before

    def _measure_output(self, layer: str, module: Module, output: Tensor) -> None:
        some = spread(output, self.sample)
        middle = mean(some)
        self.numbers.add(layer, "activation_mean", middle)
        self.numbers.add(layer, "activation_variance", mean((some - middle) ** 2))
        self.numbers.add(layer, "activation_zero", _share(some == 0.0, some))
        bounds = _BOUNDS.get(type(module).__name__) or _BOUNDED.get(output.node.op)
        if bounds is not None:
            low, high = bounds
            margin = SATURATED * (high - low)
            self.numbers.add(
                layer, "activation_saturated", _share((some <= low + margin) | (some >= high - margin), some)
            )
        if self.histograms:
            self.shares.add(layer, "activation", _below(spread(output, _IN_BINS), ACTIVATION_BINS))

    def _measure_gradient(self, layer: str, gradient: Tensor) -> None:
        wide = cast(gradient, float64)  # squares of small gradients vanish in float32
        self.numbers.add(layer, "gradient_square", sum_of(wide * wide))
        self.samples.add(layer, "gradient", spread(gradient, _IN_NOISE))
        if self.histograms:
            below = _below(abs(spread(gradient, _IN_BINS)), GRADIENT_BINS)
            self.shares.add(layer, "gradient", below, gradient.size)

    def after_update(self) -> tuple[Tensor, ...]:
        """Measure how far the parameters moved. Returns all that was measured: numbers, samples, and shares in bins."""
        with no_grad():
            for parameter, (layer, before) in self._before.items():
                after = spread(Tensor(parameter.node), self.sample)
                factor = parameter.size / max(1, after.size)
                for name, value in (("update_square", after - before), ("weight_square", before)):
                    wide = cast(value, float64)
                    self.numbers.add(layer, name, sum_of(wide * wide) * factor)
            return (
                self.numbers.together(float64),
                self.samples.together(float64),
                self.shares.together(float32),
            )


def label_of(net: Module, path: str) -> str:
    """How a layer is named in the figures; the network itself, which has no path, by its class."""
    return path or type(net).__name__


def spread(tensor: Tensor, limit: int | None) -> Tensor:
    """At most `limit` elements of a tensor (or few more), evenly spread: every n-th along the first axes.

    >>> import chainrule as cr
    >>> spread(cr.asarray(np.arange(12.0).reshape(6, 2)), 4).tolist()
    [[0.0, 1.0], [6.0, 7.0]]
    """
    for axis in range(tensor.ndim):
        if limit is None or tensor.size <= limit:
            break
        step = min(tensor.shape[axis], -(-tensor.size // limit))
        tensor = tensor[(slice(None),) * axis + (slice(None, None, step),)]
    return tensor


def sum_of(tensor: Tensor) -> Tensor:
    """The sum of all elements: of each row first, which several threads share."""
    return sum_over(sum_over(tensor, axis=-1)) if tensor.ndim > 1 else sum_over(tensor)


def flat(tensor: Tensor) -> Tensor:
    """All elements along one axis."""
    return reshape(tensor, (math.prod(tensor.shape),))


def _share(condition: Tensor, like: Tensor) -> Tensor:
    return mean(cast(condition, like.dtype))


def _below(tensor: Tensor, edges: tuple[float, ...]) -> Tensor:
    """For each edge the share of elements that are less, of shape (edges,)."""
    borders = asarray(np.array(edges, tensor.dtype)[:, None])
    return mean(cast(flat(tensor)[None, :] < borders, tensor.dtype), axis=1)
