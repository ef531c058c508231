"""Run the forward pass of one step and keep all of it, without changing anything that it reads.

Comes in: a network, a batch and a loss. Goes out: a `Recording` with the nodes and the calls of modules. The states
that the step would assign (running statistics, random counters, parameters) go into a sandbox and are forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.checks import Check
from chainrule.engine.context import recording, trace_scope, trace_under_way
from chainrule.engine.dtypes import float64, is_floating
from chainrule.engine.graph import Node, toposort
from chainrule.engine.provenance import current_module
from chainrule.engine.state import Parameter, State
from chainrule.engine.tensor import Tensor, asarray
from chainrule.nn.losses import LossFunction
from chainrule.nn.module import Module, calls_watched
from chainrule.train.steps import fitting

Array = np.ndarray[Any, Any]


class Sandbox:
    """States that are assigned inside keep their own value outside: what is written here is read here alone.

    Parameters
    ----------
    values
        States that have another value from the beginning.
    """

    def __init__(self, values: Mapping[State, Array] | None = None) -> None:
        self._nodes = {state: state._leaf(np.asarray(value)) for state, value in (values or {}).items()}
        self.found: dict[State, Array] = {}  # every state that was touched, with the value that it had first

    def read(self, state: State) -> Node:
        """The node of the state as it is here."""
        node = self._nodes[state] if state in self._nodes else _outside(state)
        if state not in self.found and node.value is not None:
            self.found[state] = node.value
        return node

    def write(self, state: State, value: Tensor) -> None:
        """Give the state a value that holds here."""
        self.read(state)
        self._nodes[state] = state._leaf(value.value)

    def check(self, check: Check) -> None:
        """Numbers are known here, and were looked at already."""

    @contextmanager
    def entered(self) -> Iterator[Sandbox]:
        """In this block states are read from and written to the sandbox, and every node remembers its inputs."""
        token = recording.set(True)
        try:
            with trace_scope(self):
                yield self
        finally:
            recording.reset(token)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module: where it stands in the network, what it received and what it produced."""

    module: Module
    path: str
    number: int  # which call of this module, from 0
    received: tuple[Tensor, ...]
    produced: tuple[Tensor, ...]
    within: str  # the path of the module that called it


@dataclass(frozen=True, slots=True)
class Recording:
    """The forward pass and the loss of one step, node by node.

    `x` and `y` are the tensors that went in (`y` as the loss received it), `calls` are in the order in which they
    ended, `nodes` in topological order from the leaves to the loss, `states` what was read and its value before.
    """

    net: Module
    x: Tensor
    y: Tensor
    guess: Tensor
    loss: Tensor
    calls: tuple[Call, ...]
    nodes: tuple[Node, ...]
    states: Mapping[State, Array]


def record(
    net: Module,
    x: Array,
    y: Array,
    loss: LossFunction,
    *,
    wide: bool = False,
    values: Mapping[State, Array] | None = None,
) -> Recording:
    """Run `loss(net(x), y)` aside.

    Parameters
    ----------
    net, x, y, loss
        What a step is made of; `x` and `y` as the network takes them.
    wide
        Run in float64, with the same parameters and the same random numbers.
    values
        States, such as parameters, that have another value than in the network.
    """
    calls: list[Call] = []
    counts: dict[int, int] = {}

    def watch(module: Module, arguments: tuple[Any, ...], result: Any) -> None:
        number = counts.get(id(module), 0)
        counts[id(module)] = number + 1
        received, produced = tuple(_tensors(arguments)), tuple(_tensors(result))
        calls.append(Call(module, module._path, number, received, produced, current_module()))

    given = dict(values or {})
    with _in_float64(net, given) if wide else Sandbox(given).entered() as sandbox:
        inputs, targets = (_leaf(array, wide) for array in (x, y))
        with calls_watched(watch):
            guess = net(inputs)
        targets = fitting(targets, guess) if isinstance(guess, Tensor) else targets
        measured = loss(guess, targets)
    nodes = toposort([measured.node]) if isinstance(measured, Tensor) else []
    return Recording(net, inputs, targets, guess, measured, tuple(calls), tuple(nodes), sandbox.found)


def _leaf(array: Array, wide: bool) -> Tensor:
    tensor = asarray(array)
    return asarray(array, dtype=float64) if wide and is_floating(tensor.dtype) else tensor


def _outside(state: State) -> Node:
    """The node of a state as it is outside of any sandbox; a compiled program that holds the state gives it back."""
    token = trace_under_way.set(None)
    try:
        return state.node
    finally:
        trace_under_way.reset(token)


@contextmanager
def _in_float64(net: Module, values: Mapping[State, Array]) -> Iterator[Sandbox]:
    """A sandbox in which the parameters of `net` are float64; they are back afterwards, whatever happens."""
    narrow = {parameter: parameter.node for parameter in net.parameters()}
    for parameter, node in narrow.items():
        value = np.asarray(values.get(parameter, node.value), np.float64)
        parameter._node = parameter._leaf(value)
    try:
        with Sandbox({state: value for state, value in values.items() if state not in narrow}).entered() as sandbox:
            yield sandbox
    finally:
        for parameter, node in narrow.items():
            parameter._node = node


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in what a module takes or gives, looking into lists, tuples and dictionaries."""
    stack = [value]
    while stack:
        top = stack.pop()
        if isinstance(top, Tensor):
            yield top
        elif isinstance(top, list | tuple):
            stack.extend(reversed(top))
        elif isinstance(top, dict):
            stack.extend(reversed(top.values()))


def owner_of(node: Node) -> Parameter | None:
    """The parameter that a leaf stands for."""
    return node.owner if isinstance(node.owner, Parameter) else None
