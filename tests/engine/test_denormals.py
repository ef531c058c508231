"""Numbers below the normal range: zero in a program that trains, and kept by everything else."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import target
from chainrule.engine.native import assembly
from chainrule.engine.program import Program
from chainrule.engine.target import Target
from chainrule.engine.trace import trace
from engine.guarded import run_guarded

TINY = {"float32": 1.5e-38, "float64": 3e-308}  # normal, but their halves are not
DTYPES = pytest.mark.parametrize("dtype", TINY)
TARGETS = pytest.mark.parametrize(
    "kind", [target.named(name) for name in target.runnable()], ids=lambda kind: kind.name
)


def fading(dtype: str) -> cr.State:
    return cr.State(np.full(50, TINY[dtype], dtype), name="mean")


@DTYPES
@TARGETS
def test_a_step_that_assigns_a_state_makes_and_takes_none(kind: Target, dtype: str) -> None:
    mean = fading(dtype)

    def step(x):
        mean.assign(mean * 0.5)
        return x * 4.0

    half = np.full(70, TINY[dtype] / 2, dtype)
    assert half.all()
    for threads in (1, 3):
        grown, halved = run_guarded(Program(trace(step, half), kind), [half], threads=threads, at_end=True)
        assert not halved.any()
        assert not grown.any()


@DTYPES
@TARGETS
def test_a_program_that_assigns_nothing_keeps_them(kind: Target, dtype: str) -> None:
    x = np.full(70, TINY[dtype], dtype)
    (halved,) = run_guarded(Program(trace(lambda x: x * 0.5, x), kind), [x], threads=1, at_end=True)
    np.testing.assert_array_equal(halved, x * np.asarray(0.5, dtype))
    assert halved.all()


@DTYPES
def test_afterwards_numpy_has_them_as_before(dtype: str) -> None:
    mean, x = fading(dtype), np.full(50, TINY[dtype], dtype)

    @cr.compile
    def step(rows):
        mean.assign(mean * 0.5)
        return cr.sum(rows)

    step(x)
    assert (x / 2).all()
    step.program(x).loop([x], np.zeros((3, 50), np.int64))
    assert (x / 2).all()
    assert not np.asarray(mean).any()


def test_a_loop_and_single_steps_leave_the_same_bits() -> None:
    found = []
    for in_loop in (False, True):
        mean = fading("float32")
        mean.assign(mean * 1e6)

        @cr.compile
        def step(x, mean=mean):
            mean.assign(mean * 0.3 + x[0])
            return cr.sum(mean)

        x = np.zeros((4, 50), np.float32)
        program = step.program(x[:1])
        if in_loop:
            program.loop([x], np.zeros((20, 1), np.int64))
        else:
            for _ in range(20):
                program(x[:1])
        found.append(np.asarray(mean).tobytes())
    assert found[0] == found[1] == bytes(200)


@DTYPES
def test_functions_of_the_c_library_see_them_and_signs_do_not(dtype: str) -> None:
    """The library divides by what it has found not to be zero."""
    count, tiny = fading(dtype), np.full(20, TINY[dtype] / 4, dtype)

    @cr.compile
    def step(y, x):
        count.assign(count + 1)
        return cr.atan2(y, x)

    np.testing.assert_allclose(np.asarray(step(tiny, tiny)), np.pi / 4, rtol=1e-6)
    signs = trace(lambda x: (count.assign(count + 1), cr.sign(x))[1], np.concatenate([tiny, -tiny]))
    found, _ = run_guarded(Program(signs), [np.concatenate([tiny, -tiny])], threads=1, at_end=True)
    assert not found.any()


@pytest.mark.parametrize(("name", "instruction"), [("neon", "fpcr"), ("avx512", "ldmxcsr"), ("sse2", "ldmxcsr")])
def test_every_kind_of_processor_is_told(name: str, instruction: str) -> None:
    mean, kind = fading("float32"), target.named(name)
    traced = trace(lambda x: (mean.assign(mean * 0.5), x * 2)[1], np.zeros(20, np.float32))
    assert instruction in assembly(Program(traced, kind).module.text, kind).lower()
    kept = trace(lambda x: x * 2, np.zeros(20, np.float32))
    assert instruction not in assembly(Program(kept, kind).module.text, kind).lower()
