"""Networks and data for the tests of watching and recording: small, and with everything that a step may change."""

from __future__ import annotations

from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn

Array = np.ndarray[Any, Any]
ROWS, BATCH = 70, 16  # the last batch of an epoch has 6 rows
STEPS = 5  # in an epoch


def data(classes: int = 3) -> tuple[Array, Array]:
    rng = np.random.default_rng(5)
    return rng.normal(size=(ROWS, 8)).astype(np.float32), rng.integers(0, classes, ROWS)


class Residual(nn.Module):
    """A block that adds its input, with something of its own after its layers."""

    def __init__(self, features: int) -> None:
        self.dense = nn.Dense(features, features)

    def __call__(self, x: Any) -> Any:
        return cr.tanh(x + self.dense(x))


def plain() -> nn.Module:
    return nn.Sequential(nn.Dense(8, 24), nn.ReLU(), nn.Dense(24, 12), nn.Sigmoid(), nn.Dense(12, 3))


def busy() -> nn.Module:
    """Running statistics, random numbers, a residual sum."""
    return nn.Sequential(
        nn.Dense(8, 24), nn.BatchNorm(24), nn.ReLU(), nn.Dropout(0.3), Residual(24), nn.LayerNorm(24), nn.Dense(24, 3)
    )


NETS = {"plain": plain, "busy": busy}
OPTIMIZERS = {
    "sgd": lambda: cr.optim.SGD(0.05, momentum=0.9),
    "adam": lambda: cr.optim.Adam(0.01),
    "adamw": lambda: cr.optim.AdamW(0.01, clip_global_norm=1.0),
}


def trained(make: Any, optimizer: Any, *callbacks: cr.Callback, epochs: int = 3, **settings: Any) -> Any:
    """A network, its optimizer and the history of its run; equal settings give equal bits."""
    cr.random.seed(1)
    net, rule = make(), optimizer()
    settings = {"loss": "cross_entropy", "batch_size": BATCH, "progress": False} | settings
    history = cr.fit(net, settings.pop("data", data()), optimizer=rule, epochs=epochs, callbacks=callbacks, **settings)
    return net, rule, history


def bits(owner: Any) -> dict[str, bytes]:
    """What a network or an optimizer holds, to the last bit."""
    return {name: np.asarray(array).tobytes() for name, array in owner.arrays().items()}
