"""The terminal view of an explanation: four phases in 80 columns, large tensors as digests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.look.explaining.figures import digits, one_line, place, shape_text, short
from chainrule.look.explaining.lines import WIDTH, Line, cut, heading, shortened, wrapped
from chainrule.look.explaining.numeric import DIFFERENCE
from chainrule.look.explaining.story import LayerStory, OwnParameter
from chainrule.look.explaining.update import Move, Update

if TYPE_CHECKING:
    from chainrule.look.explaining.explanation import Explanation

_NAME, _SHAPE = 18, 8
_LEFT = 4 + _NAME + 1 + _SHAPE + 2
MOST_TERMS = 6
ARRIVED, PASSED = "← ", "⇠ "
LEGEND = "large tensors: least … mean … greatest, histogram from least to greatest, share of zeros"


def explanation_lines(explanation: Explanation) -> list[Line]:
    """The whole view."""
    return [
        *_head(explanation),
        *_forward(explanation),
        *_loss(explanation),
        *_back(explanation),
        *_update(explanation),
    ]


def tensor_line(name: str, value: Any, style: str = "", mark: str = "  ", figures: int = 3) -> Line:
    """`name  shape  numbers` in one line, the numbers to so many digits."""
    shown = one_line(value, WIDTH - _LEFT, figures)
    return [
        (f"  {mark}", style),
        (f"{shortened(name, _NAME):<{_NAME}} ", style),
        (f"{shape_text(value.shape):>{_SHAPE}}  ", "still"),
        (shown, style),
    ]


def _head(explanation: Explanation) -> list[Line]:
    rows = len(explanation.x)
    many = f"{rows} examples" if rows > 1 else "1 example"
    mode = "training mode" if explanation.training else "evaluation mode"
    title = f"One step of {type(explanation.net).__name__}"
    broken: list[Line] = [[(text, "bad")] for text in wrapped(explanation.began, WIDTH, "  ") if explanation.began]
    return [[(title, "title"), (f"  {many}, {mode}", "still")], *broken, []]


def _forward(explanation: Explanation) -> list[Line]:
    lines = [heading("1", "▶ forward", "forward", "what each layer received and produced")]
    shown: set[str] = set()
    for layer in explanation.layers[:-1]:
        for each in layer.received:
            if each.name not in shown and not shown:
                lines.append(tensor_line(each.name, each.value, "forward"))
            shown.add(each.name)
        lines.append([("▶ ", "forward title"), *_title(layer, "forward")])
        lines += [[(text, "still")] for text in wrapped(layer.rule.forward, WIDTH, "    ")]
        lines += [_parameter_line(parameter) for parameter in layer.parameters]
        for each in layer.produced:
            lines.append(tensor_line(each.name, each.value, "forward", "▸ "))
            shown.add(each.name)
    return [*lines, []]


def _title(layer: LayerStory, style: str) -> Line:
    note = "  frozen" if layer.frozen else ""
    text = cut(f"{layer.label}  {layer.kind}", WIDTH - 2 - len(note))
    return [(text, "still" if layer.frozen else f"{style} title"), (note, "still")]


def _parameter_line(parameter: OwnParameter) -> Line:
    if parameter.trained:
        return tensor_line(parameter.name, parameter.value)
    return [*tensor_line(parameter.name, parameter.value, "still"), ("  frozen", "still")]


def _loss(explanation: Explanation) -> list[Line]:
    loss, layer = explanation.loss, explanation.layers[-1]
    lines = [heading("2", "loss", "", "how wrong the guess is")]
    lines.append([(f"  {loss.name}", "title")])
    lines += [[(text, "still")] for text in wrapped(loss.formula, WIDTH, "    ")]
    lines += [
        tensor_line("guess" if i == 0 else each.name, each.value, "forward") for i, each in enumerate(layer.received)
    ]
    lines.append(tensor_line("target", explanation.y))
    for words, value in loss.terms[:MOST_TERMS]:
        result = short(value)
        lines.append([(f"    {cut(words, WIDTH - len(result) - 7)} = {result}", "")])
    if loss.count > MOST_TERMS:
        lines.append([(f"    … and {loss.count - MOST_TERMS:,} more terms", "still")])
    how = f"{loss.combine} of {loss.count:,} terms  " if loss.combine and loss.count > 1 else ""
    lines.append([(f"  loss = {how}", ""), (digits(explanation.exact_loss, 6), "title")])
    lines += [[(text, "still")] for text in wrapped(rounding_note(explanation), WIDTH, "    ") if text.strip()]
    return [*lines, []]


def rounding_note(explanation: Explanation) -> str:
    """What the loss is in the network's own data type where its rounding can be seen; else `""`."""
    exact, own = explanation.exact_loss, explanation.loss.value
    if own == exact or (math.isnan(own) and math.isnan(exact)) or math.isclose(own, exact, rel_tol=1e-4):
        return ""
    rounded = ", and its gradients are rounded so too" if math.isfinite(own) else ""
    kind = explanation.loss_dtype
    return f"computed in float64; the step itself computes in {kind}, where it is {digits(own, 6)}{rounded}"


def _back(explanation: Explanation) -> list[Line]:
    lines = [heading("3", "◀ backpropagation", "back", "the error, from the last layer to the first")]
    lines.append([("  ← the gradient that arrived   ⇠ what goes to the input, or is a share of a sum", "still")])
    if explanation.extent is not None:
        lines += [[(text, "still")] for text in wrapped(str(explanation.extent), WIDTH, "  ")]
    numeric: dict[str, list[Line]] = {}
    for check in explanation.checks:
        numeric.setdefault(check.name, []).append(_check_line(check))
    told: set[str] = set()
    # What a layer passes on is shown where it arrives, unless other layers add to it on the way.
    complete = {each.name: each.value for layer in explanation.layers[:-1] for each in layer.upstream}

    def checks(name: str) -> list[Line]:
        found = [] if name in told else numeric.get(name, [])
        told.add(name)
        return found

    for layer in reversed(explanation.layers):
        lines.append([("◀ ", "back title"), *_title(layer, "back")])
        is_loss = layer is explanation.layers[-1]
        if not is_loss:
            for each in layer.upstream:
                lines += [tensor_line(f"∂/∂{each.name}", each.value, "back", ARRIVED), *checks(each.name)]
            lines += [[(text, "still")] for text in wrapped(layer.rule.backward, WIDTH, "    ")]
            if layer.local is not None:
                lines.append(tensor_line(layer.local.name, layer.local.value, "still"))
        for parameter in layer.parameters:
            if parameter.gradient is not None:
                lines += [
                    tensor_line(f"∂/∂{parameter.name}", parameter.gradient, "back title"),
                    *checks(parameter.name),
                ]
            else:
                lines.append([(f"    {parameter.name}: frozen, no gradient is wanted", "still")])
        for each in layer.passed:
            if each.name not in complete or not np.array_equal(complete[each.name], each.value, equal_nan=True):
                lines += [tensor_line(f"∂/∂{each.name}", each.value, "back", PASSED)]
                lines += checks("x") if each.name == "x" else []
        if not is_loss and not layer.upstream:
            lines.append([("    no gradient arrives: nothing before it is trained", "still")])
    if not all(check.agrees for check in explanation.checks):
        lines += [[(text, "bad")] for text in wrapped(DIFFERENCE, WIDTH, "  ")]
    return [*lines, []]


def _check_line(check: Any) -> Line:
    sign, style = ("✓ agrees", "good") if check.agrees else ("✗ differs", "bad")
    where = shortened(f"{check.name}{place(check.index)}", 24)
    text = f"      numeric {where} = {short(check.numeric)}, exact {short(check.exact)} (float64)"
    return [(cut(text, WIDTH - 11) + "  ", "still"), (sign, style)]


def _update(explanation: Explanation) -> list[Line]:
    update = explanation.update
    lines = [heading("4", "update", "", "how the parameters move")]
    lines.append([(f"  {update.optimizer}", "title")])
    if update.assumed:
        lines.append([("    assumed: no optimizer was given", "still")])
    lines += [[(text, "still")] for text in wrapped(update.rule, WIDTH, "    ")]
    for move in update.moves:
        lines += _move(move)
    if not update.moves:
        lines.append([("    nothing is trained, so nothing moves", "still")])
    legend: list[Line] = [[(text, "still")] for text in wrapped(LEGEND, WIDTH, "")]
    return [*lines, *_decrease(explanation), [], *legend]


def _move(move: Move) -> list[Line]:
    lines: list[Line] = [[(f"  {move.name}", "title")]]
    lines.append(tensor_line("gradient", move.gradient, "back"))
    lines += [tensor_line(f"{name} (memory)", value) for name, value in move.memory_after.items()]
    lines.append(tensor_line("step", move.step, "forward"))
    lines.append(tensor_line("new value", move.after, figures=6))
    return lines


def _decrease(explanation: Explanation) -> list[Line]:
    update = explanation.update
    verdict = verdict_of(update, explanation.began)
    return [
        [
            ("  loss  ", "title"),
            (f"{digits(update.loss_before, 6)} → {digits(update.loss_after, 6)}", "title"),
            (f"   promised decrease {short(update.promised)}, came {short(update.came)}", ""),
        ],
        *([(text, "still")] for text in wrapped(verdict, WIDTH, "    ")),
    ]


def verdict_of(update: Update, began: str) -> str:
    """What the promised and the real decrease say about the length of the step."""
    promised, came = update.promised, update.came
    if began or not math.isfinite(update.loss_before):
        return "The loss or its gradient is not finite, so its slope promises nothing: see above where it began."
    if not math.isfinite(update.loss_after):
        return "After the step the loss is not finite: the step is too long."
    if promised == 0:
        return "The step promises nothing: every gradient is 0, or nothing moves."
    if promised < 0:
        return "The slope itself says the loss will rise: the optimizer's memory leads uphill in this step."
    if came <= 0:
        return "The loss rose although the slope promised less: the step is too long."
    share = came / promised
    if share < 0.5:
        return f"Only {share:.0%} of what the slope promised: the loss bends away, a shorter step would keep more."
    if share < 0.8:
        return f"{share:.0%} of what the slope promised: the loss curves upwards on the way."
    if share > 1.25:
        return f"{share:.0%} of what the slope promised: the loss falls more steeply further on."
    return f"{share:.0%} of what the slope promised: the step is short enough for the slope to hold."
