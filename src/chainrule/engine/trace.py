"""From a Python function to a graph: run it once on symbols and keep what it did.

Arguments become inputs without a value; a parameter or state that is read becomes an input too, and one that is
assigned an output. So a whole training step, written as ordinary imperative code, is one graph.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine import reference
from chainrule.engine.checks import Check, first_error, guard_of
from chainrule.engine.context import Mode, relied_on, rely_on, trace_scope
from chainrule.engine.dtypes import is_floating
from chainrule.engine.graph import Graph, Node
from chainrule.engine.op import Op
from chainrule.engine.provenance import entering, here
from chainrule.engine.state import Parameter, State
from chainrule.engine.tensor import Tensor, asarray
from chainrule.errors import ChainruleError, TraceError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced function: its graph, the states that it reads, and those that it assigns.

    The graph's inputs are the arguments, then `reads` in their order; its outputs are the results, then the new values
    of `writes` in their order. `modes` are the settings that it relied on: it holds only while they stay. `checks` are
    what must hold of the arguments before it begins, and `guard` the function that tells whether they all do.
    """

    graph: Graph
    arguments: int
    reads: tuple[State, ...]
    writes: tuple[State, ...]
    modes: tuple[Mode, ...] = ()
    checks: tuple[Check, ...] = ()
    guard: Traced | None = None

    def __call__(self, *arguments: Any) -> list[Array]:
        """Run the graph on the reference executor: returns the results and assigns the states."""
        given = [np.asarray(argument) for argument in arguments]
        values = [*given, *(state.value for state in self.reads)]
        for node, value in zip(self.graph.inputs, values, strict=True):
            if node.shape != value.shape or node.dtype != value.dtype:
                raise TraceError(
                    f"the program was traced for {node.dtype.name} {node.shape}, but got {value.dtype.name} "
                    f"{value.shape}; trace it again for these arguments."
                )
        error = self.refused(given)
        if error is not None:
            raise error
        outputs = reference.run(self.graph, dict(zip(self.graph.inputs, values, strict=True)))
        results = len(outputs) - len(self.writes)
        for state, value in zip(self.writes, outputs[results:], strict=True):
            state.assign(value)
        return outputs[:results]

    def refused(self, arguments: Sequence[Array]) -> ChainruleError | None:
        """The error of the first check that does not hold for these arguments."""
        return first_error(self.checks, dict(zip(self.graph.inputs, arguments, strict=False)))


class _Trace:
    """The states that a function reads and assigns while it is traced, and what it asks of its arguments."""

    def __init__(self) -> None:
        self.inputs: dict[State, Node] = {}
        self.current: dict[State, Node] = {}
        self.checks: list[Check] = []

    def read(self, state: State) -> Node:
        """The node of the state as it is now: what was assigned last, or an input."""
        if state not in self.current:
            tracked = isinstance(state, Parameter) and state.trainable
            if isinstance(state, Parameter):
                rely_on(state, "trainable", state.trainable)
            node = _symbol(state._node.shape, state._node.dtype, state.name, tracked=tracked, owner=state)
            self.inputs[state] = self.current[state] = node
        return self.current[state]

    def write(self, state: State, value: Tensor) -> None:
        """From now on the state is `value`."""
        self.read(state)
        self.current[state] = value.node

    def check(self, check: Check) -> None:
        """It is looked at when the program runs."""
        self.checks.append(check)


def _symbol(shape: tuple[int, ...], dtype: Any, name: str, *, tracked: bool, owner: object = None) -> Node:
    return Node(Op.INPUT, (), {"name": name}, shape, dtype, here(), None, tracked, owner)


def trace(f: Callable[..., Any], *arguments: Any, names: Sequence[str] | None = None) -> Traced:
    """The program that `f` is for arguments of these shapes and data types.

    Parameters
    ----------
    f
        Takes tensors, returns a tensor or a tuple of tensors; may read and assign states.
    *arguments
        Tensors or arrays; only their shapes and data types count.
    names
        What the arguments are called in the text of the graph; by default as `f` calls them.

    Raises
    ------
    TraceError
        Where `f` needs a number: a Python branch on a tensor, `float(x)`, NumPy on a tensor; or uses a tensor that was
        kept from another trace.
    """
    recorder = _Trace()
    if names is None:
        names = f.__code__.co_varnames[: f.__code__.co_argcount] if hasattr(f, "__code__") else ()
    symbols = []
    for i, argument in enumerate(map(asarray, arguments)):
        name = names[i] if i < len(names) else f"argument{i}"
        symbols.append(_symbol(argument.shape, argument.dtype, name, tracked=is_floating(argument.dtype)))
    modes: dict[tuple[int, str], Mode] = {}
    token = relied_on.set(modes)
    try:
        with entering(sys._getframe()), trace_scope(recorder):
            returned = f(*map(Tensor, symbols))
            checks, guard = guard_of(recorder.checks, symbols)
    finally:
        relied_on.reset(token)
    results = tuple(returned) if isinstance(returned, tuple | list) else (returned,)
    for result in results:
        if not isinstance(result, Tensor):
            raise TraceError(f"a traced function must return tensors, but returned a {type(result).__name__}.")
    writes = {state: node for state, node in recorder.current.items() if node is not recorder.inputs[state]}
    outputs = [*(_node(result, recorder) for result in results), *writes.values()]
    inputs = [*symbols, *recorder.inputs.values()]
    graph = Graph.of(outputs, inputs)
    for stray in graph.inputs[len(inputs) :]:
        raise TraceError(
            f"a traced function uses a tensor that was kept from another trace ({stray.attributes['name']} at "
            f"{stray.provenance}), where it was only a symbol. Pass it as an argument, or return it from there."
        )
    before = None if guard is None else Traced(guard, len(symbols), (), ())
    states = tuple(recorder.inputs), tuple(writes)
    return Traced(graph, len(symbols), *states, tuple(modes.values()), checks, before)


def _node(result: Tensor, recorder: _Trace) -> Node:
    return recorder.read(result) if isinstance(result, State) else result.node
