"""The square root of a vector in single precision, from the processor's estimate and multiply-adds.

The instruction for the root keeps the only divider busy for longer than all this takes; and what divides by the root,
as optimizers do, needs the divider too. But then it has time between divisions: `square_root` in every other place
leaves both the divider and the multipliers some. The result has the same bits.
"""

from __future__ import annotations

from chainrule.engine.code import Code, Kind
from chainrule.engine.lanes import Lanes, fused

_LEAST, _BEYOND = 0x0D800000, 0x7F800000  # 2^-100, below which the last product is not exact any more, and infinity


def square_root(code: Code, kind: Kind, x: str) -> str:
    """The root of 16 numbers, rounded once.

    With an estimate y of 1 / sqrt(x) that is right to 14 bits, g = x y and h = y / 2 are improved together (as
    Goldschmidt and Markstein do): r = 1/2 - g h is the error of both, and x - g g, which a fused multiply-add forms
    exactly, that of the last g. All numbers were tried: with an h that is not improved, 13,110 roots are wrong.
    """
    number = Lanes(code, kind, x)
    code.declare(f"declare {kind.type} @llvm.x86.avx512.rsqrt14.ps.512({kind.type}, {kind.type}, i16)")
    usual = (number.bits() - _LEAST).under(_BEYOND - _LEAST)
    lanes = code.let(f"bitcast {kind.mask} {usual.name} to i16")
    estimate = f"{kind.type} {x}, {kind.type} zeroinitializer, i16 {lanes}"  # 0 where the lane is not usual
    y = Lanes(code, kind, code.let(f"call {kind.type} @llvm.x86.avx512.rsqrt14.ps.512({estimate})"))
    g, h = number * y, y * 0.5
    r = fused(-g, h, 0.5)
    g, h = fused(g, r, g), fused(h, r, h)
    root = fused(fused(-g, g, number), h, g)  # of 0 it is 0
    slot = code.variable(kind.type, root.name)
    with code.when(_others(code, number, lanes)):
        exact = number.sqrt()
        code.set(kind.type, slot, exact.name)
    return code.get(kind.type, slot)


def _others(code: Code, number: Lanes, usual: str) -> str:
    """Whether a lane is neither usual nor 0, as an i1: tiny, infinite, negative, not a number."""
    zeros = code.let(f"bitcast {number.kind.mask} {number.equals(0.0).name} to i16")
    return code.let(f"icmp ne i16 {code.let(f'or i16 {zeros}, {usual}')}, -1")
