"""The closed set of primitives: what the engine can do, and all that a stage has to know.

Every stage (shapes, NumPy, derivatives, emission) is a table keyed by `Op`; everything else that users call is a
function of these. The comment beside each op says what it computes; attributes stand in brackets.
"""

from enum import Enum


class Op(Enum):
    """A primitive operation. The value is its name in the text form of a graph."""

    __hash__ = object.__hash__  # Enum's own hashes the name anew at every look into a table

    # Leaves
    INPUT = "input"  # a value from outside: an argument, a parameter, a state
    CONSTANT = "constant"  # a value fixed when the graph was made [value]

    # Elementwise, one input
    NEG = "neg"  # -x
    ABS = "abs"  # |x|
    SIGN = "sign"  # -1, 0, 1
    SQRT = "sqrt"
    EXP = "exp"
    EXPM1 = "expm1"  # exp(x) - 1, exact near 0
    LOG = "log"
    LOG1P = "log1p"  # log(1 + x), exact near 0
    SIN = "sin"
    COS = "cos"
    TAN = "tan"
    ASIN = "asin"
    ACOS = "acos"
    ATAN = "atan"
    SINH = "sinh"
    COSH = "cosh"
    TANH = "tanh"
    ASINH = "asinh"
    ACOSH = "acosh"
    ATANH = "atanh"
    SIGMOID = "sigmoid"  # 1 / (1 + exp(-x)), never overflows
    ERF = "erf"
    FLOOR = "floor"
    CEIL = "ceil"
    ROUND = "round"  # half to even
    TRUNC = "trunc"
    NOT = "not"  # logical for bool, bitwise for integers

    # Elementwise, two inputs of one dtype (shapes broadcast)
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"  # true division, floating only
    FLOOR_DIVIDE = "floor_divide"
    REMAINDER = "remainder"  # sign of the divisor
    POW = "pow"
    ATAN2 = "atan2"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    COPYSIGN = "copysign"
    NEXTAFTER = "nextafter"
    EQUAL = "equal"
    NOT_EQUAL = "not_equal"
    LESS = "less"
    LESS_EQUAL = "less_equal"
    AND = "and"  # logical for bool, bitwise for integers
    OR = "or"
    XOR = "xor"
    SHIFT_LEFT = "shift_left"
    SHIFT_RIGHT = "shift_right"  # arithmetic

    # Elementwise, other
    WHERE = "where"  # where(condition, a, b)
    CAST = "cast"  # [dtype]
    STOP_GRADIENT = "stop_gradient"  # x, but no gradient passes
    CUSTOM = "custom"  # first input's value; the gradient is the user's function [backward]

    # Reductions over axes (the axes disappear) and along one axis
    SUM = "sum"  # [axes]
    PROD = "prod"  # [axes]
    MAX = "max"  # [axes]
    MIN = "min"  # [axes]
    ARGMAX = "argmax"  # [axis] first index of the largest, int64
    ARGMIN = "argmin"  # [axis]
    CUMSUM = "cumsum"  # [axis] inclusive
    ARGSORT = "argsort"  # [axis] ascending, stable, int64

    # Shape
    RESHAPE = "reshape"  # [shape, again] `again`: what is computed from it is not merged with what was computed before
    TRANSPOSE = "transpose"  # [axes]
    BROADCAST = "broadcast"  # [shape]
    SLICE = "slice"  # [starts, stops, steps] steps > 0
    PAD = "pad"  # [low, high, interior, value] zeros (or value) around and between
    CONCAT = "concat"  # [axis] any number of inputs
    FLIP = "flip"  # [axes]

    # Contraction and indexed access
    MATMUL = "matmul"  # (..., n, k) @ (..., k, m), batch axes broadcast
    TAKE = "take"  # [axis] take(x, indices): the axis is replaced by the shape of the indices
    SCATTER_ADD = "scatter_add"  # [axis, size] zeros with updates added at indices: the transpose of TAKE

    # Random
    RANDOM_BITS = "random_bits"  # [shape] random_bits(key, counter) -> int32, Philox 4x32-10
