"""Where a node comes from: the layer that made it, and the user's line of code.

Layers name themselves with `module_scope`; the line is the innermost frame outside chainrule and NumPy. Every node
carries a `Provenance`; error messages, explanations and profiles are told in its terms.
"""

import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import FrameType

import numpy as np

from chainrule.engine.record import record

# Frames in these folders are not the user's: NumPy's functions, given a tensor, call back.
_NOT_THE_USERS = tuple(str(Path(file).resolve().parent) + os.sep for file in (Path(__file__).parent, np.__file__))
_module: ContextVar[str] = ContextVar("module", default="")
_entered: ContextVar[tuple[FrameType, FrameType] | None] = ContextVar("entered", default=None)


@record(frozen=True, slots=True)
class Provenance:
    """The layer path (`""` outside any layer) and the user's source line of a node."""

    module: str
    file: str
    line: int

    @property
    def source(self) -> str:
        """The text of the source line, `""` where it cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        place = f"{Path(self.file).name}:{self.line}"
        return f"{self.module} ({place})" if self.module else place


@cache
def _is_the_users(file: str) -> bool:
    return not file.startswith(_NOT_THE_USERS)


@contextmanager
def module_scope(path: str) -> Iterator[None]:
    """Name the layer that makes the nodes of this block."""
    token = _module.set(path)
    try:
        yield
    finally:
        _module.reset(token)


def current_module() -> str:
    """The path of the layer that is being called, `""` outside any."""
    return _module.get()


def here() -> Provenance:
    """The provenance of a node that is made now."""
    frame = _users(sys._getframe(1))
    return Provenance(_module.get(), frame.f_code.co_filename, frame.f_lineno)


def _users(frame: FrameType) -> FrameType:
    """The innermost frame of the user's, from one on outwards."""
    entered = _entered.get()
    while frame.f_back is not None and not _is_the_users(frame.f_code.co_filename):
        if entered and frame is entered[0]:
            return entered[1]
        frame = frame.f_back
    return frame


@contextmanager
def entering(frame: FrameType) -> Iterator[None]:
    """Find the user's frame outside this one only once, as many nodes are made inside."""
    token = _entered.set((frame, _users(frame)))
    try:
        yield
    finally:
        _entered.reset(token)
