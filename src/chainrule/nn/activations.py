"""Activation layers, and the table that says which first weights suit each activation.

A layer here owns nothing; it calls the function of the same family in `chainrule`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from chainrule.engine import functions as F  # noqa: N812
from chainrule.engine.tensor import Tensor
from chainrule.errors import ArgumentError
from chainrule.nn.arguments import number, switch
from chainrule.nn.module import Module


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation by name: its function, and the initializer for the weight before it."""

    name: str
    function: Callable[[Any], Tensor]
    init: str


ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation("relu", F.relu, "he_uniform"),
        Activation("leaky_relu", F.leaky_relu, "he_uniform"),
        Activation("elu", F.elu, "he_uniform"),
        Activation("gelu", F.gelu, "he_uniform"),
        Activation("silu", F.silu, "he_uniform"),
        Activation("hard_silu", F.hard_silu, "he_uniform"),
        Activation("selu", F.selu, "lecun_uniform"),
        Activation("sigmoid", F.sigmoid, "glorot_uniform"),
        Activation("tanh", F.tanh, "glorot_uniform"),
        Activation("softplus", F.softplus, "glorot_uniform"),
        Activation("hard_sigmoid", F.hard_sigmoid, "glorot_uniform"),
        Activation("hard_tanh", F.hard_tanh, "glorot_uniform"),
        Activation("softmax", F.softmax, "glorot_uniform"),
        Activation("log_softmax", F.log_softmax, "glorot_uniform"),
    )
}


def activation_named(name: Any) -> Activation:
    """The activation of this name.

    Raises
    ------
    ArgumentError
        If there is none; the message lists the names.
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ArgumentError(f"{name!r:.60} is no activation; known are {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


class ActivationLayer(Module):
    """A layer that applies the activation called `activation` to every element."""

    activation: ClassVar[str]

    def __call__(self, x: Any) -> Tensor:
        return ACTIVATIONS[self.activation].function(x)


class ReLU(ActivationLayer):
    """max(x, 0).

    >>> from chainrule import nn
    >>> nn.ReLU()([-1.0, 2.0]).tolist()
    [0.0, 2.0]
    """

    activation = "relu"


class LeakyReLU(ActivationLayer):
    """x above 0, `slope * x` below (default slope 0.01)."""

    activation = "leaky_relu"

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = number(slope, "LeakyReLU: slope")

    def __call__(self, x: Any) -> Tensor:
        return F.leaky_relu(x, self.slope)


class ELU(ActivationLayer):
    """x above 0, `alpha * (exp(x) - 1)` below (default alpha 1)."""

    activation = "elu"

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = number(alpha, "ELU: alpha")

    def __call__(self, x: Any) -> Tensor:
        return F.elu(x, self.alpha)


class SELU(ActivationLayer):
    """The self-normalising ELU (Klambauer et al., 2017)."""

    activation = "selu"


class GELU(ActivationLayer):
    """x · Φ(x); `approximate` uses tanh instead of the normal distribution function."""

    activation = "gelu"

    def __init__(self, approximate: bool = False) -> None:
        self.approximate = switch(approximate, "GELU: approximate")

    def __call__(self, x: Any) -> Tensor:
        return F.gelu(x, approximate=self.approximate)


class SiLU(ActivationLayer):
    """x · sigmoid(x), also called swish."""

    activation = "silu"


class Sigmoid(ActivationLayer):
    """1 / (1 + exp(-x))."""

    activation = "sigmoid"


class Tanh(ActivationLayer):
    """The hyperbolic tangent."""

    activation = "tanh"


class Softplus(ActivationLayer):
    """log(1 + exp(x))."""

    activation = "softplus"


class HardSigmoid(ActivationLayer):
    """x / 6 + 1/2, kept between 0 and 1."""

    activation = "hard_sigmoid"


class HardTanh(ActivationLayer):
    """x kept between -1 and 1."""

    activation = "hard_tanh"


class HardSiLU(ActivationLayer):
    """x · hard_sigmoid(x), also called hard swish."""

    activation = "hard_silu"


class Softmax(ActivationLayer):
    """exp(x) / sum(exp(x)) along the last axis: probabilities. The loss `cross_entropy` wants logits, without it."""

    activation = "softmax"


class LogSoftmax(ActivationLayer):
    """The logarithm of Softmax along the last axis."""

    activation = "log_softmax"
