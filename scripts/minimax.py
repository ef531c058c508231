"""Derive the polynomials of the native mathematics: `python scripts/minimax.py` writes engine/coefficients.py anew.

Each polynomial, and each quotient of two, is the best in the sense of Chebyshev, found by the exchange algorithm of
Remez (1934) in 60 digits with a weight that turns its error into a relative error of the function. Prints each one's
own largest error in units of 2^-24 (float32) or 2^-53 (float64). Needs mpmath, which comes with `make oracles`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpmath import mp, mpf

mp.dps = 60
PLACE = Path(__file__).parents[1] / "src" / "chainrule" / "engine" / "coefficients.py"
GRID = 1500  # points on which the extrema of the error are sought

Function = Callable[[mpf], mpf]
Degree = int | tuple[int, int]


@dataclass(frozen=True)
class Wanted:
    """A polynomial in t over [low, high] close to `target`, its error counted `weight` times.

    Or a quotient of two, where the degree is a pair: of the upper one and of the lower one, which begins with 1.
    """

    name: str
    target: Function
    weight: Function
    low: mpf
    high: mpf
    single: Degree | None  # the degree for float32; None: it does not need this one
    double: Degree | None  # and for float64


def expm1_rest(t: mpf) -> mpf:
    """(exp(t) - 1 - t) / t^2."""
    return (mp.expm1(t) - t) / t**2 if abs(t) > mpf(10) ** -12 else mpf(1) / 2 + t / 6


def log1p_rest(t: mpf) -> mpf:
    """(log(1 + t) - t + t^2 / 2) / t^3."""
    return (mp.log1p(t) - t + t * t / 2) / t**3 if abs(t) > mpf(10) ** -12 else mpf(1) / 3 - t / 4


def atanh_rest(z: mpf) -> mpf:
    """(2 atanh(s) / s - 2) / s^2 for s^2 = z."""
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) / s - 2) / z if z > mpf(10) ** -12 else mpf(2) / 3 + z * 2 / 5


def erf_rest(z: mpf) -> mpf:
    """erf(x) / x - 1 for x^2 = z."""
    x = mp.sqrt(z)
    return mp.erf(x) / x - 1 if z > mpf(10) ** -20 else 2 / mp.sqrt(mp.pi) * (1 - z / 3) - 1


def sinh_rest(z: mpf) -> mpf:
    """(sinh(x) / x - 1) / x^2 for x^2 = z."""
    x = mp.sqrt(z)
    return (mp.sinh(x) / x - 1) / z if z > mpf(10) ** -12 else mpf(1) / 6 + z / 120


def tanh_rest(z: mpf) -> mpf:
    """(tanh(x) / x - 1) / x^2 for x^2 = z."""
    x = mp.sqrt(z)
    return (mp.tanh(x) / x - 1) / z if z > mpf(10) ** -12 else -mpf(1) / 3 + z * 2 / 15


def sin_rest(z: mpf) -> mpf:
    """(sin(x) / x - 1) / x^2 for x^2 = z."""
    x = mp.sqrt(z)
    return (mp.sin(x) / x - 1) / z if z > mpf(10) ** -12 else -mpf(1) / 6 + z / 120


def cos_rest(z: mpf) -> mpf:
    """(cos(x) - 1 + x^2 / 2) / x^4 for x^2 = z."""
    return (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2 if z > mpf(10) ** -12 else mpf(1) / 24 - z / 720


def atan_rest(z: mpf) -> mpf:
    """(atan(x) / x - 1) / x^2 for x^2 = z."""
    x = mp.sqrt(z)
    return (mp.atan(x) / x - 1) / z if z > mpf(10) ** -12 else -mpf(1) / 3 + z / 5


def asin_rest(z: mpf) -> mpf:
    """(asin(x) / x - 1) / x^2 for x^2 = z."""
    x = mp.sqrt(z)
    return (mp.asin(x) / x - 1) / z if z > mpf(10) ** -12 else mpf(1) / 6 + z * 3 / 40


HALF_LOG2 = mp.log(2) / 2 * mpf("1.0001")
ROOT = mp.sqrt(2) * mpf("1.0001")
QUARTER = mp.pi / 4 * mpf("1.0001")
WANTED = [
    Wanted("EXP", expm1_rest, lambda t: t**2 / mp.exp(t), -HALF_LOG2, HALF_LOG2, 4, 9),
    Wanted("LOG", log1p_rest, lambda t: t**3 / mp.log1p(t) if t else mpf(0), 1 / ROOT - 1, ROOT - 1, 7, None),
    Wanted("ATANH", atanh_rest, lambda z: z / 2, mpf(0), ((ROOT - 1) / (ROOT + 1)) ** 2, None, 6),
    Wanted("ERF", erf_rest, lambda z: 1 / (erf_rest(z) + 1), mpf(0), mpf(1), 6, 11),
    Wanted("SINH", sinh_rest, lambda z: z / (1 + z * sinh_rest(z)), mpf(0), mpf(1), None, 6),
    Wanted("TANH", tanh_rest, lambda z: z / (1 + z * tanh_rest(z)), mpf(0), mpf("0.68") ** 2, (1, 1), (2, 3)),
    Wanted("SIN", sin_rest, lambda z: z / (1 + z * sin_rest(z)), mpf(0), QUARTER**2, 2, 5),
    Wanted("COS", cos_rest, lambda z: z**2 / mp.cos(mp.sqrt(z)), mpf(0), QUARTER**2, 2, 5),
    Wanted("ATAN", atan_rest, lambda z: z, mpf(0), (mp.sqrt(2) - 1) ** 2 * mpf("1.0001"), None, 10),
    Wanted("ASIN", asin_rest, lambda z: z, mpf(0), mpf(1) / 4, None, 11),
]
# Constants as sums: all parts but the last have so few digits that their products with the integers they meet are
# exact.
SPLIT = {
    "LOG2": (mp.log(2), {"single": (16, 24), "double": (42, 53)}),
    "HALF_PI": (mp.pi / 2, {"single": (11, 11, 11, 24), "double": (33, 33, 53)}),
}
# -log(erfc(x)) where 1 - exp(-polynomial) is to be erf(x); float32 needs it to 4, float64 to 6.
TAILS = {"single": (mpf(1), mpf(4), 7), "double": (mpf(1), mpf(6), 17)}


def remez(target: Function, weight: Function, low: mpf, high: mpf, degree: Degree) -> tuple[list[list[mpf]], mpf]:
    """The best polynomial, or the two of the best quotient, lowest power first, and the largest weighted error.

    upper / lower - target = +-level / weight is not linear in what is sought: the level is multiplied by the lower
    polynomial of the step before.
    """
    top, bottom = degree if isinstance(degree, tuple) else (degree, 0)
    count = top + bottom + 2
    grid = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * i / (GRID - 1)) for i in range(GRID)]
    values, weights = [target(t) for t in grid], [abs(weight(t)) for t in grid]
    chosen = [round((GRID - 1) * (i + 0.5) / count) for i in range(count)]
    below = [mpf(1)] * GRID
    for _ in range(40):
        rows = []
        for j, i in enumerate(chosen):
            powers = [grid[i] ** k for k in range(max(top, bottom) + 1)]
            lowered = [-values[i] * power for power in powers[1 : bottom + 1]]
            rows.append([*powers[: top + 1], *lowered, (-1) ** j * below[i] / weights[i]])
        *found, level = mp.lu_solve(mp.matrix(rows), mp.matrix([values[i] for i in chosen]))
        upper, lower = found[: top + 1], [mpf(1), *found[top + 1 :]]
        below = [mp.polyval(lower[::-1], t) for t in grid]
        errors = [
            w * (mp.polyval(upper[::-1], t) / b - v) for t, b, v, w in zip(grid, below, values, weights, strict=True)
        ]
        largest = max(map(abs, errors))
        if largest < abs(level) * mpf("1.001"):
            break
        chosen = extrema(errors, count)
    return [upper, lower] if bottom else [upper], largest


def extrema(errors: list[mpf], count: int) -> list[int]:
    """The places of `count` extrema of alternating sign."""
    runs: list[int] = []
    for i, error in enumerate(errors):
        if not error:
            continue
        if runs and (errors[runs[-1]] > 0) == (error > 0):
            runs[-1] = max(runs[-1], i, key=lambda place: abs(errors[place]))
        else:
            runs.append(i)
    while len(runs) > count:
        if len(runs) == count + 1:
            runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
        else:  # take out the smallest together with a neighbour, so that signs still alternate
            least = min(range(len(runs) - 1), key=lambda i: abs(errors[runs[i]]) + abs(errors[runs[i + 1]]))
            del runs[least : least + 2]
    return runs


def line(name: str, polynomials: list[list[mpf]], single: bool) -> str:
    """The polynomial, or the pair of them, as Python."""
    kind = np.float32 if single else np.float64
    # Through a string of 40 digits: NumPy then rounds once.
    written = [f"({', '.join(str(kind(mp.nstr(c, 40))) for c in coefficients)})" for coefficients in polynomials]
    value = written[0] if len(written) == 1 else f"({', '.join(written)})"
    return f"    ({name!r}, {'float32' if single else 'float64'}): {value},"


def parts(value: mpf, digits: tuple[int, ...]) -> tuple[float, ...]:
    """`value` as a sum of numbers of so many binary digits, the largest first."""
    found = []
    for count in digits:
        _, exponent = mp.frexp(value)
        unit = mp.ldexp(1, exponent - count)
        found.append(float(mp.nint(value / unit) * unit))
        value -= found[-1]
    return tuple(found)


def split_lines() -> list[str]:
    """The table SPLITS."""
    lines = ["", "SPLITS: dict[tuple[str, DType], tuple[float, ...]] = {"]
    for name, (value, digits) in SPLIT.items():
        for kind, dtype in (("single", "float32"), ("double", "float64")):
            lines.append(f"    ({name!r}, {dtype}): {parts(value, digits[kind])},")
    return [*lines, "}"]


def main() -> None:
    lines: list[str] = []
    quotients: list[str] = []
    for wanted in WANTED:
        for single, degree in ((True, wanted.single), (False, wanted.double)):
            if degree is None:
                continue
            found, error = remez(wanted.target, wanted.weight, wanted.low, wanted.high, degree)
            print(wanted.name, degree, mp.nstr(error * 2 ** (24 if single else 53), 3), flush=True)
            (lines if len(found) == 1 else quotients).append(line(wanted.name, found, single))
    for kind, (low, high, degree) in TAILS.items():
        found, error = remez(lambda x: -mp.log(mp.erfc(x)), lambda x: mp.erfc(x) / mp.erf(x), low, high, degree)
        print("ERFC", degree, mp.nstr(error * 2 ** (24 if kind == "single" else 53), 3), flush=True)
        lines.append(line("ERFC", found, kind == "single"))
    head = '"""Polynomials and quotients of two, lowest power first; scripts/minimax.py wrote and explains them."""\n'
    names = "from chainrule.engine.dtypes import DType, float32, float64\n"
    table = ["POLYNOMIALS: dict[tuple[str, DType], tuple[float, ...]] = {", *lines, "}", ""]
    table += ["QUOTIENTS: dict[tuple[str, DType], tuple[tuple[float, ...], tuple[float, ...]]] = {", *quotients, "}"]
    PLACE.write_text("\n".join([head, names, *table, *split_lines(), ""]))


if __name__ == "__main__":
    main()
