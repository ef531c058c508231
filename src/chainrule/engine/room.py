"""Room for arrays that programs work on: from a cache line on, and in large pages.

A core keeps the places of few pages at hand; to look up the others takes long, above all in a virtual machine. And
within a large page what lies side by side fills all places of a cache evenly, while small pages, which the system picks
where it likes, crowd in some of them. So arrays of middle size share large pages.
"""

from __future__ import annotations

import mmap
from contextlib import suppress

import numpy as np

from chainrule.engine.tensor import Array

_LINE = 64  # bytes of a cache line
_PAGE = 2**21  # bytes of a large page
_WORD = 8  # bytes that are looked at together
_SHARED = 2**18  # bytes of an array from which it shares one: a page is given back when the last of its arrays is gone


def aligned(value: Array) -> Array:
    """A writeable copy without gaps that begins at a cache line; where it is large at a large page, and in such."""
    size, is_zero = value.nbytes, False
    if size < _SHARED or not hasattr(mmap, "MADV_HUGEPAGE"):
        room = _from(np.empty(size + _LINE, np.uint8), _LINE)
    else:  # it is zero, and takes long to be touched first: for zeros that is left to the threads that work on it
        room = _whole_pages(size) if size >= _PAGE else _rooms.part(size)
        is_zero = _is_zero(value)
    made = room[:size].view(value.dtype).reshape(value.shape)
    if not is_zero:
        made[...] = value
    return made


def _is_zero(value: Array) -> bool:
    """Whether all bytes of a large array are zero, as those of an optimizer's slots are at first; minus zero is not."""
    if not value.flags.c_contiguous or value.nbytes % _WORD:
        return False
    words = value.reshape(-1).view(np.uint64)
    return not words[0] and not words.max()


def near_others(value: Array) -> Array:
    """The array itself, or a copy in a large page where it is of a size that shares one."""
    if not _SHARED <= value.nbytes < _PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return value
    return aligned(value)


class _Rooms:
    """A large page that is not full yet.

    Who wants a part of it takes it out, so that no other thread or signal handler, and no child that is forked
    meanwhile, waits for it or gets the same part: they begin another one.
    """

    def __init__(self) -> None:
        self._open: list[Array] = []  # what is left of it; none or one, or a few for a moment

    def part(self, size: int) -> Array:
        """Some bytes of a large page, for one array less than a page long."""
        try:
            left = self._open.pop()
        except IndexError:
            left = _whole_pages(_PAGE)
        taken = -(-size // _LINE) * _LINE
        if taken > len(left):
            fresh = _whole_pages(_PAGE)
            room, rest = fresh[:taken], fresh[taken:]
            left = max(rest, left, key=len)
        else:
            room, left = left[:taken], left[taken:]
        self._open[:] = [left]
        return room


def _whole_pages(size: int) -> Array:
    """Memory for so many bytes from the first large page on."""
    try:
        room = mmap.mmap(-1, size + _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"{size} bytes are not to be had: {error}.") from error
    found: Array = np.frombuffer(room, np.uint8)
    with suppress(OSError):  # where the system has none, small pages do
        # What is left at the end stays in small pages: a large one would take all of its bytes.
        room.madvise(mmap.MADV_HUGEPAGE, -found.ctypes.data % _PAGE, size // _PAGE * _PAGE)
    return _from(found, _PAGE)[:size]


def _from(room: Array, step: int) -> Array:
    """What begins at the next multiple of so many bytes."""
    return room[-room.ctypes.data % step :]


_rooms = _Rooms()
