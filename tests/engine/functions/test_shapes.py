"""Functions that move elements, read by position and make arrays, against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import chainrule as cr
from engine.functions.samples import DTYPES, NUMBERS, arrays, draw, same

MOVES = {
    "reshape": (lambda m, x: m.reshape(x, (-1,)), 0),
    "reshape to a row": (lambda m, x: m.reshape(x, (1, x.size)), 0),
    "permute_dims": (lambda m, x: m.permute_dims(x, tuple(range(x.ndim))[::-1]), 0),
    "matrix_transpose": (lambda m, x: m.matrix_transpose(x), 2),
    "moveaxis": (lambda m, x: m.moveaxis(x, 0, -1), 1),
    "moveaxis twice": (lambda m, x: m.moveaxis(x, (0, -1), (-1, 0)), 2),
    "expand_dims": (lambda m, x: m.expand_dims(x, axis=-1), 0),
    "flip": (lambda m, x: m.flip(x), 0),
    "flip one": (lambda m, x: m.flip(x, axis=-1), 1),
    "roll": (lambda m, x: m.roll(x, 2), 0),
    "roll back": (lambda m, x: m.roll(x, -7, axis=0), 1),
    "roll two": (lambda m, x: m.roll(x, (1, -2), axis=(0, -1)), 2),
    "repeat": (lambda m, x: m.repeat(x, 3, axis=-1), 1),
    "repeat flat": (lambda m, x: m.repeat(x, 2), 0),
    "repeat none": (lambda m, x: m.repeat(x, 0, axis=0), 1),
    "repeat by counts": (lambda m, x: m.repeat(x, np.arange(x.shape[0]), axis=0), 1),
    "tile": (lambda m, x: m.tile(x, (2, 1, 3)), 0),
    "tile few": (lambda m, x: m.tile(x, (2,)), 0),
    "broadcast_to": (lambda m, x: m.broadcast_to(x, (2, 5, *x.shape)), 0),
    "concat": (lambda m, x: m.concat([x, x, x], axis=-1), 1),
    "concat flat": (lambda m, x: m.concat([x, x], axis=None), 0),
    "stack": (lambda m, x: m.stack([x, x], axis=-1), 0),
    "tril": (lambda m, x: m.tril(x, k=1), 2),
    "triu": (lambda m, x: m.triu(x, k=-1), 2),
    "squeeze": (lambda m, x: m.squeeze(m.expand_dims(x, axis=0), axis=0), 0),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MOVES)
def test_a_function_that_moves_elements_agrees_with_numpy(name: str, dtype: str) -> None:
    move, least_axes = MOVES[name]
    for x in arrays(dtype, least_axes=least_axes):
        same(move(cr, cr.asarray(x)), move(np, x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_unstack_and_split_cut_what_stack_and_concat_join(dtype: str) -> None:
    for x in arrays(dtype, least_axes=1):
        for axis in range(x.ndim):
            parts = cr.unstack(x, axis=axis)
            assert len(parts) == x.shape[axis]
            if parts:
                same(cr.stack(parts, axis=axis), x)
            for ours, theirs in zip(cr.split(x, [1, 3], axis=axis), np.split(x, [1, 3], axis=axis), strict=True):
                same(ours, theirs)
    same(cr.split(x, 3)[1], np.split(x, 3)[1])
    with pytest.raises(cr.ShapeError, match="do not make 4 equal parts"):
        cr.split(x, 4)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_pad_puts_a_value_around(dtype: str) -> None:
    for x in arrays(dtype):
        widths = [(axis, 2 - axis % 2) for axis in range(x.ndim)]
        wanted = np.pad(x, widths, constant_values=7) if x.ndim else x
        same(cr.pad(x, widths, value=7), wanted)
    same(cr.pad(x, 1), np.pad(x, 1))


@pytest.mark.parametrize("indexing", ["xy", "ij"])
def test_meshgrid_agrees_with_numpy(indexing: str) -> None:
    for vectors in ([np.arange(3)], [np.arange(3), np.arange(2.0)], [np.arange(2), np.zeros(0), np.arange(4)]):
        for ours, theirs in zip(
            cr.meshgrid(*vectors, indexing=indexing), np.meshgrid(*vectors, indexing=indexing), strict=True
        ):
            same(ours, theirs)


def test_joining_promotes_and_names_shapes_that_do_not_fit() -> None:
    assert cr.concat([cr.asarray([1]), cr.asarray([1.0])]).dtype == cr.float32
    assert cr.stack([cr.asarray([1.0]), np.array([1.0])]).dtype == cr.float64
    with pytest.raises(cr.ShapeError, match=r"concat: shapes \(2, 3\) and \(2, 4\) differ in another axis than 0"):
        cr.concat([cr.ones((2, 3)), cr.ones((2, 4))])
    with pytest.raises(cr.ShapeError, match=r"stack: shapes \(2,\) and \(3,\) must be equal"):
        cr.stack([cr.ones(2), cr.ones(3)])


# --- Reading by position -----------------------------------------------------------------------------------------

X = np.arange(120).reshape(4, 5, 6)
KEYS = {
    "integer": 2,
    "negative": -1,
    "integers": (1, -2, 3),
    "slice": np.s_[1:3],
    "steps": np.s_[::2, 1::3],
    "backwards": np.s_[::-1, 4:0:-2],
    "beyond": np.s_[2:99, -99:2],
    "empty": np.s_[3:1],
    "ellipsis": np.s_[..., 0],
    "ellipsis between": np.s_[1, ..., 2:],
    "new axis": np.s_[:, None, 1, None],
    "nothing": (),
    "list": ([0, 2, 2],),
    "array": np.array([[0, 3], [-1, 1]]),
    "array in the middle": np.s_[:, [0, 4], 1:],
    "two arrays": ([0, 1], [2, 3]),
    "two arrays broadcast": (np.array([[0], [3]]), np.array([1, 2, 4])),
    "arrays apart": np.s_[[0, 1], :, [2, 3]],
    "integer and array apart": np.s_[0, :, [2, 3]],
    "integer beside array": np.s_[:, 1, [2, 3]],
    "array and new axis": np.s_[[0, 1], None, [2, 3]],
    "empty array": np.s_[:, np.zeros(0, int)],
    "mask of all": X % 7 == 0,
    "mask of the first": np.array([True, False, True, False]),
    "mask of a later": np.s_[:, np.array([True, False, True, False, True])],
    "mask of two": X[..., 0] % 2 == 0,
    "mask and slice": np.s_[np.array([True, False, True, True]), ::2],
    "mask of none": np.zeros((4, 5), bool),
    "truth": True,
    "falsehood": False,
}


@pytest.mark.parametrize("name", KEYS)
def test_an_index_reads_what_numpy_reads(name: str) -> None:
    same(cr.asarray(X)[KEYS[name]], X[KEYS[name]])


def test_tensors_are_indices_too() -> None:
    x = cr.asarray(X)
    same(x[cr.asarray([0, 2])], X[[0, 2]])
    same(x[x > 50], X[X > 50])
    same(x[cr.asarray(1)], X[1])
    same(cr.asarray(5)[cr.asarray(True)], np.array(5)[np.array(True)])


@given(arrays_of.basic_indices((3, 4, 2), allow_newaxis=True))
def test_any_basic_index_reads_what_numpy_reads(key) -> None:
    x = np.arange(24).reshape(3, 4, 2)
    same(cr.asarray(x)[key], x[key])


@given(arrays_of.integer_array_indices((3, 4, 2)))
def test_any_integer_arrays_read_what_numpy_reads(key) -> None:
    x = np.arange(24).reshape(3, 4, 2)
    same(cr.asarray(x)[key], x[key])


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (9, cr.ShapeError, "index 9 is out of range for axis 0 of length 4"),
        ((0, 0, 0, 0), cr.ShapeError, "4 indices for a tensor of 3 axes"),
        ((..., ...), cr.ArgumentError, "only once"),
        ([0, 7], cr.ShapeError, r"index for axis 0: 7 at \(1,\) is out of range for length 4"),
        (np.array([True, False]), cr.ShapeError, r"a mask of shape \(2,\) does not fit the shape \(4, 5, 6\)"),
        (1.5, cr.DTypeError, "1.5 is not an index"),
        ("a", cr.DTypeError, "'a' is not an index"),
        (cr.asarray([0.5]), cr.DTypeError, "must be integer or bool, but is float32"),
        (np.s_[::0], cr.ArgumentError, "a step other than 0"),
        (np.s_["a":], cr.ArgumentError, "not a slice of whole numbers"),
        ((0, True), cr.ArgumentError, "must stand alone"),
    ],
)
def test_a_wrong_index_is_named(key, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        cr.asarray(X)[key]


@pytest.mark.parametrize("dtype", DTYPES)
def test_take_and_take_along_axis_agree_with_numpy(dtype: str) -> None:
    x = draw((3, 4, 5), dtype)
    for axis in range(3):
        same(cr.take(x, [2, 0, -1], axis=axis), np.take(x, [2, 0, -1], axis=axis))
        same(cr.take(x, np.array([[0, 1], [2, 2]]), axis=axis), np.take(x, [[0, 1], [2, 2]], axis=axis))
        indices = np.argsort(draw((3, 4, 5), "float32", seed=2), axis=axis)
        same(cr.take_along_axis(x, indices, axis=axis), np.take_along_axis(x, indices, axis=axis))
    same(
        cr.take_along_axis(x, np.array([[[0]], [[1]], [[-1]]]), axis=1),
        np.take_along_axis(x, np.array([[[0]], [[1]], [[-1]]]), 1),
    )
    same(
        cr.take_along_axis(x[:1], np.zeros((3, 2, 5), int), axis=1),
        np.take_along_axis(x[:1], np.zeros((3, 2, 5), int), 1),
    )


@pytest.mark.parametrize("dtype", NUMBERS)
def test_scatter_add_adds_up_equal_indices(dtype: str) -> None:
    x, updates = draw((4, 3), dtype), draw((5, 3), dtype, seed=1)
    indices = np.array([0, 2, 0, 3, -1])
    wanted = x.copy()
    np.add.at(wanted, indices, updates)
    same(cr.scatter_add(x, indices, updates), wanted, ulp=4)
    with pytest.raises(cr.ShapeError, match=r"updates have the shape \(2, 3\), but \(5, 3\) is needed"):
        cr.scatter_add(x, indices, updates[:2])


def test_one_hot_and_nonzero_agree_with_numpy() -> None:
    labels = np.array([[0, 2], [1, 0]])
    same(cr.one_hot(labels, 3), np.eye(3, dtype=np.float32)[labels])
    for ours, theirs in zip(cr.nonzero(X % 5 == 0), np.nonzero(X % 5 == 0), strict=True):
        same(ours, theirs)
    with pytest.raises(cr.ShapeError, match="out of range for length 2"):
        cr.one_hot(labels, 2)


# --- Making arrays -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), 3, (0,), (2, 3)])
def test_full_arrays_agree_with_numpy(shape, dtype: str) -> None:
    for name in ("zeros", "ones", "empty"):
        ours = getattr(cr, name)(shape, dtype=dtype)
        assert (ours.shape, ours.dtype) == (np.zeros(shape).shape, np.dtype(dtype))
        assert getattr(cr, f"{name}_like")(ours).dtype == ours.dtype
    same(cr.full(shape, 1, dtype=dtype), np.full(shape, 1, dtype=dtype))
    same(cr.full_like(cr.zeros(shape), 1, dtype=dtype), np.full(shape, 1, dtype=dtype))
    same(cr.ones(shape, dtype=dtype), np.ones(shape, dtype=dtype))


def test_the_data_type_of_what_is_made_follows_the_values() -> None:
    assert [cr.full(2, value).dtype.name for value in (True, 1, 1.0)] == ["bool", "int64", "float32"]
    assert [cr.arange(3).dtype.name, cr.arange(3.0).dtype.name, cr.zeros(1).dtype.name] == [
        "int64",
        "float32",
        "float32",
    ]
    assert cr.linspace(0, 1, 3).dtype == cr.eye(2).dtype == cr.float32


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(-4, 4).filter(bool))
def test_arange_agrees_with_numpy(start: int, stop: int, step: int) -> None:
    same(cr.arange(start, stop, step), np.arange(start, stop, step, dtype=np.int64))
    same(cr.arange(start, stop, step / 2, dtype=cr.float64), np.arange(start, stop, step / 2))


def test_linspace_and_eye_agree_with_numpy() -> None:
    for endpoint in (True, False):
        same(cr.linspace(-1, 2, 7, endpoint=endpoint, dtype="float64"), np.linspace(-1, 2, 7, endpoint=endpoint))
    for k in (-3, -1, 0, 2):
        same(cr.eye(3, 4, k=k), np.eye(3, 4, k=k, dtype=np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cr.zeros((2, -1)), "whole numbers from 0"),
        (lambda: cr.zeros(2.5), "whole numbers from 0"),
        (lambda: cr.zeros((True, 2)), "whole numbers from 0"),
        (lambda: cr.arange(0, 3, 0), "step must not be 0"),
        (lambda: cr.linspace(0, 1, -1), "whole numbers from 0"),
        (lambda: cr.eye(-1), "whole numbers from 0"),
        (lambda: cr.zeros(2, device="gpu"), "device 'gpu' is not known"),
        (lambda: cr.meshgrid([1], indexing="ji"), '"xy" or "ij"'),
        (lambda: cr.meshgrid([[1]]), "needs vectors"),
        (lambda: cr.reshape([1, 2, 3], (2, -1)), "3 elements of .* do not fit"),
        (lambda: cr.reshape([1, 2], (3,)), "cannot take the shape"),
        (lambda: cr.reshape([1, 2], (-1, -1)), "one -1"),
        (lambda: cr.repeat([1, 2], -1), "whole numbers from 0"),
        (lambda: cr.repeat([1, 2], [1, 2, 3]), "3 numbers of repeats for 2 elements"),
        (lambda: cr.tile([1], (-1,)), "must not be negative"),
        (lambda: cr.pad([1], [(-1, 0)]), "use a slice to cut"),
        (lambda: cr.squeeze(cr.ones((2, 1)), axis=0), "is not of length 1"),
        (lambda: cr.broadcast_to([1, 2], (3,)), "axis -1 has lengths 2 and 3"),
        (lambda: cr.permute_dims(cr.ones((2, 3)), (0, 0)), "name each of the 2 axes once"),
        (lambda: cr.sum([1.0], axis=1), "axis 1 does not exist in a tensor of 1 axes"),
        (lambda: cr.sum([1.0], axis=0.5), "axis must be an integer, but is 0.5"),
        (lambda: cr.sum(cr.ones((2, 2)), axis=(0, 0)), "named twice"),
    ],
)
def test_a_wrong_argument_is_named(make, message: str) -> None:
    with pytest.raises((cr.ArgumentError, cr.ShapeError), match=message):
        make()
