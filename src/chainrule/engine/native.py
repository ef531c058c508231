"""From LLVM text to machine code in this process: verified, optimised, linked, callable by address.

Comes in: the text of a module and a target. Goes out: a `Native` that owns the code and gives addresses by name.
"""

from __future__ import annotations

import threading
from functools import cache

import llvmlite.binding as llvm

from chainrule.engine.target import Target
from chainrule.errors import ChainruleError

_building = threading.Lock()  # LLVM's global state is not made for two builders at a time


class Native:
    """Machine code made of `text`; it lives as long as this object.

    Parameters
    ----------
    text
        An LLVM module.
    target
        The processor; to run the code it must be this one.

    Raises
    ------
    ChainruleError
        If LLVM refuses the text, which is a defect of the emitter.
    """

    def __init__(self, text: str, target: Target) -> None:
        with _building:
            machine = _machine(target)
            module = _optimised(text, machine)
            self._engine = llvm.create_mcjit_compiler(module, machine)
            self._engine.finalize_object()

    def address(self, name: str) -> int:
        """The address of a function."""
        return int(self._engine.get_function_address(name))


def optimised_text(text: str, target: Target) -> str:
    """The module after LLVM's passes, as text."""
    with _building:
        return str(_optimised(text, _machine(target)))


def assembly(text: str, target: Target) -> str:
    """The machine code as assembler text."""
    with _building:
        machine = _machine(target)
        return str(machine.emit_assembly(_optimised(text, machine)))


def _machine(target: Target) -> llvm.TargetMachine:
    _initialize()
    found = llvm.Target.from_triple(target.triple)
    return found.create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=3,
        reloc="pic",
        codemodel="jitdefault" if _is_host(target) else "default",
    )


def _is_host(target: Target) -> bool:
    return bool(target.triple == llvm.get_process_triple())


def _optimised(text: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    try:
        module = llvm.parse_assembly(text)
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        module.verify()
    except RuntimeError as error:
        raise ChainruleError(f"LLVM refuses what was emitted: {error}.") from error
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = True
    tuning.slp_vectorization = False
    tuning.loop_interleaving = True
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    return module


@cache
def _initialize() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
