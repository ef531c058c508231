"""Rules about the beginning: the first weights, the first activations, the first loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.engine.state import Parameter
from chainrule.look.diagnosis.case import Case, Layer
from chainrule.look.diagnosis.graphs import ENDS, activation_of
from chainrule.look.diagnosis.registry import Rule, Sign, Threshold, error, warning

Array = np.ndarray[Any, Any]
SHRINK, GROW, FAR, FAR_NUMBERS, ALIKE = 0.01, 100.0, 4.0, 5.0, 1e-4


def symmetric(case: Case) -> Iterator[Sign]:
    """Layers of units that are copies of each other; a run leaves them so, up to rounding."""
    decays = case.history is not None and case.optimizer is not None and case.optimizer.weight_decay > 0
    alike: list[tuple[str, Parameter]] = []
    # Gradients that cancel leave rounding errors behind, about as large as those of the largest gradient.
    rounding = 1e-5 * max((float(np.abs(each).max(initial=0)) for each in case.gradients.values()), default=0.0)
    for name, weight in case.weights:
        value, gradient = weight.value, case.gradients[weight]
        apart = 0.0 if case.history is None else ALIKE * float(np.abs(value).max())
        vanished = decays and not value.any()  # decay alone can make every unit 0
        if value.shape[-1] > 1 and not vanished and _same_columns(value, apart) and _same_columns(gradient, rounding):
            alike.append((name, weight))
    if alike:
        name, weight = alike[0]
        zero = not weight.value.any()
        yield error(
            ", ".join(each for each, _ in alike[:3]),
            f"All {weight.shape[-1]} units of this layer {'begin with' if case.history is None else 'still have'} the "
            f"same weights{' (0)' if zero else ''} and get the same gradient: they stay copies of each other for ever.",
            "draw them at random: leave init away, or init='he_uniform'",
            layers=len(alike),
            value=float(weight.value.reshape(-1)[0]),
        )


def _same_columns(array: Array, tolerance: float) -> bool:
    return bool((np.abs(array - array[..., :1]) <= tolerance).all())


def _hidden_layers(case: Case, calls: list[Layer]) -> list[Layer]:
    """Of the calls those of layers with weights, without that which answers."""
    found = [layer for layer in calls if any(p.ndim >= 2 for p in layer.module.parameters())]
    return found[:-1] if found and found[-1].produced.shape == case.guess.shape else found


def _signal(array: Array) -> float:
    """How much the units differ from example to example: their deviation; NaN where a number is not finite."""
    wide = array.reshape(-1, array.shape[-1]).astype(np.float64)
    if not np.isfinite(wide).all():
        return math.nan
    return float(np.sqrt((wide.std(axis=0) ** 2).mean()))


def _activations(case: Case, calls: list[Layer]) -> Iterator[tuple[Layer, float, float]]:
    """Layers with what they received and produced, as deviations over the batch."""
    for layer in _hidden_layers(case, calls):
        if layer.received.dtype.kind == "f" and layer.received.ndim >= 2 and len(layer.received) > 1:
            yield layer, _signal(layer.received), _signal(layer.produced)


def _chain(case: Case, calls: list[Layer]) -> tuple[Layer, float, float, int] | None:
    """The last hidden layer with the deviation there, that at the first input, and the number of layers."""
    found = list(_activations(case, calls))
    finite = [entry for entry in found if math.isfinite(entry[1]) and math.isfinite(entry[2]) and entry[1] > 0]
    return (finite[-1][0], finite[0][1], finite[-1][2], len(finite)) if finite else None


def _shrink(case: Case) -> Iterator[Sign]:
    """Looked for now, and after a run that began slowly also at its start, where the history tells of it."""
    chain = None if case.has_learned else _chain(case, case.layers)
    began = False
    if (chain is None or not _shrinks(chain)) and case.began_slowly and case.first_sizes:
        chain, began = _chain(case, case.first_layers), True
    if chain is None or not _shrinks(chain):
        return
    last, first, end, count = chain
    deviation = _deviation(case, last)
    yield warning(
        last.path,
        f"What differs between examples {'shrank' if began else 'shrinks'} from {first:.3g} at the input to {end:.3g} "
        f"here, over {count} layer{'s' if count > 1 else ''}"
        + (f", with the weights as they began (here of size {deviation:.2g})" if began else "")
        + f": later layers {'saw' if began else 'see'} nearly the same for every row.",
        _wider_signal(case),
        deviation_at_input=first,
        deviation_here=end,
        layers=count,
        weight_deviation=deviation,
    )


def _shrinks(chain: tuple[Layer, float, float, int]) -> bool:
    return chain[2] <= SHRINK * chain[1]


def saturating(case: Case) -> list[str]:
    """The activations of the network whose slope is small far from 0, each once."""
    names = [activation_of(layer.module) for layer in case.layers]
    return [name for name in dict.fromkeys(names) if name in ENDS]


def _wider_signal(case: Case) -> str:
    flat = saturating(case)
    wider = [f"init='{'glorot' if flat == ['tanh'] else 'he'}_uniform' for the weights, as Dense has by itself"]
    wider += [f"ReLU in place of {' and '.join(flat)}"] if flat and flat != ["tanh"] else []
    return "; ".join([*wider, "nn.BatchNorm or nn.LayerNorm after each Dense"])


def _grow(case: Case) -> Iterator[Sign]:
    """Looked for before a run, and after one that began slowly at its start, where the history tells of it."""
    began = case.history is not None
    if began and not (case.first_sizes and case.began_slowly):
        return
    chain = _chain(case, case.first_layers if began else case.layers)
    if chain is None:
        return
    last, first, end, count = chain
    if end >= GROW * max(first, 1e-12) or not (began or np.isfinite(case.guess).all()):
        yield warning(
            last.path,
            f"Activations {'grew' if began else 'grow'} from {first:.3g} at the input to {end:.3g} here, over {count} "
            f"layers{', with the weights as they began' if began else ''}.",
            "smaller first weights: init='he_uniform' (ReLU) or 'glorot_uniform' (tanh), or nn.LayerNorm in between",
            deviation_at_input=first,
            deviation_here=end,
            layers=count,
            weight_deviation=_deviation(case, last),
        )


def _deviation(case: Case, layer: Layer) -> float:
    return float(np.mean([case.first_size(p) for p in layer.module.parameters() if p.ndim >= 2]))


def _weight_scale(case: Case) -> Iterator[Sign]:
    """Weights whose products of inputs of size 1 would be far from size 1; after a run of those that it began with."""
    if case.history is not None and not (case.first_sizes and case.began_slowly):
        return
    for layer in _hidden_layers(case, case.layers):
        for parameter in layer.module.parameters():
            if parameter.ndim < 2 or parameter not in case.parameters or layer.received.dtype.kind != "f":
                continue
            inputs, size = math.prod(parameter.shape[:-1]), case.first_size(parameter)
            gain = size * math.sqrt(inputs)
            if gain >= 8 or 0 < gain <= 0.05:
                yield warning(
                    case.parameters[parameter],
                    f"First weights of size {size:.3g} over {inputs} inputs multiply a signal by about {gain:.3g}; "
                    "1 to 1.4 keeps it.",
                    "leave init away: Dense then begins with sqrt(2 / inputs) before ReLU, less before tanh",
                    gain=gain,
                    inputs=inputs,
                )
                return


def _initial_loss(case: Case) -> Iterator[Sign]:
    loss, chance = case.loss_value, case.chance
    if math.isnan(chance) or math.isnan(loss) or case.failure is not None or case.loss.name == "poisson":
        return
    if case.loss.kind == "classification":  # to hold all classes for equally likely is a good beginning too
        even = math.log(case.guess.shape[-1]) if case.loss.name == "cross_entropy" else math.log(2)
        far = FAR * max(chance, even)
    else:  # answers about 1 in size cost about 1
        far = FAR_NUMBERS * chance + 1
    if loss > far:
        yield warning(
            case.loss.name,
            f"The first loss is {loss:.3g}, while the best constant answer has {chance:.3g}: the network begins sure "
            "of wrong answers and must unlearn them first.",
            "nn.Dense(..., init='glorot_uniform') as the last layer, and scale inputs and targets",
            first_loss=loss,
            chance=chance,
        )


_TRAINING = ("learning-rate-too-high", "exploding-gradients", "vanishing-gradients", "dead-relu", "saturated-units")
RULES = (
    Rule(
        "symmetric-weights",
        "Layers whose units all begin alike and get the same gradient: zeros, or one constant.",
        "Units that begin alike stay alike, so that a layer of any width is one unit.",
        ("before", "during"),
        symmetric,
        (
            Threshold(0, "difference between units", "Goodfellow et al., Deep Learning (2016), 8.4; NeuraLint (2021)"),
            Threshold(ALIKE, "the same after training, by the largest weight", "ours: what rounding leaves"),
        ),
        (
            "activations-shrink",
            "weights-collapsed",
            *_TRAINING,
            "updates-too-large-or-small",
            "not-learning",
            "underfitting",
            "learning-rate-too-low",
            "no-gradient",
        ),
    ),
    Rule(
        "first-weights-scale",
        "First weights much larger or smaller than their number of inputs asks for.",
        "Every layer multiplies the signal by the same factor, forward and back.",
        ("before", "during"),
        _weight_scale,
        (
            Threshold(8.0, "gain sqrt(inputs) · root mean square, at most", "ours, after Glorot and Bengio (2010)"),
            Threshold(0.05, "the same at least", "ours, after He et al. (2015)"),
        ),
        (
            "activations-shrink",
            "activations-grow",
            "initial-loss-far-from-chance",
            *_TRAINING,
            "learning-rate-too-low",
            "not-learning",
            "underfitting",
        ),
    ),
    Rule(
        "activations-shrink",
        "Activations that differ less and less from example to example, from layer to layer.",
        "The last layers cannot tell the examples apart, and gradients vanish on the way back.",
        ("before", "during"),
        _shrink,
        (Threshold(SHRINK, "deviation over the batch, last by first", "ours, after Glorot and Bengio (2010)"),),
        ("vanishing-gradients", "learning-rate-too-low", "not-learning", "underfitting"),
    ),
    Rule(
        "activations-grow",
        "Activations that grow from layer to layer.",
        "Units saturate or overflow, and gradients explode.",
        ("before", "during"),
        _grow,
        (
            Threshold(
                GROW, "deviation over the batch, last by first", "ours; SageMaker Debugger, PoorWeightInitialization"
            ),
        ),
        ("initial-loss-far-from-chance", *_TRAINING, "diverging-loss", "oscillating-loss", "loss-not-finite"),
    ),
    Rule(
        "initial-loss-far-from-chance",
        "A first loss far above that of the best constant answer.",
        "The first steps only undo the beginning; with a large rate they go astray.",
        ("before",),
        _initial_loss,
        (
            Threshold(
                FAR, "first loss by the loss of the best constant answer, classes", "ours, after Karpathy (2019)"
            ),
            Threshold(FAR_NUMBERS, "the same for numbers", "ours"),
        ),
        ("learning-rate-too-high", "exploding-gradients"),
        fresh=True,
    ),
)
