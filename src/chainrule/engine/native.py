"""From LLVM text to machine code in this process: verified, optimised, linked, callable by address.

Comes in: the text of a module and a target. Goes out: a `Native` that owns the code and gives addresses by name. A long
module is compiled in pieces, by as many threads as there are cores. Equal text is compiled once in a process, and its
object code is kept on disk for the next one, which needs no LLVM to run it where `image` can load it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np

from chainrule.engine import cache
from chainrule.engine.forking import building
from chainrule.engine.image import Image, UnexpectedError, is_possible
from chainrule.engine.llvm import llvm, loading, object_file, parsed, run_passes, settle, versions
from chainrule.engine.pieces import pieces
from chainrule.engine.target import Target, require_runnable
from chainrule.errors import ChainruleError

T = TypeVar("T")
_LONG = 6500  # lines of a module
_TRIED = (22,)  # versions of LLVM that are known to have the option: one that has not would end the process
_PIECES = 8  # of a module at most
_TURN = 1e-3  # seconds that a thread of Python may have before another one's turn, while something is compiled ahead
_KEPT = 64  # modules whose machine code stays in this process although nobody uses it


class Native:
    """Machine code; it lives as long as this object.

    Parameters
    ----------
    text
        An LLVM module, or a function that writes it, called where the code is not there yet.
    target
        The processor; to run the code it must be this one.
    key
        The `key_of` a text that stands for the module's own, if there is such a text.

    Raises
    ------
    ArgumentError
        If this machine cannot run code for the target.
    ChainruleError
        If LLVM refuses the text, which is a defect of the emitter.
    """

    def __init__(self, text: str | Callable[[], str], target: Target, key: str | None = None) -> None:
        require_runnable(target)
        key = key or key_of(str(text), target)
        with building:
            found = _known(key, target)
            if found is None:
                found = _made_ahead(key, target) or _built(text if isinstance(text, str) else text(), target, key)
            self._linked = _engines[key] = found
            _engines.move_to_end(key)
            while len(_engines) > _KEPT:
                _engines.popitem(last=False)

    def address(self, name: str) -> int:
        """The address of a function."""
        with building:
            return self._linked.address(name)


class _Ahead(threading.Thread):
    """A thread that compiles a module of one piece, which will be asked for soon."""

    codes: Sequence[bytes] = ()

    def __init__(self, text: str | Callable[[], str], target: Target) -> None:
        super().__init__(name="chainrule", daemon=False)
        self._text, self._processor = text, target

    def run(self) -> None:
        """Compile it; what goes wrong comes to light where the module is asked for."""
        with suppress(Exception):
            text = self._text if isinstance(self._text, str) else self._text()
            with _quick_turns():
                self.codes = [_object_file(text, self._processor)]


@contextmanager
def _quick_turns() -> Iterator[None]:
    """Python's threads take turns more often meanwhile: between two short calls of LLVM one would wait long for another
    that computes in Python."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _TURN))
    try:
        yield
    finally:
        if sys.getswitchinterval() == _TURN:  # nobody has set it meanwhile
            sys.setswitchinterval(before)


_ahead: dict[str, _Ahead] = {}


def ahead(text: str | Callable[[], str], target: Target, key: str | None = None) -> None:
    """Let a thread compile a short module that will be asked for soon, while this one does something else."""
    key = key or key_of(str(text), target)
    with building:
        if _cores() == 1 or key in _ahead or kept(key, target):
            return
        thread = _Ahead(text, target)
        with suppress(RuntimeError):  # there is no room for more threads, or the process is about to end
            thread.start()
            _ahead[key] = thread


def _settle() -> None:
    """Wait until nothing is loaded or compiled ahead."""
    settle()
    for thread in _ahead.values():
        thread.join()


def _before_fork() -> None:
    """A child that is forked finds nothing half built."""
    building.acquire()  # first of all, though `forking` asks for it too: nothing begins to be compiled ahead any more
    loading.acquire()
    _settle()


def _after_fork() -> None:
    loading.release()
    building.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


class _Linked(Protocol):
    """Code that can be called."""

    def address(self, name: str) -> int: ...


class _Engine:
    """Code that LLVM has loaded."""

    def __init__(self, code: bytes, target: Target) -> None:
        with _undisturbed():
            self._engine = llvm().create_mcjit_compiler(llvm().parse_assembly(""), _machine(target))
            self._engine.add_object_file(llvm().ObjectFileRef.from_data(code))
            self._engine.finalize_object()

    def address(self, name: str) -> int:
        """The address of a function."""
        return int(self._engine.get_function_address(name))


_engines: OrderedDict[str, _Linked] = OrderedDict()


def kept(key: str, target: Target) -> Native | None:
    """The machine code of that key, if this process or the cache has it."""
    require_runnable(target)
    with building:
        found = _known(key, target)
        if found is None:
            return None
        _engines[key] = found
        return Native("", target, key)


def key_of(text: str, target: Target) -> str:
    """A name for the machine code of a module: everything on which it depends."""
    return cache.key_of(text, str(target), versions(), _SOURCES)


def keep(key: str, content: bytes) -> None:
    """Keep for the next process what was made, unless it may come from sources that were edited meanwhile."""
    if _sources() == _SOURCES:
        cache.store(key, content)


def _sources() -> str:
    """The state of the sources that write modules: their times and sizes."""
    found, folders = list[str](), [os.path.dirname(__file__)]
    for folder in folders:  # it grows meanwhile
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith(".py"):
                    found.append(f"{entry.name} {(status := entry.stat()).st_mtime_ns} {status.st_size}")
    return "\n".join(sorted(found))


_SOURCES = _sources()  # as they were when they were loaded: what is edited later must not find its way into the cache


def _known(key: str, target: Target) -> _Linked | None:
    """The code of that key, from this process or from the cache."""
    found = _engines.get(key)
    code = cache.load(key) if found is None else None
    return found if code is None else _linked(_parted(code), target)


def _made_ahead(key: str, target: Target) -> _Linked | None:
    """The code of that key, if a thread was to compile it ahead, and has."""
    thread = _ahead.get(key)
    if thread is None:
        return None
    thread.join()
    del _ahead[key]
    found = _linked(thread.codes, target) if thread.codes else None
    if found is not None:
        keep(key, _joined(thread.codes))
    return found


def _built(text: str, target: Target, key: str) -> _Linked:
    """The code of a module, made now and kept: in one piece where those that call each other cannot be loaded."""
    codes = _compiled(pieces(text, min(_cores(), _PIECES) if is_possible() else 1), target)
    found = _linked(codes, target)
    if found is None:
        codes = _compiled([text], target)
        found = _Engine(codes[0], target)
    keep(key, _joined(codes))
    return found


def _cores() -> int:
    """How many threads can work at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _joined(codes: Sequence[bytes]) -> bytes:
    """Object files as one entry of the cache: how many, how long each is, and all of them."""
    return b"".join([*(number.to_bytes(8, "little") for number in (len(codes), *map(len, codes))), *codes])


def _parted(content: bytes) -> list[bytes]:
    """The object files of an entry, which is whole, or it would not have been found."""
    count, *lengths = np.frombuffer(content, "<u8", 1 + int.from_bytes(content[:8], "little")).tolist()
    ends = np.cumsum([8 * (1 + count), *lengths]).tolist()
    return [content[begin:end] for begin, end in pairwise(ends)]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits meanwhile: an interrupt in the middle of giving memory back would make llvmlite do so twice."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    heard: list[int] = []  # without the frames, which would hold what is to be given back in them
    signal.signal(signal.SIGINT, lambda number, _frame: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard:
            before(heard[0], None)


def _linked(codes: Sequence[bytes], target: Target) -> _Linked | None:
    """Object code in memory, without LLVM where that is possible; None where LLVM cannot do it either: its loader takes
    the tables of several files for one."""
    try:
        return Image(*codes)
    except (UnexpectedError, LookupError, ValueError, OverflowError):
        return _Engine(codes[0], target) if len(codes) == 1 else None


def _compiled(parts: Sequence[str], target: Target) -> list[bytes]:
    """The object files of the pieces of a module."""
    with _undisturbed(), _quickly(sum(text.count("\n") for text in parts)):
        return at_once([partial(_object_file, text, target) for text in parts])


def _object_file(text: str, target: Target) -> bytes:
    """The object file of a module."""
    machine = _machine(target)
    return object_file(machine, _optimised(text, machine))


def at_once(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """What the tasks give, each done by a thread of its own; the first of their errors if there is one."""
    found: dict[int, T] = {}
    errors: list[BaseException] = []

    def do(number: int) -> None:
        try:
            found[number] = tasks[number]()
        except BaseException as error:
            errors.append(error)

    own, threads = [0], list[threading.Thread]()
    for number in range(1, len(tasks)):
        thread = threading.Thread(target=do, args=(number,), name="chainrule", daemon=False)
        try:
            thread.start()
            threads.append(thread)
        except RuntimeError:  # there is no room for more, or the process is about to end
            own.append(number)
    try:
        for number in own:
            do(number)
    finally:
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return [found[number] for number in range(len(tasks))]


@contextmanager
def _quickly(lines: int) -> Iterator[None]:
    """LLVM chooses the addresses in loops as they are written: to find better ones takes a third of the time to make
    the code of a long module, whose loops are not the faster for it."""
    if lines <= _LONG or llvm().llvm_version_info[0] not in _TRIED:
        yield
        return
    _settle()  # what is compiled ahead is compiled as ever
    llvm().set_option("chainrule", "--disable-lsr")
    try:
        yield
    finally:
        llvm().set_option("chainrule", "--disable-lsr=false")


def optimised_text(text: str, target: Target) -> str:
    """The module after LLVM's passes, as text."""
    with building, _undisturbed():
        return str(_optimised(text, _machine(target)))


def assembly(text: str, target: Target) -> str:
    """The machine code as assembler text."""
    with building, _undisturbed():
        machine = _machine(target)
        module = _optimised(text, machine)
        with _quickly(text.count("\n")):
            return str(machine.emit_assembly(module))


def _machine(target: Target) -> Any:
    found = llvm().Target.from_triple(target.triple)
    return found.create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=3,
        reloc="pic",
        codemodel=("small" if is_possible() else "jitdefault") if _is_host(target) else "default",
    )


def _is_host(target: Target) -> bool:
    return bool(target.triple == llvm().get_process_triple())


def _optimised(text: str, machine: Any) -> Any:
    try:
        module = parsed(text)
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        module.verify()
    except RuntimeError as error:
        raise ChainruleError(f"LLVM refuses what was emitted: {error}.") from error
    passes = llvm().create_new_module_pass_manager()
    passes.add_sroa_pass()  # slots become registers; loops and vectors are as they shall be already
    builder = llvm().create_pass_builder(machine, llvm().create_pipeline_tuning_options(speed_level=2))
    run_passes(passes, module, builder)
    return module
