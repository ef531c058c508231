"""From LLVM text to machine code in this process: verified, optimised, linked, callable by address.

Comes in: the text of a module and a target. Goes out: a `Native` that owns the code and gives addresses by name. Equal
text is compiled once in a process, and its object code is kept on disk for the next one, which needs no LLVM to run it
where `image` can load it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from chainrule.engine import cache
from chainrule.engine.image import Image, UnexpectedError
from chainrule.engine.llvm import llvm, versions
from chainrule.engine.target import Target, require_runnable
from chainrule.errors import ChainruleError

building = threading.RLock()  # LLVM's global state is not made for two builders at a time; nobody forks meanwhile
_LONG = 6500  # lines of a module
_TRIED = (22,)  # versions of LLVM that are known to have the option: one that has not would end the process
_KEPT = 64  # modules whose machine code stays in this process although nobody uses it
if hasattr(os, "register_at_fork"):  # a child that is forked finds nothing half built, and the lock free
    os.register_at_fork(before=building.acquire, after_in_parent=building.release, after_in_child=building.release)


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
                code = _compiled(text if isinstance(text, str) else text(), target)
                keep(key, code)
                found = _linked(code, target)
            self._linked = _engines[key] = found
            _engines.move_to_end(key)
            while len(_engines) > _KEPT:
                _engines.popitem(last=False)

    def address(self, name: str) -> int:
        """The address of a function."""
        with building:
            return self._linked.address(name)


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
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return "\n".join(f"{file.name} {(stat := file.stat()).st_mtime_ns} {stat.st_size}" for file in files)


_SOURCES = _sources()  # as they were when they were loaded: what is edited later must not find its way into the cache


def _known(key: str, target: Target) -> _Linked | None:
    """The code of that key, from this process or from the cache."""
    found = _engines.get(key)
    code = cache.load(key) if found is None else None
    return found if code is None else _linked(code, target)


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


def _linked(code: bytes, target: Target) -> _Linked:
    """Object code in memory, without LLVM where that is possible."""
    try:
        return Image(code)
    except (UnexpectedError, LookupError, ValueError, OverflowError):
        return _Engine(code, target)


def _compiled(text: str, target: Target) -> bytes:
    """The object code of a module."""
    with _undisturbed():
        machine = _machine(target)
        module = _optimised(text, machine)
        with _quickly(text):
            return bytes(machine.emit_object(module))


@contextmanager
def _quickly(text: str) -> Iterator[None]:
    """LLVM chooses the addresses in loops as they are written: to find better ones takes a third of the time to make
    the code of a long module, whose loops are not the faster for it."""
    if text.count("\n") <= _LONG or llvm().llvm_version_info[0] not in _TRIED:
        yield
        return
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
        with _quickly(text):
            return str(machine.emit_assembly(module))


def _machine(target: Target) -> Any:
    found = llvm().Target.from_triple(target.triple)
    return found.create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=3,
        reloc="pic",
        codemodel="jitdefault" if _is_host(target) else "default",
    )


def _is_host(target: Target) -> bool:
    return bool(target.triple == llvm().get_process_triple())


def _optimised(text: str, machine: Any) -> Any:
    try:
        module = llvm().parse_assembly(text)
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        module.verify()
    except RuntimeError as error:
        raise ChainruleError(f"LLVM refuses what was emitted: {error}.") from error
    passes = llvm().create_new_function_pass_manager()
    passes.add_sroa_pass()  # slots become registers; loops and vectors are as they shall be already
    passes.add_instruction_combine_pass()
    builder = llvm().create_pass_builder(machine, llvm().create_pipeline_tuning_options(speed_level=2))
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)
    return module
