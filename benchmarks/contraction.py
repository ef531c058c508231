"""How fast the compiler's matrix products are, beside NumPy's and beside the processor's peak, on one thread.

Each product is compiled for its shape and layout and runs in turns with NumPy on the same arrays. The peak is measured
by a loop of nothing but fused multiply-adds in the same rounds.

    python benchmarks/contraction.py [--rounds 7] [--only 256x1024x2048]
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import time
from collections.abc import Callable

os.environ["CHAINRULE_CACHE"] = "off"  # compiling is part of what is measured
for _variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # NumPy chooses its kernels as it would for anyone
    os.environ.pop(_variable, None)

import numpy as np  # noqa: E402  after the environment is clean
from threadpoolctl import threadpool_limits  # noqa: E402

from chainrule.engine.code import MEMORY, Code  # noqa: E402
from chainrule.engine.graph import Node  # noqa: E402
from chainrule.engine.kernel import Access, Contraction  # noqa: E402
from chainrule.engine.kernels.contraction import scratch_bytes, write_contraction  # noqa: E402
from chainrule.engine.kernels.plan import KEPT  # noqa: E402
from chainrule.engine.kernels.walk import SIGNATURE  # noqa: E402
from chainrule.engine.native import Native  # noqa: E402
from chainrule.engine.op import Op  # noqa: E402
from chainrule.engine.peaks import peak_kernel  # noqa: E402
from chainrule.engine.provenance import Provenance  # noqa: E402
from chainrule.engine.target import Target, host  # noqa: E402

PRODUCTS = [  # rows, depth, columns, and which operand is transposed in memory
    (32, 16, 16, ""),
    (32, 2, 16, ""),
    (16, 32, 32, ""),
    (16, 32, 32, "left"),
    (16, 32, 32, "right"),
    (64, 128, 10, ""),
    (128, 64, 10, "left"),
    (64, 10, 128, "right"),
    (256, 64, 1, ""),
    (64, 256, 1, "left"),
    (1, 784, 128, ""),
    (1, 512, 512, "right"),
    (64, 784, 128, ""),
    (784, 64, 128, "left"),
    (64, 128, 784, "right"),
    (128, 256, 512, ""),
    (128, 512, 512, "right"),
    (512, 128, 512, "left"),
    (256, 1024, 2048, ""),
    (1024, 256, 2048, "left"),
    (256, 2048, 1024, "right"),
    (2016, 2016, 2016, ""),
]
SLICE = 0.02  # seconds of one measurement
_REPEAT = """define void @repeat(i64 %count, ptr %scratch, ptr %a, ptr %b, ptr %c) {
entry:
  br label %body
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  call void @product(i64 0, i64 1, ptr %scratch, ptr %a, ptr %b, ptr %c)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %body, label %end
end:
  ret void
}"""


def product(rows: int, depth: int, columns: int, turned: str, dtype: np.dtype, target: Target) -> tuple[Native, int]:
    """The compiled product as a function `repeat`, and the bytes of scratch memory that it needs."""
    nowhere = Provenance("", "", 0)
    left = Node(Op.INPUT, (), {}, (rows, depth), dtype, nowhere)
    right = Node(Op.INPUT, (), {}, (depth, columns), dtype, nowhere)
    result = Node(Op.MATMUL, (left, right), {}, (rows, columns), dtype, nowhere)
    contraction = Contraction(
        result,
        Access(left, 0, (1, rows) if turned == "left" else (depth, 1)),
        Access(right, 0, (1, depth) if turned == "right" else (columns, 1)),
    )
    parameters = [*SIGNATURE, ("ptr", "scratch"), ("ptr", "a"), ("ptr", "b"), ("ptr", "c")]
    code = Code("product", parameters, fused=target.fused, masked=target.masked)
    write_contraction(code, contraction, {left: "%a", right: "%b", result: "%c"}, target, None, True)
    text = "\n".join([*code.declarations, code.text().replace("{", "noinline {", 1), _REPEAT])
    return Native(text, target), scratch_bytes(contraction, target, True, False)


def seconds(run: Callable[[int], object]) -> Callable[[], float]:
    """A measurement: the time of one run among as many as fill a slice of time."""
    count = 1
    while True:
        start = time.thread_time()
        run(count)
        taken = time.thread_time() - start
        if taken > SLICE / 4:
            break
        count *= 2
    count = max(1, int(count * SLICE / taken))

    def measure() -> float:
        start = time.thread_time()  # not the clock on the wall: other programs may want the processor too
        run(count)
        return (time.thread_time() - start) / count

    return measure


def compare(rows: int, depth: int, columns: int, turned: str, dtype: np.dtype, target: Target, rounds: int) -> str:
    """A line of the table."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((depth, rows) if turned == "left" else (rows, depth)).astype(dtype)
    b = rng.standard_normal((columns, depth) if turned == "right" else (depth, columns)).astype(dtype)
    c, numpy_c = np.empty((rows, columns), dtype), np.empty((rows, columns), dtype)
    first, second = a.T if turned == "left" else a, b.T if turned == "right" else b
    start = time.perf_counter()
    native, scratch_size = product(rows, depth, columns, turned, dtype, target)
    compiling = time.perf_counter() - start
    scratch = np.empty(scratch_size + 64 + KEPT, np.uint8)
    aligned = scratch.ctypes.data + -scratch.ctypes.data % 64 + KEPT
    repeat = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * 4)(native.address("repeat"))
    places = [array.ctypes.data for array in (a, b, c)]
    fastest, per_turn = peak_kernel(target, dtype)
    out = np.full(4096, 0.5, dtype)
    limit = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(fastest.address("peak"))

    def by_numpy(count: int) -> None:
        for _ in range(count):
            np.matmul(first, second, out=numpy_c)

    measures = [
        seconds(lambda count: repeat(count, aligned, *places)),
        seconds(by_numpy),
        seconds(lambda count: limit(count, out.ctypes.data)),
    ]
    taken = [[measure() for measure in measures] for _ in range(rounds)]
    np.testing.assert_allclose(c, numpy_c, rtol=1e-3, atol=1e-3 * np.sqrt(depth))
    work = 2 * rows * depth * columns / 1e9
    ours, theirs, turn = zip(*taken, strict=True)
    top = per_turn / 1e9 / min(turn)
    return (
        f"{rows}x{depth}x{columns}".ljust(17)
        + f"{turned or '-':6}{work / min(ours):8.1f}{work / statistics.median(ours):8.1f}"
        + f"{work / min(theirs):9.1f}{work / statistics.median(theirs):8.1f}{min(theirs) / min(ours):8.2f}"
        + f"{work / min(ours) / top:8.0%}{1e6 * min(ours):11.2f}{1e3 * compiling:9.0f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each product (default: 7)")
    parser.add_argument("--only", default="", help="only products whose size contains this text")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    arguments = parser.parse_args()
    target, dtype = host(), np.dtype(arguments.dtype)
    print(f"{target.name} ({target.cpu}), {MEMORY[dtype]}, one thread; GFLOP/s")
    print("rows x depth x     turned  ours  median    NumPy  median   ratio of peak  ours, µs  compile, ms")
    with threadpool_limits(1):
        for rows, depth, columns, turned in PRODUCTS:
            if arguments.only in f"{rows}x{depth}x{columns}":
                print(compare(rows, depth, columns, turned, dtype, target, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
