"""The error function in NumPy, to the last bits of float64.

Rational approximations on four intervals, with the coefficients that Sun Microsystems published in fdlibm
(`s_erf.c`, 1993; stated error below 1 ulp). NumPy has no erf of its own, and SciPy is too heavy to load for one.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_NEAR_ONE = 8.45062911510467529297e-01  # erf(1), rounded to float32

# Numerator and denominator, lowest power first.
_SMALL = (
    [1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02,
     -5.77027029648944159157e-03, -2.37630166566501626084e-05],
    [1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03,
     1.32494738004321644526e-04, -3.96022827877536812320e-06],
)  # fmt: skip
_MIDDLE = (
    [-2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01,
     3.18346619901161753674e-01, -1.10894694282396677476e-01, 3.54783043256182359371e-02,
     -2.16637559486879084300e-03],
    [1.0, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02,
     1.26171219808761642112e-01, 1.36370839120290507362e-02, 1.19844998467991074170e-02],
)  # fmt: skip
_LARGE = (
    [-9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e+01,
     -6.23753324503260060396e+01, -1.62396669462573470355e+02, -1.84605092906711035994e+02,
     -8.12874355063065934246e+01, -9.81432934416914548592e+00],
    [1.0, 1.96512716674392571292e+01, 1.37657754143519042600e+02, 4.34565877475229228821e+02,
     6.45387271733267880336e+02, 4.29008140027567833386e+02, 1.08635005541779435134e+02,
     6.57024977031928170135e+00, -6.04244152148580987438e-02],
)  # fmt: skip
_HUGE = (
    [-9.86494292470009928597e-03, -7.99283237680523006574e-01, -1.77579549177547519889e+01,
     -1.60636384855821916062e+02, -6.37566443368389627722e+02, -1.02509513161107724954e+03,
     -4.83519191608651397019e+02],
    [1.0, 3.03380607434824582924e+01, 3.25792512996573918826e+02, 1.53672958608443695994e+03,
     3.19985821950859553908e+03, 2.55305040643316442583e+03, 4.74528541206955367215e+02,
     -2.24409524465858183362e+01],
)  # fmt: skip


def erf(x: Array) -> Array:
    """erf(x), elementwise, in the data type of `x`; computed in float64."""
    wide = np.asarray(x, np.float64)
    size = np.abs(wide)
    result = np.where(size >= 6, 1.0, size)  # from 6 on it is 1 to the last bit; NaN stays NaN
    for low, high, approximation in ((0, 0.84375, _small), (0.84375, 1.25, _middle), (1.25, 6, _tail)):
        chosen = (size >= low) & (size < high)
        result[chosen] = approximation(size[chosen])
    return np.copysign(result, wide).astype(x.dtype)


def _small(x: Array) -> Array:
    small: Array = x + x * _ratio(_SMALL, x * x)
    return small


def _middle(x: Array) -> Array:
    return _NEAR_ONE + _ratio(_MIDDLE, x - 1)


def _tail(x: Array) -> Array:
    inverse = 1 / (x * x)
    exponent = np.where(x < 1 / 0.35, _ratio(_LARGE, inverse), _ratio(_HUGE, inverse))
    return 1 - np.exp(-x * x - 0.5625 + exponent) / x


def _ratio(coefficients: tuple[list[float], list[float]], x: Array) -> Array:
    above, below = (_polynomial(each, x) for each in coefficients)
    ratio: Array = above / below
    return ratio


def _polynomial(coefficients: list[float], x: Array) -> Array:
    """As NumPy's `polyval`, from the lowest power on; to load what has it takes longer than a small network's step."""
    total = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
