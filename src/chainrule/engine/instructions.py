"""How each elementwise op is written in LLVM's language, for single values and for vectors.

`instruction` takes the names of the inputs' values, all of one `Kind`, and gives the name of the result. Functions of
mathematics that are worth vector code are in `mathematics`; rare ones call the C library, lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.engine.code import REGISTER, Code, Kind
from chainrule.engine.dtypes import DType, bool_, float64
from chainrule.engine.lanes import Lanes
from chainrule.engine.mathematics import angles, exponentials, logarithms
from chainrule.engine.mathematics.powers import power
from chainrule.engine.mathematics.roots import square_root
from chainrule.engine.op import Op

Emitter = Callable[..., str]


def instruction(op: Op, code: Code, kind: Kind, inputs: tuple[str, ...], attributes: Any) -> str:
    """Write `op` of values of `kind` into `code`; the result is of the op's own data type, in as many lanes."""
    return INSTRUCTIONS[op](code, kind, *inputs, **attributes)


def call(code: Code, name: str, result: str, arguments: list[tuple[str, str]]) -> str:
    """A call of a function that is declared on the way."""
    code.declare(f"declare {result} @{name}({', '.join(kind for kind, _ in arguments)})")
    return code.let(f"call {result} @{name}({', '.join(f'{kind} {value}' for kind, value in arguments)})")


def intrinsic(name: str) -> Emitter:
    """An op that LLVM has itself, on floats."""

    def emit(code: Code, kind: Kind, *inputs: str) -> str:
        suffix = ("v" + str(kind.lanes) if kind.lanes else "") + f"f{8 * kind.dtype.itemsize}"
        return call(code, f"llvm.{name}.{suffix}", kind.type, [(kind.type, value) for value in inputs])

    return emit


def vector(function: Callable[[Lanes], Lanes], in_double: bool = False) -> Emitter:
    """A function of mathematics; `in_double` says that it takes float32 as float64, where that is simpler and rare."""

    def emit(code: Code, kind: Kind, x: str) -> str:
        lanes = Lanes(code, kind, x)
        return function(lanes.like(float64)).like(kind.dtype).name if in_double else function(lanes).name

    return emit


def library(name: str) -> Emitter:
    """A function of the C library, called for each lane."""

    def emit(code: Code, kind: Kind, *inputs: str) -> str:
        element = REGISTER[kind.dtype]
        full_name = name + ("f" if element == "float" else "")
        if not kind.lanes:
            return call(code, full_name, element, [(element, value) for value in inputs])
        result = "poison"
        for lane in range(kind.lanes):
            parts = [code.let(f"extractelement {kind.type} {value}, i32 {lane}") for value in inputs]
            one = call(code, full_name, element, [(element, part) for part in parts])
            result = code.let(f"insertelement {kind.type} {result}, {element} {one}, i32 {lane}")
        return result

    return emit


def by_kind(floating: Emitter | str, integer: Emitter | str = "", boolean: Emitter | str = "") -> Emitter:
    """Different instructions for floats, integers and booleans; a string is an instruction of two inputs."""
    table = {"f": floating, "i": integer, "b": boolean or integer}

    def emit(code: Code, kind: Kind, *inputs: str) -> str:
        chosen = table[kind.dtype.kind]
        if isinstance(chosen, str):
            return code.let(f"{chosen} {kind.type} {', '.join(inputs)}")
        return chosen(code, kind, *inputs)

    return emit


def select(code: Code, kind: Kind, condition: str, yes: str, no: str) -> str:
    """`yes` where the condition holds, `no` elsewhere."""
    return code.let(f"select {kind.mask} {condition}, {kind.type} {yes}, {kind.type} {no}")


def negative(code: Code, kind: Kind, x: str) -> str:
    """-x."""
    if kind.dtype.kind == "f":
        return code.let(f"fneg {kind.type} {x}")
    return code.let(f"sub {kind.type} {kind.constant(0)}, {x}")


def absolute(code: Code, kind: Kind, x: str) -> str:
    """|x|."""
    if kind.dtype.kind == "f":
        return intrinsic("fabs")(code, kind, x)
    below = code.let(f"icmp slt {kind.type} {x}, {kind.constant(0)}")
    return select(code, kind, below, negative(code, kind, x), x)


def sign(code: Code, kind: Kind, x: str) -> str:
    """-1, 0 or 1; NaN stays."""
    zero, one, minus = kind.constant(0), kind.constant(1), kind.constant(-1)
    if kind.dtype.kind == "i":
        above = code.let(f"icmp sgt {kind.type} {x}, {zero}")
        below = code.let(f"icmp slt {kind.type} {x}, {zero}")
        return select(code, kind, above, one, select(code, kind, below, minus, zero))
    above = code.let(f"fcmp ogt {kind.type} {x}, {zero}")
    below = code.let(f"fcmp olt {kind.type} {x}, {zero}")
    neither = code.let(f"fmul {kind.type} {x}, {zero}")  # not x itself, which may be one that only counts as zero
    return select(code, kind, above, one, select(code, kind, below, minus, neither))


def inverted(code: Code, kind: Kind, x: str) -> str:
    """Every bit turned."""
    ones = Kind(bool_, kind.lanes).constant(True) if kind.dtype == bool_ else kind.constant(-1)
    return code.let(f"xor {kind.type} {x}, {ones}")


def extreme(comparison: str, name: str) -> Emitter:
    """The larger or smaller of two; NaN wins."""

    def emit(code: Code, kind: Kind, a: str, b: str) -> str:
        if kind.dtype.kind == "f":
            return intrinsic(name)(code, kind, a, b)
        if kind.dtype == bool_:
            return code.let(f"{'or' if name == 'maximum' else 'and'} {kind.type} {a}, {b}")
        return select(code, kind, code.let(f"icmp s{comparison} {kind.type} {a}, {b}"), a, b)

    return emit


def compare(floating: str, integer: str, boolean: str) -> Emitter:
    """A comparison; the result is a mask."""

    def emit(code: Code, kind: Kind, a: str, b: str) -> str:
        word = {"f": f"fcmp {floating}", "i": f"icmp {integer}", "b": f"icmp {boolean}"}[kind.dtype.kind]
        return code.let(f"{word} {kind.type} {a}, {b}")

    return emit


def _safe_divisor(code: Code, kind: Kind, a: str, b: str) -> tuple[str, str]:
    """Whether a / b cannot be formed in integers, and a divisor with which it can."""
    lowest = kind.constant(-(2 ** (8 * kind.dtype.itemsize - 1)))
    zero = code.let(f"icmp eq {kind.type} {b}, {kind.constant(0)}")
    minus = code.let(f"icmp eq {kind.type} {b}, {kind.constant(-1)}")
    least = code.let(f"icmp eq {kind.type} {a}, {lowest}")
    overflow = code.let(f"and {kind.mask} {minus}, {least}")
    unusable = code.let(f"or {kind.mask} {zero}, {overflow}")
    return zero, select(code, kind, unusable, kind.constant(1), b)


def integer_remainder(code: Code, kind: Kind, a: str, b: str) -> str:
    """The remainder with the sign of the divisor; 0 for a divisor of 0."""
    zero, divisor = _safe_divisor(code, kind, a, b)
    rest = code.let(f"srem {kind.type} {a}, {divisor}")
    wrong = _signs_differ(code, kind, rest, divisor)
    moved = code.let(f"add {kind.type} {rest}, {divisor}")
    return select(code, kind, zero, kind.constant(0), select(code, kind, wrong, moved, rest))


def integer_floor_divide(code: Code, kind: Kind, a: str, b: str) -> str:
    """The quotient rounded down; 0 for a divisor of 0."""
    zero, divisor = _safe_divisor(code, kind, a, b)
    quotient = code.let(f"sdiv {kind.type} {a}, {divisor}")
    rest = code.let(f"srem {kind.type} {a}, {divisor}")
    lower = code.let(f"sub {kind.type} {quotient}, {kind.constant(1)}")
    down = select(code, kind, _signs_differ(code, kind, rest, divisor), lower, quotient)
    return select(code, kind, zero, kind.constant(0), down)


def _signs_differ(code: Code, kind: Kind, rest: str, divisor: str) -> str:
    """Whether a remainder is not 0 and has another sign than the divisor."""
    there = code.let(f"icmp ne {kind.type} {rest}, {kind.constant(0)}")
    crossed = code.let(f"xor {kind.type} {rest}, {divisor}")
    differ = code.let(f"icmp slt {kind.type} {crossed}, {kind.constant(0)}")
    return code.let(f"and {kind.mask} {there}, {differ}")


def float_remainder(code: Code, kind: Kind, a: str, b: str) -> str:
    """The remainder with the sign of the divisor."""
    rest, there, wrong = _rest(code, kind, a, b)
    moved = select(code, kind, wrong, code.let(f"fadd {kind.type} {rest}, {b}"), rest)
    return select(code, kind, there, moved, intrinsic("copysign")(code, kind, rest, b))


def _rest(code: Code, kind: Kind, a: str, b: str) -> tuple[str, str, str]:
    """What is left by division towards 0, whether it is not 0, and whether then its sign is not that of the divisor."""
    zero = kind.constant(0)
    rest = library("fmod")(code, kind, a, b)
    there = code.let(f"fcmp une {kind.type} {rest}, {zero}")
    below = code.let(f"fcmp olt {kind.type} {rest}, {zero}")
    negative_divisor = code.let(f"fcmp olt {kind.type} {b}, {zero}")
    differ = code.let(f"xor {kind.mask} {below}, {negative_divisor}")
    return rest, there, code.let(f"and {kind.mask} {there}, {differ}")


def float_floor_divide(code: Code, kind: Kind, a: str, b: str) -> str:
    """The quotient rounded down, from the exact remainder, as NumPy forms it."""
    zero = kind.constant(0)
    rest, _, wrong = _rest(code, kind, a, b)
    exact = code.let(f"fdiv {kind.type} {code.let(f'fsub {kind.type} {a}, {rest}')}, {b}")
    lower = code.let(f"fsub {kind.type} {exact}, {kind.constant(1)}")
    rounded = intrinsic("rint")(code, kind, select(code, kind, wrong, lower, exact))
    quotient = code.let(f"fdiv {kind.type} {a}, {b}")
    nothing = code.let(f"fcmp oeq {kind.type} {rounded}, {zero}")
    result = select(code, kind, nothing, intrinsic("copysign")(code, kind, zero, quotient), rounded)
    by_zero = code.let(f"fcmp oeq {kind.type} {b}, {zero}")
    return select(code, kind, by_zero, quotient, result)


def float_power(code: Code, kind: Kind, a: str, b: str) -> str:
    """a to the power of b; in double precision, the logarithm would need more digits than a number has."""
    if kind.dtype == float64:
        return library("pow")(code, kind, a, b)
    return power(Lanes(code, kind, a).like(float64), Lanes(code, kind, b).like(float64)).like(kind.dtype).name


def integer_power(code: Code, kind: Kind, a: str, b: str) -> str:
    """a to the power of b by squaring; 1 / a^|b| rounded towards 0 for b below 0."""
    element = REGISTER[kind.dtype]
    name = f"chainrule_power_{element}"
    code.declare(_POWER.format(name=name, kind=element))
    if not kind.lanes:
        return code.let(f"call {element} @{name}({element} {a}, {element} {b})")
    result = "poison"
    for lane in range(kind.lanes):
        base, exponent = (code.let(f"extractelement {kind.type} {value}, i32 {lane}") for value in (a, b))
        one = code.let(f"call {element} @{name}({element} {base}, {element} {exponent})")
        result = code.let(f"insertelement {kind.type} {result}, {element} {one}, i32 {lane}")
    return result


_POWER = """define internal {kind} @{name}({kind} %a, {kind} %b) {{
entry:
  %below = icmp slt {kind} %b, 0
  br i1 %below, label %inverse, label %head
inverse:
  %odd = trunc {kind} %b to i1
  %is_one = icmp eq {kind} %a, 1
  %is_minus = icmp eq {kind} %a, -1
  %signed = select i1 %odd, {kind} -1, {kind} 1
  %part = select i1 %is_minus, {kind} %signed, {kind} 0
  %whole = select i1 %is_one, {kind} 1, {kind} %part
  ret {kind} %whole
head:
  %n = phi {kind} [ %b, %entry ], [ %half, %body ]
  %square = phi {kind} [ %a, %entry ], [ %squared, %body ]
  %product = phi {kind} [ 1, %entry ], [ %grown, %body ]
  %done = icmp eq {kind} %n, 0
  br i1 %done, label %end, label %body
body:
  %bit = trunc {kind} %n to i1
  %more = mul {kind} %product, %square
  %grown = select i1 %bit, {kind} %more, {kind} %product
  %squared = mul {kind} %square, %square
  %half = lshr {kind} %n, 1
  br label %head
end:
  ret {kind} %product
}}"""


def shift(word: str) -> Emitter:
    """A shift; by the width or more, all bits leave."""

    def emit(code: Code, kind: Kind, a: str, b: str) -> str:
        width = 8 * kind.dtype.itemsize
        far = code.let(f"icmp uge {kind.type} {b}, {kind.constant(width)}")
        near = select(code, kind, far, kind.constant(width - 1), b)
        moved = code.let(f"{word} {kind.type} {a}, {near}")
        return moved if word == "ashr" else select(code, kind, far, kind.constant(0), moved)

    return emit


def cast(code: Code, kind: Kind, x: str, *, dtype: DType) -> str:
    """`x` in another data type; a float beyond an integer's range becomes its nearest end."""
    goal = Kind(dtype, kind.lanes)
    source = kind.dtype.kind
    if kind.dtype == dtype:
        return x
    if dtype == bool_:
        return code.let(f"{'fcmp une' if source == 'f' else 'icmp ne'} {kind.type} {x}, {kind.constant(0)}")
    if dtype.kind == "f":
        grows = dtype.itemsize > kind.dtype.itemsize
        word = {"b": "uitofp", "i": "sitofp", "f": "fpext" if grows else "fptrunc"}[source]
    elif source == "f":
        lanes = f"v{kind.lanes}" if kind.lanes else ""
        suffix = f"{lanes}i{8 * dtype.itemsize}.{lanes}f{8 * kind.dtype.itemsize}"
        return call(code, f"llvm.fptosi.sat.{suffix}", goal.type, [(kind.type, x)])
    else:
        word = "zext" if source == "b" else "sext" if dtype.itemsize > kind.dtype.itemsize else "trunc"
    return code.let(f"{word} {kind.type} {x} to {goal.type}")


def _where(code: Code, kind: Kind, condition: str, a: str, b: str) -> str:
    return select(code, kind, condition, a, b)


def _rounding(name: str) -> Emitter:
    return by_kind(intrinsic(name), lambda code, kind, x: x)


def _square_root(code: Code, kind: Kind, x: str) -> str:
    if code.estimated and kind.lanes * kind.dtype.itemsize == 64:
        code.roots += 1
        if code.roots % 2 or kind.dtype == float64:
            return square_root(code, kind, x)
    return intrinsic("sqrt")(code, kind, x)


INSTRUCTIONS: dict[Op, Emitter] = {
    Op.NEG: negative,
    Op.ABS: absolute,
    Op.SIGN: sign,
    Op.SQRT: _square_root,
    Op.EXP: vector(exponentials.exp),
    Op.EXPM1: vector(exponentials.expm1),
    Op.LOG: vector(logarithms.log),
    Op.LOG1P: vector(logarithms.log1p),
    Op.SIN: vector(angles.sin),
    Op.COS: vector(angles.cos),
    Op.TAN: vector(angles.tan, in_double=True),
    Op.ASIN: vector(angles.asin, in_double=True),
    Op.ACOS: vector(angles.acos, in_double=True),
    Op.ATAN: vector(angles.atan, in_double=True),
    Op.SINH: vector(exponentials.sinh, in_double=True),
    Op.COSH: vector(exponentials.cosh, in_double=True),
    Op.TANH: vector(exponentials.tanh),
    Op.ASINH: vector(logarithms.asinh, in_double=True),
    Op.ACOSH: vector(logarithms.acosh, in_double=True),
    Op.ATANH: vector(logarithms.atanh, in_double=True),
    Op.SIGMOID: vector(exponentials.sigmoid),
    Op.ERF: vector(exponentials.erf),
    Op.FLOOR: _rounding("floor"),
    Op.CEIL: _rounding("ceil"),
    Op.ROUND: _rounding("roundeven"),
    Op.TRUNC: _rounding("trunc"),
    Op.NOT: inverted,
    Op.ADD: by_kind("fadd", "add", "or"),
    Op.SUB: by_kind("fsub", "sub"),
    Op.MUL: by_kind("fmul", "mul", "and"),
    Op.DIV: by_kind("fdiv"),
    Op.FLOOR_DIVIDE: by_kind(float_floor_divide, integer_floor_divide),
    Op.REMAINDER: by_kind(float_remainder, integer_remainder),
    Op.POW: by_kind(float_power, integer_power),
    Op.ATAN2: library("atan2"),
    Op.MAXIMUM: extreme("gt", "maximum"),
    Op.MINIMUM: extreme("lt", "minimum"),
    Op.COPYSIGN: intrinsic("copysign"),
    Op.NEXTAFTER: library("nextafter"),
    Op.EQUAL: compare("oeq", "eq", "eq"),
    Op.NOT_EQUAL: compare("une", "ne", "ne"),
    Op.LESS: compare("olt", "slt", "ult"),
    Op.LESS_EQUAL: compare("ole", "sle", "ule"),
    Op.AND: by_kind("", "and"),
    Op.OR: by_kind("", "or"),
    Op.XOR: by_kind("", "xor"),
    Op.SHIFT_LEFT: shift("shl"),
    Op.SHIFT_RIGHT: shift("ashr"),
    Op.WHERE: _where,
    Op.CAST: cast,
    Op.STOP_GRADIENT: lambda code, kind, x: x,
}
