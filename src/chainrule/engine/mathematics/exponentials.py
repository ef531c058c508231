"""exp and what is made of it: expm1, sigmoid, tanh, sinh, cosh, erf.

All begin with x = n log 2 + r, |r| <= log(2) / 2: e^r is a polynomial, 2^n is written into the bits of the exponent.
Only tanh takes other borders, and a quotient of two polynomials.
"""

from __future__ import annotations

import math

from chainrule.engine.coefficients import POLYNOMIALS, QUOTIENTS, SPLITS
from chainrule.engine.dtypes import float32
from chainrule.engine.lanes import Bits, Lanes, fused, polynomial
from chainrule.engine.mathematics.formats import format_of

_LOG2_E = 1 / math.log(2)
_TANH_TURN = 0.68  # below log 2, so that n is not -1 at 0


def exp(x: Lanes) -> Lanes:
    """e^x."""
    return _power(x)


def expm1(x: Lanes) -> Lanes:
    """e^x - 1, as exact near 0 as anywhere."""
    form = format_of(x)
    # Below, the result is -1; above, infinity.
    limited = x.at_most((form.bias + 1.5) * math.log(2)).at_least(-(form.digits + 3) * math.log(2))
    bits, n, r, lost = _reduced(limited, form.bias - 1)
    half = (bits << form.digits).lanes()  # 2^(n - 1), since 2^n may overflow where the result does not
    rest = _rest(r, lost)
    scaled = fused(half, rest, half - 0.5)
    return n.equals(0).where(rest, scaled + scaled).with_sign_of(x)


def sigmoid(x: Lanes) -> Lanes:
    """1 / (1 + e^-x), from e^-|x|, which never overflows."""
    decay = _power(-abs(x), below_zero=True)
    whole = (x < 0).where(decay, 1.0)
    return fused(-whole, decay / (decay + 1.0), whole)


def tanh(x: Lanes) -> Lanes:
    """The hyperbolic tangent: with |x| = n log 2 + h, it is (4^n e^2h - 1) / (4^n e^2h + 1).

    e^2h is (lower + upper) / (lower - upper) for tanh h = upper / lower, two polynomials. Up to 0.68, n is 0, and h
    and a small quotient are added. From there on, it is 1 less a quotient, with the same division.
    """
    form = format_of(x)
    above, below = QUOTIENTS["TANH", x.kind.dtype]
    size = abs(x).at_most((form.digits + 4) * math.log(2) / 2)  # there, the result is 1
    shifted = fused(size - (_TANH_TURN - math.log(2) / 2), _LOG2_E, form.rounder + form.bias // 2)
    n = shifted - (form.rounder + form.bias // 2)
    # Where n is not 0, the result is so flat that the digits log 2 lacks here do not count.
    h = fused(n, -math.log(2), size)
    square = h * h
    lower = polynomial(square, below)
    rest = h * square * polynomial(square, above)  # tanh h = h + rest / lower
    upper = fused(h, lower, rest)
    less = upper - lower
    half = (shifted.bits() << (form.digits + 1)).lanes()  # 4^n / 2
    near = n.equals(0.0)
    whole = fused(half, upper + lower, less * -0.5)  # `lower` where n is 0
    return _signed(near.where(h, 1.0) + near.where(rest, less) / whole, x)


def cosh(x: Lanes) -> Lanes:
    """The hyperbolic cosine; single precision is computed in double."""
    half = _power(abs(x), halved=True)
    return half + 0.25 / half


def sinh(x: Lanes) -> Lanes:
    """The hyperbolic sine; single precision is computed in double."""
    size = abs(x)
    half = _power(size, halved=True)
    square = size * size
    near = fused(size * square, polynomial(square, POLYNOMIALS["SINH", x.kind.dtype]), size)
    return (size < 1.0).where(near, half - 0.25 / half).with_sign_of(x)


def erf(x: Lanes) -> Lanes:
    """The error function: an odd polynomial up to 1, from there on 1 - e^-t with a polynomial t."""
    dtype = x.kind.dtype
    size = abs(x)
    near = fused(size, polynomial(size * size, POLYNOMIALS["ERF", dtype]), size)
    # There, the result is 1 to the last bit.
    far = polynomial(size.at_most(4.0 if dtype == float32 else 6.0), POLYNOMIALS["ERFC", dtype])
    return (size < 1.0).where(near, -_decay_less_one(-far)).with_sign_of(x)


def _signed(size: Lanes, x: Lanes) -> Lanes:
    """`size`, which is not below 0, with the sign of x; a sign to take away first costs one instruction more."""
    return (size.bits() | (x.bits() & -(1 << format_of(x).top))).lanes()


def _power(x: Lanes, *, halved: bool = False, below_zero: bool = False) -> Lanes:
    """e^x, or half of it; `below_zero` says that no x is above 0."""
    form = format_of(x)
    limited = x.at_least(-(form.bias + form.digits + 1) * math.log(2))  # there, the result is 0
    if not below_zero:
        limited = limited.at_most((form.bias + 1 + 1.5 * halved + 0.5) * math.log(2))  # there, infinity
    # n + 2 bias is above 0; 2^n is the product of two powers of 2, so that it reaches beyond the range of one.
    bits, _, r, _ = _reduced(limited, 2 * form.bias - halved)
    first = (bits << (form.digits - 1)) & form.exponents
    second = (bits << form.digits) - first
    power = fused(fused(polynomial(r, POLYNOMIALS["EXP", x.kind.dtype]), r, 1.0), r, 1.0)
    return power * first.lanes() * second.lanes()


def _decay_less_one(x: Lanes) -> Lanes:
    """e^x - 1 for x from where that is -1 up to 0."""
    form = format_of(x)
    bits, _, r, _ = _reduced(x, form.bias)
    scale = (bits << form.digits).lanes()
    return fused(scale, _rest(r), scale - 1.0)


def _reduced(x: Lanes, offset: int) -> tuple[Bits, Lanes, Lanes, Lanes]:
    """n + offset in the lowest bits, n, r, and what r lost in rounding, for x = n log 2 + r."""
    rounder = format_of(x).rounder + offset
    shifted = fused(x, _LOG2_E, rounder)
    n = shifted - rounder
    high, low = SPLITS["LOG2", x.kind.dtype]
    exact = fused(n, -high, x)
    r = fused(n, -low, exact)
    return shifted.bits(), n, r, fused(n, -low, exact - r)


def _rest(r: Lanes, lost: Lanes | None = None) -> Lanes:
    """e^r - 1, or e^(r + lost) - 1."""
    small = polynomial(r, POLYNOMIALS["EXP", r.kind.dtype])
    return r + fused(r * r, small, lost) if lost else fused(r * r, small, r)
