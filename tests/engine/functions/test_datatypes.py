"""How data types mix, and that the namespace has everything that the array API standard 2024.12 asks for.

The lists of names are the standard's tables of contents, without what needs complex numbers or unsigned integers.
"""

import inspect

import numpy as np
import pytest

import chainrule as cr
from engine.functions.samples import DTYPES

XP = cr.asarray(0.0).__array_namespace__()

STANDARD = """
    e inf nan newaxis pi bool int32 int64 float32 float64 __array_api_version__ __array_namespace_info__
    arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril triu zeros
    zeros_like astype can_cast finfo iinfo isdtype result_type
    abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert bitwise_or
    bitwise_right_shift bitwise_xor ceil clip copysign cos cosh divide equal exp expm1 floor floor_divide greater
    greater_equal hypot isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not
    logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive pow reciprocal remainder round
    sign signbit sin sinh square sqrt subtract tan tanh trunc
    take take_along_axis matmul matrix_transpose tensordot vecdot
    broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims repeat reshape roll squeeze stack tile
    unstack argmax argmin count_nonzero nonzero searchsorted where unique_all unique_counts unique_inverse unique_values
    argsort sort cumulative_prod cumulative_sum max mean min prod std sum var all any diff
"""

# Parameters by name, as the standard writes them: what is behind * must be given by name.
SIGNATURES = {
    "sum": "(x, /, *, axis, dtype, keepdims)",
    "prod": "(x, /, *, axis, dtype, keepdims)",
    "mean": "(x, /, *, axis, keepdims)",
    "var": "(x, /, *, axis, correction, keepdims)",
    "argmax": "(x, /, *, axis, keepdims)",
    "sort": "(x, /, *, axis, descending, stable)",
    "argsort": "(x, /, *, axis, descending, stable)",
    "concat": "(arrays, /, *, axis)",
    "stack": "(arrays, /, *, axis)",
    "expand_dims": "(x, /, *, axis)",
    "flip": "(x, /, *, axis)",
    "roll": "(x, /, shift, *, axis)",
    "reshape": "(x, /, shape, *, copy)",
    "repeat": "(x, repeats, /, *, axis)",
    "take": "(x, indices, /, *, axis)",
    "take_along_axis": "(x, indices, /, *, axis)",
    "searchsorted": "(x1, x2, /, *, side, sorter)",
    "cumulative_sum": "(x, /, *, axis, dtype, include_initial)",
    "diff": "(x, /, *, axis, n, prepend, append)",
    "astype": "(x, dtype, /, *, copy, device)",
    "clip": "(x, /, min, max)",
    "arange": "(start, /, stop, step, *, dtype, device)",
    "linspace": "(start, stop, /, num, *, dtype, device, endpoint)",
    "eye": "(n_rows, n_cols, /, *, k, dtype, device)",
    "full": "(shape, fill_value, *, dtype, device)",
    "zeros_like": "(x, /, *, dtype, device)",
    "from_dlpack": "(x, /, *, device, copy)",
    "tensordot": "(x1, x2, /, *, axes)",
    "vecdot": "(x1, x2, /, *, axis)",
    "tril": "(x, /, *, k)",
    "isdtype": "(dtype, kind)",
    "where": "(condition, x1, x2, /)",
}


@pytest.mark.parametrize("name", STANDARD.split())
def test_a_name_of_the_standard_is_in_its_namespace_and_public(name: str) -> None:
    assert hasattr(XP, name)
    assert name.startswith("__") or getattr(cr, name) is getattr(XP, name)


@pytest.mark.parametrize("name", SIGNATURES)
def test_parameters_are_called_as_the_standard_calls_them(name: str) -> None:
    signature = inspect.signature(getattr(XP, name))
    bare = [
        parameter.replace(annotation=parameter.empty, default=parameter.empty)
        for parameter in signature.parameters.values()
    ]
    text = ", ".join(str(parameter) for parameter in bare)
    kinds = [parameter.kind for parameter in bare]
    words = []
    for i, parameter in enumerate(bare):
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.KEYWORD_ONLY not in kinds[:i]:
            words.append("*")
        words.append(parameter.name)
        if parameter.kind is parameter.POSITIONAL_ONLY and kinds[i + 1 : i + 2] != [parameter.POSITIONAL_ONLY]:
            words.append("/")
    assert f"({', '.join(words)})" == SIGNATURES[name], text


def test_versions_of_the_standard_that_are_not_known_are_refused() -> None:
    assert cr.ones(1).__array_namespace__(api_version="2024.12") is XP
    with pytest.raises(cr.ArgumentError, match=r"'1999\.1' is not known"):
        cr.ones(1).__array_namespace__(api_version="1999.1")


def test_the_namespace_says_what_it_can_do() -> None:
    info = XP.__array_namespace_info__()
    assert info.capabilities() == {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}
    assert info.default_dtypes() == {"real floating": cr.float32, "integral": cr.int64, "indexing": cr.int64}
    assert (info.default_device(), info.devices()) == ("cpu", ["cpu"])
    assert list(info.dtypes()) == DTYPES
    assert list(info.dtypes(kind=("bool", "integral"))) == ["bool", "int32", "int64"]
    assert info.dtypes(kind="complex floating") == {}
    assert cr.ones((1,) * 64).ndim == 64


# In which data type two meet. The first rows are the standard's; where it leaves it open, the higher kind wins.
PROMOTION = {
    ("bool", "bool"): "bool",
    ("int32", "int32"): "int32",
    ("int32", "int64"): "int64",
    ("int64", "int64"): "int64",
    ("float32", "float32"): "float32",
    ("float32", "float64"): "float64",
    ("float64", "float64"): "float64",
    ("bool", "int32"): "int32",
    ("bool", "int64"): "int64",
    ("bool", "float32"): "float32",
    ("bool", "float64"): "float64",
    ("int32", "float32"): "float32",
    ("int32", "float64"): "float64",
    ("int64", "float32"): "float32",
    ("int64", "float64"): "float64",
}


@pytest.mark.parametrize(("pair", "expected"), PROMOTION.items(), ids=str)
def test_two_data_types_meet_where_the_table_says(pair, expected: str) -> None:
    for a, b in (pair, pair[::-1]):
        x, y = cr.ones(2, dtype=a), cr.ones(2, dtype=b)
        assert cr.result_type(a, b).name == expected
        assert cr.result_type(x, b).name == expected
        for function in (cr.multiply, cr.maximum, lambda x, y: cr.where(True, x, y), lambda x, y: cr.concat([x, y])):
            assert function(x, y).dtype.name == expected
        assert (x * y).dtype.name == (x * np.ones(2, b)).dtype.name == (np.ones(2, a) * y).dtype.name == expected
        assert cr.equal(x, y).dtype == cr.bool_
        assert cr.can_cast(a, b) == (expected == b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [True, 2, 2.5])
def test_a_python_number_takes_the_data_type_beside_it_unless_its_kind_is_higher(number, dtype: str) -> None:
    ranks = {"b": 0, "i": 1, "f": 2}
    own = cr.asarray(number).dtype
    expected = np.dtype(dtype) if ranks[own.kind] <= ranks[np.dtype(dtype).kind] else own
    x = cr.ones(2, dtype=dtype)
    assert (x * number).dtype == (number * x).dtype == cr.result_type(x, number) == expected


def test_numbers_of_numpy_bring_their_own_data_type() -> None:
    assert (cr.asarray([1.0]) * np.float64(2)).dtype == cr.float64
    assert (cr.asarray([1]) * np.float32(2)).dtype == cr.float32


@pytest.mark.parametrize(
    ("dtype", "kinds"),
    [
        ("bool", {"bool"}),
        ("int32", {"signed integer", "integral", "numeric"}),
        ("int64", {"signed integer", "integral", "numeric"}),
        ("float32", {"real floating", "numeric"}),
        ("float64", {"real floating", "numeric"}),
    ],
)
def test_a_data_type_is_of_its_kinds_and_no_other(dtype: str, kinds: set[str]) -> None:
    every = {"bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric"}
    assert {kind for kind in every if cr.isdtype(dtype, kind)} == kinds
    assert [each for each in DTYPES if cr.isdtype(dtype, np.dtype(each))] == [dtype]
    assert cr.isdtype(dtype, tuple(kinds))
    assert not cr.isdtype(dtype, ())


def test_limits_are_those_of_numpy() -> None:
    for dtype in ("float32", "float64"):
        ours, theirs = cr.finfo(cr.ones(1, dtype=dtype)), np.finfo(dtype)
        for name in ("bits", "eps", "max", "min", "smallest_normal"):
            assert getattr(ours, name) == getattr(theirs, name)
    for dtype in ("int32", "int64"):
        ours, theirs = cr.iinfo(dtype), np.iinfo(dtype)
        assert (ours.bits, ours.max, ours.min, ours.dtype) == (theirs.bits, theirs.max, theirs.min, np.dtype(dtype))


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda: cr.finfo("int32"), cr.DTypeError, "use iinfo"),
        (lambda: cr.iinfo("float32"), cr.DTypeError, "use finfo"),
        (lambda: cr.isdtype("int32", "round"), cr.ArgumentError, "'round' is neither"),
        (lambda: cr.result_type(), cr.ArgumentError, "at least one"),
        (lambda: cr.ones(1, dtype="complex64"), cr.DTypeError, "complex64 is not supported; use one of bool, int32"),
        (lambda: cr.ones(1, dtype="nonsense"), cr.DTypeError, "'nonsense' is not a data type"),
        (lambda: ~cr.ones(1), cr.DTypeError, "not: expected bool or integer input but got float32"),
        (lambda: -cr.asarray([True]), cr.DTypeError, "neg: expected integer or floating input but got bool"),
        (lambda: cr.asarray([1.0]) << 1, cr.DTypeError, "shift_left: expected integer input"),
        (lambda: cr.asarray([True]) @ cr.asarray([True]), cr.DTypeError, "cannot multiply bool"),
        (lambda: cr.argmax([True]), cr.ArgumentError, "a bool tensor has no order"),
    ],
)
def test_a_data_type_that_does_not_fit_is_named(ask, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        ask()
