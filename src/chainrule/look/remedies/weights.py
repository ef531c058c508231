"""Remedies for first weights: drawn anew, or let learn. They take any network."""

from __future__ import annotations

import numpy as np

from chainrule.engine.random import Generator
from chainrule.engine.state import Parameter
from chainrule.look.diagnosis.finding import Finding
from chainrule.look.remedies.loop import Change
from chainrule.look.remedies.way import Way, copied
from chainrule.nn.containers import Sequential
from chainrule.nn.dense import Dense
from chainrule.nn.embedding import Embedding
from chainrule.nn.initializers import initial
from chainrule.nn.module import Module


def redraw(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Weights are drawn anew as their activations need them, and biases begin at 0; what is frozen stays."""
    net, generator = copied(way.net), Generator(seed)
    drawn = [_redrawn(module, generator) for module in net.named_modules().values()]
    if not any(drawn):
        return None
    for module in net.named_modules().values():
        if isinstance(module, Sequential):
            module.suit_weights()
    code = "[layer.redraw() for layer in net.named_modules().values() if isinstance(layer, nn.Dense)]"
    return Change(way.with_(net=net), "weights drawn anew, biases begin at 0", code)


def _redrawn(module: Module, generator: Generator) -> bool:
    """Draw what a module itself owns; whether there was anything."""
    if isinstance(module, Embedding):
        return False
    if isinstance(module, Dense):
        if module.weight.trainable:
            module.redraw(generator)
        return bool(module.weight.trainable)
    own = {name: value for name, value in vars(module).items() if isinstance(value, Parameter) and value.trainable}
    matrices = {name: value for name, value in own.items() if value.ndim >= 2 and value.size}
    for name, value in matrices.items():
        drawn = initial("glorot_uniform", value.shape, f"{type(module).__name__}: {name}", generator)
        value.assign(drawn.value.astype(value.dtype))
    if matrices and "bias" in own:
        own["bias"].assign(np.zeros(own["bias"].shape, own["bias"].dtype))
    return bool(matrices)


def unfreeze(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Every parameter may learn."""
    if finding.severity == "hint" or all(parameter.trainable for parameter in way.net.parameters()):
        return None
    return Change(way.with_(net=copied(way.net).unfreeze()), "every parameter may learn", "net.unfreeze()")
