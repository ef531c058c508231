"""Machine code in memory without LLVM: object files that LLVM wrote, laid out, bound and made executable.

Comes in: the bytes of object files for x86-64 under Linux, which may call each other. Goes out: an `Image` that gives
addresses by name, or nothing, where a file has anything that is not expected here; then LLVM's own loader takes it,
which is slow to load itself. The pages are written first, then made executable and no longer writable: they are never
both at once.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _rows(**columns: str) -> np.dtype[Any]:
    """The type of the rows of a table in the file, the lowest byte first."""
    return np.dtype([(name, f"<{kind}") for name, kind in columns.items()])


# As the format (ELF) lays them out for 64 bits.
_HEADER = _rows(
    magic="S4", width="u1", order="u1", rest="V10", type="u2", machine="u2", version="u4", entry="u8", segments="u8",
    sections="u8", flags="u4", own="u2", each="u2", count="u2", section="u2", sections_count="u2", names="u2",
)  # fmt: skip
_SECTION = _rows(
    name="u4", type="u4", flags="u8", address="u8", offset="u8", size="u8", link="u4", info="u4", alignment="u8",
    each="u8",
)  # fmt: skip
_NAME = _rows(name="u4", info="u1", other="u1", section="u2", value="u8", size="u8")
_RELOCATION = _rows(offset="u8", kind="u4", symbol="u4", addend="i8")

_CODE_OR_NUMBERS, _SYMBOLS, _RELOCATIONS, _OTHER_RELOCATIONS, _UNWINDING = 1, 2, 4, 9, 0x70000001  # types of sections
_WRITABLE, _IN_MEMORY = 1, 2  # flags of sections
_GLOBAL = 1  # a symbol that other files may use
_FIRST_RESERVED = 0xFF00  # what a symbol has from there on in place of the number of its section
_FIELD = 4  # bytes that a relocation writes: the distance of a symbol
_SYMBOL, _FUNCTION = 2, 4  # the kinds of relocations that are known: what is only called may be reached by a jump
_JUMP = bytes.fromhex("ff 25 02 00 00 00 66 90")  # to the address that stands in the next eight bytes
_JUMP_SIZE = 16


class UnexpectedError(Exception):
    """The object file, or the system, has something that is left to LLVM."""


def is_possible() -> bool:
    """Whether this system is the one whose object files are known here."""
    return sys.platform == "linux" and os.uname().machine == "x86_64"


class Image:
    """Machine code that can be called; its pages are given back when nobody holds it any more.

    Parameters
    ----------
    codes
        The object files.

    Raises
    ------
    UnexpectedError
        If one is not of the plain kind that is known here, or the system refuses.
    """

    def __init__(self, *codes: bytes) -> None:
        if not is_possible():
            raise UnexpectedError("another system")
        layout = _Layout(codes)
        system = ctypes.CDLL(None)
        outside = [_address(system, name) for name in layout.outside]
        size = ctypes.c_size_t(layout.size)
        system.mmap.restype = ctypes.c_void_p
        start = system.mmap(
            None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, ctypes.c_long(0)
        )
        if start in (None, ctypes.c_void_p(-1).value):
            raise UnexpectedError("no memory")
        # Not when the process ends: a worker may still be on its way out of this code.
        weakref.finalize(self, system.munmap, ctypes.c_void_p(start), size).atexit = False
        room = memoryview((ctypes.c_uint8 * layout.size).from_address(start))
        layout.write(np.frombuffer(room, np.uint8), outside)
        if system.mprotect(ctypes.c_void_p(start), size, mmap.PROT_READ | mmap.PROT_EXEC):
            raise UnexpectedError("pages that were written must not become executable here")
        self._start, self._functions = start, layout.functions

    def address(self, name: str) -> int:
        """The address of a function."""
        return int(self._start + self._functions[name])


class _Layout:
    """How object files become one image; everything is looked at before anything is done.

    Attributes
    ----------
    size
        Bytes of the image: the sections of all files, then jumps to what is outside.
    outside
        The names of what the code calls in other libraries, in the order of the jumps.
    functions
        How many bytes into the image each name stands that is not one file's alone.
    """

    def __init__(self, codes: Sequence[bytes]) -> None:
        self.files: list[_ObjectFile] = []
        self.functions: dict[str, int] = {}
        end = 0
        for code in codes:
            file = _ObjectFile(code, end)
            if file.functions.keys() & self.functions.keys():
                raise UnexpectedError("two functions of one name")
            self.files.append(file)
            self.functions |= file.functions
            end = file.end
        wanted = dict.fromkeys(name for file in self.files for name in file.wanted)
        self.outside = [name for name in wanted if name not in self.functions]
        self.jumps = -(-end // _JUMP_SIZE) * _JUMP_SIZE
        self.size = self.jumps + _JUMP_SIZE * len(self.outside)
        jumps = {name: self.jumps + _JUMP_SIZE * number for number, name in enumerate(self.outside)}
        self.changes = [change for file in self.files for change in file.changes(self.functions, jumps)]

    def write(self, room: Array, outside: list[int]) -> None:
        """Write the image; it is the same wherever it stands, but for the addresses of what is outside."""
        for file in self.files:
            file.write(room)
        for here, values in self.changes:
            room[here[:, None] + np.arange(_FIELD)] = values.astype("<i4").view(np.uint8).reshape(-1, _FIELD)
        jumps = b"".join(_JUMP + address.to_bytes(8, "little") for address in outside)
        room[self.jumps : self.size] = np.frombuffer(jumps, np.uint8)


class _ObjectFile:
    """What an object file says.

    Attributes
    ----------
    end
        Where in the image its sections end, which begin from `start` on.
    functions
        Where in the image each name stands that other files may use.
    wanted
        The names of what is not in it.
    """

    def __init__(self, code: bytes, start: int) -> None:
        self.code = code
        head = self._table(_HEADER, 0, 1)[0]
        kind = (head["magic"], head["width"], head["order"], head["type"], head["machine"], head["each"])
        if kind != (b"\x7fELF", 2, 1, 1, 62, 0) or head["count"]:
            raise UnexpectedError("no object file for x86-64")
        self.sections = self._table(_SECTION, int(head["sections"]), int(head["sections_count"]))
        self.places, self.end = self._laid_out(start)
        self.functions: dict[str, int] = {}
        self.names, self.where = self._symbols()
        self.wanted = [name for name, place in zip(self.names, self.where, strict=True) if name and place is None]

    def _table(self, row: np.dtype[Any], start: int, count: int) -> Array:
        if start + count * row.itemsize > len(self.code):
            raise UnexpectedError("the file ends too early")
        return np.frombuffer(self.code, row, count, start)

    def _laid_out(self, end: int) -> tuple[dict[int, int], int]:
        """Where in the image each section begins that belongs into memory, and where the last one ends."""
        places = {}
        for number, section in enumerate(self.sections):
            type_, flags, size = (int(section[name]) for name in ("type", "flags", "size"))
            if not flags & _IN_MEMORY or type_ == _UNWINDING or not size:
                continue  # nothing is thrown through this code, so nobody has to know how to unwind it
            alignment = max(1, int(section["alignment"]))
            if type_ != _CODE_OR_NUMBERS or flags & _WRITABLE or alignment > mmap.PAGESIZE:
                raise UnexpectedError(f"section {number} is of another kind")
            places[number] = -(-end // alignment) * alignment
            end = places[number] + size
        return places, end

    def _symbols(self) -> tuple[list[str], list[int | None]]:
        """Of each symbol its name, and where it stands in the image: None where it is outside, or nowhere."""
        (listed,) = [section for section in self.sections if section["type"] == _SYMBOLS]
        symbols = self._table(_NAME, int(listed["offset"]), int(listed["size"]) // _NAME.itemsize)
        start = int(self.sections[int(listed["link"])]["offset"])
        names: list[str] = []
        where: list[int | None] = []
        for symbol in symbols:
            section, begin = int(symbol["section"]), start + int(symbol["name"])
            inside = self.places.get(section)
            name = self.code[begin : self.code.index(0, begin)].decode("ascii")
            is_named = inside is not None or section == 0  # what is 0 is outside
            if section >= _FIRST_RESERVED and symbol["info"] & 15 != 4:  # but for the name of the source file
                raise UnexpectedError(f"{name} is of another kind")
            names.append(name if is_named else "")
            where.append(None if inside is None else inside + int(symbol["value"]))
            if inside is not None and name and symbol["info"] >> 4 == _GLOBAL:
                self.functions[name] = inside + int(symbol["value"])
        return names, where

    def changes(self, functions: dict[str, int], jumps: dict[str, int]) -> Iterator[tuple[Array, Array]]:
        """Where in the image which distances are to be written: to `functions` of any file, and to `jumps`."""
        where = [functions.get(name) if place is None else place
                 for name, place in zip(self.names, self.where, strict=True)]  # fmt: skip
        called = [jumps.get(name) if place is None else place for name, place in zip(self.names, where, strict=True)]
        found = {_SYMBOL: where, _FUNCTION: called}
        for section in self.sections:
            base = self.places.get(int(section["info"]))
            if section["type"] not in (_RELOCATIONS, _OTHER_RELOCATIONS) or base is None:
                continue
            if section["type"] != _RELOCATIONS:
                raise UnexpectedError("relocations of another form")
            rows = self._table(_RELOCATION, int(section["offset"]), int(section["size"]) // _RELOCATION.itemsize)
            within = int(self.sections[int(section["info"])]["size"]) - _FIELD
            if (rows["offset"] > max(0, within)).any() or within < 0:
                raise UnexpectedError("a relocation beyond its section")
            here = base + rows["offset"].astype(np.int64)
            goals = [found[kind][symbol] if kind in found else None
                     for kind, symbol in zip(rows["kind"].tolist(), rows["symbol"].tolist(), strict=True)]  # fmt: skip
            if None in goals:
                raise UnexpectedError("a relocation of another kind")
            yield here, np.array(goals, np.int64) + rows["addend"] - here

    def write(self, room: Array) -> None:
        """Write the sections as they are in the file."""
        for number, place in self.places.items():
            start, size = (int(self.sections[number][name]) for name in ("offset", "size"))
            room[place : place + size] = self._table(np.dtype(np.uint8), start, size)


def _address(system: ctypes.CDLL, name: str) -> int:
    """Where another library has a function of that name."""
    try:
        found = ctypes.cast(getattr(system, name), ctypes.c_void_p).value
    except AttributeError:
        found = None
    if found is None:
        raise UnexpectedError(f"{name} is not there")
    return found
