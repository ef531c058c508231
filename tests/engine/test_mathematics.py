"""The native mathematics against NumPy, SciPy and mpmath, for single values and vectors, on each kind of processor.

float32: every 4099th of all 2^32 numbers (a prime, so that all digits vary), the neighbours of all powers of 2 and of
every place where a function changes its formula; `scripts/check_mathematics.py` goes through them all. float64: random
numbers of all sizes, against the C library's longer type where it is longer, and fewer against mpmath.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from scipy import special

from chainrule.engine.native import assembly
from chainrule.engine.op import Op
from chainrule.engine.target import Target, host, named
from engine.native_loop import Compiled, module, units_off
from oracle import Oracle

Array = np.ndarray[Any, Any]


def _sigmoid(x: Array) -> Array:
    decay = np.exp(-abs(x))
    return np.where(x < 0, decay, 1) / (1 + decay)


# What each is in NumPy, its name in mpmath, and a bound of its error in units in the last place for float32 and for
# float64: a little above the largest that was found with and without fused arithmetic. Those at 0.51 take float32 as
# float64.
FUNCTIONS: dict[Op, tuple[Callable[[Array], Array], str, float, float]] = {
    Op.EXP: (np.exp, "exp", 1.25, 1.25),
    Op.EXPM1: (np.expm1, "expm1", 1.75, 1.75),
    Op.LOG: (np.log, "log", 0.9, 0.9),
    Op.LOG1P: (np.log1p, "log1p", 1.5, 1.5),
    Op.TANH: (np.tanh, "tanh", 1.6, 1.6),
    Op.SIGMOID: (_sigmoid, "sigmoid", 1.9, 1.9),
    Op.ERF: (special.erf, "erf", 1.4, 1.5),
    Op.SIN: (np.sin, "sin", 0.9, 0.9),
    Op.COS: (np.cos, "cos", 0.9, 0.9),
    Op.TAN: (np.tan, "tan", 0.51, 1.5),
    Op.SINH: (np.sinh, "sinh", 0.51, 1.75),
    Op.COSH: (np.cosh, "cosh", 0.51, 1.75),
    Op.ASINH: (np.arcsinh, "asinh", 0.51, 1.9),
    Op.ACOSH: (np.arccosh, "acosh", 0.51, 1.9),
    Op.ATANH: (np.arctanh, "atanh", 0.51, 1.9),
    Op.ASIN: (np.arcsin, "asin", 0.51, 1.1),
    Op.ACOS: (np.arccos, "acos", 0.51, 1.1),
    Op.ATAN: (np.arctan, "atan", 0.51, 1.95),
}
OPS = pytest.mark.parametrize("op", FUNCTIONS, ids=lambda op: op.value)
NARROW, WIDE = np.dtype(np.float32), np.dtype(np.float64)


def _targets() -> list[Target]:
    """This machine, and the lesser kinds that it can run."""
    own = host()
    features = llvm.get_host_cpu_features() if own.triple.startswith("x86_64") else {}
    others = ["sse2"] * bool(features) + ["avx2"] * (bool(features.get("avx2")) and bool(features.get("fma")))
    return [own, *[named(name) for name in others if name != own.name]]


TARGETS = pytest.mark.parametrize("target", _targets(), ids=lambda target: target.name)

# Where formulas change or results leave the range of numbers.
BORDERS = [
    0.17,
    0.35,
    0.4142,
    0.5,
    0.68,
    0.70710677,
    1,
    1.3731,
    1.4142135,
    2.4142,
    4,
    6,
    9.01,
    17.33,
    36.7,
    87.33,
    88.02,
    88.72,
]
BORDERS += [89.41, 102.9, 103.97, 104.7, 708.4, 709.78, 710.47, 744.4, 745.13, 2.0**13, 2.0**20, 2.0**60]


def _neighbours(dtype: np.dtype[Any]) -> Array:
    """0, infinity, the powers of 2, the borders, and the numbers next to them, of both signs."""
    limits = np.finfo(dtype)
    with np.errstate(over="ignore"):
        powers = np.ldexp(dtype.type(1), np.arange(limits.minexp - limits.nmant, limits.maxexp + 1))
    turns = np.arange(1, 60) * (np.pi / 4)
    places = np.concatenate([[0], powers, BORDERS, turns]).astype(dtype)
    # Beyond infinity there is what is not a number.
    bits = places.view(f"i{dtype.itemsize}")[:, None] + np.arange(-40, 41)
    found = bits[bits >= 0].astype(f"i{dtype.itemsize}").view(dtype)
    return np.concatenate([found, -found])


def _numbers(dtype: np.dtype[Any]) -> Array:
    if dtype == NARROW:
        subset = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)
        return np.concatenate([subset, _neighbours(dtype)])
    rng = np.random.default_rng(0)
    usual = [rng.standard_normal(8000) * size for size in (1e-5, 0.1, 0.5, 1, 3, 20, 300, 1e5)]
    any_bits = rng.integers(0, 2**64, 20000, dtype=np.uint64).view(np.float64)
    return np.concatenate([*usual, any_bits, _neighbours(dtype)])


NUMBERS = {dtype: _numbers(dtype) for dtype in (NARROW, WIDE)}


def _check(target: Target, op: Op, dtype: np.dtype[Any], exact: Array, bound: float) -> None:
    x = NUMBERS[dtype]
    vectors = Compiled(op, dtype, target, target.lanes(dtype.itemsize))(x)
    singles = Compiled(op, dtype, target, 0)(x)
    assert vectors.tobytes() == singles.tobytes()
    units = units_off(vectors, exact)
    place = int(np.argmax(units))
    assert units[place] < bound, f"{op.value}({x[place]!r}) = {vectors[place]!r}, not {exact[place]!r}"
    known = ~np.isnan(exact)
    assert np.array_equal(np.signbit(vectors[known]), np.signbit(exact[known]))


@OPS
@TARGETS
def test_single_precision_is_close_and_the_same_in_vectors(target: Target, op: Op) -> None:
    reference, _, bound, _ = FUNCTIONS[op]
    with np.errstate(all="ignore"):
        exact = reference(NUMBERS[NARROW].astype(np.float64))
    _check(target, op, NARROW, exact, bound)


def _near_midpoints(limit: int) -> Array:
    """Every x from 2^52 to 2^54 of which the root is that close to the middle of two numbers: s / 2, for an odd s, and
    x = (s s - k) / 4 with 0 < |k| < `limit`, but for a power of 4. An odd square is 1 modulo 8, and so is k."""
    found = []
    for k in range(1 - limit // 8 * 8, limit, 8):
        for bits, low, high in ((54, 2**53, math.isqrt(2**107)), (55, math.isqrt(2**107) + 1, 2**54)):
            root = 1  # of k modulo 2^bits, bit by bit
            for bit in range(3, bits):
                root += (root * root - k >> bit & 1) << bit - 1
            roots = {(sign * root + half) % 2**bits for sign in (1, -1) for half in (0, 2 ** (bits - 1))}
            found += [math.ldexp(s * s - k >> bits, bits - 54) for s in roots if low <= s < high]
    return np.array(found)


@pytest.mark.parametrize("dtype", [NARROW, WIDE], ids=str)
@pytest.mark.parametrize("estimated", [False, True])
@TARGETS
def test_a_square_root_has_the_bits_of_numpy(target: Target, estimated: bool, dtype: np.dtype[Any]) -> None:
    """In double precision also where it is closest to the middle of two numbers; elsewhere errors would be larger by
    far before they are seen."""
    if estimated and target.name not in ("amx", "avx512"):
        target = named("avx512")  # other processors have no such estimates: it is only compiled
        lanes = target.lanes(dtype.itemsize)
        assert "vrsqrt14p" in assembly(module(Op.SQRT, dtype, replace(target, estimated=True), lanes), target)
        return
    target = replace(target, estimated=estimated)
    lanes, size = target.lanes(dtype.itemsize), dtype.itemsize
    code = module(Op.SQRT, dtype, target, lanes)
    assert ("rsqrt14" in code) == estimated
    rng = np.random.default_rng(0)
    far = rng.bytes(4_000_000 * size)
    hard = np.resize(_near_midpoints(2**14), 2**14).astype(dtype)
    for x in (NUMBERS[dtype], rng.permutation(NUMBERS[dtype]), hard, abs(np.frombuffer(far, dtype)), -hard):
        with np.errstate(invalid="ignore"):
            expected = np.sqrt(x)
        found = Compiled(Op.SQRT, dtype, target, lanes)(x)
        known = ~np.isnan(expected)
        assert (np.isnan(found) == ~known).all()
        assert found[known].tobytes() == expected[known].tobytes()


# The C library's erf in float64 is itself off by up to 0.7 units, and SciPy has no longer one.
LONGER = [op for op in FUNCTIONS if op is not Op.ERF]


@TARGETS
@pytest.mark.parametrize("dtype", [NARROW, WIDE], ids=str)
def test_what_has_a_limit_reaches_it(target: Target, dtype: np.dtype[Any]) -> None:
    x = np.array([1e4, 3e38, np.inf], dtype)
    for op, low in ((Op.TANH, -1.0), (Op.ERF, -1.0), (Op.SIGMOID, 0.0)):
        run = Compiled(op, dtype, target, 0)
        assert (run(x).tolist(), run(-x).tolist()) == ([1.0] * 3, [low] * 3)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="the C library has no longer type here")
@pytest.mark.parametrize("op", LONGER, ids=lambda op: op.value)
@TARGETS
def test_double_precision_is_close_and_the_same_in_vectors(target: Target, op: Op) -> None:
    reference, _, _, bound = FUNCTIONS[op]
    with np.errstate(all="ignore"):
        exact = reference(NUMBERS[WIDE].astype(np.longdouble))
    _check(target, op, WIDE, exact, bound)


def _places(op: Op) -> Array:
    """A few hundred numbers on which mpmath is asked."""
    rng = np.random.default_rng(1)
    if op is Op.ACOSH:
        return 1 + np.concatenate([rng.uniform(0, 3, 100), _of_any_size(rng, -40, 996, 100)])
    if op in (Op.ASIN, Op.ACOS, Op.ATANH):
        return np.concatenate([rng.uniform(-1, 1, 150), _of_any_size(rng, -996, 0, 50)])
    if op is Op.LOG:
        return np.concatenate([rng.uniform(0.5, 2, 100), _of_any_size(rng, -1063, 1023, 100)])
    if op is Op.LOG1P:
        return np.concatenate([rng.uniform(-0.99, 2, 100), _of_any_size(rng, -1063, 1023, 100)])
    far = 8 if op is Op.ERF else 700
    small = _of_any_size(rng, -1063, 0, 50)
    return np.concatenate([rng.uniform(-1.5, 1.5, 100), rng.uniform(-far, far, 100), small])


def _of_any_size(rng: np.random.Generator, low: int, high: int, count: int) -> Array:
    """Numbers from 2^low to 2^high, the same on every processor, as the recorded results are of exactly these: NumPy's
    own powers of 10 differ in the last bit."""
    return np.ldexp(rng.uniform(1, 2, count), rng.integers(low, high, count))


def _by_mpmath(name: str, places: Array) -> dict[str, Array]:
    """Exact results as sums of two floats."""
    from mpmath import mp, mpf  # comes with the oracles

    mp.dps = 400  # e^-700 beside 1
    function = (lambda x: 1 / (1 + mp.exp(-x))) if name == "sigmoid" else getattr(mp, name)
    exact = [function(mpf(float(x))) for x in places]
    high = np.array([float(y) for y in exact])
    return {"high": high, "low": np.array([float(y - mpf(float(h))) for y, h in zip(exact, high, strict=True)])}


@OPS
def test_double_precision_agrees_with_mpmath(op: Op, oracle: Oracle) -> None:
    _, name, _, bound = FUNCTIONS[op]
    places = _places(op)
    exact = oracle(op.value, lambda: _by_mpmath(name, places))
    for target in _targets():
        found = Compiled(op, WIDE, target, target.lanes(8))(places)
        units = np.abs((found - exact["high"]) - exact["low"]) / np.spacing(np.abs(exact["high"]))
        assert units.max() < bound, f"{op.value}({places[units.argmax()]!r}) on {target.name}"


@pytest.mark.parametrize("dtype", [NARROW, WIDE], ids=["float32", "float64"])
@TARGETS
def test_powers_are_close_and_treat_special_numbers_as_numpy_does(target: Target, dtype: np.dtype[Any]) -> None:
    special_numbers = [0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 2, -2, 3, -3, 0.5, -0.5, 1e-45, 3e38, -3e38]
    special_numbers += [16777215, -16777215, 16777216, 8388607.5, -8388607.5]
    a, b = (np.ravel(part).astype(dtype) for part in np.meshgrid(special_numbers, special_numbers))
    rng = np.random.default_rng(2)
    a = np.concatenate([a, rng.uniform(0.5, 2, 5000), rng.uniform(-5, 5, 5000)]).astype(dtype)
    b = np.concatenate([b, rng.uniform(-120, 120, 5000), rng.integers(-30, 30, 5000)]).astype(dtype)
    wider = np.dtype(np.float64) if dtype == NARROW else np.dtype(np.longdouble)
    with np.errstate(all="ignore"):
        exact = np.power(a.astype(wider), b.astype(wider))
    found = Compiled(Op.POW, dtype, target, target.lanes(dtype.itemsize), inputs=2)(a, b)
    assert found.tobytes() == Compiled(Op.POW, dtype, target, 0, inputs=2)(a, b).tobytes()
    assert units_off(found, exact).max() < (0.51 if dtype == NARROW else 1.5)
    known = ~np.isnan(exact)
    assert np.array_equal(np.signbit(found[known]), np.signbit(exact[known]))


@pytest.mark.parametrize("op", [Op.TANH, Op.SIN], ids=lambda op: op.value)
@pytest.mark.parametrize("lanes", [2, 3, 16, 32])
def test_vectors_of_any_width_give_the_same_bits(op: Op, lanes: int) -> None:
    x = np.linspace(-9000, 9000, 1013, dtype=np.float32)  # the last numbers fill no vector
    expected = Compiled(op, NARROW, host(), 0)(x)
    assert Compiled(op, NARROW, host(), lanes)(x).tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", [NARROW, WIDE], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ["avx512", "avx2", "sse2", "neon"])
def test_only_large_angles_call_the_c_library(name: str, dtype: np.dtype[Any]) -> None:
    target = named(name)
    for op in FUNCTIONS:
        text = assembly(module(op, dtype, target, target.lanes(dtype.itemsize)), target)
        calls = r"\bbl\s+(\w+)$" if name == "neon" else r"\b(\w+)@(?:PLT|GOT)\b"
        called = set(re.findall(calls, text, re.MULTILINE))
        function = op.value + ("f" if dtype == NARROW and op is not Op.TAN else "")
        assert called == ({function} if op in (Op.SIN, Op.COS, Op.TAN) else set())


def test_the_measure_of_errors_notices_what_is_wrong() -> None:
    exact = np.array([1.0, 1.0, math.nan, math.inf, 1e300, 1.0])
    found = np.array([1.0, 1.0 + 2**-22, 0.0, 1.0, math.inf, math.nan], np.float32)
    assert units_off(found, exact).tolist() == [0, 2, math.inf, math.inf, 0, math.inf]
