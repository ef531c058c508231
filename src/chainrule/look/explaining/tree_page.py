"""The HTML views of a path tree and of the examples of a batch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from chainrule.look.explaining.figures import digits, place, short, signed
from chainrule.look.explaining.page import text, wrapped

if TYPE_CHECKING:
    from chainrule.look.explaining.examples import Examples
    from chainrule.look.explaining.path import Branch, Tree

_OPEN_DEPTH = 3


def tree_fragment(tree: Tree) -> str:
    """A tree of <details>, the largest contributions open."""
    name = text(f"{tree.parameter}{place(tree.index)}")
    head = f"<h1>Why ∂loss/∂{name} = {short(tree.gradient)}</h1><p class='muted'>{name} = {short(tree.value)}</p>"
    if tree.dead_end:
        return wrapped(f"{head}<p>The gradient is 0: {text(tree.dead_end)}.</p>")
    head += _began(tree.began)
    most = greatest(branch.contribution for branch in tree.all_branches())
    total = f"{digits(tree.total, 9)}; backpropagation gives {digits(tree.gradient, 9)}"
    sums = f"All contributions add up to {total}. " if math.isfinite(tree.gradient) else ""
    foot = f'<p class="muted">{sums}Orange bars push the weight down, blue ones up.</p>'
    return wrapped(f'{head}<ul class="tree root">{_items(tree, most)}</ul>{foot}')


def _began(words: str) -> str:
    return f'<p class="bad">{text(words)}</p>' if words else ""


def greatest(values: Iterable[float]) -> float:
    """The greatest finite size, by which bars are drawn; 1 where there is none."""
    return max((abs(value) for value in values if math.isfinite(value)), default=0.0) or 1.0


def _items(tree: Tree, most: float) -> str:
    """Every branch as a list item, made from the ends up so that depth has no limit."""
    order: list[tuple[Branch, int]] = [(tree.root, 0)]
    for branch, depth in order:
        order.extend((each, depth + 1) for each in branch.branches)
    done: dict[int, str] = {}
    for branch, depth in reversed(order):
        inside = "".join(done[id(each)] for each in branch.branches)
        if branch.rest_count:
            words = f'<span class="muted">{branch.rest_count:,} more, together</span>'
            inside += f'<li><div class="leaf">{words}{adds(branch.rest, most)}</div></li>'
        line = _line(branch) + adds(branch.contribution, most)
        if inside:
            opened = " open" if depth < _OPEN_DEPTH or len(branch.branches) == 1 else ""
            only = " only" if len(branch.branches) == 1 and not branch.rest_count else ""
            line = f'<details{opened}><summary>{line}</summary><ul class="tree{only}">{inside}</ul></details>'
        else:
            line = f'<div class="leaf">{line}</div>'
        done[id(branch)] = f"<li>{line}</li>"
    return done[id(tree.root)]


def _line(branch: Branch) -> str:
    if math.isnan(branch.factor) or not branch.symbol:
        return f"<b>{text(branch.place)}</b>"
    after = "" if branch.is_open or branch.slope == 1 else f" (then × {short(branch.slope)})"
    return (
        f'<span class="what" title="{text(branch.symbol)}">◀ {text(branch.place)} × {short(branch.factor)}</span>'
        f'<span class="muted">{text(branch.meaning)}{after}</span>'
    )


def adds(value: float, most: float) -> str:
    """A contribution as a bar, by the largest, and its number."""
    if not math.isfinite(value):
        return f'<span class="adds"><b class="bad">{short(value)}</b></span>'
    way = "less" if value < 0 else "more"
    width = max(1, round(100 * min(1.0, abs(value) / most)))
    bar = f'<span class="bar"><i class="{way}" style="width:{width}%"></i></span>'
    return f'<span class="adds">{bar}<span>{signed(value)}</span></span>'


def examples_fragment(examples: Examples, count: int = 8) -> str:
    """Which examples pushed a weight, as two tables with bars."""
    name = text(f"{examples.parameter}{place(examples.index)}")
    if examples.dead_end:
        why = f"<p>No example pushes it: {text(examples.dead_end)}.</p>"
        return wrapped(f"<h1>Which examples pushed {name}</h1>{why}")
    most = greatest(examples.contributions.tolist())
    parts = [f"<h1>Which examples pushed {name}</h1>{_began(examples.began)}"]
    kinds = [("▲ push it up", examples.up(count)), ("▼ push it down", examples.down(count))]
    if examples.not_finite():
        kinds.insert(0, ("✗ not finite", examples.not_finite()[:count]))
    for title, found in kinds:
        rows = "".join(
            f'<li><div class="leaf">{text(examples.labels.example(row))}{adds(value, most)}</div></li>'
            for row, value in found
        )
        parts.append(f'<h2>{title}</h2><ul class="tree root">{rows or "<li class=muted>none</li>"}</ul>')
    if examples.coupled_by:
        where = text(", ".join(examples.coupled_by))
        parts.append(f"<p>Examples meet in {where}: each number is what comes through that example's own guess.</p>")
    return wrapped("".join(parts))
