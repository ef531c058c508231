"""The one door to LLVM: llvmlite, loaded and made ready when a program is first compiled.

llvmlite lets one thread at a time into LLVM, while LLVM has room for several, if each has a context and a target
machine of its own. So what takes long is called here without llvmlite's lock, where its functions can be had so.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from chainrule.errors import ChainruleError

_LIBRARIES = ("libllvmlite.so", "libllvmlite.dylib", "llvmlite.dll")


@cache
def llvm() -> ModuleType:
    """llvmlite's binding, with all targets ready."""
    import llvmlite.binding

    llvmlite.binding.initialize_all_targets()
    llvmlite.binding.initialize_all_asmprinters()
    binding: ModuleType = llvmlite.binding
    return binding


@contextmanager
def loading() -> Iterator[None]:
    """A thread loads LLVM's library meanwhile: Python itself would let nobody else work while the system does so."""
    path = None if "llvmlite.binding" in sys.modules else next(_libraries(), None)
    # A call by way of ctypes lets others work; what the system has loaded by then llvmlite finds at once.
    load = None if sys.platform == "win32" else getattr(ctypes.CDLL(None), "dlopen", None)
    if path is None or load is None:
        yield
        return
    thread = threading.Thread(target=load, args=(os.fsencode(path), ctypes.c_int(os.RTLD_NOW)), daemon=False)
    try:
        thread.start()
    except RuntimeError:  # there is no room for more, or the process is about to end
        yield
        return
    try:
        yield
    finally:
        thread.join()


@cache
def versions() -> str:
    """Of llvmlite and of LLVM, on which machine code depends; by its files, because to load it takes long."""
    for path in _libraries():
        try:
            status, version = path.stat(), (path.parents[1] / "_version.py").read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        return f"{version}\n{path} {status.st_mtime_ns} {status.st_size}"
    import llvmlite

    return f"llvmlite {llvmlite.__version__}, LLVM {'.'.join(map(str, llvm().llvm_version_info))}"


def _libraries() -> Iterator[Path]:
    """Where LLVM's library is."""
    found = find_spec("llvmlite")
    for folder in map(Path, found.submodule_search_locations or () if found else ()):
        yield from (path for name in _LIBRARIES if (path := folder / "binding" / name).exists())


def parsed(text: str) -> Any:
    """The module that a text describes, in a context of its own."""
    binding = llvm()
    context, parse = binding.create_context(), _unlocked("LLVMPY_ParseAssembly")
    if parse is None:
        return binding.parse_assembly(text, context)
    with binding.ffi.OutputString() as error:
        module = binding.ModuleRef(parse(context, text.encode(), error), context)
        if error:
            module.close()
            raise ChainruleError(f"LLVM refuses what was emitted: {error}.")
    return module


def run_passes(passes: Any, module: Any, builder: Any) -> None:
    """Run LLVM's passes over a module."""
    run = _unlocked("LLVMPY_RunNewModulePassManager")
    if run is None:
        passes.run(module, builder)
    else:
        run(passes, module, builder)


def object_file(machine: Any, module: Any) -> bytes:
    """The machine code of a module."""
    emit, ffi = _unlocked("LLVMPY_TargetMachineEmitToMemory"), llvm().ffi
    if emit is None:
        return bytes(machine.emit_object(module))
    with ffi.OutputString() as error:
        buffer = emit(machine, module, 1, error)
        if not buffer:
            raise ChainruleError(f"LLVM makes no machine code of what was emitted: {error}.")
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


def _unlocked(name: str) -> Callable[..., Any] | None:
    """A function of llvmlite's library without the lock; None where llvmlite is made in another way."""
    function = getattr(getattr(llvm().ffi.lib, name, None), "_cfn", None)
    return function if getattr(function, "argtypes", None) else None
