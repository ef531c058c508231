"""Native code for one elementwise op over arrays: a loop of vectors of any width, and single values for the rest."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
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
    code = Code("run", [("ptr noalias", name) for name in ["y", *names]] + [("i64", "n")], fused=target.fused)
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


def compiled(op: Op, dtype: np.dtype[Any], target: Target, lanes: int, inputs: int = 1) -> Callable[..., Array]:
    """A function of arrays of `dtype` in one dimension."""
    native = Native(module(op, dtype, target, lanes, inputs), target)
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (inputs + 1), ctypes.c_int64)(native.address("run"))

    def call(*arrays: Array, out: Array | None = None) -> Array:
        assert native  # it owns the code
        result = np.empty_like(arrays[0]) if out is None else out
        run(result.ctypes.data, *[array.ctypes.data for array in arrays], result.size)
        return result

    return call
