"""The one door to LLVM: llvmlite, loaded and made ready when a program is first compiled.

llvmlite lets one thread at a time into LLVM, while LLVM has room for several, if each has a context and a target
machine of its own. So what takes long is called here without llvmlite's lock, where its functions can be had so.
"""

import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from chainrule.errors import ChainruleError

_LIBRARIES = ("libllvmlite.so", "libllvmlite.dylib", "llvmlite.dll")
_NOW = 2  # all that a library needs is found when it is loaded, as Python does it
loading = threading.Lock()  # nobody begins to load it while the process forks
_loaders: list[threading.Thread] = []  # none, or the one that loads it


def soon() -> None:
    """Let a thread load llvmlite's library, which takes long, while this one does something else.

    Python loads libraries under its own lock; so the system is asked, where it can be asked so.
    """
    with loading, suppress(RuntimeError):  # there is no room for more threads, or the process is about to end
        if not _loaders:
            thread = threading.Thread(target=_load, name="chainrule", daemon=False)
            thread.start()
            _loaders.append(thread)


def _load() -> None:
    with suppress(Exception):
        for folder in _folders():
            library = str(folder / "binding" / _LIBRARIES[0])
            ctypes.CDLL(None).dlopen(ctypes.c_char_p(library.encode()), ctypes.c_int(_NOW))


def settle() -> None:
    """Wait until nothing is being loaded."""
    for thread in _loaders:
        thread.join()


@cache
def llvm() -> ModuleType:
    """llvmlite's binding, with all targets ready."""
    settle()
    import llvmlite.binding

    llvmlite.binding.initialize_all_targets()
    llvmlite.binding.initialize_all_asmprinters()
    binding: ModuleType = llvmlite.binding
    return binding


@cache
def versions() -> str:
    """Of llvmlite and of LLVM, on which machine code depends; by its files, because to load it takes long."""
    for folder in _folders():
        for library in _LIBRARIES:
            try:
                status = (folder / "binding" / library).stat()
                version = (folder / "_version.py").read_text(encoding="utf-8")
            except (OSError, ValueError):
                continue
            return f"{version}\n{folder} {library} {status.st_mtime_ns} {status.st_size}"
    import llvmlite

    return f"llvmlite {llvmlite.__version__}, LLVM {'.'.join(map(str, llvm().llvm_version_info))}"


def _folders() -> list[Path]:
    """Where llvmlite is installed."""
    found = find_spec("llvmlite")
    return [Path(folder) for folder in found.submodule_search_locations or ()] if found else []


def parsed(text: str) -> Any:
    """The module that a text describes, in a context of its own."""
    binding = llvm()
    context, parse = binding.create_context(), _unlocked("LLVMPY_ParseAssembly", 3)
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
    run = _unlocked("LLVMPY_RunNewModulePassManager", 3)
    if run is None:
        passes.run(module, builder)
    else:
        run(passes, module, builder)


def object_file(machine: Any, module: Any) -> bytes:
    """The machine code of a module."""
    emit, ffi = _unlocked("LLVMPY_TargetMachineEmitToMemory", 4), llvm().ffi
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


def _unlocked(name: str, arguments: int) -> Callable[..., Any] | None:
    """A function of llvmlite's library without the lock; None where llvmlite is made in another way, or the function
    takes another number of arguments."""
    function = getattr(getattr(llvm().ffi.lib, name, None), "_cfn", None)
    return function if len(getattr(function, "argtypes", None) or ()) == arguments else None
