"""Functions of each element by itself, by the names of the Python array API standard.

Arguments broadcast; Python numbers take the data type of the tensor beside them; integers become float32 where a
function is defined for floats only.
"""

import math
from collections.abc import Callable
from typing import Any

from chainrule.engine.dtypes import bool_, float32, is_floating, supported
from chainrule.engine.functions.axes import method
from chainrule.engine.op import Op
from chainrule.engine.tensor import Tensor, apply, asarray, cast, operands
from chainrule.errors import ArgumentError


def floating(x: Any) -> Tensor:
    """`x` as a floating tensor: integers and booleans become float32."""
    tensor = asarray(x)
    return tensor if is_floating(tensor.dtype) else cast(tensor, float32)


def _unary(op: Op, about: str) -> Callable[[Any], Tensor]:
    def function(x: Any, /) -> Tensor:
        return apply(op, floating(x))

    function.__name__ = function.__qualname__ = op.value
    function.__doc__ = f"{about} Integers become float32."
    return function


sqrt = method(_unary(Op.SQRT, "The square root of each element."))
exp = method(_unary(Op.EXP, "e to the power of each element."))
log = method(_unary(Op.LOG, "The natural logarithm of each element."))
tanh = method(_unary(Op.TANH, "The hyperbolic tangent of each element."))
expm1 = _unary(Op.EXPM1, "exp(x) - 1, exact near 0.")
log1p = _unary(Op.LOG1P, "log(1 + x), exact near 0.")
sin = _unary(Op.SIN, "The sine of each element (radians).")
cos = _unary(Op.COS, "The cosine of each element (radians).")
tan = _unary(Op.TAN, "The tangent of each element (radians).")
asin = _unary(Op.ASIN, "The angle whose sine is each element, in radians.")
acos = _unary(Op.ACOS, "The angle whose cosine is each element, in radians.")
atan = _unary(Op.ATAN, "The angle whose tangent is each element, in radians.")
sinh = _unary(Op.SINH, "The hyperbolic sine of each element.")
cosh = _unary(Op.COSH, "The hyperbolic cosine of each element.")
asinh = _unary(Op.ASINH, "The inverse hyperbolic sine of each element.")
acosh = _unary(Op.ACOSH, "The inverse hyperbolic cosine of each element.")
atanh = _unary(Op.ATANH, "The inverse hyperbolic tangent of each element.")
sigmoid = _unary(Op.SIGMOID, "1 / (1 + exp(-x)), without overflow.")
erf = _unary(Op.ERF, "The error function of each element.")


def _rounding(op: Op, about: str) -> Callable[[Any], Tensor]:
    def function(x: Any, /) -> Tensor:
        tensor = asarray(x)
        return apply(op, tensor) if is_floating(tensor.dtype) else tensor

    function.__name__ = function.__qualname__ = op.value
    function.__doc__ = about
    return function


floor = _rounding(Op.FLOOR, "The largest integer that is not above.")
ceil = _rounding(Op.CEIL, "The smallest integer that is not below.")
round = _rounding(Op.ROUND, "The nearest integer, halves to the even one.")
trunc = _rounding(Op.TRUNC, "The integer part.")


def _binary(op: Op, name: str, about: str, *, needs_float: bool = False) -> Callable[[Any, Any], Tensor]:
    def function(x1: Any, x2: Any, /) -> Tensor:
        left, right = operands(x1, x2)
        return apply(op, floating(left), floating(right)) if needs_float else apply(op, left, right)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = about
    return function


add = _binary(Op.ADD, "add", "x1 + x2.")
subtract = _binary(Op.SUB, "subtract", "x1 - x2.")
multiply = _binary(Op.MUL, "multiply", "x1 * x2.")
divide = _binary(Op.DIV, "divide", "x1 / x2; integers become float32.", needs_float=True)
floor_divide = _binary(Op.FLOOR_DIVIDE, "floor_divide", "x1 / x2 rounded down.")
remainder = _binary(Op.REMAINDER, "remainder", "What floor_divide leaves, with the sign of x2.")
pow = _binary(Op.POW, "pow", "x1 to the power of x2.")
atan2 = _binary(Op.ATAN2, "atan2", "The angle of the point (x2, x1), in radians.", needs_float=True)
maximum = _binary(Op.MAXIMUM, "maximum", "The larger of two; NaN where one is NaN. A tie shares the gradient.")
minimum = _binary(Op.MINIMUM, "minimum", "The smaller of two; NaN where one is NaN. A tie shares the gradient.")
copysign = _binary(Op.COPYSIGN, "copysign", "The size of x1 with the sign of x2.", needs_float=True)
nextafter = _binary(Op.NEXTAFTER, "nextafter", "The next number after x1 towards x2.", needs_float=True)
equal = _binary(Op.EQUAL, "equal", "x1 == x2.")
not_equal = _binary(Op.NOT_EQUAL, "not_equal", "x1 != x2.")
less = _binary(Op.LESS, "less", "x1 < x2.")
less_equal = _binary(Op.LESS_EQUAL, "less_equal", "x1 <= x2.")
bitwise_and = _binary(Op.AND, "bitwise_and", "x1 & x2, for integers and booleans.")
bitwise_or = _binary(Op.OR, "bitwise_or", "x1 | x2, for integers and booleans.")
bitwise_xor = _binary(Op.XOR, "bitwise_xor", "x1 ^ x2, for integers and booleans.")
bitwise_left_shift = _binary(Op.SHIFT_LEFT, "bitwise_left_shift", "x1 << x2.")
bitwise_right_shift = _binary(Op.SHIFT_RIGHT, "bitwise_right_shift", "x1 >> x2, keeping the sign.")


def greater(x1: Any, x2: Any, /) -> Tensor:
    """x1 > x2."""
    return less(x2, x1)


def greater_equal(x1: Any, x2: Any, /) -> Tensor:
    """x1 >= x2."""
    return less_equal(x2, x1)


def bitwise_invert(x: Any, /) -> Tensor:
    """~x, for integers and booleans."""
    return apply(Op.NOT, asarray(x))


def truth(x: Any) -> Tensor:
    """Whether each element is not zero, as bool."""
    tensor = asarray(x)
    return tensor if tensor.dtype == bool_ else not_equal(tensor, 0)


def logical_and(x1: Any, x2: Any, /) -> Tensor:
    """Whether both are true."""
    return apply(Op.AND, truth(x1), truth(x2))


def logical_or(x1: Any, x2: Any, /) -> Tensor:
    """Whether one of them is true."""
    return apply(Op.OR, truth(x1), truth(x2))


def logical_xor(x1: Any, x2: Any, /) -> Tensor:
    """Whether exactly one of them is true."""
    return apply(Op.XOR, truth(x1), truth(x2))


def logical_not(x: Any, /) -> Tensor:
    """Whether it is false."""
    return apply(Op.NOT, truth(x))


def negative(x: Any, /) -> Tensor:
    """-x."""
    return apply(Op.NEG, asarray(x))


def positive(x: Any, /) -> Tensor:
    """x itself."""
    return asarray(x)


@method
def abs(x: Any, /) -> Tensor:
    """The absolute value of each element; its gradient at 0 is 0."""
    return apply(Op.ABS, asarray(x))


def sign(x: Any, /) -> Tensor:
    """-1, 0 or 1."""
    return apply(Op.SIGN, asarray(x))


def signbit(x: Any, /) -> Tensor:
    """Whether the sign bit is set; -0.0 counts."""
    tensor = floating(x)
    return less(copysign(1.0, tensor), 0)


def square(x: Any, /) -> Tensor:
    """x * x."""
    tensor = asarray(x)
    return apply(Op.MUL, tensor, tensor)


def reciprocal(x: Any, /) -> Tensor:
    """1 / x."""
    return divide(1.0, x)


def log2(x: Any, /) -> Tensor:
    """The logarithm to base 2."""
    return log(x) * (1 / math.log(2))


def log10(x: Any, /) -> Tensor:
    """The logarithm to base 10."""
    return log(x) * (1 / math.log(10))


def hypot(x1: Any, x2: Any, /) -> Tensor:
    """sqrt(x1² + x2²), scaled so that squares neither overflow nor vanish."""
    left, right = (abs(floating(x)) for x in operands(x1, x2))
    largest, smallest = maximum(left, right), minimum(left, right)
    safe = where(largest > 0, largest, 1.0)
    ratio = where(isinf(largest), 0.0, smallest / safe)
    infinite = logical_or(isinf(left), isinf(right))  # which wins even over NaN
    return where(infinite, math.inf, largest * sqrt(1 + ratio * ratio))


def logaddexp(x1: Any, x2: Any, /) -> Tensor:
    """log(exp(x1) + exp(x2)), without overflow."""
    left, right = (floating(x) for x in operands(x1, x2))
    gap = where(equal(left, right), 0.0, left - right)  # inf - inf has no place here
    return maximum(left, right) + log1p(exp(-abs(gap)))


def isnan(x: Any, /) -> Tensor:
    """Whether each element is NaN."""
    tensor = asarray(x)
    return apply(Op.NOT_EQUAL, tensor, tensor)


def isinf(x: Any, /) -> Tensor:
    """Whether each element is infinite."""
    tensor = asarray(x)
    return equal(abs(tensor), math.inf) if is_floating(tensor.dtype) else apply(Op.NOT_EQUAL, tensor, tensor)


def isfinite(x: Any, /) -> Tensor:
    """Whether each element is neither NaN nor infinite."""
    tensor = asarray(x)
    return less(abs(tensor), math.inf) if is_floating(tensor.dtype) else equal(tensor, tensor)


def where(condition: Any, x1: Any, x2: Any, /) -> Tensor:
    """`x1` where `condition` is true, `x2` elsewhere. Only the chosen side gets a gradient."""
    return apply(Op.WHERE, truth(condition), *operands(x1, x2))


@method
def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """`x` kept between `min` and `max`. Outside, the gradient is 0; at a bound it passes."""
    tensor = asarray(x)
    bounds = [bound for bound in (min, max) if bound is not None]
    if all(isinstance(bound, int | float) for bound in bounds) and len(bounds) == 2 and min > max:
        raise ArgumentError(f"clip: min {min} is above max {max}.")
    if min is not None:
        tensor = where(less(tensor, min), min, tensor)
    if max is not None:
        tensor = where(less(max, tensor), max, tensor)
    return tensor


@method
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """`x` in another data type. A gradient passes between floating types.

    `copy` and `device` are there for the standard's sake: no value ever changes, and there is one device, "cpu".
    """
    tensor = asarray(x)
    return cast(tensor if device is None else tensor.to_device(device), supported(dtype))


def stop_gradient(x: Any, /) -> Tensor:
    """`x`, but no gradient passes through."""
    return apply(Op.STOP_GRADIENT, asarray(x))
