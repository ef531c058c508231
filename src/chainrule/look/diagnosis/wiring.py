"""Rules about how a network is put together, read from the graph of one step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.engine.op import Op
from chainrule.engine.state import Parameter
from chainrule.look.diagnosis.case import Case
from chainrule.look.diagnosis.graphs import counters_read, last_activation, linear_pairs, reaches
from chainrule.look.diagnosis.registry import Rule, Sign, Threshold, error, hint, warning
from chainrule.nn.dense import Dense
from chainrule.nn.dropout import Dropout
from chainrule.nn.normalization import BatchNorm, LayerNorm

Array = np.ndarray[Any, Any]
TINY_BATCH, MANY_PARAMETERS, UNREACHABLE = 8, 1000.0, 0.01
_LOGITS = ("cross_entropy", "binary_cross_entropy", "hinge")


def _probabilities(case: Case) -> Iterator[Sign]:
    name, guess = case.loss.name, case.guess.astype(np.float64)
    if guess.ndim != 2 or not guess.size or not np.isfinite(guess).all():
        return
    path, kind = last_activation(case)
    where = path or "the output"
    inside = bool((guess >= 0).all() and (guess <= 1).all())
    is_softmax = guess.shape[1] > 1 and inside and bool(np.abs(guess.sum(axis=1) - 1).max() < 1e-3)
    if name in ("cross_entropy", "binary_cross_entropy", "hinge") and (
        is_softmax or (kind in ("sigmoid", "hard_sigmoid", "softmax") and inside and guess.shape[1] > 1)
    ):
        what = "softmax" if is_softmax else kind
        yield error(
            where,
            f"{name} takes logits and makes probabilities itself, but the network already ends with {what}: the loss "
            f"cannot fall below about {_floor(name, guess.shape[1]):.3g}, and gradients are small.",
            f"remove the {what} at the end; cr.softmax(cr.predict(net, X)) gives probabilities",
            least_answer=float(guess.min()),
            largest_answer=float(guess.max()),
        )
    elif name in ("binary_cross_entropy", "hinge") and kind in ("sigmoid", "hard_sigmoid") and inside:
        yield error(
            where,
            f"{name} takes logits and applies the sigmoid itself, but the network already ends with one: its answers "
            "from 0 to 1 mean probabilities from 0.5 to 0.73.",
            "remove the sigmoid at the end; cr.sigmoid(cr.predict(net, X)) gives probabilities",
            least_answer=float(guess.min()),
            largest_answer=float(guess.max()),
        )
    elif name == "kl_divergence" and guess.shape[1] > 1:
        mass = np.exp(guess).sum(axis=1)
        if np.abs(mass - 1).max() > 0.01:
            yield error(
                where,
                "kl_divergence takes logarithms of probabilities, but what the answers stand for does not sum to 1.",
                "end the network with nn.LogSoftmax()",
                mean_sum=float(mass.mean()),
            )


def _floor(loss: str, classes: int) -> float:
    """The least loss of answers between 0 and 1."""
    return math.log(1 + (classes - 1) / math.e) if loss == "cross_entropy" else math.log(1 + 1 / math.e)


def _width(case: Case) -> Iterator[Sign]:
    name, shape, classes = case.loss.name, case.guess.shape, case.classes
    width = shape[1] if len(shape) == 2 else 1
    where = last_activation(case)[0] or "the output"
    if name in ("cross_entropy", "hinge") and classes is not None and len(shape) <= 2:
        wanted = int(classes.max()) + 1
        is_single = width == 1
        if (is_single and name == "cross_entropy") or (not is_single and wanted > width):
            advice = f"give the last layer {max(wanted, 2)} outputs: nn.Dense(..., {max(wanted, 2)})"
            if is_single and wanted == 2:
                advice += ', or keep one and take loss="binary_cross_entropy"'
            yield error(
                where,
                f"The classes go up to {wanted - 1}, but the network has {width} output{'s' if width > 1 else ''}.",
                advice,
                outputs=width,
                classes=wanted,
            )
        elif not is_single and width > wanted > 1 and len(case.y) >= 2 * width:  # fewer rows need not show all
            sure = width >= 2 * wanted and len(case.y) >= 20 * width
            yield (warning if sure else hint)(
                where,
                f"The network has {width} outputs, but only {wanted} classes occur: {width - wanted} outputs learn to "
                "be silent.",
                f"give the last layer {wanted} outputs: nn.Dense(..., {wanted})",
                outputs=width,
                classes=wanted,
            )
        elif not is_single and width == wanted and int(classes.min()) > 0 and len(case.y) >= 10 * width:
            least = int(classes.min())
            yield hint(
                where,
                f"Classes are numbered from {least}: the output{'s' if least > 1 else ''} below it learn"
                f"{'' if least > 1 else 's'} to be silent.",
                f"y = y - {least}, and {width - least} outputs: nn.Dense(..., {width - least})",
                outputs=width,
                silent=least,
            )
    elif case.failure is not None and case.loss.kind != "any" and tuple(case.step.y.shape) != shape:
        wanted_shape = case.y.shape[1:]
        wanted = math.prod(wanted_shape)
        if math.prod(shape[1:]) != wanted:
            yield error(
                where,
                f"{name} compares answers with targets one by one, but a row has {math.prod(shape[1:])} answers and "
                f"{wanted} target{'s' if wanted > 1 else ''}.",
                f"give the last layer {wanted} output{'s' if wanted > 1 else ''}: nn.Dense(..., {wanted})"
                + (', or take loss="cross_entropy"' if name == "binary_cross_entropy" and wanted == 1 else ""),
                answers=math.prod(shape[1:]),
                targets=wanted,
            )


def _no_nonlinearity(case: Case) -> Iterator[Sign]:
    for first, second in linear_pairs(case):
        inner, ends = first[1].shape[-1], (first[1].shape[0], second[1].shape[-1])
        names = f"{case.parameters[first[1]]} and {case.parameters[second[1]]}"
        is_bottleneck = inner < min(ends)
        yield (hint if is_bottleneck else warning)(
            names,
            "Two matrix products follow each other without an activation between them: together they are one linear "
            "layer" + (" of lower rank." if is_bottleneck else "."),
            "put an activation between them: nn.Dense(..., activation='relu'), or nn.ReLU()",
            width_between=int(inner),
        )


def _unreachable(case: Case) -> Iterator[Sign]:
    path, kind = last_activation(case)
    where = path or "the output"
    name, width = case.loss.name, case.guess.shape[-1] if case.guess.ndim else 1
    if kind == "softmax" and width == 1:
        yield error(
            where,
            "A softmax over one output is always 1: nothing can be learned.",
            "remove it; binary_cross_entropy takes the logit, mean_squared_error the number itself",
            outputs=1,
        )
        return
    last = case.layers[-1] if case.layers else None
    if width == 1 and last is not None and isinstance(last.module, LayerNorm) and _is_guess(case, last.produced):
        yield error(
            last.path,
            "Layer normalisation of one number is always 0: every row gets the same answer.",
            "remove the normalisation after the last layer",
            outputs=1,
        )
        return
    low, high = _RANGES.get(kind, (-math.inf, math.inf))
    if (low, high) == (-math.inf, math.inf):
        return
    if name in ("mean_squared_error", "mean_absolute_error", "huber"):
        y = case.sample[1].astype(np.float64)
        slack = 1e-6 * max(1.0, float(np.abs(y).max(initial=0)))
        beyond = (y < low - slack) | (y > high + slack)
        if beyond.mean() > UNREACHABLE:
            yield error(
                where,
                f"The network ends with {kind}, whose answers lie from {low:g} to {high:g}, but targets go from "
                f"{y.min():.3g} to {y.max():.3g}.",
                f"remove the {kind} after the last layer, or bring the targets into its range",
                share_out_of_reach=float(beyond.mean()),
            )
    elif name in _LOGITS and low >= 0 and math.isinf(high):
        sign = error if width == 1 else warning
        yield sign(
            where,
            f"{name} takes logits of either sign, but the network ends with {kind}, which gives none below {low:g}.",
            f"remove the {kind} after the last layer",
            least_answer=float(case.guess.min()),
        )
    elif name in _LOGITS and kind in ("tanh", "hard_tanh"):
        yield warning(
            where,
            f"{name} takes logits of any size, but the network ends with {kind}: it can never be surer than 1.",
            f"remove the {kind} after the last layer",
            largest_answer=float(np.abs(case.guess).max()),
        )


_RANGES = {
    "relu": (0.0, math.inf),
    "softplus": (0.0, math.inf),
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "log_softmax": (-math.inf, 0.0),
}


def _no_gradient(case: Case) -> Iterator[Sign]:
    trainable = {p: name for p, name in case.parameters.items() if p.trainable}
    if not case.parameters:
        return
    if not trainable:
        yield error(
            "every parameter", "Every parameter is frozen: nothing can be learned.", "net.unfreeze()", parameters=0
        )
        return
    if case.failure is not None:
        return
    read = {node.owner for node in case.step.nodes if isinstance(node.owner, Parameter)}
    touched = set(case.step.states)
    reached = reaches(case.step.loss.node)
    unused = [name for p, name in trainable.items() if p not in touched]
    detached = [name for p, name in trainable.items() if p in touched and (p not in read or p not in reached)]
    if detached:
        stops = [node for node in case.step.nodes if node.op is Op.STOP_GRADIENT]
        where = f" (at {stops[0].provenance})" if stops else ""
        yield error(
            _some(detached),
            f"The network uses {_count(detached)}, but no gradient comes back: the way is cut{where}.",
            "compute with chainrule functions all the way: no stop_gradient, no_grad, argmax, round or np.asarray"
            " between the parameter and the loss",
            parameters_without_gradient=len(detached),
        )
    if unused:
        yield warning(
            _some(unused),
            f"The network never uses {_count(unused)} in its __call__.",
            "call the layer, or remove it; a call that stands behind `if self.training` is not seen in the other mode",
            unused_parameters=len(unused),
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _count(names: list[str]) -> str:
    return f"{len(names)} parameters" if len(names) > 1 else names[0]


def _frozen(case: Case) -> Iterator[Sign]:
    frozen = [(name, p) for p, name in case.parameters.items() if not p.trainable]
    if not frozen or len(frozen) == len(case.parameters):
        return
    drawn = [
        f"{path}.weight" if path else "weight"
        for path, module in case.net.named_modules().items()
        if isinstance(module, Dense) and not module.weight.trainable and _is_as_drawn(module)
    ]
    if drawn:
        yield warning(
            _some(drawn),
            "These weights are frozen and still as they were drawn at random: this part of the network never learns.",
            "net.unfreeze(), or load learned weights before freezing",
            frozen_parameters=len(frozen),
        )
    else:
        yield hint(
            _some([name for name, _ in frozen]),
            f"{len(frozen)} of {len(case.parameters)} parameters are frozen.",
            "net.unfreeze() if that is not wanted",
            frozen_parameters=len(frozen),
        )


def _is_as_drawn(layer: Dense) -> bool:
    """Whether a weight looks drawn by an initializer: evenly spread or normal, bias still 0 everywhere."""
    return layer.bias is None or not layer.bias.value.any()


def _hidden(case: Case) -> Iterator[Sign]:
    used = {node.owner for node in case.step.nodes if isinstance(node.owner, Parameter)}
    hidden = [p for p in used if p not in case.parameters]
    if hidden:
        yield warning(
            f"{len(hidden)} parameters, the first of shape {hidden[0].shape}",
            "The network uses parameters that it does not own: they are neither saved, nor frozen, nor counted.",
            "make the layer an attribute of the module, or put it into a list that is one",
            hidden_parameters=len(hidden),
        )


def _bias_before_norm(case: Case) -> Iterator[Sign]:
    for before, after in zip(case.layers, case.layers[1:], strict=False):
        follows = before.produced is after.received or np.array_equal(before.produced, after.received)
        is_pair = isinstance(before.module, Dense) and isinstance(after.module, BatchNorm)
        if is_pair and follows and before.module.bias is not None and before.module.activation is None:  # type: ignore[attr-defined]
            yield hint(
                f"{before.path}.bias",
                f'BatchNorm "{after.path}" subtracts the mean, and with it this bias: it has no effect.',
                f"nn.Dense({before.module.weight.shape[0]}, {before.module.weight.shape[1]}, bias=False)",  # type: ignore[attr-defined]
                parameters=int(before.produced.shape[-1]),
            )


def _tiny_batches(case: Case) -> Iterator[Sign]:
    norms = [path for path, module in case.net.named_modules().items() if isinstance(module, BatchNorm)]
    if not norms or case.batch_size >= TINY_BATCH:
        return
    shapes = [layer.received.shape for layer in case.layers if isinstance(layer.module, BatchNorm)]
    values = max((math.prod(shape[1:-1]) for shape in shapes), default=1) * case.batch_size
    if values < TINY_BATCH:
        sign = error if values < 2 else warning
        yield sign(
            f'BatchNorm "{norms[0]}"',
            f"Batches of {case.batch_size} row{'s' if case.batch_size > 1 else ''} give mean and variance from "
            f"{values} value{'s' if values > 1 else ''}: mostly noise.",
            "batch_size=32, or nn.LayerNorm in its place, which looks at one row alone",
            batch_size=case.batch_size,
        )


def _dropout(case: Case) -> Iterator[Sign]:
    drawn = counters_read(case.use) if counters_read(case.step) else []
    if drawn:
        yield warning(
            drawn[0].removesuffix(".counter").removesuffix("counter") or "a layer out of reach",
            "The network draws random numbers in evaluation mode too: dropout that eval() does not reach.",
            "make the layer an attribute of the module, so that net.eval() finds it, or ask self.training first",
            random_streams=len(drawn),
        )
    modes = {path: module.training for path, module in case.net.named_modules().items() if path}
    switched = [p for p, m in case.net.named_modules().items() if p and isinstance(m, Dropout | BatchNorm)]
    odd = [path for path in switched if modes[path] != case.net.training]
    if odd:
        yield warning(
            _some(odd),
            f"The network is in {'training' if case.net.training else 'evaluation'} mode, this layer is in the other.",
            "net.eval() before using the network, net.train() before going on; fit and predict do it themselves",
            layers_in_the_other_mode=len(odd),
        )
    last = case.layers[-1] if case.layers else None
    if last is not None and isinstance(last.module, Dropout) and last.module.p > 0 and _is_guess(case, last.produced):
        yield warning(
            last.path,
            "Dropout on the output hides answers, not features: the loss then compares zeros with targets.",
            "remove the last dropout, or move it before the last Dense",
            p=last.module.p,
        )
    for layer in case.layers:
        if isinstance(layer.module, Dropout) and layer.module.p >= 0.8:
            yield warning(
                layer.path, "Dropout leaves almost nothing.", "nn.Dropout(0.5) or less", p=layer.module.p, usual=0.5
            )


def _is_guess(case: Case, produced: Array) -> bool:
    return produced.shape == case.guess.shape and np.array_equal(produced, case.guess, equal_nan=True)


def _size(case: Case) -> Iterator[Sign]:
    classes = int(case.classes.max()) + 1 if case.classes is not None else 0
    for layer in case.layers:
        if not isinstance(layer.module, Dense) or _is_guess(case, layer.produced):
            continue
        width = layer.module.weight.shape[1]
        wide = min(layer.module.weight.shape[0], 10**9) > 4 * width
        if classes > 2 and (width == 1 or (width < math.log2(classes) and wide)):
            yield warning(
                layer.path,
                f"This hidden layer has {width} unit{'s' if width > 1 else ''}, through which all that is known of "
                f"{classes} classes must pass.",
                f"nn.Dense({layer.module.weight.shape[0]}, {max(16, 2 * classes)})",
                units=int(width),
                classes=classes,
            )
    count = sum(parameter.size for parameter in case.parameters)
    targets = case.rows if case.classes is not None else case.rows * math.prod(case.y.shape[1:])
    if count > MANY_PARAMETERS * targets and case.rows >= 2:
        yield hint(
            "the network",
            f"{count:,} parameters learn from {case.rows:,} rows: it can learn them by heart.",
            "fewer units, or nn.Dropout and weight_decay=1e-2 with AdamW, and validation with patience=10",
            parameters=count,
            rows=case.rows,
        )


_WIRED = ("initial-loss-far-from-chance", "not-learning", "underfitting", "learning-rate-too-low", "stopped-too-early")
RULES = (
    Rule(
        "output-width",
        "A network with another number of outputs than the loss and the targets need.",
        "Classes without an output cannot be learned; outputs without a class only take room.",
        ("before",),
        _width,
        (Threshold(1, "outputs for each class or target", "the definition of the loss; NeuraLint (2021)"),),
    ),
    Rule(
        "probabilities-before-logits",
        "Softmax or sigmoid before a loss that applies it itself.",
        "Applied twice it squeezes answers together; the loss stays high and gradients small.",
        ("before",),
        _probabilities,
        (Threshold(1e-3, "how near to 1 rows sum", "ours; UMLAUT (2021) and NeuraLint (2021) check it by layer"),),
        (*_WIRED, "output-cannot-reach-targets", "vanishing-gradients", "saturated-units"),
    ),
    Rule(
        "output-cannot-reach-targets",
        "A last activation whose range leaves out targets.",
        "The error there can never become 0, and the unit saturates in trying.",
        ("before",),
        _unreachable,
        (Threshold(UNREACHABLE, "share of the targets out of reach", "ours; DeepDiagnosis (2022)"),),
        (*_WIRED, "dead-relu", "saturated-units", "vanishing-gradients", "updates-too-large-or-small"),
    ),
    Rule(
        "no-gradient",
        "Parameters that the loss does not depend on, or whose gradient is cut off.",
        "They stay as they were drawn.",
        ("before",),
        _no_gradient,
        (Threshold(0, "such parameters, at most", "SageMaker Debugger, UnchangedTensor; DeepLocalize (2021)"),),
        (*_WIRED, "vanishing-gradients"),
    ),
    Rule(
        "frozen-parameters",
        "Parameters that are frozen.",
        "Right for learned weights, a mistake for weights that were only drawn.",
        ("before",),
        _frozen,
        (Threshold(0, "frozen weights that were only drawn, at most", "ours"),),
        ("not-learning", "underfitting"),
    ),
    Rule(
        "hidden-parameters",
        "Parameters that the network uses but does not own.",
        "They are not saved, not counted, and train() and eval() do not reach them.",
        ("before",),
        _hidden,
        (Threshold(0, "such parameters, at most", "ours"),),
    ),
    Rule(
        "no-nonlinearity",
        "Two linear layers without an activation between them.",
        "Their product is one linear layer: depth is paid for and not used.",
        ("before",),
        _no_nonlinearity,
        (Threshold(0, "such pairs, at most", "UMLAUT (2021), NeuraLint (2021)"),),
        ("underfitting",),
    ),
    Rule(
        "dropout-misplaced",
        "Dropout in evaluation, on the output, or too strong; layers in the wrong mode.",
        "Answers become random, or the network is trained one way and used another.",
        ("before",),
        _dropout,
        (Threshold(0.8, "probability from which it is too strong", "Srivastava et al. (2014) use 0.2 to 0.5"),),
        ("underfitting", "not-learning"),
    ),
    Rule(
        "batch-norm-tiny-batch",
        "Batch normalisation on a few rows.",
        "Mean and variance of a few rows are noise, and differ from the running ones used later.",
        ("before",),
        _tiny_batches,
        (Threshold(TINY_BATCH, "values for each mean, at least", "Wu and He, Group Normalization (2018)"),),
        ("batch-too-small", "oscillating-loss"),
    ),
    Rule(
        "bias-before-batch-norm",
        "A bias that batch normalisation takes away again.",
        "It costs memory and time and does nothing.",
        ("before",),
        _bias_before_norm,
        (Threshold(0, "such biases, at most", "Ioffe and Szegedy (2015), section 3.2; NeuraLint (2021)"),),
    ),
    Rule(
        "network-size",
        "A network much larger than the data, or a layer too narrow for the task.",
        "Too large learns by heart, too narrow cannot tell the classes apart.",
        ("before",),
        _size,
        (
            Threshold(MANY_PARAMETERS, "parameters for each target", "ours"),
            Threshold(1.0, "units for each bit of the class, at least", "ours"),
        ),
        ("underfitting", "not-learning"),
    ),
)
