"""Functions of each element against NumPy: every data type, awkward shapes and layouts, and the special values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from engine.functions.samples import DTYPES, FLOATS, INTEGERS, NUMBERS, PAIRS, SPECIALS, arrays, draw, same

# name -> domain in which it is defined; NumPy has it by the same name
FLOATING = {
    **dict.fromkeys(["exp", "expm1", "sin", "cos", "tan", "sinh", "cosh", "tanh", "atan", "asinh"], "any"),
    **dict.fromkeys(["sqrt", "log", "log1p", "log2", "log10", "reciprocal"], "positive"),
    **dict.fromkeys(["asin", "acos", "atanh"], "unit"),
    "acosh": "above one",
}
COMPARISONS = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FLOATING)
def test_a_floating_function_agrees_with_numpy(name: str, dtype: str) -> None:
    with np.errstate(all="ignore"):
        for x in arrays(dtype, FLOATING[name]):
            floating = x if x.dtype.kind == "f" else x.astype(np.float32)  # integers become float32
            same(getattr(cr, name)(x), getattr(np, name)(floating), ulp=4)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", FLOATING)
def test_a_floating_function_treats_special_values_as_numpy_does(name: str, dtype: str) -> None:
    x = np.array(SPECIALS, dtype)
    with np.errstate(all="ignore"):
        same(getattr(cr, name)(x), getattr(np, name)(x), ulp=4)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize(
    "name",
    ["abs", "negative", "positive", "sign", "square", "floor", "ceil", "round", "trunc", "isnan", "isinf", "isfinite"],
)
def test_a_function_that_keeps_numbers_agrees_with_numpy(name: str, dtype: str) -> None:
    for x in arrays(dtype):
        same(getattr(cr, name)(x), getattr(np, name)(x))
    if np.dtype(dtype).kind == "f":
        x = np.array(SPECIALS, dtype)
        same(getattr(cr, name)(x), getattr(np, name)(x))


@pytest.mark.parametrize("dtype", FLOATS)
def test_signbit_sees_minus_zero(dtype: str) -> None:
    x = np.array(SPECIALS, dtype)
    same(cr.signbit(x), np.signbit(x))


def test_halves_are_rounded_to_the_even_neighbour() -> None:
    assert cr.round([0.5, 1.5, 2.5, -0.5, -1.5]).tolist() == [0.0, 2.0, 2.0, -0.0, -2.0]


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "maximum", "minimum", "floor_divide", "remainder"])
def test_arithmetic_agrees_with_numpy(name: str, dtype: str) -> None:
    for first, second in PAIRS:
        a, b = draw(first, dtype), draw(second, dtype, "positive", seed=1)
        same(getattr(cr, name)(a, b), getattr(np, name)(a, b))


@pytest.mark.parametrize("dtype", FLOATS)
def test_quotients_of_all_kinds_of_numbers_are_rounded_down_as_numpy_does(dtype: str) -> None:
    kinds = [0.0, -0.0, 1.0, -1.0, 2.5, -7.25, 1e30, -1e30, np.inf, -np.inf, np.nan]
    a, b = (axis.astype(dtype) for axis in np.meshgrid(kinds, kinds))
    with np.errstate(all="ignore"):
        same(cr.floor_divide(a, b), np.floor_divide(a, b))
        same(cr.remainder(a, b), np.remainder(a, b))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["divide", "atan2", "copysign", "nextafter", "hypot", "logaddexp", "pow"])
def test_floating_arithmetic_agrees_with_numpy(name: str, dtype: str) -> None:
    for first, second in PAIRS:
        a, b = draw(first, dtype, "positive" if name == "pow" else "any"), draw(second, dtype, seed=1)
        same(getattr(cr, name)(a, b), getattr(np, name)(a, b), ulp=4)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "name",
    [
        "add",
        "subtract",
        "multiply",
        "divide",
        "maximum",
        "minimum",
        "remainder",
        "pow",
        "atan2",
        "copysign",
        "nextafter",
        "hypot",
        "logaddexp",
        *COMPARISONS,
    ],
)
def test_arithmetic_treats_special_values_as_numpy_does(name: str, dtype: str) -> None:
    a, b = np.array(SPECIALS, dtype)[:, None], np.array(SPECIALS, dtype)
    with np.errstate(all="ignore"):
        same(getattr(cr, name)(a, b), getattr(np, name)(a, b), ulp=4)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_divide_to_float32_and_powers_stay_integers(dtype: str) -> None:
    a, b = draw((5,), dtype), draw((5,), dtype, "small", seed=1)
    same(cr.pow(a, b), np.power(a, b))
    assert cr.divide(a, 2).dtype == cr.float32
    np.testing.assert_allclose(cr.divide(a, 4), a / 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_agree_with_numpy(name: str, dtype: str) -> None:
    for first, second in PAIRS:
        a, b = draw(first, dtype), draw(second, dtype, seed=1)
        same(getattr(cr, name)(a, b), getattr(np, name)(a, b))


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS])
@pytest.mark.parametrize("name", ["and", "or", "xor"])
def test_bits_agree_with_numpy(name: str, dtype: str) -> None:
    for first, second in PAIRS:
        a, b = draw(first, dtype), draw(second, dtype, seed=1)
        same(getattr(cr, f"bitwise_{name}")(a, b), getattr(np, f"bitwise_{name}")(a, b))
    same(cr.bitwise_invert(a), np.bitwise_invert(a))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_shifts_keep_the_sign(dtype: str) -> None:
    a, b = draw((6,), dtype), draw((6,), dtype, "small", seed=1)
    same(cr.bitwise_left_shift(a, b), np.bitwise_left_shift(a, b))
    same(cr.bitwise_right_shift(a, b), np.bitwise_right_shift(a, b))


@pytest.mark.parametrize("dtype", DTYPES)
def test_logic_takes_what_is_not_zero_for_true(dtype: str) -> None:
    a, b = draw((8,), dtype, "unit"), draw((8,), dtype, "unit", seed=1)
    for name in ("logical_and", "logical_or", "logical_xor"):
        same(getattr(cr, name)(a, b), getattr(np, name)(a, b))
    same(cr.logical_not(a), np.logical_not(a))


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_broadcasts_all_three(dtype: str) -> None:
    condition = draw((3, 1), "bool")
    a, b = draw((4,), dtype), draw((2, 1, 4), dtype, seed=1)
    same(cr.where(condition, a, b), np.where(condition, a, b))


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("bounds", [(-1, 2), (None, 1), (0, None), (None, None), (1, 1)])
def test_clip_agrees_with_numpy(bounds: tuple, dtype: str) -> None:
    for x in arrays(dtype):
        same(cr.clip(x, *bounds), np.clip(x, *bounds) if bounds != (None, None) else x)


def test_clip_keeps_nan_and_refuses_bounds_the_wrong_way_round() -> None:
    assert cr.isnan(cr.clip(np.nan, 0.0, 1.0))
    with pytest.raises(cr.ArgumentError, match="clip: min 2 is above max 1"):
        cr.clip([1.0], 2, 1)


@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", DTYPES)
def test_astype_agrees_with_numpy(source: str, target: str) -> None:
    for x in arrays(source):
        same(cr.astype(cr.asarray(x), target), x.astype(target))


NUMERIC = st.floats(-1e6, 1e6, width=32) | st.integers(-1000, 1000)


@given(NUMERIC, NUMERIC)
def test_division_and_remainder_belong_together(a: float, b: float) -> None:
    a, b = cr.asarray(a, dtype=cr.float64), cr.asarray(b, dtype=cr.float64)
    if b.item():
        rest = cr.remainder(a, b)
        assert rest == 0 or cr.sign(rest) == cr.sign(b)
        assert abs((cr.floor_divide(a, b) * b + rest - a).item()) <= 1e-9 * max(1.0, abs(a.item()))


@given(st.lists(st.floats(-700, 700), min_size=2, max_size=5))
def test_logaddexp_does_not_depend_on_the_order(numbers: list[float]) -> None:
    x = np.array(numbers)
    forwards, backwards = x[0], x[-1]
    for a, b in zip(x[1:], x[::-1][1:], strict=True):
        forwards, backwards = cr.logaddexp(forwards, a), cr.logaddexp(backwards, b)
    assert forwards.item() == pytest.approx(backwards.item(), rel=1e-12, abs=1e-12)
