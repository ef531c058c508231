"""Reductions, running sums and order against NumPy: every axis, data type, and awkward layout."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from engine.functions.samples import DTYPES, FLOATS, NUMBERS, arrays, draw, same

AXES = [None, 0, -1, (0, -1), ()]


def fitting(x: np.ndarray, axis) -> bool:
    """Whether `x` has these axes."""
    if axis is None or axis == ():
        return True
    return x.ndim >= 2 or (x.ndim == 1 and not isinstance(axis, tuple))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "prod", "any", "all", "count_nonzero"])
def test_sums_and_counts_agree_with_numpy(name: str, keepdims: bool, axis, dtype: str) -> None:
    for x in filter(lambda x: fitting(x, axis), arrays(dtype, "unit")):
        wanted = getattr(np, name)(x, axis=axis, keepdims=keepdims)
        if name in ("sum", "prod"):  # integers and booleans are counted in int64, also on Windows
            wanted = np.asarray(wanted).astype(x.dtype if x.dtype.kind == "f" else np.int64)
        elif name == "count_nonzero":
            wanted = np.asarray(wanted).astype(np.int64)
        same(getattr(cr, name)(x, axis=axis, keepdims=keepdims), wanted, ulp=64)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, -1)], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["mean", "var", "std"])
def test_moments_agree_with_numpy(name: str, keepdims: bool, axis, dtype: str) -> None:
    for x in filter(lambda x: fitting(x, axis) and x.size, arrays(dtype)):
        same(
            getattr(cr, name)(x, axis=axis, keepdims=keepdims),
            getattr(np, name)(x, axis=axis, keepdims=keepdims),
            ulp=128,
        )


@pytest.mark.parametrize("correction", [0, 1, 1.5])
def test_a_variance_is_divided_by_the_count_less_the_correction(correction: float) -> None:
    x = draw((5, 4), "float64")
    same(cr.var(x, axis=0, correction=correction), np.var(x, axis=0, ddof=correction), ulp=16)


def test_of_nothing_a_sum_is_zero_a_product_one_a_mean_nan_and_a_largest_an_error() -> None:
    nothing = cr.zeros((2, 0))
    assert cr.sum(nothing, axis=1).tolist() == [0.0, 0.0]
    assert cr.prod(nothing, axis=1).tolist() == [1.0, 1.0]
    assert cr.all(nothing).item() is True
    assert cr.any(nothing).item() is False
    assert cr.all(cr.isnan(cr.mean(nothing, axis=1)))
    assert cr.all(cr.isnan(cr.var(nothing, axis=1)))
    assert cr.logsumexp(nothing, axis=1).tolist() == [-np.inf, -np.inf]
    for name in ("max", "min", "argmax", "argmin"):
        with pytest.raises(cr.ShapeError, match="empty along"):
            getattr(cr, name)(nothing, axis=1)
        assert getattr(cr, name)(nothing, axis=0, keepdims=True).shape == (1, 0)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, -1)], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_extremes_agree_with_numpy(keepdims: bool, axis, dtype: str) -> None:
    for x in filter(lambda x: fitting(x, axis) and x.size, arrays(dtype)):
        for name in ("max", "min"):
            same(getattr(cr, name)(x, axis=axis, keepdims=keepdims), getattr(np, name)(x, axis=axis, keepdims=keepdims))
        if not isinstance(axis, tuple):
            for name in ("argmax", "argmin"):
                wanted = np.asarray(getattr(np, name)(x, axis=axis, keepdims=keepdims)).astype(np.int64)
                same(getattr(cr, name)(x, axis=axis, keepdims=keepdims), wanted)


def test_nan_is_the_largest_and_the_smallest_and_found_first() -> None:
    x = np.array([1.0, np.nan, 3.0, np.nan])
    assert cr.isnan(cr.max(x))
    assert cr.isnan(cr.min(x))
    assert cr.argmax(x).item() == np.argmax(x) == 1
    assert cr.argmin(x).item() == 1


def test_the_first_of_equal_extremes_is_found() -> None:
    assert cr.argmax([2, 5, 5, 2]).item() == 1
    assert cr.argmin([5, 2, 2, 5]).item() == 1


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, -1)], ids=str)
def test_logsumexp_agrees_with_scipy(axis, dtype: str) -> None:
    special = pytest.importorskip("scipy.special")
    for x in filter(lambda x: fitting(x, axis) and x.size, arrays(dtype)):
        same(cr.logsumexp(x * 100, axis=axis), special.logsumexp(x * 100, axis=axis), ulp=64)
    assert cr.logsumexp([-np.inf, -np.inf]).item() == -np.inf
    assert cr.logsumexp([np.inf, 1.0]).item() == np.inf
    assert cr.isnan(cr.logsumexp([np.nan, 1.0]))


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("initial", [False, True])
def test_running_sums_and_products_agree_with_numpy(initial: bool, dtype: str) -> None:
    counted = np.dtype(dtype) if np.dtype(dtype).kind == "f" else np.dtype("int64")
    for x in arrays(dtype, "small", least_axes=1):
        for axis in range(x.ndim):
            for name in ("cumulative_sum", "cumulative_prod"):
                wanted = getattr(np, name)(x, axis=axis, include_initial=initial, dtype=counted)
                same(getattr(cr, name)(x, axis=axis, include_initial=initial), wanted, ulp=64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_differences_agree_with_numpy(n: int, dtype: str) -> None:
    for x in arrays(dtype, least_axes=1):
        for axis in range(x.ndim):
            same(cr.diff(x, axis=axis, n=n), np.diff(x, axis=axis, n=n))
    same(cr.diff(x, prepend=x[:, :1], append=x[:, -2:]), np.diff(x, prepend=x[:, :1], append=x[:, -2:]))


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("descending", [False, True])
def test_sorting_agrees_with_numpy_and_keeps_equal_elements_in_their_order(descending: bool, dtype: str) -> None:
    for x in arrays(dtype, "small", least_axes=1):
        for axis in range(x.ndim):
            order = np.argsort(-x if descending else x, axis=axis, kind="stable").astype(np.int64)
            same(cr.argsort(x, axis=axis, descending=descending), order)
            same(cr.sort(x, axis=axis, descending=descending), np.take_along_axis(x, order, axis))


def test_sorting_puts_nan_last() -> None:
    assert cr.argsort([np.nan, 2.0, 1.0]).tolist() == [2, 1, 0]


@pytest.mark.parametrize("dtype", NUMBERS)
def test_top_k_gives_the_largest_first_and_where_they_stood(dtype: str) -> None:
    for x in arrays(dtype, least_axes=1):
        for axis in range(x.ndim):
            k = min(2, x.shape[axis])
            values, indices = cr.top_k(x, k, axis=axis)
            order = np.take(np.argsort(-x, axis=axis, kind="stable"), range(k), axis=axis).astype(np.int64)
            same(indices, order)
            same(values, np.take_along_axis(x, order, axis))
    with pytest.raises(cr.ArgumentError, match="k is 4, but the axis has 3"):
        cr.top_k([1, 2, 3], 4)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_searchsorted_agrees_with_numpy(dtype: str, side: str) -> None:
    order, wanted = np.sort(draw((9,), dtype)), draw((2, 5), dtype, seed=1)
    same(cr.searchsorted(order, wanted, side=side), np.searchsorted(order, wanted, side=side).astype(np.int64))
    mixed = order[::-1].copy()
    same(
        cr.searchsorted(mixed, wanted, side=side, sorter=np.argsort(mixed, kind="stable")),
        np.searchsorted(order, wanted, side=side).astype(np.int64),
    )


@given(st.lists(st.integers(-3, 3), max_size=12), st.sampled_from(["int64", "float32"]))
def test_unique_values_rebuild_what_they_come_from(numbers: list[int], dtype: str) -> None:
    x = np.array(numbers, dtype).reshape(-1, 1)
    found = cr.unique_all(x)
    assert found.values.tolist() == sorted(set(x.ravel().tolist()))
    same(cr.take(found.values, found.inverse_indices), x)
    same(cr.take(x.ravel(), found.indices), found.values)
    assert [numbers.count(value) for value in found.values.tolist()] == found.counts.tolist()
    same(cr.unique_values(x), found.values)
    same(cr.unique_counts(x).counts, found.counts)
    same(cr.unique_inverse(x).inverse_indices, found.inverse_indices)


def test_every_nan_is_a_value_of_its_own() -> None:
    assert cr.unique_counts([np.nan, 1.0, np.nan]).counts.tolist() == [1, 1, 1]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_the_variance_does_not_depend_on_order_or_shift(numbers: list[float], random) -> None:
    shuffled = random.sample(numbers, len(numbers))
    variance = cr.var(np.array(numbers)).item()
    assert cr.var(np.array(shuffled) + 100.0).item() == pytest.approx(variance, rel=1e-6, abs=1e-6)


def test_sums_of_nothing_and_of_zeros_have_the_sign_that_numpy_gives_them() -> None:
    for array, axis in ((np.zeros(0, "f"), 0), (np.zeros((3, 0)), 1), (-np.zeros(70, "f"), 0), (-np.zeros((2, 3)), 0)):
        found = np.asarray(cr.compile(lambda x, axis=axis: cr.sum(x, axis=axis))(array))
        np.testing.assert_array_equal(np.signbit(found), np.signbit(np.sum(array, axis=axis)))
