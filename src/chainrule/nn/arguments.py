"""Checks of what layers are constructed with: each returns the value, or says what was expected of it."""

import math
from typing import Any

from chainrule.errors import ArgumentError


def whole(value: Any, what: str, least: int = 1) -> int:
    """An integer that is at least `least`, and fits into 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise ArgumentError(f"{what} must be an integer of at least {least}, but is {value!r:.60}.")
    return value


def number(value: Any, what: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        raise ArgumentError(f"{what} must be a finite number, but is {value!r:.60}.")
    return float(value)


def positive(value: Any, what: str) -> float:
    """A finite number above 0."""
    if number(value, what) <= 0:
        raise ArgumentError(f"{what} must be above 0, but is {value!r}.")
    return float(value)


def fraction(value: Any, what: str) -> float:
    """A number from 0 up to, not including, 1."""
    if not 0 <= number(value, what) < 1:
        raise ArgumentError(f"{what} must be at least 0 and below 1, but is {value!r}.")
    return float(value)


def switch(value: Any, what: str) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ArgumentError(f"{what} must be True or False, but is {value!r:.60}.")
    return value
