"""From kernels and their memory to one LLVM module: a function for each different kernel, and the step that calls them.

Every thread of a team enters the step and does its share of each kernel; where a kernel needs what others made, the
threads meet at a barrier. Small kernels are done by one thread alone. Kernels of the same text share a function,
wherever in their arrays they begin.

    step(job, thread, threads)      job: pointers to the table of arrays, the team, the status, the scratch memory, the
                                    times of a timed step, a loop's own words, the numbers of the rows that are read
                                    where they lie, and of those of the next step; and how many words the status has
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from itertools import groupby

from chainrule.engine.code import Code
from chainrule.engine.denormals import flushing
from chainrule.engine.fuse import array_of
from chainrule.engine.gathering import ROWS_AT, SOON_AT
from chainrule.engine.graph import Node
from chainrule.engine.kernel import (
    Contraction,
    Gather,
    Kernel,
    Loop,
    Reduction,
    Running,
    Scatter,
    Sorting,
    accesses,
    expressions,
    nodes_made,
)
from chainrule.engine.kernels.body import write_fixed
from chainrule.engine.kernels.contraction import SITES, scratch_bytes, write_contraction
from chainrule.engine.kernels.epilogue import Epilogue, write_failures
from chainrule.engine.kernels.loops import write_loop
from chainrule.engine.kernels.plan import KEPT
from chainrule.engine.kernels.reductions import write_reduction
from chainrule.engine.kernels.serial import write_running, write_scatter, write_sorting
from chainrule.engine.kernels.shares import Share, times
from chainrule.engine.listing import kernel_text
from chainrule.engine.memory import ALIGNMENT, Home, Plan
from chainrule.engine.recipe import STEP
from chainrule.engine.record import record
from chainrule.engine.rows import in_place
from chainrule.engine.schedule import Schedule, Turn
from chainrule.engine.target import Target
from chainrule.engine.team import waiting

_TOGETHER = 128  # calls that stand in one function


@record(frozen=True, slots=True)
class Call:
    """A kernel in the step.

    Attributes
    ----------
    kernel
        What is done.
    turn
        When, and by whom.
    function
        The name of the function that does it; equal kernels share one.
    homes
        Where its arrays live, in the order of the function's parameters.
    sites
        The nodes that may go wrong in it, such as an index out of bounds.
    scattered, asks
        Whether it reads rows of an argument that lie anywhere; and asks for those of the next step, so that they come
        meanwhile.
    """

    kernel: Kernel
    turn: Turn
    function: str
    homes: tuple[Home, ...]
    sites: tuple[Node, ...]
    scattered: bool
    asks: bool

    @property
    def in_parts(self) -> bool:
        """Whether its function does the part of a thread, or a block, and not always all."""
        return self.turn.blocks > 0 or not self.turn.alone


class Module:
    """An LLVM module that holds the step of a `schedule`, whose arrays live where `plan` says.

    Its first inputs are the `arguments`, whose rows may lie anywhere if they are read so (see `rows`). `flushes` says
    that it trains, so that numbers below the normal range count as zero (see `denormals`). `timed` makes a step in
    which the threads meet after each kernel; the first adds the cycles since the last meeting to word `number of the
    kernel` of an array whose address is the fifth word of the job.

    Attributes
    ----------
    calls
        What the step does, in its order.
    is_alone
        Whether one thread does everything.
    in_place
        The arguments of which rows are read where they lie.
    scratch
        Bytes of scratch memory that each thread needs; the first `claims` of them hold the `claim_words`, which count
        what has been claimed of its parts of kernels, and what it keeps from one product on a matrix unit to the next.
    sites
        For each word of the status the node that went wrong where the word is not 0.
    signature
        A text on which the module depends, and on nothing else but the target: two modules of one signature are equal.
    """

    def __init__(
        self,
        schedule: Schedule,
        plan: Plan,
        target: Target,
        arguments: int = 0,
        *,
        flushes: bool = False,
        timed: bool = False,
    ) -> None:
        self.plan, self.target, self.flushes, self.timed = plan, target, flushes, timed
        self.in_place = in_place(schedule.kernels, plan, arguments, target)
        products = [each for turn in schedule.turns for each in turn.kernels if isinstance(each, Contraction)]
        reading = [each for each in products if each.left.array in self.in_place]
        self._last = reading[-1] if reading else None  # it asks for the rows of the next step, which then stay near
        self._functions: dict[str, tuple[str, Call, tuple[int, ...]]] = {}  # signature -> name, first call, its starts
        self.calls = tuple([self._call(kernel, turn) for turn in schedule.turns for kernel in turn.kernels])
        self.is_alone = all(call.turn.alone for call in self.calls)
        self.claim_words = SITES * sum(call.turn.claimed for call in self.calls)
        self.claims = -(-8 * self.claim_words // ALIGNMENT) * ALIGNMENT + KEPT * bool(target.matrix)
        scratch = [_scratch(call, target) for _, call, _ in self._functions.values()]
        self.scratch = self.claims + max([*scratch, *(_inside_bytes(turn) for turn in schedule.turns)], default=0)
        self.sites = tuple(site for call in self.calls for site in call.sites)
        turns = [
            f"{len(turn.kernels)} {turn.blocks} {turn.who} {turn.waits} {turn.claimed} {turn.is_shared} {turn.inside}"
            for turn in schedule.turns
        ]
        calls = [f"{call.function} {call.homes}" for call in self.calls]
        copies = [f"{plan.homes[node]} to {home} {node.size} {node.dtype.name}" for node, home in plan.copies]
        functions = [f"{text}\nfrom {starts}" for text, (_, _, starts) in self._functions.items()]
        self.signature = "\n".join([f"flushes {flushes} timed {timed}", *functions, *turns, *calls, *copies])

    def _call(self, kernel: Kernel, turn: Turn) -> Call:
        names, homes = _names(kernel, self.plan)
        starts = _starts(kernel, names)
        scattered = isinstance(kernel, Contraction) and kernel.left.array in self.in_place
        asks = kernel is self._last
        where = " of rows anywhere" * scattered + " and soon" * asks
        where += f" in {turn.blocks} blocks" * (isinstance(kernel, Contraction) and turn.blocks > 0)
        signature = f"{turn.alone and not turn.blocks}{where} {kernel_text(kernel, names, starts)}"
        begin = tuple([starts[node] * node.dtype.itemsize for node in {names[node]: node for node in names}.values()])
        sites = _sites(kernel)
        if signature in self._functions:  # the same at another place of its arrays, such as the next step of a sequence
            name, _, first = self._functions[signature]
            moves = [own - other for own, other in zip(begin, first, strict=True)]
            homes = tuple([Home(home.slot, home.offset + by) for home, by in zip(homes, moves, strict=True)])
            return Call(kernel, turn, name, homes, sites, scattered, asks)
        name = f"{type(kernel).__name__.lower()}_{len(self._functions)}"
        call = Call(kernel, turn, name, homes, sites, scattered, asks)
        self._functions[signature] = name, call, begin
        return call

    @cached_property
    def text(self) -> str:
        """The module in LLVM's language."""
        declared: dict[str, None] = {}
        bodies = []
        for _, call, _ in self._functions.values():
            for code in _functions(call, _names(call.kernel, self.plan)[0], self.target):
                if self.flushes and code.calls_library:
                    code.enclose("%exact = call i32 @exact()", "call void @restore(i32 %exact)")
                declared |= code.declarations
                bodies.append(code.text())
        steps = _step(self)
        for code in steps:
            declared |= code.declarations
        shared = [waiting(self.target), *([flushing(self.target)] if self.flushes else [])]
        return "\n\n".join([*declared, *shared, *bodies, *(code.text() for code in steps)])


def _names(kernel: Kernel, plan: Plan) -> tuple[dict[Node, str], tuple[Home, ...]]:
    """What the arrays of a kernel are called in its function, and where they live; those in one place are one."""
    homes: list[Home] = []
    names: dict[Node, str] = {}
    for node in dict.fromkeys((*nodes_made(kernel), *(access.array for access in accesses(kernel)))):
        home = plan.homes[array_of(node)]
        if home not in homes:
            homes.append(home)
        names[node] = f"a{homes.index(home)}"
    return names, tuple(homes)


def _starts(kernel: Kernel, names: dict[Node, str]) -> dict[Node, int]:
    """For each array the first element that is touched, counted alike for all arrays in one place."""
    touched = [(access.array, access.offset) for access in accesses(kernel)]
    match kernel:
        case Loop() | Contraction():
            touched += [(store.access.array, store.access.offset) for store in kernel.stores]
        case Running() | Sorting():
            touched.append((kernel.access.array, kernel.access.offset))
    touched += [(node, 0) for node in names.keys() - {array for array, _ in touched}]  # written as a whole
    if isinstance(kernel, Reduction | Scatter) or (isinstance(kernel, Contraction) and kernel.kept):
        touched.append((kernel.node, 0))
    least: dict[str, int] = {}
    sizes: dict[str, set[int]] = {}
    for array, offset in touched:
        least[names[array]] = min(offset, least.get(names[array], offset))
        sizes.setdefault(names[array], set()).add(array.dtype.itemsize)
    return {node: least[name] if len(sizes[name]) == 1 else 0 for node, name in names.items()}


def _sites(kernel: Kernel) -> tuple[Node, ...]:
    """The nodes of a kernel that look something up by an index."""
    own = [kernel.node] if isinstance(kernel, Scatter) else []
    return tuple(dict.fromkeys([*own, *(part.node for part in expressions(kernel) if isinstance(part, Gather))]))


def _scratch(call: Call, target: Target) -> int:
    kernel = call.kernel
    if not isinstance(kernel, Contraction):
        return 0
    size = scratch_bytes(kernel, target, kernel.kept, bool(kernel.stores), call.turn.blocks)
    return -(-size // ALIGNMENT) * ALIGNMENT


def _inside_bytes(turn: Turn) -> int:
    """Bytes of a block of what stays inside a band."""
    return sum(-(-size // turn.blocks // ALIGNMENT) * ALIGNMENT for _, size in turn.inside)


# --- A kernel's function -----------------------------------------------------------------------------------------


def _functions(call: Call, names: dict[Node, str], target: Target) -> list[Code]:
    """The function of a kernel, after those that it calls."""
    parameters = [("ptr noalias", f"a{number}") for number in range(len(call.homes))]
    parameters += [("ptr noalias", "status")] if call.sites else []
    parameters += [("ptr noalias", "scratch"), ("i64", "thread"), ("i64", "threads")]
    parameters += [("ptr", "claims"), ("i64", "apart")] if call.turn.claimed else []
    parameters += [("ptr", "rows"), ("ptr", "soon")] if call.scattered else []
    code = Code(call.function, parameters, internal=True, alone=not call.in_parts, **target.options)
    arrays = {node: f"%{name}" for node, name in names.items()}
    if isinstance(call.kernel, Contraction):
        epilogue = Epilogue(call.function, call.kernel, arrays, call.sites, target)
        finish = epilogue if call.kernel.stores else None
        write_contraction(
            code,
            call.kernel,
            arrays,
            target,
            finish,
            call.kernel.kept,
            epilogue.ahead,
            claimed=call.turn.claimed,
            scattered=call.scattered,
            asks=call.asks,
            blocks=call.turn.blocks,
        )
        return [*epilogue.functions, code]
    made = nodes_made(call.kernel)
    write_fixed(code, expressions(call.kernel), {node: name for node, name in arrays.items() if node not in made})
    _write(code, call.kernel, arrays, target)
    write_failures(code, call.sites)
    return [code]


def _write(code: Code, kernel: Kernel, arrays: dict[Node, str], target: Target) -> None:
    match kernel:
        case Loop():
            write_loop(code, kernel, arrays, target)
        case Reduction():
            write_reduction(code, kernel, arrays, target)
        case Scatter():
            write_scatter(code, kernel, arrays)
        case Running():
            write_running(code, kernel, arrays)
        case Sorting():
            write_sorting(code, kernel, arrays)


# --- The step ----------------------------------------------------------------------------------------------------


def _step(module: Module) -> list[Code]:
    """The function that calls all kernels in turn: where there are many, by way of others that call some each, because
    LLVM takes over long for one that calls thousands."""
    step = _Calls(module, STEP)
    code, functions = step.code, [step.code]
    before = code.let("call i32 @flush()") if module.flushes else None
    step.forget_claims()
    turns = [list(places) for _, places in groupby(_places(module.calls), lambda place: id(place.call.turn))]
    if len(turns) <= _TOGETHER:
        step.calls(turns)
    else:
        for begin in range(0, len(turns), _TOGETHER):
            part = _Calls(module, f"part_{begin // _TOGETHER}", internal=True)
            part.calls(turns[begin : begin + _TOGETHER])
            functions.append(part.code)
            code.do(f"call void @{part.name}(ptr %job, i64 %thread, i64 %threads)")
    if module.plan.copies:
        step.copies()
    if before:
        code.do(f"call void @restore(i32 {before})")
    return functions


@record(frozen=True, slots=True)
class _Place:
    """A call with its number, the number of its first site, and how many calls before it have claims."""

    call: Call
    number: int
    site: int
    claimed: int


def _places(calls: Sequence[Call]) -> list[_Place]:
    found, sites, claimed = [], 0, 0
    for number, call in enumerate(calls):
        found.append(_Place(call, number, sites, claimed))
        sites += len(call.sites)
        claimed += call.turn.claimed
    return found


class _Calls:
    """A function that calls some kernels in turn."""

    def __init__(self, module: Module, name: str, *, internal: bool = False) -> None:
        self.module, self.name = module, name
        self.code = code = Code(name, [("ptr", "job"), ("i64", "thread"), ("i64", "threads")], internal)
        self.table, self.team, self.status, self.memory = (
            code.let(f"load ptr, ptr {code.element('ptr', '%job', str(word))}") for word in range(4)
        )
        self.own = code.element("i8", self.memory, code.let(f"mul i64 %thread, {module.scratch}"))
        self.scratch = code.element("i8", self.own, str(module.claims))
        self.slots: dict[int, str] = {}

    def forget_claims(self) -> None:
        """Nothing of this thread's parts has been claimed yet; the threads meet, so that nobody claims before."""
        code, words = self.code, self.module.claim_words
        for word in range(words):
            code.do(f"store i64 0, ptr {code.element('i64', self.own, str(word))}")
        if words:
            code.do(f"call void @barrier(ptr {self.team}, i64 %thread, i64 %threads)")

    def calls(self, turns: Sequence[Sequence[_Place]]) -> None:
        """The calls, turn by turn."""
        clock = _Clock(self.code, self.team) if self.module.timed else None
        for places in turns:
            turn = places[0].call.turn
            if turn.waits and not clock:
                self.code.do(f"call void @barrier(ptr {self.team}, i64 %thread, i64 %threads)")
            if turn.blocks and not clock:
                for place in places:
                    self._arguments(place)  # loads what is the same for all blocks
                (self._shared_band if turn.is_shared else self._band)(turn, places)
                continue
            for place in places:
                self._call(turn, place)
                if clock:
                    clock.read(place.number)

    def _call(self, turn: Turn, place: _Place) -> None:
        """A kernel: each thread does its part, or one everything."""
        code, arguments = self.code, self._arguments(place)
        with self._alone(turn):
            part = "i64 0, i64 1" if turn.alone else "i64 %thread, i64 %threads"
            rest = f"{self._claims(place) if turn.claimed else ''}{self._rows(place)}"
            code.do(f"call void @{place.call.function}({arguments}, {part}{rest})")

    def _alone(self, turn: Turn) -> AbstractContextManager[None]:
        """Only one thread, if it is to be done alone."""
        code, who = self.code, "0"
        if turn.by_second:
            several = code.let("icmp sgt i64 %threads, 1")
            who = code.let(f"zext i1 {several} to i64")
        return code.when(code.let(f"icmp eq i64 %thread, {who}")) if turn.alone else nullcontext()

    def _band(self, turn: Turn, places: Sequence[_Place]) -> None:
        """Kernels that are run block by block: each thread does its part of the blocks, or one all."""
        code, blocks = self.code, str(turn.blocks)
        with self._alone(turn):
            low, high = ("0", blocks) if turn.alone else Share(code, [turn.blocks]).bounds
            with code.loop(low, high) as block:
                for place in places:
                    self._part(place, block, blocks)

    def _shared_band(self, turn: Turn, places: Sequence[_Place]) -> None:
        """The same where the blocks are there for threads to share: one thread does all at once, and threads that
        cannot have as many blocks each share kernel after kernel."""
        code = self.code
        one = code.let("icmp eq i64 %threads, 1")
        rest = code.let(f"urem i64 {turn.blocks}, %threads")
        fits = code.let(f"or i1 {one}, {code.let(f'icmp eq i64 {rest}, 0')}")
        blocks = code.let(f"select i1 {one}, i64 1, i64 {turn.blocks}")
        each = code.let(f"udiv i64 {blocks}, %threads")
        with code.when(fits):
            low = code.let(f"mul i64 %thread, {each}")
            with code.loop(low, code.let(f"add i64 {low}, {each}")) as block:
                for place in places:
                    self._part(place, block, blocks)
        with code.when(code.let(f"xor i1 {fits}, true")):
            for number, place in enumerate(places):
                if number:
                    code.do(f"call void @barrier(ptr {self.team}, i64 %thread, i64 %threads)")
                self._part(place, "%thread", "%threads")

    def _part(self, place: _Place, part: str, parts: str) -> None:
        """A part of a kernel of a band."""
        inside = part if place.call.turn.inside else ""
        arguments = f"{self._arguments(place, inside)}, i64 {part}, i64 {parts}{self._rows(place)}"
        self.code.do(f"call void @{place.call.function}({arguments})")

    def _arguments(self, place: _Place, block: str = "") -> str:
        """The pointers that a kernel's function gets, for a block of rows if there is one."""
        pointers = [self._inside(place.call.turn, home, block) or self._pointer(home) for home in place.call.homes]
        if place.call.sites:
            pointers.append(self.code.element("i64", self.status, str(place.site)))
        return ", ".join(f"ptr {pointer}" for pointer in (*pointers, self.scratch))

    def _inside(self, turn: Turn, home: Home, block: str) -> str | None:
        """Where an array would begin whose block of rows is in the scratch memory, if it is one of those."""
        begin = 0
        for first, size in turn.inside if block else ():
            apart = home.offset - first.offset
            run = size // turn.blocks
            if home.slot == first.slot and 0 <= apart < size:
                place = self.code.let(f"sub i64 {begin + apart}, {times(self.code, block, run)}")
                return self.code.element("i8", self.scratch, place)
            begin += -(-run // ALIGNMENT) * ALIGNMENT
        return None

    def _claims(self, place: _Place) -> str:
        """Where it is counted what has been claimed."""
        claims = self.code.element("i64", self.memory, str(SITES * place.claimed))
        return f", ptr {claims}, i64 {self.module.scratch}"

    def _rows(self, place: _Place) -> str:
        """The numbers of the rows that it reads, and of those that it may ask for."""
        if not place.call.scattered:
            return ""
        words = (ROWS_AT, SOON_AT)
        rows, soon = (self.code.let(f"load ptr, ptr {self.code.element('ptr', '%job', str(word))}") for word in words)
        return f", ptr {rows}, ptr {soon}"

    def _pointer(self, home: Home) -> str:
        if home.slot not in self.slots:
            place = self.code.element("ptr", self.table, str(home.slot))
            self.slots[home.slot] = self.code.let(f"load ptr, ptr {place}")
        return self.code.element("i8", self.slots[home.slot], str(home.offset))

    def copies(self) -> None:
        """New values of states that could not be written in place."""
        code, plan = self.code, self.module.plan
        code.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        code.do(f"call void @barrier(ptr {self.team}, i64 %thread, i64 %threads)")
        pairs = [(self._pointer(goal), self._pointer(plan.homes[node]), node) for node, goal in plan.copies]
        with code.when(code.let("icmp eq i64 %thread, 0")):
            for goal, source, node in pairs:
                size = node.size * node.dtype.itemsize
                code.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {goal}, ptr {source}, i64 {size}, i1 false)")


class _Clock:
    """Cycles between the kernels of a timed step."""

    def __init__(self, step: Code, team: str) -> None:
        self.step, self.team = step, team
        step.declare("declare i64 @llvm.readcyclecounter()")
        self.times = step.let(f"load ptr, ptr {step.element('ptr', '%job', '4')}")
        self.last = step.let("call i64 @llvm.readcyclecounter()")

    def read(self, number: int) -> None:
        """All threads meet; the first notes how long kernel `number` took."""
        step = self.step
        step.do(f"call void @barrier(ptr {self.team}, i64 %thread, i64 %threads)")
        now = step.let("call i64 @llvm.readcyclecounter()")
        with step.when(step.let("icmp eq i64 %thread, 0")):
            word = step.element("i64", self.times, str(number))
            passed = step.let(f"sub i64 {now}, {self.last}")
            sum_ = step.let(f"add i64 {step.get('i64', word)}, {passed}")
            step.do(f"store i64 {sum_}, ptr {word}")
        self.last = now
