"""Seeded faults: each puts one mistake into a healthy problem, and names the rule that should find it.

A fault gets a problem, a way to build a network, and gives back what `diagnose` is asked about.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.errors import TrainingError
from chainrule.look.diagnosis.rules import ALL as ALL
from chainrule.train.trainer import Trainer
from look.faults.problems import Array, Build, Problem, deep, plain, problem, raw


@dataclass
class Asked:
    """What `diagnose` is called with."""

    net: nn.Module
    data: tuple[Array, ...]
    loss: Any
    more: dict[str, Any] = field(default_factory=dict)

    def diagnose(self) -> cr.look.Findings:
        return cr.look.diagnose(self.net, self.data, loss=self.loss, **self.more)


Seed = Callable[[Problem, Build], Asked]


@dataclass(frozen=True)
class Fault:
    """One mistake, the rules of which any is right, and the sets and architectures that it is put into."""

    name: str
    rules: tuple[str, ...]
    seed: Seed
    sets: tuple[str, ...] = ("digits", "iris")
    builds: tuple[Build, ...] = (plain, deep)


class Kept(cr.Callback):
    """Keeps the history of a run, also of one that fails."""

    each_batch = False

    def on_train_begin(self, trainer: Trainer) -> None:
        self.history = trainer.history


def trained(
    net: nn.Module,
    data: tuple[Array, ...],
    loss: Any,
    optimizer: Any,
    epochs: int = 8,
    validation: Any = None,
    **more: Any,
) -> cr.History:
    """A short run on NumPy, and its history also where it failed."""
    kept = Kept()
    with contextlib.suppress(TrainingError):
        cr.fit(
            net,
            data,
            loss=loss,
            optimizer=optimizer,
            epochs=epochs,
            validation=validation,
            callbacks=[kept],
            progress=False,
            compile=False,
            **{"batch_size": 64} | more,
        )
    return kept.history


def simply(p: Problem, build: Build) -> Asked:
    """A problem with nothing wrong."""
    return Asked(build(p.features, p.outputs), (p.X, p.y), p.loss)


def ending(net: nn.Module, *layers: nn.Module) -> nn.Module:
    """The network with more layers at its end."""
    return nn.Sequential(*(net.layers if isinstance(net, nn.Sequential) else (net,)), *layers)


# --- Data ---------------------------------------------------------------------------------------------------------


def unscaled(p: Problem, build: Build) -> Asked:
    X, y = raw(p.name)
    return Asked(build(p.features, p.outputs), (X, y), p.loss)


def bytes_of_pixels(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    return Asked(asked.net, (255 * np.abs(p.X), p.y), p.loss, {"optimizer": cr.optim.SGD(0.1)})


def one_huge_column(p: Problem, build: Build) -> Asked:
    X = p.X.copy()
    X[:, 1] *= 2000
    return Asked(build(p.features, p.outputs), (X, p.y), p.loss)


def missing_numbers(p: Problem, build: Build) -> Asked:
    X = p.X.copy()
    X[3, 2], X[7, 1] = np.nan, np.inf
    return Asked(build(p.features, p.outputs), (X, p.y), p.loss)


def missing_targets(p: Problem, build: Build) -> Asked:
    y = p.y.astype(np.float32)
    y[5] = np.nan
    return Asked(build(p.features, 1), (p.X, y), "mean_squared_error")


def constant_column(p: Problem, build: Build) -> Asked:
    X = np.column_stack([p.X, np.full(len(p.X), 3.0, np.float32)])
    return Asked(build(p.features + 1, p.outputs), (X, p.y), p.loss)


def repeated_column(p: Problem, build: Build) -> Asked:
    X = np.column_stack([p.X, 2 * p.X[:, 0] + 1])
    return Asked(build(p.features + 1, p.outputs), (X, p.y), p.loss)


def shared_rows(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    asked.more["validation"] = (p.X[:40], p.y[:40])
    return asked


def validation_unscaled(p: Problem, build: Build) -> Asked:
    asked = simply(p, build)
    asked.more["validation"] = raw(p.name)
    return asked


def classes_from_one(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, p.outputs), (p.X, p.y + 1), p.loss)


def minus_and_plus_one(p: Problem, build: Build) -> Asked:
    y = np.where(p.y == 0, -1, 1).astype(np.int64)
    return Asked(build(p.features, 1), (p.X, y), "binary_cross_entropy")


def float_classes(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, p.outputs), (p.X, p.y.astype(np.float32)), p.loss)


def one_hot_integers(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, p.outputs), (p.X, np.eye(p.outputs, dtype=np.int64)[p.y]), p.loss)


def classes_as_quantities(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, 1), (p.X, p.y), "mean_squared_error")


def rare_class(p: Problem, build: Build) -> Asked:
    kept = np.flatnonzero((p.y != 1) | (np.cumsum(p.y == 1) <= 4))
    return Asked(build(p.features, p.outputs), (p.X[kept], p.y[kept]), p.loss)


def given_away(p: Problem, build: Build) -> Asked:
    noise = np.random.default_rng(3).normal(size=len(p.y)) * 0.01
    X = np.column_stack([p.X, (p.y - p.y.mean()) / p.y.std() + noise]).astype(np.float32)
    return Asked(build(p.features + 1, p.outputs), (X, p.y), p.loss)


def shuffled(p: Problem, build: Build) -> Asked:
    y = np.random.default_rng(4).permutation(p.y)
    return Asked(build(p.features, p.outputs), (p.X, y), p.loss)


def wrong_labels(p: Problem, build: Build) -> Asked:
    rng = np.random.default_rng(5)
    y = p.y.copy()
    chosen = rng.random(len(y)) < 0.25
    y[chosen] = (y[chosen] + rng.integers(1, p.outputs, chosen.sum())) % p.outputs
    return Asked(build(p.features, p.outputs), (p.X, y), p.loss)


def one_target(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, 1), (p.X, np.full(len(p.X), 2.5, np.float32)), "mean_squared_error")


def targets_of_thousands(p: Problem, build: Build) -> Asked:
    return Asked(build(p.features, 1), (p.X, 3000 + 500 * p.y.astype(np.float32)), "mean_squared_error")


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
    history = trained(net, (p.X, p.y), p.loss, cr.optim.Adam(1e-2, weight_decay=0.5), epochs=15)
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


TABLES = ("iris", "wine")
MANY = ("digits", "breast-cancer")
FAULTS = (
    Fault("raw columns", ("inputs-not-scaled",), unscaled, ("wine", "breast-cancer")),
    Fault("bytes of pixels", ("inputs-not-scaled",), bytes_of_pixels, ("digits", "iris")),
    Fault("one huge column", ("inputs-not-scaled",), one_huge_column, TABLES),
    Fault("NaN and infinity in X", ("data-not-finite",), missing_numbers, TABLES),
    Fault("NaN in y", ("data-not-finite",), missing_targets, ("diabetes", "wine")),
    Fault("constant column", ("constant-columns",), constant_column, TABLES),
    Fault("repeated column", ("duplicate-columns",), repeated_column, TABLES),
    Fault("validation holds training rows", ("validation-shares-rows",), shared_rows),
    Fault("validation not scaled", ("validation-scaled-otherwise",), validation_unscaled, ("wine", "breast-cancer")),
    Fault("classes numbered from 1", ("label-out-of-range",), classes_from_one),
    Fault("classes -1 and 1", ("label-out-of-range",), minus_and_plus_one),
    Fault("classes as floats", ("label-wrong-kind",), float_classes),
    Fault("one-hot integers", ("label-wrong-kind",), one_hot_integers),
    Fault("classes as quantities", ("label-wrong-kind",), classes_as_quantities),
    Fault("one target everywhere", ("constant-target",), one_target, ("diabetes", "wine")),
    Fault("rare class", ("class-imbalance",), rare_class, ("digits", "wine")),
    Fault("column gives target away", ("target-given-away",), given_away, ("wine", "diabetes")),
    Fault("labels shuffled", ("labels-look-shuffled",), shuffled, ("digits", "diabetes")),
    Fault("a quarter of labels wrong", ("labels-likely-wrong",), wrong_labels, ("digits", "wine")),
    Fault("targets of thousands", ("targets-not-scaled",), targets_of_thousands, ("diabetes", "digits")),
    Fault("softmax before cross entropy", ("probabilities-before-logits",), softmax_twice),
    Fault("sigmoid before binary cross entropy", ("probabilities-before-logits",), sigmoid_twice),
    Fault("too few outputs", ("output-width",), too_few_outputs),
    Fault("one output for many classes", ("output-width",), one_output),
    Fault("twice too many outputs", ("output-width",), far_too_many_outputs, ("digits", "breast-cancer")),
    Fault("no activation", ("no-nonlinearity",), no_activation),
    Fault(
        "relu on a regression's output",
        ("output-cannot-reach-targets",),
        relu_at_the_end,
        ("diabetes", "penguins-mass"),
    ),
    Fault(
        "tanh on a regression's output",
        ("output-cannot-reach-targets",),
        tanh_at_the_end,
        ("diabetes", "penguins-mass"),
    ),
    Fault(
        "sigmoid on a regression's output",
        ("output-cannot-reach-targets",),
        sigmoid_at_the_end,
        ("diabetes", "penguins-mass"),
    ),
    Fault("relu on logits", ("output-cannot-reach-targets",), relu_logits),
    Fault("gradient cut off", ("no-gradient",), detached),
    Fault("layer never called", ("no-gradient",), unused),
    Fault("everything frozen", ("no-gradient",), all_frozen),
    Fault("first layer frozen as drawn", ("frozen-parameters",), first_frozen),
    Fault("layer hidden in a function", ("hidden-parameters",), hidden_layer),
    Fault("dropout out of reach of eval", ("dropout-misplaced",), dropout_out_of_reach),
    Fault("one layer left in training", ("dropout-misplaced",), forgotten_eval),
    Fault("dropout on the output", ("dropout-misplaced",), dropout_at_the_end),
    Fault("batch norm on two rows", ("batch-norm-tiny-batch",), tiny_batches),
    Fault("bias before batch norm", ("bias-before-batch-norm",), bias_before_norm),
    Fault("hidden layer of one unit", ("network-size",), one_unit),
    Fault("huge network, few rows", ("network-size",), huge_network),
    Fault("zero weights", ("symmetric-weights",), zero_weights),
    Fault("equal weights", ("symmetric-weights",), equal_weights),
    Fault("weights 20 times too large", ("first-weights-scale", "activations-grow"), huge_weights),
    Fault("weights 200 times too small", ("first-weights-scale", "activations-shrink"), tiny_weights),
    Fault("last layer 15 times too large", ("initial-loss-far-from-chance",), large_last_layer),
    Fault("many sigmoids", ("vanishing-gradients", "activations-shrink"), many_sigmoids),
    Fault("rate too high", ("learning-rate-too-high", "updates-too-large-or-small"), rate_too_high),
    Fault("rate too low", ("learning-rate-too-low",), rate_too_low),
    Fault(
        "trained with too high a rate",
        ("learning-rate-too-high", "oscillating-loss", "diverging-loss"),
        trained_with_high_rate,
    ),
    Fault("trained with too low a rate", ("learning-rate-too-low",), trained_with_low_rate),
    Fault("blown up to NaN", ("learning-rate-too-high", "loss-not-finite"), blown_up, ("diabetes", "digits")),
    Fault("dead units", ("dead-relu",), dead_units),
    Fault("saturated units", ("saturated-units",), saturated),
    Fault("exploding gradients", ("exploding-gradients", "activations-grow", "first-weights-scale"), exploding),
    Fault("loss jumps", ("oscillating-loss",), jumping),
    Fault("inputs blanked out", ("not-learning",), stuck),
    Fault("batches of one", ("batch-too-small",), tiny_batch_noise, ("digits", "diabetes")),
    Fault("learned by heart", ("overfitting",), learned_by_heart, ("digits", "diabetes")),
    Fault("two units for ten classes", ("underfitting", "network-size"), too_small, ("digits", "small-digits")),
    Fault(
        "weight decay holds everything down",
        ("weights-collapsed", "underfitting", "not-learning"),
        held_down,
        ("digits", "wine"),
    ),
    Fault("cut short", ("stopped-too-early",), cut_short, ("digits", "breast-cancer")),
    Fault("went on too long", ("trained-too-long", "overfitting"), gone_on_too_long, ("digits", "diabetes")),
    Fault("seeds far apart", ("seeds-disagree",), seeds_apart, ("iris", "digits")),
)


@dataclass(frozen=True)
class Case:
    """One seeded network: a fault in one set and one architecture."""

    fault: Fault
    set: str
    build: Build

    @property
    def id(self) -> str:
        return f"{self.fault.name}-{self.set}-{self.build.__name__}".replace(" ", "_")

    def asked(self) -> Asked:
        cr.random.seed(7)
        return self.fault.seed(problem(self.set), self.build)


def cases() -> list[Case]:
    """Every fault in every of its sets and architectures, each once."""
    found = {
        (fault.name, name, build.__name__): Case(fault, name, build)
        for fault in FAULTS
        for name in fault.sets
        for build in fault.builds
    }
    return list(found.values())
