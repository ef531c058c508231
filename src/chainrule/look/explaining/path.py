"""Why one weight's gradient is what it is: a tree that unfolds from the loss to the weight, factor by factor.

At every border between two parts the gradient is a sum over elements of (error that arrives) × (change that one unit
of the weight makes there). The tree opens the largest terms, part by part; the rest of each sum stays one number, so
what stands under a branch always adds up to the branch.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.engine.graph import Node
from chainrule.look.explaining import lines, schema
from chainrule.look.explaining.figures import place
from chainrule.look.explaining.flow import change_of, row_of
from chainrule.look.explaining.labels import Labels
from chainrule.look.explaining.meaning import factor_meaning, stopped
from chainrule.look.explaining.page import document
from chainrule.look.explaining.parts import Part
from chainrule.look.explaining.recording import Recording, owner_of
from chainrule.look.explaining.tree_page import tree_fragment
from chainrule.look.explaining.views import tree_lines

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Branch:
    """A place on the way from the loss to the weight.

    Attributes
    ----------
    place
        Where: `"loss"`, an element such as `"2[0, 7]"`, `"example 4"`, or the weight.
    factor
        The derivative of the place above by this one; NaN for an example, which only gathers.
    symbol, meaning
        The factor as it is written (`"∂loss / ∂2[0, 7]"`) and what it is (`"2.weight[7, 1]"`).
    slope
        The derivative of this place by the weight: what the factors below multiply and add up to.
    contribution
        What comes through here: the product of all factors from the loss to here, times `slope`.
    branches
        The largest contributions of which this one is the sum, largest first; empty at the weight and where the tree
        was not opened further.
    rest_count, rest
        How many more contributions there are, and their sum.
    """

    place: str
    factor: float
    symbol: str
    meaning: str
    slope: float
    contribution: float
    branches: tuple[Branch, ...] = ()
    rest_count: int = 0
    rest: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the sum of which it is made is shown."""
        return bool(self.branches) or self.rest_count > 0


@dataclass(frozen=True, slots=True)
class Tree:
    """The unfolding of one gradient element.

    Attributes
    ----------
    parameter, index, value
        The weight: its path, the element, and its value before the step.
    gradient
        What backpropagation gives for it, in float64.
    root
        The loss, of which everything else is a branch.
    dead_end
        Where the gradient is exactly 0: why nothing comes through; else `""`.
    began
        Where the gradient is not finite: what that began with; else `""`. The tree then opens what is finite.
    """

    parameter: str
    index: tuple[int, ...]
    value: float
    gradient: float
    root: Branch
    dead_end: str = ""
    began: str = ""

    @property
    def total(self) -> float:
        """The sum of all contributions where the tree ends, and of all rests."""
        ends = (branch.rest if branch.is_open else branch.contribution for branch in self.all_branches())
        return float(sum(ends))

    def all_branches(self) -> Iterator[Branch]:
        """Every branch, from the loss on, the largest first."""
        stack = [self.root]
        while stack:
            branch = stack.pop()
            yield branch
            stack.extend(reversed(branch.branches))

    def show(self) -> None:
        """Print it to the terminal, in colour where there is one."""
        lines.show(tree_lines(self))

    def to_text(self, width: int = 80) -> str:
        """Plain text, at most `width` columns wide."""
        return lines.plain(tree_lines(self), width)

    def to_html(self) -> str:
        """A whole HTML page without scripts or anything from outside."""
        return document(f"{self.parameter}{place(self.index)}", tree_fragment(self))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return schema.tree_dict(self)

    def __str__(self) -> str:
        return self.to_text()

    def __rich__(self) -> Any:
        return lines.rich_text(tree_lines(self))

    def _repr_html_(self) -> str:
        return tree_fragment(self)


@dataclass(slots=True)
class _Bud:
    """A branch that is still growing: an element of `node` (or a group of terms), with the product of its factors."""

    place: str
    factor: float
    symbol: str
    meaning: str
    slope: float
    contribution: float
    product: float
    node: Node | None = None
    index: tuple[int, ...] = ()
    terms: list[_Terms] = field(default_factory=list)  # of a group
    above: tuple[Node, tuple[int, ...]] | None = None  # of a group: whose derivative the factors are
    children: list[_Bud] = field(default_factory=list)
    rest_count: int = 0
    rest: float = 0.0

    def frozen(self) -> Branch:
        """This bud and all below as branches that do not change."""
        order: list[_Bud] = [self]
        done: dict[int, Branch] = {}
        for bud in order:
            order.extend(bud.children)
        for bud in reversed(order):
            branches = tuple(done[id(child)] for child in bud.children)
            done[id(bud)] = Branch(
                bud.place,
                bud.factor,
                bud.symbol,
                bud.meaning,
                bud.slope,
                bud.contribution,
                branches,
                bud.rest_count,
                bud.rest,
            )
        return done[id(self)]


@dataclass(frozen=True, slots=True)
class _Terms:
    """What reaches one element of a node from one tensor before it: factors and contributions, element by element."""

    node: Node
    row: tuple[int, ...]  # of a group: the example; indices go on from there
    factors: Array
    contributions: Array


class Unfolding:
    """Grows the tree of one weight.

    Parameters
    ----------
    recording, parts
        The step in float64, and its parts.
    names
        How the tensors at the borders are called.
    start, index
        The leaf of the parameter and the element.
    labels
        What the user calls inputs, answers and examples.
    """

    def __init__(
        self,
        recording: Recording,
        parts: Sequence[Part],
        names: dict[Node, str],
        start: Node,
        index: tuple[int, ...],
        labels: Labels,
    ) -> None:
        self.recording = recording
        self.names = names
        self.start, self.index, self.labels = start, index, labels
        self.change = change_of(recording.nodes, start, index)
        self.maker = {node: part for part in parts for node in part.nodes}
        self.rows = recording.x.shape[0] if recording.x.ndim else 1

    def tree(self, breadth: int, most: int) -> Branch:
        """The tree with at most `breadth` branches at a place, opened at the `most` largest contributions.

        A branch that is not finite comes before all others and is not opened: below it nothing is.
        """
        loss = self.recording.loss.node
        total = float(self.change[loss]) if loss in self.change else 0.0
        root = _Bud("loss", 1.0, "", "", total, total, 1.0, node=loss)
        number = itertools.count()  # among equal contributions the first found is opened first
        waiting = [(-abs(total), next(number), root)] if loss in self.change else []
        for _ in range(most):
            if not waiting:
                break
            _, _, bud = heapq.heappop(waiting)
            self._open(bud, breadth)
            for child in bud.children:
                if child.node is not self.start and math.isfinite(child.contribution):
                    heapq.heappush(waiting, (-abs(child.contribution), next(number), child))
        return root.frozen()

    def dead_end(self) -> str:
        """Why a change of the weight does not reach the loss; `""` where it does."""
        loss = self.recording.loss.node
        if loss in self.change and self.change[loss] != 0:
            return ""
        for part in dict.fromkeys(self.maker[node] for node in self.recording.nodes if node in self.maker):
            before = [node for node in (*part.received, *part.parameters) if np.any(self.change.get(node, 0))]
            if before and not any(np.any(self.change.get(node, 0)) for node in part.produced):
                why = stopped(part, before[0] is self.start, self.index, self.names)
                known = self.labels.input((0, self.index[0])) if self.recording.x.node in part.received else ""
                return why.replace(f"x[…, {self.index[0]}]", known) if known else why
        return "what comes through adds up to exactly 0"

    def _open(self, bud: _Bud, breadth: int) -> None:
        terms = bud.terms or self._terms(bud)
        above = bud.above or (bud.node, bud.index)
        if bud.node is self.recording.loss.node and self._is_by_row(terms):
            _keep(bud, self._by_example(terms, bud, above), breadth)
            return
        sizes = [np.nan_to_num(np.abs(term.contributions), nan=np.inf).reshape(-1) for term in terms]
        flat = np.concatenate(sizes) if sizes else np.zeros(0)
        alive = int(np.count_nonzero(flat))
        best = np.argsort(-flat, kind="stable")[: min(breadth, alive)]
        starts = np.cumsum([0, *(size.size for size in sizes)])
        for position in best:
            which = int(np.searchsorted(starts, position, side="right")) - 1
            term = terms[which]
            inner = tuple(int(i) for i in np.unravel_index(position - starts[which], term.contributions.shape))
            bud.children.append(self._child(term, inner, bud.product, above))
        bud.rest_count = alive - len(best)
        if bud.rest_count:
            everything = np.concatenate([term.contributions.reshape(-1) for term in terms])
            bud.rest = float(np.delete(everything, best).sum())

    def _terms(self, bud: _Bud) -> list[_Terms]:
        """Everything that the element of this bud is made of and that the weight moves."""
        assert bud.node is not None
        part = self.maker[bud.node]
        before = [node for node in (*part.received, *part.parameters) if node in self.change and node is not bud.node]
        rows = row_of(part.nodes, bud.node, bud.index, before)
        return [
            _Terms(node, (), rows[node], bud.product * rows[node] * self.change[node])
            for node in before
            if node in rows
        ]

    def _is_by_row(self, terms: list[_Terms]) -> bool:
        """Whether what the loss is made of has one row an example."""
        return self.rows > 1 and all(
            term.node is not self.start and term.factors.ndim > 1 and len(term.factors) == self.rows for term in terms
        )

    def _by_example(self, terms: list[_Terms], bud: _Bud, above: Any) -> list[_Bud]:
        groups = []
        for row in range(self.rows):
            own = [_Terms(t.node, (row,), t.factors[row], t.contributions[row]) for t in terms]
            through = float(sum(term.contributions.sum() for term in own))
            slope = through / bud.product if bud.product else 0.0
            meaning = "what comes through the loss of this example"
            groups.append(
                _Bud(self.labels.example(row), np.nan, "", meaning, slope, through, bud.product, terms=own, above=above)
            )
        return groups

    def _child(self, term: _Terms, inner: tuple[int, ...], product: float, above: Any) -> _Bud:
        index = (*term.row, *inner)
        factor = float(term.factors[inner])
        upper, upper_index = above
        here = f"{self._name(term.node)}{place(index)}"
        symbol = f"∂{self._name(upper)}{place(upper_index)} / ∂{here}"
        meaning = factor_meaning(self.maker[upper], term.node, index, upper_index, self.names)
        meaning = self._labelled(meaning, upper, term.node, index, upper_index)
        slope = float(self.change[term.node][index])
        bud = _Bud(here, factor, symbol, meaning, slope, float(term.contributions[inner]), product * factor)
        bud.node, bud.index = term.node, index
        return bud

    def _labelled(
        self, meaning: str, upper: Node, node: Node, index: tuple[int, ...], upper_index: tuple[int, ...]
    ) -> str:
        """The same meaning, with the user's own word for an input or an answer."""
        if node is self.recording.guess.node and upper is self.recording.loss.node:
            answer = self.labels.output(index)
            return f"how the loss changes with the guess {answer}" if answer else meaning
        if node is self.start and self.recording.x.node in self.maker[upper].received:
            known = self.labels.input((0, index[0])) if len(index) == 2 else ""
            return f"the input {known}" if known and meaning.startswith("the input ") else meaning
        return meaning

    def _name(self, node: Node) -> str:
        owner = owner_of(node)
        return owner.name if owner is not None else self.names.get(node, node.op.value)


def _size(bud: _Bud) -> float:
    return math.inf if math.isnan(bud.contribution) else abs(bud.contribution)


def _keep(bud: _Bud, children: list[_Bud], breadth: int) -> None:
    """The largest children; the rest as a count and a sum."""
    alive = sorted((child for child in children if child.contribution != 0), key=_size, reverse=True)
    bud.children, others = alive[:breadth], alive[breadth:]
    bud.rest_count, bud.rest = len(others), float(sum(child.contribution for child in others))
