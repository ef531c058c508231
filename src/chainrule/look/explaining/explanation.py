"""An explanation: the four phases of one step as values, and the questions that can be asked of it.

It holds the step in the network's own data type, whose numbers the views show, and makes it once more in float64 when
a question needs more digits than that: paths, contributions of examples, numeric checks, the decrease of the loss.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chainrule.engine.graph import Node
from chainrule.engine.state import Parameter, State
from chainrule.engine.tensor import Tensor
from chainrule.errors import ArgumentError, GradientError
from chainrule.look.explaining import latex, lines, page, schema
from chainrule.look.explaining.beginning import beginning_of
from chainrule.look.explaining.examples import Examples, contributions_by_row, coupling_parts
from chainrule.look.explaining.figures import short
from chainrule.look.explaining.flow import Error, error_of
from chainrule.look.explaining.formulas import LossStory, story_of
from chainrule.look.explaining.labels import Labels
from chainrule.look.explaining.meaning import names_of
from chainrule.look.explaining.numeric import Check, Extent, checked, replay
from chainrule.look.explaining.parts import Part, parts_of
from chainrule.look.explaining.path import Tree, Unfolding
from chainrule.look.explaining.recording import Recording, record
from chainrule.look.explaining.sensitivity import Sensitivity
from chainrule.look.explaining.story import LayerStory, stories_of
from chainrule.look.explaining.terminal import explanation_lines
from chainrule.look.explaining.update import Plan, Update
from chainrule.nn.arguments import whole
from chainrule.nn.losses import Loss
from chainrule.nn.module import Module
from chainrule.nn.optimizers import Optimizer

Array = np.ndarray[Any, Any]
Index = int | tuple[int, ...]


class Explanation:
    """One training step, taken apart; made by `chainrule.look.explain`.

    `print(explanation)` gives plain text of 80 columns, `explanation.show()` the same in colour; a notebook shows it
    by itself.

    Attributes
    ----------
    layers
        What every layer received and produced, and how the error went back through it, in the order of the forward
        pass; the last record is the loss.
    loss
        The loss: formula, numbers, value.
    checks
        With `check=True` the numeric gradients beside the exact ones; else empty.
    extent
        With `check=True` how much was compared, as a sentence when printed; else None.
    training
        Whether the network was in training mode.
    labels
        What the user calls inputs, answers and examples.
    began
        Where the loss or a gradient is not finite: with which op, layer and example that began; else `""`.
    """

    def __init__(
        self,
        net: Module,
        x: Array,
        y: Array,
        loss: Loss,
        optimizer: Optimizer,
        assumed: bool,
        recording: Recording,
        check: bool | str,
        labels: Labels,
    ) -> None:
        self.labels = labels
        self.net, self.x, self.y = net, x, y
        self.training = net.training
        self._loss, self._recording = loss, recording
        # The values of this moment: what is asked later is answered about the step as it was explained.
        self._values = dict(recording.states)
        self._modes = {module: module.training for module in net.named_modules().values()}
        self._parts = parts_of(recording)
        self._names = names_of(recording, self._parts)
        self._error = error_of(recording.nodes, recording.loss)
        self.layers: tuple[LayerStory, ...] = stories_of(self._parts, self._error, self._names)
        self.loss: LossStory = story_of(loss, recording, self._parts[-1], labels)
        self._planned = Plan.of(optimizer, assumed, self._parameter_gradients())
        self.began = self._first = ""
        if not (math.isfinite(self.loss.value) and math.isfinite(self._planned.promised)):
            self.began = self._first = beginning_of(net, loss, optimizer, (x, y), self.layers, labels)
        self.checks: tuple[Check, ...] = ()
        self.extent: Extent | None = None
        if check and not math.isfinite(self.exact_loss):
            self.began += " No numeric gradients: differences of a loss that is not finite say nothing."
        elif check:
            self.checks, self.extent = self._checked(check == "all")

    @functools.cached_property
    def update(self) -> Update:
        """What the optimizer would do, and what that would do to the loss."""
        plan = self._planned
        new = {parameter: move.after for parameter, move in plan.moves.items()}
        before = self.exact_loss
        after = float(self._again(new).loss.value) if new else before
        moves = tuple(plan.moves.values())
        return Update(plan.optimizer, plan.assumed, plan.rule, plan.rate, moves, plan.promised, before, after)

    @property
    def exact_loss(self) -> float:
        """The loss computed in float64: what the views show, and what `update` begins with.

        `loss.value` is that of the step itself, in the data type of the network: its rounding can swallow a small loss.
        """
        return float(self._exact.loss.value)

    @property
    def loss_dtype(self) -> str:
        """The data type in which the step itself computes its loss, such as `"float32"`."""
        return self._recording.loss.dtype.name

    # --- Questions ---
    @property
    def gradients(self) -> dict[str, Array]:
        """The gradient of every trained parameter that the loss depends on, by path."""
        return {parameter.name: gradient for parameter, gradient in self._parameter_gradients().items()}

    def gradient_of(self, path: str, call: int | None = None) -> Array:
        """The gradient of the loss for a parameter, for what a layer produced, or for the input.

        Parameters
        ----------
        path
            A parameter (`"0.weight"`), a layer (`"0"`: the gradient that arrives at its output), or `"x"`.
        call
            Which call, from 0, of a layer that was called several times.

        Raises
        ------
        ArgumentError
            For an unknown path, with the nearest, or a layer called several times without `call`.
        GradientError
            If no gradient flows there.
        """
        parameters = self._parameters()
        if path in parameters:
            return self._parameter_gradients()[self._trained(path)]
        if path == "x":
            return self.sensitivity().gradient
        calls = [each for each in self._recording.calls if each.path == path]
        if not calls:
            known = [*parameters, *dict.fromkeys(each.path for each in self._recording.calls if each.path), "x"]
            raise ArgumentError(f'there is no layer or parameter "{path}"{_nearest(path, known)}')
        if call is None and len(calls) > 1:
            raise ArgumentError(f'"{path}" was called {len(calls)} times; say which with call=0 to {len(calls) - 1}.')
        if not 0 <= (call or 0) < len(calls):
            raise ArgumentError(f'"{path}" was called {len(calls)} times, counted from 0; there is no call {call}.')
        produced = calls[call or 0].produced
        found = [self._error.arrived[tensor.node] for tensor in produced if tensor.node in self._error.arrived]
        if not found:
            raise GradientError(f'no gradient arrives at "{path}": nothing before it is trained, or the loss is blind.')
        return found[0]

    @np.errstate(all="ignore")  # what is not finite is told in words
    def path(self, parameter: str, index: Index, *, breadth: int = 3, most: int = 24) -> Tree:
        """Why one weight's gradient is what it is: the chain rule unfolded from the loss to this weight.

        Parameters
        ----------
        parameter
            Its path, such as `"0.weight"`.
        index
            The element; negative numbers count from the end.
        breadth
            At most so many branches at a place; the rest of each sum is one number.
        most
            How many places are opened, those with the largest contributions first.

        Raises
        ------
        ArgumentError
            For an unknown parameter, with the nearest, or an index out of range.
        GradientError
            If the parameter is frozen, or the loss does not depend on it.
        """
        whole(breadth, "path: breadth")
        whole(most, "path: most")
        wanted, place, node = self._element(parameter, index)
        wide = self._wide
        unfolding = Unfolding(wide.recording, wide.parts, wide.names, node, place, self.labels)
        root = unfolding.tree(breadth, most)
        gradient = float(wide.error.arrived[node][place])
        value = float(self._values[wanted][place])
        began = self._began_at(wanted, place, gradient)
        return Tree(wanted.name, place, value, gradient, root, "" if began else unfolding.dead_end(), began)

    @np.errstate(all="ignore")
    def examples(self, parameter: str, index: Index) -> Examples:
        """Which examples of the batch pushed a weight, up and down.

        Raises
        ------
        ArgumentError, GradientError
            As `path`; also if the guesses do not have one row an example.
        """
        wanted, place, node = self._element(parameter, index)
        wide = self._wide
        unfolding = Unfolding(wide.recording, wide.parts, wide.names, node, place, self.labels)
        rows = wide.recording.x.shape[0]
        found = contributions_by_row(wide.parts[-1], wide.error, unfolding.change, rows)
        if found is None:
            shape = wide.recording.guess.shape
            raise ArgumentError(f"examples: x has {rows} rows, but the guesses have the shape {shape}: not one a row.")
        flow = wide.error.passed_by(wide.parts[-1].nodes, node)
        direct = 0.0 if flow is None else float(flow[place])
        gradient = float(wide.error.arrived[node][place])
        meet = coupling_parts(wide.recording, wide.parts)
        began = self._began_at(wanted, place, gradient)
        dead_end = "" if began or direct or found.any() else unfolding.dead_end()
        return Examples(wanted.name, place, found, direct, gradient, meet, self.labels, dead_end, began)

    def sensitivity(self) -> Sensitivity:
        """The gradient of the loss for the input, for images as a picture.

        Raises
        ------
        GradientError
            If the input holds integers, which cannot be moved a little.
        """
        node = self._recording.x.node
        if node not in self._error.arrived:
            reason = "holds integers" if node.dtype.kind in "ib" else "does not reach the loss"
            raise GradientError(f"there is no sensitivity: the input {reason}. gradient_of() gives those of layers.")
        return Sensitivity(self.x, self._error.arrived[node])

    # --- Views ---
    def show(self) -> None:
        """Print it to the terminal, in colour where there is one."""
        lines.show(explanation_lines(self))

    def to_text(self, width: int = 80) -> str:
        """Plain text, at most `width` columns wide."""
        return lines.plain(explanation_lines(self), width)

    def to_html(self) -> str:
        """A whole HTML page without scripts or anything from outside."""
        return page.whole(self)

    def to_latex(self) -> str:
        """The four phases as LaTeX formulas with the real numbers, for small networks (needs amsmath).

        Raises
        ------
        ArgumentError
            If a tensor has more than 64 elements or more than two axes.
        """
        return latex.document(self)

    def to_dict(self, largest: int = 10_000) -> dict[str, Any]:
        """Everything as plain data for JSON; tensors of more than `largest` elements as their digest alone."""
        return schema.explanation_dict(self, largest)

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<Explanation of one step of {type(self.net).__name__}: loss {self.loss.value:.6g}>"

    def __rich__(self) -> Any:
        return lines.rich_text(explanation_lines(self))

    def _repr_html_(self) -> str:
        return page.fragment(self)

    # --- Chores ---
    @functools.cached_property
    def _exact(self) -> Recording:
        """The same forward pass in float64."""
        return self._again({})

    @functools.cached_property
    def _wide(self) -> _Wide:
        """The same step in float64, with the error that flows back."""
        return _Wide(self._exact)

    def _again(self, values: Mapping[Parameter, Array], x: Array | None = None) -> Recording:
        """The step once more in float64, with the states of then, and other `values` for some parameters, or for x."""
        now = {module: module.training for module in self._modes}
        try:
            for module, training in self._modes.items():
                module.training = training
            given: dict[State, Array] = self._values | dict[State, Array](values.items())
            inputs = self.x if x is None else x
            return record(self.net, inputs, self.y, self._loss.function, wide=True, values=given)
        finally:
            for module, training in now.items():
                module.training = training

    def _checked(self, everything: bool) -> tuple[tuple[Check, ...], Extent]:
        """Numeric gradients, and how much they cover."""
        wide = self._wide
        found: list[Check] = []
        nodes = [node for node in wide.error.arrived if self._checkable(node)]
        numbers = sum(math.prod(node.shape) for node in wide.recording.nodes)
        extent, loss = Extent.of(len(nodes), numbers, everything), float(wide.recording.loss.value)
        for node in (nodes[number] for number in extent.chosen):
            name, again = self._run_anew(node)
            found += checked(name, Tensor(node).value, wide.error.arrived[node], again, loss, extent.elements)
        return tuple(found), extent

    def _run_anew(self, node: Node) -> tuple[str, Callable[[Array], float]]:
        """The name of a node and the loss as a function of its value."""
        wide, owner = self._wide, node.owner
        if isinstance(owner, Parameter):
            return owner.name, lambda value: float(self._again({owner: value}).loss.value)
        if node is wide.recording.x.node:
            return "x", lambda x: float(self._again({}, x).loss.value)
        return wide.names[node], replay(wide.recording.nodes, node, wide.recording.loss.node)

    def _checkable(self, node: Node) -> bool:
        """Whether it is a parameter, the input, or what a layer gave, whose gradient the views show."""
        wide = self._wide
        if isinstance(node.owner, Parameter) and node.owner in self._values:
            return True
        others = (wide.recording.loss.node, wide.recording.y.node)
        return node is wide.recording.x.node or (node in wide.names and node not in others)

    def _began_at(self, parameter: Parameter, place: tuple[int, ...], exact: float) -> str:
        """Where the gradient of one element is not finite: what that began with; else `""`."""
        own = self._parameter_gradients()[parameter][place]
        if math.isfinite(own) and math.isfinite(exact):
            return ""
        if math.isfinite(exact):
            return f"In {own.dtype.name}, in which the step computes, it is {short(own)}. {self._first}"
        return self._first or "It is not finite in float64 alone, in which this is computed."

    def _parameters(self) -> dict[str, Parameter]:
        return dict(self.net.named_parameters())

    def _parameter_gradients(self) -> dict[Parameter, Array]:
        arrived = self._error.arrived
        return {
            node.owner: arrived[node]
            for node in self._recording.nodes
            if isinstance(node.owner, Parameter) and node in arrived
        }

    def _trained(self, path: str) -> Parameter:
        """The parameter of this path, which has a gradient."""
        known = self._parameters()
        if path not in known:
            raise ArgumentError(f'there is no parameter "{path}"{_nearest(path, list(known))}')
        parameter = known[path]
        if not parameter.trainable:
            raise GradientError(f'"{path}" is frozen: it is not trained and has no gradient. Use net.unfreeze().')
        if parameter not in self._parameter_gradients():
            raise GradientError(f'the loss does not depend on "{path}": the network does not use it in this step.')
        return parameter

    def _element(self, path: str, index: Index) -> tuple[Parameter, tuple[int, ...], Node]:
        """The parameter, the element as whole numbers from 0, and its leaf in the float64 recording."""
        parameter = self._trained(path)
        given = index if isinstance(index, tuple) else (index,)
        place = tuple(
            int(i) if isinstance(i, int | np.integer) and not isinstance(i, bool) else -(2**63) for i in given
        )
        fits = len(place) == parameter.ndim and all(
            -length <= i < length for i, length in zip(place, parameter.shape, strict=False)
        )
        if not fits:
            ranges = ", ".join(f"0 to {length - 1}" for length in parameter.shape)
            raise ArgumentError(f'"{path}" has the shape {parameter.shape}: index {index!r} must be ({ranges}).')
        place = tuple(i % length for i, length in zip(place, parameter.shape, strict=True))
        node = next(node for node in self._wide.recording.nodes if node.owner is parameter)
        return parameter, place, node


class _Wide:
    """A step in float64, with its parts, its names, and the error that flowed back."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.parts: tuple[Part, ...] = parts_of(recording)
        self.names: dict[Node, str] = names_of(recording, self.parts)
        self.error: Error = error_of(recording.nodes, recording.loss)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f'; did you mean "{near[0]}"?' if near else "."
    shown = ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
    return f"{hint} Known: {shown}."
