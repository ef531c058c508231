"""Tensors made from nothing but a shape, by the names of the array API standard.

They are constants, made in NumPy; floating ones are float32 unless `dtype` says otherwise. `device` is there for the
standard's sake: there is one, "cpu".
"""

from typing import Any

import numpy as np

from chainrule.engine.dtypes import DType, bool_, float32, int64, supported
from chainrule.engine.functions.axes import Lengths, lengths_of
from chainrule.engine.functions.elementwise import where
from chainrule.engine.functions.shapes import broadcast_to
from chainrule.engine.tensor import Tensor, asarray, constant
from chainrule.errors import ArgumentError, ShapeError


def full(shape: Lengths, fill_value: bool | int | float, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`fill_value` everywhere; a float gives float32, an integer int64, unless `dtype` says otherwise."""
    on_cpu(device)
    default = bool_ if isinstance(fill_value, bool) else int64 if isinstance(fill_value, int) else float32
    return broadcast_to(constant(fill_value, _dtype(dtype, default)), lengths_of(shape))


def zeros(shape: Lengths, *, dtype: Any = None, device: Any = None) -> Tensor:
    """0 everywhere."""
    return full(shape, 0, dtype=_dtype(dtype, float32), device=device)


def ones(shape: Lengths, *, dtype: Any = None, device: Any = None) -> Tensor:
    """1 everywhere."""
    return full(shape, 1, dtype=_dtype(dtype, float32), device=device)


def empty(shape: Lengths, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor whose values do not matter; they are 0."""
    return zeros(shape, dtype=dtype, device=device)


def full_like(x: Any, /, fill_value: bool | int | float, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`fill_value` in the shape and data type of `x`."""
    tensor = asarray(x)
    return full(tensor.shape, fill_value, dtype=_dtype(dtype, tensor.dtype), device=device)


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """0 in the shape and data type of `x`."""
    return full_like(x, 0, dtype=dtype, device=device)


def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """1 in the shape and data type of `x`."""
    return full_like(x, 1, dtype=dtype, device=device)


def empty_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of the shape and data type of `x` whose values do not matter."""
    return zeros_like(x, dtype=dtype, device=device)


def arange(
    start: float, /, stop: float | None = None, step: float = 1, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """From `start` (0 if alone) up to, not including, `stop` in steps of `step`; int64 for integers."""
    on_cpu(device)
    if step == 0:
        raise ArgumentError("arange: step must not be 0.")
    first, last = (0, start) if stop is None else (start, stop)
    whole = all(isinstance(number, int | np.integer) for number in (first, last, step))
    wanted = _dtype(dtype, int64 if whole else float32)
    return constant(np.arange(first, last, step).astype(wanted), wanted)


def linspace(
    start: float, stop: float, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Tensor:
    """`num` numbers evenly spaced from `start` to `stop`, which is the last of them unless `endpoint` is False."""
    on_cpu(device)
    (count,) = lengths_of(num)
    return constant(np.linspace(start, stop, count, endpoint=endpoint), _dtype(dtype, float32))


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
    """A matrix with 1 on the diagonal `k` and 0 elsewhere."""
    on_cpu(device)
    rows, columns = lengths_of((n_rows, n_rows if n_cols is None else n_cols))
    wanted = _dtype(dtype, float32)
    return constant(np.eye(rows, columns, k, dtype=wanted), wanted)


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
    for tensor in tensors:
        if tensor.ndim > 1:
            raise ShapeError(f"meshgrid: needs vectors, but one has the shape {tensor.shape}.")
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


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor of an array of another library that speaks DLPack (PyTorch, JAX, CuPy on the CPU).

    `copy=None` copies unless nobody can write to the source; `True` copies; `False` shares the buffer: then changing
    the source changes the tensor.
    """
    on_cpu(device)
    try:
        array = np.from_dlpack(x)
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
        raise ArgumentError(f"from_dlpack: a {type(x).__name__} cannot be taken over: {error}") from error
    return asarray(array, copy=copy)


def on_cpu(device: Any) -> None:
    """Refuse any device but "cpu" (and `None`)."""
    if device not in (None, "cpu"):
        raise ArgumentError(f"device {device!r} is not known; tensors live on 'cpu'.")


def _dtype(dtype: Any, default: DType) -> DType:
    return default if dtype is None else supported(dtype)
