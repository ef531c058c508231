"""The five data types and how they mix.

A data type is a plain `numpy.dtype`. Mixing follows the Python array API standard (2024.12); where the standard
leaves it open (integers with floats), the float's own type wins, so that counting never turns float32 into float64.
"""

from typing import Any

import numpy as np

from chainrule.errors import DTypeError

DType = np.dtype[Any]

bool_: DType = np.dtype(np.bool_)
int32: DType = np.dtype(np.int32)
int64: DType = np.dtype(np.int64)
float32: DType = np.dtype(np.float32)
float64: DType = np.dtype(np.float64)

DTYPES: tuple[DType, ...] = (bool_, int32, int64, float32, float64)

# What arrays of other NumPy types become when they come in; what is not here is refused.
_ADOPTED: dict[str, DType] = {
    "float16": float32,
    "int8": int32,
    "int16": int32,
    "uint8": int32,
    "uint16": int32,
    "uint32": int64,
}

_KIND_RANK = {"b": 0, "i": 1, "f": 2}


def is_floating(dtype: DType) -> bool:
    """Whether `dtype` is float32 or float64: the types through which a gradient can flow."""
    return dtype.kind == "f"


def supported(dtype: Any) -> DType:
    """The data type that `dtype` (a NumPy type, a name such as "float32", or bool, int, float) stands for.

    Raises
    ------
    DTypeError
        If it is none of bool, int32, int64, float32, float64.
    """
    if dtype is float:
        return float32
    if dtype is int:
        return int64
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise DTypeError(f"{dtype!r} is not a data type; use one of {_names()}.") from error
    for known in DTYPES:
        if found == known:
            return known
    raise DTypeError(f"data type {found.name} is not supported; use one of {_names()}.")


def adopted(dtype: np.dtype[Any]) -> DType:
    """The data type in which a NumPy array of `dtype` comes in: its own, or the next wider supported one."""
    native = dtype.newbyteorder("=")
    if native in DTYPES:
        return supported(native)
    if native.name in _ADOPTED:
        return _ADOPTED[native.name]
    raise DTypeError(f"an array of {dtype.name} cannot become a tensor; convert it to one of {_names()} first.")


def promote(*dtypes: DType) -> DType:
    """The data type in which values of `dtypes` meet.

    >>> promote(int32, int64), promote(int64, float32), promote(float32, float64)
    (dtype('int64'), dtype('float32'), dtype('float64'))
    """
    return max(dtypes, key=lambda dtype: (_KIND_RANK[dtype.kind], dtype.itemsize))


def of_scalar(value: bool | int | float, beside: DType | None) -> DType:
    """The data type of a Python number: weak beside a tensor of at least its kind, else the default of its kind."""
    own = bool_ if isinstance(value, bool) else int64 if isinstance(value, int) else float32
    if beside is not None and _KIND_RANK[own.kind] <= _KIND_RANK[beside.kind]:
        return beside
    return own


def _names() -> str:
    return ", ".join(dtype.name for dtype in DTYPES)
