"""Machine code for every kind of processor: emitted here for those that this machine is not."""

import re
from dataclasses import replace

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine import target
from chainrule.engine.emit import Module
from chainrule.engine.kernel import Contraction
from chainrule.engine.native import assembly, optimised_text
from chainrule.engine.program import Program
from chainrule.engine.target import KINDS, VARIABLE, Target, host, named
from chainrule.engine.trace import Traced, trace
from engine.guarded import run_guarded

# An instruction that only this kind has, a register as wide as its vectors, and what it may not use.
MARKS = {
    "amx": (r"tdpbf16ps", r"%zmm\d", None),
    "avx512": (r"vfmadd\w+ps", r"%zmm\d", None),
    "avx2": (r"vfmadd\w+ps", r"%ymm\d", r"%zmm\d"),
    "sse2": (r"\bmulps", r"%xmm\d", r"%ymm\d|%zmm\d|\bv\w+ps"),
    "neon": (r"fmla\s+v\d+\.4s", r"v\d+\.4s", r"%\wmm\d"),
}


def training_step() -> Traced:
    """A step with products, activations, dropout, normalisation, a loss, and an optimizer."""
    cr.random.seed(0)
    net = nn.Sequential(nn.Dense(100, 90), nn.GELU(), nn.Dropout(0.1), nn.LayerNorm(90), nn.Dense(90, 10))
    optimizer = cr.optim.Adam(0.01)

    def step(x, y):
        loss = cr.losses.cross_entropy(net(x), y)
        optimizer.update(cr.backpropagate(loss))
        return loss

    return trace(step, np.zeros((64, 100), "f"), np.zeros(64, np.int64))


def other_kernels() -> Traced:
    """Sorting, scattering, running sums, gathers, integers, bools, float64, library functions, random words."""

    def f(x, i):
        order = cr.argsort(x, axis=1)
        moved = cr.scatter_add(cr.zeros((9, 7), dtype=x.dtype), i, x)
        return (
            order,
            moved,
            cr.cumulative_sum(x, axis=0),
            cr.take(x, i, axis=0),
            i // 3 << 1,
            cr.argmax(x),
            cr.atan2(x, x),
            cr.all(x > 0),
            cr.random.normal((5, 3)),
        )

    return trace(f, np.zeros((4, 7)), np.zeros(4, np.int64))


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_step_becomes_code_for_every_kind_of_processor(kind: str) -> None:
    program = Program(training_step(), named(kind))
    text = assembly(program.module.text, named(kind))
    instruction, register, forbidden = MARKS[kind]
    assert re.search(instruction, text)
    assert re.search(register, text)
    assert forbidden is None or not re.search(forbidden, text)


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_kernels_become_code_for_every_kind_of_processor(kind: str) -> None:
    assert "step" in assembly(Program(other_kernels(), named(kind)).module.text, named(kind))


def test_code_has_the_multiply_adds_that_it_is_written_with_and_no_others() -> None:
    """LLVM may not make one of a product and a sum of the user's: eager work rounds twice."""
    program = Program(trace(lambda x, y: x * y + x, np.zeros(64, "f"), np.zeros(64, "f")))
    assert "fma" not in assembly(program.module.text, program.target)
    assert "contract" not in program.llvm_ir
    assert "fast" not in re.sub(r"fastcc", "", program.llvm_ir)


def test_equal_programs_are_equal_text() -> None:
    first, second = (Program(training_step()) for _ in range(2))
    assert first.module.text == second.module.text
    assert first.module.signature == second.module.signature


def test_kernels_of_one_text_share_a_function() -> None:
    program = Program(trace(lambda a, b: (cr.sum(a, axis=1), cr.sum(b, axis=1)), *[np.zeros((5, 6), "f")] * 2))
    assert len(program.kernels) == 2
    assert len({call.function for call in program.module.calls}) == 1


def assert_calls_stand_in_parts(module: Module) -> None:
    """Every call of the step stands in a function, in their order, and none of these functions is long."""
    found = re.finditer(r"define (?:internal )?void @(step|part_\d+)\(.*?\n}", module.text, re.DOTALL)
    parts = {match[1]: re.findall(r"call void @([a-z]+_\d+)\(", match[0]) for match in found}
    assert all(len(each) <= 128 for each in parts.values())
    order = [name for each in parts["step"] for name in parts.get(each, [each])]
    assert order == [call.function for call in module.calls]


@pytest.mark.parametrize(("length", "reverse"), [(20, False), (20, True), (150, False)])
def test_the_steps_of_a_sequence_share_their_functions_and_compute_the_same(length: int, reverse: bool) -> None:
    """They differ in where in the sequence they read and write, which is the caller's business."""
    rng = np.random.default_rng(0)
    weight = cr.Parameter(rng.standard_normal((7, 7)).astype("f") / 4)

    def f(x, y):
        def step(carry, row):
            carry = cr.tanh(carry @ weight + row)
            return carry, cr.sum(carry * row, axis=1)

        last, sums = cr.scan(step, y, x, reverse=reverse)
        loss = cr.sum(last**2) + cr.sum(sums * sums[::-1])
        return sums, *cr.backpropagate(loss, wrt=[x, weight])

    sequence, first = rng.standard_normal((length, 3, 7)).astype("f"), np.zeros((3, 7), "f")
    traced = trace(f, sequence, first)
    program = Program(traced)
    of_each_step = [call for call in program.module.calls if isinstance(call.kernel, Contraction)]
    assert len(of_each_step) >= 2 * length
    assert len({call.function for call in program.module.calls}) < 30  # the first and the last steps are others
    assert_calls_stand_in_parts(program.module)
    found = run_guarded(program, [sequence, first], threads=1, at_end=True)
    for ours, twin, expected in zip(
        found, run_guarded(program, [sequence, first], threads=2, at_end=False), traced(sequence, first), strict=True
    ):
        assert ours.tobytes() == twin.tobytes()
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_what_llvm_makes_of_it_still_has_the_step() -> None:
    program = Program(training_step())
    assert re.search(r"define void @\w*step", optimised_text(program.module.text, program.target))


def test_the_environment_names_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "sse2")
    assert host() == named("sse2")
    assert isinstance(Program(trace(lambda x: x + 1, np.zeros(3, "f"))).target, Target)
    monkeypatch.setenv(VARIABLE, "z80")
    with pytest.raises(
        cr.ArgumentError, match="CHAINRULE_TARGET must be one of amx, avx512, avx2, sse2, neon, but is 'z80'"
    ):
        host()


def test_code_for_another_processor_is_shown_but_not_run() -> None:
    program = Program(trace(lambda x: x + 1, np.zeros(3, "f")), named("neon" if host().name != "neon" else "sse2"))
    assert "fadd" in program.llvm_ir
    with pytest.raises(cr.ArgumentError, match=rf"code for {program.target.name} cannot run .* only code for"):
        program(np.zeros(3, "f"))


def test_tiles_made_for_another_processor_run_with_the_instructions_of_this_one() -> None:
    own = target._detected()
    like = replace(named("neon"), triple=own.triple, cpu=own.cpu, features=own.features)
    x = np.arange(3, dtype="f")
    np.testing.assert_array_equal(Program(trace(lambda x: x + 1, x), like)(x)[0], x + 1)


def test_a_machine_runs_its_own_kind_and_lesser_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, expected in {
        "amx": ("amx", "avx512", "avx2", "sse2"),
        "avx512": ("avx512", "avx2", "sse2"),
        "avx2": ("avx2", "sse2"),
        "sse2": ("sse2",),
        "neon": ("neon",),
    }.items():
        monkeypatch.setattr(target, "_detected", lambda name=name: named(name))
        assert target.runnable() == expected
