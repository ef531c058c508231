"""Nested tuples, lists and dictionaries: taken apart into their leaves and put together again.

Structure ::= Leaf | Fixed(value, kind) | Tuple(Structure*) | List(Structure*) | Dictionary((key, Structure)*)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from chainrule.errors import TraceError


@dataclass(frozen=True, slots=True)
class Leaf:
    """The place of something that is taken out."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value that stays in the structure, and what tells it from others that Python calls equal: 1, 1.0 and True."""

    value: Hashable
    kind: object

    def __eq__(self, other: object) -> bool:
        """Tuples first look whether it is the same object, as is right for a state, whose == gives a tensor."""
        return isinstance(other, Fixed) and (self.kind, self.value) == (other.kind, other.value)


@dataclass(frozen=True, slots=True)
class Branch:
    """A tuple, list or dictionary of structures; only a dictionary has keys."""

    kind: type
    keys: tuple[Hashable, ...]
    parts: tuple[Structure, ...]


Structure = Leaf | Fixed | Branch


def take_apart(value: Any, is_leaf: Callable[[Any], bool], leaves: list[Any]) -> Structure:
    """The structure of `value`; its leaves are appended to `leaves` in their order.

    Raises
    ------
    TraceError
        If something that stays cannot be compared with what comes in another call.
    """
    if is_leaf(value):
        leaves.append(value)
        return Leaf()
    if type(value) in (tuple, list):
        return Branch(type(value), (), tuple([take_apart(part, is_leaf, leaves) for part in value]))
    if type(value) is dict:
        return Branch(dict, tuple(value), tuple([take_apart(part, is_leaf, leaves) for part in value.values()]))
    try:
        hash(value)
    except TypeError:
        raise TraceError(
            f"a {type(value).__name__} can be neither computed with nor compared, so a compiled function can neither "
            "take nor return it. Use tensors, numbers, strings, or tuples, lists and dictionaries of them; arrays only "
            "as arguments: cr.asarray(array) makes a tensor."
        ) from None
    return Fixed(value, (type(value), math.copysign(1, value)) if isinstance(value, float) else type(value))


def put_together(structure: Structure, leaves: Iterator[Any]) -> Any:
    """The value of that structure with other leaves."""
    if isinstance(structure, Leaf):
        return next(leaves)
    if isinstance(structure, Fixed):
        return structure.value
    parts = [put_together(part, leaves) for part in structure.parts]
    return dict(zip(structure.keys, parts, strict=True)) if structure.kind is dict else structure.kind(parts)
