"""The one door to LLVM: llvmlite, loaded and made ready when a program is first compiled."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_LIBRARIES = ("libllvmlite.so", "libllvmlite.dylib", "llvmlite.dll")


@cache
def llvm() -> ModuleType:
    """llvmlite's binding, with all targets ready."""
    import llvmlite.binding

    llvmlite.binding.initialize_all_targets()
    llvmlite.binding.initialize_all_asmprinters()
    binding: ModuleType = llvmlite.binding
    return binding


@cache
def versions() -> str:
    """Of llvmlite and of LLVM, on which machine code depends; by its files, because to load it takes long."""
    found = find_spec("llvmlite")
    for folder in map(Path, found.submodule_search_locations or () if found else ()):
        for library in _LIBRARIES:
            try:
                status = (folder / "binding" / library).stat()
                version = (folder / "_version.py").read_text(encoding="utf-8")
            except (OSError, ValueError):
                continue
            return f"{version}\n{folder} {library} {status.st_mtime_ns} {status.st_size}"
    import llvmlite

    return f"llvmlite {llvmlite.__version__}, LLVM {'.'.join(map(str, llvm().llvm_version_info))}"
