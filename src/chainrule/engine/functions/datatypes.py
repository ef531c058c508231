"""Questions about data types and about this library, by the names of the Python array API standard."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.dtypes import DTYPES, DType, bool_, float32, int64, is_floating, of_scalar, promote, supported
from chainrule.engine.functions.creation import on_cpu
from chainrule.engine.tensor import Tensor, asarray
from chainrule.errors import ArgumentError, DTypeError

# What each kind of the standard holds here; there are no unsigned integers and no complex numbers.
_KINDS: Mapping[str, str] = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "",
    "integral": "i",
    "real floating": "f",
    "complex floating": "",
    "numeric": "if",
}


@dataclass(frozen=True, slots=True)
class FloatInfo:
    """The limits of a floating data type: bits, spacing at 1, largest, smallest, and smallest normal positive."""

    dtype: DType
    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float


@dataclass(frozen=True, slots=True)
class IntegerInfo:
    """The limits of an integer data type: bits, largest, smallest."""

    dtype: DType
    bits: int
    max: int
    min: int


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating data type, or of that of a tensor.

    >>> finfo("float32").max
    3.4028234663852886e+38
    """
    dtype = _dtype_of(type)
    if not is_floating(dtype):
        raise DTypeError(f"finfo: {dtype.name} is not floating; use iinfo.")
    found = np.finfo(dtype)
    limits = (float(found.eps), float(found.max), float(found.min), float(found.smallest_normal))
    return FloatInfo(dtype, found.bits, *limits)


def iinfo(type: Any, /) -> IntegerInfo:
    """The limits of an integer data type, or of that of a tensor."""
    dtype = _dtype_of(type)
    if dtype.kind != "i":
        raise DTypeError(f"iinfo: {dtype.name} is no integer type; use finfo.")
    found = np.iinfo(dtype)
    return IntegerInfo(dtype, found.bits, int(found.max), int(found.min))


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether `dtype` is `kind`: a data type, a kind of the standard such as "real floating", or a tuple of them.

    >>> isdtype("int32", "numeric"), isdtype("int32", ("bool", "real floating"))
    (True, False)
    """
    asked = supported(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(asked, each) for each in kind)
    if isinstance(kind, str) and kind in _KINDS:
        return asked.kind in _KINDS[kind]
    try:
        return asked == supported(kind)
    except DTypeError as error:
        raise ArgumentError(f"isdtype: {kind!r} is neither a data type nor one of {', '.join(_KINDS)}.") from error


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether a value of `from_` (a data type or a tensor) keeps its kind and precision as `to`, as promotion says."""
    wanted = supported(to)
    return promote(_dtype_of(from_), wanted) == wanted


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The data type in which tensors, data types and Python numbers meet; numbers count least.

    >>> import chainrule as cr
    >>> result_type(cr.float64, 1), result_type(cr.asarray([1]), 1.5)
    (dtype('float64'), dtype('float32'))
    """
    if not arrays_and_dtypes:
        raise ArgumentError("result_type: needs at least one tensor, data type or number.")
    numbers = [value for value in arrays_and_dtypes if _is_number(value)]
    strong = [_dtype_of(value) for value in arrays_and_dtypes if not _is_number(value)]
    found = promote(*strong) if strong else None
    for number in numbers:
        found = of_scalar(number, found)
    assert found is not None
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float) and not isinstance(value, np.generic)


def _dtype_of(value: Any) -> DType:
    if isinstance(value, Tensor):
        return value.dtype
    return asarray(value).dtype if isinstance(value, np.ndarray | np.generic) else supported(value)


class NamespaceInfo:
    """What this library can do, in the words of the standard: `x.__array_namespace__().__array_namespace_info__()`."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean selection and shapes that depend on data work, outside a trace; a tensor has up to 64 axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """The one device, "cpu"."""
        return "cpu"

    def devices(self) -> list[str]:
        """The one device, "cpu"."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The data types of numbers without one of their own. There is none for complex numbers."""
        on_cpu(device)
        return {"real floating": float32, "integral": int64, "indexing": int64}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The data types of `kind` (default: all) by their names."""
        on_cpu(device)
        chosen = [dtype for dtype in DTYPES if kind is None or isdtype(dtype, kind)]
        return {"bool" if dtype == bool_ else dtype.name: dtype for dtype in chosen}


def __array_namespace_info__() -> NamespaceInfo:  # noqa: N807  # the name that the standard gives it
    """What this library can do, for code that works with any array library."""
    return NamespaceInfo()
