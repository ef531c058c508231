"""A problem small enough for fifty steps in a test, and optimizers with slots, schedules and bounds of every kind."""

from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.nn.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from chainrule.nn.schedules import Cosine, OneCycle, Plateau, WarmUp

MAKES: dict[str, Callable[[], Optimizer]] = {
    "sgd": lambda: SGD(0.1),
    "nesterov": lambda: SGD(WarmUp(5, Cosine(0.1, steps=9)), momentum=0.9, nesterov=True, clip_norm=0.1),
    "adagrad": lambda: Adagrad(0.1, weight_decay=0.1),
    "rmsprop": lambda: RMSprop(OneCycle(0.05, steps=20), momentum=0.5, centered=True),
    "adam": lambda: Adam(0.05, clip_value=0.1, clip_global_norm=0.1),
    "adamw": lambda: AdamW(Plateau(0.05, patience=0, factor=0.5)),
}


def problem(dtype: str = "float64") -> dict[str, np.ndarray]:
    """Inputs, targets and first parameters of a small layer with tanh."""
    rng = np.random.default_rng(0)
    arrays = {"x": (8, 3), "y": (8, 2), "weight": (3, 2), "bias": (2,)}
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in arrays.items()}


def parameters(dtype: str = "float64") -> list[cr.Parameter]:
    return [cr.Parameter(problem(dtype)[name], name) for name in ("weight", "bias")]


def loss_of(weight: Any, bias: Any, x: Any, y: Any) -> cr.Tensor:
    return cr.mean((cr.tanh(x @ weight + bias) - y) ** 2)


def moved(moving: list[cr.Parameter], optimizer: Optimizer, steps: int) -> None:
    x, y = (problem(moving[0].dtype.name)[name] for name in "xy")
    for _ in range(steps):
        optimizer.update(cr.backpropagate(loss_of(*moving, x, y)))
