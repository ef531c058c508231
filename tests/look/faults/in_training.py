"""Faults of runs: how they go, and what comes of them."""

from __future__ import annotations

from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.look.diagnosis.rules import ALL as ALL
from look.faults.asking import Asked, simply, trained
from look.faults.in_data import wrong_labels
from look.faults.in_networks import drawn_anew
from look.faults.problems import Build, Problem, plain

# --- Training -----------------------------------------------------------------------------------------------------


def rate_too_high(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    asked.more["optimizer"] = cr.optim.Adam(1.0) if build is plain else cr.optim.SGD(20.0)
    return asked


def rate_too_low(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    asked.more["optimizer"] = cr.optim.Adam(1e-7) if build is plain else cr.optim.SGD(1e-5)
    return asked


def trained_with_high_rate(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    optimizer = cr.optim.Adam(2.0) if build is plain else cr.optim.SGD(30.0)
    history = trained(asked.net, asked.data, asked.loss, optimizer)
    asked.more |= {"history": history, "optimizer": optimizer}
    return asked


def trained_with_low_rate(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    optimizer = cr.optim.Adam(1e-6) if build is plain else cr.optim.SGD(1e-5)
    history = trained(asked.net, asked.data, asked.loss, optimizer)
    asked.more |= {"history": history, "optimizer": optimizer}
    return asked


def blown_up(p: Problem, build: Build) -> Asked:
    """A regression with plain gradient descent and far too large a rate: the loss becomes infinite."""
    asked = Asked(build(p.features, 1), (p.X, p.y.astype(np.float32)), "mean_squared_error")
    asked.more["history"] = trained(asked.net, asked.data, asked.loss, cr.optim.SGD(10.0))
    return asked


def dead_units(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    bias = next(each for name, each in asked.net.named_parameters() if name.endswith("bias"))
    bias.assign(np.full(bias.shape, -20.0, np.float32))
    return asked


def saturated(p: Problem, build: Build) -> Asked:
    net = nn.Sequential(nn.Dense(p.features, 24), nn.Tanh(), build(24, p.outputs))
    bias = net[0].bias
    bias.assign(np.full(bias.shape, 12.0, np.float32))
    return Asked(net, (p.X, p.y), p.loss)


def exploding(p: Problem, build: Build) -> Asked:
    depth = 10 if build is plain else 14
    net = nn.Sequential(*(nn.Dense(p.features if i == 0 else 24, 24, activation="relu") for i in range(depth)))
    drawn_anew(net, lambda value: 3 * value)
    return Asked(nn.Sequential(net, nn.Dense(24, p.outputs)), (p.X, p.y), p.loss)


def began_small(p: Problem, build: Build) -> Asked:
    """Many layers of tanh whose first weights are small, and Adam, which makes them larger in the end."""
    depth = 10 if build is plain else 12
    hidden = [layer for _ in range(depth) for layer in (nn.Dense(32, 32), nn.Tanh())]
    net = nn.Sequential(nn.Dense(p.features, 32), nn.Tanh(), *hidden, nn.Dense(32, p.outputs))
    numbers = np.random.default_rng(0)
    drawn_anew(net, lambda value: 0.03 * numbers.standard_normal(value.shape))
    return examined(net, p, 15)


def began_large(p: Problem, build: Build) -> Asked:
    """Layers of ReLU whose first weights are drawn with deviation 1."""
    depth = 8 if build is plain else 10
    net = nn.Sequential(*(nn.Dense(p.features if i == 0 else 32, 32, activation="relu") for i in range(depth)))
    net = nn.Sequential(net, nn.Dense(32, p.outputs))
    numbers = np.random.default_rng(0)
    drawn_anew(net, lambda value: numbers.standard_normal(value.shape))
    return examined(net, p, 10)


def examined(net: nn.Module, p: Problem, epochs: int) -> Asked:
    """After a run that `fit` was to diagnose, so that its history tells how large weights began."""
    optimizer = cr.optim.Adam(1e-3)
    history = trained(net, (p.X, p.y), p.loss, optimizer, epochs, diagnose=True, on_nan="skip")
    return Asked(net, (p.X, p.y), p.loss, {"history": history, "optimizer": optimizer})


def clipped(p: Problem, build: Build) -> Asked:
    """Gradients that are cut to nothing."""
    asked = simply(p, build)
    optimizer = cr.optim.SGD(0.1, clip_global_norm=1e-6)
    history = trained(asked.net, asked.data, asked.loss, optimizer)
    asked.more |= {"history": history, "optimizer": optimizer}
    return asked


def wrong_sign(p: Problem, build: Build) -> Asked:
    """A loss that is the smaller the worse the answers are."""
    net = build(p.features, p.outputs)

    def loss(guess: Any, target: Any) -> Any:
        return -cr.losses.cross_entropy(guess, target)

    return Asked(net, (p.X, p.y), loss, {"history": trained(net, (p.X, p.y), loss, cr.optim.Adam(1e-2), 12)})


def jumping(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    rows = [2.0, 1.0, 1.9, 0.9, 2.1, 1.1, 1.8, 1.0]
    asked.more["history"] = cr.History([{"epoch": i + 1.0, "loss": loss} for i, loss in enumerate(rows)], "epochs")
    return asked


def stuck(p: Problem, build: Build) -> Asked:
    """The network is asked to learn while all inputs are hidden from it."""
    net = nn.Sequential(nn.Lambda(lambda x: x * 0, name="blank"), build(p.features, p.outputs))
    history = trained(net, (p.X, p.y), p.loss, cr.optim.Adam(1e-2), epochs=12)
    return Asked(net, (p.X, p.y), p.loss, {"history": history})


def tiny_batch_noise(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    asked.more["batch_size"] = 1
    return asked


# --- Outcome ------------------------------------------------------------------------------------------------------


def learned_by_heart(p: Problem, build: Build) -> Asked:
    net = nn.Sequential(nn.Dense(p.features, 64, activation="relu"), build(64, p.outputs))
    noisy = wrong_labels(p, build).data[1] if p.loss == "cross_entropy" else p.y
    train, held = slice(0, 60), slice(60, 140)
    history = trained(
        net, (p.X[train], noisy[train]), p.loss, cr.optim.Adam(5e-3), 60, (p.X[held], noisy[held]), batch_size=20
    )
    return Asked(net, (p.X[train], noisy[train]), p.loss, {"history": history})


def too_small(p: Problem, build: Build) -> Asked:
    """A hidden layer of two units for ten classes."""
    net = nn.Sequential(nn.Dense(p.features, 2), nn.ReLU(), nn.Dense(2, p.outputs))
    if build is not plain:
        net = nn.Sequential(nn.Dense(p.features, 2), nn.ReLU(), nn.Dense(2, 2), nn.ReLU(), nn.Dense(2, p.outputs))
    history = trained(net, (p.X, p.y), p.loss, cr.optim.Adam(1e-2), epochs=25)
    return Asked(net, (p.X, p.y), p.loss, {"history": history})


def held_down(p: Problem, build: Build) -> Asked:
    """So much weight decay that nothing can be learned."""
    net = build(p.features, p.outputs)
    history = trained(net, (p.X, p.y), p.loss, cr.optim.Adam(1e-2, weight_decay=2.0), epochs=30)
    return Asked(net, (p.X, p.y), p.loss, {"history": history})


def cut_short(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    asked.more["history"] = trained(asked.net, asked.data, asked.loss, cr.optim.Adam(1e-3), epochs=4)
    return asked


def gone_on_too_long(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    ends = [(1.6, 1.7), (1.0, 1.2), (0.6, 0.9), (0.4, 1.0), (0.3, 1.1), (0.2, 1.25), (0.1, 1.4)]
    rows = [{"epoch": i + 1.0, "loss": own, "validation_loss": held} for i, (own, held) in enumerate(ends)]
    asked.more["history"] = cr.History(rows, "epochs")
    return asked


def seeds_apart(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    ends = (0.1, 1.9, 0.2, 2.3)
    runs = [cr.History([{"epoch": 1.0, "loss": 2.3}, {"epoch": 2.0, "loss": end}], "epochs") for end in ends]
    asked.more["history"] = runs
    return asked
