"""Training runs that must come to something that is not finite, and where: what the error has to name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn

ROWS, BATCH = 64, 8
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """What to train, and what has to be named: op, layer, phase, the step (from 1), and the row where there is one."""

    name: str
    net: Callable[[], nn.Module]
    loss: Any
    op: str
    layer: str
    phase: str
    advice: str
    row: int | None = None
    step: int | None = None
    spoil: Callable[[Array, Array], None] = field(default=lambda X, y: None)
    optimizer: Callable[[], Any] = field(default=lambda: cr.optim.SGD(0.01))
    outputs: int = 1


class Custom(nn.Module):
    """A dense layer, then something of one's own."""

    def __init__(self, then: Callable[[Any], Any], **settings: Any) -> None:
        self.dense = nn.Dense(4, 1, **settings)
        self.then = Then(then)

    def __call__(self, x: Any) -> Any:
        return self.then(self.dense(x))


class Then(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, x: Any) -> Any:
        return self.function(x)


class Head(nn.Module):
    """What is done to the input, then a dense layer."""

    def __init__(self, first: Callable[[Any], Any]) -> None:
        self.first = Then(first)
        self.dense = nn.Dense(4, 1)

    def __call__(self, x: Any) -> Any:
        return self.dense(self.first(x))


def ones(shape: tuple[int, ...], **settings: Any) -> cr.Tensor:
    """All weights 1."""
    return cr.ones(shape, dtype=cr.float32)


def at(row: int, value: float, column: int = 1) -> Callable[[Array, Array], None]:
    """Put a value into a row of X."""

    def spoil(X: Array, y: Array) -> None:
        X[row, column] = value

    return spoil


def whole(row: int, value: float) -> Callable[[Array, Array], None]:
    """Put a value into all of a row of X."""

    def spoil(X: Array, y: Array) -> None:
        X[row] = value

    return spoil


def target(row: int, value: float) -> Callable[[Array, Array], None]:
    """Put a value into a row of y."""

    def spoil(X: Array, y: Array) -> None:
        y[row] = value

    return spoil


def square(guesses: Any, targets: Any) -> Any:
    """The mean squared error, by hand."""
    return cr.mean((guesses - targets) ** 2)


def log_of_relu(guesses: Any, targets: Any) -> Any:
    """A log of what a ReLU may have made 0."""
    return -cr.mean(targets * cr.log(cr.relu(guesses)))


def log_of_target(guesses: Any, targets: Any) -> Any:
    """A relative entropy that forgot about targets of 0."""
    return cr.mean(cr.log(targets) * guesses)


def by_target(guesses: Any, targets: Any) -> Any:
    """A relative error."""
    return cr.mean(cr.abs((guesses - targets) / targets))


def odds(guesses: Any, targets: Any) -> Any:
    """A loss of exp, without care."""
    return cr.mean(cr.exp(2.0 * targets * guesses))


def root_of_guess(guesses: Any, targets: Any) -> Any:
    """Finite at 0, but its slope is not."""
    return cr.mean(cr.sqrt(cr.abs(guesses)))


def handed(guesses: Any, targets: Any) -> Any:
    """A loss of arcus cosine, which ends at 1."""
    return cr.mean(cr.acos(targets) * guesses)


def own_softmax(guesses: Any, targets: Any) -> Any:
    """A softmax without taking the largest off, on logits that are not small."""
    powers = cr.exp(200.0 * guesses)
    return cr.mean((powers / (1.0 + powers) - targets) ** 2)


CASES = [
    Case("log of zero in the loss", lambda: nn.Dense(4, 1, init="zeros"), log_of_relu, "log", "", "loss", "maximum"),
    Case(
        "log of a target of zero",
        lambda: nn.Dense(4, 1),
        log_of_target,
        "log",
        "",
        "loss",
        "maximum",
        37,
        spoil=target(37, 0.0),
    ),
    Case(
        "log of a negative input",
        lambda: Head(cr.log),
        square,
        "log",
        "first",
        "forward",
        "maximum",
        21,
        spoil=at(21, -2.0),
    ),
    Case(
        "log1p below -1", lambda: Head(cr.log1p), square, "log1p", "first", "forward", "maximum", 3, spoil=at(3, -1.5)
    ),
    Case(
        "division by a target",
        lambda: nn.Dense(4, 1),
        by_target,
        "div",
        "",
        "loss",
        "divisor",
        11,
        spoil=target(11, 0.0),
    ),
    Case(
        "division by an input",
        lambda: Head(lambda x: 1.0 / x),
        square,
        "div",
        "first",
        "forward",
        "divisor",
        50,
        spoil=at(50, 0.0),
    ),
    Case(
        "division by a constant row's deviation",
        lambda: Head(lambda x: (x - cr.mean(x, axis=1, keepdims=True)) / cr.std(x, axis=1, keepdims=True)),
        square,
        "div",
        "first",
        "forward",
        "divisor",
        29,
        spoil=whole(29, 2.0),
    ),
    Case(
        "overflow in exp of an input",
        lambda: Head(cr.exp),
        square,
        "exp",
        "first",
        "forward",
        "logsumexp",
        42,
        spoil=at(42, 100.0),
    ),
    Case(
        "overflow in exp of the loss",
        lambda: nn.Dense(4, 1, init=ones),
        odds,
        "exp",
        "",
        "loss",
        "logsumexp",
        17,
        spoil=target(17, 30.0),
        optimizer=lambda: cr.optim.SGD(1e-12),
    ),
    Case("a softmax by hand", lambda: nn.Dense(4, 1, init=ones), own_softmax, "exp", "", "loss", "logsumexp"),
    Case(
        "root of a negative input",
        lambda: Head(cr.sqrt),
        square,
        "sqrt",
        "first",
        "forward",
        "negative",
        60,
        spoil=at(60, -0.5),
    ),
    Case(
        "the slope of a root at zero",
        lambda: nn.Dense(4, 1, init="zeros"),
        root_of_guess,
        "div",
        "",
        "backpropagation",
        "slope of a root",
        step=1,
    ),
    Case(
        "the slope of a power at zero",
        lambda: nn.Dense(4, 1, init="zeros"),
        lambda guesses, targets: cr.mean(cr.abs(guesses) ** 0.5),
        "pow",
        "",
        "backpropagation",
        "base",
        step=1,
    ),
    Case(
        "a root of a layer's own",
        lambda: Custom(lambda x: cr.sqrt(cr.abs(x)), init="zeros"),
        square,
        "div",
        "then",
        "backpropagation",
        "slope of a root",
        step=1,
    ),
    Case("arcus cosine beyond 1", lambda: nn.Dense(4, 1), handed, "acos", "", "loss", "clip", 8, spoil=target(8, 1.5)),
    Case(
        "a power of a negative number",
        lambda: Head(lambda x: x**1.5),
        square,
        "pow",
        "first",
        "forward",
        "base",
        33,
        spoil=at(33, -3.0),
    ),
    Case(
        "a bad row of the data",
        lambda: nn.Dense(4, 1, init=ones),
        square,
        "mul",
        "",
        "loss",
        "rows of the data",
        5,
        spoil=at(5, 1e25),
    ),
    Case(
        "a row too large for the first layer",
        lambda: nn.Sequential(nn.Dense(4, 3, init=ones), nn.Dense(3, 1)),
        square,
        "matmul",
        "0",
        "forward",
        "rows of the data",
        13,
        spoil=whole(13, 3e38),
    ),
    Case("a bad target", lambda: nn.Dense(4, 1), square, "mul", "", "loss", "data", 55, spoil=target(55, 1e30)),
    Case(
        "an exploding step",
        lambda: nn.Sequential(nn.Dense(4, 8), nn.ReLU(), nn.Dense(8, 1)),
        square,
        "mul",
        "",
        "loss",
        "smaller learning rate",
        optimizer=lambda: cr.optim.SGD(1e6),
    ),
    Case(
        "an update that overflows",
        lambda: nn.Dense(4, 1, init=ones),
        lambda g, t: 1e30 * cr.mean(g * g),
        "mul",
        "",
        "update",
        "smaller learning rate",
        step=1,
        optimizer=lambda: cr.optim.SGD(1e10),
    ),
    Case(
        "a moment that overflows",
        lambda: nn.Sequential(nn.Dense(4, 1, init=ones)),
        lambda g, t: 1e25 * cr.mean(g),
        "mul",
        "0",
        "update",
        "",
        step=1,
        optimizer=lambda: cr.optim.Adam(1e-3),
    ),
    Case(
        "a gradient that overflows",
        lambda: nn.Sequential(nn.Dense(4, 1, init="zeros"), Then(lambda x: 1e20 * x)),
        lambda g, t: 1e20 * cr.mean(g * t),
        "mul",
        "1",
        "backpropagation",
        "float32",
        step=1,
    ),
    Case(
        "scaled again and again",
        lambda: nn.Sequential(*[Then(lambda x: 1e15 * x) for _ in range(3)], nn.Dense(4, 1)),
        square,
        "mul",
        "2",
        "forward",
        "",
    ),
]
