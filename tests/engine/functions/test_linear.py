"""Products of vectors, matrices and tensors against NumPy: batches, broadcasting, integers, and nothing at all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from engine.functions.samples import NUMBERS, draw, same

SHAPES = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((5, 1, 2, 3), (6, 3, 4)),
    ((1, 1), (1, 1)),
    ((2, 0), (0, 3)),
    ((0, 3), (3, 2)),
    ((0,), (0,)),
    ((4, 0, 3), (3, 2)),
]


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_matmul_agrees_with_numpy(shapes, dtype: str) -> None:
    a, b = draw(shapes[0], dtype), draw(shapes[1], dtype, seed=1)
    same(cr.matmul(a, b), np.matmul(a, b), ulp=64)
    same(cr.asarray(a) @ b, a @ b, ulp=64)
    same(a @ cr.asarray(b), a @ b, ulp=64)


def test_matmul_of_what_does_not_lie_in_a_row() -> None:
    a, b = draw((6, 8), "float64"), draw((8, 6), "float64", seed=1)
    same(cr.matmul(a.T[::2], b.T[:, ::-1]), a.T[::2] @ b.T[:, ::-1], ulp=64)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((), (3,), "scalars have no matrix product"),
        ((2, 3), (2, 3), "inner lengths 3 and 2 must be equal"),
        ((2, 2, 3), (3, 3, 4), "do not broadcast"),
    ],
)
def test_matmul_names_shapes_that_do_not_fit(a, b, message: str) -> None:
    with pytest.raises(cr.ShapeError, match=message):
        cr.matmul(cr.ones(a), cr.ones(b))


@pytest.mark.parametrize("dtype", NUMBERS)
def test_vecdot_agrees_with_numpy_and_keeps_the_data_type(dtype: str) -> None:
    for first, second in [((4,), (4,)), ((3, 4), (4,)), ((2, 1, 4), (3, 4)), ((2, 0), (2, 0))]:
        a, b = draw(first, dtype), draw(second, dtype, seed=1)
        same(cr.vecdot(a, b), np.vecdot(a, b), ulp=64)
    same(cr.vecdot(a.T, b.T, axis=-2), np.vecdot(a.T, b.T, axis=-2), ulp=64)
    with pytest.raises(cr.ShapeError, match=r"\(3,\) and \(1,\) differ along axis -1"):
        cr.vecdot([1, 2, 3], [1])


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("axes", [0, 1, 2, ((0,), (1,)), ((2, 0), (0, 1)), ((-1,), (0,))], ids=str)
def test_tensordot_agrees_with_numpy(axes, dtype: str) -> None:
    a, b = draw((3, 2, 3), dtype), draw((3, 3, 2) if axes != 2 else (2, 3, 4), dtype, seed=1)
    same(cr.tensordot(a, b, axes=axes), np.tensordot(a, b, axes), ulp=64)


def test_tensordot_names_what_does_not_fit() -> None:
    with pytest.raises(cr.ShapeError, match="differ along the axes"):
        cr.tensordot(cr.ones((2, 3)), cr.ones((2, 3)), axes=1)
    with pytest.raises(cr.ArgumentError, match="cannot contract 3 axes"):
        cr.tensordot(cr.ones((2, 3)), cr.ones((2, 3)), axes=3)


FORMULAS = {
    "i->": [(3,)],
    "ij->ji": [(2, 3)],
    "ii": [(3, 3)],
    "ii->i": [(3, 3)],
    "iij->j": [(3, 3, 2)],
    "i,i": [(4,), (4,)],
    "i,j->ij": [(3,), (4,)],
    "ij,jk": [(2, 3), (3, 4)],
    "ij,kj->ik": [(2, 3), (4, 3)],
    "bij,bjk->bik": [(2, 3, 4), (2, 4, 5)],
    "ij,jk->": [(2, 3), (3, 4)],
    "ijk,k,j->i": [(2, 3, 4), (4,), (3,)],
    "ab,bc,cd->ad": [(2, 3), (3, 4), (4, 5)],
    "ba": [(2, 3)],
    "...": [(2, 3)],
    "...i->...": [(2, 3, 4)],
    "...ij,...jk->...ik": [(5, 1, 2, 3), (6, 3, 4)],
    "i...,i...->...": [(3, 2, 4), (3, 4)],
    "...ii->...i": [(2, 3, 3)],
    "...,...": [(2, 1), (3,)],
    "i...j->j...": [(2, 5, 6, 3)],
    "bhqd,bhkd->bhqk": [(2, 3, 4, 5), (2, 3, 6, 5)],
    "ij,j->i": [(2, 0), (0,)],
}


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("formula", FORMULAS)
def test_einsum_agrees_with_numpy(formula: str, dtype: str) -> None:
    inputs = [draw(shape, dtype, seed=seed) for seed, shape in enumerate(FORMULAS[formula])]
    same(cr.einsum(formula, *inputs), np.einsum(formula, *inputs), ulp=256)


@given(st.data())
def test_any_product_of_two_agrees_with_numpy(data) -> None:
    lengths = {"a": 2, "b": 3, "c": 1, "d": 4}
    letters = st.lists(st.sampled_from(sorted(lengths)), min_size=1, max_size=4).map("".join)
    first, second = data.draw(letters), data.draw(letters)
    used = sorted(set(first + second))
    result = "".join(data.draw(st.permutations(used))[: data.draw(st.integers(0, len(used)))])
    a, b = (draw(tuple(lengths[letter] for letter in term), "float64", seed=len(term)) for term in (first, second))
    formula = f"{first},{second}->{result}"
    np.testing.assert_allclose(cr.einsum(formula, a, b), np.einsum(formula, a, b), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("formula", "shapes", "message"),
    [
        ("ij,jk", [(2, 3)], "names 2 operands, but 1 were given"),
        ("i1", [(2, 3)], "may hold letters"),
        ("i->ii", [(2,)], "each once"),
        ("i->k", [(2,)], "must name letters of the operands"),
        ("ij", [(2,)], r"'ij' in 'ij' does not fit the shape \(2,\)"),
        ("i,i", [(2,), (3,)], "'i' in 'i,i' is 2 and 3 long"),
        ("i....", [(2, 3)], "may hold letters"),
        ("...i,...i", [(2, 3), (4, 3)], "do not broadcast"),
    ],
)
def test_a_formula_that_does_not_fit_is_named(formula: str, shapes: list, message: str) -> None:
    with pytest.raises((cr.ArgumentError, cr.ShapeError), match=message):
        cr.einsum(formula, *map(cr.ones, shapes))
