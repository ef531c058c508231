"""NumPy by hand: the training step as a person writes it without a library. In float64 it is what all are held to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import erf

from workloads import BETA1, BETA2, EPSILON, Array, Workload, cycled, data_of, first_weights

NORM_EPSILON = 1e-5
Backward = Callable[[Array], tuple[Array, list[Array]]]


class ByHand:
    """Trains; `dtype` other than the workload's makes the reference."""

    def __init__(self, workload: Workload, dtype: str | None = None, rate: float | None = None) -> None:
        self.workload, self.dtype = workload, dtype or workload.dtype
        self.rate = workload.rate if rate is None else rate
        inputs, targets = data_of(workload).batches()
        self.inputs = list(inputs.astype(self.dtype))
        self.targets = list(targets if workload.loss == "cross_entropy" else targets.astype(self.dtype))
        self.reset()

    def reset(self) -> None:
        """The first weights, and moments of zero."""
        pairs = first_weights(self.workload)
        self.parameters = [array.astype(self.dtype) for pair in pairs for array in pair]
        self.means = [np.zeros_like(array) for array in self.parameters]
        self.squares = [np.zeros_like(array) for array in self.parameters]
        self.count = 0

    def run(self, count: int) -> int:
        """Make `count` steps."""
        for number in cycled(self.workload.pool, count):
            self.step(number)
        return count

    def losses(self, steps: int) -> list[float]:
        """The loss of each step."""
        return [float(self.step(number)) for number in cycled(self.workload.pool, steps)]

    def step(self, number: int) -> Any:
        """One step on one batch."""
        answers, ways = forward(self.workload, self.parameters, self.inputs[number])
        loss, upstream = LOSSES[self.workload.loss](answers, self.targets[number])
        gradients: list[Array] = []
        for back in reversed(ways):
            upstream, found = back(upstream)
            gradients = found + gradients
        self.update(gradients)
        return loss

    def update(self, gradients: list[Array]) -> None:
        """Adam."""
        self.count += 1
        correction = math.sqrt(1 - BETA2**self.count)  # a number of Python, which leaves float32 arrays as they are
        rate, epsilon = self.rate * correction / (1 - BETA1**self.count), EPSILON * correction
        rows = zip(self.parameters, self.means, self.squares, gradients, strict=True)
        for parameter, mean, square, gradient in rows:
            mean *= BETA1
            mean += (1 - BETA1) * gradient
            square *= BETA2
            square += (1 - BETA2) * gradient * gradient
            parameter -= rate * mean / (np.sqrt(square) + epsilon)


def forward(workload: Workload, parameters: list[Array], x: Array) -> tuple[Array, list[Backward]]:
    """What the network answers, and for each layer how an upstream gradient goes back through it."""
    ways: list[Backward] = []
    left = iter(parameters)
    for kind, _, _ in workload.layers:
        if kind in ("dense", "norm"):
            x, back = (_dense if kind == "dense" else _norm)(x, next(left), next(left))
        else:
            x, back = ACTIVATIONS[kind](x)
        ways.append(back)
    return x, ways


def _dense(x: Array, weight: Array, bias: Array) -> tuple[Array, Backward]:
    def back(upstream: Array) -> tuple[Array, list[Array]]:
        return upstream @ weight.T, [x.T @ upstream, upstream.sum(0)]

    return x @ weight + bias, back


def _norm(x: Array, weight: Array, bias: Array) -> tuple[Array, Backward]:
    centred = x - x.mean(1, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(1, keepdims=True) + NORM_EPSILON)
    normal = centred / deviation

    def back(upstream: Array) -> tuple[Array, list[Array]]:
        inner = upstream * weight
        down = inner - inner.mean(1, keepdims=True) - normal * (inner * normal).mean(1, keepdims=True)
        return down / deviation, [(upstream * normal).sum(0), upstream.sum(0)]

    return normal * weight + bias, back


def _relu(x: Array) -> tuple[Array, Backward]:
    return np.maximum(x, 0), lambda upstream: (upstream * (x > 0), [])


def _tanh(x: Array) -> tuple[Array, Backward]:
    y = np.tanh(x)
    return y, lambda upstream: (upstream * (1 - y * y), [])


def _gelu(x: Array) -> tuple[Array, Backward]:
    below = (0.5 * (1 + erf(x * 0.5**0.5))).astype(x.dtype)

    def back(upstream: Array) -> tuple[Array, list[Array]]:
        density = np.exp(-0.5 * x * x) * (2 * np.pi) ** -0.5
        return upstream * (below + x * density.astype(x.dtype)), []

    return x * below, back


def _cross_entropy(logits: Array, labels: Array) -> tuple[Any, Array]:
    rows = np.arange(len(labels))
    shifted = logits - logits.max(1, keepdims=True)
    powers = np.exp(shifted)
    sums = powers.sum(1, keepdims=True)
    loss = (np.log(sums[:, 0]) - shifted[rows, labels]).mean()
    gradient = powers / sums
    gradient[rows, labels] -= 1
    return loss, gradient / len(labels)


def _mean_squared_error(answers: Array, targets: Array) -> tuple[Any, Array]:
    error = answers - targets
    return (error * error).mean(), error * (2 / error.size)


ACTIVATIONS = {"relu": _relu, "tanh": _tanh, "gelu": _gelu}
LOSSES = {"cross_entropy": _cross_entropy, "mean_squared_error": _mean_squared_error}
