"""The layout of floating-point numbers, and what the functions of mathematics derive from it."""

from __future__ import annotations

import numpy as np

from chainrule.engine.dtypes import DType, float32, float64
from chainrule.engine.lanes import Lanes
from chainrule.engine.record import record


@record(frozen=True, slots=True)
class Format:
    """A binary floating-point format of IEEE 754.

    Attributes
    ----------
    digits
        Stored binary digits of the mantissa.
    bias
        The exponent 0 is stored as this number.
    """

    digits: int
    bias: int

    @property
    def exponents(self) -> int:
        """The bits that hold the exponent, as a mask."""
        return (2 * self.bias + 1) << self.digits

    @property
    def top(self) -> int:
        """The place of the highest bit, which holds the sign."""
        return self.digits + self.bias.bit_length() + 1

    @property
    def rounder(self) -> float:
        """Added to a small number it leaves the nearest integer in the lowest bits of the sum."""
        return 1.5 * 2.0**self.digits

    @property
    def tiny(self) -> float:
        """The smallest number with a full mantissa."""
        return float(2.0 ** (1 - self.bias))

    @property
    def root_half(self) -> int:
        """The bits of the square root of 1/2."""
        half = np.sqrt(np.float32(0.5)).view(np.int32) if self.digits == 23 else np.sqrt(0.5).view(np.int64)
        return int(half)


FORMATS: dict[DType, Format] = {float32: Format(23, 127), float64: Format(52, 1023)}


def format_of(x: Lanes) -> Format:
    """The format of these numbers."""
    return FORMATS[x.kind.dtype]
