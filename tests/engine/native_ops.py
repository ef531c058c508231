"""Eager work on machine code: each op compiled alone, for the shapes that it meets, instead of run on NumPy.

With `pytest --executor compiled` every test of the engine runs on this, so the compiler answers to the same oracles
(PyTorch, JAX, NumPy, published numbers) as the reference executor does. Whole programs are tested elsewhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.engine.graph import RULES, Graph, Node
from chainrule.engine.op import Op
from chainrule.engine.program import Program
from chainrule.engine.provenance import Provenance
from chainrule.engine.trace import Traced
from chainrule.errors import ArgumentError

Array = np.ndarray[Any, Any]
_NOWHERE = Provenance("", "", 0)
_KEPT = 500  # programs; each holds some megabytes of machine code, and a whole run of the tests makes many thousands
_programs: dict[Hashable, Program] = {}  # the one used last stands last


def evaluate(op: Op, inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    """The value of one op, as `reference.evaluate` gives it, from machine code."""
    settings = {name: value for name, value in attributes.items() if name != "backward"}  # a function of Python
    key = (op, tuple([(array.shape, array.dtype) for array in inputs]), tuple(sorted(settings.items())))
    program = _programs[key] = _programs.pop(key, None) or Program(_alone(op, inputs, attributes))
    if len(_programs) > _KEPT:
        del _programs[next(iter(_programs))]
    try:
        return program(*inputs)[0]
    except ArgumentError as error:
        raise IndexError(str(error)) from error  # as NumPy says it


def _alone(op: Op, inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Traced:
    """The program of a single op."""
    sources = tuple([Node(Op.INPUT, (), {"name": ""}, array.shape, array.dtype, _NOWHERE) for array in inputs])
    shape, dtype = RULES[op](*sources, **attributes)
    return Traced(Graph.of([Node(op, sources, attributes, shape, dtype, _NOWHERE)], sources), len(sources), (), ())
