"""How far apart two right results of one op may be, for arrays whose elements are already uncertain by a known amount.

A running error analysis (Wilkinson, "Error analysis of floating-point processes", 1960): `spread` gives for each
element a bound on the difference between two evaluations that each round as they like, but round once where IEEE 754
defines one rounding. `None` means that both must be equal bit for bit, but for the sign of a zero and what kind of NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.engine.op import Op
from chainrule.engine.reference import evaluate

Array = np.ndarray[Any, Any]
Spread = Array | None

FUNCTIONS = {
    *{Op.EXP, Op.EXPM1, Op.LOG, Op.LOG1P, Op.SIN, Op.COS, Op.TAN, Op.ASIN, Op.ACOS, Op.ATAN, Op.SINH, Op.COSH},
    *{Op.TANH, Op.ASINH, Op.ACOSH, Op.ATANH, Op.SIGMOID, Op.ERF, Op.POW, Op.ATAN2},
}
SMOOTH = FUNCTIONS - {Op.ATAN2} | {Op.SQRT}  # a small change of what goes in makes a small change of what comes out
MOVES = {Op.RESHAPE, Op.TRANSPOSE, Op.BROADCAST, Op.SLICE, Op.CONCAT, Op.FLIP, Op.STOP_GRADIENT, Op.CUSTOM}
SUMS = {Op.SUM, Op.PROD, Op.CUMSUM, Op.SCATTER_ADD, Op.MATMUL}
LINEAR = {Op.NEG, Op.ABS, Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.MAXIMUM, Op.MINIMUM, Op.WHERE, Op.CAST, Op.MAX, Op.MIN}
ROUGH = SMOOTH | MOVES | SUMS | LINEAR | {Op.PAD, Op.TAKE}  # ops that may be given uncertain numbers

_UNITS = 8.0  # in the last place: two functions of at most 2 (ours) and 4 (NumPy's own), and what composing them adds


def spread(op: Op, arrays: Sequence[Array], spreads: Sequence[Spread], result: Array, settings: Any) -> Spread:
    """By how much two right results of an op on floating-point numbers may differ, each element."""
    rough = any(each is not None for each in spreads)
    if result.dtype.kind != "f" or not (rough or op in FUNCTIONS or op in (Op.SUM, Op.PROD, Op.MATMUL)):
        assert not rough, f"{op.value} cannot be given uncertain numbers"
        return None
    errors = [_given(array, each) for array, each in zip(arrays, spreads, strict=True)]
    wide = [array.astype(np.float64) if array.dtype.kind == "f" else array for array in arrays]
    with np.errstate(all="ignore"):
        found = _found(op, wide, errors, result, settings)
        if found is not None:
            found = np.where(
                np.isfinite(result.astype(np.float64)), np.nan_to_num(found, nan=np.inf, posinf=np.inf), np.inf
            )
    return found if found is None or found.any() else None


def _given(array: Array, error: Spread) -> Array:
    if error is not None:
        return error
    return np.zeros(array.shape) if array.dtype.kind == "f" else array


def _found(op: Op, wide: Sequence[Array], errors: Sequence[Array], result: Array, settings: Any) -> Spread:
    if op in MOVES or op is Op.TAKE:
        return evaluate(op, errors, settings)
    if op in (Op.MAX, Op.MIN):
        return np.max(errors[0], axis=settings["axes"])
    if op is Op.PAD:
        return evaluate(op, errors, {**settings, "value": 0.0})
    if op is Op.WHERE:
        return np.where(wide[0], errors[1], errors[2])
    if op in SUMS:
        return _SUMS[op](wide, errors, result, settings)
    if op in SMOOTH | FUNCTIONS:
        return _function(op, wide, errors, result)
    return _ARITHMETIC[op](*wide, *errors, np.abs(result.astype(np.float64))) + _unit(result) * np.abs(result)


def _unit(result: Array) -> float:
    return float(np.finfo(result.dtype).eps)


def _quotient(a: Array, b: Array, da: Array, db: Array, size: Array) -> Array:
    least = np.abs(b) - db
    return np.where(least > 0, (da + size * db) / least, np.inf)


_ARITHMETIC: dict[Op, Callable[..., Array]] = {
    Op.NEG: lambda a, da, size: da,
    Op.ABS: lambda a, da, size: da,
    Op.CAST: lambda a, da, size: da,
    Op.ADD: lambda a, b, da, db, size: da + db,
    Op.SUB: lambda a, b, da, db, size: da + db,
    Op.MUL: lambda a, b, da, db, size: np.abs(a) * db + np.abs(b) * da + da * db,
    Op.DIV: _quotient,
    Op.MAXIMUM: lambda a, b, da, db, size: np.maximum(da, db),
    Op.MINIMUM: lambda a, b, da, db, size: np.maximum(da, db),
}


def _function(op: Op, wide: Sequence[Array], errors: Sequence[Array], result: Array) -> Array:
    """What a function makes of the ends of the intervals, and the units in the last place that it may be off."""
    own = 0.0 if op is Op.SQRT else _UNITS * np.abs(np.spacing(result)).astype(np.float64)
    middle = evaluate(op, wide, {})
    largest = np.zeros(result.shape)
    for number, error in enumerate(errors):
        if error.any():
            for sign in (1, -1):
                moved = [array + sign * error if place == number else array for place, array in enumerate(wide)]
                change = np.abs(evaluate(op, moved, {}) - middle)
                largest = np.maximum(largest, np.nan_to_num(change, nan=np.inf, posinf=np.inf))
            if op in (Op.SIN, Op.COS):  # no steeper than 1, and no wider than 2
                largest = np.minimum(error, 2)
            if op is Op.TAN:
                largest = np.where(error < 0.1, largest, np.inf)
    return own + 2 * largest + (_unit(result) * np.abs(result) if largest.any() else 0.0)


# --- Sums: any order of n additions differs by at most (n - 1) roundings of the sum of magnitudes ---

GRID = 2.0**-6


def _is_exact(result: Array, magnitudes: Array, *terms: Array) -> bool:
    """Whether every partial sum of products of `terms` is a number of the type: multiples of a grid, none too large."""
    grid = GRID ** len(terms)
    if not all(np.isfinite(term).all() and (term / GRID == np.round(term / GRID)).all() for term in terms):
        return False
    return bool((magnitudes < grid / np.finfo(result.dtype).eps).all())


def _sum(wide: Sequence[Array], errors: Sequence[Array], result: Array, settings: Any) -> Spread:
    (x,), (error,) = wide, errors
    size = np.sum(np.abs(x) + error, axis=settings["axes"])
    if not error.any() and _is_exact(result, size, x):
        return None
    count = x.size // max(1, size.size)
    return np.sum(error, axis=settings["axes"]) + 2 * count * _unit(result) * size


def _product(wide: Sequence[Array], errors: Sequence[Array], result: Array, settings: Any) -> Spread:
    (x,), (error,) = wide, errors
    size = np.prod(np.abs(x), axis=settings["axes"])
    largest = np.asarray(np.prod(np.abs(x) + error, axis=settings["axes"]))
    count = x.size // max(1, size.size)
    if not error.any() and (count <= 2 or np.isin(np.abs(x), (0, 0.5, 1, 2)).all()):
        return None
    # If all factors together span fewer powers of two than the type has, no order overflows or underflows.
    powers = np.sum(np.abs(np.log2(np.where(x == 0, 1, np.abs(x) + error))) + 1, axis=settings["axes"])
    largest[~(powers < np.finfo(result.dtype).maxexp)] = np.inf
    return largest - size + 2 * count * _unit(result) * largest


def _running(wide: Sequence[Array], errors: Sequence[Array], result: Array, settings: Any) -> Spread:
    (x,), (error,) = wide, errors
    axis = settings["axis"]
    size = np.cumsum(np.abs(x) + error, axis=axis)
    return np.cumsum(error, axis=axis) + 2 * max(1, x.shape[axis]) * _unit(result) * size


def _scatter(wide: Sequence[Array], errors: Sequence[Array], result: Array, settings: Any) -> Spread:
    (x, indices), (error, _) = wide, errors
    size = evaluate(Op.SCATTER_ADD, (np.abs(x) + error, indices), settings)
    return evaluate(Op.SCATTER_ADD, (error, indices), settings) + 2 * max(1, indices.size) * _unit(result) * size


def _matmul(wide: Sequence[Array], errors: Sequence[Array], result: Array, settings: Mapping[str, Any]) -> Spread:
    (a, b), (da, db) = wide, errors
    size = (np.abs(a) + da) @ (np.abs(b) + db)
    if not (da.any() or db.any()) and _is_exact(result, size, a, b):
        return None
    return size - np.abs(a) @ np.abs(b) + 2 * (a.shape[-1] + 1) * _unit(result) * size


_SUMS: dict[Op, Callable[..., Spread]] = {
    Op.SUM: _sum,
    Op.PROD: _product,
    Op.CUMSUM: _running,
    Op.SCATTER_ADD: _scatter,
    Op.MATMUL: _matmul,
}


def disagreement(found: Array, expected: Array, allowed: Spread) -> str:
    """What is wrong about a result, "" if nothing is."""
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return f"{found.dtype} {found.shape} instead of {expected.dtype} {expected.shape}"
    equal = found == expected
    if expected.dtype.kind == "f":
        equal |= np.isnan(found) & np.isnan(expected)
        if allowed is not None:
            with np.errstate(all="ignore"):
                distance = np.abs(found.astype(np.float64) - expected.astype(np.float64))
            equal |= distance <= allowed
            equal |= np.isinf(allowed)
    if equal.all():
        return ""
    place = tuple(int(index[0]) for index in np.nonzero(~equal))
    limit = "exactly" if allowed is None else f"within {np.broadcast_to(allowed, found.shape)[place]:.3g}"
    return (
        f"{np.count_nonzero(~equal)} of {equal.size} elements are wrong, the first at {place}: "
        f"{found[place]!r} instead of {expected[place]!r} {limit}"
    )
