"""The text views of a path tree and of the examples of a batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from chainrule.look.explaining.figures import digits, place, short, signed
from chainrule.look.explaining.lines import WIDTH, Line, cut, shortened, wrapped

if TYPE_CHECKING:
    from chainrule.look.explaining.examples import Examples
    from chainrule.look.explaining.path import Branch, Tree

_BAR = 12
_NUMBER = 10


def tree_lines(tree: Tree) -> list[Line]:
    """A tree that unfolds from the loss: on the left the places with their factors, on the right what comes through."""
    name = f"{tree.parameter}{place(tree.index)}"
    lines: list[Line] = [[(f"Why ∂loss/∂{name} = {short(tree.gradient)}", "title")]]
    lines.append([(f"  {name} = {short(tree.value)}; {_direction(tree.gradient)}", "still")])
    if tree.dead_end:
        return [*lines, *_paragraph(f"The gradient is 0: {tree.dead_end}.", "back")]
    lines += _paragraph(tree.began, "bad")
    head = "from the loss back to the weight, × factor"
    lines += [[], [(f"{head:<{WIDTH - _NUMBER}}", "still"), (f"{'adds':>{_NUMBER}}", "still")]]
    lines += _branches(tree)
    if not math.isfinite(tree.gradient):
        return lines
    total, exact = digits(tree.total, 7), digits(tree.gradient, 7)
    return [*lines, [(f"All contributions add up to {total}; backpropagation: {exact}.", "still")]]


def _direction(gradient: float) -> str:
    if gradient == 0:
        return "moving it a little changes nothing"
    if not math.isfinite(gradient):
        return "it cannot be moved by that"
    way = "lower" if gradient > 0 else "raise"
    return f"gradient descent will {way} it"


def _branches(tree: Tree) -> list[Line]:
    lines: list[Line] = []
    stack: list[tuple[Branch | None, str, str, Branch]] = [(tree.root, "", "", tree.root)]
    while stack:
        branch, trunk, below, parent = stack.pop()
        if branch is None:
            text = f"{trunk}{parent.rest_count:,} more, together"
            lines.append(_row(text, "still", parent.rest))
            continue
        lines += _branch_lines(branch, trunk, tree)
        entries: list[Branch | None] = [*branch.branches, *([None] if branch.rest_count else [])]
        for number, entry in reversed(list(enumerate(entries))):
            is_last = number == len(entries) - 1
            only = len(entries) == 1
            sign, go_on = ("", "") if only else ("└ ", "  ") if is_last else ("├ ", "│ ")
            stack.append((entry, below + sign, below + go_on, branch))
    return lines


def _branch_lines(branch: Branch, trunk: str, tree: Tree) -> list[Line]:
    if math.isnan(branch.factor) or not branch.symbol:  # an example, or the loss
        return [_row(f"{trunk}{branch.place}", "title", branch.contribution)]
    end = "" if branch.is_open or branch.place.startswith(tree.parameter + "[") else f"  (then × {short(branch.slope)})"
    text = f"{trunk}◀ {shortened(branch.place, 30)}  × {short(branch.factor)}"
    room = WIDTH - _NUMBER - len(text) - 3
    whole = f"  {branch.meaning}"
    end = end if len(end) + 14 <= room else ""  # a number is shown whole or not at all
    return [_row(text + (cut(whole, room - len(end)) + end if room > 12 else ""), "back", branch.contribution)]


def _row(text: str, style: str, contribution: float) -> Line:
    return [(f"{cut(text, WIDTH - _NUMBER - 1):<{WIDTH - _NUMBER}}", style), (f"{signed(contribution):>{_NUMBER}}", "")]


def _paragraph(words: str, style: str) -> list[Line]:
    return [[(text, style)] for text in wrapped(words, WIDTH, "  ")] if words else []


def _not_finite(examples: Examples, count: int) -> list[Line]:
    """The examples whose contributions are not finite, if there are any."""
    found = examples.not_finite()
    if not found:
        return []
    rows: list[Line] = [
        [(f"    {cut(examples.labels.example(row), 26):<14} ", ""), (f"{short(value):>{_BAR + 11}}", "bad")]
        for row, value in found[:count]
    ]
    more = len(found) - count
    end: list[Line] = [[(f"    … and {more:,} more", "still")]] if more > 0 else []
    return [[("  ✗ not finite", "bad")], *rows, *end]


def examples_lines(examples: Examples, count: int = 6) -> list[Line]:
    """The examples that pushed the weight most, up and down, with bars."""
    name = f"{examples.parameter}{place(examples.index)}"
    lines: list[Line] = [[(f"Which examples pushed {name}", "title")]]
    lines.append([(f"  ∂loss/∂{name} = {short(examples.gradient)}: {_direction(examples.gradient)}", "still")])
    if examples.dead_end:
        return [*lines, *_paragraph(f"No example pushes it: {examples.dead_end}.", "back")]
    lines += _paragraph(examples.began, "bad")
    lines += _not_finite(examples, count)
    up, down = examples.up(count), examples.down(count)
    most = max((abs(value) for _, value in (*up, *down)), default=0.0)
    for title, style, found in (("▲ push it up", "forward", up), ("▼ push it down", "back", down)):
        lines.append([(f"  {title}", f"{style} title")])
        for row, value in found:
            bar = "█" * max(1, round(_BAR * abs(value) / most))
            lines.append(
                [
                    (f"    {cut(examples.labels.example(row), 26):<14} ", ""),
                    (f"{bar:<{_BAR}} ", style),
                    (f"{signed(value):>10}", ""),
                ]
            )
        if not found:
            lines.append([("    none", "still")])
    finite = np.isfinite(examples.contributions)
    rest = int(finite.sum()) - len(up) - len(down)
    if rest:
        others = float(examples.contributions[finite].sum()) - sum(value for _, value in (*up, *down))
        which = "the other example" if rest == 1 else f"the other {rest:,} examples together"
        lines.append([(f"  {which} {signed(others)}", "still")])
    if examples.direct:
        lines.append([(f"  the loss reads the weight directly {signed(examples.direct)}", "still")])
    if examples.coupled_by:
        lines.append(
            [(cut(f"  Examples meet in {', '.join(examples.coupled_by)}: each number is what", WIDTH), "back")]
        )
        lines.append([("  comes through that example's own guess, which the others moved too.", "back")])
    return lines
