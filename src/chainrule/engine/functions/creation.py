"""Tensors made from nothing but a shape, by the names of the array API standard.

They are constants, made in NumPy; floating ones are float32 unless `dtype` says otherwise.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.dtypes import DType, bool_, float32, int64, supported
from chainrule.engine.functions.elementwise import where
from chainrule.engine.functions.shapes import broadcast_to
from chainrule.engine.tensor import Tensor, asarray, constant
from chainrule.errors import ArgumentError, ShapeError

Lengths = int | Sequence[int]


def lengths_of(shape: Lengths) -> tuple[int, ...]:
    """`shape` as a tuple, checked."""
    lengths = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    if any(not isinstance(length, int | np.integer) or length < 0 for length in lengths):
        raise ArgumentError(f"a shape holds whole numbers from 0, but is {shape!r}.")
    return tuple(int(length) for length in lengths)


def full(shape: Lengths, fill_value: bool | int | float, *, dtype: Any = None) -> Tensor:
    """`fill_value` everywhere; a float gives float32, an integer int64, unless `dtype` says otherwise."""
    default = bool_ if isinstance(fill_value, bool) else int64 if isinstance(fill_value, int) else float32
    return broadcast_to(constant(fill_value, _dtype(dtype, default)), lengths_of(shape))


def zeros(shape: Lengths, *, dtype: Any = None) -> Tensor:
    """0 everywhere."""
    return full(shape, 0, dtype=_dtype(dtype, float32))


def ones(shape: Lengths, *, dtype: Any = None) -> Tensor:
    """1 everywhere."""
    return full(shape, 1, dtype=_dtype(dtype, float32))


def empty(shape: Lengths, *, dtype: Any = None) -> Tensor:
    """A tensor whose values do not matter; they are 0."""
    return zeros(shape, dtype=dtype)


def full_like(x: Any, /, fill_value: bool | int | float, *, dtype: Any = None) -> Tensor:
    """`fill_value` in the shape and data type of `x`."""
    tensor = asarray(x)
    return full(tensor.shape, fill_value, dtype=_dtype(dtype, tensor.dtype))


def zeros_like(x: Any, /, *, dtype: Any = None) -> Tensor:
    """0 in the shape and data type of `x`."""
    return full_like(x, 0, dtype=dtype)


def ones_like(x: Any, /, *, dtype: Any = None) -> Tensor:
    """1 in the shape and data type of `x`."""
    return full_like(x, 1, dtype=dtype)


def empty_like(x: Any, /, *, dtype: Any = None) -> Tensor:
    """A tensor of the shape and data type of `x` whose values do not matter."""
    return zeros_like(x, dtype=dtype)


def arange(start: float, /, stop: float | None = None, step: float = 1, *, dtype: Any = None) -> Tensor:
    """From `start` (0 if alone) up to, not including, `stop` in steps of `step`; int64 for integers."""
    if step == 0:
        raise ArgumentError("arange: step must not be 0.")
    first, last = (0, start) if stop is None else (start, stop)
    whole = all(isinstance(number, int | np.integer) for number in (first, last, step))
    wanted = _dtype(dtype, int64 if whole else float32)
    return constant(np.arange(first, last, step).astype(wanted), wanted)


def linspace(start: float, stop: float, /, num: int, *, dtype: Any = None, endpoint: bool = True) -> Tensor:
    """`num` numbers evenly spaced from `start` to `stop`."""
    wanted = _dtype(dtype, float32)
    return constant(np.linspace(start, stop, num, endpoint=endpoint), wanted)


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None) -> Tensor:
    """A matrix with 1 on the diagonal `k` and 0 elsewhere."""
    wanted = _dtype(dtype, float32)
    return constant(np.eye(n_rows, n_cols, k, dtype=wanted), wanted)


def _triangle(name: str, x: Any, k: int, *, lower: bool) -> Tensor:
    tensor = asarray(x)
    if tensor.ndim < 2:
        raise ShapeError(f"{name}: needs at least two axes, but the shape is {tensor.shape}.")
    mask = np.tri(tensor.shape[-2], tensor.shape[-1], k if lower else k - 1, dtype=bool)
    return where(constant(mask if lower else ~mask, bool_), tensor, zeros_like(tensor))


def tril(x: Any, /, *, k: int = 0) -> Tensor:
    """The part on and below diagonal `k` of the last two axes, 0 above."""
    return _triangle("tril", x, k, lower=True)


def triu(x: Any, /, *, k: int = 0) -> Tensor:
    """The part on and above diagonal `k` of the last two axes, 0 below."""
    return _triangle("triu", x, k, lower=False)


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Tensor]:
    """Coordinate grids of one-dimensional `arrays`: Cartesian ("xy") or by matrix index ("ij")."""
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f'meshgrid: indexing is "xy" or "ij", not {indexing!r}.')
    tensors = [asarray(array) for array in arrays]
    order = list(range(len(tensors)))
    if indexing == "xy" and len(tensors) > 1:
        order[0], order[1] = 1, 0
    shape = [0] * len(tensors)
    for place, tensor in zip(order, tensors, strict=True):
        shape[place] = tensor.size
    return [
        broadcast_to(tensor.reshape([-1 if axis == place else 1 for axis in range(len(tensors))]), shape)
        for place, tensor in zip(order, tensors, strict=True)
    ]


def from_dlpack(x: Any, /) -> Tensor:
    """A tensor of an array of another library that speaks DLPack (PyTorch, JAX, CuPy on the CPU); it is copied."""
    return asarray(np.from_dlpack(x), copy=True)


def _dtype(dtype: Any, default: DType) -> DType:
    return default if dtype is None else supported(dtype)
