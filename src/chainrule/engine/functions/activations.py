"""Activation functions, each a function of primitives, safe for inputs up to ±1e4 and beyond."""

import math
from typing import Any

from chainrule.engine.functions.elementwise import (
    clip,
    erf,
    exp,
    expm1,
    floating,
    log,
    log1p,
    minimum,
    sigmoid,
    stop_gradient,
    tanh,
    where,
)
from chainrule.engine.functions.reductions import max as largest
from chainrule.engine.functions.reductions import sum as total
from chainrule.engine.tensor import Tensor

# Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural networks", 2017.
_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_ALPHA = 1.6732632423543772848170429916717


def relu(x: Any, /) -> Tensor:
    """max(x, 0); the gradient at 0 is 0."""
    tensor = floating(x)
    return where(tensor <= 0, 0.0, tensor)  # so NaN, which is neither above nor below, stays NaN


def leaky_relu(x: Any, /, slope: float = 0.01) -> Tensor:
    """x above 0, `slope * x` below."""
    tensor = floating(x)
    return where(tensor > 0, tensor, tensor * slope)


def elu(x: Any, /, alpha: float = 1.0) -> Tensor:
    """x above 0, `alpha * (exp(x) - 1)` below (Clevert, Unterthiner and Hochreiter, 2015)."""
    tensor = floating(x)
    return where(tensor > 0, tensor, alpha * expm1(minimum(tensor, 0.0)))


def selu(x: Any, /) -> Tensor:
    """The self-normalising ELU: `scale * elu(x, alpha)` with the paper's constants (Klambauer et al., 2017)."""
    return _SELU_SCALE * elu(x, _SELU_ALPHA)


def gelu(x: Any, /, *, approximate: bool = False) -> Tensor:
    """x · Φ(x) with the normal distribution function Φ; `approximate` uses tanh (Hendrycks and Gimpel, 2016)."""
    tensor = floating(x)
    if approximate:
        near = clip(tensor, -10.0, 10.0)  # beyond, tanh is ±1 to the last bit, and a cube might overflow
        inner = math.sqrt(2 / math.pi) * (near + 0.044715 * (near * near * near))
        return 0.5 * tensor * (1 + tanh(inner))
    return 0.5 * tensor * (1 + erf(tensor * (1 / math.sqrt(2))))


def silu(x: Any, /) -> Tensor:
    """x · sigmoid(x), also called swish (Elfwing, Uchibe and Doya, 2017)."""
    tensor = floating(x)
    return tensor * sigmoid(tensor)


def softplus(x: Any, /) -> Tensor:
    """log(1 + exp(x)), as max(x, 0) + log1p(exp(-|x|))."""
    tensor = floating(x)
    is_above = tensor > 0
    # -|x| without abs, whose gradient of 0 at 0 would hide the slope of 1/2 there.
    return where(is_above, tensor, 0.0) + log1p(exp(where(is_above, -tensor, tensor)))


def hard_sigmoid(x: Any, /) -> Tensor:
    """x / 6 + 1/2, kept between 0 and 1."""
    return clip(floating(x) / 6 + 0.5, 0.0, 1.0)


def hard_tanh(x: Any, /) -> Tensor:
    """x kept between -1 and 1."""
    return clip(floating(x), -1.0, 1.0)


def hard_silu(x: Any, /) -> Tensor:
    """x · hard_sigmoid(x), also called hard swish (Howard et al., 2019)."""
    tensor = floating(x)
    return tensor * hard_sigmoid(tensor)


def softmax(x: Any, /, *, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along `axis`, with the largest element taken out first."""
    tensor = floating(x)
    if tensor.size == 0:
        return tensor
    raised = exp(tensor - stop_gradient(largest(tensor, axis=axis, keepdims=True)))
    return raised / total(raised, axis=axis, keepdims=True)


def log_softmax(x: Any, /, *, axis: int = -1) -> Tensor:
    """log(softmax(x)) along `axis`, with the largest element taken out first: large logits lose no digits."""
    tensor = floating(x)
    if tensor.size == 0:
        return tensor
    shifted = tensor - stop_gradient(largest(tensor, axis=axis, keepdims=True))
    return shifted - log(total(exp(shifted), axis=axis, keepdims=True))
