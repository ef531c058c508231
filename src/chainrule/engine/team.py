"""A team of threads that enter one native function together.

Workers are Python threads that wait inside native code, where they hold no lock of Python's: for a moment they watch
for the next job, then they go to sleep in Python until they are called. The thread that leads invites them, waits a
moment for those that come, and starts with those: a program's results have the same bits for any number of threads, so
nobody ever has to wait for a worker that a busy machine keeps away.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

import numpy as np

from chainrule.engine.native import Native, ahead
from chainrule.engine.target import Target, host
from chainrule.errors import ArgumentError

VARIABLE = "CHAINRULE_THREADS"  # the environment variable that sets the size of the team
MOST = 64  # threads in a team

# Words of 8 bytes in the team's memory, a cache line apart: see the native code below. Before them each thread has one.
_LINE = 8
_INVITED, _JOB, _DOOR, _STARTED, _FINISHED, _OVER, _LEAVE, _AWAKE = ((MOST + n) * _LINE for n in range(8))
_CLOSED = 1023
_WATCH = 1 << 16  # looks for a new job, while there is none at work, before a worker goes to sleep
_SHORT = 1 << 13  # looks during which a thread that waits keeps its core: most waits within a step are shorter
_PATIENCE = 1 << 14  # looks for workers that come, before a job begins without the others

# Waiting is polite: every look pauses the core, and from look SHORT on every 64th lets another thread run there. Not
# earlier: who gives way is not asked when to come back, though the system would let it go before what is less urgent.
_WAIT = """
define internal void @relax(i64 %look) noinline {
entry:
  PAUSE
  %low = and i64 %look, 63
  %last = icmp eq i64 %low, 63
  %long = icmp uge i64 %look, SHORT
  %turn = and i1 %last, %long
  br i1 %turn, label %yield, label %done
yield:
  %ignored = call i32 @sched_yield()
  br label %done
done:
  ret void
}"""

# Each thread counts in a line of its own how often it has come, and waits until all others have come as often.
_BARRIER = """
define internal void @barrier(ptr %team, i64 %thread, i64 %threads) noinline {
entry:
  %single = icmp eq i64 %threads, 1
  br i1 %single, label %done, label %arrive
arrive:
  %line = mul i64 %thread, 8
  %own = getelementptr i64, ptr %team, i64 %line
  %before = load i64, ptr %own, align 8
  %times = add i64 %before, 1
  store atomic i64 %times, ptr %own release, align 8
  br label %each
each:
  %other = phi i64 [ 0, %arrive ], [ %following, %come ]
  %place = mul i64 %other, 8
  %its = getelementptr i64, ptr %team, i64 %place
  br label %wait
wait:
  %look = phi i64 [ 0, %each ], [ %next, %again ]
  %now = load atomic i64, ptr %its acquire, align 8
  %there = icmp sge i64 %now, %times
  br i1 %there, label %come, label %again
again:
  %next = add i64 %look, 1
  call void @relax(i64 %look)
  br label %wait
come:
  %following = add i64 %other, 1
  %all = icmp eq i64 %following, %threads
  br i1 %all, label %done, label %each
done:
  ret void
}"""

_PLACES = """\
  %invited = getelementptr i64, ptr %team, i64 INVITED
  %job = getelementptr i64, ptr %team, i64 JOB
  %door = getelementptr i64, ptr %team, i64 DOOR
  %started = getelementptr i64, ptr %team, i64 STARTED
  %finished = getelementptr i64, ptr %team, i64 FINISHED
  %over = getelementptr i64, ptr %team, i64 OVER
"""

# The door holds 1024 * invitation + how many joined; 1023 there means that it is closed.
_TEAM = """
define void @worker(ptr %team, i64 %index) {
entry:
PLACES  %leave = getelementptr i64, ptr %team, i64 LEAVE
  %line = mul i64 %index, 8
  %mine = add i64 %line, AWAKE
  %awake = getelementptr i64, ptr %team, i64 %mine
  store atomic i64 1, ptr %awake seq_cst, align 8
  br label %watch
watch:
  %look = phi i64 [ 0, %entry ], [ %counted, %again ], [ 0, %run ]
  %beat = phi i64 [ 0, %entry ], [ %rest, %again ], [ 0, %run ]
  %quit = load atomic i64, ptr %leave acquire, align 8
  %stay = icmp eq i64 %quit, 0
  br i1 %stay, label %knock, label %gone
knock:
  %seen = load atomic i64, ptr %door seq_cst, align 8
  %inside = and i64 %seen, 1023
  %open = icmp ne i64 %inside, 1023
  br i1 %open, label %join, label %again
join:
  %more = add i64 %seen, 1
  %pair = cmpxchg ptr %door, i64 %seen, i64 %more seq_cst seq_cst
  %in = extractvalue { i64, i1 } %pair, 1
  br i1 %in, label %ready, label %again
ready:
  %number = lshr i64 %seen, 10
  br label %start
start:
  %stand = phi i64 [ 0, %ready ], [ %further, %hold ]
  %begun = load atomic i64, ptr %started acquire, align 8
  %now = icmp eq i64 %begun, %number
  br i1 %now, label %run, label %hold
hold:
  %further = add i64 %stand, 1
  call void @relax(i64 %stand)
  br label %start
run:
  %fourth = getelementptr i64, ptr %job, i64 3
  %times = load i64, ptr %fourth, align 8
  %thread = add i64 %inside, 1
  %words = mul i64 %thread, 8
  %own = getelementptr i64, ptr %team, i64 %words
  store atomic i64 %times, ptr %own release, align 8
  %function = load ptr, ptr %job, align 8
  %second = getelementptr i64, ptr %job, i64 1
  %argument = load ptr, ptr %second, align 8
  %third = getelementptr i64, ptr %job, i64 2
  %threads = load i64, ptr %third, align 8
  call void %function(ptr %argument, i64 %thread, i64 %threads)
  %ignored = atomicrmw add ptr %finished, i64 1 release
  br label %watch
again:
  call void @relax(i64 %beat)
  %rest = add i64 %beat, 1
  %latest = load atomic i64, ptr %started acquire, align 8
  %last = load atomic i64, ptr %over acquire, align 8
  %idle = icmp eq i64 %latest, %last
  %next = add i64 %look, 1
  %counted = select i1 %idle, i64 %next, i64 0
  %enough = icmp sgt i64 %counted, WATCH
  br i1 %enough, label %sleep, label %watch
sleep:
  store atomic i64 0, ptr %awake seq_cst, align 8
  ret void
gone:
  ret void
}

define i64 @lead(ptr %team, ptr %function, ptr %argument, i64 %wanted, i64 %patience) {
entry:
PLACES  store ptr %function, ptr %job, align 8
  %second = getelementptr i64, ptr %job, i64 1
  store ptr %argument, ptr %second, align 8
  store atomic i64 0, ptr %finished monotonic, align 8
  %last = load i64, ptr %invited, align 8
  %number = add i64 %last, 1
  store i64 %number, ptr %invited, align 8
  %empty = shl i64 %number, 10
  store atomic i64 %empty, ptr %door seq_cst, align 8
  br label %wait
wait:
  %look = phi i64 [ 0, %entry ], [ %next, %again ]
  %seen = load atomic i64, ptr %door acquire, align 8
  %inside = and i64 %seen, 1023
  %all = icmp sge i64 %inside, %wanted
  %late = icmp sge i64 %look, %patience
  %enough = or i1 %all, %late
  br i1 %enough, label %close, label %again
again:
  %next = add i64 %look, 1
  call void @relax(i64 %look)
  br label %wait
close:
  %shut = or i64 %empty, 1023
  %final = atomicrmw xchg ptr %door, i64 %shut seq_cst
  %came = and i64 %final, 1023
  %threads = add i64 %came, 1
  %third = getelementptr i64, ptr %job, i64 2
  store i64 %threads, ptr %third, align 8
  %times = load i64, ptr %team, align 8
  %fourth = getelementptr i64, ptr %job, i64 3
  store i64 %times, ptr %fourth, align 8
  store atomic i64 %number, ptr %started release, align 8
  call void %function(ptr %argument, i64 0, i64 %threads)
  br label %gather
gather:
  %stand = phi i64 [ 0, %close ], [ %further, %hold ]
  %done = load atomic i64, ptr %finished acquire, align 8
  %every = icmp eq i64 %done, %came
  br i1 %every, label %end, label %hold
hold:
  %further = add i64 %stand, 1
  call void @relax(i64 %stand)
  br label %gather
end:
  store atomic i64 %number, ptr %over release, align 8
  ret i64 %threads
}"""


def waiting(target: Target) -> str:
    """The functions `relax` and `barrier`, on which threads wait for each other."""
    name, arguments = target.pause.split("(")
    kinds = arguments.rstrip(")").split(" ")[0]
    words = {"PAUSE": f"call void {target.pause}", "sched_yield": target.give_way, "SHORT": str(_SHORT)}
    relax = functools.reduce(lambda text, pair: text.replace(*pair), words.items(), _WAIT)
    declared = f"declare void {name}({kinds})\ndeclare i32 @{target.give_way}()"
    return f"{declared}\n{relax}\n{_BARRIER}"


def _team_text(target: Target) -> str:
    text = _TEAM.replace("PLACES", _PLACES)
    words = {"INVITED": _INVITED, "JOB": _JOB, "DOOR": _DOOR, "STARTED": _STARTED, "FINISHED": _FINISHED, "OVER": _OVER}
    words |= {"LEAVE": _LEAVE, "AWAKE": _AWAKE, "WATCH": _WATCH}
    for word, number in words.items():
        text = text.replace(f"i64 {word}", f"i64 {number}").replace(f", {word}\n", f", {number}\n")
    return f"{waiting(target)}\n{text}"


class Team:
    """Threads that do jobs together; one job at a time.

    Parameters
    ----------
    size
        How many threads, with the one that leads.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._at_work: dict[str, object] = {}  # "leader": who leads the job at hand, and nothing otherwise
        self._native: Native | None = None
        self._room = np.zeros((_AWAKE + (size + 1) * _LINE), np.int64)
        skipped = -(self._room.ctypes.data // 8) % _LINE  # the first word of a cache line
        self._words = self._room[skipped:]
        self._words[_DOOR] = _CLOSED
        self._seen = self._words.data  # which tells a word quicker than the array
        # Of C: an interrupt within a semaphore of Python's would leave it locked.
        self._bells: list[SimpleQueue[None]] = [SimpleQueue() for _ in range(size - 1)]

    @property
    def memory(self) -> int:
        """The address of the team's memory, where `barrier` counts."""
        return int(self._words.ctypes.data)

    def run(self, function: int, job: int, *, patience: int = _PATIENCE) -> int:
        """Run the native `function(job, thread, threads)` with everybody who comes; returns how many they were.

        A team that is at work already (called by two Python threads) leaves the second caller alone with its job.
        """
        own = object()
        try:  # an interrupt may come after any call, so what tells who leads is one object, set and looked at at once
            if self.size == 1 or self._at_work.setdefault("leader", own) is not own:
                _alone(function)(job, 0, 1)
                return 1
            lead, memory = self._ready()
            for number, bell in enumerate(self._bells):
                if not self._seen[_AWAKE + number * _LINE]:
                    bell.put(None)
            return int(lead(memory, function, job, self.size - 1, patience))
        finally:  # no call in here: nothing can interrupt it
            if "leader" in self._at_work and self._at_work["leader"] is own:
                del self._at_work["leader"]

    def prepare(self) -> None:
        """Let the native code be compiled while others do something else: whoever compiles a program needs it soon."""
        if self.size > 1 and self._native is None:
            ahead(_team_text(host()), host())

    def _ready(self) -> tuple[Callable[..., int], int]:
        """The native leader and the memory; workers begin when they are first needed."""
        if self._native is None:
            native = Native(_team_text(host()), host())
            self._lead = _LEAD(native.address("lead"))
            self._worker = _WORKER(native.address("worker"))
            self._memory = self.memory
            self._native = native  # only now: what an interrupt leaves undone before is done next time
            for number, bell in enumerate(self._bells):
                threading.Thread(target=self._work, args=(number, bell), name="chainrule", daemon=True).start()
        return self._lead, self._memory

    def _work(self, number: int, bell: SimpleQueue[None]) -> None:
        while not self._words[_LEAVE]:
            bell.get()
            self._worker(self._memory, number)

    def dismiss(self) -> None:
        """Send the workers home."""
        self._words[_LEAVE] = 1
        for bell in self._bells:
            bell.put(None)


_STEP = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
_LEAD = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)
_WORKER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
_alone = functools.cache(_STEP)


class _Teams:
    """The one team of this process, made when it is first needed."""

    def __init__(self) -> None:
        self.size: int | None = None
        self._made: dict[str, Team] = {}  # one or none; of two threads that make one at once both get the first

    def current(self) -> Team:
        return self._made.get("team") or self._made.setdefault("team", Team(self.size or _size_by_itself()))

    def resize(self, size: int | None) -> None:
        self.size = size
        self.leave()

    def leave(self) -> None:
        gone = self._made.pop("team", None)
        if gone is not None:
            gone.dismiss()

    def forget(self) -> None:
        """After a fork only the thread that forked is left: the child makes a team of its own."""
        self._made.clear()


_teams = _Teams()
atexit.register(_teams.leave)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_teams.forget)


def team() -> Team:
    """The team that runs programs."""
    return _teams.current()


def threads(n: int | None = None) -> int:
    """Set how many threads run compiled programs, and tell how many there are.

    Parameters
    ----------
    n
        From 1; by default nothing is changed. Without any call it is what the environment variable
        `CHAINRULE_THREADS` says, else the number of cores that this process may use. Results have the same bits
        for any number.

    Returns
    -------
    int
        The number of threads from now on.

    Raises
    ------
    ArgumentError
        If `n` is no integer from 1 to 64.

    Examples
    --------
    >>> import chainrule as cr
    >>> cr.threads(2)
    2
    """
    if n is not None:
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST:
            raise ArgumentError(f"threads: n is a whole number from 1 to {MOST}, but is {n!r}.")
        _teams.resize(n)
    return _teams.current().size


def _size_by_itself() -> int:
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(cores, MOST)
    if not wanted.isdecimal() or not 1 <= int(wanted) <= MOST:
        raise ArgumentError(f"{VARIABLE} must be a whole number from 1 to {MOST}, but is {wanted!r}.")
    return int(wanted)
