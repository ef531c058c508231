"""The square root of a vector, from the processor's estimate and multiply-adds.

The instruction for the root keeps the only divider busy for longer than all this takes; and what divides by the root,
as optimizers do, needs the divider too. In single precision it still has time between divisions: `square_root` in every
other place leaves both the divider and the multipliers some. The result has the same bits.
"""

from __future__ import annotations

from chainrule.engine.code import Code, Kind
from chainrule.engine.dtypes import float32, float64
from chainrule.engine.lanes import Lanes, fused

# The bits of a number below which the last product is not exact any more (2^-100 and 2^-900), and those of infinity.
_RANGES = {float32: (0x0D800000, 0x7F800000), float64: (0x07B << 52, 0x7FF << 52)}
_IMPROVED = {float32: 1, float64: 2}  # how often an estimate is improved: each time it is right to twice as many bits


def square_root(code: Code, kind: Kind, x: str) -> str:
    """The root of a vector of 64 bytes, rounded once.

    With an estimate y of 1 / sqrt(x) that is right to 14 bits, g = x y and h = y / 2 are improved together (as
    Goldschmidt and Markstein do): r = 1/2 - g h is the error of both, and x - g g, which a fused multiply-add forms
    exactly, that of the last g. All numbers of single precision were tried: with an h that is not improved, 13,110 are
    wrong; and of double precision those of which the roots are closest to the middle of two (`test_mathematics`).
    """
    number = Lanes(code, kind, x)
    word, name = f"i{kind.lanes}", f"@llvm.x86.avx512.rsqrt14.{'ps' if kind.dtype == float32 else 'pd'}.512"
    code.declare(f"declare {kind.type} {name}({kind.type}, {kind.type}, {word})")
    least, beyond = _RANGES[kind.dtype]
    usual = (number.bits() - least).under(beyond - least)
    lanes = code.let(f"bitcast {kind.mask} {usual.name} to {word}")
    estimate = f"{kind.type} {x}, {kind.type} zeroinitializer, {word} {lanes}"  # 0 where the lane is not usual
    y = Lanes(code, kind, code.let(f"call {kind.type} {name}({estimate})"))
    g, h = number * y, y * 0.5
    for _ in range(_IMPROVED[kind.dtype]):
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
    word = f"i{number.kind.lanes}"
    zeros = code.let(f"bitcast {number.kind.mask} {number.equals(0.0).name} to {word}")
    return code.let(f"icmp ne {word} {code.let(f'or {word} {zeros}, {usual}')}, -1")
