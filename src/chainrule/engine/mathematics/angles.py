"""sin, cos, tan and their inverses.

An angle is x = n pi/2 + r, |r| <= pi/4, with pi/2 as a sum of numbers whose products with n are exact (Cody and
Waite, 1980). Angles too large for that are rare: their lanes take the C library's word.
"""

from __future__ import annotations

import math

from chainrule.engine.coefficients import POLYNOMIALS, SPLITS
from chainrule.engine.dtypes import float32
from chainrule.engine.lanes import Bits, Lanes, Mask, fused, polynomial
from chainrule.engine.mathematics.formats import format_of

_HALF_PI = math.pi / 2
_HALF_PI_REST = 6.123233995736766e-17  # pi/2 - _HALF_PI


def sin(x: Lanes) -> Lanes:
    """The sine."""
    (sine, _), (cosine, _), quadrant = _sine_and_cosine(x)
    turned = _turned(quadrant.any(1).where(cosine, sine), quadrant)
    return _near(x, x.equals(0.0).where(x, turned), "sin")


def cos(x: Lanes) -> Lanes:
    """The cosine."""
    (sine, _), (cosine, _), quadrant = _sine_and_cosine(x)
    return _near(x, _turned(quadrant.any(1).where(sine, cosine), quadrant + 1), "cos")


def tan(x: Lanes) -> Lanes:
    """The tangent; single precision is computed in double."""
    (sine, sine_rest), (cosine, cosine_rest), quadrant = _sine_and_cosine(x)
    odd = quadrant.any(1)
    above, above_rest = odd.where(-cosine, sine), odd.where(-cosine_rest, sine_rest)
    below, below_rest = odd.where(sine, cosine), odd.where(sine_rest, cosine_rest)
    ratio = above / below
    exact = ratio + (above_rest - ratio * below_rest) / below  # three roundings would be 2 units together
    return _near(x, x.equals(0.0).where(x, exact), "tan")


def asin(x: Lanes) -> Lanes:
    """The inverse sine, not a number beyond 1; single precision is computed in double."""
    size = abs(x)
    head, lost, rest, outer = _half_angle(size)
    # Beyond 1/2: pi/2 - 2 asin(sqrt((1 - |x|) / 2))
    far = _HALF_PI / 2 - ((2.0 * (rest + lost) - _HALF_PI_REST) - (_HALF_PI / 2 - 2.0 * head))
    return outer.where(far, size + rest).with_sign_of(x)


def acos(x: Lanes) -> Lanes:
    """The inverse cosine, not a number beyond 1; single precision is computed in double."""
    head, lost, rest, outer = _half_angle(abs(x))
    right = 2.0 * (head + (rest + lost))
    left = math.pi - 2.0 * (head + (rest + lost - _HALF_PI_REST))
    middle = _HALF_PI - (x - (_HALF_PI_REST - rest.with_sign_of(x)))
    return outer.where((x < 0.0).where(left, right), middle)


def atan(x: Lanes) -> Lanes:
    """The inverse tangent; single precision is computed in double."""
    size = abs(x)
    steep, middle = size > math.tan(3 * math.pi / 8), size > math.tan(math.pi / 8)
    # atan a = pi/2 + atan(-1/a) = pi/4 + atan((a - 1) / (a + 1)): one division serves all
    above = steep.where(-1.0, middle.where(size - 1.0, size))
    below = steep.where(size, middle.where(size + 1.0, 1.0))
    start = steep.where(_HALF_PI, middle.where(_HALF_PI / 2, 0.0))
    start_rest = steep.where(_HALF_PI_REST, middle.where(_HALF_PI_REST / 2, 0.0))
    t = above / below
    z = t * t
    angle = t + fused(t * z, polynomial(z, POLYNOMIALS["ATAN", x.kind.dtype]), start_rest)
    return (start + angle).with_sign_of(x)


def _sine_and_cosine(x: Lanes) -> tuple[tuple[Lanes, Lanes], tuple[Lanes, Lanes], Bits]:
    """sin r and cos r, each with what it lost in rounding, and n in the lowest bits, for x = n pi/2 + r."""
    dtype = x.kind.dtype
    rounder = format_of(x).rounder
    shifted = fused(x, 1 / _HALF_PI, rounder)
    n = shifted - rounder
    *parts, short, last = SPLITS["HALF_PI", dtype]
    exact = x
    for part in parts:
        exact = fused(n, -part, exact)
    rough = fused(n, -short, exact)
    left = fused(n, -last, fused(n, -short, exact - rough))
    r = rough + left
    lost = (rough - r) + left  # r + lost is nearer to the angle than r can be
    z = r * r
    half = z * 0.5
    most = 1.0 - half
    sine_rest = fused(r * z, polynomial(z, POLYNOMIALS["SIN", dtype]), lost * most)
    sine = r + sine_rest
    cosine_rest = ((1.0 - most) - half) + fused(z * z, polynomial(z, POLYNOMIALS["COS", dtype]), -(r * lost))
    cosine = most + cosine_rest
    return (sine, (r - sine) + sine_rest), (cosine, (most - cosine) + cosine_rest), shifted.bits()


def _turned(value: Lanes, quadrant: Bits) -> Lanes:
    """`value` with the other sign in the third and fourth quadrant."""
    return (value.bits() ^ ((quadrant & 2) << (format_of(value).top - 1))).lanes()


def _near(x: Lanes, near: Lanes, name: str) -> Lanes:
    """`near` where the angle was small enough for it, and the C library's result elsewhere."""
    code, kind = x.code, x.kind
    # n must have at most as many digits as the parts of pi/2 leave free.
    far = abs(x) > (2.0**13 if kind.dtype == float32 else 2.0**20)
    slot = code.variable(kind.type, near.name)
    with code.when(far.any()):
        code.set(kind.type, slot, far.where(x.call_library(name), near).name)
    return Lanes(code, kind, code.get(kind.type, slot))


def _half_angle(size: Lanes) -> tuple[Lanes, Lanes, Lanes, Mask]:
    """For |x|: where it is beyond 1/2, and for the angle a = asin |x|, or there asin sqrt((1 - |x|) / 2):

    the first half of the digits of sin a, the others, and a - sin a.
    """
    form = format_of(size)
    outer = size > 0.5
    z = outer.where((1.0 - size) * 0.5, size * size)
    sine = outer.where(z.sqrt(), size)
    rest = sine * z * polynomial(z, POLYNOMIALS["ASIN", size.kind.dtype])
    head = (sine.bits() & -(1 << (form.digits // 2 + 1))).lanes()  # few enough digits that its square is exact
    return head, (z - head * head) / (sine + head).at_least(form.tiny), rest, outer
