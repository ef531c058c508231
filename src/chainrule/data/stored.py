"""Frozen dataclasses to JSON values and back, every value checked: files are data, and may be hostile.

Comes in: an object of a known class, or JSON values. Goes out: JSON values, or an object whose fields have the declared
types, whose numbers are finite, and which passes its own `check`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

from chainrule.errors import FileFormatError

T = TypeVar("T")
MOST_ITEMS = 1_000_000
_OURS = "The table schema's"
_WORDS = {str: "text", int: "a whole number below 2**63", float: "a finite number", bool: "true or false"}


def dump(value: Any, kind: str | None = None) -> dict[str, Any]:
    """The fields of a dataclass, with the kind that `load_one_of` chooses the class by."""
    found = {field.name: getattr(value, field.name) for field in fields(value)}
    found = {name: list(item) if isinstance(item, tuple) else item for name, item in found.items()}
    return found if kind is None else {"kind": kind, **found}


def load_one_of(classes: Mapping[str, type[T]], data: object, where: str) -> T:
    """An object of the class that the entry "kind" names."""
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(kind, str) or kind not in classes:
        raise FileFormatError(f"The table schema's {where} have the kind {kind!r:.60}; known are {', '.join(classes)}.")
    return load(classes[kind], {name: item for name, item in data.items() if name != "kind"}, where)


def load(wanted: type[T], data: object, where: str) -> T:
    """An object of a dataclass, its fields checked by their declared types."""
    declared = {field.name: field.type for field in fields(wanted)}  # type: ignore[arg-type]
    found = mapping(data, set(declared), f"the table schema's {where}")
    value = wanted(**{name: checked(found[name], kind, f"{_OURS} {where}.{name}") for name, kind in declared.items()})
    check = getattr(value, "check", None)
    if check is not None and not check():
        raise FileFormatError(f"The table schema's {where} have values that make no sense: {str(data)[:80]}.")
    return value


def mapping(data: object, names: set[str], where: str) -> dict[str, Any]:
    """A dictionary with exactly these names."""
    if not isinstance(data, dict) or set(data) != names:
        got = ", ".join(sorted(map(str, data)))[:120] if isinstance(data, dict) else type(data).__name__
        raise FileFormatError(f"In the model file, {where} must hold {', '.join(sorted(names))}, but holds {got}.")
    return data


def items(data: object, where: str) -> list[Any]:
    """A list of bounded length."""
    return _items(data, f"{_OURS} {where} must be a list")


def _items(data: object, refusal: str) -> list[Any]:
    if not isinstance(data, list) or len(data) > MOST_ITEMS:
        raise FileFormatError(f"{refusal}, but is {json.dumps(data):.40}.")
    return data


def text(data: object, where: str) -> str:
    """A text."""
    return str(checked(data, str, f"{_OURS} {where}"))


def checked(value: object, wanted: Any, what: str) -> Any:
    """A value out of a file, of a declared type: bool, int, float (finite), str, None, or a tuple of such, or one of
    several. `what` begins the sentence that refuses it.

    Raises
    ------
    FileFormatError
        If it is of another type, infinite, NaN, or a whole number that no computation can hold.

    Examples
    --------
    >>> checked([3, 4], tuple[int, ...] | None, "The widths"), checked(1, float, "The rate")
    ((3, 4), 1.0)
    """
    if get_origin(wanted) is tuple:
        inner = get_args(wanted)[0]
        return tuple(checked(item, inner, what) for item in _items(value, f"{what} must be a list"))
    allowed = get_args(wanted) or (wanted,)
    lists = [each for each in allowed if get_origin(each) is tuple]
    if lists and isinstance(value, list):
        return checked(value, lists[0], what)
    if float in allowed and type(value) is int and abs(value) < 2**1000:
        value = float(value)
    whole_too_large = type(value) is int and abs(value) >= 2**63
    if type(value) not in allowed or (isinstance(value, float) and not math.isfinite(value)) or whole_too_large:
        names = " or ".join(_WORDS.get(kind, "a list") for kind in allowed if kind is not NoneType)
        raise FileFormatError(f"{what} must be {names}, but is {json.dumps(value):.40}.")
    return value
