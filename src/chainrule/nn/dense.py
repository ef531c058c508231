"""The fully connected layer, and the layer that makes rows of images and tables.

Dense chooses its first weight by the activation that comes after it, which it knows itself or is told by Sequential.
"""

import math
import zlib
from typing import Any

import numpy as np

from chainrule.engine.functions import reshape
from chainrule.engine.random import Generator
from chainrule.engine.state import Parameter
from chainrule.engine.tensor import Tensor, asarray
from chainrule.errors import ShapeError
from chainrule.nn.activations import activation_named
from chainrule.nn.arguments import switch, whole
from chainrule.nn.initializers import Initializer, fans, initial
from chainrule.nn.module import Module

# The variance of each default weight, times its number of inputs: what turns one of them into another.
_VARIANCE = {
    "he_uniform": lambda inputs, outputs: 2 / inputs,
    "lecun_uniform": lambda inputs, outputs: 1 / inputs,
    "glorot_uniform": lambda inputs, outputs: 2 / (inputs + outputs),
}


class Dense(Module):
    """A fully connected layer: y = activation(x @ weight + bias).

    Parameters
    ----------
    inputs, outputs
        The number of features in and out: `(..., inputs)` becomes `(..., outputs)`.
    bias
        Whether a bias is added; it begins at zero.
    activation
        The name of an activation to apply, such as `"relu"`; default none.
    init
        How `weight` begins: the name of an initializer, or a function as those of `nn.initializers`. By default it
        suits the activation that follows, `activation` or the next activation layer in a `Sequential`: `he_uniform`
        for ReLU, LeakyReLU, ELU, GELU, SiLU and HardSiLU, `lecun_uniform` for SELU, else `glorot_uniform`.
    generator
        Where random numbers come from; default `chainrule.random.default()`.

    Attributes
    ----------
    weight
        Parameter `(inputs, outputs)`.
    bias
        Parameter `(outputs,)`, or None.

    Raises
    ------
    ArgumentError
        If an argument is out of its range.

    Examples
    --------
    >>> import chainrule as cr
    >>> from chainrule import nn
    >>> nn.Dense(3, 2, activation="tanh")(cr.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bias: bool = True,
        activation: str | None = None,
        init: str | Initializer | None = None,
        generator: Generator | None = None,
    ) -> None:
        shape = (whole(inputs, "Dense: inputs"), whole(outputs, "Dense: outputs"))
        self.activation = None if activation is None else activation_named(activation)
        suited = self.activation.init if self.activation else "glorot_uniform"
        self.weight = Parameter(initial(suited if init is None else init, shape, "Dense: weight", generator))
        self.bias = Parameter(initial("zeros", shape[1:], "Dense: bias")) if switch(bias, "Dense: bias") else None
        # What a Sequential may still change: the default weight as it was drawn, until something else is assigned.
        self._default: tuple[str, int] | None = None
        if init is None and activation is None:
            self._default = (suited, _checksum(self.weight))

    def redraw(self, generator: Generator | None = None) -> None:
        """Begin anew: the weight drawn by default, whatever `init` was, and the bias 0."""
        suited = self.activation.init if self.activation else "glorot_uniform"
        drawn = initial(suited, self.weight.shape, "Dense: weight", generator)
        self.weight.assign(drawn.value.astype(self.weight.dtype))
        if self.bias is not None:
            self.bias.assign(np.zeros(self.bias.shape, self.bias.dtype))
        self._default = None if self.activation else (suited, _checksum(self.weight))

    def suit(self, init: str) -> None:
        """Scale a weight that was drawn by default, and is as it was drawn, to the variance of this initializer."""
        if self._default is None or self._default[0] == init or self._default[1] != _checksum(self.weight):
            return
        ratio = _VARIANCE[init](*fans(self.weight.shape)) / _VARIANCE[self._default[0]](*fans(self.weight.shape))
        self.weight.assign(self.weight.value * math.sqrt(ratio))
        self._default = (init, _checksum(self.weight))

    def __call__(self, x: Any) -> Tensor:
        x = asarray(x)
        inputs = self.weight.shape[0]
        if not x.ndim or x.shape[-1] != inputs:
            fits_flat = x.ndim > 2 and math.prod(x.shape[1:]) == inputs
            layer = f"nn.Dense({x.shape[-1] if x.ndim else 1}, {self.weight.shape[1]})"
            hint = " Flatten first: nn.Flatten()." if fits_flat else f" Make the layer {layer}, or give it {inputs}."
            raise ShapeError(f"{self.label()} expects (…, {inputs}) but got {x.shape}.{hint}")
        y = x @ self.weight
        if self.bias is not None:
            y = y + self.bias
        return self.activation.function(y) if self.activation else y


def _checksum(parameter: Parameter) -> int:
    return zlib.crc32(parameter.value.tobytes())


class Flatten(Module):
    """All axes but the first become one: `(batch, 28, 28)` becomes `(batch, 784)`."""

    def __call__(self, x: Any) -> Tensor:
        x = asarray(x)
        if not x.ndim:
            raise ShapeError(f"{self.label()} expects (batch, …) but got a single number.")
        return reshape(x, (x.shape[0], math.prod(x.shape[1:])))
