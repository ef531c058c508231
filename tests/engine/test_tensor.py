"""Tensors as Python and other libraries see them: operators, conversions, sharing, and what is refused."""

import array
import copy
import ctypes
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays_of

import chainrule as cr
from chainrule.engine.symbols import _OTHER_NAMES
from chainrule.engine.trace import trace
from engine.functions.samples import DTYPES, FLOATS, INTEGERS, draw, same

ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("apply", [*ARITHMETIC, *COMPARISONS], ids=lambda f: f.__name__)
def test_an_operator_does_what_numpy_does_from_both_sides(apply, dtype: str) -> None:
    a, b = draw((3, 1), dtype), draw((4,), dtype, "positive", seed=1)
    expected = apply(a, b)
    same(apply(cr.asarray(a), cr.asarray(b)), expected)
    same(apply(cr.asarray(a), b), expected)
    same(apply(a, cr.asarray(b)), expected)
    same(apply(cr.asarray(a), 2), apply(a, 2))
    same(apply(2, cr.asarray(b)), apply(2, b))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("apply", [operator.truediv, operator.pow], ids=lambda f: f.__name__)
def test_division_and_power_from_both_sides(apply, dtype: str) -> None:
    x = draw((3, 2), dtype, "positive")
    same(apply(cr.asarray(x), x), apply(x, x), ulp=4)
    same(apply(cr.asarray(x), 2), apply(x, 2), ulp=4)
    same(apply(2.0, cr.asarray(x)), apply(2.0, x), ulp=4)
    same(apply(x, cr.asarray(x)), apply(x, x), ulp=4)


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS])
@pytest.mark.parametrize("apply", [operator.and_, operator.or_, operator.xor], ids=lambda f: f.__name__)
def test_bit_operators_from_both_sides(apply, dtype: str) -> None:
    a, b = draw((5,), dtype), draw((5,), dtype, seed=1)
    same(apply(cr.asarray(a), b), apply(a, b))
    same(apply(a, cr.asarray(b)), apply(a, b))
    same(apply(True, cr.asarray(b)), apply(np.asarray(True, dtype), b))
    same(~cr.asarray(a), ~a)


def test_the_other_operators() -> None:
    x = np.array([[1, -2], [3, 4]])
    t = cr.asarray(x)
    for ours, expected in [(-t, -x), (+t, x), (abs(t), abs(x)), (t << 1, x << 1), (t >> 1, x >> 1), (t @ t, x @ x)]:
        same(ours, expected)
    same(t.T, x.T)
    same(t.mT, x.mT)
    assert t.device == "cpu"
    assert t.to_device("cpu") is t
    assert (t.shape, t.ndim, t.size, len(t)) == ((2, 2), 2, 4, 2)


def test_operators_in_place_make_a_new_tensor() -> None:
    x = y = cr.asarray([1.0, 2.0])
    x += 1
    x *= cr.asarray([2.0, 3.0])
    assert x.tolist() == [4.0, 9.0]
    assert y.tolist() == [1.0, 2.0]


METHODS = {
    "sum": {"axis": 1, "keepdims": True},
    "prod": {"axis": 0},
    "mean": {"axis": 1},
    "var": {"correction": 1},
    "std": {"axis": 0},
    "max": {"axis": 0},
    "min": {},
    "any": {"axis": 0},
    "all": {},
    "argmax": {"axis": 1},
    "argmin": {},
    "squeeze": {},
    "clip": {"min": -1.0, "max": 1.0},
    "exp": {},
    "sqrt": {},
    "tanh": {},
    "abs": {},
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_the_function_of_the_same_name(name: str) -> None:
    x = cr.asarray(draw((3, 4), "float32", "positive"))
    same(getattr(x, name)(**METHODS[name]), getattr(cr, name)(x, **METHODS[name]))


def test_methods_that_change_the_shape() -> None:
    x = np.arange(24).reshape(2, 3, 4)
    t = cr.asarray(x)
    same(t.reshape(4, 6), x.reshape(4, 6))
    same(t.reshape((-1, 2)), x.reshape(-1, 2))
    same(t.flatten(), x.ravel())
    same(t.transpose(), x.transpose())
    same(t.transpose(1, 0, 2), x.transpose(1, 0, 2))
    same(t.astype(float), x.astype(np.float32))


def test_conversions_to_python() -> None:
    assert cr.asarray([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert (float(cr.asarray(1.5)), int(cr.asarray([[7]])), bool(cr.asarray(0))) == (1.5, 7, False)
    assert [10, 20, 30][cr.asarray(1)] == 20
    assert [row.tolist() for row in cr.asarray([[1], [2]])] == [[1], [2]]
    assert f"{cr.asarray(2.0):.3f} {cr.asarray([1, 2])}" == "2.000 Tensor([1, 2], dtype=int64)"
    assert 2 in cr.asarray([1, 2])


def test_a_tensor_can_be_a_key_and_be_copied_and_pickled() -> None:
    x = cr.asarray([1.0, 2.0])
    assert {x: "value"}[x] == "value"
    same(copy.deepcopy(x), x)
    same(pickle.loads(pickle.dumps(x)), x)


def test_long_tensors_print_short() -> None:
    assert len(repr(cr.zeros((1000, 1000)))) < 500
    symbols = []
    trace(lambda x: symbols.append(repr(x)) or x, np.zeros((2, 3), "f"))
    assert symbols == ["Tensor(symbol, shape=(2, 3), dtype=float32)"]


# --- Coming in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (True, "bool"),
        (3, "int64"),
        (2.5, "float32"),
        ([], "float32"),
        ([True, 2], "int64"),
        ([1, 2.5], "float32"),
        ([[1], [2]], "int64"),
        (range(3), "int64"),
        (np.float64(1), "float64"),
        ([np.float64(1), 2], "float64"),
        ([np.zeros(2), np.ones(2)], "float64"),
        (np.zeros(2, np.float16), "float32"),
        (np.zeros(2, np.int8), "int32"),
        (np.zeros(2, np.uint16), "int32"),
        (np.zeros(2, np.uint32), "int64"),
        (np.zeros(2, ">f8"), "float64"),
        (array.array("d", [1, 2]), "float64"),
        (memoryview(bytearray(b"ab")), "int32"),
        ((ctypes.c_float * 2)(1, 2), "float32"),
    ],
)
def test_what_comes_in_gets_the_data_type_it_should(given, dtype: str) -> None:
    found = cr.asarray(given)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, np.asarray(given))


def test_a_list_of_tensors_is_stacked_and_keeps_the_gradient() -> None:
    gradient = cr.grad(lambda x: cr.sum(cr.asarray([[x[0], 1.0], [x[1] * 2.0, x[0]]])))(np.array([3.0, 4.0]))
    assert gradient.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (None, cr.DTypeError, r"None \(NoneType\) is not a real number"),
        ("text", cr.DTypeError, r"'text' \(str\) is not a real number"),
        ([1, None], cr.DTypeError, "None"),
        (1j, cr.DTypeError, "1j"),
        ({1: 2}, cr.DTypeError, "dict"),
        ([[1, 2], [3]], cr.ShapeError, "rows of equal lengths"),
        (np.zeros(2, complex), cr.DTypeError, "an array of complex128 cannot become a tensor"),
        (np.zeros(2, np.uint64), cr.DTypeError, "an array of uint64"),
        (np.array(["a"]), cr.DTypeError, "an array of"),
        (2**63, cr.ArgumentError, "9223372036854775808 does not fit into int64"),
        ([1, -(2**64)], cr.ArgumentError, "does not fit into int64"),
    ],
)
def test_what_cannot_come_in_is_named(given, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        cr.asarray(given)


def test_integers_out_of_range_are_refused_and_floats_become_infinite() -> None:
    with pytest.raises(cr.ArgumentError, match="1099511627776 does not fit into int32"):
        cr.asarray([1, 2**40], dtype=cr.int32)
    with pytest.raises(cr.ArgumentError, match="1099511627776 does not fit into int32"):
        cr.asarray([1], dtype=cr.int32) + 2**40
    assert (cr.asarray([1.0]) * 1e300).tolist() == [np.inf]
    assert cr.asarray(1e300).item() == np.inf


# --- Sharing -----------------------------------------------------------------------------------------------------


def test_a_buffer_that_somebody_can_write_to_is_copied() -> None:
    source = np.ones(3)
    look_alike = np.broadcast_to(source, (2, 3))  # cannot be written to itself, but its source can
    tensors = [cr.asarray(source), cr.asarray(source[::2]), cr.asarray(look_alike), cr.from_dlpack(source)]
    source[:] = 5
    assert all(cr.all(tensor == 1) for tensor in tensors)


def test_a_buffer_that_nobody_can_write_to_is_shared(tmp_path) -> None:
    frozen = np.ones(3)
    frozen.flags.writeable = False
    assert np.shares_memory(cr.asarray(frozen), frozen)
    assert np.shares_memory(cr.asarray(frozen[::2]), frozen)
    assert not np.shares_memory(cr.asarray(frozen, copy=True), frozen)
    np.save(tmp_path / "numbers.npy", frozen)
    mapped = np.load(tmp_path / "numbers.npy", mmap_mode="r")
    assert np.shares_memory(cr.asarray(mapped), mapped)
    assert np.shares_memory(cr.asarray(np.frombuffer(bytes(16))), cr.asarray(np.frombuffer(bytes(16)))) is False


def test_sharing_can_be_insisted_on() -> None:
    source = np.ones(3)
    tensor = cr.asarray(source, copy=False)
    source[0] = 7
    assert tensor.tolist() == [7.0, 1.0, 1.0]
    assert source.flags.writeable
    for other, dtype in [([1.0], None), (source, cr.float32), (np.zeros(2, np.int8), None)]:
        with pytest.raises(cr.ArgumentError, match="without a copy"):
            cr.asarray(other, dtype=dtype, copy=False)


def test_what_goes_out_cannot_be_written_to_unless_copied() -> None:
    x = cr.asarray([1.0, 2.0])
    assert np.shares_memory(np.asarray(x), np.asarray(x))
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(x)[0] = 3
    mine = np.array(x)
    mine[0] = 3
    assert x.tolist() == [1.0, 2.0]
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(x, dtype=np.float64, copy=False)


def test_a_copy_of_a_parameter_keeps_the_value_that_it_has_now() -> None:
    w = cr.Parameter([1.0])
    still, alias = cr.asarray(w, copy=True), cr.asarray(w)
    w.assign([2.0])
    assert (still.item(), alias.item()) == (1.0, 2.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_to_and_from_numpy(dtype: str) -> None:
    for x in (np.asarray(draw((), dtype)), draw((0, 2), dtype), draw((4, 3), dtype).T[::2]):
        tensor = cr.asarray(x)
        same(np.from_dlpack(tensor), x)
        shared = np.from_dlpack(tensor, copy=False)
        same(shared, x)
        assert not shared.flags.writeable
        same(cr.from_dlpack(x), x)
        same(cr.from_dlpack(tensor), x)
    assert np.shares_memory(shared, np.asarray(tensor))
    with pytest.raises(cr.ArgumentError, match=r"only to a consumer of DLPack 1\.0"):
        tensor.__dlpack__(copy=False)
    assert tensor.__dlpack_device__() == (1, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_to_and_from_pytorch(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    tensor = cr.asarray(draw((2, 3), dtype))
    there = torch.from_dlpack(tensor)
    back = cr.from_dlpack(there)
    same(back, tensor)
    there.zero_()  # whoever takes a tensor over may write to it, so it must not be ours any more
    assert cr.any(tensor != 0)
    same(back, tensor)
    shared = cr.from_dlpack(there, copy=False)
    there.fill_(1)
    assert cr.all(shared == 1)
    same(cr.asarray(there), np.ones((2, 3), dtype))


def test_dlpack_to_and_from_jax() -> None:
    jax = pytest.importorskip("jax")
    tensor = cr.asarray(draw((2, 3), "float32"))
    same(jax.numpy.from_dlpack(tensor), tensor)
    same(cr.from_dlpack(jax.numpy.asarray(tensor)), tensor)


def test_what_speaks_no_dlpack_is_named() -> None:
    with pytest.raises(cr.ArgumentError, match="a list cannot be taken over"):
        cr.from_dlpack([1.0])
    with pytest.raises(cr.ArgumentError, match="a Tensor cannot be read as an array: Can't call numpy"):
        cr.asarray(pytest.importorskip("torch").ones(2, requires_grad=True))


# --- What is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda x: bool(x), r"shape \(2, 3\) is neither true nor false; use cr.any\(\) or cr.all\(\)"),
        (lambda x: float(x), "exactly one element"),
        (lambda x: x.item(), "exactly one element"),
        (lambda x: x[0].T, r"T is for matrices, but the shape is \(3,\)"),
        (lambda x: x[0].mT, "at least two axes"),
        (lambda x: len(x[0, 0]), "a scalar tensor has no length"),
        (lambda x: operator.setitem(x, 0, 1), "never changes. Make a new one: cr.where"),
        (lambda x: x + cr.ones(2), r"add: shapes \(2, 3\) and \(2,\) do not broadcast: axis -1 has lengths 3 and 2"),
        (lambda x: x.to_device("cuda"), "device 'cuda' is not known"),
        (lambda x: x == None, "None"),  # noqa: E711
        (lambda x: x + "a", "'a'"),
        (lambda x: range(3)[x[0, 0]], "only a scalar integer tensor is an index; this is float32"),
    ],
)
def test_a_use_that_makes_no_sense_says_what_to_do(use, message: str) -> None:
    with pytest.raises(cr.ChainruleError, match=message):
        use(cr.ones((2, 3)))


def test_states_keep_shape_and_data_type() -> None:
    state = cr.State([1.0, 2.0], name="0.mean")
    state.assign([3, 4])
    assert repr(state) == 'State("0.mean", [3., 4.], dtype=float32)'
    with pytest.raises(cr.ShapeError, match=r'State "0.mean" has the shape \(2,\) and cannot take a value of \(3,\)'):
        state.assign(cr.ones(3))
    with pytest.raises(cr.DTypeError, match="is float32 and cannot take int64; use astype"):
        state.assign(cr.asarray([1, 2]))
    with pytest.raises(cr.DTypeError, match="a Parameter must be float32 or float64, but its value is int64"):
        cr.Parameter([1, 2])


@given(arrays_of.arrays(np.float32, arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)))
def test_any_array_comes_back_as_it_went_in(x: np.ndarray) -> None:
    same(cr.asarray(x), x)
    same(np.from_dlpack(cr.asarray(x)), x)
    same(cr.asarray(cr.asarray(x).tolist(), dtype=cr.float32).reshape(x.shape), x)


# --- Functions and operators of NumPy, given tensors ---

OPERATORS = "add sub mul truediv floordiv mod pow lt le gt ge eq ne matmul"


@pytest.mark.parametrize("name", OPERATORS.split())
@pytest.mark.parametrize("traced", [False, True])
def test_an_array_left_of_a_tensor_gives_a_tensor_with_the_numbers_of_numpy(name: str, traced: bool) -> None:
    own, numbers = getattr(operator, name), np.array([1, 2, 3], "f")
    lefts = [numbers + 1, numbers.astype("d"), np.array([2, 0, 1], "i")]
    lefts += [] if name == "matmul" else [np.float64(2), np.int32(2), np.array(2.0)]
    for left in lefts:
        f = cr.compile(lambda x, left=left: own(left, x)) if traced else lambda x, left=left: own(left, x)
        found = f(cr.asarray(numbers))
        assert isinstance(found, cr.Tensor)
        np.testing.assert_allclose(np.asarray(found), own(left, numbers), rtol=1e-6)


def test_a_gradient_flows_through_an_operator_that_numpy_was_asked_for() -> None:
    x = cr.Parameter([1.0, 2.0])
    assert cr.backpropagate(cr.sum(np.array([3.0, 4.0], "f") * x))[x].tolist() == [3.0, 4.0]


def test_functions_of_numpy_read_a_tensor_that_has_numbers_as_an_array() -> None:
    x = cr.asarray([3.0, 1.0, 2.0])
    for function in (np.asarray, np.sort, np.argmax, np.linalg.norm, np.unique, np.zeros_like, np.round, np.trapezoid):
        found = function(x)
        assert not isinstance(found, cr.Tensor)
        same(np.asarray(found), np.asarray(function(np.asarray(x))))
    same(np.stack([x, x]), np.stack([np.asarray(x)] * 2))
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((3,), 1, 3)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: np.log(x), r"np.log at test_tensor.py:\d+ takes arrays, not tensors. Write cr.log, or take np.as"),
        (lambda x: np.mean(x), r"np.mean at test_tensor.py:\d+ takes arrays, not tensors. Write cr.mean"),
        (lambda x: divmod(np.ones(3), x), r"np.divmod at test_tensor.py:\d+ .*functions of chainrule"),
        (lambda x: operator.iadd(np.ones(3, "f"), x), r"np.add at test_tensor.py:\d+ .*write a = a \+ b"),
    ],
)
def test_a_function_of_numpy_that_would_lose_the_gradient_says_what_to_write(f, message: str) -> None:
    with pytest.raises(cr.DTypeError, match=message):
        f(cr.asarray([1.0, 2.0, 3.0]))


def test_what_numpy_calls_otherwise_is_there_under_the_name_that_the_message_says() -> None:
    missing = [own for own in _OTHER_NAMES.values() if not hasattr(cr, own)]
    assert not missing
