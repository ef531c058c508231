"""Rules about what flows: gradients by layer, dead and saturated units, sizes of updates, and what a rate does."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from chainrule.engine.state import Parameter
from chainrule.look.diagnosis.case import Case, squared_norm
from chainrule.look.diagnosis.graphs import ENDS, activation_of
from chainrule.look.diagnosis.registry import PROBING, Rule, Sign, Threshold, hint, warning
from chainrule.look.diagnosis.start import saturating, symmetric
from chainrule.look.diagnosis.trials import Trial
from chainrule.look.explaining.update import moves_of
from chainrule.train.examination import rms

Array = np.ndarray[Any, Any]
VANISHED, VANISHED_NORM, EXPLODED, DEAD, SATURATED, SATURATED_LATER = 1e-3, 1e-4, 70.0, 0.5, 0.5, 0.75
TOO_LARGE, TOO_SMALL, NOISE, SHORT, SHORTENED = 1.0, 1e-7, 4.0, 1e-5, 100.0
HIGH_RATE, LOW_RATE, CREEPING, STANDS, COLLAPSED = 0.03, 1e-4, 0.05, 1e-5, 0.05
RATES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def _norms(case: Case) -> list[tuple[str, float]]:
    """The root mean square of each weight's gradient, in the order of the forward pass."""
    return [(name, rms(case.gradients[weight])) for name, weight in case.weights]


def _vanishing(case: Case) -> Iterator[Sign]:
    """Looked for now, and after a run that began slowly also at its start: what fades there delays all the rest."""
    if len(case.weights) < 3 or (case.has_learned and not case.began_slowly):
        return
    now, began = None if case.has_learned else _faded(case, case.gradients), None
    if now is None and case.began_slowly:
        began = _faded(case, case.first_gradients)
    found = now or began
    if found is not None:
        first, low, high = found
        yield warning(
            first,
            (
                f"The gradient of the first layer is {low:.2g} in size, that of the last {high:.2g}"
                if now is not None
                else f"With weights freshly drawn the gradient of the first layer is {low:.2g}, of the last {high:.2g}"
            )
            + f": the error fades on its way back through {len(case.weights)} layers.",
            (f"ReLU in place of {' and '.join(flat)}, " if (flat := saturating(case)) else "")
            + "nn.BatchNorm after each Dense, or shortcuts: nn.Residual(...)",
            first_by_last=low / high,
            first_gradient=low,
            last_gradient=high,
        )


def _faded(case: Case, gradients: Mapping[Parameter, Array]) -> tuple[str, float, float] | None:
    """The first weight and the sizes of the first and the last gradient, where the first is nothing by the last."""
    sizes = [(name, rms(gradients[weight])) for name, weight in case.weights if weight in gradients]
    if len(sizes) < 3:
        return None
    (first, low), (_, high) = sizes[0], sizes[-1]
    return (first, low, high) if high > 0 and low / high < VANISHED and low < VANISHED_NORM else None


def _exploding(case: Case) -> Iterator[Sign]:
    norms = _norms(case)
    if not norms:
        return
    bad = [name for name, size in norms if not math.isfinite(size)]
    if bad:
        yield warning(
            bad[0],
            "The gradient of this parameter is infinite or NaN.",
            "clip_global_norm=1.0 in the optimizer, a smaller learning rate, smaller first weights",
            parameters=len(bad),
        )
        return
    (first, early), (_, late) = norms[0], norms[-1]
    weight = dict(case.weights)[first]
    relative = early / max(rms(weight.value), 1e-12)
    if len(norms) >= 3 and early > EXPLODED * max(late, 1e-30) and relative > 1:
        yield warning(
            first,
            f"The gradient grows on its way back: {early:.2g} in the first layer, {late:.2g} in the last.",
            "clip_global_norm=1.0 in the optimizer, init='he_uniform', or nn.LayerNorm between the layers",
            first_by_last=early / max(late, 1e-30),
            first_gradient=early,
            gradient_by_weight=relative,
        )


def _dead(case: Case) -> Iterator[Sign]:
    for layer in case.layers:
        if activation_of(layer.module) != "relu" or layer.produced.ndim < 2 or len(layer.produced) < 16:
            continue
        units = layer.produced.reshape(-1, layer.produced.shape[-1])
        dead = (units == 0).all(axis=0)
        share = float(dead.mean())
        if share >= DEAD and (dead.sum() >= 4 or share == 1):
            yield warning(
                layer.path,
                f"{share:.0%} of the {units.shape[1]} ReLU units are 0 for each of {len(layer.produced)} examples: "
                "no gradient passes them, and they stay so.",
                "a smaller learning rate, init='he_uniform', biases that begin at 0, or nn.LeakyReLU()",
                dead=share,
                units=int(units.shape[1]),
            )


def _saturated(case: Case) -> Iterator[Sign]:
    for layer in case.layers:
        name = activation_of(layer.module)
        if name not in ENDS or layer.produced.ndim < 2 or layer.produced.shape == case.guess.shape:
            continue
        low, high = ENDS[name]
        near = 0.01 * (high - low)
        share = float(((layer.produced < low + near) | (layer.produced > high - near)).mean())
        if share >= (SATURATED if case.history is None else SATURATED_LATER):
            yield warning(
                layer.path,
                f"{share:.0%} of the activations lie at the ends of {name}, where its slope is nearly 0.",
                "scale the inputs, init='glorot_uniform', a smaller learning rate, or nn.LayerNorm before it",
                saturated=share,
                largest_input_to_layer=float(np.abs(layer.received).max()),
            )


def _updates(case: Case) -> Iterator[Sign]:
    if case.optimizer is None or not case.weights or case.has_learned:
        return
    chosen = {weight: case.gradients[weight] for _, weight in case.weights}
    names = {weight: name for name, weight in case.weights}
    with np.errstate(all="ignore"):
        moves = moves_of(case.optimizer, chosen, names)
    ratios = {move.name: rms(move.step) / max(rms(move.before), 1e-12) for move in moves if move.before.any()}
    leaves_zero = any(move.step.any() for move in moves if not move.before.any())
    if not ratios or not all(map(math.isfinite, ratios.values())):
        return
    fast, slow = max(ratios, key=ratios.__getitem__), max(ratios.values())
    if ratios[fast] > TOO_LARGE:
        yield warning(
            fast,
            f"One step moves this weight by {ratios[fast]:.2g} times its own size; about 0.001 is usual.",
            f"a learning rate about {case.optimizer.current_learning_rate() * 0.01 / ratios[fast]:.1g}",
            update_by_weight=ratios[fast],
            learning_rate=case.optimizer.current_learning_rate(),
        )
    elif slow < SHORT and _shortened(case) > SHORTENED:
        yield warning(
            fast,
            f"clip_global_norm={case.optimizer.clip_global_norm:g} makes the gradient {_shortened(case):,.0f} times "
            f"shorter: one step moves no weight by more than {slow:.2g} of its own size; about 0.001 is usual.",
            "clip_global_norm=1.0, which only bounds what is unusual",
            update_by_weight=slow,
            shortened=_shortened(case),
        )
    elif slow < TOO_SMALL and not leaves_zero and may_be_faster(case):
        yield warning(
            fast,
            f"One step moves no weight by more than {slow:.2g} of its own size; about 0.001 is usual.",
            "a larger learning rate: cr.optim.Adam(1e-3)",
            update_by_weight=slow,
            learning_rate=case.optimizer.current_learning_rate(),
        )


def _shortened(case: Case) -> float:
    """How many times shorter clipping makes the gradient of the batch; 1 without."""
    bound = None if case.optimizer is None else case.optimizer.clip_global_norm
    return max(1.0, math.sqrt(squared_norm(case.gradients)) / bound) if bound else 1.0


# --- The learning rate, tried out ---------------------------------------------------------------------------------


def _in_trouble(case: Case) -> bool:
    """Whether it is worth trying rates out: before training always, later if the loss fell little or not at all."""
    if case.history is None:
        return True
    return bool(case.trouble) or not case.losses or case.losses[-1] > 0.7 * case.chance


def _tried(case: Case) -> Trial | None:
    return case.trial(None, fresh=case.history is not None) if _in_trouble(case) else None


def best_rate(case: Case) -> Trial | None:
    """A range test (Smith, 2017): the rate with which some steps aside bring the loss down most."""
    trials = [case.trial(rate, fresh=case.history is not None) for rate in RATES]
    usable = [each for each in trials if each is not None and math.isfinite(each.after)]
    return min(usable, key=lambda each: (each.after, each.highest)) if usable else None


def may_be_faster(case: Case) -> bool:
    """Whether a larger learning rate can be advised: not where the rate is beyond the best one already."""
    if case.optimizer is None:
        return (case.rate or 0.0) <= HIGH_RATE
    best = best_rate(case)
    return best is None or case.optimizer.current_learning_rate() < 10 * best.rate


def _too_high(case: Case) -> Iterator[Sign]:
    """Tried aside where the optimizer is known; otherwise told by the rate of a run that went wrong."""
    if case.optimizer is None:
        rate, trouble = case.rate or 0.0, case.trouble
        if not trouble and len(case.losses) >= 3 and case.losses[-1] > 0.5 * case.chance and not any(_vanishing(case)):
            stayed = min(case.losses[1:]) > 0.97 * case.chance
            trouble = "the network learned little" if stayed or rate > 10 * HIGH_RATE else ""
        if rate > HIGH_RATE and trouble:
            yield warning(
                "the optimizer",
                f"The learning rate was {rate:g}, and {trouble}.",
                f"learning_rate={rate / 100:g}",
                learning_rate=rate,
                usual_at_most=HIGH_RATE,
            )
        return
    tried = _tried(case)
    if tried is None or not math.isfinite(tried.before):
        return
    worst = max(tried.after, 0.0)
    rises = tried.after > 1.3 * tried.before and not tried.after < case.chance
    leaps = tried.highest > 5 * max(tried.before, case.chance if math.isfinite(case.chance) else 0) and tried.fall < 0.3
    if not (rises or leaps):
        return
    best = best_rate(case)
    if best is None or best.rate >= tried.rate or not best.after < min(tried.before, tried.after):
        return
    yield warning(
        "the optimizer",
        f"With the learning rate {tried.rate:g} the loss went from {tried.before:.3g} to {worst:.3g} in some steps "
        f"tried aside; with {best.rate:g} it came to {best.after:.3g}.",
        f"learning_rate={best.rate:g}",
        learning_rate=tried.rate,
        suggested=best.rate,
        loss_before=tried.before,
        loss_after=tried.after,
        highest_on_the_way=tried.highest,
    )


def _too_low(case: Case) -> Iterator[Sign]:
    """Tried aside where the optimizer is known; otherwise told by a run that crept downhill in every epoch."""
    if case.optimizer is None:
        yield from _crept(case)
        return
    tried = _tried(case)
    if tried is None or not math.isfinite(tried.after) or tried.fall > 0.01 or tried.after > 1.05 * tried.before:
        return
    if case.loss_value < 0.5 * case.chance:
        return  # little is left to learn
    best = best_rate(case)
    if best is None or best.rate < 10 * tried.rate or best.fall < max(0.1, 10 * tried.fall):
        return
    yield warning(
        "the optimizer",
        f"With the learning rate {tried.rate:g} the loss falls by {max(tried.fall, 0):.2%} in some steps tried aside; "
        f"with {best.rate:g} by {best.fall:.0%}.",
        f"learning_rate={best.rate:g}",
        learning_rate=tried.rate,
        suggested=best.rate,
        fall=tried.fall,
        fall_with_suggested=best.fall,
    )


def _crept(case: Case) -> Iterator[Sign]:
    losses, rate = case.losses, case.rate
    if rate is None or rate > LOW_RATE or len(losses) < 3 or losses[-1] < 0.5 * case.chance:
        return
    fall = (losses[0] - losses[-1]) / abs(losses[0]) if losses[0] else 0.0
    stands = max(losses) - min(losses) <= STANDS * abs(losses[0])
    if stands or (fall < CREEPING and all(later <= earlier for earlier, later in itertools.pairwise(losses))):
        yield warning(
            "the optimizer",
            f"The learning rate was {rate:g}, and the loss "
            + ("stood still" if stands else f"crept down by {fall:.2%}")
            + f" in {len(losses)} epochs.",
            "learning_rate=1e-3 for Adam, 1e-1 for SGD",
            learning_rate=rate,
            fall=fall,
        )


def _noise(case: Case) -> Iterator[Sign]:
    """The simple noise scale, estimated from gradients of eighths of the batch and of all of it."""
    most = 16 if case.history is None else 4  # after training little signal is left, and noise always outweighs it
    scale = case.noise_scale if case.batch_size <= most else None
    if scale is None or scale < NOISE * case.batch_size:
        return
    yield hint(
        f"batch_size={case.batch_size}",
        f"The gradient of so few rows is mostly noise: about {scale:.0f} rows balance signal and noise."
        if math.isfinite(scale)
        else "The gradient of so few rows is all noise: no signal stands out even in many of them.",
        f"batch_size={balanced_rows(scale)}",
        batch_size=case.batch_size,
        rows_for_balance=scale,
    )


def balanced_rows(scale: float) -> int:
    """The rows of a batch for a noise scale, which may be infinite: the power of two at its half, from 16 to 256."""
    return int(2 ** min(8, max(4, round(math.log2(max(min(scale, 1e9), 1.0) / 2)))))


_CURVES = ("diverging-loss", "oscillating-loss", "loss-not-finite", "not-learning")
_FADING = (  # what follows where little of the signal, or of its slope, is left
    "activations-shrink",
    "vanishing-gradients",
    "dead-relu",
    "not-learning",
    "underfitting",
    "learning-rate-too-low",
)


def _collapsed(case: Case) -> Iterator[Sign]:
    """Weights that a run made nearly 0: not those that began so, nor those that nothing pulls down."""
    decays = case.optimizer is None or case.optimizer.weight_decay > 0
    if not decays or any(symmetric(case)):
        return
    gains = {name: rms(weight.value) * math.sqrt(math.prod(weight.shape[:-1])) for name, weight in case.weights}
    if len(gains) >= 2 and case.history is not None and max(gains.values()) < COLLAPSED:
        yield warning(
            min(gains, key=gains.__getitem__),
            "Training made every weight nearly 0: what the loss asks for is drowned by what shrinks the weights.",
            "weight_decay=1e-4, or AdamW with weight_decay=1e-2, which does not mix it into the gradient",
            largest_gain=max(gains.values()),
        )


RULES = (
    Rule(
        "learning-rate-too-high",
        "A learning rate with which the loss rises, tried out on a copy.",
        "Steps leap over the valley; the loss grows or jumps, and units die.",
        ("before", "during"),
        _too_high,
        (
            Threshold(1.3, "loss after some steps by loss before", "ours"),
            Threshold(
                HIGH_RATE, "rate of a run that went wrong", "ours; UMLAUT (Schoop et al., 2021) warns beyond 0.01"
            ),
        ),
        (
            *_CURVES,
            "weights-collapsed",
            "activations-shrink",
            "vanishing-gradients",
            "dead-relu",
            "saturated-units",
            "updates-too-large-or-small",
            "exploding-gradients",
            "underfitting",
        ),
    ),
    Rule(
        "weights-collapsed",
        "Weights that training made nearly 0.",
        "Weight decay, mostly: it pulls harder than the gradient of the loss.",
        ("during",),
        _collapsed,
        (Threshold(COLLAPSED, "gain sqrt(inputs) · root mean square of every weight", "ours; SageMaker, AllZero"),),
        _FADING,
    ),
    Rule(
        "vanishing-gradients",
        "Gradients that fade from the last layer to the first.",
        "The first layers stay as they were drawn.",
        ("before", "during"),
        _vanishing,
        (
            Threshold(VANISHED, "first layer's gradient by last layer's", "AutoTrainer (Zhang et al., 2021), β₁"),
            Threshold(VANISHED_NORM, "first layer's gradient", "AutoTrainer (2021), β₂"),
        ),
        ("learning-rate-too-low", "not-learning", "underfitting", "updates-too-large-or-small"),
    ),
    Rule(
        "exploding-gradients",
        "Gradients that grow from the last layer to the first, or are not finite.",
        "One step throws the first layers far away.",
        ("before", "during"),
        _exploding,
        (Threshold(EXPLODED, "first layer's gradient by last layer's", "AutoTrainer (2021), β₃"),),
        (*_CURVES,),
    ),
    Rule(
        "dead-relu",
        "ReLU units that are 0 for every example.",
        "They have no gradient and never come back.",
        ("before", "during"),
        _dead,
        (Threshold(DEAD, "share of a layer", "SageMaker Debugger, DeadRelu threshold_layer; AutoTrainer (2021) 0.7"),),
        ("activations-shrink", "vanishing-gradients", "not-learning", "underfitting", "learning-rate-too-low"),
    ),
    Rule(
        "saturated-units",
        "Sigmoid and tanh units at the ends of their range.",
        "The slope there is nearly 0: hardly any gradient passes.",
        ("before", "during"),
        _saturated,
        (Threshold(SATURATED, "share of a layer (0.75 after training)", "SageMaker Debugger, SaturatedActivation"),),
        _FADING,
    ),
    Rule(
        "learning-rate-too-low",
        "A learning rate with which the loss hardly moves while a larger one brings it down, tried out on a copy.",
        "Training takes a hundred times as long as it must.",
        ("before", "during"),
        _too_low,
        (
            Threshold(0.01, "part of the loss that some steps take away", "ours; range test after Smith (2017)"),
            Threshold(
                LOW_RATE, "rate of a run that crept, where the optimizer is not given", "ours; UMLAUT (2021) 1e-7"
            ),
            Threshold(CREEPING, "part of the loss that such a run took away", "ours"),
            Threshold(STANDS, "part of the loss by which a run that stood still moved", "ours: what rounding does"),
        ),
        ("updates-too-large-or-small", "not-learning", "underfitting", "stopped-too-early"),
    ),
    Rule(
        "updates-too-large-or-small",
        "Steps that are far too large or small for the weights that they move.",
        "A step as large as the weight forgets it; a tiny one may be rounded away.",
        ("before", "during"),
        _updates,
        (
            Threshold(TOO_LARGE, "size of a step by size of the weight", "ours; SageMaker, WeightUpdateRatio 10"),
            Threshold(TOO_SMALL, "the same from below", "SageMaker, WeightUpdateRatio 1e-8"),
            Threshold(SHORTENED, "how much clipping may shorten a gradient, where steps are below 1e-5", "ours"),
        ),
        _CURVES,
    ),
    Rule(
        "batch-too-small",
        "Batches whose gradient is mostly noise.",
        "Steps contradict each other; the rate must be small, and time is lost.",
        ("before", "during"),
        _noise,
        (Threshold(NOISE, "simple noise scale by batch size", "McCandlish et al. (2018)"),),
        ("oscillating-loss",),
        cost=PROBING,
    ),
)
