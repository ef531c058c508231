"""What must hold of numbers, such as that an index is one: looked at now, or before a compiled step begins.

A check is written next to what needs it. Where the numbers are there it is made at once. In a trace it is noted down;
what is told from the arguments by plain arithmetic becomes a guard: a small program of its own that counts what is
wrong, and runs before each step, so that a step on wrong arguments has changed nothing. It computes in an order of its
own, so where it finds something the reference has the last word.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine import reference
from chainrule.engine.context import trace_under_way
from chainrule.engine.dtypes import int64
from chainrule.engine.graph import Graph, Node, Shape, toposort
from chainrule.engine.op import Op
from chainrule.engine.provenance import Provenance, here
from chainrule.engine.tensor import METHODS, Tensor, cast
from chainrule.errors import ChainruleError

Array = np.ndarray[Any, Any]
_PLAIN = {  # ops that cost next to nothing for each element
    Op.NEG, Op.ABS, Op.SIGN, Op.FLOOR, Op.CEIL, Op.ROUND, Op.TRUNC, Op.NOT, Op.ADD, Op.SUB, Op.MUL, Op.DIV,
    Op.FLOOR_DIVIDE, Op.REMAINDER, Op.MAXIMUM, Op.MINIMUM, Op.EQUAL, Op.NOT_EQUAL, Op.LESS, Op.LESS_EQUAL, Op.AND,
    Op.OR, Op.XOR, Op.WHERE, Op.CAST, Op.STOP_GRADIENT, Op.RESHAPE, Op.TRANSPOSE, Op.BROADCAST, Op.SLICE, Op.PAD,
    Op.CONCAT, Op.FLIP,
}  # fmt: skip
_SMALL = 4096  # elements that a guard may look at, if the arguments have fewer
_MOST = 64  # lookups that it looks at: of a sequence that was unrolled there may be thousands
_TOGETHER = 4  # checks of as many elements: few enough that those of a long sequence share their code
_asked: ContextVar[bool] = ContextVar("asked", default=True)


class Check(NamedTuple):
    """Something that must hold when a program runs.

    Attributes
    ----------
    given
        What is looked at.
    right
        Where it is right: booleans for an array, or for a tensor.
    refusal
        The error for an array, and the first place in what `right` gave where it is wrong.
    provenance
        Where in the user's code it is asked for.
    sure
        Where it is right whatever the order of computing.
    is_lookup
        Whether machine code looks at it once more where it is used.
    """

    given: Node
    right: Callable[[Any], Any]
    refusal: Callable[[Array, Shape], ChainruleError]
    provenance: Provenance
    sure: Callable[[Any], Any]
    is_lookup: bool


def require(
    given: Tensor,
    right: Callable[[Any], Any],
    refusal: Callable[[Array, Shape], ChainruleError],
    *,
    sure: Callable[[Any], Any] | None = None,
    is_lookup: bool = False,
) -> None:
    """`right(given)` holds everywhere: else `refusal` is raised, at once or when the traced program runs.

    `right` and `sure` use nothing but operators and methods that arrays and tensors have in common. See `Check`.
    """
    known, trace = given.node.value, trace_under_way.get() if _asked.get() else None
    if known is not None:
        error = _refused(known, right, refusal)
        if error is not None:
            raise error
    elif trace is not None:
        trace.check(Check(given.node, right, refusal, here(), sure or right, is_lookup))


@contextmanager
def checked_already() -> Iterator[None]:
    """What is traced in this block need not ask: all that it would ask has been looked at, or is asked already."""
    token = _asked.set(False)
    try:
        yield
    finally:
        _asked.reset(token)


def _refused(
    values: Array, right: Callable[[Any], Any], refusal: Callable[[Array, Shape], ChainruleError]
) -> ChainruleError | None:
    with np.errstate(all="ignore"):
        wrong = ~np.asarray(right(values))
    return refusal(values, tuple([int(i) for i in np.argwhere(wrong)[0]])) if wrong.any() else None


def guard_of(checks: Iterable[Check], arguments: Sequence[Node]) -> tuple[tuple[Check, ...], Graph | None]:
    """The checks that can be made before a step, and the graph that counts where its arguments are wrong."""
    checks = [*checks]
    known, room = set(arguments), max([_SMALL, *(node.size for node in arguments)])
    for node in toposort([check.given for check in checks]):
        is_plain = node.inputs and node.op in _PLAIN and node.size <= room
        if node.value is not None or (is_plain and known.issuperset(node.inputs)):
            known.add(node)
    lookups = itertools.count()
    checks = [c for c in checks if c.given in known and not (c.is_lookup and next(lookups) >= _MOST)]
    if not checks:
        return (), None
    sure = [check.sure(Tensor(check.given)) for check in checks]
    for node in toposort([check.given for check in checks]):
        if node.op is Op.CAST and node.dtype.kind == "i" and node.inputs[0].dtype.kind == "f":
            number = Tensor(node.inputs[0])
            sure.append(number == number)  # NaN becomes another integer in NumPy than in machine code
    by_size: dict[int, list[Tensor]] = {}
    for right in sure:
        by_size.setdefault(right.size, []).append(right.flatten())
    counts = []
    for rights in by_size.values():
        for few in (rights[first : first + _TOGETHER] for first in range(0, len(rights), _TOGETHER)):
            counts.append(METHODS["sum"](cast(~functools.reduce(operator.and_, few), int64)))
    return tuple(checks), Graph.of([functools.reduce(operator.add, counts).node], arguments)


def first_error(checks: Sequence[Check], feeds: Mapping[Node, Array]) -> ChainruleError | None:
    """The error of the first check that does not hold for these arguments."""
    graph = Graph.of([check.given for check in checks], [*feeds])
    for check, values in zip(checks, reference.run(graph, feeds), strict=True):
        error = _refused(values, check.right, check.refusal)
        if error is not None:
            return type(error)(f"{check.provenance}: {error}")
    return None
