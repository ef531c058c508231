"""The machine itself: its fastest multiply-adds and its memory, by native loops on as many threads as everybody has.

`Peak32` and `Peak64` multiply and add in registers only. `Triad` is y = y + s * x over arrays that no cache holds.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable

import numpy as np

from chainrule.engine.peaks import peak_kernel, triad_kernel
from chainrule.engine.target import host
from workloads import Workload

TURNS = 100_000
TRIAD = 1 << 25  # floats of an array: 128 MB


class _Together:
    """A native function on all threads at once, each with memory of its own; Python's lock is free meanwhile."""

    def __init__(self, calls: list[Callable[[], object]], operations: float) -> None:
        self.calls, self.operations = calls, operations

    def reset(self) -> None:
        """Nothing changes."""

    def run(self, count: int) -> int:
        """Each thread makes `count` calls."""
        threads = [threading.Thread(target=self._repeat, args=(call, count)) for call in self.calls[1:]]
        for thread in threads:
            thread.start()
        self._repeat(self.calls[0], count)
        for thread in threads:
            thread.join()
        return count

    @staticmethod
    def _repeat(call: Callable[[], object], count: int) -> None:
        for _ in range(count):
            call()


def _threads() -> int:
    return int(os.environ["OMP_NUM_THREADS"])


class _Peak(_Together):
    dtype = np.dtype(np.float32)

    def __init__(self, workload: Workload) -> None:
        self.native, operations = peak_kernel(host(), self.dtype)
        function = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(self.native.address("peak"))
        self.rooms = [np.full(4096, 0.5, self.dtype) for _ in range(_threads())]
        calls = [lambda room=room: function(TURNS, room.ctypes.data) for room in self.rooms]
        super().__init__(calls, float(operations) * TURNS * len(calls))


class Peak32(_Peak):
    """Operations a second in float32."""


class Peak64(_Peak):
    """Operations a second in float64."""

    dtype = np.dtype(np.float64)


class Triad(_Together):
    """Bytes a second to and from memory."""

    def __init__(self, workload: Workload) -> None:
        self.native = triad_kernel(host())
        function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 2)(self.native.address("triad"))
        self.y, self.x = np.ones(TRIAD, np.float32), np.ones(TRIAD, np.float32)
        share = TRIAD // _threads() // 64 * 64
        parts = [(self.y[at : at + share], self.x[at : at + share]) for at in range(0, share * _threads(), share)]
        calls = [lambda y=y, x=x: function(1, share, y.ctypes.data, x.ctypes.data) for y, x in parts]
        super().__init__(calls, 3.0 * 4 * share * len(calls))
