"""Threads that run programs together: any number, from several Python threads, after a fork, and at the end."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.native import Native
from chainrule.engine.program import Program
from chainrule.engine.target import host
from chainrule.engine.team import _AWAKE, Team, _teams, team, waiting
from chainrule.engine.trace import trace

X = np.linspace(-1, 1, 300 * 300, dtype="f").reshape(300, 300)


@pytest.fixture(autouse=True)
def as_many_threads_as_before() -> Iterator[None]:
    before = cr.threads()
    yield
    cr.threads(before)


def shared(scale: float = 1.0) -> Program:
    """A program that is worth sharing out, of several phases that wait for each other."""
    program = Program(trace(lambda x: (cr.sum(cr.tanh(x @ x) * scale, axis=0), cr.sum(cr.exp(x) @ x.T, axis=1)), X))
    assert not program.module.is_alone
    return program


def bits(results: list[np.ndarray]) -> bytes:
    return b"".join(result.tobytes() for result in results)


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, which must end by itself."""
    variables = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=variables)


# --- How many ---


def test_more_threads_than_cores_work_and_have_the_same_bits() -> None:
    program = shared()
    expected = bits(program(X))
    for count in (1, 2, 8, 3, 8, 1):
        assert cr.threads(count) == cr.threads() == count
        for _ in range(5):
            assert bits(program(X)) == expected


@pytest.mark.parametrize("count", [0, -1, 65, 1.0, "2", True])
def test_a_number_of_threads_that_is_none_is_refused(count: object) -> None:
    with pytest.raises(cr.ArgumentError, match="whole number from 1 to 64"):
        cr.threads(count)


def test_the_environment_says_how_many() -> None:
    script = "import chainrule as cr; print(cr.threads())"
    assert run(script, CHAINRULE_THREADS="3").stdout == "3\n"
    assert 1 <= int(run(script, CHAINRULE_THREADS="").stdout) <= 64


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "65", "²"])
def test_a_wrong_number_in_the_environment_is_a_clear_error(value: str) -> None:
    ended = run("import chainrule as cr; cr.threads()", CHAINRULE_THREADS=value)
    assert ended.returncode == 1
    assert f"CHAINRULE_THREADS must be a whole number from 1 to 64, but is {value!r}" in ended.stderr


def test_small_work_is_done_by_one_thread() -> None:
    assert Program(trace(lambda x: x * 2, np.zeros(8, "f"))).module.is_alone


# Each round every thread writes the round's number into a line of its own, meets the others, looks at theirs, and meets
# them again. It counts the numbers that are not this round's.
MEETING = """
define void @rounds(ptr %job, i64 %thread, i64 %threads) {
entry:
  %team = load ptr, ptr %job, align 8
  %word = getelementptr i64, ptr %job, i64 8
  %line = mul i64 %thread, 16
  %own = getelementptr i64, ptr %word, i64 %line
  %wrong = getelementptr i64, ptr %own, i64 1
  br label %round
round:
  %i = phi i64 [ 1, %entry ], [ %j, %met ]
  store i64 %i, ptr %own, align 8
  call void @barrier(ptr %team, i64 %thread, i64 %threads)
  br label %look
look:
  %k = phi i64 [ 0, %round ], [ %n, %look ]
  %place = mul i64 %k, 16
  %its = getelementptr i64, ptr %word, i64 %place
  %seen = load i64, ptr %its, align 8
  %other = icmp ne i64 %seen, %i
  %one = zext i1 %other to i64
  %before = load i64, ptr %wrong, align 8
  %after = add i64 %before, %one
  store i64 %after, ptr %wrong, align 8
  %n = add i64 %k, 1
  %all = icmp eq i64 %n, %threads
  br i1 %all, label %meet, label %look
meet:
  call void @barrier(ptr %team, i64 %thread, i64 %threads)
  br label %met
met:
  %j = add i64 %i, 1
  %more = icmp sle i64 %j, ROUNDS
  br i1 %more, label %round, label %done
done:
  ret void
}"""


def test_all_meet_before_anybody_goes_on() -> None:
    rounds = 300
    made = Native(f"{waiting(host())}\n{MEETING.replace('ROUNDS', str(rounds))}", host())
    for size, times in ((2, 40), (3, 4), (5, 2)):
        crew = Team(size)
        try:
            came = set()
            for patience in [1 << 26, 0] * times:  # not always all come, so some have met less often than others
                job = np.zeros(8 + 16 * size, np.int64)
                job[0] = crew.memory
                threads = crew.run(made.address("rounds"), job.ctypes.data, patience=patience)
                came.add(threads)
                lines = job[8:].reshape(size, 16)
                assert (lines[:threads, 0] == rounds).all()
                assert not lines[threads:].any()
                assert not lines[:, 1].any(), "somebody went on too early"
            assert size in came
        finally:
            crew.dismiss()


# --- Who comes ---


def test_a_team_takes_whoever_comes_and_waits_for_nobody_else() -> None:
    program, crew = shared(), Team(4)
    expected = bits(program(X))
    crew._bells = []  # nobody is ever called
    assert not crew._words[:8].any()
    assert crew.size == 4
    assert bits(program(X)) == expected


def test_a_worker_that_comes_too_late_stays_awake_for_the_next_job() -> None:
    crew, awake = Team(2), []

    def work(job: int, thread: int, threads: int) -> None:
        time.sleep(0.2)  # far longer than a worker watches where there is no job
        awake.append(bool(crew._words[_AWAKE]))

    step = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(work)
    try:
        assert crew.run(ctypes.cast(step, ctypes.c_void_p).value or 0, 0, patience=0) == 1
        assert awake == [True]
    finally:
        crew.dismiss()


def test_two_python_threads_run_two_programs_at_once() -> None:
    cr.threads(2)
    programs = [shared(1.0), shared(2.0)]
    expected = [bits(program(X)) for program in programs]
    wrong: list[int] = []

    def work(number: int) -> None:
        wrong.extend(number for _ in range(40) if bits(programs[number](X)) != expected[number])

    together([lambda: work(0), lambda: work(1)])
    assert not wrong


def test_two_python_threads_share_one_program() -> None:
    cr.threads(2)
    program = shared()
    inputs = [X, X[::-1].copy()]
    expected = [bits(program(x)) for x in inputs]
    wrong: list[int] = []

    def work(number: int) -> None:
        wrong.extend(number for _ in range(40) if bits(program(inputs[number])) != expected[number])

    together([lambda: work(0), lambda: work(1)])
    assert not wrong


def test_two_python_threads_compile_at_once() -> None:
    results: dict[int, float] = {}

    def work(number: int) -> None:
        for scale in range(4):
            f = cr.compile(lambda x, factor=number + 10 * scale: cr.sum(x * factor))
            results[number + 10 * scale] = f(np.ones(1000, "f")).item()

    together([lambda: work(1), lambda: work(2)])
    assert results == {number: 1000.0 * number for number in results}
    assert len(results) == 8


def together(jobs: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_threads_that_need_the_first_team_at_once_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = threading.Barrier(2)

    def slow(size: int) -> Team:
        begin.wait(10)  # both have seen that there is none
        return Team(size)

    cr.threads(2)
    _teams.leave()
    found: list[Team] = []
    with monkeypatch.context() as context:
        context.setattr("chainrule.engine.team.Team", slow)
        together([lambda: found.append(team()), lambda: found.append(team())])
    assert found[0] is found[1] is team()


def test_the_team_can_change_while_a_program_is_kept() -> None:
    program = shared()
    cr.threads(2)
    first = bits(program(X))
    old = team()
    cr.threads(3)
    assert team() is not old
    assert bits(program(X)) == first


def test_an_exception_between_calls_leaves_the_team_usable() -> None:
    cr.threads(2)
    f = cr.compile(lambda x, i: cr.take(cr.tanh(x @ x), i, axis=0))
    good, bad = np.arange(300), np.full(300, 300)
    expected = np.asarray(f(X, good))
    for _ in range(3):
        with pytest.raises(cr.ShapeError, match="out of range for length 300"):
            f(X, bad)
        np.testing.assert_array_equal(f(X, good), expected)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers that interrupt on this system")
def test_an_interrupt_at_any_moment_leaves_programs_and_the_team_usable() -> None:
    """As Ctrl-C does, between any two steps of Python's own; steps are so short that it is most often there."""
    ended = run(
        f"""{WORK}
import signal, threading
from chainrule.engine.team import team
small, large = cr.compile(lambda x: x + 1), cr.compile(lambda x: cr.sum(cr.exp(x), axis=0))
def both():
    return np.asarray(small(x[:2])).tobytes() + np.asarray(large(x[:40])).tobytes()
expected = both()
class Interrupt(Exception): pass
def interrupt(*_):
    raise Interrupt
signal.signal(signal.SIGALRM, interrupt)
for number in range(4000):
    try:
        signal.setitimer(signal.ITIMER_REAL, 2e-6 + 1e-6 * (number % 60))
        while True:
            both()
    except Interrupt:
        pass
    except cr.ChainruleError as error:
        os.write(1, str(error).encode())
        os._exit(1)
def check():
    print(both() == expected, team()._at_work)
thread = threading.Thread(target=check, daemon=True)
thread.start()
thread.join(30)
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True {}\n", "")


# --- Processes ---

WORK = """
import os, sys, time
import numpy as np
import chainrule as cr
cr.threads(2)
x = np.linspace(-1, 1, 90000, dtype="f").reshape(300, 300)
f = cr.compile(lambda x: cr.sum(cr.tanh(x @ x), axis=0))
expected = np.asarray(f(x)).tobytes()
"""


@pytest.mark.parametrize("pause", [0, 0.3], ids=["watching", "asleep"])
def test_a_process_ends_although_workers_wait(pause: float) -> None:
    ended = run(f"{WORK}\ntime.sleep({pause})\nprint('done')")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


def test_a_process_ends_with_the_exception_that_it_had() -> None:
    ended = run(f"{WORK}\nraise SystemExit(3)")
    assert (ended.returncode, ended.stderr) == (3, "")


def test_a_process_ends_while_another_thread_computes() -> None:
    ended = run(
        f"{WORK}\nimport threading\n"
        "def forever():\n    while True: f(x)\n"
        "threading.Thread(target=forever, daemon=True).start()\ntime.sleep(0.2)"
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.parametrize("pause", [0, 0.3], ids=["watching", "asleep"])
def test_a_forked_child_computes_and_so_does_its_parent(pause: float) -> None:
    ended = run(
        f"""{WORK}
time.sleep({pause})
child = os.fork()
assert np.asarray(f(x)).tobytes() == expected
g = cr.compile(lambda x: cr.sum(x @ x.T, axis=0))
assert np.allclose(np.asarray(g(x)), (x @ x.T).sum(0), rtol=1e-3, atol=1)
if child:
    print(os.waitpid(child, 0)[1])
"""
    )
    # Python itself warns of a fork while there are threads; nothing else may be said.
    said = [line for line in ended.stderr.splitlines() if "fork" not in line]
    assert (ended.returncode, ended.stdout, said) == (0, "0\n", [])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_child_forked_while_another_thread_computes_and_compiles_works() -> None:
    ended = run(
        f"""{WORK}
import threading
stop = []
def busy():
    number = 0
    while not stop:
        f(x)
        number += 1
        cr.compile(lambda x: x * number)(x[0])
thread = threading.Thread(target=busy)
thread.start()
status = 0
for _ in range(5):
    child = os.fork()
    if not child:
        assert np.asarray(f(x)).tobytes() == expected
        cr.compile(lambda x: x + 1)(x[0])
        os._exit(0)
    for _ in range(200):
        done, code = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.05)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        code = 999
    status = status or code
stop.append(1)
thread.join()
print(status)
"""
    )
    assert (ended.returncode, ended.stdout) == (0, "0\n"), ended.stderr
