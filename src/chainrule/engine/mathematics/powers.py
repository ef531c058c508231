"""x to the power of y, for single precision: e^(y log x) in double, whose error vanishes in the rounding to single."""

from __future__ import annotations

import math

from chainrule.engine.lanes import Lanes
from chainrule.engine.mathematics.exponentials import exp
from chainrule.engine.mathematics.formats import format_of
from chainrule.engine.mathematics.logarithms import log

_FAR = 2.0**50  # to this power, every single-precision number but 1 and -1 has gone to 0 or infinity


def power(x: Lanes, y: Lanes) -> Lanes:
    """x^y in double precision, of values that single precision has; ends and signs as in C."""
    form = format_of(x)
    near = y.at_most(_FAR).at_least(-_FAR)
    size = exp(near * log(abs(x)))
    shifted = near + form.rounder  # the nearest integer in the lowest bits
    # The bit of the sign where the integer is odd and x has it set.
    sign = x.bits() & (shifted.bits() << form.top)
    # A number below 0 has no other powers than integers; infinity with either sign and 0 have all.
    others = (x < 0.0).where((x > -math.inf).where(math.nan, size), size)
    result = (shifted - form.rounder).equals(near).where((size.bits() | sign).lanes(), others)
    return y.equals(0.0).where(1.0, x.equals(1.0).where(1.0, result))
