"""Sums that a matrix unit could not form, formed anew by vectors: row after row, over ascending depth."""

from __future__ import annotations

from chainrule.engine.code import Code
from chainrule.engine.kernels.shares import minus, plus, smaller
from chainrule.engine.kernels.sums import multiply_add
from chainrule.engine.kernels.thirds import SIDE, VECTOR, load_some, mask_of, store_some
from chainrule.engine.kernels.vector import spread

_ROWS = 4  # that share a vector of the right operand


def anew() -> Code:
    """A function for some rows and columns of any product.

    Its parameters are the addresses of the first row of the left operand, of the first column of the right one and of
    the first sum; strides of the operands in elements; depth, rows and columns; elements from one row of sums to the
    next; and the address of numbers, and whether they (1) are those of the rows of the left operand, or of its columns.
    """
    strides = ["left_down", "left_across", "right_down", "right_across"]
    numbers = [("i64", name) for name in (*strides, "depth", "rows", "columns", "stride")]
    numbers += [("ptr", "numbers"), ("i64", "by_row"), ("i64", "by_column")]
    code = Code("anew", [("ptr", "left"), ("ptr", "right"), ("ptr", "goal"), *numbers], internal=True)
    has_gaps = code.let("icmp ne i64 %right_across, 1")
    with code.loop("0", "%columns", SIDE) as column, code.loop("0", "%rows", _ROWS) as row:
        used = smaller(code, minus(code, "%columns", column), str(SIDE))
        mask = mask_of(code, used)
        near = code.let(f"select i1 {has_gaps}, i{SIDE} 0, i{SIDE} {mask}")  # the lanes that lie side by side
        last = minus(code, "%rows", "1")
        rows = [smaller(code, plus(code, row, number), last) for number in range(_ROWS)]  # some of them twice
        lefts = [
            code.element("float", "%left", code.let(f"mul nsw i64 {_numbered(code, each, '%by_row')}, %left_down"))
            for each in rows
        ]
        right = code.element("float", "%right", code.let(f"mul nsw i64 {column}, %right_across"))
        totals = [code.variable(VECTOR.type, "zeroinitializer") for _ in rows]
        vector = code.variable(VECTOR.type, "zeroinitializer")
        with code.loop("0", "%depth") as step:
            here = code.element("float", right, code.let(f"mul nsw i64 {step}, %right_down"))
            code.set(VECTOR.type, vector, load_some(code, here, near))
            with code.when(has_gaps):
                code.set(VECTOR.type, vector, _gathered(code, here, mask))
            across = _numbered(code, step, "%by_column")
            for left, total in zip(lefts, totals, strict=True):
                place = code.element("float", left, code.let(f"mul nsw i64 {across}, %left_across"))
                factor = spread(code, VECTOR, code.let(f"load float, ptr {place}, align 4"))
                after = "%" + code.fresh()
                multiply_add(code, VECTOR, after, factor, code.get(VECTOR.type, vector), code.get(VECTOR.type, total))
                code.set(VECTOR.type, total, after)
        for each, total in zip(rows, totals, strict=True):
            place = plus(code, code.let(f"mul nsw i64 {each}, %stride"), column)
            store_some(code, code.get(VECTOR.type, total), code.element("float", "%goal", place), used)
    return code


def _numbered(code: Code, place: str, is_numbered: str) -> str:
    """The number at a place of `%numbers`, or the place itself."""
    word = code.element("i64", "%numbers", code.let(f"mul i64 {place}, {is_numbered}"))
    number, is_it = code.let(f"load i64, ptr {word}"), code.let(f"icmp ne i64 {is_numbered}, 0")
    return code.let(f"select i1 {is_it}, i64 {number}, i64 {place}")


def _gathered(code: Code, address: str, lanes_used: str) -> str:
    """Some numbers, `%right_across` apart."""
    lanes = ", ".join(f"i64 {lane}" for lane in range(SIDE))
    apart = code.let(f"insertelement <{SIDE} x i64> zeroinitializer, i64 %right_across, i32 0")
    vectors = f"<{SIDE} x i64> {apart}, <{SIDE} x i64> {apart}"
    apart = code.let(f"shufflevector {vectors}, <{SIDE} x i32> zeroinitializer")
    apart = code.let(f"mul <{SIDE} x i64> {apart}, <{lanes}>")
    places = code.let(f"getelementptr float, ptr {address}, <{SIDE} x i64> {apart}")
    mask = code.let(f"bitcast i{SIDE} {lanes_used} to {VECTOR.mask}")
    name = f"@llvm.masked.gather.v{SIDE}f32.v{SIDE}p0"
    code.declare(f"declare {VECTOR.type} {name}(<{SIDE} x ptr>, {VECTOR.mask}, {VECTOR.type})")
    operands = f"<{SIDE} x ptr> align 4 {places}, {VECTOR.mask} {mask}, {VECTOR.type} zeroinitializer"
    return code.let(f"call {VECTOR.type} {name}({operands})")


def spoilt() -> Code:
    """A function that says whether some sums are not all finite.

    Its parameters are the address of the first, elements from one row to the next, how many rows (a multiple of
    `_ROWS`), where in a row the second vector is (0: there is none), and where to write the answer: an i16, 0 or not.
    """
    numbers = [("i64", name) for name in ("across", "rows", "second")]
    code = Code("spoilt", [("ptr", "sums"), *numbers, ("ptr", "answer")], internal=True)
    totals = [code.variable(VECTOR.type, "zeroinitializer") for _ in range(_ROWS)]
    with code.loop("0", "%rows", _ROWS) as row:
        for number, total in enumerate(totals):
            here = code.element("float", "%sums", code.let(f"mul i64 {plus(code, row, number)}, %across"))
            for place in (here, code.element("float", here, "%second")):
                value = code.let(f"load {VECTOR.type}, ptr {place}, align 4")
                code.set(VECTOR.type, total, code.let(f"fadd {VECTOR.type} {code.get(VECTOR.type, total)}, {value}"))
    wrong = "zeroinitializer"
    for total in totals:
        value = code.get(VECTOR.type, total)
        nothing = code.let(f"fsub {VECTOR.type} {value}, {value}")  # NaN where the total is not finite
        wrong = code.let(f"or {VECTOR.mask} {wrong}, {code.let(f'fcmp uno {VECTOR.type} {nothing}, {nothing}')}")
    code.do(f"store i16 {code.let(f'bitcast {VECTOR.mask} {wrong} to i16')}, ptr %answer")
    return code
