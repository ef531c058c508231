"""Dataclasses of the compiler, which are quickly made.

The first step of a program waits until the compiler is loaded, and half of that time went into methods that `dataclass`
writes and compiles for each class: for about sixty it took 30 ms. Here all classes share these methods, and `__init__`
is compiled once for each number of fields, and then told their names. For mypy a record is the dataclass that it says
it is; so mypy sees to it that none is changed, not the running program.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from operator import attrgetter
from types import FunctionType
from typing import TYPE_CHECKING, Any

__all__ = ("record",)

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:

    def record(*, frozen, slots, eq=True, repr=True):
        """`dataclasses.dataclass` of these options, for classes without a parent, of fields without factories."""
        assert (frozen, slots) == (True, True)

        def made(cls):
            assert cls.__bases__ == (object,)
            names = tuple([name for name, kind in cls.__annotations__.items() if "ClassVar" not in str(kind)])
            body = {name: value for name, value in vars(cls).items() if name not in (*names, "__dict__", "__weakref__")}
            body |= {"__qualname__": cls.__qualname__, "__slots__": names, "__match_args__": names}
            body |= {"__init__": _init(cls, names), "__dataclass_fields__": {name: _field(name) for name in names}}
            body |= {"__eq__": _equal, "__hash__": _hash, "_values": staticmethod(attrgetter(*names))} if eq else {}
            body |= {"__repr__": _text} if repr else {}
            return type(cls.__name__, (), body)

        return made


def _init(cls: type, names: tuple[str, ...]) -> FunctionType:
    """What a dataclass begins with: a parameter for each field, which goes to the attribute of its name."""
    last = tuple([name for name in names if name in vars(cls)])
    assert names[len(names) - len(last) :] == last, "fields with defaults come last"
    own = {"co_varnames": ("self", *names), "co_names": names, "co_qualname": f"{cls.__qualname__}.__init__"}
    return FunctionType(_written(len(names)).replace(**own), {}, "__init__", tuple([vars(cls)[name] for name in last]))


@cache
def _written(count: int) -> Any:
    """The code of that, for so many fields of other names."""
    names = [f"field{number}" for number in range(count)]
    made: dict[str, Any] = {}
    exec(f"def __init__(self, {', '.join(names)}):\n" + "".join(f" self.{name} = {name}\n" for name in names), made)
    return made["__init__"].__code__


def _field(name: str) -> Any:
    """A field as `dataclasses.fields` and `replace` look for it."""
    found: Any = dataclasses.field()
    found.name, found._field_type = name, _EXAMPLE._field_type
    return found


_BARE = dataclasses.make_dataclass("Bare", ["field"], init=False, repr=False, eq=False)  # nothing is compiled for it
_EXAMPLE: Any = dataclasses.fields(_BARE)[0]


def _equal(self: Any, other: Any) -> bool:
    """Whether both are of one class and all their values are equal."""
    return self._values(self) == other._values(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(self._values(self))


def _text(self: Any) -> str:
    """As a dataclass is printed."""
    values = [f"{name}={getattr(self, name)!r}" for name in self.__slots__]
    return f"{self.__class__.__qualname__}({', '.join(values)})"
