"""From LLVM text to machine code in this process: verified, optimised, linked, callable by address.

Comes in: the text of a module and a target. Goes out: a `Native` that owns the code and gives addresses by name. Equal
text is compiled once in a process, and its object code is kept on disk for the next one.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chainrule.engine import cache
from chainrule.engine.llvm import llvm, versions
from chainrule.engine.target import Target, require_runnable
from chainrule.errors import ChainruleError

_building = threading.RLock()  # LLVM's global state is not made for two builders at a time
_KEPT = 64  # modules whose machine code stays in this process although nobody uses it
if hasattr(os, "register_at_fork"):  # a child that is forked finds nothing half built, and the lock free
    os.register_at_fork(before=_building.acquire, after_in_parent=_building.release, after_in_child=_building.release)


class Native:
    """Machine code; it lives as long as this object.

    Parameters
    ----------
    text
        An LLVM module, or a function that writes it, called where the code is not there yet.
    target
        The processor; to run the code it must be this one.
    signature
        A text that stands for the module's own.

    Raises
    ------
    ArgumentError
        If this machine cannot run code for the target.
    ChainruleError
        If LLVM refuses the text, which is a defect of the emitter.
    """

    def __init__(self, text: str | Callable[[], str], target: Target, signature: str | None = None) -> None:
        require_runnable(target)
        key = key_of(signature if signature is not None else str(text), target)
        with _building:
            if key not in _engines:
                _engines[key] = _linked(text, key, target)
            _engines.move_to_end(key)
            self._engine = _engines[key]
            while len(_engines) > _KEPT:
                _engines.popitem(last=False)

    def address(self, name: str) -> int:
        """The address of a function."""
        with _building:
            return int(self._engine.get_function_address(name))


_engines: OrderedDict[str, Any] = OrderedDict()


def key_of(text: str, target: Target) -> str:
    """A name for the machine code of a module: everything on which it depends."""
    parts = (text, str(target), versions(), _SOURCES, cache.FORMAT)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _sources() -> str:
    """The state of the sources that write modules: their times and sizes."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return "\n".join(f"{file.name} {(stat := file.stat()).st_mtime_ns} {stat.st_size}" for file in files)


_SOURCES = _sources()  # as they were when they were loaded: what is edited later must not find its way into the cache


def _linked(text: str | Callable[[], str], key: str, target: Target) -> Any:
    """An engine that holds the code, from the cache where it is there."""
    machine = _machine(target)
    found = cache.load(key)
    if found is None:
        found = bytes(machine.emit_object(_optimised(text if isinstance(text, str) else text(), machine)))
        cache.store(key, found)
    engine = llvm().create_mcjit_compiler(llvm().parse_assembly(""), machine)
    engine.add_object_file(llvm().ObjectFileRef.from_data(found))
    engine.finalize_object()
    return engine


def optimised_text(text: str, target: Target) -> str:
    """The module after LLVM's passes, as text."""
    with _building:
        return str(_optimised(text, _machine(target)))


def assembly(text: str, target: Target) -> str:
    """The machine code as assembler text."""
    with _building:
        machine = _machine(target)
        return str(machine.emit_assembly(_optimised(text, machine)))


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
