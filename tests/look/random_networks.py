"""Random networks over every kind of layer, with a batch that fits them, for laws that must hold for all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn

ACTIVATIONS = [nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softplus]
ACTIVATIONS += [nn.HardSigmoid, nn.HardTanh, nn.HardSiLU, nn.Softmax, nn.LogSoftmax]
NAMES = ["relu", "tanh", "sigmoid", "gelu", "softplus"]


class Gate(nn.Module):
    """A layer of the user's: operations before, between and after its submodules, and a parameter of its own."""

    def __init__(self, width: int) -> None:
        self.left, self.right = nn.Dense(width, width), nn.Dense(width, width, activation="sigmoid")
        self.scale = cr.Parameter(np.linspace(0.5, 1.5, width, dtype=np.float32))

    def __call__(self, x: cr.Tensor) -> cr.Tensor:
        doubled = 2.0 * x
        return cr.tanh(self.left(doubled)) * self.right(doubled - x) * self.scale + doubled


class Twice(nn.Module):
    """One layer called twice: its parameters are shared."""

    def __init__(self, width: int) -> None:
        self.dense = nn.Dense(width, width, activation="tanh")

    def __call__(self, x: cr.Tensor) -> cr.Tensor:
        return self.dense(self.dense(x))


@dataclass(frozen=True)
class Problem:
    """A network with a batch and a loss."""

    net: nn.Module
    x: np.ndarray
    y: np.ndarray
    loss: str | Callable[..., Any]


def problem(seed: int) -> Problem:
    """The random network number `seed`; every kind of layer comes up among the first dozens."""
    rng = np.random.default_rng(seed)
    cr.random.seed(seed)
    rows, width = int(rng.integers(2, 7)), int(rng.integers(2, 6))
    first, x = _beginning(rng, rows, width)
    layers = [*first, *(_layer(rng, seed + place, width) for place in range(int(rng.integers(1, 4))))]
    outputs = int(rng.integers(2, 5))
    shared = nn.Dense(width, width)
    if seed % 5 == 0:
        layers = [shared, *layers, nn.Tanh(), shared] if first == [] else [*layers, shared, nn.Tanh(), shared]
    net = nn.Sequential(*layers, nn.Dense(width, outputs))
    for parameter in net.parameters():  # biases and norms begin at 0 and 1, where much would cancel
        parameter.assign(parameter.value + 0.2 * rng.standard_normal(parameter.shape).astype(np.float32))
    if seed % 7 == 0:
        net.eval()
    return Problem(net, x, *_target(rng, seed, rows, outputs))


def _beginning(rng: np.random.Generator, rows: int, width: int) -> tuple[list[nn.Module], np.ndarray]:
    kind = rng.integers(0, 4)
    if kind == 0:
        x = rng.standard_normal((rows, 2, 3)).astype(np.float32)
        return [nn.Flatten(), nn.Dense(6, width)], x
    if kind == 1:
        table = [nn.Embedding(7, 3), nn.Flatten(), nn.Dense(6, width, activation=str(rng.choice(NAMES)))]
        return table, rng.integers(0, 7, (rows, 2))
    return [], rng.standard_normal((rows, width)).astype(np.float32)


def _layer(rng: np.random.Generator, number: int, width: int) -> nn.Module:
    kinds: list[Callable[[], nn.Module]] = [
        lambda: nn.Dense(width, width),
        lambda: nn.Dense(width, width, activation=str(rng.choice(NAMES))),
        lambda: ACTIVATIONS[int(rng.integers(len(ACTIVATIONS)))](),
        lambda: nn.Dropout(0.3),
        lambda: nn.BatchNorm(width),
        lambda: nn.LayerNorm(width),
        lambda: nn.RMSNorm(width),
        lambda: nn.Residual(nn.Sequential(nn.Dense(width, width), nn.Tanh())),
        lambda: nn.Residual(nn.Dense(width, width), nn.Dense(width, width, bias=False)),
        lambda: nn.Lambda(cr.sin),
        lambda: nn.Lambda(lambda x: cr.cumulative_sum(cr.exp(-x * x), axis=1), name="bumps"),
        lambda: Gate(width),
        lambda: Twice(width),
        lambda: nn.Flatten(),
    ]
    return kinds[number % len(kinds)]()


def _target(rng: np.random.Generator, seed: int, rows: int, outputs: int) -> tuple[np.ndarray, Any]:
    real = rng.standard_normal((rows, outputs)).astype(np.float32)
    chosen = seed % 6
    if chosen == 0:
        return real, "mean_squared_error"
    if chosen == 1:
        return real, "huber"
    if chosen == 2:
        return (real > 0).astype(np.float32), "binary_cross_entropy"
    if chosen == 3:
        return real, lambda guess, target: cr.sum(cr.square(guess - target) * 0.5)
    if chosen == 4:
        return np.abs(real), "poisson"
    return rng.integers(0, outputs, rows), "cross_entropy"
