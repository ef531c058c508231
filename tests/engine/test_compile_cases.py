"""Every differentiable function compiled: value, gradient and second order as one program, against eager NumPy."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.program import Program
from chainrule.engine.target import KINDS, Target, host, named, runnable
from chainrule.engine.trace import trace
from engine.cases import CASES, Case

EDGES = [pytest.param(case, shapes, id=f"{case.name} {shapes}") for case in CASES for shapes in case.edges]
RUNNABLE = runnable()[1:]  # besides this machine's own kind


def everything(case: Case):
    """A function of its inputs: value, gradients, and the gradients of a number made of the gradients."""

    def f(*inputs):
        value = case.ours(*inputs)
        weights = np.linspace(0.5, 1.5, value.size, dtype=value.dtype).reshape(value.shape)
        gradients = cr.backpropagate(cr.sum(value * weights), wrt=list(inputs))
        if case.order < 2:
            return value, *gradients
        turned = sum(cr.sum(cr.sin(gradient)) for gradient in gradients)
        return value, *gradients, *cr.backpropagate(turned, wrt=list(inputs))

    return f


def compare(case: Case, inputs: list[np.ndarray], target: Target) -> None:
    """The case as machine code for a target, and eagerly."""
    f = everything(case)
    traced = trace(f, *inputs)
    traced.graph.verify()
    program = Program(traced, target)
    program.graph.verify()
    program.plan.verify(program.kernels)
    program.schedule.verify(program.plan)
    found = program(*inputs)
    expected = f(*[cr.asarray(x) for x in inputs])
    for ours, reference in zip(found, expected, strict=True):
        reference = np.asarray(reference)
        assert (ours.shape, ours.dtype) == (reference.shape, reference.dtype)
        # A handful of functions of 2 units each, the second derivative's sums, and what cancels in them.
        scale = float(np.abs(reference).max(initial=1.0))
        unit = float(np.finfo(np.float32 if case.name == "cast" else reference.dtype).eps)
        np.testing.assert_allclose(ours, reference, rtol=64 * unit, atol=64 * unit * scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_function_and_its_derivatives_compile(case: Case, dtype: str) -> None:
    compare(case, case.inputs(dtype), host())


@pytest.mark.parametrize("kind", runnable())
@pytest.mark.parametrize(("case", "shapes"), EDGES)
def test_it_compiles_for_scalars_nothing_and_axes_of_length_one(case: Case, shapes: tuple, kind: str) -> None:
    compare(case, case.inputs("float32", shapes), named(kind))


@pytest.mark.parametrize("kind", RUNNABLE)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_compiles_for_lesser_processors(case: Case, kind: str) -> None:
    compare(case, case.inputs("float32"), named(kind))


def test_this_machine_is_one_of_the_kinds() -> None:
    assert host().name in KINDS
