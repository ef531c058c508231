"""The loss as a formula, with the numbers put in: one term for each row or element, and what they add up to.

The library's own losses have a line each in `FORMULAS`; any other loss is read off its graph.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.graph import Node
from chainrule.engine.op import Op
from chainrule.look.explaining.figures import digits, short
from chainrule.look.explaining.labels import Labels
from chainrule.look.explaining.parts import Part
from chainrule.look.explaining.recording import Recording, owner_of
from chainrule.nn.losses import Loss

Array = np.ndarray[Any, Any]
Term = tuple[str, float]
MOST_TERMS = 256
_CLASS = re.compile(r"p\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class LossStory:
    """A loss, its formula as text and in LaTeX (`""` where there is none), its terms with numbers, and its value.

    `combine` is what makes the loss of the terms: `"mean"`, `"sum"` or `""` where the terms are not known. Of many
    terms the first are kept; `count` is how many there are.
    """

    name: str
    formula: str
    latex: str
    terms: tuple[Term, ...]
    count: int
    combine: str
    value: float


@dataclass(frozen=True, slots=True)
class _Formula:
    text: str
    latex: str
    terms: Callable[[Array, Array], Iterator[Term]]
    by_row: bool = False  # one term a row, where there are several columns


def story_of(loss: Loss, recording: Recording, part: Part, labels: Labels) -> LossStory:
    """The story of the loss of a recorded step."""
    value = float(recording.loss.value)
    guess, target = recording.guess.value, recording.y.value
    known = FORMULAS.get(loss.name)
    if known is not None and guess.size:
        count = len(guess) if known.by_row and guess.ndim == 2 and guess.shape[1] > 1 else guess.size
        terms: Iterator[Term] = itertools.islice(known.terms(guess.astype(np.float64), target), MOST_TERMS)
        if known is FORMULAS["cross_entropy"] and labels.outputs:
            terms = ((_CLASS.sub(lambda found: _of_class(found, labels), words), value) for words, value in terms)
        with np.errstate(all="ignore"):
            told = tuple((words, float(number)) for words, number in terms)
        return LossStory(loss.name, known.text, known.latex, told, count, "mean", value)
    text, each, combine = _read_off(recording, part)
    if each is None:
        return LossStory(loss.name, text, "", (), 0, combine, value)
    terms = itertools.islice(_terms(part.nodes, each, set(part.nodes)), MOST_TERMS)
    return LossStory(loss.name, text, "", tuple(terms), each.size, combine, value)


def _of_class(found: re.Match[str], labels: Labels) -> str:
    return f"p[{labels.output((0, int(found[1]))) or found[1]}]"


# --- The library's own -------------------------------------------------------------------------------------------


def _pairs(guess: Array, target: Array) -> Iterator[tuple[float, float]]:
    """The numbers one by one, as NumPy's: what is too large becomes infinite, where Python's would be an error."""
    return zip(guess.reshape(-1), target.astype(np.float64).reshape(-1), strict=True)


def _minus(a: float, b: float) -> str:
    return f"{short(a)} − {_bracketed(b)}"


def _bracketed(value: float) -> str:
    return f"({short(value)})" if value < 0 else short(value)


def _squared(guess: Array, target: Array) -> Iterator[Term]:
    return ((f"({_minus(g, t)})²", (g - t) ** 2) for g, t in _pairs(guess, target))


def _absolute(guess: Array, target: Array) -> Iterator[Term]:
    return ((f"|{_minus(g, t)}|", abs(g - t)) for g, t in _pairs(guess, target))


def _huber(guess: Array, target: Array) -> Iterator[Term]:
    for g, t in _pairs(guess, target):
        error = abs(g - t)
        near = error <= 1
        text = f"½·({_minus(g, t)})²" if near else f"|{_minus(g, t)}| − ½"
        yield text, 0.5 * error * error if near else error - 0.5


def _poisson(guess: Array, target: Array) -> Iterator[Term]:
    return ((f"exp({short(g)}) − {short(t)}·{_bracketed(g)}", np.exp(g) - t * g) for g, t in _pairs(guess, target))


def _binary(guess: Array, target: Array) -> Iterator[Term]:
    for g, t in _pairs(guess, target):
        yes, no = (float(np.logaddexp(0, sign * g)) for sign in (-1, 1))  # -log p and -log(1 - p)
        p = math.exp(-yes)
        if t in (0, 1):
            yield f"−log {short(p if t else math.exp(-no))}", yes if t else no
        else:
            yield f"−{short(t)}·log {short(p)} − {short(1 - t)}·log {short(math.exp(-no))}", t * yes + (1 - t) * no


def _cross_entropy(guess: Array, target: Array) -> Iterator[Term]:
    shifted = guess - guess.max(axis=1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    for row, known in zip(logarithms, target, strict=True):
        if np.ndim(known):
            yield "−Σ t·log p", float(-(row * np.asarray(known, np.float64)).sum())
        else:
            yield f"−log p[{int(known)}] = −log {short(math.exp(row[int(known)]))}", float(-row[int(known)])


def _divergence(guess: Array, target: Array) -> Iterator[Term]:
    for row, known in zip(guess, target.astype(np.float64), strict=True):
        parts = [(t, t * (math.log(t) - g)) for t, g in zip(known.tolist(), row.tolist(), strict=True) if t > 0]
        yield "Σ t·(log t − guess)", sum(part for _, part in parts)


def _hinge(guess: Array, target: Array) -> Iterator[Term]:
    if guess.ndim == 2 and guess.shape[1] > 1:
        for row, known in zip(guess, target, strict=True):
            others = np.maximum(0, 1 - row[int(known)] + np.delete(row, int(known)))
            yield f"Σ max(0, 1 − {_bracketed(row[int(known)])} + other) / {row.size}", float(others.sum()) / row.size
        return
    for g, t in _pairs(guess, target):
        score = g if t > 0 else -g
        yield f"max(0, 1 − {_bracketed(score)})", max(0.0, 1 - score)


FORMULAS: dict[str, _Formula] = {
    "mean_squared_error": _Formula("mean of (guess − target)²", r"\frac{1}{n}\sum (\hat y - y)^2", _squared),
    "mean_absolute_error": _Formula("mean of |guess − target|", r"\frac{1}{n}\sum |\hat y - y|", _absolute),
    "huber": _Formula("mean of ½·error² up to 1, |error| − ½ beyond", r"\frac{1}{n}\sum h(\hat y - y)", _huber),
    "poisson": _Formula("mean of exp guess − target·guess", r"\frac{1}{n}\sum (e^{\hat y} - y\hat y)", _poisson),
    "binary_cross_entropy": _Formula(
        "mean of −t·log p − (1 − t)·log(1 − p) with p = σ(guess)",
        r"\frac{1}{n}\sum -y\log\sigma(\hat y) - (1 - y)\log(1 - \sigma(\hat y))",
        _binary,
    ),
    "cross_entropy": _Formula(
        "mean of −log p[target] with p = softmax(guess)",
        r"\frac{1}{n}\sum -\log \mathrm{softmax}(\hat y)_{y}",
        _cross_entropy,
        True,
    ),
    "kl_divergence": _Formula("mean of Σ t·(log t − guess)", r"\frac{1}{n}\sum t(\log t - \hat y)", _divergence, True),
    "hinge": _Formula("mean of max(0, margin − score)", r"\frac{1}{n}\sum \max(0, 1 - s\hat y)", _hinge, True),
}

# --- Any other, read off its graph -------------------------------------------------------------------------------

_LONGEST = 160
_INFIX = {Op.ADD: (" + ", 1), Op.SUB: (" − ", 1), Op.MUL: ("·", 2), Op.DIV: (" / ", 2), Op.POW: ("^", 3)}
_ELEMENTWISE = {*_INFIX, Op.NEG, Op.ABS, Op.EXP, Op.LOG, Op.SQRT, Op.TANH, Op.SIGMOID, Op.SIN, Op.COS}
Words = Callable[[Node], str]


def _read_off(recording: Recording, part: Part) -> tuple[str, Node | None, str]:
    """The formula of a loss of the user's; where it is a sum or mean, the node of its terms."""
    inside = set(part.nodes)

    def by_name(node: Node) -> str:
        owner = owner_of(node)
        names = {recording.guess.node: "guess", recording.y.node: "target"}
        if owner is not None:
            return owner.name
        return names.get(node) or (digits(node.value.item(), 6) if node.value is not None and node.size == 1 else "…")

    text = _written(part.nodes, recording.loss.node, inside, by_name)
    if len(text) > _LONGEST:
        text = " → ".join(node.op.value for node in part.nodes[:12]) + (" → …" if len(part.nodes) > 12 else "")
    last = recording.loss.node
    divided = last.op is Op.DIV and last.inputs[0].op is Op.SUM and last.inputs[1].size == 1
    total = last.inputs[0] if divided else last
    if total.op is not Op.SUM or total.inputs[0] not in inside:
        return text, None, ""
    each = total.inputs[0]
    divisor = last.inputs[1].value if divided else None
    if divisor is not None and divisor.item() != each.size:
        return text, None, ""
    return text, each, "mean" if divided else "sum"


def _terms(nodes: tuple[Node, ...], each: Node, inside: set[Node]) -> Iterator[Term]:
    """One term for each element of `each`, written with numbers where all ops before it are elementwise."""
    assert each.value is not None
    behind = _behind(nodes, each)
    plain = all(node.op in _ELEMENTWISE for node in behind)
    for index in np.ndindex(each.shape):

        def number(node: Node, index: tuple[int, ...] = index) -> str:
            assert node.value is not None
            return _bracketed(float(np.broadcast_to(node.value, each.shape)[index]))

        text = _written(behind, each, inside, number) if plain else f"term {', '.join(map(str, index))}"
        yield text if len(text) <= _LONGEST else "…", float(each.value[index])


def _behind(nodes: tuple[Node, ...], last: Node) -> tuple[Node, ...]:
    """The nodes among `nodes` that `last` is made of, itself included, in their order."""
    wanted = {last}
    for node in reversed(nodes):
        if node in wanted:
            wanted.update(node.inputs)
    return tuple(node for node in nodes if node in wanted)


def _written(nodes: tuple[Node, ...], last: Node, inside: set[Node], leaf: Words) -> str:
    """`last` as an infix expression; what is not in `inside` is written by `leaf`."""
    texts: dict[Node, tuple[str, int]] = {}

    def of(node: Node, tight: int) -> str:
        text, strength = texts[node] if node in texts else (leaf(node), 9)
        return f"({text})" if strength < tight else text

    for node in _behind(nodes, last):
        if node not in inside:
            continue
        if node.op is Op.MUL and node.inputs[0] is node.inputs[1]:
            texts[node] = f"{of(node.inputs[0], 9)}²", 4
        elif node.op in _INFIX:
            sign, strength = _INFIX[node.op]
            left, right = of(node.inputs[0], strength), of(node.inputs[1], strength + 1)
            texts[node] = f"{left}{sign}{right}", strength
        elif node.op is Op.NEG:
            texts[node] = f"−{of(node.inputs[0], 2)}", 1
        elif node.op in (Op.RESHAPE, Op.CAST, Op.BROADCAST):
            texts[node] = of(node.inputs[0], 9), 9
        else:
            texts[node] = f"{node.op.value}({', '.join(of(source, 0) for source in node.inputs)})", 9
        if len(texts[node][0]) > 2 * _LONGEST:
            texts[node] = "…", 9
    return texts[last][0] if last in texts else leaf(last)
