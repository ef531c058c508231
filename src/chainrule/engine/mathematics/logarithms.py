"""log and what is made of it: log1p, asinh, acosh, atanh, and powers in single precision.

All begin with x = 2^k m, m between sqrt(1/2) and sqrt(2), so that log x = k log 2 + log m.
"""

from __future__ import annotations

import math

from chainrule.engine.coefficients import POLYNOMIALS, SPLITS
from chainrule.engine.dtypes import float32
from chainrule.engine.lanes import Bits, Lanes, fused, polynomial
from chainrule.engine.mathematics.formats import format_of

_HUGE = 2.0**60  # from here on x^2 + 1 is x^2 and log(x + 1) is log x to the last bit


def log(x: Lanes) -> Lanes:
    """The natural logarithm."""
    form = format_of(x)
    small = x < form.tiny  # the mantissa is not full: multiply first
    full = small.where(x * 2.0**form.digits, x)
    m, exponent = _parted(full)
    k = exponent - small.where(float(form.bias + form.digits), float(form.bias))
    return _with_ends(x, _log_of(m.lanes() - 1.0, k))


def log1p(x: Lanes) -> Lanes:
    """log(1 + x), as exact near 0 as anywhere."""
    form = format_of(x)
    u = x + 1.0
    back = u - 1.0
    lost = (1.0 - (u - back)) + (x - back)  # u + lost is 1 + x exactly
    m, exponent = _parted(u)
    # m - 1 + lost / 2^k; from 2^60 on what was lost does not count, and 2^-k might not be a number.
    inverse = (m - u.bits() + (form.bias << form.digits)).lanes()
    f = (x < _HUGE).where(fused(lost, inverse, m.lanes() - 1.0), m.lanes() - 1.0)
    return _with_ends(u, _log_of(f, exponent - float(form.bias))).with_sign_of(x)


def asinh(x: Lanes) -> Lanes:
    """The inverse of sinh; single precision is computed in double."""
    size = abs(x)
    square = size * size
    huge = size > _HUGE
    inside = huge.where(size, size + square / ((square + 1.0).sqrt() + 1.0))
    return (log1p(inside) + huge.where(math.log(2), 0.0)).with_sign_of(x)


def acosh(x: Lanes) -> Lanes:
    """The inverse of cosh, not a number below 1; single precision is computed in double."""
    less = x - 1.0
    huge = x > _HUGE
    inside = huge.where(x, less + fused(less, less, less + less).sqrt())
    return (x < 1.0).where(math.nan, log1p(inside) + huge.where(math.log(2), 0.0))


def atanh(x: Lanes) -> Lanes:
    """The inverse of tanh; single precision is computed in double."""
    size = abs(x)
    twice = size + size
    result = 0.5 * log1p(fused(twice, size / (1.0 - size), twice))
    return (size > 1.0).where(math.nan, result).with_sign_of(x)


def _parted(x: Lanes) -> tuple[Bits, Lanes]:
    """The bits of m, and k plus the bias, for x = 2^k m."""
    form = format_of(x)
    shifted = x.bits() - (form.root_half - (form.bias << form.digits))
    # The integer becomes a number by standing in the lowest digits of 2^digits.
    whole = 2.0**form.digits
    exponent = ((shifted >> form.digits) | x.number(whole).bits()).lanes() - whole
    return (shifted & ((1 << form.digits) - 1)) + form.root_half, exponent


def _log_of(f: Lanes, k: Lanes) -> Lanes:
    """k log 2 + log(1 + f) for 1 + f between sqrt(1/2) and sqrt(2)."""
    dtype = f.kind.dtype
    high, low = SPLITS["LOG2", dtype]
    square = f * f
    if dtype == float32:
        rest = fused(f * square, polynomial(f, POLYNOMIALS["LOG", dtype]), k * low)
        return fused(k, high, f + fused(square, -0.5, rest))
    # log(1 + f) = 2 atanh(s) = f - f^2 / 2 + s (f^2 / 2 + s^2 p(s^2))
    s = f / (f + 2.0)
    half, z = square * 0.5, s * s
    rest = fused(s, fused(z, polynomial(z, POLYNOMIALS["ATANH", dtype]), half), k * low)
    return fused(k, high, f - (half - rest))


def _with_ends(x: Lanes, inside: Lanes) -> Lanes:
    """`inside` for positive x; infinity, 0, what is below 0 and what is not a number have logarithms of their own."""
    above = (x < math.inf).where(inside, x)
    return (x > 0.0).where(above, x.equals(0.0).where(-math.inf, math.nan))
