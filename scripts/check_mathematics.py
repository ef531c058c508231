"""Measure the native mathematics: `python scripts/check_mathematics.py exp tanh` goes through all 2^32 floats.

For each function it prints the largest error in units in the last place and the input that has it, against float64
results of NumPy and SciPy. `--step 4099` takes every 4099th number only, `--target sse2` compiles for another
processor, `--speed` prints nanoseconds an element in cache instead, beside NumPy's.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from chainrule.engine.op import Op
from chainrule.engine.target import Target, host, named
from engine.native_loop import Compiled, units_off

Array = np.ndarray[Any, Any]
REFERENCES: dict[Op, Callable[[Array], Array]] = {
    Op.SQRT: np.sqrt,
    Op.EXP: np.exp,
    Op.EXPM1: np.expm1,
    Op.LOG: np.log,
    Op.LOG1P: np.log1p,
    Op.TANH: np.tanh,
    Op.SIGMOID: special.expit,
    Op.ERF: special.erf,
    Op.SIN: np.sin,
    Op.COS: np.cos,
    Op.TAN: np.tan,
    Op.SINH: np.sinh,
    Op.COSH: np.cosh,
    Op.ASINH: np.arcsinh,
    Op.ACOSH: np.arccosh,
    Op.ATANH: np.arctanh,
    Op.ASIN: np.arcsin,
    Op.ACOS: np.arccos,
    Op.ATAN: np.arctan,
}
BLOCK = 1 << 20
SIZE = 16384  # numbers in a timed call: they stay in the second-level cache


def worst(op: Op, target: Target, step: int) -> tuple[float, float] | None:
    """The largest error over all floats, and where it is; None where all results are the exact ones, rounded."""
    float32 = np.dtype(np.float32)
    run = Compiled(op, float32, target, target.lanes(4))
    largest: tuple[float, float] | None = None
    for start in range(0, 2**32, BLOCK * step):
        numbers = np.arange(start, min(start + BLOCK * step, 2**32), step, dtype=np.uint64).astype(np.uint32)
        x = numbers.view(np.float32)
        with np.errstate(all="ignore"):
            exact = REFERENCES[op](x.astype(np.float64))
            found = run(x)
            # Most results are the exact ones, rounded: their error is at most a half.
            other = np.flatnonzero((found != exact.astype(np.float32)) & ~(np.isnan(found) & np.isnan(exact)))
        if other.size:
            units = units_off(found[other], exact[other])
            most = int(np.argmax(units))
            if largest is None or units[most] > largest[0]:
                largest = float(units[most]), float(x[other[most]])
    return largest


def nanoseconds(run: Callable[..., object], *arguments: object) -> float:
    """The time of one element in the fastest of many calls."""
    times = []
    for _ in range(400):
        begin = time.perf_counter()
        run(*arguments)
        times.append(time.perf_counter() - begin)
    return min(times) / SIZE * 1e9


def print_speed(op: Op, target: Target) -> None:
    """One line: ours and NumPy's or SciPy's, in both types."""
    parts = []
    for name in ("float32", "float64"):
        dtype = np.dtype(name)
        low, high = {Op.ACOSH: (1.0, 9.0), Op.LOG: (0.1, 9.0)}.get(op, (-0.99, 0.99))
        x = np.random.default_rng(0).uniform(low, high, SIZE).astype(dtype)
        out = np.empty_like(x)
        code = Compiled(op, dtype, target, target.lanes(dtype.itemsize))
        ours = nanoseconds(code.run, out.ctypes.data, x.ctypes.data, SIZE)
        numpy = nanoseconds(REFERENCES[op], x, out)
        parts.append(f"{name} {ours:6.3f} ns, NumPy {numpy:6.3f} ns ({numpy / ours:4.1f}x)")
    print(f"{op.value:8}", " | ".join(parts), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("functions", nargs="*", default=[op.value for op in REFERENCES])
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--target")
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    target = named(arguments.target) if arguments.target else host()
    for name in arguments.functions:
        if arguments.speed:
            print_speed(Op(name), target)
        else:
            found = worst(Op(name), target, arguments.step)
            words = f"{found[0]:.3f} units in the last place at {found[1]!r}" if found else "every result rounded right"
            print(f"{name:8} {words} ({target.name})", flush=True)


if __name__ == "__main__":
    main()
