"""What holds for a block of code: whether nodes remember their inputs, whose gradient is made, which trace reads.

Context variables, so each thread and each task has its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from chainrule.engine.graph import Node

if TYPE_CHECKING:
    from chainrule.engine.checks import Check
    from chainrule.engine.state import State
    from chainrule.engine.tensor import Tensor


class StateReader(Protocol):
    """What a trace offers: an input node for each state that is read, an output for each that is assigned, and a list
    of what must hold when the program runs."""

    def read(self, state: State) -> Node: ...

    def write(self, state: State, value: Tensor) -> None: ...

    def check(self, check: Check) -> None: ...


Mode = tuple[object, str, object]  # whose attribute had which value while a function was traced


class Changes:
    """Whether something was changed since one last looked: `latest` is another object then.

    An object, because two threads that count at once may count one change for two.
    """

    def __init__(self) -> None:
        self.latest = object()

    def changed(self) -> None:
        """Something has just been changed."""
        self.latest = object()


modes = Changes()  # the mode of a module or parameter; compiled programs then look whether theirs still holds
places = Changes()  # which array holds the value of a state; programs then look where theirs are
recording: ContextVar[bool] = ContextVar("recording", default=True)
differentiating: ContextVar[bool] = ContextVar("differentiating", default=False)
gradient_of: ContextVar[Node | None] = ContextVar("gradient_of", default=None)
trace_under_way: ContextVar[StateReader | None] = ContextVar("trace", default=None)
relied_on: ContextVar[dict[tuple[int, str], Mode] | None] = ContextVar("relied_on", default=None)


@contextmanager
def no_grad() -> Iterator[None]:
    """Nothing made in this block remembers its inputs: no gradient, no memory.

    >>> import chainrule as cr
    >>> weight = cr.Parameter([1.0, 2.0])
    >>> with cr.no_grad():
    ...     loss = cr.sum(weight**2)
    >>> loss.node.inputs
    ()
    """
    token = recording.set(False)
    try:
        yield
    finally:
        recording.reset(token)


@contextmanager
def remembering() -> Iterator[None]:
    """Nodes made in this block remember their inputs, also inside `no_grad`: a gradient of them is wanted.

    Compiled functions, whose results remember nothing, run as they were written there.
    """
    tokens = recording.set(True), differentiating.set(True)
    try:
        yield
    finally:
        recording.reset(tokens[0])
        differentiating.reset(tokens[1])


@contextmanager
def gradient_scope(forward: Node) -> Iterator[None]:
    """Nodes made in this block remember that they belong to the gradient of `forward`."""
    token = gradient_of.set(forward)
    try:
        yield
    finally:
        gradient_of.reset(token)


@contextmanager
def trace_scope(trace: StateReader | None) -> Iterator[None]:
    """States read and assigned in this block go through `trace`, or with `None` straight to the states."""
    token = trace_under_way.set(trace)
    try:
        yield
    finally:
        trace_under_way.reset(token)


def rely_on(owner: object, name: str, value: object) -> None:
    """What is being traced holds only while this attribute stays as it is."""
    found = relied_on.get()
    if found is not None:
        found[(id(owner), name)] = (owner, name, value)
