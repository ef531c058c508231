"""What many steps in one native call need before they begin: a module that loops, data and rows that fit the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.engine.dtypes import DType
from chainrule.engine.gathering import Results, can_gather
from chainrule.engine.graph import Shape
from chainrule.engine.native import ahead, key_of
from chainrule.engine.target import Target
from chainrule.errors import ArgumentError, DTypeError, ShapeError

Array = np.ndarray[Any, Any]
Signature = tuple[tuple[Shape, DType], ...]


def loop_module(
    arguments: Signature,
    sources: Sequence[np.dtype[Any]],
    results: Results,
    variant: Results | None,
    target: Target,
    *,
    guarded: bool,
) -> tuple[Callable[[], str], Target, str]:
    """What writes the module of a loop, for which processor, and its key."""
    parts = arguments, tuple(sources), results, variant

    def text() -> str:
        from chainrule.engine.stages import loop_text

        return loop_text(*parts, target, guarded=guarded)

    return text, target, key_of(f"loop {parts} guarded {guarded}", target)


def prepare_loop(
    arguments: Signature,
    states: int,
    results: Signature,
    sources: Sequence[np.dtype[Any]],
    variant: Results | None,
    target: Target,
    *,
    guarded: bool,
) -> None:
    """Let a loop be compiled while the step that it will run is still being made."""
    table = 1 + len(arguments) + states, sizes_of(results)
    ahead(*loop_module(arguments, sources, table, variant, target, guarded=guarded))


def sizes_of(signature: Signature) -> tuple[int, ...]:
    """Bytes of each array."""
    return tuple([math.prod(shape) * dtype.itemsize for shape, dtype in signature])


def checked_rows(signature: Signature, data: Sequence[Array], rows: Array) -> Array:
    """The numbers of the rows, after everything was looked at."""
    if len(data) != len(signature):
        raise ArgumentError(f"loop: the step takes {len(signature)} arguments, but data has {len(data)} arrays.")
    for number, (array, (shape, dtype)) in enumerate(zip(data, signature, strict=True)):
        if not shape or array.shape[1:] != shape[1:] or not array.ndim:
            raise ShapeError(
                f"loop: the step takes batches of shape {shape} as argument {number}, but its rows are to come "
                f"from an array of shape {array.shape}; all axes but the first must be equal."
            )
        if not can_gather(array.dtype, dtype):
            order = "" if array.dtype.isnative else " in another byte order than this machine's"
            raise DTypeError(
                f"loop: rows of {array.dtype.name}{order} cannot become {dtype.name}; convert the array: "
                f"array.astype('{dtype.name}')."
            )
    batch = signature[0][0][0] if signature else 0
    if any(shape[0] != batch for shape, _ in signature):
        raise ShapeError("loop: all arguments of the step must have the same first axis, the batch.")
    if rows.dtype.kind not in "iu":
        raise DTypeError(f"loop: rows must hold integers, the numbers of rows, but holds {rows.dtype.name}.")
    if rows.ndim != 2 or rows.shape[1] != batch:
        raise ShapeError(f"loop: rows must have the shape (steps, {batch}), but has {rows.shape}.")
    least = min(map(len, data), default=0)
    numbers = np.ascontiguousarray(rows, np.int64)
    if rows.size and numbers.view(np.uint64).max() >= least:  # in one pass, as negative ones are the largest there
        raise ArgumentError(f"loop: rows holds {rows.min()} to {rows.max()}, but there are rows 0 to {least - 1}.")
    return numbers


def turns_of(at: Array | None, steps: int, has_variant: bool) -> Array | None:
    """For each step which turn of the variant it is, from 0; -1 where it is none. None: there is no variant."""
    if at is None and not has_variant:
        return None
    at = np.zeros(steps, bool) if at is None else at
    if at.shape != (steps,) or at.dtype != bool or (not has_variant and at.any()):
        raise ArgumentError(
            f"loop: at tells for each of {steps} steps whether the variant makes it, but it is {at.dtype.name} of "
            f"shape {at.shape}{'' if has_variant else ', and there is no variant'}."
        )
    return np.where(at, np.cumsum(at) - 1, -1).astype(np.int64)
