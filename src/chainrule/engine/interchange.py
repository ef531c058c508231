"""From what others hold to a NumPy array in one of the five data types, shared where that is safe.

Comes in: numbers, nested lists, NumPy arrays, whatever offers an array or a buffer. Goes out: a NumPy array that
nobody can change unless the caller insisted on sharing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.engine.dtypes import DType, adopted, bool_, float32, int64, supported
from chainrule.errors import ArgumentError, DTypeError, ShapeError

Array = np.ndarray[Any, Any]

# What Python's own numbers become; NumPy reads integers from 2**63 as unsigned, or as objects.
_OF_PYTHON: dict[str, DType] = {"b": bool_, "i": int64, "f": float32}


def array_of(source: Any, dtype: Any = None, copy: bool | None = None) -> Array:
    """`source` as an array of a supported data type.

    Parameters
    ----------
    source
        Python floats become float32 and integers int64; arrays keep their data type where it is supported.
    dtype
        The data type wanted, if another.
    copy
        `None` shares a buffer that nobody can write to and copies every other; `True` copies; `False` shares.

    Raises
    ------
    DTypeError, ShapeError
        If `source` holds something other than numbers, or rows of different lengths.
    ArgumentError
        If it cannot be shared although `copy=False`, or an integer is out of range.
    """
    given = isinstance(source, np.ndarray | np.generic) or hasattr(source, "__array__") or _has_buffer(source)
    array = _read(source, copy if given else None)
    own = adopted(array.dtype) if given or _holds_arrays(source) else _of_python(source, array)
    wanted = own if dtype is None else supported(dtype)
    if not given and wanted.kind == "i" and array.dtype.kind == "i" and array.size:
        _check_range(array, wanted)
    with np.errstate(all="ignore"):
        result = array.astype(wanted, copy=False)
    shared = given and result is array
    if copy is False and not shared:
        raise ArgumentError(f"{_kind(source)} of {array.dtype.name} cannot become {wanted.name} without a copy.")
    if copy or (copy is None and shared and not _is_frozen(result)):
        result, shared = result.copy(), False
    if not shared:
        result.flags.writeable = False
    return result


def _read(source: Any, copy: bool | None) -> Array:
    try:
        return np.asarray(source, copy=False if copy is False else None)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        if isinstance(source, list | tuple):
            raise ShapeError("nested lists must hold rows of equal lengths, but these do not.") from error
        raise ArgumentError(f"{_kind(source)} cannot be read as an array: {error}") from error


def _of_python(source: Any, array: Array) -> DType:
    """The data type of what was made of Python's own numbers."""
    if array.dtype.kind in _OF_PYTHON:
        return _OF_PYTHON[array.dtype.kind]
    leaves = list(_leaves(source))
    if all(isinstance(leaf, int | float) for leaf in leaves):
        largest = max((leaf for leaf in leaves if isinstance(leaf, int)), key=abs)
        raise ArgumentError(f"the integer {largest} does not fit into int64; write it as a float.")
    stranger = next(leaf for leaf in leaves if not isinstance(leaf, bool | int | float))
    raise DTypeError(f"{stranger!r:.40} ({type(stranger).__name__}) is not a real number; tensors hold only numbers.")


def _check_range(array: Array, wanted: DType) -> None:
    limits = np.iinfo(wanted)
    wrong = (array < limits.min) | (array > limits.max)
    if wrong.any():
        raise ArgumentError(f"the integer {array[wrong].flat[0]} does not fit into {wanted.name}.")


def _is_frozen(array: Any) -> bool:
    """Whether neither the array nor any array whose memory it looks at can be written to."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return True


def _has_buffer(source: Any) -> bool:
    try:
        memoryview(source)
    except TypeError:
        return False
    return True


def _holds_arrays(source: Any) -> bool:
    """Whether nested lists hold arrays or NumPy's numbers, which bring a data type of their own."""
    return any(issubclass(kind, np.ndarray | np.generic) for kind in types_within(source))


def types_within(source: Any) -> set[type]:
    """The types of what nested lists and tuples hold, down to the last level; of anything else nothing."""
    if not isinstance(source, list | tuple):
        return set()
    found = set(map(type, source))
    if list in found or tuple in found:
        found |= set().union(*map(types_within, source))
    return found


def _leaves(source: Any) -> Iterator[Any]:
    if isinstance(source, list | tuple):
        for part in source:
            yield from _leaves(part)
    else:
        yield source


def _kind(source: Any) -> str:
    return f"a {type(source).__name__}"
