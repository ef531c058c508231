"""The NumPy executor where NumPy has no function of its own, against Python's own mathematics."""

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.op import Op
from chainrule.engine.reference import evaluate


def test_erf_agrees_with_the_c_library_to_two_ulp() -> None:
    x = np.concatenate([np.linspace(-7, 7, 20001), [0.0, -0.0, 1e-300, 0.84375, 1.25, 1 / 0.35, np.inf, -np.inf]])
    expected = np.array([math.erf(v) for v in x])
    found = np.asarray(cr.erf(cr.asarray(x)))
    assert np.all(np.abs(found - expected) <= 2 * np.spacing(np.abs(expected)))
    assert np.isnan(cr.erf(cr.asarray(np.nan)).item())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_is_exact_in_both_tails(dtype: str) -> None:
    x = np.linspace(-80, 80, 1601).astype(dtype)
    exact = np.array([1 / (1 + math.exp(-v)) if v > -700 else 0 for v in x.astype(float)])
    np.testing.assert_allclose(cr.sigmoid(x), exact, rtol=4 * np.finfo(dtype).eps)
    assert cr.sigmoid(np.array([-np.inf, np.inf], dtype)).tolist() == [0.0, 1.0]


def test_padding_spreads_and_cuts() -> None:
    x = np.array([1, 2, 3])
    settings = {"low": (1,), "high": (-2,), "interior": (1,), "value": 9}
    assert evaluate(Op.PAD, [x], settings).tolist() == [9, 1, 9, 2]
    assert evaluate(Op.PAD, [x[:0]], {"low": (2,), "high": (1,), "interior": (3,), "value": 0}).tolist() == [0, 0, 0]


def test_scatter_adds_what_falls_on_the_same_place() -> None:
    updates = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    found = evaluate(Op.SCATTER_ADD, [updates, np.array([2, 0, 2])], {"axis": 1, "size": 4})
    assert found.tolist() == [[2.0, 0.0, 4.0, 0.0], [20.0, 0.0, 40.0, 0.0]]


def test_integers_to_a_negative_power_are_cut_off_and_division_by_zero_is_silent() -> None:
    assert (cr.asarray([1, -1, 2]) ** -1).tolist() == [1, -1, 0]
    assert (cr.asarray([1.0, -1.0, 0.0]) / 0.0).tolist()[:2] == [np.inf, -np.inf]
    assert (cr.asarray([7]) // 0).dtype == cr.int64
