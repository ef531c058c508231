"""Which figures of a watched step are out of their healthy range, by the thresholds of the rules of diagnosis.

Comes in: the figures of every layer at one step, and what kind of layer each is. Goes out: a mark for each figure that
is out of range, with the rule that bounds it; docs/diagnosis.md says what to do about that rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chainrule.look.diagnosis.flow import (
    DEAD,
    EXPLODED,
    SATURATED_LATER,
    TOO_LARGE,
    TOO_SMALL,
    VANISHED,
    VANISHED_NORM,
)
from chainrule.look.diagnosis.graphs import activation_of
from chainrule.look.diagnosis.start import GROW, SHRINK
from chainrule.look.explaining.figures import short
from chainrule.look.watching.measuring import label_of
from chainrule.nn.module import Module
from chainrule.train.watched import Figures

HIGH, LOW, LOST = "▲", "▼", "✗"  # above the range, below it, no number at all
# Of the outputs of a ReLU: as where `DEAD` of its units are 0 for ever and the others for four examples in five.
ZEROS = DEAD + (1 - DEAD) * 0.8


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a layer without a step: its class, how many numbers it learns, and its activation by name.

    `is_weighted` tells whether one of its parameters has rows and columns: gradients are compared among those layers.
    """

    name: str
    elements: int = 0
    is_weighted: bool = False
    activation: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A figure of a layer that is out of range: its sign, the rule that says so, and the evidence in words."""

    layer: str
    figure: str
    sign: str
    rule: str
    says: str


def kinds_of(net: Module) -> dict[str, Kind]:
    """The kind of every module of a network, by the name that it has among the figures."""
    owned: dict[str, list[tuple[int, ...]]] = {}
    for name, parameter in net.named_parameters():
        if parameter.trainable:
            owned.setdefault(label_of(net, name.rpartition(".")[0]), []).append(parameter.shape)
    kinds = {}
    for path, module in net.named_modules().items():
        label = label_of(net, path)
        shapes = owned.get(label, [])
        is_weighted = any(len(shape) >= 2 for shape in shapes)
        kinds[label] = Kind(type(module).__name__, sum(map(math.prod, shapes)), is_weighted, activation_of(module))
    return kinds


def marks_of(layers: Mapping[str, Figures], kinds: Mapping[str, Kind]) -> list[Mark]:
    """The figures that are out of range, layer by layer.

    Parameters
    ----------
    layers
        The figures of every layer at one step, in the order of the forward pass.
    kinds
        What `kinds_of` says of the network.

    Returns
    -------
    list of Mark
        Empty where all is well.

    Examples
    --------
    >>> kinds = {"0": Kind("Dense", 20, True), "1": Kind("Tanh", activation="tanh"), "2": Kind("Dense", 5, True)}
    >>> [mark] = marks_of({"0": {"update_ratio": 3.0}, "1": {"activation_saturated": 0.2}, "2": {}}, kinds)
    >>> mark.layer, mark.figure, mark.sign, mark.rule
    ('0', 'update_ratio', '▲', 'updates-too-large-or-small')
    """
    return [*_lost(layers), *_gradients(layers, kinds), *_updates(layers), *_activations(layers, kinds)]


def _lost(layers: Mapping[str, Figures]) -> Iterator[Mark]:
    for layer, figures in layers.items():
        for name in ("gradient_norm", "activation_mean", "activation_deviation"):
            if name in figures and not math.isfinite(figures[name]):
                yield Mark(layer, name, LOST, "loss-not-finite", "it is infinite or NaN")


def _gradients(layers: Mapping[str, Figures], kinds: Mapping[str, Kind]) -> Iterator[Mark]:
    """The root mean square of each layer's gradient beside that of the last, as the rules have it for weights."""
    sizes = {
        layer: figures["gradient_norm"] / math.sqrt(kinds[layer].elements)
        for layer, figures in layers.items()
        if "gradient_norm" in figures and layer in kinds and kinds[layer].is_weighted
    }
    if len(sizes) < 3:
        return
    last = [*sizes.values()][-1]
    for layer, size in sizes.items():
        share = f"{short(size / last)} of the last layer's" if last else "while that of the last layer is 0"
        if size < VANISHED * last and size < VANISHED_NORM:
            yield Mark(layer, "gradient_norm", LOW, "vanishing-gradients", f"gradient {share}")
        is_large = layers[layer]["gradient_norm"] > layers[layer].get("weight_norm", math.inf)
        if math.isfinite(size) and size > EXPLODED * max(last, 1e-30) and is_large:
            yield Mark(layer, "gradient_norm", HIGH, "exploding-gradients", f"gradient {share}")


def _updates(layers: Mapping[str, Figures]) -> Iterator[Mark]:
    for layer, figures in layers.items():
        ratio = figures.get("update_ratio", math.nan)  # NaN also where the weights are 0, which may well be left
        sign = HIGH if ratio > TOO_LARGE else LOW if ratio < TOO_SMALL else ""
        if sign:
            says = f"a step moves it by {short(ratio)} of its size; about 0.001 is usual"
            yield Mark(layer, "update_ratio", sign, "updates-too-large-or-small", says)


def _activations(layers: Mapping[str, Figures], kinds: Mapping[str, Kind]) -> Iterator[Mark]:
    weighted = [layer for layer in layers if layer in kinds and kinds[layer].is_weighted]
    first = layers[weighted[0]].get("activation_deviation", math.nan) if weighted else math.nan
    answering = [*layers][-1] if layers else ""
    for layer, figures in layers.items():
        zero, ends = figures.get("activation_zero", 0.0), figures.get("activation_saturated", 0.0)
        if zero >= ZEROS and layer in kinds and kinds[layer].activation == "relu":
            yield Mark(layer, "activation_zero", HIGH, "dead-relu", f"{zero:.0%} of its outputs are 0")
        if layer == answering:
            continue  # what it may answer is the task's business
        if ends >= SATURATED_LATER:
            says = f"{ends:.0%} of its outputs lie at the ends of their range"
            yield Mark(layer, "activation_saturated", HIGH, "saturated-units", says)
        if layer not in weighted[1:]:
            continue
        spread = figures.get("activation_deviation", math.nan)
        if spread <= SHRINK * first:
            yield Mark(layer, "activation_deviation", LOW, "activations-shrink", f"from {short(first)} in the first")
        if math.isfinite(spread) and spread >= GROW * max(first, 1e-12):
            yield Mark(layer, "activation_deviation", HIGH, "activations-grow", f"from {short(first)} in the first")
