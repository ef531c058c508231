"""Faults of networks: how they are put together, and the weights that they begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.look.diagnosis.rules import ALL as ALL
from look.faults.asking import Asked, ending, simply
from look.faults.problems import Array, Build, Problem, plain

# --- Wiring -------------------------------------------------------------------------------------------------------


def softmax_twice(p: Problem, build: Build) -> Asked:
    return Asked(ending(build(p.features, p.outputs), nn.Softmax()), (p.X, p.y), p.loss)


def sigmoid_twice(p: Problem, build: Build) -> Asked:
    y = (p.y == 0).astype(np.float32)
    return Asked(ending(build(p.features, 1), nn.Sigmoid()), (p.X, y), "binary_cross_entropy")


def too_few_outputs(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, p.outputs - 1), (p.X, p.y), p.loss)


def one_output(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, 1), (p.X, p.y), p.loss)


def far_too_many_outputs(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, 2 * p.outputs), (p.X, p.y), p.loss)


def no_activation(p: Problem, build: Build) -> Asked:
    layers = [nn.Dense(p.features, 24), nn.Dense(24, 24), nn.Dense(24, p.outputs)]
    return Asked(nn.Sequential(*(layers[::2] if build is plain else layers)), (p.X, p.y), p.loss)


def relu_at_the_end(p: Problem, build: Build) -> Asked:
    return Asked(ending(build(p.features, 1), nn.ReLU()), (p.X, p.y), p.loss)


def tanh_at_the_end(p: Problem, build: Build) -> Asked:
    return Asked(ending(build(p.features, 1), nn.Tanh()), (p.X, 3 * p.y), p.loss)


def sigmoid_at_the_end(p: Problem, build: Build) -> Asked:
    return Asked(ending(build(p.features, 1), nn.Sigmoid()), (p.X, p.y), p.loss)


def layer_norm_at_the_end(p: Problem, build: Build) -> Asked:
    return Asked(ending(build(p.features, 1), nn.LayerNorm(1)), (p.X, p.y), p.loss)


def one_output_for_no_class(p: Problem, build: Build) -> Asked:
    """Classes numbered from 1, and an output more so that the loss takes them."""
    return Asked(build(p.features, p.outputs + 1), (p.X, p.y + 1), p.loss)


def relu_logits(p: Problem, build: Build) -> Asked:
    return Asked(ending(build(p.features, p.outputs), nn.ReLU()), (p.X, p.y), p.loss)


class Detached(nn.Module):
    """The first part is cut off from the gradient."""

    def __init__(self, first: nn.Module, last: nn.Module) -> None:
        self.first, self.last = first, last

    def __call__(self, x: Any) -> Any:
        return self.last(cr.stop_gradient(self.first(x)))


def detached(p: Problem, build: Build) -> Asked:
    first = nn.Sequential(build(p.features, 16), nn.ReLU())
    return Asked(Detached(first, nn.Dense(16, p.outputs)), (p.X, p.y), p.loss)


class Unused(nn.Module):
    """One layer is made and never called."""

    def __init__(self, net: nn.Module, width: int) -> None:
        self.net, self.extra = net, nn.Dense(width, width)

    def __call__(self, x: Any) -> Any:
        return self.net(x)


def unused(p: Problem, build: Build) -> Asked:
    return Asked(Unused(build(p.features, p.outputs), p.features), (p.X, p.y), p.loss)


def all_frozen(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, p.outputs).freeze(), (p.X, p.y), p.loss)


def first_frozen(p: Problem, build: Build) -> Asked:
    net = build(p.features, p.outputs)
    next(net.children())[1].freeze()
    return Asked(net, (p.X, p.y), p.loss)


class Hiding(nn.Module):
    """A layer behind a function, where the module does not see it."""

    def __init__(self, net: nn.Module, hidden: nn.Module) -> None:
        self.net, self.function = net, lambda x: hidden(x)

    def __call__(self, x: Any) -> Any:
        return self.net(self.function(x))


def hidden_layer(p: Problem, build: Build) -> Asked:
    return Asked(
        Hiding(build(p.features, p.outputs), nn.Dense(p.features, p.features, activation="relu")), (p.X, p.y), p.loss
    )


def dropout_out_of_reach(p: Problem, build: Build) -> Asked:
    return Asked(Hiding(build(p.features, p.outputs), nn.Dropout(0.3)), (p.X, p.y), p.loss)


def forgotten_eval(p: Problem, build: Build) -> Asked:
    net = nn.Sequential(nn.Dense(p.features, 32), nn.Dropout(0.3), build(32, p.outputs)).eval()
    net[1].train()
    return Asked(net, (p.X, p.y), p.loss)


def dropout_at_the_end(p: Problem, build: Build) -> Asked:
    return Asked(ending(build(p.features, p.outputs), nn.Dropout(0.5)), (p.X, p.y), p.loss)


def tiny_batches(p: Problem, build: Build) -> Asked:
    asked = Asked(nn.Sequential(nn.BatchNorm(p.features), build(p.features, p.outputs)), (p.X, p.y), p.loss)
    asked.more["batch_size"] = 2
    return asked


def bias_before_norm(p: Problem, build: Build) -> Asked:
    net = nn.Sequential(nn.Dense(p.features, 16), nn.BatchNorm(16), nn.ReLU(), build(16, p.outputs))
    return Asked(net, (p.X, p.y), p.loss)


def one_unit(p: Problem, build: Build) -> Asked:
    net = nn.Sequential(build(p.features, 1), nn.Tanh(), nn.Dense(1, p.outputs))
    return Asked(net, (p.X, p.y), p.loss)


def huge_network(p: Problem, build: Build) -> Asked:
    wide = nn.Sequential(nn.Dense(p.features, 600, activation="relu"), nn.Dense(600, 600, activation="relu"))
    return Asked(nn.Sequential(wide, build(600, p.outputs)), (p.X[:60], p.y[:60]), p.loss)


# --- Start --------------------------------------------------------------------------------------------------------


def drawn_anew(net: nn.Module, draw: Callable[[Array], Array]) -> nn.Module:
    for parameter in net.parameters():
        if parameter.ndim >= 2:
            parameter.assign(draw(parameter.value).astype(np.float32))
    return net


def zero_weights(p: Problem, build: Build) -> Asked:
    return Asked(drawn_anew(build(p.features, p.outputs), np.zeros_like), (p.X, p.y), p.loss)


def equal_weights(p: Problem, build: Build) -> Asked:
    net = drawn_anew(build(p.features, p.outputs), lambda value: np.full_like(value, 0.1))
    return Asked(net, (p.X, p.y), p.loss)


def huge_weights(p: Problem, build: Build) -> Asked:
    return Asked(drawn_anew(build(p.features, p.outputs), lambda value: 20 * value), (p.X, p.y), p.loss)


def tiny_weights(p: Problem, build: Build) -> Asked:
    return Asked(drawn_anew(build(p.features, p.outputs), lambda value: 0.005 * value), (p.X, p.y), p.loss)


def large_last_layer(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    last = asked.net.parameters()[-2]
    last.assign(15 * last.value)
    return asked


def many_sigmoids(p: Problem, build: Build) -> Asked:
    depth = 6 if build is plain else 9
    hidden = [layer for _ in range(depth) for layer in (nn.Dense(24, 24), nn.Sigmoid())]
    net = nn.Sequential(nn.Dense(p.features, 24), nn.Sigmoid(), *hidden, nn.Dense(24, p.outputs))
    return Asked(net, (p.X, p.y), p.loss)
