"""What this processor can do at most, measured: multiply-adds a second, and bytes a second to memory and back."""

from __future__ import annotations

import ctypes
import functools
import math
import threading
import time

import numpy as np

from chainrule.engine.code import Code, Kind
from chainrule.engine.dtypes import DType, float32
from chainrule.engine.lanes import Lanes, fused
from chainrule.engine.native import Native
from chainrule.engine.target import Target

PEAK_ROOM = 4096  # bytes that the kernel of multiply-adds writes at most
_CHAINS = 12  # sums that do not wait for each other: more than the processor has multiply-adds under way
_SMALLEST, _LARGEST = 2**14, 2**27  # bytes that all threads together go through; the largest fit into no cache
_MOVED = 2**26  # bytes that are moved between two looks at the clock, at least


@functools.cache
def peak_flops(target: Target, dtype: DType) -> float:
    """Floating-point operations a second of one thread that does nothing but multiply and add, measured once."""
    native, operations = peak_kernel(target, dtype)
    run = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(native.address("peak"))
    room, turns, best = np.zeros(PEAK_ROOM // 8), 20_000, math.inf
    for _ in range(20):
        began = time.perf_counter()
        run(turns, room.ctypes.data)
        best = min(best, time.perf_counter() - began)
    return operations * turns / best


def peak_kernel(target: Target, dtype: DType) -> tuple[Native, int]:
    """A native `peak(turns, room)` of independent multiply-adds, and how many operations a turn has."""
    kind = Kind(dtype, target.lanes(dtype.itemsize))
    code = Code("peak", [("i64", "turns"), ("ptr", "room")], fused=target.fused)
    factor = Lanes(code, kind, code.let(f"load {kind.type}, ptr %room, align 4"))
    slots = [code.variable(kind.type, factor.name) for _ in range(_CHAINS)]
    with code.loop("0", "%turns"):
        for slot in slots:
            before = Lanes(code, kind, code.get(kind.type, slot))
            code.set(kind.type, slot, fused(before, factor, factor).name)
    for number, slot in enumerate(slots):
        place = code.element(kind.type, "%room", str(number))
        code.do(f"store {kind.type} {code.get(kind.type, slot)}, ptr {place}, align 4")
    return Native("\n".join([*code.declarations, code.text()]), target), 2 * _CHAINS * kind.lanes


def peak_bytes(target: Target, threads: int, footprint: int) -> float:
    """Bytes a second of so many threads that only add one array to another, both together of about `footprint` bytes.

    So it is the pace of the memory for what fits into no cache, and that of a cache for what does. Measured once for
    each power of two.
    """
    size = min(max(footprint, _SMALLEST, _SMALLEST * threads), _LARGEST)
    return _bytes_a_second(target, threads, 1 << (size - 1).bit_length())


@functools.cache
def _bytes_a_second(target: Target, threads: int, footprint: int) -> float:
    native = triad_kernel(target)
    run = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, *[ctypes.c_void_p] * 2)(native.address("triad"))
    count = footprint // (8 * threads) // 64 * 64  # floats of an array of one thread
    moved = 3 * 4 * count
    turns = -(-_MOVED // (moved * threads))
    pairs = [(np.zeros(count, np.float32), np.zeros(count, np.float32)) for _ in range(threads)]
    for y, x in pairs:  # memory that was never written to is read from one page of zeros
        y[:], x[:] = 1, 1
    seconds = [0.0] * threads
    start = threading.Barrier(threads)

    def work(number: int) -> None:
        y, x = pairs[number]
        run(1, count, y.ctypes.data, x.ctypes.data)
        start.wait()
        began = time.perf_counter()
        run(turns, count, y.ctypes.data, x.ctypes.data)
        seconds[number] = time.perf_counter() - began

    best = math.inf
    for _ in range(5):
        others = [threading.Thread(target=work, args=(number,)) for number in range(1, threads)]
        for other in others:
            other.start()
        work(0)
        for other in others:
            other.join()
        best = min(best, max(seconds))
    return moved * turns * threads / best


def triad_kernel(target: Target) -> Native:
    """A native `triad(turns, count, y, x)`: y = y + x / 2 in float32, for a whole number of vectors.

    It reads y, which it is about to write, so that the three transfers an element are all there are.
    """
    kind = Kind(float32, target.lanes(4))
    parameters = [("i64", "turns"), ("i64", "count"), ("ptr noalias", "y"), ("ptr noalias", "x")]
    code = Code("triad", parameters, fused=target.fused)
    with code.loop("0", "%turns"), code.loop("0", "%count", kind.lanes) as number:
        goal, source = code.element("float", "%y", number), code.element("float", "%x", number)
        y = code.let(f"load {kind.type}, ptr {goal}, align 4")
        x = code.let(f"load {kind.type}, ptr {source}, align 4")
        scaled = code.let(f"fmul {kind.type} {x}, {kind.constant(0.5)}")
        code.do(f"store {kind.type} {code.let(f'fadd {kind.type} {y}, {scaled}')}, ptr {goal}, align 4")
    return Native(code.text(), target)
