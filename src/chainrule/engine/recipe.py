"""What a compiled step needs beside its machine code, small enough to be kept on disk under what was traced.

Comes in: a traced function. Goes out: a key, that says everything on which its stages depend, and under it a `Recipe`,
with which the step can be run although no stage was made. Who finds a recipe skips the compiler.
"""

from __future__ import annotations

import hashlib
import json
import marshal
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chainrule.engine import cache
from chainrule.engine.dtypes import DTYPES
from chainrule.engine.graph import Node, looked_up
from chainrule.engine.native import keep, key_of
from chainrule.engine.op import Op
from chainrule.engine.target import Target
from chainrule.engine.trace import Traced

if TYPE_CHECKING:
    from chainrule.engine.emit import Module

Array = np.ndarray[Any, Any]
_PLAIN = 2  # the form of marshalled data in which equal data has equal bytes, whoever else refers to it
_UNKNOWN = ...  # in place of an attribute
STEP = "step"  # the name of the function that runs the step


class Stored(NamedTuple):
    """An array that was computed when the program was made: its bytes, as digits."""

    dtype: str
    shape: Sequence[int]
    content: str


class Site(NamedTuple):
    """Where an index may be out of bounds: the traced node that is where it comes from, the axis, and its length."""

    node: int
    axis: int
    length: int


class Recipe(NamedTuple):
    """What a step needs beside its machine code.

    Attributes
    ----------
    code
        The key of its machine code.
    is_alone
        Whether one thread does everything.
    arena, scratch
        Bytes of the arena, and of the scratch memory of each thread.
    in_place
        The numbers of the arguments of which rows are read where they lie.
    constants
        The arrays of the last slots of the table, in their order; of one that the function brought along its node in
        the traced graph.
    sites
        For each word of the status what went wrong where the word is not 0.
    """

    code: str
    is_alone: bool
    arena: int
    scratch: int
    in_place: tuple[int, ...]
    constants: tuple[int | Stored, ...]
    sites: tuple[Site, ...]

    @staticmethod
    def of(module: Module, traced: Traced) -> Recipe:
        """The recipe of the step that a module holds."""
        nodes = traced.graph.nodes
        # A node that takes another's place has its provenance, and a constant its value.
        origins = {id(node.provenance): number for number, node in reversed([*enumerate(nodes)])}
        values = {id(node.value): number for number, node in enumerate(nodes) if node.value is not None}
        return Recipe(
            key_of(module.signature, module.target),
            module.is_alone,
            module.plan.arena,
            module.scratch,
            tuple(sorted([module.plan.homes[node].slot - 1 for node in module.in_place])),
            tuple(
                [
                    values[id(node.value)] if id(node.value) in values else _stored(node)
                    for node in module.plan.constants
                ]
            ),
            tuple([Site(origins[id(node.provenance)], *looked_up(node)) for node in module.sites]),
        )

    def arrays(self, traced: Traced) -> list[Array]:
        """The constants."""
        return [_value(traced.graph.nodes[one]) if isinstance(one, int) else _read(one) for one in self.constants]


def recipe_key(traced: Traced, target: Target) -> str | None:
    """A name for the recipe of a traced function: everything on which it depends.

    None where an op has an attribute of which it is not known how to write it down.
    """
    content = _content(traced)
    # Small constants are computed with by NumPy when a program is made.
    return None if content is None else key_of(f"recipe\n{_NUMPY}\n{hashlib.sha256(content).hexdigest()}", target)


def load(key: str | None) -> Recipe | None:
    """The recipe of that key, if it is kept."""
    content = cache.load(key) if key else None
    if content is None:
        return None
    try:
        found = json.loads(content)
        constants = tuple([one if isinstance(one, int) else Stored(*one) for one in found.pop("constants")])
        sites = tuple([Site(*site) for site in found.pop("sites")])
        return Recipe(constants=constants, sites=sites, in_place=tuple(found.pop("in_place")), **found)
    except (ValueError, TypeError, LookupError, AttributeError):  # something else is written there
        return None


def store(key: str | None, recipe: Recipe) -> None:
    """Keep a recipe."""
    if key:
        keep(key, json.dumps({name: getattr(recipe, name) for name in Recipe._fields}).encode())


_NUMPY = f"NumPy {np.__version__} {os.environ.get('NPY_DISABLE_CPU_FEATURES', '')}"


def _content(traced: Traced) -> bytes | None:
    """All that the stages look at, in one piece; constants that are one object have one number.

    So has what comes from one place in the user's code, but not which place that is: errors name it as it is now.
    """
    numbers = {node: number for number, node in enumerate(traced.graph.nodes)}
    values: dict[int, tuple[object, ...]] = {}
    origins: dict[int, int] = {}
    dtypes = {dtype: dtype.str for dtype in DTYPES}
    found: list[object] = []
    for node in traced.graph.nodes:
        attributes = _attributes(node)
        if attributes is None:
            return None
        if node.value is not None and id(node.value) not in values:
            values[id(node.value)] = len(values), *_digest(node.value)
        value = None if node.value is None else values[id(node.value)]
        inputs = tuple([numbers[source] for source in node.inputs])
        origin = origins.setdefault(id(node.provenance), len(origins))
        found.append((node.op.value, inputs, attributes, dtypes[node.dtype], node.shape, origin, value))
    places = {state: number for number, state in enumerate(traced.reads)}
    found += [[numbers[node] for node in nodes] for nodes in (traced.graph.inputs, traced.graph.outputs)]
    found += [traced.arguments, len(traced.reads), [places[state] for state in traced.writes]]
    return marshal.dumps(found, _PLAIN)


def _attributes(node: Node) -> tuple[object, ...] | None:
    if node.op is Op.CUSTOM or not node.attributes:  # one is the gradient of a function, which is in the graph by now
        return ()
    written = [_written(value) for value in node.attributes.values()]
    return None if _UNKNOWN in written else (*node.attributes, *written)


def _written(value: object) -> object:
    """An attribute as plain data, or `_UNKNOWN` if it is of a type that may hide something."""
    if type(value) is tuple:
        parts = tuple([_written(part) for part in value])
        return _UNKNOWN if _UNKNOWN in parts else parts
    if isinstance(value, np.dtype):
        return value.str
    if isinstance(value, np.generic):
        return repr(value)
    return value if type(value) in (bool, int, float, str, type(None)) else _UNKNOWN


def _digest(value: Array) -> tuple[object, ...]:
    """Of all elements; one stands for those that are one in memory, such as the rows of a number everywhere."""
    one = value[tuple([slice(None) if step else slice(1) for step in value.strides])]
    return value.dtype.str, value.shape, one.shape, hashlib.sha256(np.ascontiguousarray(one).data).digest()


def _stored(node: Node) -> Stored:
    value = _value(node)
    return Stored(value.dtype.str, value.shape, value.tobytes().hex())


def _read(one: Stored) -> Array:
    return np.frombuffer(bytes.fromhex(one.content), one.dtype).reshape(one.shape)


def _value(node: Node) -> Array:
    assert node.value is not None, "a constant has a value"
    return node.value
