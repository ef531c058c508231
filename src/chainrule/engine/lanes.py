"""Arithmetic on values in registers, written with Python's operators.

A `Lanes` is the name of a value in the text of a function and the kind it is of; `a * b + 1.0` writes the instructions
and gives the name of the result. A plain number stands for that number in every lane. `Bits` are the same lanes as
integers. Nothing here rounds otherwise than IEEE 754 does, and nothing may be reordered: no fast-math flags.
"""

from __future__ import annotations

from chainrule.engine.code import REGISTER, Code, Kind
from chainrule.engine.dtypes import DType, float32, float64
from chainrule.engine.record import record


@record(frozen=True, slots=True)
class Mask:
    """A truth value in each lane."""

    code: Code
    kind: Kind
    name: str

    def where(self, yes: Lanes | float, no: Lanes | float) -> Lanes:
        """`yes` in the lanes where this holds, `no` in the others."""
        names = [value.name if isinstance(value, Lanes) else self.kind.constant(value) for value in (yes, no)]
        chosen = f"{self.kind.type} {names[0]}, {self.kind.type} {names[1]}"
        return Lanes(self.code, self.kind, self.code.let(f"select {self.kind.mask} {self.name}, {chosen}"))

    def any(self) -> str:
        """Whether this holds in one lane at least, as an i1."""
        if not self.kind.lanes:
            return self.name
        name = f"llvm.vector.reduce.or.v{self.kind.lanes}i1"
        self.code.declare(f"declare i1 @{name}({self.kind.mask})")
        return self.code.let(f"call i1 @{name}({self.kind.mask} {self.name})")


@record(frozen=True, slots=True)
class Bits:
    """The bits of floating-point lanes as integers of the same width; arithmetic wraps around."""

    code: Code
    kind: Kind
    name: str

    def __add__(self, other: Bits | int) -> Bits:
        return self._with("add", other)

    def __sub__(self, other: Bits | int) -> Bits:
        return self._with("sub", other)

    def __and__(self, other: Bits | int) -> Bits:
        return self._with("and", other)

    def __or__(self, other: Bits | int) -> Bits:
        return self._with("or", other)

    def __xor__(self, other: Bits | int) -> Bits:
        return self._with("xor", other)

    def __lshift__(self, count: int) -> Bits:
        return self._with("shl", count)

    def __rshift__(self, count: int) -> Bits:
        """Zeros come in from the left: an arithmetic shift of 64 bits is slow on many processors."""
        return self._with("lshr", count)

    def any(self, mask: int) -> Mask:
        """Whether one of the bits in `mask` is set."""
        return self._compare("ne", self & mask, 0)

    def below(self, limit: int) -> Mask:
        """Whether the number is below `limit`, both signed."""
        return self._compare("slt", self, limit)

    def under(self, limit: int) -> Mask:
        """Whether the number is below `limit`, both unsigned."""
        return self._compare("ult", self, limit)

    def lanes(self) -> Lanes:
        """The floating-point numbers that have these bits."""
        return Lanes(self.code, self.kind, self.code.let(f"bitcast {self.kind.bits} {self.name} to {self.kind.type}"))

    def _compare(self, how: str, left: Bits, right: int) -> Mask:
        compared = f"icmp {how} {self.kind.bits} {left.name}, {self.kind.integer(right)}"
        return Mask(self.code, self.kind, self.code.let(compared))

    def _with(self, operation: str, other: Bits | int) -> Bits:
        right = other.name if isinstance(other, Bits) else self.kind.integer(other)
        return Bits(self.code, self.kind, self.code.let(f"{operation} {self.kind.bits} {self.name}, {right}"))


@record(frozen=True, slots=True)
class Lanes:
    """Floating-point numbers, one in each lane of a register.

    >>> code = Code("example", [("float", "x")])
    >>> x = Lanes(code, Kind(float32), "%x")
    >>> y = x * x + 1.0
    >>> print(code.text())
    define void @example(float %x) {
    entry:
      %v1 = fmul float %x, %x
      %v2 = fadd float %v1, 0x3FF0000000000000
      ret void
    }
    """

    code: Code
    kind: Kind
    name: str

    def __add__(self, other: Lanes | float) -> Lanes:
        return self._with("fadd", self, other)

    def __radd__(self, other: float) -> Lanes:
        return self._with("fadd", other, self)

    def __sub__(self, other: Lanes | float) -> Lanes:
        return self._with("fsub", self, other)

    def __rsub__(self, other: float) -> Lanes:
        return self._with("fsub", other, self)

    def __mul__(self, other: Lanes | float) -> Lanes:
        return self._with("fmul", self, other)

    def __rmul__(self, other: float) -> Lanes:
        return self._with("fmul", other, self)

    def __truediv__(self, other: Lanes | float) -> Lanes:
        return self._with("fdiv", self, other)

    def __rtruediv__(self, other: float) -> Lanes:
        return self._with("fdiv", other, self)

    def __neg__(self) -> Lanes:
        return self._new(f"fneg {self.kind.type} {self.name}")

    def __abs__(self) -> Lanes:
        return self.call_intrinsic("fabs", self)

    def __lt__(self, other: Lanes | float) -> Mask:
        return self._compare("olt", other)

    def __gt__(self, other: Lanes | float) -> Mask:
        return self._compare("ogt", other)

    def equals(self, other: Lanes | float) -> Mask:
        """Whether the numbers are equal; not a number is equal to nothing."""
        return self._compare("oeq", other)

    def at_most(self, limit: float) -> Lanes:
        """The smaller of the number and `limit`; not a number stays."""
        return (self > limit).where(limit, self)

    def at_least(self, limit: float) -> Lanes:
        """The larger of the number and `limit`; not a number stays."""
        return (self < limit).where(limit, self)

    def with_sign_of(self, other: Lanes) -> Lanes:
        """This magnitude, that sign."""
        return self.call_intrinsic("copysign", self, other)

    def sqrt(self) -> Lanes:
        """The square root, rounded once."""
        return self.call_intrinsic("sqrt", self)

    def bits(self) -> Bits:
        """The same lanes as integers."""
        return Bits(self.code, self.kind, self.code.let(f"bitcast {self.kind.type} {self.name} to {self.kind.bits}"))

    def like(self, dtype: DType) -> Lanes:
        """The numbers in the other floating-point type."""
        if dtype == self.kind.dtype:
            return self
        wanted = Kind(dtype, self.kind.lanes)
        cast = "fpext" if dtype == float64 else "fptrunc"
        return Lanes(self.code, wanted, self.code.let(f"{cast} {self.kind.type} {self.name} to {wanted.type}"))

    def number(self, value: float) -> Lanes:
        """A constant of this kind."""
        return Lanes(self.code, self.kind, self.kind.constant(value))

    def call_intrinsic(self, name: str, *inputs: Lanes | float) -> Lanes:
        """A function that LLVM has itself for vectors, such as "fabs"."""
        kind = self.kind.type
        suffix = ("v" + str(self.kind.lanes) if self.kind.lanes else "") + f"f{8 * self.kind.dtype.itemsize}"
        self.code.declare(f"declare {kind} @llvm.{name}.{suffix}({', '.join([kind] * len(inputs))})")
        listed = ", ".join(f"{kind} {self._name(value)}" for value in inputs)
        return self._new(f"call {kind} @llvm.{name}.{suffix}({listed})")

    def call_library(self, name: str) -> Lanes:
        """A function of the C library, called for each lane."""
        element = REGISTER[self.kind.dtype]
        full_name = name + ("f" if self.kind.dtype == float32 else "")
        self.code.declare(f"declare {element} @{full_name}({element})")
        if not self.kind.lanes:
            return self._new(f"call {element} @{full_name}({element} {self.name})")
        result = "poison"
        for lane in range(self.kind.lanes):
            part = self.code.let(f"extractelement {self.kind.type} {self.name}, i32 {lane}")
            value = self.code.let(f"call {element} @{full_name}({element} {part})")
            result = self.code.let(f"insertelement {self.kind.type} {result}, {element} {value}, i32 {lane}")
        return Lanes(self.code, self.kind, result)

    def _with(self, operation: str, left: Lanes | float, right: Lanes | float) -> Lanes:
        return self._new(f"{operation} {self.kind.type} {self._name(left)}, {self._name(right)}")

    def _compare(self, how: str, other: Lanes | float) -> Mask:
        compared = self.code.let(f"fcmp {how} {self.kind.type} {self.name}, {self._name(other)}")
        return Mask(self.code, self.kind, compared)

    def _new(self, expression: str) -> Lanes:
        return Lanes(self.code, self.kind, self.code.let(expression))

    def _name(self, value: Lanes | float) -> str:
        return value.name if isinstance(value, Lanes) else self.kind.constant(value)


def fused(a: Lanes, b: Lanes | float, c: Lanes | float) -> Lanes:
    """a * b + c, rounded once where the processor has an instruction for it (`Code.fused`) and twice where not."""
    return a.call_intrinsic("fma", a, b, c) if a.code.fused else a * b + c


def polynomial(x: Lanes, coefficients: tuple[float, ...]) -> Lanes:
    """The polynomial in `x`, coefficients lowest power first, by Horner's rule."""
    *lower, value = coefficients
    result: Lanes = x.number(value)
    for coefficient in reversed(lower):
        result = fused(result, x, coefficient)
    return result
