"""Module: what a layer and a network are made of.

A module's attributes are its parameters, states, generators and submodules; their names are the paths by which
everything else speaks of them ("encoder.0.weight"). Calling a module names the nodes that it makes.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

import numpy as np

from chainrule.engine.context import modes, rely_on
from chainrule.engine.provenance import module_scope
from chainrule.engine.random import Generator
from chainrule.engine.state import Parameter, State
from chainrule.errors import ArgumentError, DTypeError, ShapeError
from chainrule.nn.table import network_table

Array = np.ndarray[Any, Any]
Watcher = Callable[["Module", tuple[Any, ...], Any], None]
_inside: ContextVar[bool] = ContextVar("inside", default=False)  # whether a module's call is under way
_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


class Module:
    """A part of a network: attributes hold what it owns, `__call__` says what it computes.

    Subclasses write `__init__` and `__call__`; `super().__init__()` is not needed. Submodules may also stand in lists,
    tuples and dictionaries.

    Attributes
    ----------
    training
        Whether dropout and batch normalisation behave as in training; set by `train()` and `eval()`.
    arguments
        The constructor's arguments, from which the module can be described and built again.

    Examples
    --------
    >>> import chainrule as cr
    >>> from chainrule import nn
    >>> class Twice(nn.Module):
    ...     def __init__(self, features):
    ...         self.dense = nn.Dense(features, features)
    ...     def __call__(self, x):
    ...         return self.dense(cr.tanh(self.dense(x)))
    >>> [name for name, _ in Twice(3).named_parameters()]
    ['dense.weight', 'dense.bias']
    """

    arguments: dict[str, Any]
    _training: bool
    _path: str  # in the network that was called last
    _recorded: bool  # whether `arguments` is filled

    def __new__(cls, *_args: Any, **_keywords: Any) -> Self:
        module = super().__new__(cls)
        module._training, module.arguments, module._path, module._recorded = True, {}, "", False
        return module

    def __init_subclass__(cls) -> None:
        if "__init__" in cls.__dict__:
            setattr(cls, "__init__", _recording_arguments(cls.__dict__["__init__"]))  # noqa: B010 (mypy: a method)
        if "__call__" in cls.__dict__:
            setattr(cls, "__call__", _in_its_own_scope(cls.__dict__["__call__"]))  # noqa: B010 (mypy: a method)

    def __call__(self, x: Any) -> Any:
        raise ArgumentError(f"{type(self).__name__} says nothing about what it computes: write its __call__(self, x).")

    def __setattr__(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name)
        if isinstance(old, State) and not isinstance(value, State):
            raise ArgumentError(
                f'"{name}" of {type(self).__name__} is a {type(old).__name__}; set its value with '
                f"self.{name}.assign(...), or replace it with a new {type(old).__name__}."
            )
        object.__setattr__(self, name, value)

    # What it owns
    def children(self) -> Iterator[tuple[str, Module]]:
        """The submodules directly inside, with their names; those in lists as `name.0`, in dictionaries `name.key`."""
        for name, owned in _owned(self):
            if isinstance(owned, Module):
                yield name, owned

    def named_modules(self) -> dict[str, Module]:
        """This module at the path `""` and all below by their paths; a shared one stands once, at its first path."""
        return dict(self._walk())

    def _walk(self) -> Iterator[tuple[str, Module]]:
        stack: list[tuple[str, Module]] = [("", self)]
        seen: set[int] = set()
        while stack:
            path, module = stack.pop()
            if id(module) not in seen:
                seen.add(id(module))
                yield path, module
                prefix = path + "." if path else ""
                stack.extend(reversed([(prefix + name, child) for name, child in module.children()]))

    def _named_owned(self) -> Iterator[tuple[str, Any]]:
        for path, module in self._walk():
            prefix = path + "." if path else ""
            for name, owned in _owned(module):
                if not isinstance(owned, Module):
                    yield prefix + name, owned

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its path, each once; sets the parameters' `name`."""
        seen: set[int] = set()
        for name, owned in self._named_owned():
            if isinstance(owned, Parameter) and id(owned) not in seen:
                seen.add(id(owned))
                owned.name = name
                yield name, owned

    def parameters(self) -> list[Parameter]:
        """Every parameter, each once."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_states(self) -> Iterator[tuple[str, State]]:
        """Every state that is not a parameter: running statistics, and the counters of random generators."""
        seen: set[int] = set()
        for name, owned in self._named_owned():
            state = owned.counter if isinstance(owned, Generator) else owned
            path = f"{name}.counter" if isinstance(owned, Generator) else name
            if isinstance(state, State) and not isinstance(state, Parameter) and id(state) not in seen:
                seen.add(id(state))
                state.name = path
                yield path, state

    def arrays(self) -> dict[str, Array]:
        """The values of all parameters and states by path (read-only, not copied), and the keys of generators."""
        values = {name: state.value for name, state in (*self.named_parameters(), *self.named_states())}
        keys = {f"{n}.key": np.array(o.key, np.int64) for n, o in self._named_owned() if isinstance(o, Generator)}
        return values | keys

    def load_arrays(self, arrays: Mapping[str, Any]) -> None:
        """Set all parameters and states from `arrays`, as `arrays()` gives them.

        Raises
        ------
        ArgumentError
            If names are missing or unknown; nothing is set then.
        ShapeError, DTypeError
            If a value does not fit.
        """
        states: dict[str, State] = dict((*self.named_parameters(), *self.named_states()))
        generators = {f"{name}.key": owned for name, owned in self._named_owned() if isinstance(owned, Generator)}
        missing = sorted((states.keys() | generators.keys()) - arrays.keys())
        extra = sorted(arrays.keys() - states.keys() - generators.keys())
        if missing or extra:
            parts = [f"missing: {', '.join(missing)}"] if missing else []
            parts += [f"not of this network: {', '.join(extra)}"] if extra else []
            raise ArgumentError(f"the arrays do not go with this {type(self).__name__}; {'; '.join(parts)}.")
        for name, state in states.items():
            if np.shape(arrays[name]) != state.shape:
                raise ShapeError(f'"{name}" has the shape {state.shape}, but the array {np.shape(arrays[name])}.')
            if not np.can_cast(np.asarray(arrays[name]).dtype, state.dtype, "same_kind"):
                kind = np.asarray(arrays[name]).dtype.name
                raise DTypeError(f'"{name}" is {state.dtype.name} and cannot take an array of {kind}.')
        keys = {name: _key(name, arrays[name]) for name in generators}
        for name, state in states.items():
            state.assign(np.asarray(arrays[name], state.dtype))
        for name, generator in generators.items():
            generator.key = keys[name]

    # Modes
    @property
    def training(self) -> bool:
        """Whether it behaves as in training. A function that is compiled relies on what it was then."""
        rely_on(self, "training", self._training)
        return self._training

    @training.setter
    def training(self, wanted: bool) -> None:
        if wanted != self._training:
            self._training = wanted
            modes.changed()

    def train(self, training: bool = True) -> Self:
        """Behave as in training, all the way down."""
        for module in self.named_modules().values():
            module.training = training
        return self

    def eval(self) -> Self:
        """Behave as in use: dropout passes everything, batch normalisation uses its running statistics."""
        return self.train(False)

    def freeze(self) -> Self:
        """Want no gradients for the parameters of this module."""
        for parameter in self.parameters():
            parameter.trainable = False
        return self

    def unfreeze(self) -> Self:
        """Want gradients for the parameters of this module again."""
        for parameter in self.parameters():
            parameter.trainable = True
        return self

    def label(self) -> str:
        """How errors speak of it, such as `Dense "encoder.0"`."""
        return f'{type(self).__name__} "{self._path}"' if self._path else type(self).__name__

    def __repr__(self) -> str:
        return network_table(self)


def _owned(module: Module) -> Iterator[tuple[str, Any]]:
    """States, generators and modules among the attributes, looking into lists, tuples and dictionaries."""
    stack = [(name, value) for name, value in reversed(vars(module).items()) if name != "arguments"]
    while stack:
        name, value = stack.pop()
        if isinstance(value, State | Module | Generator):
            yield name, value
        elif isinstance(value, list | tuple):
            stack.extend((f"{name}.{i}", item) for i, item in reversed(list(enumerate(value))))
        elif isinstance(value, dict):
            stack.extend((f"{name}.{key}", item) for key, item in reversed(value.items()))


def _key(name: str, value: Any) -> int:
    array = np.asarray(value)
    if array.shape != () or array.dtype.kind not in "iu" or not 0 <= int(array) < 2**63:
        raise ArgumentError(f'"{name}" must be one integer from 0 below 2**63, but is {value!r:.60}.')
    return int(array)


def _recording_arguments(init: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def recorded(self: Module, *args: Any, **keywords: Any) -> None:
        if not self._recorded:  # the outermost class's own arguments, not those of a parent's __init__
            bound = signature.bind(self, *args, **keywords)
            self.arguments, self._recorded = dict(list(bound.arguments.items())[1:]), True
        init(self, *args, **keywords)

    return recorded


def _in_its_own_scope(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def scoped(self: Module, *args: Any, **keywords: Any) -> Any:
        # The outermost call gives every submodule its path; inner calls find theirs waiting.
        if not _inside.get():
            for path, module in self.named_modules().items():
                module._path = path
        token = _inside.set(True)
        try:
            with module_scope(self._path):
                result = call(self, *args, **keywords)
        finally:
            _inside.reset(token)
        watcher = _watcher.get()
        if watcher is not None:
            watcher(self, (*args, *keywords.values()), result)
        return result

    return scoped


@contextmanager
def calls_watched(watcher: Watcher) -> Iterator[None]:
    """Tell `watcher(module, arguments, result)` of every call of a module that ends in this block, inner ones first.

    >>> from chainrule import nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Dense(4, 2))
    >>> with calls_watched(lambda module, arguments, result: print(module.label(), result.shape)):
    ...     _ = net(np.ones((3, 2, 2)))
    Flatten "0" (3, 4)
    Dense "1" (3, 2)
    Sequential (3, 2)
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)
