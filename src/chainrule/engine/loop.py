"""Many steps in one native call: batches are gathered, the step is run, its results are written down, again and again.

    loop(job, thread, threads)      job: as for a step; its sixth word points to the loop's own words, in this order:
    step, steps, rows, stop, halt, done, sources..., results...

The rows of each batch are gathered by an array of numbers from row-major arrays of any numeric type, and converted on
the way. A flag is looked at before every step, so that a run ends soon after it is raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.code import MEMORY, Code, Kind
from chainrule.engine.dtypes import DType, bool_, float32
from chainrule.engine.graph import Shape
from chainrule.engine.kernels.walk import Axis, Spot, along, share
from chainrule.engine.lanes import Bits
from chainrule.engine.target import Target
from chainrule.engine.team import waiting

LOOP = "loop"
STEP_AT, STEPS, ROWS, STOP, HALT, DONE, FIRST = range(7)
Signature = tuple[Shape, DType]

# NumPy's name of a type -> how it stands in memory, and whether it is a signed or unsigned integer, a float,
# or a half, whose bits are converted here, because not every processor has an instruction for it.
_SOURCES = {
    "bool": ("i8", "u"),
    "uint8": ("i8", "u"),
    "int8": ("i8", "s"),
    "uint16": ("i16", "u"),
    "int16": ("i16", "s"),
    "uint32": ("i32", "u"),
    "int32": ("i32", "s"),
    "int64": ("i64", "s"),
    "float16": ("i16", "h"),
    "float32": ("float", "f"),
    "float64": ("double", "f"),
}


def can_gather(source: np.dtype[Any], goal: DType) -> bool:
    """Whether rows of a type can become rows of another on the way into a batch."""
    if source == goal:
        return True
    return source.isnative and source.name in _SOURCES and goal.kind == "f"


def loop_text(
    arguments: Sequence[Signature], sources: Sequence[np.dtype[Any]], results: Sequence[int], first: int, target: Target
) -> str:
    """The module of a loop.

    Parameters
    ----------
    arguments
        Shape and data type of each argument of the step; the first axis is the batch.
    sources
        The type of the array that each is gathered from.
    results
        Bytes of each result of the step.
    first
        The slot of the first result in the program's table.
    target
        The processor.
    """
    code = Code(LOOP, [("ptr", "job"), ("i64", "thread"), ("i64", "threads")], fused=target.fused, masked=target.masked)
    table, team = (code.let(f"load ptr, ptr {code.element('ptr', '%job', str(word))}") for word in (0, 1))
    own = code.let(f"load ptr, ptr {code.element('ptr', '%job', '5')}")

    def word(number: int, kind: str = "ptr") -> str:
        return code.let(f"load {kind}, ptr {code.element('ptr', own, str(number))}")

    step, steps, rows, stop = word(STEP_AT), word(STEPS, "i64"), word(ROWS), word(STOP)
    halt, done = (code.element("i64", own, str(number)) for number in (HALT, DONE))
    batch = arguments[0][0][0] if arguments and arguments[0][0] else 0
    with code.loop("0", steps) as number:
        first_thread = code.let("icmp eq i64 %thread, 0")
        with code.when(first_thread):
            code.do(f"store i64 {code.let(f'load atomic i64, ptr {stop} acquire, align 8')}, ptr {halt}")
            for place, size in enumerate(results):
                goal = code.element("i8", word(FIRST + len(arguments) + place), code.let(f"mul i64 {number}, {size}"))
                code.do(f"store ptr {goal}, ptr {code.element('ptr', table, str(first + place))}")
        chosen = code.element("i64", rows, code.let(f"mul i64 {number}, {batch}"))
        for place, ((shape, dtype), source) in enumerate(zip(arguments, sources, strict=True)):
            goal = code.let(f"load ptr, ptr {code.element('ptr', table, str(1 + place))}")
            _gather(code, shape, dtype, source, word(FIRST + place), goal, chosen, target)
        code.do(f"call void @barrier(ptr {team}, i64 %threads)")
        on = code.let(f"icmp eq i64 {code.let(f'load i64, ptr {halt}')}, 0")
        with code.when(on):
            code.do(f"call void {step}(ptr %job, i64 %thread, i64 %threads)")
            code.do(f"call void @barrier(ptr {team}, i64 %threads)")
            with code.when(first_thread):
                code.do(f"store i64 {code.let(f'add i64 {number}, 1')}, ptr {done}")
        code.do(f"call void @barrier(ptr {team}, i64 %threads)")
    declared = "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"
    return "\n\n".join([*code.declarations, declared, waiting(target), code.text()])


def _gather(
    code: Code,
    shape: Shape,
    dtype: DType,
    source: np.dtype[Any],
    base: str,
    goal: str,
    chosen: str,
    target: Target,
) -> None:
    """This thread's share of the rows of one batch."""
    length = int(np.prod(shape[1:], dtype=np.int64))
    start, stop = share(code, shape[0])
    with code.loop(start, stop) as row:
        number = code.let(f"load i64, ptr {code.element('i64', chosen, row)}")
        far = code.element("i8", base, code.let(f"mul i64 {number}, {length * source.itemsize}"))
        near = code.element(MEMORY[dtype], goal, code.let(f"mul i64 {row}, {length}"))
        if source == dtype:
            size = length * dtype.itemsize
            code.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {near}, ptr {far}, i64 {size}, i1 false)")
        else:
            _convert(code, length, dtype, source, far, near, target)


def _convert(code: Code, length: int, dtype: DType, source: np.dtype[Any], far: str, near: str, target: Target) -> None:
    """One row, from one type to another."""
    element, sort = _SOURCES[source.name]

    def convert(spots: list[Spot]) -> None:
        ((index, vector),) = spots
        whole = vector if vector and vector.is_whole else None
        wide = f"<{whole.count} x %s>" if whole else "%s"
        for lane in range(1 if whole or vector is None else vector.used):
            place = index if not lane else code.let(f"add i64 {index}, {lane}")
            value = code.let(f"load {wide % element}, ptr {code.element(element, far, place)}, align 1")
            value = _converted(code, value, wide, element, sort, dtype)
            code.do(f"store {wide % MEMORY[dtype]} {value}, ptr {code.element(MEMORY[dtype], near, place)}, align 1")

    along(code, Axis(length, 0), target.lanes(dtype.itemsize), convert)


def _converted(code: Code, value: str, wide: str, element: str, sort: str, dtype: DType) -> str:
    assert dtype != bool_
    assert dtype.kind == "f"
    given, wanted = wide % element, wide % MEMORY[dtype]
    if sort == "h":
        lanes = 0 if wide == "%s" else int(wide[1:].split()[0])
        return _of_half(Bits(code, Kind(float32, lanes), code.let(f"zext {given} {value} to {wide % 'i32'}")), dtype)
    if sort != "f":
        return code.let(f"{'u' if sort == 'u' else 's'}itofp {given} {value} to {wanted}")
    sizes = {"float": 4, "double": 8}
    return code.let(f"{'fpext' if sizes[element] < dtype.itemsize else 'fptrunc'} {given} {value} to {wanted}")


def _of_half(bits: Bits, dtype: DType) -> str:
    """Numbers of half precision (5 bits of exponent, 10 of fraction), exactly, from their bits."""
    size = (bits & 0x7FFF) << 13  # where single precision has exponent and fraction, but 112 too low an exponent
    finite = (bits & 0x7FFF).below(0x7C00)
    number = finite.where(size.lanes() * 2.0**112, (size | 0x7F800000).lanes())
    return (number.bits() | ((bits & 0x8000) << 16)).lanes().like(dtype).name
