"""Networks as plain data, and back: what a model file says about the network inside.

A description holds names and arguments, never code. Building looks every name up in a closed registry, checks sizes
before anything is allocated, and takes all that a stranger may have written for possible.
"""

import functools
import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from chainrule.engine import functions
from chainrule.engine.random import Generator
from chainrule.errors import ArgumentError, ChainruleError, FileFormatError
from chainrule.nn import activations, containers, dense, dropout, embedding, normalization
from chainrule.nn.initializers import INITIALIZERS, described, limits
from chainrule.nn.module import Module

Description = dict[str, Any]
MOST_ELEMENTS = 2**28
_DEEPEST = 64
_MOST_PARTS = 100_000


def _takes_one_tensor(function: Any) -> bool:
    """Whether it is a function of chainrule that needs one argument, a tensor called x."""
    if not inspect.isfunction(function) or not function.__module__.startswith(functions.__name__):
        return False
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.default is inspect.Parameter.empty] == ["x"]


LAYERS: dict[str, type[Module]] = {
    name: value
    for module in (activations, containers, dense, dropout, embedding, normalization)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Module) and value.__module__ == module.__name__
}
del LAYERS["ActivationLayer"]
FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: value for name, value in vars(functions).items() if _takes_one_tensor(value)
}


# --- A network into a description --------------------------------------------------------------------------------


def describe(network: Module) -> Description:
    """`{"class": ..., "arguments": {...}}` of a network, ready for JSON.

    Arguments may be numbers, strings, None, modules, initializers of `nn.initializers`, functions of chainrule of one
    tensor, and lists, tuples and dictionaries of these (tuples come back as lists). Generators are left out: what they
    drew is in the network's arrays. A module that is given twice is described once.

    Raises
    ------
    ArgumentError
        If an argument is something else; the message names it.

    Examples
    --------
    >>> from chainrule import nn
    >>> nn.description.describe(nn.Dense(4, 2, activation="relu"))
    {'class': 'Dense', 'arguments': {'inputs': 4, 'outputs': 2, 'activation': 'relu'}}
    """
    description: Description = _described(network, type(network).__name__, {}, _DEEPEST)
    return description


def _described(value: Any, place: str, numbers: dict[int, int], depth: int) -> Any:
    if depth == 0:
        raise ArgumentError(f"{place}: the network is nested more than {_DEEPEST} levels deep and cannot be described.")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Module):
        if id(value) in numbers:
            return {"same": numbers[id(value)]}
        numbers[id(value)] = len(numbers)
        arguments = {
            name: _described(each, f"{place}.{name}", numbers, depth - 1)
            for name, each in value.arguments.items()
            if not isinstance(each, Generator)
        }
        return {"class": type(value).__name__, "arguments": arguments}
    if isinstance(value, list | tuple):
        return [_described(item, f"{place}.{i}", numbers, depth - 1) for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"mapping": {key: _described(each, f"{place}.{key}", numbers, depth - 1) for key, each in value.items()}}
    named = _described_function(value)
    if named is None:
        raise ArgumentError(
            f"{place} is {value!r:.60}, which cannot be written to a file. "
            "Use numbers, strings, layers, initializers, or functions of chainrule such as cr.tanh."
        )
    return named


def _described_function(value: Any) -> Description | None:
    for name, function in FUNCTIONS.items():
        if function is value:
            return {"function": name}
    return described(value) if callable(value) else None


# --- A description into a network --------------------------------------------------------------------------------


def build(
    description: Any,
    classes: Iterable[type[Module]] = (),
    *,
    most_elements: int = MOST_ELEMENTS,
    blank: bool = False,
) -> Module:
    """The network that `describe` described, with fresh first values.

    Parameters
    ----------
    description
        What `describe` returned, perhaps by way of JSON.
    classes
        The caller's own modules that may be named, besides the layers of chainrule.
    most_elements
        How many elements all parameters and states of chainrule's layers may have together; default 2**28.
    blank
        Fill parameters with zeros and draw no random numbers: for a network whose values are loaded next.

    Raises
    ------
    FileFormatError
        If it is no description: a class that is not known, arguments that do not fit, nesting or sizes beyond bounds.
        Nothing is executed but the constructors of known classes, and nothing is allocated beyond the bound.
    ArgumentError
        If one of `classes` is no module or has the name of a layer of chainrule.

    Examples
    --------
    >>> from chainrule import nn
    >>> nn.description.build({"class": "Dense", "arguments": {"inputs": 4, "outputs": 2}}).weight.shape
    (4, 2)
    """
    known = dict(LAYERS)
    for each in classes:
        if not (isinstance(each, type) and issubclass(each, Module)) or each.__name__ in LAYERS:
            raise ArgumentError(f"{each!r:.60} must be a subclass of nn.Module with a name of its own.")
        known[each.__name__] = each
    _check_extent(description)
    with limits(most_elements, blank=blank):
        network = _Builder(known).build(description, "network")
    if not isinstance(network, Module):
        raise FileFormatError(
            f"the network is described by a class and its arguments, but here is {description!r:.60}."
        )
    return network


def _check_extent(description: Any) -> None:
    """Refuse what is nested or branched beyond bounds, without recursion."""
    stack, parts = [(description, 0)], 0
    while stack:
        value, depth = stack.pop()
        parts += 1
        # A level of a network is up to four of a description: the module, its arguments, a list or mapping, the item.
        if depth > 4 * _DEEPEST or parts > _MOST_PARTS:
            raise FileFormatError(f"the network is nested more than {_DEEPEST} levels deep or has too many parts.")
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise FileFormatError("the description of the network has a name that is no string.")
            stack.extend((each, depth + 1) for each in value.values())
        elif isinstance(value, list):
            stack.extend((each, depth + 1) for each in value)


class _Builder:
    """Builds modules in the order of their descriptions, and remembers them for `{"same": number}`."""

    def __init__(self, classes: dict[str, type[Module]]) -> None:
        self.classes = classes
        self.built: list[Module | None] = []

    def build(self, value: Any, place: str) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list):
            return [self.build(item, f"{place}.{i}") for i, item in enumerate(value)]
        if isinstance(value, dict):
            if value.keys() == {"class", "arguments"}:
                return self.module(value["class"], value["arguments"], place)
            if value.keys() == {"same"}:
                return self.same(value["same"], place)
            if value.keys() == {"mapping"} and isinstance(value["mapping"], dict):
                return {key: self.build(each, f"{place}.{key}") for key, each in value["mapping"].items()}
            if value.keys() == {"function"}:
                return _known(FUNCTIONS, value["function"], "function", place)
            if value.keys() == {"initializer", "arguments"}:
                return _initializer(value["initializer"], value["arguments"], place)
        raise FileFormatError(f"{place}: {value!r:.60} describes nothing that a network is made of.")

    def module(self, name: Any, arguments: Any, place: str) -> Module:
        chosen = _known(self.classes, name, "layer", place)
        number = len(self.built)
        self.built.append(None)
        if not isinstance(arguments, dict):
            raise FileFormatError(f"{place}: the arguments of {name} must have names, but are {arguments!r:.60}.")
        signature = inspect.signature(chosen.__init__)
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])
        unknown = sorted(arguments.keys() - signature.parameters.keys())
        if unknown:
            raise FileFormatError(f"{place}: {name} has no argument {unknown[0]!r:.60}.")
        values = {key: self.build(arguments[key], f"{place}.{key}") for key in arguments}
        for key, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL and not isinstance(values.get(key, []), list):
                raise FileFormatError(f"{place}: {key} of {name} must be a list, but is {arguments[key]!r:.60}.")
            if parameter.kind is parameter.VAR_KEYWORD and not isinstance(values.get(key, {}), dict):
                raise FileFormatError(f"{place}: {key} of {name} must be a mapping, but is {arguments[key]!r:.60}.")
        bound = inspect.BoundArguments(signature, values)
        try:
            made: Module = chosen(*bound.args, **bound.kwargs)
        except (ChainruleError, TypeError, ValueError, KeyError, AttributeError, OverflowError, MemoryError) as error:
            raise FileFormatError(f"{place}: {name} cannot be made as described. {error}") from error
        self.built[number] = made
        return made

    def same(self, number: Any, place: str) -> Module:
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(self.built):
            found = self.built[number]
            if found is not None:
                return found
        raise FileFormatError(f"{place}: there is no module number {number!r:.60} before it.")


def _known(table: dict[str, Any], name: Any, what: str, place: str) -> Any:
    if not isinstance(name, str) or name not in table:
        raise FileFormatError(f"{place}: {name!r:.60} is no {what} that is known here.")
    return table[name]


def _initializer(name: Any, arguments: Any, place: str) -> Any:
    function = _known(INITIALIZERS, name, "initializer", place)
    allowed = inspect.signature(function).parameters.keys() - {"shape", "generator", "dtype"}
    if not isinstance(arguments, dict) or not arguments.keys() <= allowed:
        raise FileFormatError(f"{place}: the arguments of {name} are {sorted(allowed)}, but here {arguments!r:.60}.")
    if not all(isinstance(each, int | float) for each in arguments.values()):
        raise FileFormatError(f"{place}: the arguments of {name} are numbers, but here {arguments!r:.60}.")
    return functools.partial(function, **arguments)
