"""What to do about a number that is not finite: advice that fits the op that made it and what it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.engine.graph import Node
from chainrule.engine.op import Op
from chainrule.engine.state import Parameter
from chainrule.engine.trace import Traced

Array = np.ndarray[Any, Any]
_LARGE = 1e4  # a parameter or a number of the data beyond this is to blame before the op that it came to

SLOWER = "a smaller learning rate, or clip_global_norm=1.0 in the optimizer"  # what the command line says as flags
EXPLODED = f"The parameters have grown to {{largest:.3g}}: earlier steps were too large. Use {SLOWER}."
EXTREME = (
    "The data holds {largest:.3g} there. No smaller learning rate helps against that: scale the columns, and mend or "
    "drop such rows of the data."
)
MISSING = (
    "The data itself is not finite there. No smaller learning rate helps against that: fill in or drop such rows of "
    "the data."
)
BROKEN = "A parameter or state itself was not finite before the step: look at where it was made or loaded."
LOG = (
    "Keep it away from 0, cr.log(cr.maximum(x, 1e-7)), or better take a loss that takes logits, such as "
    '"cross_entropy" or "binary_cross_entropy", and drop the softmax or sigmoid before it.'
)
DIVISION = "Keep the divisor away from 0: add a small number to it, x / (y + 1e-7), or cr.maximum(y, 1e-7)."
ROOT = "The slope of a root at 0 is infinite: put a small number under it, cr.sqrt(x + 1e-12)."
NEGATIVE_ROOT = "The root of a negative number is none: keep it from falling below 0, cr.sqrt(cr.maximum(x, 0))."
POWER = "A power of 0 or of a negative number has no value or no slope here: keep the base above 0 with cr.maximum."
EXPONENTIAL = (
    "exp is infinite beyond 88 (float32) or 709 (float64): take the largest element off first, as cr.softmax and "
    "cr.logsumexp do, or bound it with cr.minimum(x, 80)."
)
DOMAIN = "The function has no value there: keep its argument within bounds with cr.clip."
TOO_LARGE = (
    f"The numbers grow beyond what float32 holds (3.4e38). Use {SLOWER}, and look for extreme values in the data."
)
STEP = f"The step itself was too large: use {SLOWER}."

_BY_OP = {
    Op.LOG: LOG,
    Op.LOG1P: LOG,
    Op.POW: POWER,
    Op.SQRT: NEGATIVE_ROOT,
    Op.ASIN: DOMAIN,
    Op.ACOS: DOMAIN,
    Op.ATANH: DOMAIN,
    Op.ACOSH: DOMAIN,
    Op.TAN: DOMAIN,
}
_GROWING = {Op.EXP: EXPONENTIAL, Op.EXPM1: EXPONENTIAL, Op.SINH: EXPONENTIAL, Op.COSH: EXPONENTIAL}


def advice_for(
    node: Node,
    is_update: bool,
    inputs: Sequence[float],
    data: Sequence[Array],
    traced: Traced,
    values: Mapping[Node, Array],
) -> str:
    """What to do about a node that made something that is not finite.

    Parameters
    ----------
    node, is_update
        Which node, and whether it belongs to the update.
    inputs
        The numbers that it was made of.
    data
        Inputs and targets of its example, or of the whole batch.
    traced, values
        The step, and the values of all its nodes.
    """
    if node.op is Op.INPUT:
        return BROKEN if node.owner is not None else MISSING
    known = _BY_OP.get(node.op)
    if known is not None and not _is_overflow(node, inputs):
        return known
    if node.op is Op.DIV and inputs[1] == 0:
        forward = node.gradient_of.op if node.gradient_of is not None else None
        return ROOT if forward is Op.SQRT else LOG if forward is Op.LOG else DIVISION
    read = zip(traced.graph.inputs[traced.arguments :], traced.reads, strict=True)
    grown = max((_size(values[source]) for source, state in read if isinstance(state, Parameter)), default=0.0)
    if grown > _LARGE:
        return EXPLODED.format(largest=grown)
    extreme = max((_size(array) for array in data if array.dtype.kind == "f"), default=0.0)
    if extreme > _LARGE:
        return EXTREME.format(largest=extreme)
    if is_update:
        return STEP
    return _GROWING.get(node.op, TOO_LARGE)


def _is_overflow(node: Node, inputs: Sequence[float]) -> bool:
    """Whether a power is infinite because it is large, not because of 0 or a negative base."""
    return node.op is Op.POW and inputs[0] > 0 and abs(inputs[0]) > 1


def _size(array: Array) -> float:
    """The largest absolute value."""
    return float(np.max(np.abs(array))) if array.size else 0.0
