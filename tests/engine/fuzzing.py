"""The search for a program that compiles to something wrong: any target, guarded memory, several numbers of threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

from chainrule.engine.emit import Module
from chainrule.engine.kernel import Loop, accesses, nodes_made
from chainrule.engine.program import Program
from chainrule.engine.schedule import scheduled
from chainrule.engine.target import Target, host
from engine.bounds import Spread, disagreement
from engine.graphs import Case, cases
from engine.guarded import run_guarded


def check(case: Case, target: Target) -> None:
    """Compile a program for a target that this machine can run, and compare everything that comes out of it."""
    case.traced.graph.verify()
    program = Program(case.traced, target)
    program.graph.verify()
    program.plan.verify(program.kernels)
    program.schedule.verify(program.plan)
    for kernel in program.kernels:
        assert not isinstance(kernel, Loop) or not {each.array for each in accesses(kernel)} & {*nodes_made(kernel)}
    check_signatures(program)
    runs = [run_guarded(program, case.arguments, threads=n, at_end=end) for n, end in ((1, True), (3, False))]
    results = program(*case.arguments)
    runs.append([*results, *(state.look() for state in case.traced.writes)])
    for number, (expected, spread) in enumerate(zip(case.expected, case.spreads, strict=True)):
        allowed = _with_zeros(expected, spread) if case.traced.writes else spread
        for found in runs:
            wrong = disagreement(found[number], expected, allowed)
            assert not wrong, f"output {number}: {wrong}"
            same = found[number].tobytes() == runs[0][number].tobytes()
            assert same, f"output {number} has other bits with another number of threads"


def _with_zeros(expected: np.ndarray, spread: Spread) -> Spread:
    """How far a result may be off in a program that assigns states: terms below the normal range may count as zero."""
    if expected.dtype.kind != "f":
        return spread
    return (0.0 if spread is None else spread) + 64 * float(np.finfo(expected.dtype).tiny)


_written: dict[tuple[str, str], str] = {}


def check_signatures(program: Program) -> None:
    """Kernels with one signature, in whatever programs, are one text: machine code is looked up by signatures."""
    for kernel in program.kernels:
        alone = Module(scheduled([kernel], program.plan, program.target), program.plan, program.target)
        if "nan" in alone.signature:
            continue  # of which sign is not said, and does not count
        text = _written.setdefault((alone.signature, program.target.name), alone.text)
        assert text == alone.text, f"two kernels have the signature\n{alone.signature}"


def search(
    programs: int,
    first: int,
    *,
    target: Target | None = None,
    shrink: bool = True,
    note: Callable[[Case], None] | None = None,
    look: Callable[[Case, Target], None] = check,
) -> None:
    """Check that many random programs, always the same ones for one number `first`; fails with the smallest found."""

    @seed(first)
    @settings(
        max_examples=programs,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        report_multiple_bugs=False,
    )
    @given(case=cases())
    def run(case: Case) -> None:
        if note:
            note(case)
        look(case, target or host())

    run()
