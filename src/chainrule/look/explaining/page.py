"""The HTML view: a fragment for notebooks and a whole page, without scripts and without anything from outside.

Whatever comes from the user (paths, names of losses) passes `text`; everything else is numbers and words of ours.
"""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.look.explaining.figures import Digest, digest, digits, place, shape_text, short
from chainrule.look.explaining.numeric import DIFFERENCE
from chainrule.look.explaining.sheet import CLASS, SHEET
from chainrule.look.explaining.story import LayerStory, Named
from chainrule.look.explaining.terminal import rounding_note, verdict_of
from chainrule.look.explaining.update import Move

if TYPE_CHECKING:
    from chainrule.look.explaining.explanation import Explanation

Array = np.ndarray[Any, Any]
_MOST_CELLS = 100
_MOST_COLUMNS = 12
_NARROW = 5  # columns that stand beside others
_OPEN_LAYERS = 6  # a network of at most so many layers is shown unfolded
_MOST_TERMS = 12


def whole(explanation: Explanation) -> str:
    """A whole page."""
    return document(f"One step of {type(explanation.net).__name__}", fragment(explanation))


def document(title: str, body: str) -> str:
    """A page around a fragment."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(title)}</title>"
        "<style>body{margin:0 auto;max-width:64rem;padding:1rem;background:#fff}"
        "@media screen and (prefers-color-scheme:dark){body{background:#0f141a}}</style>"
        f"</head><body>\n{body}\n</body></html>\n"
    )


def text(value: object) -> str:
    """`value` as text and nothing else."""
    return html.escape(str(value), quote=True)


def wrapped(inside: str) -> str:
    """A fragment with its own style sheet."""
    return f'<style>{SHEET}</style><div class="{CLASS}">{inside}</div>'


def fragment(explanation: Explanation) -> str:
    """The whole explanation as a fragment."""
    rows = len(explanation.x)
    mode = "training mode" if explanation.training else "evaluation mode"
    head = (
        f"<h1>One step of {text(type(explanation.net).__name__)}</h1>"
        f'<p class="muted">{rows} example{"s" if rows > 1 else ""}, {mode} · forward ▶ blue, error ◀ orange, '
        "what is not trained dotted and grey</p>"
    )
    head += f'<p class="bad">{text(explanation.began)}</p>' if explanation.began else ""
    parts = [head, _flow(explanation), _forward(explanation), _loss(explanation), _back(explanation)]
    return wrapped("\n".join([*parts, _update(explanation)]))


# --- Tensors -----------------------------------------------------------------------------------------------------


def tensor(name: str, value: Any, style: str, note: str = "") -> str:
    """A tensor with its name: as a table of numbers, or as a histogram where it is too large."""
    array = np.asarray(value)
    shape = f"{shape_text(array.shape)} {array.dtype.name}"
    body = _matrix(array, style) if _fits(array) else _digest(digest(array), style)
    label = f'<div class="name">{text(name)}<span>{shape}{f" · {note}" if note else ""}</span></div>'
    broad = " broad" if _fits(array) and array.ndim and array.shape[-1] > _NARROW else ""
    return f'<div class="tensor {style}{broad}">{label}<div class="scroll">{body}</div></div>'


def _fits(array: Array) -> bool:
    return array.ndim <= 2 and array.size <= _MOST_CELLS and (array.ndim == 0 or array.shape[-1] <= _MOST_COLUMNS)


def _matrix(array: Array, style: str) -> str:
    rows = array.reshape(1, -1) if array.ndim < 2 else array
    finite = np.abs(np.where(np.isfinite(rows), rows, 0).astype(np.float64))
    most = float(finite.max(initial=0)) or 1.0
    colour = {"forward": "--forward", "error": "--error"}.get(style, "--still")
    lines = []
    for row, sizes in zip(rows.tolist(), finite.tolist(), strict=True):
        cells = "".join(
            f'<td style="background:color-mix(in srgb,var({colour}) {round(40 * size / most)}%,transparent)">'
            f"{value if isinstance(value, bool | int) else short(value)}</td>"
            for value, size in zip(row, sizes, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    return f'<table class="m">{"".join(lines)}</table>'


def _digest(found: Digest, style: str) -> str:
    figures = [("least", found.least), ("mean", found.mean), ("greatest", found.greatest), ("norm", found.norm)]
    pairs = [(name, short(value)) for name, value in figures]
    pairs += [("zeros", f"{found.zeros:.0%}")] if found.zeros >= 0.005 else []
    pairs += [("not finite", f"{found.not_finite:,}")] if found.not_finite else []
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in pairs)
    return f'<div class="digest">{_histogram(found.counts, style)}<dl>{listed}</dl></div>'


def _histogram(counts: tuple[int, ...], style: str) -> str:
    most = max(counts, default=0)
    if not most:
        return ""
    colour = {"forward": "var(--forward)", "error": "var(--error)"}.get(style, "var(--still)")
    bars = "".join(
        f'<rect x="{8 * i}" y="{32 - 32 * count / most:.1f}" width="7" height="{32 * count / most:.1f}"/>'
        for i, count in enumerate(counts)
    )
    return (
        f'<svg role="img" aria-label="histogram from least to greatest" width="{8 * len(counts)}" height="32" '
        f'viewBox="0 0 {8 * len(counts)} 32" fill="{colour}">{bars}</svg>'
    )


def _unfolding(summary: str, inside: str, style: str, is_open: bool) -> str:
    opened = " open" if is_open else ""
    return f'<details class="{style}"{opened}><summary>{summary}</summary><div class="inside">{inside}</div></details>'


# --- The picture at the top --------------------------------------------------------------------------------------


def _flow(explanation: Explanation) -> str:
    """Every layer as a box with the size of what flowed through it, forward and back."""
    sizes = [(_size(layer.produced), _size(layer.upstream)) for layer in explanation.layers]
    most = [max((pair[side] for pair in sizes[:-1]), default=0.0) or 1.0 for side in (0, 1)]
    boxes = [_box(layer, pair, most) for layer, pair in zip(explanation.layers[:-1], sizes, strict=False)]
    value = digits(explanation.exact_loss, 4)
    boxes.append(
        f'<div class="box loss"><b>loss</b><span class="kind">{text(explanation.loss.name)}</span>{value}</div>'
    )
    caption = (
        '<p class="muted">▶ root mean square of what each layer produced; ◀ of the gradient that arrived there</p>'
    )
    label = 'class="flow" tabindex="0" role="group" aria-label="the network as it flows"'
    return f"<div {label}>{''.join(boxes)}</div>{caption}"


def _box(layer: LayerStory, pair: tuple[float, float], most: list[float]) -> str:
    meters = [
        f'<span class="meter {style}"><span>{sign}</span><span><i style="width:{max(2, 100 * size / largest):.0f}%">'
        f"</i></span>{short(size)}</span>"
        for style, sign, size, largest in zip(("forward", "error"), "▶◀", pair, most, strict=True)
    ]
    frozen = " · frozen" if layer.frozen else ""
    kind = layer.kind.partition("(")[0].partition(",")[0]
    return (
        f'<div class="box{" still" if layer.frozen else ""}" title="{text(layer.kind)}"><b>{text(layer.label)}</b>'
        f'<span class="kind">{text(kind)}{frozen}</span>{"".join(meters)}</div>'
    )


def _size(tensors: tuple[Named, ...]) -> float:
    squares = [np.square(each.value[np.isfinite(each.value)].astype(np.float64)) for each in tensors]
    count = sum(square.size for square in squares)
    return float(np.sqrt(sum(square.sum() for square in squares) / count)) if count else 0.0


# --- The four phases ---------------------------------------------------------------------------------------------


def _heading(number: int, name: str, style: str, note: str) -> str:
    return f'<h2 class="{style}"><span class="n">{number}</span>{name}<small>{note}</small></h2>'


def _title(layer: LayerStory, sign: str, gist: str) -> str:
    frozen = ' <span class="kind">frozen</span>' if layer.frozen else ""
    return (
        f'<span>{sign}</span><b>{text(layer.label)}</b><span class="kind">{text(layer.kind)}</span>{frozen}'
        f'<span class="gist">{gist}</span>'
    )


def _forward(explanation: Explanation) -> str:
    layers = explanation.layers[:-1]
    is_open = len(layers) <= _OPEN_LAYERS
    parts = [_heading(1, "▶ Forward", "forward", "what each layer received and produced")]
    for layer in layers:
        shapes = " → ".join(shape_text(each.value.shape) for each in (*layer.received[:1], *layer.produced[:1]))
        inside = [f'<p class="rule">{text(layer.rule.forward)}</p>']
        inside += [tensor(each.name, each.value, "forward", "received") for each in layer.received]
        for own in layer.parameters:
            inside.append(tensor(own.name, own.value, "", "parameter" if own.trained else "frozen"))
        inside += [tensor(each.name, each.value, "forward", "produced") for each in layer.produced]
        style = "still" if layer.frozen else "forward"
        parts.append(_unfolding(_title(layer, "▶", shapes), "".join(inside), style, is_open))
    return "".join(parts)


def _loss(explanation: Explanation) -> str:
    loss = explanation.loss
    parts = [_heading(2, "Loss", "", "how wrong the guess is")]
    parts.append(f"<p><b>{text(loss.name)}</b> = {text(loss.formula)}</p>")
    parts += [
        tensor("guess" if number == 0 else each.name, each.value, "forward")
        for number, each in enumerate(explanation.layers[-1].received)
    ]
    parts.append(tensor("target", explanation.y, ""))
    if loss.terms:
        rows = "".join(
            f'<tr><td class="num">{text(words)}</td><td class="num r">{short(value)}</td></tr>'
            for words, value in loss.terms[:_MOST_TERMS]
        )
        more = f'<p class="muted">… and {loss.count - _MOST_TERMS:,} more</p>' if loss.count > _MOST_TERMS else ""
        parts.append(f'<div class="scroll"><table class="t">{rows}</table></div>{more}')
    how = f"{loss.combine} of {loss.count:,} terms: " if loss.combine and loss.count > 1 else ""
    parts.append(f'<p>{how}<span class="big">{digits(explanation.exact_loss, 6)}</span></p>')
    note = rounding_note(explanation)
    return "".join([*parts, f'<p class="muted">{text(note)}</p>' if note else ""])


def _back(explanation: Explanation) -> str:
    is_open = len(explanation.layers) - 1 <= _OPEN_LAYERS
    checks: dict[str, str] = {}
    for check in explanation.checks:
        checks[check.name] = checks.get(check.name, "") + _check(check)
    parts = [_heading(3, "◀ Backpropagation", "error", "the error, from the last layer to the first")]
    if explanation.extent is not None:
        parts.append(f'<p class="muted">{text(str(explanation.extent))}</p>')
    for layer in reversed(explanation.layers):
        inside = [
            tensor(f"∂loss/∂{e.name}", e.value, "error", "arrived") + checks.pop(e.name, "") for e in layer.upstream
        ]
        inside.append(f'<p class="rule">{text(layer.rule.backward)}</p>')
        if layer.local is not None:
            inside.append(tensor(layer.local.name, layer.local.value, "still", "local derivative"))
        for own in layer.parameters:
            if own.gradient is None:
                inside.append(f'<p class="muted">{text(own.name)} is frozen: no gradient is wanted</p>')
            else:
                inside.append(
                    tensor(f"∂loss/∂{own.name}", own.gradient, "error", "gradient") + checks.pop(own.name, "")
                )
        for each in layer.passed:
            own_checks = checks.pop("x", "") if each.name == "x" else ""
            inside.append(tensor(f"∂loss/∂{each.name}", each.value, "error", "passed on") + own_checks)
        gist = " · ".join(f"‖∂{text(e.name)}‖ {short(digest(e.gradient).norm)}" for e in layer.parameters if e.trained)
        style = "still" if layer.frozen else "error"
        parts.append(_unfolding(_title(layer, "◀", gist), "".join(inside), style, is_open))
    if not all(check.agrees for check in explanation.checks):
        parts.append(f'<p class="bad">{DIFFERENCE}</p>')
    return "".join(parts)


def _check(check: Any) -> str:
    verdict = '<span class="good">✓ agrees</span>' if check.agrees else '<span class="bad">✗ differs</span>'
    return (
        f'<p class="muted">numeric {text(check.name)}{place(check.index)} = {short(check.numeric)}, '
        f"exact {short(check.exact)} (float64) {verdict}</p>"
    )


def _update(explanation: Explanation) -> str:
    update = explanation.update
    assumed = ' <span class="muted">assumed: no optimizer was given</span>' if update.assumed else ""
    parts = [_heading(4, "Update", "", "how the parameters move")]
    parts.append(f'<p><b>{text(update.optimizer)}</b>{assumed}</p><p class="rule">{text(update.rule)}</p>')
    is_open = len(update.moves) <= _OPEN_LAYERS
    parts += [_unfolding(_move_title(move), _move(move), "forward", is_open) for move in update.moves]
    if not update.moves:
        parts.append('<p class="muted">Nothing is trained, so nothing moves.</p>')
    most = max((abs(each) for each in (update.promised, update.came) if math.isfinite(each)), default=0.0) or 1.0
    bars = ""
    for name, kind, value in (("promised decrease", "p", update.promised), ("came", "c", update.came)):
        width = f"width:{max(1, 100 * abs(value) / most) if math.isfinite(value) else 1:.0f}%"
        rises = " up" if value < 0 else ""
        bars += (
            f'<span>{name}</span><i class="{kind}{rises}" style="{width}"></i><span class="num">{short(value)}</span>'
        )
    change = f"{digits(update.loss_before, 6)} → {digits(update.loss_after, 6)}"
    parts.append(f'<p>loss <span class="big">{change}</span></p><div class="deal">{bars}</div>')
    return "".join([*parts, f'<p class="muted">{text(verdict_of(update, explanation.began))}</p>'])


def _move_title(move: Move) -> str:
    share = digest(move.step).norm / (digest(move.before).norm or 1.0)
    return f'<b>{text(move.name)}</b><span class="gist">step ÷ weight {short(share)}</span>'


def _move(move: Move) -> str:
    parts = [tensor("before", move.before, "still"), tensor("gradient", move.gradient, "error")]
    parts += [tensor(name, value, "", "memory after") for name, value in move.memory_after.items()]
    return "".join([*parts, tensor("step", move.step, "forward"), tensor("new value", move.after, "forward")])
