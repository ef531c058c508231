"""A network written out as the Python code that makes one like it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from chainrule.nn.containers import Sequential
from chainrule.nn.module import Module
from chainrule.nn.normalization import Standardize


def sequential_code(layers: Iterable[Module]) -> str:
    """The layers one after another, such as `nn.Sequential(nn.Dense(4, 8), nn.ReLU())`.

    Examples
    --------
    >>> from chainrule import nn
    >>> sequential_code([nn.Dense(4, 8, activation="relu"), nn.Dropout(0.2), nn.Dense(8, 3, bias=True)])
    "nn.Sequential(nn.Dense(4, 8, activation='relu'), nn.Dropout(0.2), nn.Dense(8, 3))"
    """
    return f"nn.Sequential({', '.join(layer_code(layer) for layer in layers)})"


def layer_code(layer: Module) -> str:
    """One layer with the arguments that are not as by default; what draws random numbers is left out."""
    if isinstance(layer, Sequential):
        return sequential_code(layer.layers)
    kind = type(layer)
    parts: list[str] = []
    for name, parameter in inspect.signature(kind).parameters.items():
        if name == "generator" or name not in layer.arguments or layer.arguments[name] == parameter.default:
            continue
        value = _value_code(layer.arguments[name])
        parts.append(value if parameter.default is parameter.empty or not parts else f"{name}={value}")
    prefix = "nn." if kind.__module__.startswith("chainrule.") else ""
    fitted = f".fitted({'y' if layer.undo else 'X'})" if isinstance(layer, Standardize) else ""
    return f"{prefix}{kind.__name__}({', '.join(parts)}){fitted}"


def _value_code(value: Any) -> str:
    if isinstance(value, Module):
        return layer_code(value)
    return getattr(value, "__name__", "") or f"{value!r:.60}"
