"""Vectors of neighbouring elements: read, written, spread out and summed up, also where only some lanes are used.

A kernel's last vector of a row may reach past its end. Only the used lanes are ever read from memory or written to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from chainrule.engine.code import MEMORY, REGISTER, Code, Kind
from chainrule.engine.dtypes import DType, bool_
from chainrule.engine.record import record

Combine = Callable[[Code, Kind, str, str], str]


@record(frozen=True, slots=True)
class Vector:
    """Neighbours along one axis of a domain.

    Attributes
    ----------
    axis
        The number of the axis.
    count
        Lanes of the register, a power of two.
    used
        The lanes from the first on that stand for points; the others hold anything.
    """

    axis: int
    count: int
    used: int

    @property
    def is_whole(self) -> bool:
        """Whether every lane is used."""
        return self.used == self.count


def read(code: Code, kind: Kind, address: str, vector: Vector | None = None) -> str:
    """The value at an address, or neighbours in a vector; `kind` is that of one element."""
    if kind.dtype == bool_:
        byte = Kind(kind.dtype, vector.count if vector else 0)
        loaded = _load(code, "i8", address, vector)
        width = f"<{byte.lanes} x i8>" if byte.lanes else "i8"
        return code.let(f"icmp ne {width} {loaded}, {'zeroinitializer' if byte.lanes else '0'}")
    return _load(code, REGISTER[kind.dtype], address, vector)


def _load(code: Code, element: str, address: str, vector: Vector | None) -> str:
    align = _alignment(element)
    if vector is None:
        return code.let(f"load {element}, ptr {address}, align {align}")
    full = f"<{vector.count} x {element}>"
    if vector.is_whole:
        return code.let(f"load {full}, ptr {address}, align {align}")
    if code.masked:
        return read_masked(code, element, vector.count, address, _used(vector))
    result = "zeroinitializer"
    for start, width in _pieces(vector.used):
        place = code.element(element, address, str(start))
        if width == 1:
            part = code.let(f"load {element}, ptr {place}, align {align}")
            result = code.let(f"insertelement {full} {result}, {element} {part}, i32 {start}")
            continue
        part = code.let(f"load <{width} x {element}>, ptr {place}, align {align}")
        wide = _picked(code, element, part, width, [*range(width), *[-1] * (vector.count - width)])
        lanes = [vector.count + lane - start if start <= lane < start + width else lane for lane in range(vector.count)]
        result = _picked(code, element, result, vector.count, lanes, wide)
    return result


def write(code: Code, kind: Kind, value: str, address: str, vector: Vector | None = None) -> None:
    """Put a value at an address, or the used lanes of a vector; `kind` is that of one element."""
    element = MEMORY[kind.dtype]
    lanes = vector.count if vector else 0
    if kind.dtype == bool_:
        wide = f"<{lanes} x i8>" if lanes else "i8"
        value = code.let(f"zext {Kind(bool_, lanes).type} {value} to {wide}")
    align = _alignment(element)
    if vector is None or vector.is_whole:
        full = f"<{lanes} x {element}>" if lanes else element
        code.do(f"store {full} {value}, ptr {address}, align {align}")
        return
    full = f"<{lanes} x {element}>"
    if code.masked:
        write_masked(code, element, lanes, value, address, _used(vector))
        return
    for start, width in _pieces(vector.used):
        place = code.element(element, address, str(start))
        if width == 1:
            part = code.let(f"extractelement {full} {value}, i32 {start}")
            code.do(f"store {element} {part}, ptr {place}, align {align}")
        else:
            part = _picked(code, element, value, lanes, range(start, start + width))
            code.do(f"store <{width} x {element}> {part}, ptr {place}, align {align}")


def read_masked(code: Code, element: str, lanes: int, address: str, mask: str) -> str:
    """A vector of which only the lanes in a mask are read; the others are zero."""
    full, kind, suffix = f"<{lanes} x {element}>", f"<{lanes} x i1>", f"v{lanes}{_suffix(element)}.p0"
    code.declare(f"declare {full} @llvm.masked.load.{suffix}(ptr, {kind}, {full})")
    some = f"{kind} {mask}, {full} zeroinitializer"
    return code.let(f"call {full} @llvm.masked.load.{suffix}(ptr align {_alignment(element)} {address}, {some})")


def write_masked(code: Code, element: str, lanes: int, value: str, address: str, mask: str) -> None:
    """The lanes of a vector that are in a mask to memory."""
    full, kind, suffix = f"<{lanes} x {element}>", f"<{lanes} x i1>", f"v{lanes}{_suffix(element)}.p0"
    code.declare(f"declare void @llvm.masked.store.{suffix}({full}, ptr, {kind})")
    where = f"ptr align {_alignment(element)} {address}"
    code.do(f"call void @llvm.masked.store.{suffix}({full} {value}, {where}, {kind} {mask})")


def read_apart(code: Code, kind: Kind, address: str, step: int, vector: Vector, index: str | None = None) -> str:
    """A vector of elements that do not stand side by side: `step` from lane to lane, and `index[lane]` further."""
    element = MEMORY[kind.dtype]
    result = "zeroinitializer"
    full = f"<{vector.count} x {element}>"
    for lane in range(vector.used):
        place = code.element(element, address, str(lane * step))
        if index is not None:
            further = code.let(f"extractelement <{vector.count} x i64> {index}, i32 {lane}")
            place = code.element(element, place, further)
        part = code.let(f"load {element}, ptr {place}, align {_alignment(element)}")
        result = code.let(f"insertelement {full} {result}, {element} {part}, i32 {lane}")
    return code.let(f"icmp ne {full} {result}, zeroinitializer") if kind.dtype == bool_ else result


def write_apart(code: Code, kind: Kind, value: str, address: str, step: int, vector: Vector) -> None:
    """The used lanes of a vector to places `step` apart."""
    for lane in range(vector.used):
        part = code.let(f"extractelement {Kind(kind.dtype, vector.count).type} {value}, i32 {lane}")
        write(code, kind, part, code.element(MEMORY[kind.dtype], address, str(lane * step)))


def spread(code: Code, kind: Kind, value: str) -> str:
    """A single value in every lane; `kind` is that of the vector."""
    element = REGISTER[kind.dtype]
    first = code.let(f"insertelement {kind.type} poison, {element} {value}, i32 0")
    return code.let(f"shufflevector {kind.type} {first}, {kind.type} poison, <{kind.lanes} x i32> zeroinitializer")


def only_used(code: Code, kind: Kind, value: str, other: str, vector: Vector | None) -> str:
    """`value` in the used lanes, `other` in the rest."""
    if vector is None or vector.is_whole:
        return value
    return code.let(f"select {kind.mask} {_used(vector)}, {kind.type} {value}, {kind.type} {other}")


def across(code: Code, kind: Kind, value: str, combine: Combine) -> str:
    """All lanes as one value: the halves are combined until one is left."""
    lanes = kind.lanes
    while lanes > 1:
        lanes //= 2
        whole = Kind(kind.dtype, 2 * lanes)
        half = Kind(kind.dtype, lanes)
        low, high = (
            _picked(code, REGISTER[kind.dtype], value, whole.lanes, range(start, start + lanes)) for start in (0, lanes)
        )
        value = combine(code, half, low, high)
    return code.let(f"extractelement {Kind(kind.dtype, 1).type} {value}, i32 0") if kind.lanes else value


def _pieces(used: int) -> Iterator[tuple[int, int]]:
    """`used` lanes as powers of two, the widest first: (first lane, how many)."""
    start = 0
    while start < used:
        width = 1 << ((used - start).bit_length() - 1)
        yield start, width
        start += width


def _picked(code: Code, element: str, value: str, lanes: int, order: Sequence[int], other: str = "poison") -> str:
    """The lanes of `value` (and after them of `other`) in an order; -1 is any."""
    listed = ", ".join("i32 poison" if lane < 0 else f"i32 {lane}" for lane in order)
    full, count = f"<{lanes} x {element}>", listed.count("i32")
    return code.let(f"shufflevector {full} {value}, {full} {other}, <{count} x i32> <{listed}>")


def _used(vector: Vector) -> str:
    return "<" + ", ".join(f"i1 {'true' if lane < vector.used else 'false'}" for lane in range(vector.count)) + ">"


def _suffix(element: str) -> str:
    return {"float": "f32", "double": "f64"}.get(element, element)


def _alignment(element: str) -> int:
    return {"float": 4, "double": 8}.get(element) or max(1, int(element[1:]) // 8)


def widest(dtypes: set[DType], vector_bytes: int) -> int:
    """Lanes of a vector for elements of these types: a register of the narrowest that is no bool."""
    sizes = [dtype.itemsize for dtype in dtypes if dtype != bool_]
    return vector_bytes // min(sizes, default=4)
