"""Frozen dataclasses to JSON values and back, every value checked: files are data, and may be hostile.

Comes in: an object of a known class, or JSON values. Goes out: JSON values, or an object whose fields have the declared
types, whose numbers are finite, and which passes its own `check`.
"""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_args, get_origin

from chainrule.errors import FileFormatError

T = TypeVar("T")
MOST_ITEMS = 1_000_000


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
    value = wanted(**{name: _checked(found[name], kind, f"{where}.{name}") for name, kind in declared.items()})
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
    if not isinstance(data, list) or len(data) > MOST_ITEMS:
        raise FileFormatError(f"The table schema's {where} must be a list, but are {type(data).__name__}.")
    return data


def text(data: object, where: str) -> str:
    """A text."""
    return str(_checked(data, str, where))


def _checked(value: object, wanted: Any, where: str) -> Any:
    """A value of a declared type: bool, int, float (finite), str, or a tuple of such."""
    if get_origin(wanted) is tuple:
        inner = get_args(wanted)[0]
        return tuple(_checked(item, inner, where) for item in items(value, where))
    allowed = get_args(wanted) or (wanted,)
    if float in allowed and type(value) is int and abs(value) < 2**1000:
        value = float(value)
    whole_too_large = type(value) is int and abs(value) >= 2**63
    if type(value) not in allowed or (isinstance(value, float) and not math.isfinite(value)) or whole_too_large:
        names = " or ".join(kind.__name__ for kind in allowed)
        raise FileFormatError(f"The table schema's {where} must be {names}, finite, but is {type(value).__name__}.")
    return value
