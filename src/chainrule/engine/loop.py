"""Many steps in one native call: batches are gathered, the step is run, its results are written down, again and again.

    loop(job, thread, threads)      job: as for a step; its sixth word points to the loop's own words, in this order:
    step, steps, rows, stop, halt, done, variant, its job, turns, places, apart, wrong,
    guard, its job, found, the same of the variant, sources..., results..., more...

The rows of each batch are gathered by an array of numbers from row-major arrays of any numeric type, and converted on
the way; but not where the argument of the step is the source itself, as it reads rows where they lie. It is told their
numbers, which begin at `places`, and `apart` further for each step; 0 where all are gathered. A flag is looked at
before every step, so that a run ends soon after it is raised. A guard, if the step or the variant has one, looks at its
batches and counts at `found` what is wrong: then that step is not made. After one in which something went `wrong`, as
it noted down in its status, there is none either.

A variant is another step over the same batch and the same states, with a job of its own, that takes the place of the
step where it has a turn: its number from 0, or -1. It gives the results of the step, and `more` beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.code import MEMORY, Code, Kind
from chainrule.engine.dtypes import DType, bool_, float32
from chainrule.engine.gathering import (
    APART,
    DONE,
    FIRST,
    GUARDS,
    HALT,
    LOOP,
    PLACES,
    ROWS,
    ROWS_AT,
    SITES,
    SOON_AT,
    SOURCES,
    STEP_AT,
    STEPS,
    STOP,
    TURNS,
    VARIANT_AT,
    VARIANT_JOB,
    WRONG,
    Results,
)
from chainrule.engine.graph import Shape
from chainrule.engine.kernels.shares import plus, smaller, times
from chainrule.engine.kernels.walk import Axis, Spot, along, share
from chainrule.engine.lanes import Bits
from chainrule.engine.target import Target
from chainrule.engine.team import waiting

Signature = tuple[Shape, DType]
_LONG = 1024  # bytes of a row of which each thread gathers a part
_SOON = 2  # rows ahead of which the first bytes are asked for, line by line: the rest follows
_BEGINNING, _LINE = 768, 64  # those bytes, and the bytes of a line


def loop_text(
    arguments: Sequence[Signature],
    sources: Sequence[np.dtype[Any]],
    results: Results,
    variant: Results | None,
    target: Target,
    *,
    guarded: bool,
) -> str:
    """The module of a loop.

    Parameters
    ----------
    arguments
        Shape and data type of each argument of the step; the first axis is the batch.
    sources
        The type of the array that each is gathered from.
    results, variant
        What the step gives, and what its variant gives if it has one: the same first, then more.
    target
        The processor.
    guarded
        Whether the step or the variant has a guard.
    """
    code = Code(LOOP, [("ptr", "job"), ("i64", "thread"), ("i64", "threads")], **target.options)
    table, team = (code.let(f"load ptr, ptr {code.element('ptr', '%job', str(word))}") for word in (0, 1))
    own = code.let(f"load ptr, ptr {code.element('ptr', '%job', '5')}")
    steps, rows, stop = _word(code, own, STEPS, "i64"), _word(code, own, ROWS), _word(code, own, STOP)
    halt, done, wrong = (code.element("i64", own, str(number)) for number in (HALT, DONE, WRONG))
    batch = arguments[0][0][0] if arguments and arguments[0][0] else 0
    with code.loop("0", steps) as number:
        first_thread = code.let("icmp eq i64 %thread, 0")
        turn = code.get("i64", code.element("i64", _word(code, own, TURNS), number)) if variant else None
        with code.when(first_thread):
            is_over = code.let(f"load atomic i64, ptr {stop} acquire, align 8")
            code.set("i64", halt, code.let(f"or i64 {is_over}, {code.get('i64', wrong)}"))
            _place_rows(code, own, (number, steps), has_variant=bool(variant))
            _place_results(code, own, FIRST + len(arguments), (table, number, results), turn, variant)
        chosen = code.element("i64", rows, code.let(f"mul i64 {number}, {batch}"))
        for place, ((shape, dtype), source) in enumerate(zip(arguments, sources, strict=True)):
            goal = code.let(f"load ptr, ptr {code.element('ptr', table, str(1 + place))}")
            base = _word(code, own, FIRST + place)
            with code.when(code.let(f"icmp ne ptr {goal}, {base}")):
                _gather(code, shape, dtype, source, base, goal, chosen, target)
        code.do(f"call void @barrier(ptr {team}, i64 %thread, i64 %threads)")
        if guarded:
            with code.when(first_thread), code.when(code.let(f"icmp eq i64 {code.get('i64', halt)}, 0")):
                _ask_guard(code, own, turn, (halt, wrong))
            code.do(f"call void @barrier(ptr {team}, i64 %thread, i64 %threads)")
        on = code.let(f"icmp eq i64 {code.let(f'load i64, ptr {halt}')}, 0")
        with code.when(on):
            step, job = _word(code, own, STEP_AT), "%job"
            if turn:
                plain = code.let(f"icmp slt i64 {turn}, 0")
                step = code.let(f"select i1 {plain}, ptr {step}, ptr {_word(code, own, VARIANT_AT)}")
                job = code.let(f"select i1 {plain}, ptr %job, ptr {_word(code, own, VARIANT_JOB)}")
            code.do(f"call void {step}(ptr {job}, i64 %thread, i64 %threads)")
            code.do(f"call void @barrier(ptr {team}, i64 %thread, i64 %threads)")
            with code.when(first_thread):
                code.do(f"store i64 {code.let(f'add i64 {number}, 1')}, ptr {done}")
                _look_at_status(code, job, wrong)
        with code.when(code.let(f"xor i1 {on}, true")):  # all see the flag before the first thread asks for it again
            code.do(f"call void @barrier(ptr {team}, i64 %thread, i64 %threads)")
    declared = "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"
    return "\n\n".join([*code.declarations, declared, waiting(target), code.text()])


def _word(code: Code, own: str, number: int, kind: str = "ptr") -> str:
    """A word of the loop's own."""
    return code.let(f"load {kind}, ptr {code.element('ptr', own, str(number))}")


def _ask_guard(code: Code, own: str, turn: str | None, flags: Sequence[str]) -> None:
    """Let the guard look at the batch: if it finds something, neither this step is made nor any after it."""
    first = str(GUARDS)
    if turn:
        first = code.let(f"select i1 {code.let(f'icmp slt i64 {turn}, 0')}, i64 {GUARDS}, i64 {GUARDS + 3}")
    words = code.element("ptr", own, first)
    guard, job, found = (code.get("ptr", code.element("ptr", words, str(word))) for word in range(3))
    with code.when(code.let(f"icmp ne ptr {guard}, null")):
        code.do(f"call void {guard}(ptr {job}, i64 0, i64 1)")
        with code.when(code.let(f"icmp ne i64 {code.get('i64', found)}, 0")):
            for flag in flags:
                code.set("i64", flag, "1")


def _look_at_status(code: Code, job: str, wrong: str) -> None:
    """Remember whether something went wrong in the step that was just made."""
    status, sites = (code.element("i64", job, str(word)) for word in (2, SITES))
    status = code.get("ptr", status)
    with code.loop("0", code.get("i64", sites)) as site:
        word = code.get("i64", code.element("i64", status, site))
        code.set("i64", wrong, code.let(f"or i64 {code.get('i64', wrong)}, {word}"))


def _place_rows(code: Code, own: str, step: tuple[str, str], *, has_variant: bool) -> None:
    """Tell the step, and its variant if it has one, by what numbers it finds its rows, and those of the next step."""
    number, steps = step
    places, apart = _word(code, own, PLACES), _word(code, own, APART, "i64")
    soon = smaller(code, plus(code, number, 1), code.let(f"sub i64 {steps}, 1"))
    with code.when(code.let(f"icmp ne i64 {apart}, 0")):
        for word, which in ((ROWS_AT, number), (SOON_AT, soon)):
            rows = code.element("i64", places, code.let(f"mul i64 {which}, {apart}"))
            for job in ("%job", *([_word(code, own, VARIANT_JOB)] if has_variant else [])):
                code.do(f"store ptr {rows}, ptr {code.element('ptr', job, str(word))}")


def _place_results(
    code: Code, own: str, word: int, step: tuple[str, str, Results], turn: str | None, variant: Results | None
) -> None:
    """Point the tables of the step, and of its variant if it has one, at where the results of this step belong."""
    table, number, (first, sizes) = step
    other = code.get("ptr", _word(code, own, VARIANT_JOB)) if variant else ""

    def point(place: int, number: str, size: int, tables: list[tuple[str, int]]) -> None:
        goal = code.element("i8", _word(code, own, word + place), code.let(f"mul i64 {number}, {size}"))
        for each, begin in tables:
            code.do(f"store ptr {goal}, ptr {code.element('ptr', each, str(begin + place))}")

    for place, size in enumerate(sizes):
        point(place, number, size, [(table, first), *([(other, variant[0])] if variant else [])])
    if variant and turn:
        with code.when(code.let(f"icmp sge i64 {turn}, 0")):
            for place, size in enumerate(variant[1][len(sizes) :], len(sizes)):
                point(place, turn, size, [(other, variant[0])])


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
    """This thread's share of one batch: of long rows the same columns in every step, which it then has near."""
    length = int(np.prod(shape[1:], dtype=np.int64))
    in_parts = source == dtype and length * dtype.itemsize >= _LONG
    begin, end = _columns(code, length, _LINE // dtype.itemsize) if in_parts else ("0", str(length))
    start, stop = ("0", str(shape[0])) if in_parts else share(code, shape[0])

    def source_of(row: str) -> str:
        number = code.let(f"load i64, ptr {code.element('i64', chosen, row)}")
        return code.element("i8", base, code.let(f"mul i64 {number}, {length * source.itemsize}"))

    last = code.let(f"sub nsw i64 {stop}, 1")
    with code.loop(start, stop) as row:
        soon = code.element(
            "i8", source_of(smaller(code, plus(code, row, _SOON), last)), times(code, begin, source.itemsize)
        )
        for line in range(0, min(_BEGINNING, length * source.itemsize), _LINE):
            code.fetch(code.element("i8", soon, str(line)))
        far = source_of(row)
        near = code.element(MEMORY[dtype], goal, code.let(f"mul i64 {row}, {length}"))
        if source == dtype:
            size = times(code, code.let(f"sub i64 {end}, {begin}"), dtype.itemsize)
            far, near = (code.element(MEMORY[dtype], row_start, begin) for row_start in (far, near))
            _copy(code, far, near, size, (length * dtype.itemsize) % _LINE if in_parts else None)
        else:
            _convert(code, length, dtype, source, far, near, target)


def _columns(code: Code, length: int, line: int) -> tuple[str, str]:
    """This thread's columns: whole lines of the caches, as two that write to one line take it from each other."""
    first, last = share(code, -(-length // line))
    return times(code, first, line), smaller(code, times(code, last, line), str(length))


def _copy(code: Code, far: str, near: str, size: str, rest: int | None) -> None:
    """Some bytes; many of them line by line, which is quicker than to find out how, with `rest` bytes at the end."""
    done = "0"
    if rest is not None:
        done = code.let(f"and i64 {size}, {-_LINE}")
        with code.loop("0", done, _LINE) as place:
            here, there = (code.element("i8", start, place) for start in (far, near))
            line = code.let(f"load <{_LINE} x i8>, ptr {here}, align 1")
            code.do(f"store <{_LINE} x i8> {line}, ptr {there}, align 1")
    if rest != 0:
        here, there = (code.element("i8", start, done) for start in (far, near))
        left = code.let(f"sub i64 {size}, {done}")
        code.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {there}, ptr {here}, i64 {left}, i1 false)")


def _convert(code: Code, length: int, dtype: DType, source: np.dtype[Any], far: str, near: str, target: Target) -> None:
    """One row, from one type to another."""
    element, sort = SOURCES[source.name]

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
