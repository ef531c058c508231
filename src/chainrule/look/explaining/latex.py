"""An explanation as LaTeX: the formulas of each phase with the real numbers, for networks that fit on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import ArgumentError
from chainrule.look.explaining.figures import short
from chainrule.look.explaining.story import LayerStory, Named

if TYPE_CHECKING:
    from chainrule.look.explaining.explanation import Explanation

MOST_ELEMENTS = 64
_TERMS = 8
# What a formula in words needs, in LaTeX.
_WORDS = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "_": r"\_",
        "#": r"\#",
        "%": r"\%",
        "&": r"\&",
        "$": r"\$",
        "{": r"\{",
        "}": r"\}",
        "^": r"\^{}",
        "~": r"\~{}",
        "−": "$-$",
        "×": r"$\times$",
        "·": r"$\cdot$",
        "σ": r"$\sigma$",
        "′": "$'$",
        "²": "$^2$",
        "Σ": r"$\sum$",
        "δ": r"$\delta$",
        "½": r"$\tfrac12$",
        "∂": r"$\partial$",
        "√": r"$\surd$",
        "←": r"$\leftarrow$",
        "→": r"$\to$",
        "…": r"\ldots{}",
        "ᵀ": r"$^{\top}$",
        "ᵗ": "$^t$",
        "ᵢ": "$_i$",
        "ⱼ": "$_j$",
        "₁": "$_1$",
        "₂": "$_2$",
        "α": r"$\alpha$",
        "β": r"$\beta$",
        "λ": r"$\lambda$",
        "π": r"$\pi$",
        "Φ": r"$\Phi$",
        "φ": r"$\varphi$",
        "\u0302": r"\^{}",  # the hat of x̂ stands behind its letter
        "÷": r"$\div$",
        "±": r"$\pm$",
        "⌊": r"$\lfloor$",
        "⌋": r"$\rfloor$",
        "ᵇ": "$^b$",
        "⁻": "$^-$",
        "¹": "$^1$",
    }
)


def document(explanation: Explanation) -> str:
    """The four phases as paragraphs with displayed formulas, to be put into a document that loads amsmath."""
    large = too_large(explanation)
    if large:
        raise ArgumentError(f"to_latex is for small networks: {large}; to_html() has no limit.")
    parts = [r"\paragraph{Forward.}", _display(r"x", explanation.x)]
    for layer in explanation.layers[:-1]:
        parts += _forward(layer)
    parts += [r"\paragraph{Loss.}", *_loss(explanation), r"\paragraph{Backpropagation.}"]
    for layer in reversed(explanation.layers):
        parts += _backward(layer)
    return "\n".join([*parts, r"\paragraph{Update.}", *_update(explanation)]) + "\n"


def matrix(values: Any) -> str:
    r"""A tensor of at most two axes.

    >>> matrix(np.array([[1.0, 0.5]])), matrix(np.array(2.0))
    ('\\begin{bmatrix} 1 & 0.5 \\end{bmatrix}', '2')
    """
    array = np.asarray(values)
    if array.ndim == 0:
        return number(array.item())
    rows = array.reshape(1, -1) if array.ndim == 1 else array
    body = r" \\ ".join(" & ".join(number(each) for each in row.tolist()) for row in rows)
    return rf"\begin{{bmatrix}} {body} \end{{bmatrix}}"


def number(value: float) -> str:
    r"""A number to three digits.

    >>> number(-1.5e-7), number(0.25)
    ('-1.5 \\times 10^{-7}', '0.25')
    """
    text = short(value).replace("−", "-").replace("∞", r"\infty").replace("NaN", r"\mathrm{NaN}")
    mantissa, has_power, power = text.partition("e")
    return rf"{mantissa} \times 10^{{{power}}}" if has_power else text


def words(text: str) -> str:
    """Text with everything escaped that LaTeX would take for a command."""
    return text.translate(_WORDS)


def too_large(explanation: Explanation) -> str:
    """What does not fit on paper, in words; `""` where all of it does."""
    rows = len(explanation.x)
    known = [(Named("x", explanation.x), rows), (Named("y", explanation.y), rows)]
    for layer in explanation.layers:
        known += [(Named(f"the parameter {each.name}", each.value), 0) for each in layer.parameters]
        known += [(each, rows) for each in (*layer.received, *layer.produced)]
    # What fewer rows cannot mend comes first: whoever follows the advice must not be refused again.
    for fitting, each in sorted(((_rows_that_fit(each, of), each) for each, of in known), key=lambda pair: pair[0]):
        if each.value.size > MOST_ELEMENTS or each.value.ndim > 2:
            few = f"Explain at most {fitting} of the {rows} rows" if fitting else "Fewer rows do not help"
            return (
                f"{each.name} has the shape {each.value.shape}, {each.value.size:,} elements, but at most two axes and "
                f"{MOST_ELEMENTS} elements fit. {few}"
            )
    return ""


def _rows_that_fit(each: Named, rows: int) -> int:
    """With how many rows a tensor would be small enough; 0 where it has no rows, or one is too large."""
    value = each.value
    if not rows or not 1 <= value.ndim <= 2 or len(value) != rows:
        return 0
    return MOST_ELEMENTS // max(1, value.size // rows)


def _symbol(name: str) -> str:
    return rf"\text{{{words(name)}}}"


def _gradient(name: str) -> str:
    return rf"\frac{{\partial L}}{{\partial\, {_symbol(name)}}}"


def _display(left: str, value: Any, formula: str = "") -> str:
    middle = f"= {formula} " if formula else ""
    return rf"\[ {left} {middle}= {matrix(value)} \]"


def _forward(layer: LayerStory) -> list[str]:
    lines = [rf"\noindent {words(layer.label)} ({words(layer.kind)}): {words(layer.rule.forward)}"]
    lines += [_display(_symbol(each.name), each.value) for each in layer.parameters]
    return lines + [_display(_symbol(each.name), each.value, layer.rule.latex) for each in layer.produced]


def _loss(explanation: Explanation) -> list[str]:
    loss = explanation.loss
    formula = loss.latex or rf"\text{{{words(loss.formula)}}}"
    lines = [rf"\[ L = {formula} \]"]
    if 0 < len(loss.terms) <= _TERMS:
        terms = " + ".join(number(value) for _, value in loss.terms)
        divided = rf"\frac{{1}}{{{loss.count}}}\left({terms}\right)" if loss.combine == "mean" else terms
        lines.append(rf"\[ L = {divided} = {number(explanation.exact_loss)} \]")
    else:
        lines.append(rf"\[ L = {number(explanation.exact_loss)} \]")
    return lines


def _backward(layer: LayerStory) -> list[str]:
    lines = [rf"\noindent {words(layer.label)} ({words(layer.kind)}): {words(layer.rule.backward)}"]
    lines += [_display(_gradient(each.name), each.gradient) for each in layer.parameters if each.gradient is not None]
    return lines + [_display(_gradient(each.name), each.value) for each in layer.passed]


def _update(explanation: Explanation) -> list[str]:
    update = explanation.update
    lines = [rf"\noindent {words(update.optimizer)}: {words(update.rule)}"]
    for move in update.moves:
        before, step, after = matrix(move.before), matrix(move.step), matrix(move.after)
        lines.append(rf"\[ {_symbol(move.name)} \leftarrow {before} + {step} = {after} \]")
    change = rf"L: {number(update.loss_before)} \to {number(update.loss_after)}"
    promise = rf"\text{{promised decrease }} {number(update.promised)}, \text{{ came }} {number(update.came)}"
    return [*lines, rf"\[ {change}, \quad {promise} \]"]
