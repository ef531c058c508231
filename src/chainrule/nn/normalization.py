"""Layers that bring activations, inputs or answers to another mean and size, as learned or as measured once."""

import math
from typing import Any, Self

import numpy as np

from chainrule.engine.context import no_grad
from chainrule.engine.functions import mean, sqrt, square
from chainrule.engine.state import Parameter, State
from chainrule.engine.tensor import Tensor, asarray, cast
from chainrule.errors import ArgumentError, DataError, ShapeError
from chainrule.nn.arguments import number, positive, switch, whole
from chainrule.nn.initializers import constant, initial
from chainrule.nn.module import Module


class BatchNorm(Module):
    """y = (x - mean) / sqrt(variance + epsilon) · weight + bias, for every feature over the batch.

    (Ioffe and Szegedy, 2015.) In training mean and variance are those of the batch, over all axes but the last, and
    the running ones move towards them; in `eval()` the running ones are used.

    Parameters
    ----------
    features
        The length of the last axis: the shape is `(batch, ..., features)`.
    momentum
        How far the running statistics move with every batch, from 0 to 1.
    epsilon
        Keeps the divisor above 0.

    Attributes
    ----------
    weight, bias
        Parameters `(features,)`, first 1 and 0.
    running_mean, running_variance
        States `(features,)`, first 0 and 1; the variance is the unbiased one, as in PyTorch.

    Raises
    ------
    ShapeError
        On a call, if the shape does not fit, or if there is but one row in training.

    Examples
    --------
    >>> from chainrule import nn
    >>> nn.BatchNorm(1, epsilon=1e-12)([[1.0], [3.0]]).tolist()
    [[-1.0], [1.0]]
    """

    def __init__(self, features: int, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        shape = (whole(features, "BatchNorm: features"),)
        self.momentum = number(momentum, "BatchNorm: momentum")
        if not 0 <= self.momentum <= 1:
            raise ArgumentError(f"BatchNorm: momentum must be from 0 to 1, but is {momentum}.")
        self.epsilon = positive(epsilon, "BatchNorm: epsilon")
        self.weight = Parameter(initial(_ones, shape, "BatchNorm: weight"))
        self.bias = Parameter(initial("zeros", shape, "BatchNorm: bias"))
        self.running_mean = State(initial("zeros", shape, "BatchNorm: running_mean"))
        self.running_variance = State(initial(_ones, shape, "BatchNorm: running_variance"))

    def __call__(self, x: Any) -> Tensor:
        rows = _checked(self, x, self.weight.shape)
        if not self.training:
            return (rows - self.running_mean) / sqrt(self.running_variance + self.epsilon) * self.weight + self.bias
        count = math.prod(rows.shape[:-1])
        if rows.ndim < 2 or count < 2:
            raise ShapeError(
                f"{self.label()} cannot normalise the shape {rows.shape} in training: one row has no variance. "
                "Use batches of at least 2 rows, or call eval()."
            )
        axes = tuple(range(rows.ndim - 1))
        centre = mean(rows, axis=axes)
        centred = rows - centre
        variance = mean(square(centred), axis=axes)
        with no_grad():
            self._follow(self.running_mean, centre)
            self._follow(self.running_variance, variance * (count / (count - 1)))
        return centred / sqrt(variance + self.epsilon) * self.weight + self.bias

    def _follow(self, running: State, batch: Tensor) -> None:
        moved = (1 - self.momentum) * running + self.momentum * batch
        running.assign(cast(moved, running.dtype))


class LayerNorm(Module):
    """y = (x - mean) / sqrt(variance + epsilon) · weight + bias, for every row (Ba, Kiros and Hinton, 2016).

    Parameters
    ----------
    features
        The length of the last axis, or the lengths of the last axes, over which each row is normalised.
    epsilon
        Keeps the divisor above 0.
    bias
        Whether a bias is added.

    Attributes
    ----------
    weight, bias
        Parameters of the shape `features`, first 1 and 0; bias may be None.

    Raises
    ------
    ShapeError
        On a call, if the shape does not end in `features`.

    Examples
    --------
    >>> from chainrule import nn
    >>> nn.LayerNorm(2, epsilon=1e-12)([[1.0, 3.0], [2.0, 8.0]]).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """

    def __init__(self, features: int | tuple[int, ...], epsilon: float = 1e-5, bias: bool = True) -> None:
        shape = _lengths(features, "LayerNorm")
        self.epsilon = positive(epsilon, "LayerNorm: epsilon")
        self.weight = Parameter(initial(_ones, shape, "LayerNorm: weight"))
        self.bias = Parameter(initial("zeros", shape, "LayerNorm: bias")) if switch(bias, "LayerNorm: bias") else None

    def __call__(self, x: Any) -> Tensor:
        rows = _checked(self, x, self.weight.shape)
        axes = tuple(range(-self.weight.ndim, 0))
        centred = rows - mean(rows, axis=axes, keepdims=True)
        variance = mean(square(centred), axis=axes, keepdims=True)
        y = centred / sqrt(variance + self.epsilon) * self.weight
        return y if self.bias is None else y + self.bias


class RMSNorm(Module):
    """y = x / sqrt(mean(x²) + epsilon) · weight, for every row (Zhang and Sennrich, 2019).

    Parameters
    ----------
    features
        The length of the last axis, or the lengths of the last axes, over which each row is normalised.
    epsilon
        Keeps the divisor above 0.

    Attributes
    ----------
    weight
        Parameter of the shape `features`, first 1.

    Raises
    ------
    ShapeError
        On a call, if the shape does not end in `features`.

    Examples
    --------
    >>> from chainrule import nn
    >>> nn.RMSNorm(2, epsilon=1e-12)([[3.0, -3.0]]).tolist()
    [[1.0, -1.0]]
    """

    def __init__(self, features: int | tuple[int, ...], epsilon: float = 1e-6) -> None:
        self.epsilon = positive(epsilon, "RMSNorm: epsilon")
        self.weight = Parameter(initial(_ones, _lengths(features, "RMSNorm"), "RMSNorm: weight"))

    def __call__(self, x: Any) -> Tensor:
        rows = _checked(self, x, self.weight.shape)
        size = mean(square(rows), axis=tuple(range(-self.weight.ndim, 0)), keepdims=True)
        return rows / sqrt(size + self.epsilon) * self.weight


class Standardize(Module):
    """y = (x - mean) / deviation, with numbers taken once from the training rows: no step of training moves them.

    As the first layer it brings inputs of any size to about 1; with `undo`, as the last, it brings answers of about 1
    back to the unit of the targets: y = x · deviation + mean.

    Parameters
    ----------
    features
        The length of the last axis, each place of which has its mean and deviation; None for one pair for everything.
    undo
        Whether to do the opposite.

    Attributes
    ----------
    mean, deviation
        States `(features,)`, or of shape `()` for None; first 0 and 1, then what `fitted` found.

    Raises
    ------
    ShapeError
        On a call, if the shape does not fit.

    Examples
    --------
    >>> from chainrule import nn
    >>> layer = nn.Standardize(2).fitted([[1.0, 10.0], [3.0, 30.0]])
    >>> layer([[1.0, 30.0]]).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(self, features: int | None = None, undo: bool = False) -> None:
        shape = () if features is None else (whole(features, "Standardize: features"),)
        self.undo = switch(undo, "Standardize: undo")
        self.mean = State(initial("zeros", shape, "Standardize: mean"))
        self.deviation = State(initial(_ones, shape, "Standardize: deviation"))

    def fitted(self, rows: Any) -> Self:
        """Take mean and deviation from `rows`; what is the same in all of them keeps the deviation 1.

        Raises
        ------
        ShapeError
            If the rows do not fit.
        DataError
            If there are none, or one of their numbers is infinite or NaN.
        """
        values = np.asarray(_checked(self, rows, self.mean.shape), np.float64)
        if not values.size or not np.isfinite(values).all():
            raise DataError(f"{self.label()}.fitted needs rows of finite numbers; fill in or drop what is missing.")
        axes = tuple(range(values.ndim - len(self.mean.shape)))
        deviation = values.std(axis=axes)
        self.mean.assign(values.mean(axis=axes).astype(self.mean.dtype))
        self.deviation.assign(np.where(deviation > 0, deviation, 1.0).astype(self.deviation.dtype))
        return self

    def __call__(self, x: Any) -> Tensor:
        rows = _checked(self, x, self.mean.shape)
        return rows * self.deviation + self.mean if self.undo else (rows - self.mean) / self.deviation


def _ones(shape: tuple[int, ...], **keywords: Any) -> Tensor:
    return constant(shape, value=1.0, **keywords)


def _lengths(features: Any, kind: str) -> tuple[int, ...]:
    lengths = tuple(features) if isinstance(features, list | tuple) else (features,)
    if not lengths:
        raise ArgumentError(f"{kind}: features must name at least one length.")
    return tuple(whole(length, f"{kind}: features") for length in lengths)


def _checked(layer: Module, x: Any, shape: tuple[int, ...]) -> Tensor:
    tensor = asarray(x)
    if tensor.shape[max(0, tensor.ndim - len(shape)) :] != shape:
        expected = ", ".join(map(str, shape))
        raise ShapeError(f"{layer.label()} expects (…, {expected}) but got {tensor.shape}.")
    return tensor
