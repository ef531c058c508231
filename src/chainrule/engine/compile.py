"""compile: a Python function becomes a native program, once for each signature.

The first call with arguments of new shapes, data types or fixed values traces the function and compiles it; later calls
run the machine code. What the function reads and assigns of parameters and states, the program reads and writes too.
"""

from __future__ import annotations

import functools
import gc
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

import numpy as np

from chainrule.engine.context import differentiating, modes, recording, trace_under_way
from chainrule.engine.dtypes import DTYPES, adopted
from chainrule.engine.forking import building
from chainrule.engine.graph import Forgotten
from chainrule.engine.result import Result
from chainrule.engine.state import State
from chainrule.engine.structure import Branch, Fixed, Leaf, Structure, put_together, take_apart
from chainrule.engine.tensor import Tensor
from chainrule.engine.trace import trace
from chainrule.errors import TraceError

if TYPE_CHECKING:
    from chainrule.engine.program import Program
    from chainrule.engine.run import Run

KEPT = 16  # programs of one function; the one used longest ago goes first
_OFTEN = 5  # programs for training, or for evaluation, after which a warning tells why there are so many

Array = np.ndarray[Any, Any]
R = TypeVar("R")


class RecompilationWarning(UserWarning):
    """A compiled function is compiled again and again, because something about its arguments changes all the time."""


@overload
def compile(function: Callable[..., R], /) -> Compiled[R]: ...


@overload
def compile() -> Callable[[Callable[..., R]], Compiled[R]]: ...


def compile(function: Callable[..., R] | None = None, /) -> Any:
    """A function as machine code: traced, differentiated, fused and compiled for this processor at its first call.

    Parameters
    ----------
    function
        Ordinary imperative code over tensors, such as a whole training step; it may read and assign parameters and
        states. Its arguments are tensors and arrays, whose shapes and data types count, and anything else that can be
        compared, whose value counts: another value compiles anew. It returns tensors, or tuples, lists and dictionaries
        of them. Python code in it runs while it is traced and not again; a result does not remember how it was made, so
        take gradients inside; `backpropagate` refuses a loss of which a part would be forgotten.

    Returns
    -------
    Compiled
        Called as `function` is. `.program(*arguments)` shows what a call would run.

    Raises
    ------
    TraceError
        On the first call, where `function` needs a number while there are only symbols: a Python branch on a tensor,
        `float(x)`, a selection by a boolean tensor. The message names the line and what to write instead.
    ShapeError, ArgumentError
        On any call, where an index, a class number or another target is none. What can be told from the arguments by
        plain arithmetic is refused before the step begins; an index that is computed otherwise, after it.

    Examples
    --------
    >>> import chainrule as cr
    >>> weight = cr.Parameter([1.0, 2.0])
    >>> @cr.compile
    ... def step(x):
    ...     loss = cr.sum((weight * x) ** 2)
    ...     weight.assign(weight - 0.1 * cr.backpropagate(loss)[weight])
    ...     return loss
    >>> step(cr.asarray([1.0, 1.0])).item(), weight.tolist()
    (5.0, [0.800000011920929, 1.600000023841858])
    """
    return compile if function is None else Compiled(function)


class _Method(functools.partial[Any]):
    """A compiled function as a method of an object."""

    def program(self, *arguments: Any, **named: Any) -> Program:
        """The program that a call with these arguments would run."""
        return cast("Compiled[Any]", self.func).program(*self.args, *arguments, **named)


class Compiled(Generic[R]):
    """What `compile` makes of a function."""

    def __init__(self, function: Callable[..., R]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._name = getattr(function, "__name__", type(function).__name__)
        self._programs: dict[Hashable, list[_Version]] = {}  # the one used last stands last
        self._quick: dict[Hashable, tuple[_Version, Run]] = {}  # for calls with nothing but tensors and arrays
        self._made: Counter[frozenset[object]] = Counter()  # programs for training, for evaluation, for neither

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Copied and pickled without its programs: by name where its module has it under that name, as a function is;
        else as what compiles a copy of its function, which of a method goes with the object."""
        name = str(vars(self).get("__qualname__", self._name))
        found: Any = sys.modules.get(str(self.__module__))
        for part in name.split("."):
            found = getattr(found, part, None)
        return name if found is self else (Compiled, (self._function,))

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else _Method(self, instance)

    def __call__(self, *arguments: Any, **named: Any) -> R:
        if trace_under_way.get() is not None or differentiating.get():
            return self._function(*arguments, **named)
        given: list[Array] = []
        key = None if named else _quick_key(arguments, given)
        quick = self._quick.get(key)
        if quick is not None and quick[0].still_holds():
            version, run = quick
            version.used = True
            found: R = version.returns(run.on(given))
            return found
        version, leaves = self._version(arguments, named)
        found = version.returns(version.program(*leaves))
        if key is not None and all(leaf.dtype.isnative and leaf.dtype in DTYPES for leaf in given):
            self._quick[key] = version, version.program.ready()
        return found

    def program(self, *arguments: Any, **named: Any) -> Program:
        """The program that a call with these arguments would run: its graph, kernels, memory and machine code."""
        return self._version(arguments, named)[0].program

    def _version(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[_Version, list[Any]]:
        leaves: list[Any] = []
        structure = take_apart((arguments, named), _is_array, leaves)
        leaves = [leaf.value if isinstance(leaf, Tensor) else _adopted(np.asarray(leaf)) for leaf in leaves]
        key = (structure, tuple([(leaf.shape, leaf.dtype.char) for leaf in leaves]))
        for version in self._programs.get(key, []):
            if version.still_holds():
                self._move_to_end(key)
                return version, leaves
        version = self._compiled(structure, leaves)
        self._warn_if_often(key, version.training)
        versions = self._programs.setdefault(key, [])
        versions.append(version)
        del versions[:-KEPT]
        if len(self._programs) > KEPT:
            self._forget_one()
        return version, leaves

    # Threads may do these things at once: then a program is made twice, or forgotten early, but nothing breaks. A lock
    # would stay closed in a process that is forked meanwhile.

    def _move_to_end(self, key: Hashable) -> None:
        versions = self._programs.pop(key, None)
        if versions is not None:
            self._programs[key] = versions

    def _forget_one(self) -> None:
        """The signature that was used longest ago goes; a quick call only leaves a mark."""
        keys = [*self._programs]
        for key in keys[:-1]:
            versions = self._programs.get(key, [])
            if not any(version.used for version in versions):
                break
            for version in versions:
                version.used = False
            self._move_to_end(key)
        else:
            key = keys[0]
        gone = self._programs.pop(key, [])
        self._quick = {quick: found for quick, found in [*self._quick.items()] if found[0] not in gone}

    def _compiled(self, structure: Structure, leaves: list[Any]) -> _Version:
        returned: list[Structure] = []

        def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
            arguments, named = put_together(structure, iter(tensors))
            result = self._function(*arguments, **named)
            found: list[Any] = []
            returned[:] = [take_apart(result, lambda part: isinstance(part, Tensor), found)]
            _check_returned(returned[0], self._name)
            return tuple(found)

        program = _compiler()
        with _collected_later():
            traced = trace(flat, *leaves, names=self._names(structure))
            return _Version(program(traced), returned[0], self._name)

    def _arguments(self, structure: Structure) -> list[tuple[str, Structure]]:
        """The parameters that were given, by name, and what each was given."""
        assert isinstance(structure, Branch)
        positional, named = structure.parts
        assert isinstance(positional, Branch)
        assert isinstance(named, Branch)
        code = getattr(self._function, "__code__", None)
        known = code.co_varnames[: code.co_argcount] if code else ()
        owners = [known[i] if i < len(known) else f"argument{i}" for i in range(len(positional.parts))]
        return [*zip([*owners, *map(str, named.keys)], (*positional.parts, *named.parts), strict=True)]

    def _names(self, structure: Structure) -> list[str]:
        """A name for each leaf, after the parameter that it belongs to."""
        names: list[str] = []
        for owner, part in self._arguments(structure):
            count = _leaves(part)
            names += [owner] if count == 1 else [f"{owner}.{number}" for number in range(count)]
        return names

    def _warn_if_often(self, key: tuple[Structure, Any], training: frozenset[object]) -> None:
        self._made[training] += 1
        if self._made[training] == _OFTEN:
            alike = [k for k, each in [*self._programs.items()] if any(one.training == training for one in each)]
            *_, last = alike or [key]
            warnings.warn(
                f"{self._name} was compiled {_OFTEN} times; this time because {self._difference(last, key)}. Each "
                "costs a fraction of a second: keep shapes alike (a last batch of its own size is one more), and hand "
                "over changing numbers as tensors.",
                RecompilationWarning,
                stacklevel=4,
            )

    def _difference(self, before: Any, now: Any) -> str:
        """In words what differs between two signatures."""
        were = dict(self._arguments(before[0]))
        for name, part in self._arguments(now[0]):
            if part != were.get(name):
                known = _fixed(before[0])
                values = ", ".join(f"{fixed.value!s:.60}" for fixed in _fixed(part) if fixed not in known)
                return f"argument {name} became {values or 'something of another form'}"
        for name, old, new in zip(self._names(now[0]), before[1], now[1], strict=False):
            if old != new:
                return f"argument {name} went from {_type(old)} to {_type(new)}"
        same = before == now
        return "a mode (train or eval, frozen or not) changed" if same else "fewer arguments were given"


class _Version:
    """A program, and in which structure its results are returned."""

    def __init__(self, program: Program, returned: Structure, name: str) -> None:
        self.program, self.returned = program, returned
        results = program.traced.graph.outputs[: len(program.traced.graph.outputs) - len(program.traced.writes)]
        self._forgotten = [Forgotten(frozenset({(name, node)})) if node.tracked else None for node in results]
        self._nothing: list[Forgotten | None] = [None] * len(results)
        # Whether its layers are trained or evaluated: both, where some are the one and some the other.
        self.training = frozenset(value for _, name, value in program.traced.modes if name == "training")
        self.used = False  # quickly, since one was last forgotten
        self._checked = modes.latest
        self._holds = True

    def still_holds(self) -> bool:
        """Whether the modes that it relied on are as they were."""
        if self._checked is not modes.latest:
            latest = modes.latest
            self._holds = self.program.holds()
            self._checked = latest  # last, for another thread asks in the same order
        return self._holds

    def returns(self, results: Sequence[Array]) -> Any:
        """What a call returns whose program gave these results."""
        forgotten = self._forgotten if recording.get() else self._nothing
        if type(self.returned) is Leaf:
            return Result(results[0], forgotten[0])
        return put_together(self.returned, map(Result, results, forgotten))


@functools.cache
def _compiler() -> type[Program]:
    """The compiler is the largest part of the engine: it is loaded for the first program, not on import."""
    with building:
        from chainrule.engine.program import Program, expect_host

    expect_host()
    return Program


@contextmanager
def _collected_later() -> Iterator[None]:
    """Nobody looks for garbage meanwhile: a trace makes thousands of objects, nearly all of which stay."""
    was_enabled = gc.isenabled()
    try:
        gc.disable()
        yield
    finally:
        if was_enabled:
            gc.enable()


def _is_array(value: Any) -> bool:
    """Whether an argument is computed with; a state is itself, whatever its value."""
    return isinstance(value, Tensor | np.ndarray | np.generic) and not isinstance(value, State)


def _adopted(array: Array) -> Array:
    """The array in the data type that it has as a tensor."""
    return array.astype(adopted(array.dtype), copy=False)


def _quick_key(arguments: tuple[Any, ...], leaves: list[Array]) -> Hashable | None:
    """What tells signatures apart where all arguments are tensors or arrays; None where one is something else.

    Their arrays are appended to `leaves`.
    """
    parts = []
    for argument in arguments:
        if type(argument) is Tensor or type(argument) is Result:
            argument = argument.value
        elif type(argument) is not np.ndarray:
            return None
        leaves.append(argument)
        parts.append((argument.shape, argument.dtype))
    return tuple(parts)


def _check_returned(structure: Structure, name: str) -> None:
    stack = [structure]
    while stack:
        part = stack.pop()
        if isinstance(part, Branch):
            stack.extend(part.parts)
        elif isinstance(part, Fixed) and not isinstance(part.value, str | bool | int | float | None):
            raise TraceError(
                f"{name} returned a {type(part.value).__name__}; a compiled function returns tensors, numbers, or "
                "tuples, lists and dictionaries of them."
            )


def _leaves(structure: Structure) -> int:
    if isinstance(structure, Branch):
        return sum(map(_leaves, structure.parts))
    return 0 if isinstance(structure, Fixed) else 1


def _fixed(structure: Structure) -> list[Fixed]:
    if isinstance(structure, Branch):
        return [fixed for part in structure.parts for fixed in _fixed(part)]
    return [structure] if isinstance(structure, Fixed) else []


def _type(signature: tuple[tuple[int, ...], str]) -> str:
    return f"{np.dtype(signature[1]).name}{list(signature[0])}"
