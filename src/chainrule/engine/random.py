"""Random numbers that depend on a key and a counter alone (Philox 4x32-10).

Each `Generator` owns its key and its counter, so what one part draws never moves what another part gets. The counter
is a `State`: a compiled program advances it in place, and a checkpoint that holds it resumes the stream exactly.
"""

import math
from typing import Any

from chainrule.engine.context import no_grad
from chainrule.engine.dtypes import float32, float64, int64, is_floating, supported
from chainrule.engine.functions import argsort, cos, log, reshape, sqrt
from chainrule.engine.functions.axes import Lengths, lengths_of
from chainrule.engine.op import Op
from chainrule.engine.philox import blocks
from chainrule.engine.state import State
from chainrule.engine.tensor import Tensor, apply, asarray, cast, constant
from chainrule.errors import ArgumentError


class Generator:
    """A stream of random numbers.

    Parameters
    ----------
    seed
        The key, any integer from 0 below 2**63. Equal seeds give equal streams on every machine.

    Examples
    --------
    >>> import chainrule as cr
    >>> bool((cr.random.Generator(1).normal((3,)) == cr.random.Generator(1).normal((3,))).all())
    True
    """

    def __init__(self, seed: int) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise ArgumentError(f"a seed is an integer from 0 below 2**63, but is {seed!r}.")
        self.key = seed
        self.counter = State(asarray(0), name="counter")

    def bits(self, shape: Lengths) -> Tensor:
        """int32 words of random bits."""
        lengths = lengths_of(shape)
        words = apply(Op.RANDOM_BITS, constant(self.key, int64), self.counter, shape=lengths)
        with no_grad():
            self.counter.assign(self.counter + blocks(math.prod(lengths)))
        return words

    def uniform(self, shape: Lengths = (), low: float = 0.0, high: float = 1.0, *, dtype: Any = float32) -> Tensor:
        """Evenly distributed from `low` up to, not including, `high`; 24 bits in float32, 53 in float64."""
        return low + (high - low) * self._fraction(shape, _floating(dtype))

    def _fraction(self, shape: Lengths, dtype: Any) -> Tensor:
        lengths = lengths_of(shape)
        if dtype == float32:
            upper = (self.bits(lengths) >> 8) & 0xFFFFFF
            return cast(upper, float32) * 2.0**-24
        pair = cast(self.bits((2, *lengths)), int64)
        upper, lower = (pair[0] >> 5) & 0x7FFFFFF, (pair[1] >> 6) & 0x3FFFFFF
        return cast(upper * 2**26 + lower, float64) * 2.0**-53

    def normal(self, shape: Lengths = (), mean: float = 0.0, std: float = 1.0, *, dtype: Any = float32) -> Tensor:
        """Normally distributed (Box and Muller, 1958)."""
        if std < 0:
            raise ArgumentError(f"normal: std must not be negative, but is {std}.")
        wanted = _floating(dtype)
        pair = self._fraction((2, *lengths_of(shape)), wanted)
        radius = sqrt(-2.0 * log(1.0 - pair[0]))
        return mean + std * (radius * cos(2 * math.pi * pair[1]))

    def bernoulli(self, p: float, shape: Lengths = ()) -> Tensor:
        """True with probability `p`."""
        if not 0 <= p <= 1:
            raise ArgumentError(f"bernoulli: p is a probability from 0 to 1, but is {p}.")
        return self._fraction(shape, float32) < p

    def permutation(self, n: int) -> Tensor:
        """The numbers below `n` in random order, int64."""
        return argsort(reshape(self._fraction((n,), float64), (n,)))

    def randint(self, low: int, high: int, shape: Lengths = ()) -> Tensor:
        """Integers from `low` up to, not including, `high`, int64; evenly for ranges far below 2**53."""
        if low >= high:
            raise ArgumentError(f"randint: low {low} must be below high {high}.")
        return low + cast(self._fraction(shape, float64) * (high - low), int64)


def _floating(dtype: Any) -> Any:
    wanted = supported(dtype)
    if not is_floating(wanted):
        raise ArgumentError(f"random numbers are float32 or float64, not {wanted.name}.")
    return wanted


_default = Generator(0)


def default() -> Generator:
    """The generator that initialisers and the functions of this module draw from."""
    return _default


def seed(seed: int) -> None:
    """Begin the default stream anew under another key."""
    fresh = Generator(seed)
    _default.key = fresh.key
    _default.counter.assign(0)


def uniform(shape: Lengths = (), low: float = 0.0, high: float = 1.0, *, dtype: Any = float32) -> Tensor:
    """`Generator.uniform` of the default stream."""
    return _default.uniform(shape, low, high, dtype=dtype)


def normal(shape: Lengths = (), mean: float = 0.0, std: float = 1.0, *, dtype: Any = float32) -> Tensor:
    """`Generator.normal` of the default stream."""
    return _default.normal(shape, mean, std, dtype=dtype)


def bernoulli(p: float, shape: Lengths = ()) -> Tensor:
    """`Generator.bernoulli` of the default stream."""
    return _default.bernoulli(p, shape)


def permutation(n: int) -> Tensor:
    """`Generator.permutation` of the default stream."""
    return _default.permutation(n)


def randint(low: int, high: int, shape: Lengths = ()) -> Tensor:
    """`Generator.randint` of the default stream."""
    return _default.randint(low, high, shape)
