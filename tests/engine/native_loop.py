"""Native code for one elementwise op over arrays, and how far its results are from exact ones.

The code is a loop of vectors of any width, and one of single values for the rest.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from chainrule.engine.code import Code, Kind
from chainrule.engine.instructions import INSTRUCTIONS
from chainrule.engine.native import Native
from chainrule.engine.op import Op
from chainrule.engine.target import Target

Array = np.ndarray[Any, Any]


def module(op: Op, dtype: np.dtype[Any], target: Target, lanes: int, inputs: int = 1) -> str:
    """The LLVM text of `void run(result, inputs..., count)`."""
    names = [f"x{number}" for number in range(inputs)]
    code = Code("run", [("ptr noalias", name) for name in ["y", *names]] + [("i64", "n")], **target.options)
    rest = "0"
    if lanes:
        rest = code.let(f"and i64 %n, {-lanes}")
        _loop(code, op, Kind(dtype, lanes), names, ("0", rest))
    _loop(code, op, Kind(dtype), names, (rest, "%n"))
    return "\n".join([*code.declarations, code.text()])


def _loop(code: Code, op: Op, kind: Kind, names: list[str], bounds: tuple[str, str]) -> None:
    with code.loop(*bounds, step=max(1, kind.lanes)) as index:
        element = Kind(kind.dtype).type
        places = [code.element(element, f"%{name}", index) for name in names]
        align = f"align {kind.dtype.itemsize}"
        values = [code.let(f"load {kind.type}, ptr {place}, {align}") for place in places]
        result = INSTRUCTIONS[op](code, kind, *values)
        code.do(f"store {kind.type} {result}, ptr {code.element(element, '%y', index)}, {align}")


class Compiled:
    """The code for one op, as a function of arrays of `dtype` in one dimension."""

    def __init__(self, op: Op, dtype: np.dtype[Any], target: Target, lanes: int, inputs: int = 1) -> None:
        self.native = Native(module(op, dtype, target, lanes, inputs), target)
        kinds = [ctypes.c_void_p] * (inputs + 1)
        self.run = ctypes.CFUNCTYPE(None, *kinds, ctypes.c_int64)(self.native.address("run"))

    def __call__(self, *arrays: Array) -> Array:
        result = np.empty_like(arrays[0])
        self.run(result.ctypes.data, *[array.ctypes.data for array in arrays], result.size)
        return result


def units_off(found: Array, exact: Array) -> Array:
    """The distance from `exact`, in a wider type, in units of the last place of what `found` should be.

    It is infinite where one is not a number and the other is, or where infinity stands for a number or the other way.
    """
    with np.errstate(all="ignore"):
        rounded = exact.astype(found.dtype)
        largest = np.finfo(found.dtype).max
        unit = np.spacing(np.minimum(np.abs(rounded), largest)).astype(exact.dtype)
        distance = np.abs(found.astype(exact.dtype) - exact) / unit
        same = (found == rounded) | (np.isnan(found) & np.isnan(exact))
        return np.where(same & ~np.isfinite(rounded), 0, np.where(np.isnan(distance), np.inf, distance))
