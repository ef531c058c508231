"""Loops that a gradient can follow."""

from collections.abc import Callable
from typing import Any, TypeVar

from chainrule.engine.functions.shapes import stack
from chainrule.engine.tensor import Tensor, asarray
from chainrule.errors import ArgumentError, ShapeError

Carry = TypeVar("Carry")


def scan(
    f: Callable[[Carry, Tensor], tuple[Carry, Tensor]], init: Carry, xs: Any, /, *, reverse: bool = False
) -> tuple[Carry, Tensor]:
    """Walk along the first axis of `xs`, handing a carry from step to step.

    Parameters
    ----------
    f
        `f(carry, x) -> (carry, y)`, called once a step with `x = xs[i]`.
    init
        The carry before the first step: a tensor, or whatever `f` takes and returns.
    xs
        A tensor of shape (steps, ...), with at least one step.
    reverse
        Walk from the last step to the first; `ys` keeps the order of `xs`.

    Returns
    -------
    carry, ys
        The last carry, and the results `y` stacked along a new first axis.

    Examples
    --------
    >>> import chainrule as cr
    >>> total, running = cr.scan(lambda carry, x: (carry + x, carry + x), cr.asarray(0.0), cr.asarray([1.0, 2.0, 3.0]))
    >>> total.item(), running.tolist()
    (6.0, [1.0, 3.0, 6.0])
    """
    sequence = asarray(xs)
    if not sequence.ndim:
        raise ShapeError("scan: xs needs a first axis to walk along, but is a scalar.")
    if not sequence.shape[0]:
        raise ArgumentError("scan: xs has no steps, so the shape of the results is unknown.")
    order = range(sequence.shape[0])
    carry, results = init, []
    for step in reversed(order) if reverse else order:
        carry, result = f(carry, sequence[step])
        results.append(result)
    return carry, stack(results[::-1] if reverse else results)
