"""A symbol has no numbers: what is refused while a function is traced, and what NumPy's own functions do with tensors.

Each message names the user's line and what to write instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.engine.graph import Node
from chainrule.engine.provenance import here
from chainrule.errors import DTypeError, TraceError

# What `array + tensor` calls on the left side, and the operator of a tensor that stands for it.
_OPERATORS: dict[Any, str] = {
    np.add: "__add__", np.subtract: "__sub__", np.multiply: "__mul__", np.divide: "__truediv__",
    np.floor_divide: "__floordiv__", np.remainder: "__mod__", np.power: "__pow__", np.matmul: "__matmul__",
    np.equal: "__eq__", np.not_equal: "__ne__", np.less: "__lt__", np.less_equal: "__le__", np.greater: "__gt__",
    np.greater_equal: "__ge__", np.bitwise_and: "__and__", np.bitwise_or: "__or__", np.bitwise_xor: "__xor__",
    np.left_shift: "__lshift__", np.right_shift: "__rshift__",
}  # fmt: skip
_OF_THE_FORM = {np.shape, np.ndim, np.size, np.result_type, np.iscomplexobj, np.isrealobj}  # these need no numbers
# Names of NumPy's that the standard, and so chainrule, has under another name.
_OTHER_NAMES = {
    "absolute": "abs", "amax": "max", "amin": "min", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin",
    "arcsinh": "asinh", "arctan": "atan", "arctan2": "atan2", "arctanh": "atanh", "concatenate": "concat",
    "dot": "matmul", "fabs": "abs", "invert": "bitwise_invert", "power": "pow", "rint": "round",
    "transpose": "permute_dims", "unique": "unique_values",
}  # fmt: skip


def operator_for(ufunc: np.ufunc, method: str, inputs: Any, settings: Mapping[str, Any], namespace: Any) -> str:
    """The operator of a tensor that does what a ufunc of NumPy was called for.

    Raises
    ------
    TraceError, DTypeError
        If no operator does: a function of NumPy would lose the gradient, or needs numbers that are not there.
    """
    if ufunc in _OPERATORS and method == "__call__" and not settings:
        return _OPERATORS[ufunc]
    name, instead = f"np.{ufunc.__name__}", _instead("numpy", ufunc.__name__, namespace)
    if method != "__call__":
        name, instead = f"{name}.{method}", "Write it with functions of chainrule"
    if "out" in settings:
        instead = "An array cannot hold what a tensor becomes: write a = a + b in place of a += b, and no out="
    raise _refusal(name, instead, inputs)


def call_numpy(function: Any, arguments: Any, settings: Mapping[str, Any], namespace: Any) -> Any:
    """What a function of NumPy, other than a ufunc, gives for tensors: it sees arrays where there are numbers."""
    name = f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
    instead = _instead(function.__module__, function.__name__, namespace)
    if function not in _OF_THE_FORM and _holds_symbol((arguments, settings)):
        raise _refusal(name, instead, (arguments, settings))
    try:
        return np.empty(0).__array_function__(function, (), arguments, settings)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        # It calls the method of the same name, which does not know all of NumPy's settings.
        raise _refusal(name, instead, ()) from error


def _refusal(name: str, instead: str, inputs: Any) -> TraceError | DTypeError:
    if _holds_symbol(inputs):
        return missing(f"{name} needs numbers", f"{instead}, or compute it outside")
    return DTypeError(f"{name} at {here()} takes arrays, not tensors. {instead}, or take np.asarray(tensor) first.")


def missing(what: str, instead: str) -> TraceError:
    """The error for something that needs numbers where there is only a symbol."""
    return TraceError(
        f"{what} at {here()}, but the function is being traced and this tensor is only a symbol. {instead}."
    )


def numbers_of(node: Node, what: str, instead: str) -> Any:
    """The value of a node as an array, or the error that says what needs it."""
    if node.value is None:
        raise missing(what, instead)
    return node.value


def _instead(module: str, name: str, namespace: Any) -> str:
    own = _OTHER_NAMES.get(name, name)
    is_known = module == "numpy" and hasattr(namespace, own)
    return f"Write cr.{own}" if is_known else "Write it with functions of chainrule"


def _holds_symbol(part: Any) -> bool:
    if isinstance(part, list | tuple):
        return any(map(_holds_symbol, part))
    if isinstance(part, dict):
        return any(map(_holds_symbol, part.values()))
    node = getattr(part, "node", None)
    return isinstance(node, Node) and node.value is None
