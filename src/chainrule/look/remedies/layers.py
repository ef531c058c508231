"""Remedies that put a Sequential together otherwise: another last layer, other activations, other widths.

Each takes a way and a finding, and gives a change, or None where it does not apply. Layers keep their values,
but for those that are named; a network that is no Sequential is left as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

from chainrule.engine.random import Generator
from chainrule.engine.state import Parameter
from chainrule.look.diagnosis.finding import Finding
from chainrule.look.remedies.code import sequential_code
from chainrule.look.remedies.loop import Change
from chainrule.look.remedies.way import Way
from chainrule.nn import activations
from chainrule.nn.activations import ActivationLayer, LeakyReLU, LogSoftmax, ReLU
from chainrule.nn.containers import Sequential
from chainrule.nn.dense import Dense, Flatten
from chainrule.nn.dropout import Dropout
from chainrule.nn.module import Module
from chainrule.nn.normalization import BatchNorm, LayerNorm, RMSNorm

LAYER_OF: dict[str, type[ActivationLayer]] = {
    kind.activation: kind
    for kind in vars(activations).values()
    if isinstance(kind, type) and issubclass(kind, ActivationLayer) and kind is not ActivationLayer
}
USUAL_DROPOUT, STRONG_DROPOUT = 0.3, 0.3
LEAST_UNITS, MOST_UNITS = 32, 1024
_NORMS = (BatchNorm, LayerNorm, RMSNorm)
_SATURATING = ("sigmoid", "tanh", "hard_sigmoid", "hard_tanh")


def layers_of(net: Module) -> list[Module]:
    """The layers of a Sequential in the order of their calls, those of Sequentials inside in their place, copied."""
    return list(_flat(copy.deepcopy(net))) if isinstance(net, Sequential) else []


def _flat(net: Module) -> Iterator[Module]:
    if isinstance(net, Sequential):
        for layer in net.layers:
            yield from _flat(layer)
    else:
        yield net


def remade(layer: Dense, generator: Generator, *, inputs: int | None = None, outputs: int | None = None) -> Dense:
    """A layer like this one with other sizes, drawn anew; it keeps as much of the old weight as fits its outputs."""
    old = layer.weight.value
    shape = (inputs or old.shape[0], outputs or old.shape[1])
    made = Dense(shape[0], shape[1], layer.bias is not None, _name(layer), generator=generator)
    value = made.weight.value.astype(old.dtype)
    if inputs in (None, old.shape[0]):
        kept = min(shape[1], old.shape[1])
        value[:, :kept] = old[:, :kept]
    made.weight = Parameter(value)
    return made


def _name(layer: Dense) -> str | None:
    return None if layer.activation is None else layer.activation.name


def _with_activation(layer: Dense, name: str | None) -> Dense:
    """The same parameters with another activation, or none."""
    inputs, outputs = layer.weight.shape
    other = Dense(inputs, outputs, layer.bias is not None, name, init="zeros")
    other.weight, other.bias = layer.weight, layer.bias
    other.arguments.pop("init")  # the values are those of the layer
    return other


def _numbers(seed: int, place: int) -> Generator:
    return Generator(1000 * seed + place)


def _changed(way: Way, layers: list[Module], words: str) -> Change[Way]:
    return Change(way.with_(net=Sequential(*layers)), words, sequential_code(layers))


def _dense(layers: list[Module]) -> list[tuple[int, Dense]]:
    """The Dense layers with their places."""
    return [(place, layer) for place, layer in enumerate(layers) if isinstance(layer, Dense)]


# --- The end of the network --------------------------------------------------------------------------------------


def drop_last_activation(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """The activation after the last layer is taken away: the loss takes its place, or the range asks for none."""
    layers = layers_of(way.net)
    if not layers:
        return None
    last = layers[-1]
    if finding.advice.startswith("end the network with nn.LogSoftmax"):
        return _changed(way, [*layers, LogSoftmax()], "the network ends with a LogSoftmax")
    if isinstance(last, Dense) and last.activation is not None:
        name = last.activation.name
        layers[-1] = _with_activation(last, None)
    elif isinstance(last, ActivationLayer) and len(layers) > 1:
        name = last.activation
        layers.pop()
    else:
        return None
    return _changed(way, layers, f"the {name} at the end is removed")


def fit_width(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """The last layer gets as many outputs as there are classes or targets, and keeps the weights of those it had."""
    layers, y = layers_of(way.net), way.data[1]
    wanted = finding.evidence.get("classes", finding.evidence.get("targets"))
    if wanted is None and finding.rule == "label-out-of-range" and y.dtype.kind in "iu" and int(y.min()) >= 0:
        wanted = int(y.max()) + 1
    found = _dense(layers)
    if not found or not isinstance(wanted, int):
        return None
    place, last = found[-1]
    had = last.weight.shape[1]
    outputs = wanted if "targets" in finding.evidence else max(wanted, 2)
    if had == outputs or any(isinstance(layer, _NORMS) for layer in layers[place + 1 :]):
        return None
    layers[place] = remade(last, _numbers(seed, place), outputs=outputs)
    words = f"the last layer has {outputs} output{'s' if outputs > 1 else ''} in place of {had}"
    return _changed(way, layers, words)


# --- Activations -------------------------------------------------------------------------------------------------


def activate_between(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """A ReLU stands between layers that were but one linear layer together."""
    layers = layers_of(way.net)
    linear = [
        place
        for place, layer in enumerate(layers[:-1])
        if isinstance(layer, Dense) and layer.activation is None and _next_weight(layers, place) is not None
    ]
    if not linear:
        return None
    for place in reversed(linear):
        after = place + 1
        while isinstance(layers[after], _NORMS):
            after += 1
        layers.insert(after, ReLU())
    count = f"{len(linear)} hidden layers" if len(linear) > 1 else "the hidden layer"
    return _changed(way, layers, f"a ReLU stands after {count}")


def _next_weight(layers: list[Module], place: int) -> int | None:
    """The next Dense after a place, with nothing in between but what is linear."""
    for after in range(place + 1, len(layers)):
        if isinstance(layers[after], Dense):
            return after
        if not isinstance(layers[after], Dropout | Flatten | _NORMS):
            return None
    return None


def _swapped(layers: list[Module], old: tuple[str, ...], new: str, make: Callable[[], Module]) -> list[str]:
    """Give hidden layers with an activation in `old` another one; returns the names that were replaced."""
    names = []
    for place, layer in enumerate(layers[:-1]):
        name = _name(layer) if isinstance(layer, Dense) else getattr(layer, "activation", None)
        if name in old and isinstance(layer, Dense | ActivationLayer):
            names.append(name)
            layers[place] = _with_activation(layer, new) if isinstance(layer, Dense) else make()
    return list(dict.fromkeys(names))


def relu_instead(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Hidden layers get ReLU in place of sigmoid or tanh, whose slope is small; their weights are drawn anew for it."""
    layers = layers_of(way.net)
    names = _swapped(layers, _SATURATING, "relu", ReLU)
    if not names:
        return None
    for place, layer in _dense(layers)[:-1]:
        layer.redraw(_numbers(seed, place))
    return _changed(way, layers, f"ReLU in place of {' and '.join(names)} in hidden layers")


def leaky_instead(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Hidden layers get LeakyReLU in place of ReLU, which lets a gradient pass where a unit is off."""
    layers = layers_of(way.net)
    if not _swapped(layers, ("relu",), "leaky_relu", LeakyReLU):
        return None
    return _changed(way, layers, "LeakyReLU in place of ReLU in hidden layers")


def normalise_between(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Each hidden layer is followed by a LayerNorm, which keeps the size of what flows."""
    layers: list[Module] = []
    old = layers_of(way.net)
    hidden = [place for place, _ in _dense(old)[:-1]]
    if not hidden or any(isinstance(layer, _NORMS) for layer in old):
        return None
    for place, layer in enumerate(old):
        if place in hidden and isinstance(layer, Dense):
            layers += [_with_activation(layer, None), LayerNorm(layer.weight.shape[1])]
            layers += [LAYER_OF[layer.activation.name]()] if layer.activation is not None else []
        else:
            layers.append(layer)
    return _changed(way, layers, "a LayerNorm after each hidden layer")


def layer_norm_instead(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """LayerNorm, which looks at one row alone, in place of BatchNorm."""
    old = layers_of(way.net)
    layers = [LayerNorm(layer.weight.shape[0]) if isinstance(layer, BatchNorm) else layer for layer in old]
    if layers == old:
        return None
    return _changed(way, layers, "LayerNorm in place of BatchNorm")


# --- Dropout -----------------------------------------------------------------------------------------------------


def less_dropout(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Dropout after the last layer goes, and none hides more than `STRONG_DROPOUT`."""
    layers = layers_of(way.net)
    if layers and isinstance(layers[-1], Dropout) and layers[-1].p:
        layers.pop()
        return _changed(way, layers, "the dropout at the end is removed")
    strong = [(n, layer.p) for n, layer in enumerate(layers) if isinstance(layer, Dropout) and layer.p > STRONG_DROPOUT]
    for place, _ in strong:
        layers[place] = Dropout(STRONG_DROPOUT, generator=_numbers(seed, place))
    if not strong:
        return None
    words = f"dropout hides {STRONG_DROPOUT:.0%} in place of {max(p for _, p in strong):.0%}"
    return _changed(way, layers, words)


def more_dropout(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Dropout after each hidden layer, where there is none."""
    old = layers_of(way.net)
    if any(isinstance(layer, Dropout) for layer in old) or len(_dense(old)) < 2:
        return None
    layers: list[Module] = []
    last = _dense(old)[-1][0]
    for place, layer in enumerate(old):
        layers.append(layer)
        active = isinstance(layer, ActivationLayer) or (isinstance(layer, Dense) and layer.activation is not None)
        if active and place < last:
            layers.append(Dropout(USUAL_DROPOUT, generator=_numbers(seed, place)))
    if len(layers) == len(old):
        return None
    return _changed(way, layers, f"dropout of {USUAL_DROPOUT:g} after each hidden layer")


# --- Widths ------------------------------------------------------------------------------------------------------


def fit_size(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Wider hidden layers where one is too narrow for the classes, else narrower ones."""
    return (wider if "units" in finding.evidence else narrower)(way, finding, seed)


def wider(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Hidden layers get twice their units, and at least `LEAST_UNITS`; those layers are drawn anew."""
    return _resized(way, seed, lambda units: min(max(2 * units, LEAST_UNITS), max(units, MOST_UNITS)), "wider")


def narrower(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Hidden layers get a quarter of their units, but at least 16; those layers are drawn anew."""
    return _resized(way, seed, lambda units: max(units // 4, min(units, 16)), "narrower")


def _resized(way: Way, seed: int, size: Callable[[int], int], words: str) -> Change[Way] | None:
    layers = layers_of(way.net)
    found = _dense(layers)
    plain = (Dense, ActivationLayer, Dropout, *_NORMS)
    if len(found) < 2 or not all(isinstance(layer, plain) for layer in layers[found[0][0] :]):
        return None
    before = [layer.weight.shape[1] for _, layer in found[:-1]]
    after = [size(units) for units in before]
    if before == after:
        return None
    inputs = found[0][1].weight.shape[0]
    widths = iter([*after, found[-1][1].weight.shape[1]])
    for place, layer in enumerate(layers):
        if isinstance(layer, Dense):
            outputs = next(widths)
            layers[place] = new = remade(layer, _numbers(seed, place), inputs=inputs, outputs=outputs)
            new.redraw(_numbers(seed, place))
            inputs = outputs
        elif isinstance(layer, _NORMS) and place > found[0][0]:
            layers[place] = type(layer)(inputs)
    were, are = (", ".join(map(str, each)) for each in (before, after))
    described = f"hidden layers are {words}: {are} units in place of {were}"
    return _changed(way, layers, described)
