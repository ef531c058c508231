"""Tensors: handles on nodes, with the operators that Python and NumPy users expect.

`apply` is the one way in which a node comes to be: it infers shape and data type, computes the value on the reference
executor unless an input is symbolic, and keeps the inputs only where a gradient may flow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from chainrule.engine.context import gradient_of, recording
from chainrule.engine.dtypes import DType, bool_, float32, is_floating, of_scalar, promote, supported
from chainrule.engine.graph import RULES, Forgotten, Node, Shape
from chainrule.engine.interchange import array_of, types_within
from chainrule.engine.op import Op
from chainrule.engine.provenance import here
from chainrule.engine.reference import evaluate
from chainrule.engine.symbols import call_numpy, numbers_of, operator_for
from chainrule.errors import ArgumentError, DTypeError, ShapeError

Array = np.ndarray[Any, Any]
Scalar = bool | int | float
Axis = int | tuple[int, ...] | None
_FITS = 3e38  # numbers below fit into any floating type
METHODS: dict[str, Callable[..., Any]] = {}  # filled by `functions`, so that imports go one way


class Tensor:
    """An array that remembers how it was made. Its value never changes.

    Attributes are those of the Python array API standard (2024.12): `shape`, `dtype`, `ndim`, `size`, `T`, `mT`,
    `device`. Functions of the standard are at `chainrule.<name>`, the common ones methods too.

    Examples
    --------
    >>> import chainrule as cr
    >>> x = cr.asarray([[1.0, 2.0], [3.0, 4.0]])
    >>> (x @ x.T).tolist()
    [[5.0, 11.0], [11.0, 25.0]]
    """

    __slots__ = ("__weakref__", "_node")
    __hash__ = object.__hash__

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def node(self) -> Node:
        """The node that makes this tensor."""
        return self._node

    @property
    def shape(self) -> Shape:
        """The length of every axis."""
        return self._node.shape

    @property
    def dtype(self) -> DType:
        """The data type: one of bool, int32, int64, float32, float64."""
        return self._node.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._node.size

    @property
    def device(self) -> str:
        """Always "cpu"."""
        return "cpu"

    def to_device(self, device: str, /, *, stream: None = None) -> Tensor:
        """This tensor itself: there is one device, "cpu"."""
        if device != "cpu" or stream is not None:
            raise ArgumentError(f"device {device!r} is not known; tensors live on 'cpu'.")
        return self

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix."""
        if self.ndim != 2:
            raise ShapeError(f"T is for matrices, but the shape is {self.shape}. Use mT or permute_dims.")
        return apply(Op.TRANSPOSE, self, axes=(1, 0))

    @property
    def mT(self) -> Tensor:
        """The last two axes swapped."""
        return self._call("matrix_transpose")

    @property
    def value(self) -> Array:
        """The value as a read-only NumPy array (no copy)."""
        instead = "Use cr.where instead of a Python branch, and keep NumPy, float() and print() outside"
        value: Array = numbers_of(self.node, "a number is needed", instead)
        return value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if dtype is not None and np.dtype(dtype) != self.dtype:
            if copy is False:
                raise ArgumentError(f"a {self.dtype.name} tensor cannot become {np.dtype(dtype).name} without a copy.")
            return self.value.astype(dtype)
        return self.value.copy() if copy else self.value

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Tensor:
        """NumPy calls this for `array * tensor`: the operator is ours, so the gradient is kept."""
        name = operator_for(ufunc, method, inputs, settings, self.__array_namespace__())
        result: Tensor = getattr(asarray(inputs[0]), name)(inputs[1])
        return result

    def __array_function__(self, function: Any, types: Any, arguments: Any, settings: Any) -> Any:
        """NumPy calls this for its other functions: they see an array where there are numbers."""
        return call_numpy(function, arguments, settings, self.__array_namespace__())

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return METHODS["__array_namespace__"](api_version)

    def __dlpack__(self, *, max_version: tuple[int, int] | None = None, copy: bool | None = None, **rest: Any) -> Any:
        if copy is not False:  # not every consumer heeds that a tensor is read-only: PyTorch 2.13 writes to it
            return self.value.copy().__dlpack__(max_version=max_version, **rest)
        if max_version is None or max_version < (1, 0):
            raise ArgumentError("a tensor is read-only: without a copy it can go only to a consumer of DLPack 1.0.")
        return self.value.__dlpack__(max_version=max_version, copy=False, **rest)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.value.__dlpack_device__()

    def item(self) -> Scalar:
        """The value of a tensor with one element as a Python number."""
        if self.size != 1:
            raise ShapeError(f"item() needs exactly one element, but the shape is {self.shape}.")
        result: Scalar = self.value.item()
        return result

    def tolist(self) -> Any:
        """The value as nested Python lists."""
        return self.value.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(f"a tensor of shape {self.shape} is neither true nor false; use cr.any() or cr.all().")
        return bool(self.item())

    def __index__(self) -> int:
        if self.dtype.kind != "i" or self.ndim:
            raise DTypeError(f"only a scalar integer tensor is an index; this is {self.dtype.name} {self.shape}.")
        return int(self.item())

    def __len__(self) -> int:
        if not self.ndim:
            raise ShapeError("a scalar tensor has no length.")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, key: Any) -> Tensor:
        return self._call("__getitem__", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise ArgumentError(
            "the value of a tensor never changes. Make a new one: cr.where(mask, new, old), cr.scatter_add, cr.concat; "
            "or fill a NumPy array and take cr.asarray of it."
        )

    def __repr__(self) -> str:
        if self.node.value is None:
            return f"Tensor(symbol, shape={self.shape}, dtype={self.dtype.name})"
        body = np.array2string(self.value, separator=", ", prefix="Tensor(", threshold=200, precision=6)
        return f"Tensor({body}, dtype={self.dtype.name})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    # Operators. `_binary` converts the other side, and promotes both.
    def __add__(self, other: Any) -> Tensor:
        return _binary(Op.ADD, self, other)

    def __sub__(self, other: Any) -> Tensor:
        return _binary(Op.SUB, self, other)

    def __mul__(self, other: Any) -> Tensor:
        return _binary(Op.MUL, self, other)

    def __truediv__(self, other: Any) -> Tensor:
        return _binary(Op.DIV, self, other)

    def __floordiv__(self, other: Any) -> Tensor:
        return _binary(Op.FLOOR_DIVIDE, self, other)

    def __mod__(self, other: Any) -> Tensor:
        return _binary(Op.REMAINDER, self, other)

    def __pow__(self, other: Any) -> Tensor:
        if isinstance(other, int | float) and other == 2 and self.dtype != bool_:
            return apply(Op.MUL, self, self)  # as exact, faster, and its derivative is shorter
        return _binary(Op.POW, self, other)

    def __and__(self, other: Any) -> Tensor:
        return _binary(Op.AND, self, other)

    def __or__(self, other: Any) -> Tensor:
        return _binary(Op.OR, self, other)

    def __xor__(self, other: Any) -> Tensor:
        return _binary(Op.XOR, self, other)

    def __lshift__(self, other: Any) -> Tensor:
        return _binary(Op.SHIFT_LEFT, self, other)

    def __rshift__(self, other: Any) -> Tensor:
        return _binary(Op.SHIFT_RIGHT, self, other)

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]  # elementwise, as the standard says
        return _binary(Op.EQUAL, self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]  # elementwise, as the standard says
        return _binary(Op.NOT_EQUAL, self, other)

    def __lt__(self, other: Any) -> Tensor:
        return _binary(Op.LESS, self, other)

    def __le__(self, other: Any) -> Tensor:
        return _binary(Op.LESS_EQUAL, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _binary(Op.LESS, other, self)

    def __ge__(self, other: Any) -> Tensor:
        return _binary(Op.LESS_EQUAL, other, self)

    def __radd__(self, other: Any) -> Tensor:
        return _binary(Op.ADD, other, self)

    def __rsub__(self, other: Any) -> Tensor:
        return _binary(Op.SUB, other, self)

    def __rmul__(self, other: Any) -> Tensor:
        return _binary(Op.MUL, other, self)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _binary(Op.DIV, other, self)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return _binary(Op.FLOOR_DIVIDE, other, self)

    def __rmod__(self, other: Any) -> Tensor:
        return _binary(Op.REMAINDER, other, self)

    def __rpow__(self, other: Any) -> Tensor:
        return _binary(Op.POW, other, self)

    def __rand__(self, other: Any) -> Tensor:
        return _binary(Op.AND, other, self)

    def __ror__(self, other: Any) -> Tensor:
        return _binary(Op.OR, other, self)

    def __rxor__(self, other: Any) -> Tensor:
        return _binary(Op.XOR, other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return self._call("matmul", other)

    def __rmatmul__(self, other: Any) -> Tensor:
        result: Tensor = METHODS["matmul"](other, self)
        return result

    def __neg__(self) -> Tensor:
        return apply(Op.NEG, self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return self._call("abs")

    def __invert__(self) -> Tensor:
        return apply(Op.NOT, self)

    # Methods for NumPy habits; each is the function of the same name.
    def _call(self, name: str, *arguments: Any, **keywords: Any) -> Tensor:
        result: Tensor = METHODS[name](self, *arguments, **keywords)
        return result

    def sum(self, axis: Axis = None, *, keepdims: bool = False, dtype: Any = None) -> Tensor:
        """The sum over `axis` (default: over all)."""
        return self._call("sum", axis=axis, keepdims=keepdims, dtype=dtype)

    def prod(self, axis: Axis = None, *, keepdims: bool = False, dtype: Any = None) -> Tensor:
        """The product over `axis` (default: over all)."""
        return self._call("prod", axis=axis, keepdims=keepdims, dtype=dtype)

    def mean(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """The mean over `axis` (default: over all)."""
        return self._call("mean", axis=axis, keepdims=keepdims)

    def var(self, axis: Axis = None, *, correction: float = 0, keepdims: bool = False) -> Tensor:
        """The variance over `axis`."""
        return self._call("var", axis=axis, correction=correction, keepdims=keepdims)

    def std(self, axis: Axis = None, *, correction: float = 0, keepdims: bool = False) -> Tensor:
        """The standard deviation over `axis`."""
        return self._call("std", axis=axis, correction=correction, keepdims=keepdims)

    def max(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """The largest over `axis` (default: over all)."""
        return self._call("max", axis=axis, keepdims=keepdims)

    def min(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """The smallest over `axis` (default: over all)."""
        return self._call("min", axis=axis, keepdims=keepdims)

    def any(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """Whether any element over `axis` is true."""
        return self._call("any", axis=axis, keepdims=keepdims)

    def all(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """Whether all elements over `axis` are true."""
        return self._call("all", axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
        """The index of the first largest along `axis` (default: of all, flattened)."""
        return self._call("argmax", axis=axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
        """The index of the first smallest along `axis` (default: of all, flattened)."""
        return self._call("argmin", axis=axis, keepdims=keepdims)

    def squeeze(self, axis: Axis = None) -> Tensor:
        """Without the axes of length 1 (default: all of them)."""
        return self._call("squeeze", axis=axis)

    def astype(self, dtype: Any) -> Tensor:
        """In another data type."""
        return self._call("astype", dtype)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """Kept between `min` and `max`."""
        return self._call("clip", min, max)

    def exp(self) -> Tensor:
        """e to the power of each element."""
        return self._call("exp")

    def log(self) -> Tensor:
        """The natural logarithm of each element."""
        return self._call("log")

    def sqrt(self) -> Tensor:
        """The square root of each element."""
        return self._call("sqrt")

    def tanh(self) -> Tensor:
        """The hyperbolic tangent of each element."""
        return self._call("tanh")

    def abs(self) -> Tensor:
        """The absolute value of each element."""
        return self._call("abs")

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one length may be -1."""
        return self._call("reshape", shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)

    def flatten(self) -> Tensor:
        """All elements along one axis."""
        return self._call("reshape", (-1,))

    def transpose(self, *axes: int) -> Tensor:
        """The axes in another order (default: reversed)."""
        return self._call("permute_dims", axes or tuple(reversed(range(self.ndim))))


# --- Making tensors ----------------------------------------------------------------------------------------------


def asarray(obj: Any, dtype: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor of `obj`: a number, nested lists (also of tensors), an array, or anything that offers its buffer.

    Parameters
    ----------
    obj
        Python floats become float32 and integers int64; an array keeps its own data type where that is supported.
    dtype
        The data type wanted, if another.
    copy
        `None` copies unless nobody can write to the source (then its buffer is shared); `True` always; `False` never:
        then changing the source changes the tensor.

    Raises
    ------
    DTypeError, ShapeError
        If `obj` holds something other than numbers, or rows of different lengths.
    ArgumentError
        If an integer is too large, or `obj` cannot be shared although `copy=False`.

    Examples
    --------
    >>> asarray([1, 2]).dtype, asarray([1.0, 2.0]).dtype, asarray(np.zeros(3)).dtype
    (dtype('int64'), dtype('float32'), dtype('float64'))
    """
    if isinstance(obj, Tensor):
        held = Tensor(obj.node) if copy else obj  # a copy of a state keeps the value that it has now
        return held if dtype is None else cast(held, supported(dtype))
    if any(issubclass(kind, Tensor) for kind in types_within(obj)):
        stacked: Tensor = METHODS["stack"]([asarray(part) for part in obj])
        return stacked if dtype is None else cast(stacked, supported(dtype))
    value = array_of(obj, dtype, copy)
    return Tensor(leaf(value, tracked=recording.get() and is_floating(value.dtype)))


def leaf(value: Array, *, tracked: bool, owner: object | None = None) -> Node:
    """An input node that holds `value`."""
    value = value.view()
    value.flags.writeable = False
    return Node(Op.INPUT, (), {}, value.shape, supported(value.dtype), here(), value, tracked, owner)


def constant(value: Any, dtype: DType) -> Tensor:
    """A tensor of a fixed value through which no gradient flows."""
    try:
        if type(value) is float and -_FITS < value < _FITS:
            array = np.asarray(value, dtype)
        else:
            with np.errstate(over="ignore"):
                array = np.asarray(value, dtype)
    except OverflowError as error:
        raise ArgumentError(f"the number {value!r:.40} does not fit into {dtype.name}.") from error
    array.flags.writeable = False
    return Tensor(Node(Op.CONSTANT, (), {}, array.shape, dtype, here(), array, gradient_of=gradient_of.get()))


def apply(op: Op, *inputs: Tensor, **attributes: Any) -> Tensor:
    """The tensor that `op` makes of `inputs`: checked, computed unless symbolic, and remembered where needed."""
    nodes = tuple([tensor.node for tensor in inputs])
    shape, dtype = RULES[op](*nodes, **attributes)
    values, tracked = [], False
    for node in nodes:
        tracked = tracked or node.tracked
        if node.value is not None:
            values.append(node.value)
    tracked = tracked and recording.get() and is_floating(dtype) and op is not Op.STOP_GRADIENT
    provenance, forward = here(), gradient_of.get()
    if len(values) < len(nodes):
        return Tensor(Node(op, nodes, attributes, shape, dtype, provenance, None, tracked, None, forward))
    value = evaluate(op, values, attributes)
    value.flags.writeable = False
    if not tracked:
        is_cut = op is Op.STOP_GRADIENT or not is_floating(dtype) or not recording.get()
        forgotten = None if is_cut else Forgotten.of(nodes)
        return Tensor(Node(Op.CONSTANT, (), {}, shape, dtype, provenance, value, False, forgotten, forward))
    return Tensor(Node(op, nodes, attributes, shape, dtype, provenance, value, True, None, forward))


def operands(*values: Any) -> list[Tensor]:
    """Tensors of one data type: Python numbers are weak, arrays and tensors are promoted."""
    strong = [value if isinstance(value, Tensor) else _strong(value) for value in values]
    known = [tensor.dtype for tensor in strong if tensor is not None]
    dtype = promote(*known) if known else None
    for value, tensor in zip(values, strong, strict=True):
        if tensor is None:
            dtype = of_scalar(value, dtype)
    assert dtype is not None
    return [
        constant(value, dtype) if tensor is None else tensor if tensor.dtype == dtype else cast(tensor, dtype)
        for value, tensor in zip(values, strong, strict=True)
    ]


def _strong(value: Any) -> Tensor | None:
    return None if isinstance(value, (bool, int, float)) and not isinstance(value, np.generic) else asarray(value)


def cast(x: Tensor, dtype: DType) -> Tensor:
    """`x` in another data type."""
    return x if x.dtype == dtype else apply(Op.CAST, x, dtype=dtype)


def _binary(op: Op, a: Any, b: Any) -> Tensor:
    alike = isinstance(a, Tensor) and isinstance(b, Tensor) and a.dtype == b.dtype
    left, right = (a, b) if alike else operands(a, b)
    if op is Op.DIV and not is_floating(left.dtype):
        left, right = cast(left, float32), cast(right, float32)
    return apply(op, left, right)
