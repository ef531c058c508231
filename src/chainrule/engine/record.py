"""Dataclasses of the compiler, which are quickly made.

The first step of a program waits until the compiler is loaded, and half of that time went into methods that `dataclass`
writes and compiles for each class: for about sixty it took 30 ms. Here all classes share these methods but `__init__`.
For mypy a record is the dataclass that it says it is; so mypy sees to it that none is changed, not the running program.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ("record",)

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:

    def record(*, frozen, slots, eq=True, repr=True):
        """`dataclasses.dataclass` of these options."""
        assert (frozen, slots) == (True, True)

        def made(cls):
            found = dataclasses.dataclass(slots=True, eq=False, repr=False)(cls)
            names = [field.name for field in dataclasses.fields(found)]
            found._values = staticmethod(attrgetter(*names))
            if eq:
                found.__eq__, found.__hash__ = _equal, _hash
            if repr:
                found.__repr__ = _text
            return found

        return made


def _equal(self: Any, other: Any) -> bool:
    """Whether both are of one class and all their values are equal."""
    return self._values(self) == other._values(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(self._values(self))


def _text(self: Any) -> str:
    """As a dataclass is printed."""
    values = [f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self)]
    return f"{self.__class__.__qualname__}({', '.join(values)})"
