"""What a seeded fault is made of: what `diagnose` is asked about, and runs that train it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import chainrule as cr
from chainrule import nn
from chainrule.errors import TrainingError
from chainrule.look.diagnosis.rules import ALL as ALL
from chainrule.train.trainer import Trainer
from look.faults.problems import Array, Build, Problem, deep, plain


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
